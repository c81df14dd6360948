package policies

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a lineage that the policy does not bound otherwise.
const (
	defaultDepth = 8
	defaultNodes = 500
	// MaxLineageDepth and MaxLineageNodes are the largest bounds that a policy may ask for.
	MaxLineageDepth = 100
	MaxLineageNodes = 10_000
)

func (l *loader) lineage(n *yaml.Node) {
	f := l.mapping(n, "lineage", "maxDepth", "maxNodes", "edges", "order")
	l.bound(f.at["maxDepth"], "lineage.maxDepth", MaxLineageDepth, &l.policy.maxDepth)
	l.bound(f.at["maxNodes"], "lineage.maxNodes", MaxLineageNodes, &l.policy.maxNodes)
	ids := map[string]bool{}
	nodes := l.list(l.need(f, "edges"), "lineage.edges")
	for _, c := range nodes {
		e := l.edge(c)
		// The id of an edge's requirement is its own, so two edges of one role need a name each.
		if ids[e.id] {
			l.failf(c, "duplicate role %q; one edge describes a role, unless it has an id of its own", e.id)
		}
		ids[e.id] = true
		l.policy.edges = append(l.policy.edges, e)
	}
	// An edge may start at a rule of an edge below it, or of its own.
	for i, c := range nodes {
		if l.err == nil {
			l.checkFrom(c, &l.policy.edges[i])
			l.checkDisjoint(c, &l.policy.edges[i])
		}
	}
	if o := f.at["order"]; o != nil {
		l.policy.order = l.names(o, "lineage.order")
		l.requirementIDs(o, "lineage.order", l.policy.order, "")
		if len(l.policy.order) == 1 {
			l.failf(o, "lineage.order names one requirement; an order needs two")
		}
	}
}

// disjointFrom reads which other edge this one has nothing in common with.
func (l *loader) disjointFrom(n *yaml.Node) string {
	f := l.mapping(n, "disjointFrom", "edge", "using")
	if u := f.at["using"]; u != nil && l.str(u, "disjointFrom.using") != "digest" {
		l.failf(u, "disjointFrom.using can only be digest, which is also the default")
	}
	return l.str(l.need(f, "edge"), "disjointFrom.edge")
}

func (l *loader) checkDisjoint(n *yaml.Node, g *edge) {
	if g.disjoint == "" {
		return
	}
	var known []string
	for _, other := range l.policy.edges {
		if other.id != g.id {
			known = append(known, other.id)
		}
	}
	if !slices.Contains(known, g.disjoint) {
		l.failf(valueOf(n, "disjointFrom"), "disjointFrom names %q, which is not another edge%s", g.disjoint, suggest(g.disjoint, known))
	}
}

// valueOf is the value of a key, or the mapping when it has no such key.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return n
}

func (l *loader) bound(n *yaml.Node, what string, most int, to *int) {
	if n == nil {
		return
	}
	if *to = l.integer(n, what, 1); *to > most {
		l.failf(n, "%s is %d; it must be at most %d", what, *to, most)
	}
}

func (l *loader) edge(n *yaml.Node) edge {
	f := l.mapping(n, "a lineage edge", "id", "from", "role", "count", "accept", "requireEach", "denyDigests", "disjointFrom")
	e := edge{line: n.Line, role: l.str(l.need(f, "role"), "role"), min: 1}
	e.from = l.nameOrNames(l.need(f, "from"), "from")
	if l.err != nil {
		return e
	}
	if e.role != strings.TrimSpace(e.role) {
		l.failf(f.at["role"], "role %q starts or ends with a space", e.role)
	}
	if e.id = e.role; f.at["id"] != nil {
		e.id = l.identifier(f.at["id"], "id")
	}
	l.count(f.at["count"], &e)
	l.denyDigests(f.at["denyDigests"], &e)
	for _, c := range l.list(f.at["accept"], "accept") {
		e.accept = append(e.accept, l.alternative(c))
	}
	for _, c := range l.list(f.at["requireEach"], "requireEach") {
		e.each = append(e.each, l.dependencyRule(l.mapping(c, "an entry of requireEach", ruleKeys...)))
	}
	if d := f.at["disjointFrom"]; d != nil {
		e.disjoint = l.disjointFrom(d)
	}
	if len(e.accept) == 0 && len(e.each) == 0 && e.disjoint == "" {
		l.failf(n, "the edge asks nothing of its dependencies: it needs accept, requireEach or disjointFrom")
	}
	return e
}

