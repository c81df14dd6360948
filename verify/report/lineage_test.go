package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func hexOf(name string) map[string]string {
	return map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(name)))}
}

var signedOn = time.Date(2026, 11, 18, 15, 2, 0, 0, time.UTC)

func vouchedBy(who, what string) []policies.Seen {
	return []policies.Seen{{ID: "sha256:" + strings.Repeat("5", 64), PredicateType: what, Signers: []string{who}, Time: signedOn, TimeSource: "Rekor"}}
}

// decided is a decision about a model whose dataset, far behind, was withdrawn.
func decided() *policies.Decision {
	const provenance, dataset = "https://slsa.dev/provenance/v1", "https://mlseal.dev/attestation/dataset/v0.1"
	return &policies.Decision{
		Policy:  policies.PolicyRef{Name: "prod-gate", Version: 7, Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject: policies.Subject{Name: "support-bot", Digests: hexOf("bot")}, Time: signedOn,
		Requirements: []policies.Requirement{
			{ID: "revocations", Code: policies.Revoked, Detail: "withdrawn by data-office: consent was taken back"},
			{ID: "built", Passed: true, Detail: "1 provenance statement by trainer"},
			{ID: "card", Severity: policies.Warn, Code: policies.TypeMissing, Detail: "no model card"},
		},
		Lineage: &policies.Graph{
			Nodes: []policies.Node{
				{Name: "support-bot", Digests: hexOf("bot"), Passed: true, Statements: vouchedBy("trainer", provenance)},
				{Name: "baseModel", Digests: hexOf("llm"), Depth: 1, Passed: true, Statements: vouchedBy("trainer", provenance)},
				{Name: "dataset", Digests: hexOf("chats"), Depth: 1, Passed: true, Statements: vouchedBy("data-office", dataset)},
				{Name: "dataset", Digests: hexOf("crawl"), Depth: 2, Code: policies.Revoked, Detail: "consent was taken back"},
			},
			Edges: []policies.Edge{{From: 0, To: 1, Role: "baseModel", Statement: "sha256:1"}, {From: 0, To: 2, Role: "dataset", Statement: "sha256:1"},
				{From: 1, To: 3, Role: "dataset", Statement: "sha256:2"}, {From: 2, To: 3, Role: "source", Statement: "sha256:3"}},
		},
	}
}

func claimed() *Lineage {
	a := &verify.Ancestry{About: 2,
		Ancestors:  []verify.Ancestor{{Role: "baseModel", URI: "hf://acme/llm", Digests: hexOf("llm"), Statements: 1}, {Role: "dataset", Digests: hexOf("crawl")}, {Role: "stray", Digests: hexOf("stray")}},
		Links:      []verify.Link{{From: 0, To: 1, Role: "baseModel", Statement: "a"}, {From: 0, To: 1, Role: "baseModel", Statement: "b"}, {From: 0, To: 2, Role: "dataset", Statement: "a"}, {From: 1, To: 2, Role: "dataset", Statement: "c"}, {From: 1, To: 0, Role: "teacher", Statement: "c"}},
		Undigested: []verify.Undigested{{From: 1, Role: "code", URI: "git+https://example.test/code"}},
		Unread:     []string{"rubbish.json"}}
	return UnverifiedLineage(policies.Subject{Name: "support-bot", Digests: hexOf("bot")}, a, errors.New("more than there is room for"))
}

func hostile() *Lineage {
	evilest := evil + "\x00\x7f\u0085\ufffe</title></svg><script>alert(1)</script>\"];x[label=\"\\\" &lt; \\N \\"
	d := decided()
	d.Subject.Name, d.Policy.Name = evilest, evilest
	for i := range d.Lineage.Nodes {
		n := &d.Lineage.Nodes[i]
		n.Name, n.Detail = evilest, evilest
		n.Digests = map[string]string{"sha256": evilest, evilest: "x"}
		for j := range n.Statements {
			n.Statements[j].PredicateType, n.Statements[j].Signers, n.Statements[j].ID = evilest, []string{evilest}, evilest
		}
	}
	for i := range d.Lineage.Edges {
		d.Lineage.Edges[i].Role = evilest
	}
	for i := range d.Requirements {
		d.Requirements[i].Detail = evilest
	}
	d.Notes = []string{evilest}
	return LineageOf(d)
}

var lineages = map[string]func() *Lineage{
	"lineage-denied":     func() *Lineage { return LineageOf(decided()) },
	"lineage-unverified": claimed,
	"lineage-waived":     func() *Lineage { return LineageOf(reports["waived"].(Gate).Decision) },
	"lineage-hostile":    hostile,
	"lineage-none": func() *Lineage {
		d := decided()
		d.Lineage, d.Requirements, d.Verdict = nil, d.Requirements[1:2], policies.Allow
		return LineageOf(d)
	},
}

// forms are a lineage in each of its forms, by the end of the golden file's name.
func forms(t testing.TB, l *Lineage) map[string]string {
	t.Helper()
	var text, dot, html bytes.Buffer
	for _, err := range []error{l.Text(&text, Style{}), l.DOT(&dot), l.HTML(&html)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asJSON, err := Marshal(l.JSON())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"txt": text.String(), "dot": dot.String(), "html": html.String(), "json": string(asJSON)}
}

func TestLineageGolden(t *testing.T) {
	for name, make := range lineages {
		for ending, got := range forms(t, make()) {
			file := filepath.Join("testdata", name+"."+ending)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || got != string(want) {
				t.Errorf("%s is not what it was (%v); -update writes it anew:\n%s", file, err, got)
			}
			checkForm(t, ending, got)
		}
	}
}

// checkForm holds what was written to the grammar of its form, and to letting nothing out that a terminal or a browser obeys.
func checkForm(t testing.TB, ending, got string) {
	t.Helper()
	for i, r := range got {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Errorf("%s: %q at %d", ending, r, i)
		}
	}
	switch ending {
	case "html":
		checkPage(t, got)
	case "dot":
		checkDOT(t, got)
	case "json":
		checkSchema(t, "lineage.json", got)
	}
}

