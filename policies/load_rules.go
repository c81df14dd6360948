package policies

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reserved are ids of requirements that a decision adds by itself.
var reserved = []string{idPolicy, idDenied, idEvidence}

func (l *loader) requirements(n *yaml.Node) {
	seen := map[string]bool{}
	for _, c := range l.list(n, "require") {
		f := l.mapping(c, "a requirement",
			"id", "signature", "attestation", "by", "match", "where", "maxAge", "message", "fix")
		idNode := l.need(f, "id")
		id := l.identifier(idNode, "id")
		switch {
		case l.err != nil:
			return
		case slices.Contains(reserved, id):
			l.failf(idNode, "the id %q is taken by a check that every decision may list", id)
		case seen[id]:
			l.failf(idNode, "duplicate id %q", id)
		}
		seen[id] = true
		r := l.rule(f)
		r.id, r.required = id, true
		r.message, r.fix = l.str(f.at["message"], "message"), l.str(f.at["fix"], "fix")
		l.policy.require = append(l.policy.require, r)
	}
}

// rule reads the keys that say which statements are asked for: signature or attestation with
// by, match, where and maxAge.
func (l *loader) rule(f fields) rule {
	r := rule{match: matchAll}
	sig, att := f.at["signature"], f.at["attestation"]
	switch {
	case (sig == nil) == (att == nil):
		l.failf(f.node, "%s needs exactly one of signature and attestation", f.what)
	case sig != nil:
		if n := f.at["by"]; n != nil {
			l.failf(n, "by stands inside signature: {by: [...]}")
		}
		s := l.mapping(sig, "signature", "by")
		r.label, r.types = "signature", []string{cosignSignatureType, modelSignatureType}
		r.by = l.by(s)
	default:
		r.label, r.types = att.Value, []string{l.predicateType(att)}
		r.by = l.by(f)
	}
	for _, name := range r.by {
		if s := l.policy.signers[name]; s.isGroup() {
			r.signers = append(r.signers, s.members...)
		} else {
			r.signers = append(r.signers, name)
		}
	}
	if n := f.at["match"]; n != nil {
		r.match = matchMode(l.str(n, "match"))
		if !slices.Contains([]matchMode{matchAll, matchAny, matchOne, matchLatest}, r.match) {
			l.failf(n, "match is %q; it is one of all, any, one, latest", r.match)
		}
	}
	r.maxAge = l.age(f.at["maxAge"], "maxAge")
	r.where = l.where(f.at["where"])
	return r
}

// by reads the signers of a rule. There is no "anyone".
func (l *loader) by(f fields) []string {
	n := l.need(f, "by")
	names := l.names(n, "by")
	for i, name := range names {
		if _, ok := l.policy.signers[name]; !ok {
			l.failf(n.Content[i], "by names %q, which is not a signer of this policy%s", name, l.suggestSigner(name))
		}
	}
	return names
}

func (l *loader) suggestSigner(name string) string {
	var known []string
	for k := range l.policy.signers {
		known = append(known, k)
	}
	slices.Sort(known)
	return suggest(name, known)
}

// where reads one expression or a list of them.
func (l *loader) where(n *yaml.Node) []condition {
	if n == nil || l.err != nil {
		return nil
	}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = l.list(n, "where")
	}
	var out []condition
	for _, c := range nodes {
		text := l.str(c, "where")
		if l.err != nil {
			return nil
		}
		compiled, err := compile(text)
		if err != nil {
			l.failf(c, "where: %s: %v", oneLine(text), err)
			return nil
		}
		out = append(out, compiled)
	}
	return out
}

func (l *loader) lineage(n *yaml.Node) {
	f := l.mapping(n, "lineage", "edges")
	roles := map[string]bool{}
	for _, c := range l.list(l.need(f, "edges"), "lineage.edges") {
		e := l.edge(c)
		// The id of an edge's requirement is its role, so two edges of one role would be two
		// requirements of one id.
		if roles[e.role] {
			l.failf(c, "duplicate role %q; one edge describes a role", e.role)
		}
		roles[e.role] = true
		l.policy.edges = append(l.policy.edges, e)
	}
}

func (l *loader) edge(n *yaml.Node) edge {
	f := l.mapping(n, "a lineage edge", "from", "role", "count", "accept", "requireEach", "denyDigests")
	e := edge{
		from: l.str(l.need(f, "from"), "from"),
		role: l.str(l.need(f, "role"), "role"),
		min:  1,
	}
	if l.err != nil {
		return e
	}
	if e.role != strings.TrimSpace(e.role) {
		l.failf(f.at["role"], "role %q starts or ends with a space", e.role)
	}
	l.checkFrom(f.at["from"], e.from)
	l.count(f.at["count"], &e)
	e.deny = l.digestList(f.at["denyDigests"], "denyDigests")
	for _, c := range l.list(f.at["accept"], "accept") {
		e.accept = append(e.accept, l.alternative(c))
	}
	for _, c := range l.list(f.at["requireEach"], "requireEach") {
		e.each = append(e.each, l.rule(l.mapping(c, "an entry of requireEach", ruleKeys...)))
	}
	if len(e.accept) == 0 && len(e.each) == 0 {
		l.failf(n, "the edge asks nothing of its dependencies: it needs accept or requireEach")
	}
	return e
}

var ruleKeys = []string{"signature", "attestation", "by", "match", "where", "maxAge"}

func (l *loader) checkFrom(n *yaml.Node, from string) {
	for _, r := range l.policy.require {
		if r.id == from {
			if !slices.Equal(r.types, []string{provenanceType}) {
				l.failf(n, "from names %q, which does not require %s", from, provenanceType)
			}
			return
		}
	}
	l.failf(n, "from names %q, which is not the id of a requirement", from)
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
		r := l.rule(f)
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