// nameOrNames reads one string or a list of different ones.
func (l *loader) nameOrNames(n *yaml.Node, what string) []string {
	if n != nil && n.Kind == yaml.SequenceNode {
		return l.names(n, what)
	}
	return []string{l.str(n, what)}
}

var ruleKeys = []string{"id", "signature", "attestation", "by", "match", "where", "maxAge", "recomputeSubject"}

// dependencyRule reads a demand on dependencies. With an id, edges may start at the statements that meet it.
func (l *loader) dependencyRule(f fields) rule {
	r := l.rule(f)
	if n := f.at["recomputeSubject"]; n != nil && l.yes(n, "recomputeSubject") && !slices.Contains(r.types, modelSignatureType) {
		l.failf(n, "recomputeSubject is for %s; the subject of another statement is what it says", modelSignatureType)
	}
	n := f.at["id"]
	if n == nil || l.err != nil {
		return r
	}
	r.id = l.identifier(n, "id")
	switch {
	case slices.Contains(reserved, r.id):
		l.failf(n, "the id %q is taken by a check that every decision may list", r.id)
	case l.ids[r.id]:
		l.failf(n, "duplicate id %q", r.id)
	case !slices.Equal(r.types, []string{provenanceType}):
		l.failf(n, "only a rule that asks for %s has an id here: edges start at it", provenanceType)
	}
	l.ids[r.id] = true
	return r
}

// evaluationRole is what the dataset of an evaluation is called, since its provenance gives it no role.
const evaluationRole = "evalDataset"

func (l *loader) checkFrom(n *yaml.Node, g *edge) {
	at := valueOf(n, "from")
	for _, from := range g.from {
		r := l.policy.ruleByID(from)
		switch {
		case r == nil:
			l.failf(at, "from names %q, which is not the id of a requirement or of a rule on dependencies", from)
		case g.role == evaluationRole && slices.Equal(r.types, []string{evaluationType}):
		case slices.Equal(r.types, []string{evaluationType}):
			l.failf(at, "from names %q, which does not require %s; of an evaluation the role %s is followed", from, provenanceType, evaluationRole)
		case !slices.Equal(r.types, []string{provenanceType}):
			l.failf(at, "from names %q, which does not require %s", from, provenanceType)
		}
	}
}

// ruleByID finds the requirement or the rule on dependencies with this id.
func (p *Policy) ruleByID(id string) *rule {
	for _, r := range p.rules() {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (l *loader) count(n *yaml.Node, e *edge) {
	if n == nil {
		return
	}
	f := l.mapping(n, "count", "min", "max")
	if len(f.at) == 0 {
		l.failf(n, "count is empty")
	}
	if c := f.at["min"]; c != nil {
		e.min = l.integer(c, "count.min", 0)
	}
	if c := f.at["max"]; c != nil {
		e.max = l.integer(c, "count.max", max(e.min, 1))
	}
}

func (l *loader) alternative(n *yaml.Node) alternative {
	f := l.mapping(n, "an entry of accept", append([]string{"pinned"}, ruleKeys...)...)
	pinned := f.at["pinned"]
	if pinned == nil {
		r := l.dependencyRule(f)
		return alternative{rule: &r}
	}
	if len(f.at) != 1 {
		l.failf(n, "pinned stands alone; write the other demand as its own entry of accept")
	}
	list := l.digestList(pinned, "pinned")
	for i, c := range pinned.Content {
		algorithm, _, _ := strings.Cut(c.Value, ":")
		if l.err == nil && !slices.Contains(l.policy.algorithms, algorithm) {
			l.failf(pinned.Content[i], "pinned names a %s, which digests.algorithms leaves out: it would never match", algorithm)
		}
	}
	return alternative{pinned: list}
}
