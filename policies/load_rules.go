package policies

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// reserved are ids of requirements that a decision adds by itself.
var reserved = []string{idPolicy, idDenied, idEvidence, idRevoked, idOrder}

func (l *loader) requirements(n *yaml.Node) {
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
		case l.ids[id]:
			l.failf(idNode, "duplicate id %q", id)
		}
		l.ids[id] = true
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
		compiled, err := compile(text)
		if err != nil {
			l.failf(c, "where: %s: %v", oneLine(text), err)
			return nil
		}
		out = append(out, compiled)
	}
	return out
}
