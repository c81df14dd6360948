package policies

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Graph is what an artifact was made from, as far as the edges of a policy followed it. It serves to be shown; the verdict
// stands in the requirements.
type Graph struct {
	Nodes []Node `json:"nodes"` // the artifact first, then the nearest; each once
	Edges []Edge `json:"edges"`
}

// Node is the artifact, or something that it was made from.
type Node struct {
	Name    string            `json:"name,omitempty"` // of the artifact; the role of a dependency, as the first edge calls it
	Digests map[string]string `json:"digests"`
	Depth   int               `json:"depth"` // statements between it and the artifact, along the shortest way
	Passed  bool              `json:"passed"`
	Code    Code              `json:"code,omitempty"` // the first reason when it did not pass
	Detail  string            `json:"detail,omitempty"`
	// Statements are those that vouch for it, each once.
	Statements []Seen `json:"statements,omitempty"`
}

// Edge says that one node was made from another, by the word of a statement. From and To are indexes of Graph.Nodes.
type Edge struct {
	From      int    `json:"from"`
	To        int    `json:"to"`
	Role      string `json:"role"`
	Statement string `json:"statement"` // Seen.ID of the statement that says so
}

// growing is a Graph while it is made.
type growing struct {
	Graph
	maxDepth, maxNodes int
	index              map[string]int   // node by its digests
	items              []map[*item]bool // that vouch, by node
	linked             map[Edge]bool
}

func newGraph(p *Policy, subject Subject) *growing {
	g := &growing{maxDepth: p.maxDepth, maxNodes: p.maxNodes, index: map[string]int{}, linked: map[Edge]bool{}}
	g.add(Node{Name: subject.Name, Digests: subject.Digests, Passed: true})
	return g
}

func (g *growing) add(n Node) int {
	g.Nodes = append(g.Nodes, n)
	g.items = append(g.items, map[*item]bool{})
	return len(g.Nodes) - 1
}

// digestKey names a digest set.
func digestKey(set map[string]string) string {
	var b strings.Builder
	for _, algorithm := range slices.Sorted(maps.Keys(set)) {
		b.WriteString(algorithm + ":" + set[algorithm] + " ")
	}
	return b.String()
}

// reach finds or makes the node of a dependency.
func (g *growing) reach(d dependency, it *item, of int) (int, error) {
	key := digestKey(d.Digests)
	to, known := g.index[key]
	if !known {
		depth := g.Nodes[of].Depth + 1
		switch {
		case depth > g.maxDepth:
			return 0, fmt.Errorf("more than %d statements behind the artifact (lineage.maxDepth)", g.maxDepth)
		case len(g.index) >= g.maxNodes:
			return 0, fmt.Errorf("the artifact was made from more than %d things (lineage.maxNodes)", g.maxNodes)
		}
		to = g.add(Node{Name: d.Name, Digests: d.Digests, Depth: depth, Passed: true})
		g.index[key] = to
	}
	g.link(Edge{From: of, To: to, Role: d.Name, Statement: it.ID})
	return to, nil
}

func (g *growing) link(e Edge) {
	if !g.linked[e] {
		g.linked[e] = true
		g.Edges = append(g.Edges, e)
	}
}

// deny shows a dependency that is not followed. One without a digest that is accepted is no node.
func (g *growing) deny(d dependency, it *item, of int, code Code) {
	if len(d.Digests) == 0 {
		return
	}
	if to, err := g.reach(d, it, of); err == nil {
		g.settle(to, code, "")
	}
}

// settle notes how a node ended along one edge.
func (g *growing) settle(node int, code Code, detail string) {
	n := &g.Nodes[node]
	switch {
	case code != "" && n.Passed:
		n.Passed, n.Code, n.Detail = false, code, detail
	case code == "" && n.Detail == "":
		n.Detail = detail
	}
}

// vouch notes the statements that hold for a node.
func (g *growing) vouch(node int, items []*item) {
	for _, it := range items {
		if !g.items[node][it] {
			g.items[node][it] = true
			g.Nodes[node].Statements = append(g.Nodes[node].Statements, it.seen("", ""))
		}
	}
}

// cycle finds a node that descends from itself, as the edge that closes the circle; ok is false when there is none. Nodes are one
// for it when they have a digest in common: A by one of its names is A.
func (g *growing) cycle() (Edge, bool) {
	groups := newUnion()
	for i, n := range g.Nodes {
		for algorithm, value := range n.Digests {
			groups.join(fmt.Sprint("node ", i), algorithm+":"+value)
		}
	}
	of := make([]string, len(g.Nodes))
	for i := range g.Nodes {
		of[i] = groups.of(fmt.Sprint("node ", i))
	}
	out := map[string][]Edge{}
	for _, e := range g.Edges {
		out[of[e.From]] = append(out[of[e.From]], e)
	}
	const open, closed = 1, 2
	state := map[string]int{}
	var visit func(at string) (Edge, bool)
	visit = func(at string) (Edge, bool) {
		state[at] = open
		for _, e := range out[at] {
			switch next := of[e.To]; state[next] {
			case open:
				return e, true
			case 0:
				if found, ok := visit(next); ok {
					return found, true
				}
			}
		}
		state[at] = closed
		return Edge{}, false
	}
	return visit(of[0]) // everything was reached from the artifact
}

