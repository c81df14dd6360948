// Package report shows decisions and checks to people and to programs: as text, JSON, SARIF 2.1.0, JUnit XML and Markdown, and as
// the predicates of signed summaries, VSA and SVR. It is pure: values in, bytes out.
//
// The text's first line is the verdict, then one line a check, then what to do. The JSON form carries its schema's version in
// "schema" (docs/schemas/report-v1.json): fields are added to it, never changed. Every form lists the checks that were not
// done. A verdict that is no yes has a failed check in each of them, so that whoever counts failures finds one.
//
// Everything that a stranger named is escaped: it is shown on one line, and no control character, terminal escape, workflow command,
// element or link comes out of it.
package report

import (
	"io"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/verify"
)

// Schema is the version of the JSON form.
const Schema = "https://mlseal.dev/report/v1"

// Document is anything that can be shown to people and to programs.
type Document interface {
	// Text writes it for a person.
	Text(w io.Writer, style Style) error
	// JSON returns the value that is written for a program.
	JSON() any
}

// Report is a decision or a verification, which has a verdict and can be shown in every Format.
type Report interface {
	Document
	summary() summary
}

// Style of a text. The zero value has no colours.
type Style struct{ Color bool }

func (s Style) paint(color, text string) string { return draw.Style(s).Paint(color, text) }

func (s Style) verdict(good bool, text string) string { return draw.Style(s).Verdict(good, text) }

func (s Style) mark(status verify.Status) string {
	switch status {
	case verify.Passed:
		return draw.Style(s).Mark(draw.Passed)
	case verify.Failed:
		return draw.Style(s).Mark(draw.Failed)
	}
	return draw.Style(s).Mark(draw.NotDone)
}