var elements = regexp.MustCompile(`^(html|head|meta|title|style|body|header|main|footer|h[123]|p|strong|b|code|span|div|ul|ol|li|dl|dt|dd|a|br|svg|desc|defs|marker|path|g|rect|text)$`)

// checkPage parses the page as XML, strictly, and knows each element and attribute that may be in it.
func checkPage(t testing.TB, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	ids, links := map[string]bool{}, []string{}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !elements.MatchString(e.Name.Local) {
			t.Errorf("the page has an element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			switch {
			case a.Name.Local == "id" && ids[a.Value]:
				t.Errorf("the id %s is there twice", a.Value)
			case a.Name.Local == "id":
				ids[a.Value] = true
			case a.Name.Local == "href":
				links = append(links, a.Value)
			case strings.HasPrefix(a.Name.Local, "on"), a.Name.Local == "src", a.Name.Local == "style":
				t.Errorf("the page has an attribute %s", a.Name.Local)
			}
		}
	}
	for _, link := range links {
		if id, ok := strings.CutPrefix(link, "#"); !ok || !ids[id] {
			t.Errorf("the page has a link to %s", link)
		}
	}
}

// What a line of the DOT form may be (https://graphviz.org/doc/info/lang.html): in a quoted string every quotation mark stands behind
// a backslash, and the backslashes are paired otherwise, or make a new line.
var dotLine = func() *regexp.Regexp {
	const quoted = `"([^"\\]|\\["\\n])*"`
	return regexp.MustCompile(`^(digraph lineage \{|\}|  graph \[rankdir=LR, label=` + quoted + `, labelloc=t\]|  node \[shape=box, fontname="sans-serif"\]|` +
		`  n\d+ \[label=` + quoted + `, tooltip=` + quoted + `, [a-z0-9=, ]+\]|  n\d+ -> n\d+ \[label=` + quoted + `\])$`)
}()

func checkDOT(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !dotLine.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("a line of DOT: %q", line)
		}
	}
}

func lineageSchema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(testenv.Root(t), "docs", "schemas", name))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func checkSchema(t testing.TB, name, text string) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := lineageSchema(t, name).Validate(value); err != nil {
		t.Errorf("%v", err)
	}
}

// TestLineageSchemaIsStrict: a field that the schema does not know fails.
func TestLineageSchemaIsStrict(t *testing.T) {
	refuses(t, "lineage.json", forms(t, claimed())["json"], `"verified": false`, `"verified": "no"`, `"claims": 2`, `"claims": 2, "other": 1`,
		`"status": "unverified"`, `"status": "passed"`, `"to": 1`, `"to": -1`, `"verified": false`, `"verified": true`)
}

// refuses wants each change of a text that is good to be none.
func refuses(t *testing.T, schema, good string, changes ...string) {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		changed := strings.Replace(good, changes[i], changes[i+1], 1)
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(changed))
		if err != nil || changed == good || lineageSchema(t, schema).Validate(value) == nil {
			t.Errorf("%s passes (%v)", changes[i+1], err)
		}
	}
}

// TestLayoutKeepsBoxesApart draws graphs of many shapes: no two boxes share a point, and no edge runs through a box.
func TestLayoutKeepsBoxesApart(t *testing.T) {
	for name, edges := range shapes() {
		n := 1
		for _, e := range edges {
			n = max(n, e.From+1, e.To+1)
		}
		l := &Lineage{Nodes: make([]LineageNode, n), Edges: edges}
		d := layOut(n, l.children())
		for i, a := range d.Boxes {
			if a.X < 0 || a.Y < 0 || a.X+boxWidth > d.Width || a.Y+boxHeight > d.Height {
				t.Errorf("%s: box %d is outside: %+v", name, i, a)
			}
			for j, b := range d.Boxes[:i] {
				if a.X < b.X+boxWidth && b.X < a.X+boxWidth && a.Y < b.Y+boxHeight && b.Y < a.Y+boxHeight {
					t.Errorf("%s: boxes %d and %d overlap", name, i, j)
				}
			}
		}
		for _, p := range d.Paths {
			if box, ok := crosses(p.D, d.Boxes); ok {
				t.Errorf("%s: %s runs through box %d", name, p.D, box)
			}
		}
	}
}

