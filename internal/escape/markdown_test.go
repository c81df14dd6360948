package escape

import "testing"

func TestMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"a model":                "a model",
		"a\x1b[31m":              "a&#92;x1b&#91;31m",
		"<b>&amp;|":              "&#60;b&#62;&#38;amp;&#124;",
		"[x](https://a.example)": "&#91;x&#93;(https&#58;//a&#46;example)",
		"@m #1 `c` *e* _e_ ~s~":  "&#64;m &#35;1 &#96;c&#96; &#42;e&#42; &#95;e&#95; &#126;s&#126;",
		"ünï 模型":                 "ünï 模型",
	} {
		if got := Markdown(in); got != want {
			t.Errorf("Markdown(%q) is %q, want %q", in, got, want)
		}
	}
}
