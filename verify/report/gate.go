package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// Gate reports a policy's decision.
type Gate struct {
	Decision *policies.Decision
	// Audit says that a denial stops nothing: the verdict says so, and is what it would be anyway.
	Audit bool
}

// audited is what follows the verdict of a denial that stops nothing.
const audited = " (audit)"

// noteAudit says what a denial in an audit means.
const noteAudit = "only audited: the exit status is 0 although the artifact is denied"

// Text implements Report.
func (g Gate) Text(w io.Writer, style Style) error {
	d := g.Decision
	p := &draw.Lines{To: w}
	p.Line("%s  %s  policy %s %s", style.verdict(d.Err() == nil, g.summary().verdict), subjectLine(d.Subject), policyLine(d.Policy), short(d.Policy.Digest))
	if g.audits() {
		p.Line("  note: %s", noteAudit)
	}
	for _, line := range overrides(d) {
		p.Line("  parameter %s", escape.Line(line))
	}
	width, unmet := 0, 0
	for _, r := range d.Requirements {
		width = max(width, len([]rune(escape.Line(r.ID))))
		if !r.Passed || r.Waiver != "" {
			unmet++
		}
	}
	for _, s := range d.Skipped {
		width = max(width, len([]rune(escape.Line(s.Check))))
	}
	for _, r := range d.Requirements {
		g.requirement(p, style, r, width, unmet)
	}
	for _, s := range d.Skipped {
		p.Line("  %s %s  not done: %s", style.mark(verify.NotDone), pad(escape.Line(s.Check), width), escape.Line(s.Reason))
	}
	for _, note := range d.Notes {
		p.Line("  note: %s", escape.Line(note))
	}
	g.notCounted(p)
	return p.Err
}

// notCounted lists the statements that no failed requirement has shown already.
func (g Gate) notCounted(p *draw.Lines) {
	title := "  seen and not counted:"
	for _, s := range g.unshown() {
		if title != "" {
			p.Line("%s", title)
			title = ""
		}
		p.Line("      %s", seenLine(s))
	}
}

// unshown are the statements that counted for nothing and that no failed requirement shows.
func (g Gate) unshown() []policies.Seen {
	shown := map[string]bool{}
	for _, r := range g.Decision.Requirements {
		for _, s := range r.NearMisses {
			shown[s.ID] = shown[s.ID] || !r.Passed
		}
	}
	var out []policies.Seen
	for _, s := range g.Decision.Ignored {
		if !shown[s.ID] {
			out = append(out, s)
		}
	}
	return out
}

func (g Gate) requirement(p *draw.Lines, style Style, r policies.Requirement, width, unmet int) {
	indent := strings.Repeat(" ", 6+width)
	id := pad(escape.Line(r.ID), width)
	p.Line("  %s %s  %s", style.requirementMark(r), id, style.finding(r))
	if r.Passed {
		return
	}
	if r.Message != "" {
		p.Line("%s%s", indent, escape.Line(r.Message))
	}
	for _, v := range r.Values {
		p.Line("%scondition  %s", indent, escape.Line(v))
	}
	for _, s := range r.NearMisses {
		p.Line("%sseen  %s", indent, seenLine(s))
	}
	if fix := nextStep(r); fix != "" {
		p.Line("%sfix   %s", indent, escape.Line(fix))
	}
	if r.Denies() && unmet == 1 && len(g.Decision.Requirements) > 1 {
		p.Line("%sall other requirements are met", indent)
	}
}

// verdict is the decision's, whatever is done with it. What a decision says that its own requirements contradict is a denial.
func (g Gate) verdict() string {
	if g.Decision.Err() != nil {
		return policies.Deny.String()
	}
	return g.Decision.Verdict.String()
}

// audits reports whether the denial stops nothing.
func (g Gate) audits() bool { return g.Audit && g.Decision.Err() != nil }

// overrides are the parameters that were given other values than the policy's, a line each.
func overrides(d *policies.Decision) []string {
	var out []string
	for _, o := range d.Overrides {
		out = append(out, overridden(o))
	}
	return out
}

func overridden(o policies.Override) string {
	return fmt.Sprintf("%s is %s; the policy says %s", o.Name, o.Value, o.Default)
}

// requirementMark is how a requirement ended as one sign: "~" for one that is waived, "!" for one that failed and denies nothing.
func (s Style) requirementMark(r policies.Requirement) string {
	mark := draw.Warned
	switch {
	case r.Passed && r.Waiver != "":
		mark = draw.Waived
	case r.Passed:
		mark = draw.Passed
	case r.Denies():
		mark = draw.Failed
	}
	return draw.Style(s).Mark(mark)
}

// finding is what came of a requirement in one line, escaped.
func (s Style) finding(r policies.Requirement) string {
	detail, code := escape.Line(r.Detail), escape.Line(string(r.Code))
	switch {
	case r.Passed:
		return detail
	case r.Denies():
		return s.paint(draw.Red, code) + ": " + detail
	}
	return escape.Line(string(r.Severity)) + ": " + s.paint(draw.Yellow, code) + ": " + detail
}

// pad fills up with blanks to so many characters.
func pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-len([]rune(s)))) }

func subjectLine(s policies.Subject) string {
	text := escape.Line(s.Name)
	if sha, ok := s.Digests["sha256"]; ok {
		return text + "@" + short("sha256:"+sha)
	}
	return text + " " + short("dirHash:"+s.Digests["dirHash"])
}

func policyLine(ref policies.PolicyRef) string {
	text := escape.Line(ref.Name)
	if ref.Version > 0 {
		text += fmt.Sprintf(" v%d", ref.Version)
	}
	return text
}

// seenLine is a statement in one line, escaped.
func seenLine(s policies.Seen) string {
	parts := []string{short(s.ID)}
	if s.PredicateType != "" {
		parts = append(parts, escape.Line(shortType(s.PredicateType)))
	}
	if len(s.Signers) > 0 {
		parts = append(parts, "by "+escape.Line(strings.Join(s.Signers, ", ")))
	}
	if !s.Time.IsZero() {
		parts = append(parts, s.Time.UTC().Format(time.RFC3339)+" ("+escape.Line(s.TimeSource)+")")
	}
	if s.Code != "" {
		parts = append(parts, escape.Line(string(s.Code)))
	}
	text := strings.Join(parts, "  ")
	if s.Reason != "" {
		text += ": " + escape.Line(s.Reason)
	}
	return text
}

// shortType leaves out the scheme of a predicate type.
func shortType(uri string) string { return strings.TrimPrefix(uri, "https://") }

// short cuts a digest to what a person compares, escaped. The JSON form has it whole.
func short(digest string) string { return escape.Line(draw.Digest(digest)) }

// JSON implements Report.
func (g Gate) JSON() any {
	d := *g.Decision
	if d.Ignored == nil {
		d.Ignored = []policies.Seen{} // a list, also for programs that do not know null
	}
	if d.Skipped == nil {
		d.Skipped = []policies.Skipped{}
	}
	if d.Requirements == nil {
		d.Requirements = []policies.Requirement{}
	}
	if d.Lineage != nil {
		d.Lineage = &policies.Graph{Nodes: append([]policies.Node{}, d.Lineage.Nodes...), Edges: append([]policies.Edge{}, d.Lineage.Edges...)}
	}
	return struct {
		Schema  string `json:"schema"`
		Kind    string `json:"kind"`
		Verdict string `json:"verdict"`
		Audit   bool   `json:"audit,omitempty"`
		*policies.Decision
	}{Schema, "gate", g.verdict(), g.Audit, &d}
}
