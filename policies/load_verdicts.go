package policies

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// acceptVerdicts reads whose verdicts stand for evidence that is missing.
func (l *loader) acceptVerdicts(n *yaml.Node) {
	if n == nil || l.err != nil {
		return
	}
	for _, c := range l.list(n, "acceptVerdicts") {
		f := l.mapping(c, "an entry of acceptVerdicts", "by", "verifier", "policy", "resourceUri", "maxAge", "for")
		s := verdictSource{by: l.by(f), verifier: l.uri(l.need(f, "verifier"), "verifier")}
		s.maxAge = l.age(l.need(f, "maxAge"), "maxAge")
		s.policies = l.verdictPolicies(l.need(f, "policy"))
		if r := f.at["resourceUri"]; r != nil {
			s.resources = l.names(r, "resourceUri")
			for i := range s.resources {
				l.uri(r.Content[i], "resourceUri")
			}
		}
		if ids := f.at["for"]; ids != nil {
			s.ids = l.names(ids, "acceptVerdicts.for")
			l.requirementsAndEdges(ids, s.ids)
		}
		if l.err != nil {
			return
		}
		s.signers = l.take(s.by)
		l.policy.verdicts = append(l.policy.verdicts, s)
	}
}

// uri reads what is compared whole with a URI of a statement.
func (l *loader) uri(n *yaml.Node, what string) string {
	s := l.str(n, what)
	if l.err == nil && (!strings.Contains(s, ":") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })) {
		l.failf(n, "%s is %q; write the whole URI", what, s)
	}
	return s
}

// verdictPolicies reads which policies must have decided: nil for `this`.
func (l *loader) verdictPolicies(n *yaml.Node) digestList {
	if n == nil || n.Kind == yaml.ScalarNode {
		if s := l.str(n, "policy"); l.err == nil && s != "this" {
			l.failf(n, "policy is %q; write this, or a list of the digests of policies", s)
		}
		return nil
	}
	list := l.digestList(n, "policy")
	for i, c := range n.Content {
		if l.err == nil && !strings.HasPrefix(c.Value, "sha256:") {
			l.failf(n.Content[i], "policy names %q; the digest of a policy is a sha256", c.Value)
		}
	}
	return list
}

// requirementsAndEdges checks ids of requirements, and of edges as decisions write them.
func (l *loader) requirementsAndEdges(n *yaml.Node, ids []string) {
	var known []string
	for _, r := range l.policy.require {
		known = append(known, r.id)
	}
	for i := range l.policy.edges {
		known = append(known, l.policy.edges[i].requirementID())
	}
	for i, id := range ids {
		if l.err == nil && !slices.Contains(known, id) {
			l.failf(n.Content[i], "acceptVerdicts.for names %q, which is neither the id of a requirement nor lineage: and the id of an edge%s", id, suggest(id, known))
		}
	}
}
