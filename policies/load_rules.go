package policies

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// reserved are ids of requirements that a decision adds by itself.
var reserved = []string{idPolicy, idDenied, idEvidence, idRevoked, idOrder, idMatch, idVerdicts}

func (l *loader) requirements(n *yaml.Node) {
	duties := map[int]*yaml.Node{}
	blocking := false
	nodes := l.list(n, "require")
	for i, c := range nodes {
		f := l.mapping(c, "a requirement",
			"id", "severity", "signature", "attestation", "by", "match", "where", "maxAge", "message", "fix", "notSignedBySameIdentityAs")
		idNode := l.need(f, "id")
		id := l.identifier(idNode, "id")
		switch {
		case l.err != nil:
			return
		case slices.Contains(reserved, id):
			l.failf(idNode, "the id %q is taken by a check that every decision may list", id)
		case l.ids[id]:
			l.failf(idNode, "duplicate id %q", id)
		}
		l.ids[id] = true
		r := l.rule(f)
		r.id, r.required = id, true
		r.message, r.fix = l.message(f.at["message"]), l.str(f.at["fix"], "fix")
		r.severity = l.severity(f.at["severity"])
		blocking = blocking || r.severity == Block
		r.notBy, duties[i] = l.names(f.at["notSignedBySameIdentityAs"], "notSignedBySameIdentityAs"), f.at["notSignedBySameIdentityAs"]
		l.policy.require = append(l.policy.require, r)
	}
	if len(nodes) > 0 && !blocking {
		l.failf(n, "every requirement is warn or info, so that none of them could deny")
	}
	for i, r := range l.policy.require {
		l.requirementIDs(duties[i], "notSignedBySameIdentityAs", r.notBy, r.id)
	}
}

// severity reads what a failure means; without it the verdict.
func (l *loader) severity(n *yaml.Node) Severity {
	s := Severity(l.str(n, "severity"))
	switch {
	case n == nil:
		return Block
	case l.err == nil && !slices.Contains([]Severity{Block, Warn, Info}, s):
		l.failf(n, "severity is %q; it is one of block, warn, info", s)
	}
	return s
}

// requirementIDs checks a list of ids of requirements other than self.
func (l *loader) requirementIDs(n *yaml.Node, what string, ids []string, self string) {
	var known []string
	for _, r := range l.policy.require {
		known = append(known, r.id)
	}
	for i, id := range ids {
		switch {
		case !slices.Contains(known, id):
			l.failf(n.Content[i], "%s names %q, which is not the id of a requirement%s", what, id, suggest(id, known))
		case id == self:
			l.failf(n.Content[i], "%s names the requirement itself", what)
		}
	}
}

// rule reads the keys that say which statements are asked for: signature or attestation with
// by, match, where and maxAge.
func (l *loader) rule(f fields) rule {
	r := rule{match: matchAll, line: f.node.Line}
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
	r.signers = l.take(r.by)
	if n := f.at["match"]; n != nil {
		r.matchSet = true
		r.match = matchMode(l.str(n, "match"))
		if !slices.Contains([]matchMode{matchAll, matchAny, matchOne, matchLatest}, r.match) {
			l.failf(n, "match is %q; it is one of all, any, one, latest", r.match)
		}
	}
	r.maxAge = l.age(f.at["maxAge"], "maxAge")
	r.where = l.where(f.at["where"])
	return r
}

// take gives the identities behind names of signers and groups.
func (l *loader) take(names []string) []string {
	var out []string
	for _, name := range names {
		if s := l.policy.signers[name]; s.isGroup() {
			out = append(out, s.members...)
		} else {
			out = append(out, name)
		}
	}
	return out
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
		compiled, err := l.compile(text)
		if err != nil {
			l.failf(c, "where: %s: %v", oneLine(text), err)
			return nil
		}
		compiled.line = c.Line
		out = append(out, compiled)
	}
	return out
}
