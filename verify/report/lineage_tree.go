package report

import (
	"io"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// Text implements Document: a tree in which each thing is shown once, and referred to where it comes again.
func (l *Lineage) Text(w io.Writer, style Style) error {
	p := &draw.Lines{To: w}
	l.head(p, style)
	t := &treePrinter{Lines: p, style: style, lineage: l, children: l.children(), shown: make([]bool, len(l.Nodes)), open: make([]bool, len(l.Nodes))}
	if len(l.Nodes) > 0 {
		n := &l.Nodes[0]
		p.Line("%s %s  %s  %s", t.mark(n), escape.Line(n.name()), short(n.digest()), escape.Line(n.finding()))
		t.below(0, "")
	}
	if l.Incomplete != "" {
		p.Line("incomplete: %s", escape.Line(l.Incomplete))
	}
	for _, note := range l.remarks() {
		p.Line("%s %s", style.mark(verify.NotDone), escape.Line(note))
	}
	return p.Err
}

func (l *Lineage) head(p *draw.Lines, style Style) {
	if !l.Verified {
		p.Line("%s  %s  this is what statements say, whoever signed them", style.paint(draw.BoldYellow, "NOT VERIFIED"), subjectLine(l.Subject))
		return
	}
	p.Line("%s  %s  policy %s %s", style.verdict(l.Verdict == policies.Allow.String(), l.Verdict), subjectLine(l.Subject), policyLine(*l.Policy), short(l.Policy.Digest))
	for _, f := range l.Failed {
		r := policies.Requirement{Passed: f.Waiver != "", Code: f.Code, Severity: f.Severity, Waiver: f.Waiver, Detail: f.Detail}
		p.Line("  %s %s  %s", style.requirementMark(r), escape.Line(f.ID), style.finding(r))
	}
}

// treePrinter prints the nodes below one another, depth first.
type treePrinter struct {
	*draw.Lines
	style    Style
	lineage  *Lineage
	children [][]policies.Edge
	shown    []bool // printed with what is below it
	open     []bool // on the way from the artifact to here
}

func (t *treePrinter) mark(n *LineageNode) string {
	return draw.Style(t.style).Mark(draw.Mark(n.mark()))
}

func (t *treePrinter) below(node int, indent string) {
	t.shown[node], t.open[node] = true, true
	for i, e := range t.children[node] {
		branch, next := "├─ ", "│  "
		if i == len(t.children[node])-1 {
			branch, next = "└─ ", "   "
		}
		t.edge(e, indent+branch, indent+next)
	}
	t.open[node] = false
}

func (t *treePrinter) edge(e policies.Edge, branch, next string) {
	n := &t.lineage.Nodes[e.To]
	role := LineageNode{Name: e.Role}
	text := branch + t.mark(n) + " " + escape.Line(role.name()) + "  " + short(n.digest())
	if n.URI != "" {
		text += "  " + escape.Line(n.URI)
	}
	switch {
	case t.open[e.To]:
		t.Line("%s  ↑ see above: a circle", text)
	case t.shown[e.To]:
		t.Line("%s  ↑ see above", text)
	default:
		t.Line("%s  %s", text, escape.Line(n.finding()))
		t.below(e.To, next)
	}
}
