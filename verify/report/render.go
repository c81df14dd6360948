package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Format is a form that a report can be written in.
type Format string

// The formats of Render.
const (
	Text     Format = "text"
	JSON     Format = "json"
	SARIF    Format = "sarif"
	JUnit    Format = "junit"
	Markdown Format = "markdown"
)

// Formats are all formats of Render, the default first.
var Formats = []Format{Text, JSON, SARIF, JUnit, Markdown}

// Options of Render. The zero value is a text without colours.
type Options struct {
	Style   Style     // of a text
	Version string    // of mlseal
	Now     time.Time // when a report was made that has no time of its own
}

// Render writes the report in the format.
func Render(r Report, format Format, o Options) ([]byte, error) {
	switch format {
	case Text:
		var b bytes.Buffer
		err := r.Text(&b, o.Style)
		return b.Bytes(), err
	case JSON:
		return Marshal(r.JSON())
	}
	s := r.summary()
	if s.time.IsZero() {
		s.time = o.Now
	}
	switch format {
	case SARIF:
		return Marshal(s.sarif(o.Version))
	case JUnit:
		return s.junit()
	case Markdown:
		return s.markdown(), nil
	}
	return nil, fmt.Errorf("report: no format %q", format)
}

// Marshal writes v as indented JSON in which every character that a terminal might obey stands escaped, in strings and in
// keys; the value is the same.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return printable(b.Bytes()), nil
}

// printable escapes what encoding/json leaves raw and what is no text: C1 controls, DEL, format characters such as
// bidirectional overrides, and line separators. Outside of strings JSON has none of them.
func printable(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r < 0x7f || !unprintable(r) {
			out = append(out, text[i:i+n]...)
		} else if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		} else {
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// beginnings are how the reports of this package begin.
var beginnings = map[Format][]string{
	Text:     {"ALLOWED  ", "DENIED  ", "DENIED" + audited + "  ", "VERIFIED  ", "FAILED  "},
	JSON:     {"{\n  \"schema\": \"" + Schema + "\""},
	SARIF:    {"{\n  \"$schema\": \"" + sarifSchema + "\""},
	JUnit:    {junitHeader},
	Markdown: {markdownHeader},
}

// Is reports whether data begins as a report in the format does, so that a file of another kind is not written over.
func Is(format Format, data []byte) bool {
	return slices.ContainsFunc(beginnings[format], func(b string) bool { return bytes.HasPrefix(data, []byte(b)) })
}

// Verdict is the verdict that every format of the report begins with.
func Verdict(r Report) string { return r.summary().verdict }
