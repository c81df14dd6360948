package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
)

//go:embed lineage.html.tmpl
var lineagePage string

// page is the template of the HTML form. It is well-formed XML too, which is how the tests know that nothing breaks out of its place.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("lineage").Funcs(template.FuncMap{"text": markupText, "fit": fit, "add": func(a, b int) int { return a + b }}).Parse(lineagePage))
})

// HTML writes a page that stands alone: it fetches nothing and runs nothing.
func (l *Lineage) HTML(w io.Writer) error {
	children := l.children()
	drawn := layOut(len(l.Nodes), children)
	data := pageData{Lineage: l, Title: l.title(), Drawing: drawn, BoxWidth: boxWidth, BoxHeight: boxHeight, Remarks: l.remarks()}
	data.Verdict, data.Class = "NOT VERIFIED", "unverified"
	if l.Verified {
		data.Verdict, data.Class = l.Verdict, "failed"
	}
	if l.Verified && l.Verdict == policies.Allow.String() {
		data.Class = "passed"
	}
	for i := range l.Nodes {
		data.Things = append(data.Things, l.thing(i, children[i], drawn.Boxes[i]))
		if i > 0 && l.Nodes[i].Status == NodeFailed {
			data.bad(i, &l.Nodes[i])
		}
	}
	for _, e := range slices.Concat(children...) {
		of := &data.Things[e.To]
		of.PartOf = append(of.PartOf, relation{e.From, l.Nodes[e.From].name() + " as " + (&LineageNode{Name: e.Role}).name()})
	}
	if l.Time != nil && !l.Time.IsZero() {
		data.When = l.Time.UTC().Format(time.RFC3339)
	}
	return page().Execute(w, data)
}

// pageData is what the template sees.
type pageData struct {
	*Lineage
	Title, Verdict, Class, When string
	Remarks                     []string
	Drawing                     *drawing
	BoxWidth, BoxHeight         int
	Things                      []thing
	Bad                         int        // things behind the artifact that failed
	Where                       []relation // the first of them
}

func (d *pageData) bad(i int, n *LineageNode) {
	const most = 20
	d.Bad++
	if len(d.Where) < most {
		d.Where = append(d.Where, relation{i, n.name() + " " + short(n.digest()) + " (" + string(n.Code) + ")"})
	}
}

// thing is a node as the page shows it.
type thing struct {
	*LineageNode
	Index                   int
	Box                     box
	Mark, Called            string
	Short, Finding, Brief   string
	StatusText              string   // empty where the finding says it
	All                     []string // digests
	MadeFrom, PartOf, Vouch []relation
}

// relation is an edge as one of its ends sees it, or a statement.
type relation struct {
	Index int
	Text  string
}

func (l *Lineage) thing(i int, children []policies.Edge, at box) thing {
	n := &l.Nodes[i]
	t := thing{LineageNode: n, Index: i, Box: at, Mark: n.mark(), Called: n.name(), Short: short(n.digest()), All: n.digests(), Finding: n.finding(), Brief: n.brief()}
	t.StatusText = map[NodeStatus]string{NodePassed: "passed", NodeFailed: "failed"}[n.Status]
	for _, e := range children {
		t.MadeFrom = append(t.MadeFrom, relation{e.To, e.Role + " " + short(l.Nodes[e.To].digest())})
	}
	for _, s := range n.Statements {
		t.Vouch = append(t.Vouch, relation{Text: strings.TrimSpace(vouches(s) + " " + s.ID)})
	}
	return t
}

// brief is the finding for as little room as a box has.
func (n *LineageNode) brief() string {
	if n.Status != NodePassed || len(n.Statements) == 0 {
		return n.finding()
	}
	s := n.Statements[0]
	text := "by " + strings.Join(s.Signers, ", ")
	if !s.Time.IsZero() {
		text += ", " + s.Time.UTC().Format(time.DateOnly)
	}
	return text
}

// markupText is a text that a stranger chose, for a page or a drawing: one line without what a reader would obey, nor what is no character.
func markupText(s any) string {
	return strings.Map(func(r rune) rune {
		if r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
			return '\ufffd'
		}
		return r
	}, escape.Line(fmt.Sprint(s)))
}

// fit cuts a text to what has room in a box, at most that many narrow letters. Letters of scripts that are set wider count twice.
func fit(most int, s any) string {
	runes := []rune(markupText(s))
	width := 0
	for i, r := range runes {
		width++
		if r >= 0x1100 {
			width++
		}
		if width > most {
			return string(slices.Concat(runes[:max(0, i-1)], []rune("…")))
		}
	}
	return string(runes)
}
