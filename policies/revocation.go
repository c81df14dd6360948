package policies

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// revocation is a signed statement that an artifact was withdrawn: https://mlseal.dev/attestation/revocation/v0.1.
// There is no way to take it back: who wants the artifact again makes a new one.
type revocation struct {
	list digestList
	by   map[string]*item // by the digest that is withdrawn
}

// revocations collects what the revocations in the evidence withdraw. One counts as soon as a signer who may revoke has
// signed it, unless its effectiveOn is later than now. One whose effectiveOn cannot be read counts at once.
func (e *evaluation) revocations() revocation {
	r := revocation{digestList{}, map[string]*item{}}
	for _, it := range e.items {
		if it.PredicateType != revocationType || !it.trusted || !e.policy.mayRevoke(it.SignedBy) {
			continue
		}
		predicate, _ := it.Statement["predicate"].(map[string]any)
		text, _ := predicate["effectiveOn"].(string)
		if from, err := time.Parse(time.RFC3339, text); err == nil && from.After(e.now) && !e.now.IsZero() {
			it.reason = "a revocation that takes effect on " + from.UTC().Format(time.RFC3339)
			continue
		}
		for _, set := range it.Subjects {
			for _, digest := range spellings(set) {
				if r.by[digest] == nil {
					r.list[digest], r.by[digest] = true, it
				}
			}
		}
	}
	return r
}

// mayRevoke reports whether one of the signers may withdraw things: anybody of the policy, unless it names who.
func (p *Policy) mayRevoke(signedBy []string) bool {
	return slices.ContainsFunc(signedBy, func(name string) bool {
		return p.isSigner(name) && (!p.revocable || slices.Contains(p.revokers, name))
	})
}

// revoked says whether the artifact, or anything that it descends from, was withdrawn. A policy that does not speak of
// revocations lists the check only when there is something to say.
func (e *evaluation) revoked() []Requirement {
	r := e.revocations()
	out := Requirement{ID: idRevoked, Passed: true, Detail: "nothing in the lineage was withdrawn"}
	if len(r.list) > 0 {
		h, ok := e.listed(r.list)
		a := e.ancestry()
		switch {
		case ok:
			it := r.by[h.digest]
			predicate, _ := it.Statement["predicate"].(map[string]any)
			reason, _ := predicate["reason"].(string)
			if reason != "" {
				reason = ": " + foreign(reason)
			}
			out.deny(Revoked, fmt.Sprintf("withdrawn by %s%s (revocation %s): %s", enumerate(it.SignedBy), reason, cut(it.ID), h.detail), it)
		case a.err != nil:
			out.deny(a.code, fmt.Sprintf("not everything can be compared with what was withdrawn: %v", a.err), a.by)
		}
	}
	if out.Passed && !e.policy.revocable {
		return nil
	}
	return []Requirement{out}
}

// spellings are the digests of a set as a deny list has them, however the set spells their algorithms.
func spellings(set map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(set)) {
		for _, algorithm := range []string{"sha256", "sha512", dirHash} {
			if fold(algorithm) == fold(key) {
				out = append(out, algorithm+":"+lower(set[key]))
			}
		}
	}
	return out
}
