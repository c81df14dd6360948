package policytest

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/internal/escape"
)

// Schema is the version of the JSON form: {schema, passed, results: [Result…]}. Fields are added to it, never changed.
const Schema = "https://mlseal.dev/policy-test/v1"

// JSON is what a program reads about several suites.
func JSON(results []*Result) any {
	return struct {
		Schema  string    `json:"schema"`
		Passed  bool      `json:"passed"`
		Results []*Result `json:"results"`
	}{Schema, len(results) > 0 && !slices.ContainsFunc(results, func(r *Result) bool { return !r.Passed() }), results}
}

// Style of a text. The zero value has no colours.
type Style struct{ Color bool }

func (s Style) mark(good bool) string { return draw.Style(s).Mark(draw.PassedIf(good)) }

// printer writes lines without what a terminal would obey.
type printer struct{ draw.Lines }

func (p *printer) line(format string, args ...any) {
	p.Line("%s", escape.Line(fmt.Sprintf(format, args...)))
}

// marked writes a line behind a mark, which may have colours.
func (p *printer) marked(mark, format string, args ...any) {
	p.Line("  %s %s", mark, escape.Line(fmt.Sprintf(format, args...)))
}

// Text writes the result for a person: the verdict, then one line a case, then what is missing.
func (r *Result) Text(w io.Writer, style Style) error {
	p := &printer{draw.Lines{To: w}}
	passed := 0
	for _, c := range r.Cases {
		if c.Passed {
			passed++
		}
	}
	verdict := "FAILED"
	if r.Passed() {
		verdict = "PASSED"
	}
	p.Line("%s  %s", draw.Style(style).Verdict(r.Passed(), verdict), escape.Line(fmt.Sprintf("%s  policy %s  %d of %d cases", r.Suite, r.Policy.Name, passed, len(r.Cases))))
	for _, c := range r.Cases {
		c.text(p, style)
	}
	if r.Coverage != nil {
		r.Coverage.text(p, style)
	}
	if r.Mutants != nil {
		r.Mutants.text(p, style)
	}
	return p.Err
}

func (c CaseResult) text(p *printer, style Style) {
	p.marked(style.mark(c.Passed), "%s: %s", c.Name, c.Got)
	if c.Passed {
		return
	}
	p.line("      line %d wants %s", c.Line, c.Expect)
	for _, req := range c.Decision.Requirements {
		if !req.Passed {
			p.line("      %s %s: %s", req.ID, req.Code, req.Detail)
		}
	}
}

func (c *Coverage) text(p *printer, style Style) {
	for _, kind := range partKinds {
		covered, all := c.Count(kind)
		if all == 0 {
			continue
		}
		wanted := ""
		if w := c.Wanted[kind]; w > 0 {
			wanted = fmt.Sprintf(", %d%% wanted", w)
		}
		p.marked(style.mark(c.EnoughOf(kind)), "coverage of %s: %d of %d (%d%%%s)", kind, covered, all, covered*100/all, wanted)
		for _, part := range c.Missing(kind) {
			p.line("      never seen failing: %s", strings.TrimSpace(fmt.Sprintf("%s %s", part.Name+place(part.Line), part.What)))
		}
	}
}

func place(line int) string {
	if line == 0 {
		return ""
	}
	return fmt.Sprintf(" (line %d)", line)
}

func (s *Survey) text(p *printer, style Style) {
	p.marked(style.mark(s.Passed()), "mutants: %d made, %d not noticed, %d accepted", s.Mutants, len(s.Survivors), s.Accepted)
	for _, v := range s.Survivors {
		p.line("      %s, %s: %s", v.Statement, v.Mutant, v.Detail)
	}
	for _, note := range s.Notes {
		p.line("      note: %s", note)
	}
}