func shapes() map[string][]policies.Edge {
	out := map[string][]policies.Edge{"one": nil, "circle": {{From: 0, To: 1}, {From: 1, To: 2}, {From: 2, To: 0}, {From: 2, To: 2}},
		"diamond": {{From: 0, To: 1}, {From: 0, To: 2}, {From: 1, To: 3}, {From: 2, To: 3}, {From: 1, To: 2}, {From: 3, To: 1}, {From: 4, To: 3}}}
	for i := range 499 {
		out["star"] = append(out["star"], policies.Edge{From: 0, To: i + 1})
		out["chain"] = append(out["chain"], policies.Edge{From: i, To: i + 1})
		out["tree"] = append(out["tree"], policies.Edge{From: i / 3, To: i + 1})
		out["dense"] = append(out["dense"], policies.Edge{From: i % 40, To: i * 7 % 40})
	}
	return out
}

var segment = regexp.MustCompile(`([MHV])(-?\d+)(?: (-?\d+))?`)

// crosses finds a box that a path of right angles runs through.
func crosses(d string, boxes []box) (int, bool) {
	x, y := 0, 0
	for _, s := range segment.FindAllStringSubmatch(d, -1) {
		toX, toY := x, y
		var a, b int
		_, _ = fmt.Sscan(s[2]+" "+s[3], &a, &b)
		switch s[1] {
		case "M":
			x, y = a, b
			continue
		case "H":
			toX = a
		case "V":
			toY = a
		}
		for i, r := range boxes {
			if max(x, toX) > r.X && min(x, toX) < r.X+boxWidth && max(y, toY) > r.Y && min(y, toY) < r.Y+boxHeight {
				return i, true
			}
		}
		x, y = toX, toY
	}
	return 0, false
}

// TestLineageOfLargeGraphs: a tree of 500 things is drawn, and each thing once.
func TestLineageOfLargeGraphs(t *testing.T) {
	for name, edges := range shapes() {
		l := &Lineage{Schema: LineageSchema, Subject: policies.Subject{Name: name, Digests: hexOf(name)}}
		for i := range 500 {
			l.Nodes = append(l.Nodes, LineageNode{Name: fmt.Sprint("thing ", i), Digests: hexOf(fmt.Sprint(i)), Status: NodeUnverified})
		}
		l.Edges = edges
		for ending, got := range forms(t, l.whole()) {
			checkForm(t, ending, got)
			if ending == "html" && strings.Count(got, `<li id="n`) != len(l.Nodes) {
				t.Errorf("%s: not each of %d things is in the list", name, len(l.Nodes))
			}
			if ending == "txt" && strings.Count(got, "no statement found") != len(l.Nodes) {
				t.Errorf("%s: not each of %d things is in the tree once", name, len(l.Nodes))
			}
		}
	}
}

// FuzzLineage: whatever the texts and edges of a graph are, each form is well-formed and holds nothing that is obeyed.
func FuzzLineage(f *testing.F) {
	f.Add("name", "role", "sha256", "abc", []byte{0, 1, 1, 2, 2, 0})
	f.Add("]]>\x1b[31m", "\"];\\", "\u202e", "\xff\ufffe\x00", []byte{3, 3, 0, 3, 255, 1})
	f.Add("<b>&lt;", "\\N\\", "--><!--", "{{.}}", []byte{0, 1})
	f.Fuzz(func(t *testing.T, a, b, c, d string, links []byte) {
		decision := decided()
		decision.Subject.Name, decision.Policy.Name, decision.Notes = a, b, []string{c, d}
		g := decision.Lineage
		for i := range g.Nodes {
			n := &g.Nodes[i]
			n.Name, n.Detail, n.Digests = b, a, map[string]string{c: d, "sha256": a}
			n.Statements = []policies.Seen{{ID: d, PredicateType: c, Signers: []string{a, b}, Time: signedOn, TimeSource: d}}
		}
		for i := 0; i+1 < len(links); i += 2 {
			g.Edges = append(g.Edges, policies.Edge{From: int(links[i]) - 1, To: int(links[i+1]) - 1, Role: d, Statement: c})
		}
		for _, l := range []*Lineage{LineageOf(decision), claimed()} {
			l.Incomplete = c
			l.Nodes[0].URI = d
			for ending, got := range forms(t, l) {
				if ending != "json" {
					checkForm(t, ending, got)
				}
			}
		}
	})
}
