// Package draw is what all texts for people have in common: marks, colours, short digests.
package draw

import (
	"fmt"
	"io"
	"strings"
)

// Style of a text. The zero value has no colours.
type Style struct{ Color bool }

// The colours.
const (
	Bold       = "1"
	BoldYellow = "1;33"
	Green      = "32"
	Red        = "31"
	Yellow     = "33"
)

// Paint gives a text a colour, when there are any.
func (s Style) Paint(color, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// Verdict is the word that a text begins with.
func (s Style) Verdict(good bool, text string) string {
	if good {
		return s.Paint("1;32", text)
	}
	return s.Paint("1;31", text)
}

// Mark is how one thing ended, as one sign.
type Mark string

// The marks.
const (
	Passed  Mark = "✓"
	Failed  Mark = "✗"
	Waived  Mark = "~" // it would have failed, and a waiver lets it pass
	Warned  Mark = "!" // it failed, and denies nothing
	NotDone Mark = "-"
	Unknown Mark = "?"
)

// PassedIf is the mark of a plain yes or no.
func PassedIf(good bool) Mark {
	if good {
		return Passed
	}
	return Failed
}

// Mark is the mark in its colour.
func (s Style) Mark(m Mark) string {
	switch m {
	case Passed:
		return s.Paint(Green, string(m))
	case Failed:
		return s.Paint(Red, string(m))
	}
	return s.Paint(Yellow, string(m))
}

// Lines writes lines until the first error.
type Lines struct {
	To  io.Writer
	Err error
}

// Line writes one. What strangers chose is escaped already (package escape).
func (l *Lines) Line(format string, args ...any) {
	if l.Err == nil {
		_, l.Err = fmt.Fprintf(l.To, format+"\n", args...)
	}
}

// Digest cuts a digest to what a person compares: "sha256:6c1c5a1a…".
func Digest(digest string) string {
	algorithm, value, ok := strings.Cut(digest, ":")
	if !ok || len(value) <= 12 {
		return digest
	}
	return algorithm + ":" + value[:12] + "…"
}
