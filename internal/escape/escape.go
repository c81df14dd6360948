// Package escape makes text that strangers chose safe to print on a terminal or in a log.
package escape

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s as one line that a terminal shows literally: control characters,
// bidirectional overrides, other format characters, line separators and bytes that are
// not UTF-8 are written as Go escapes (\x1b, \u202e). A text that a CI log would take as
// a command ("::set-output", also behind blanks) gets its first colon escaped.
func Line(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unicode.Is(unicode.Cf, r) && r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	out := b.String()
	if blanks := len(out) - len(strings.TrimLeft(out, " \u00a0\u3000")); blanks < len(out) {
		switch rest := out[blanks:]; {
		case strings.HasPrefix(rest, "::"): // GitHub Actions
			return out[:blanks] + `\x3a` + rest[1:]
		case strings.HasPrefix(rest, "##["), strings.HasPrefix(rest, "##vso["): // Azure Pipelines
			return out[:blanks] + `\x23` + rest[1:]
		}
	}
	return out
}
