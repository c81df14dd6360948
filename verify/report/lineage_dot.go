package report

import (
	"io"
	"strings"

	"github.com/mlseal/mlseal/internal/draw"
)

// DOT writes the graph for Graphviz (https://graphviz.org/doc/info/lang.html).
func (l *Lineage) DOT(w io.Writer) error {
	p := &draw.Lines{To: w}
	p.Line("digraph lineage {")
	p.Line("  graph [rankdir=LR, label=%s, labelloc=t]", dotText(l.title()))
	p.Line("  node [shape=box, fontname=\"sans-serif\"]")
	for i := range l.Nodes {
		n := &l.Nodes[i]
		p.Line("  n%d [label=%s, tooltip=%s, %s]", i, dotText(n.mark()+" "+n.name(), short(n.digest()), clip(n.finding(), 60)), dotText(n.digests()...), dotStyle(n))
	}
	for _, list := range l.children() {
		for _, e := range list {
			p.Line("  n%d -> n%d [label=%s]", e.From, e.To, dotText(e.Role))
		}
	}
	p.Line("}")
	return p.Err
}

// title says in one line what the drawing shows and what it is worth.
func (l *Lineage) title() string {
	if !l.Verified {
		return "Lineage of " + l.Subject.Name + ": not verified"
	}
	return "Lineage of " + l.Subject.Name + ": " + l.Verdict + " by policy " + l.Policy.Name
}

// dotStyle tells the statuses apart by more than colour.
func dotStyle(n *LineageNode) string {
	switch n.Status {
	case NodePassed:
		return "color=darkgreen"
	case NodeFailed:
		return "color=red, penwidth=2"
	}
	return "color=gray40, style=dashed"
}

// dotText is a quoted string of Graphviz that shows the lines as they are. Labels are escStrings, in which a backslash means something,
// and in all text Graphviz reads the entities of HTML.
func dotText(lines ...string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, line := range lines {
		if i > 0 {
			b.WriteString(`\n`)
		}
		b.WriteString(dotEscapes.Replace(markupText(line)))
	}
	b.WriteByte('"')
	return b.String()
}

var dotEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `&`, `&amp;`)

// clip cuts a text to a number of signs.
func clip(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
