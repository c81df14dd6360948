package escape

import (
	"strings"
	"testing"
	"unicode"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"model/ünïcode 模型.txt": "model/ünïcode 模型.txt",
		"a\x1b[31mb":           `a\x1b[31mb`,
		"a\nb\r\tc":            `a\x0ab\x0d\x09c`,
		"a\u202egnp.exe":       `a\u202egnp.exe`,
		"a\u200bb":             `a\u200bb`,
		"a\xffb":               `a\xffb`,
		"a\u2028b\u0085":       `a\u2028b\u0085`,
		"a\U000e0041b":         `a\U000e0041b`,
		"::set-output name=x":  `\x3a:set-output name=x`,
		"  ::error::x":         `  \x3a:error::x`,
		"##vso[task.x]":        `\x23#vso[task.x]`,
		"# heading":            "# heading",
		"\x7f":                 `\x7f`,
		"":                     "",
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[31m")
	f.Add("::error::\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		out := Line(s)
		for _, r := range out {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar && !strings.ContainsRune(s, r) {
				t.Errorf("Line(%q) holds %q", s, r)
			}
		}
	})
}