// union joins names into groups.
type union map[string]string

func newUnion() union { return union{} }

func (u union) of(name string) string {
	for {
		next, ok := u[name]
		if !ok {
			return name
		}
		name = next
	}
}

func (u union) join(a, b string) {
	if a, b = u.of(a), u.of(b); a != b {
		u[b] = a
	}
}

// step is a statement of a rule about a node, to be followed by the edges that start at the rule.
type step struct {
	rule string
	it   *item
	node int
}

// lineage is the way through the graph, breadth first: each statement of a rule and each dependency of an edge once.
type lineage struct {
	*evaluation
	graph *growing
	walks []*walk
	queue []step
	taken map[step]bool
	asked map[asked]bool
}

// asked is a dependency that an edge has been asked about.
type asked struct {
	edge *edge
	node int
}

// trace follows all edges and says how each of them ended.
func (e *evaluation) trace(subject Subject) ([]Requirement, *lineage) {
	p := e.policy
	l := &lineage{evaluation: e, graph: newGraph(p, subject), taken: map[step]bool{}, asked: map[asked]bool{}}
	for i := range p.edges {
		l.walks = append(l.walks, &walk{lineage: l, edge: &p.edges[i]})
	}
	for i := range p.require {
		l.start(&p.require[i])
	}
	for len(l.queue) > 0 {
		s := l.queue[0]
		l.queue = l.queue[1:]
		for _, w := range l.from(s.rule) {
			w.statement(s.it, s.node)
		}
	}
	if closing, ok := l.graph.cycle(); ok {
		l.circle(closing)
	}
	l.reachDown()
	l.separate()
	var out []Requirement
	for _, w := range l.walks {
		out = append(out, w.requirement())
	}
	return out, l
}

// start follows a requirement about the artifact itself.
func (l *lineage) start(r *rule) {
	found := l.satisfied[r.id]
	if len(found) == 0 {
		for _, w := range l.from(r.id) {
			w.fail(LineageGap, "requirement %s failed, so that nothing says what the artifact was made from", r.id)
		}
		return
	}
	if len(l.from(r.id)) > 0 {
		l.graph.vouch(0, found)
	}
	l.follow(r, found, 0)
}

// from are the walks that start at a rule.
func (l *lineage) from(id string) []*walk {
	var out []*walk
	for _, w := range l.walks {
		if w.edge.follows(id) {
			out = append(out, w)
		}
	}
	return out
}

// follow queues what a rule's statements say about a node. An artifact has one producer: where several are meant to be
// possible, the rule says so with match.
func (l *lineage) follow(r *rule, found []*item, node int) {
	walks := l.from(r.id)
	if len(walks) == 0 {
		return
	}
	if !r.matchSet && slices.Equal(r.types, []string{provenanceType}) && producers(found) > 1 {
		for _, w := range walks {
			w.fail(LineageAmbiguous, "%d provenance statements say differently what %s was made from; write match where that is meant to be possible",
				producers(found), l.graph.describe(node))
		}
		l.graph.settle(node, LineageAmbiguous, "several producers")
		return
	}
	for _, it := range found {
		if s := (step{r.id, it, node}); !l.taken[s] {
			l.taken[s] = true
			l.queue = append(l.queue, s)
		}
	}
}

// producers counts the different predicates: one that two people signed is one.
func producers(found []*item) int {
	var different []any
	for _, it := range found {
		predicate := it.Statement["predicate"]
		if !slices.ContainsFunc(different, func(p any) bool { return reflect.DeepEqual(p, predicate) }) {
			different = append(different, predicate)
		}
		if len(different) > 1 {
			return len(found)
		}
	}
	return len(different)
}

func (g *growing) describe(node int) string {
	if node == 0 {
		return "the artifact"
	}
	return foreign(g.Nodes[node].Name) + " " + short(g.Nodes[node].Digests)
}

// first reports whether the edge comes to the node for the first time.
func (w *walk) first(node int) bool {
	key := asked{w.edge, node}
	if w.asked[key] {
		return false
	}
	w.asked[key] = true
	return true
}

// circle fails the edge that closes a circle.
func (l *lineage) circle(closing Edge) {
	for _, w := range l.walks {
		if w.edge.role == closing.Role {
			w.fail(LineageCycle, "%s descends from itself: %s says that it was made from %s",
				l.graph.describe(closing.From), cut(closing.Statement), l.graph.describe(closing.To))
		}
	}
	l.graph.settle(closing.To, LineageCycle, "descends from itself")
}

// reachDown looks for what an edge denies among all that the artifact descends from, in whatever role and however far.
func (l *lineage) reachDown() {
	for _, w := range l.walks {
		if len(w.edge.deny) == 0 || w.code == DigestDenied {
			continue
		}
		a := l.ancestry()
		if by, ok := a.denies(w.edge.deny); ok {
			w.miss("%s.denyDigests", w.edge.name())
			w.fail(DigestDenied, "%s", by.detail)
			continue
		}
		if a.err != nil {
			w.fail(a.code, "not everything that the artifact descends from could be compared with denyDigests: %v", a.err)
		}
	}
}
