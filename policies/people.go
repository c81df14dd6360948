package policies

import (
	"cmp"
	"slices"
	"strings"
)

// VerifiedWith is the key that a signature was verified with and what its certificate calls the owner. No signer of the policy need be
// meant: two statements that have one of these in common were signed by one person, whoever vouches for it.
type VerifiedWith struct {
	// Keys are the lower-case hexadecimal SHA-256 of the SubjectPublicKeyInfo: one, for a signature.
	Keys []string
	// Subject is the certificate's whole distinguished name in the form of RFC 4514.
	Subject string
	// Names are all subject alternative names, and the subject of a keyless identity.
	Names []string
}

func (v VerifiedWith) compare(other VerifiedWith) int {
	return cmp.Or(slices.Compare(v.Keys, other.Keys), strings.Compare(v.Subject, other.Subject), slices.Compare(v.Names, other.Names))
}

// trait is something that one person alone has: a signer's name in the policy, a key, or a name in a certificate.
type trait struct{ kind, text string }

// people counts the members who signed, as far as their keys and names tell them apart. One bundle has one certificate, which goes by
// several names; and one key or name may speak for another member in each of several bundles.
func (p *Policy) people(members []string, counted []*item) int {
	one, _ := p.sameness(members, counted)
	different := map[trait]bool{}
	for _, name := range members {
		different[one.of(trait{"signer", name})] = true
	}
	return len(different)
}

// sameness joins all that the policy and the statements say about the members, and tells what the policy calls them.
func (p *Policy) sameness(members []string, counted []*item) (sameness, map[trait]bool) {
	called := map[trait]bool{}
	one := sameness{}
	for _, name := range members {
		names := p.signers[name].traits()
		for _, t := range names {
			called[t] = true
		}
		one.join(append(names, trait{"signer", name}))
	}
	for _, it := range counted {
		one.join(append(it.VerifiedWith.traits(called), p.spokenFor(members, it)...))
	}
	return one, called
}

// spokenFor are the members for whom a statement speaks at once. Without a word on what verified it, two keys are two people.
func (p *Policy) spokenFor(members []string, it *item) []trait {
	var out []trait
	for _, name := range it.SignedBy {
		s := p.signers[name]
		if slices.Contains(members, name) && (len(it.VerifiedWith.Keys) > 0 || s.keyless != nil || s.certificate != nil) {
			out = append(out, trait{"signer", name})
		}
	}
	return out
}

// traits are the names that the policy knows a signer by. Whose authority vouches for a name does not matter.
func (s signer) traits() []trait {
	var out []trait
	if s.keyless != nil && s.keyless.Subject != "" {
		out = append(out, trait{"name", s.keyless.Subject})
	}
	if c := s.certificate; c != nil && c.Subject != "" {
		out = append(out, trait{"subject", c.Subject})
	}
	if c := s.certificate; c != nil && c.SAN != "" {
		out = append(out, trait{"name", c.SAN})
	}
	return out
}

// traits are what is one person's. The subject of an organization is not, where other names stand beside it: SPIFFE gives all
// of its certificates one. It is when a member is called so.
func (v VerifiedWith) traits(called map[trait]bool) []trait {
	var out []trait
	for _, key := range v.Keys {
		out = append(out, trait{"key", key})
	}
	for _, name := range v.Names {
		if name != "" {
			out = append(out, trait{"name", name})
		}
	}
	subject := trait{"subject", v.Subject}
	if v.Subject != "" && (called[subject] || len(v.Names) == 0 || namesPerson(v.Subject)) {
		out = append(out, subject)
	}
	return out
}

// sameness joins traits of one person: each leads to another one of theirs, and the last to itself.
type sameness map[trait]trait

func (s sameness) of(t trait) trait {
	for {
		next, ok := s[t]
		if !ok || next == t {
			return t
		}
		t = next
	}
}

func (s sameness) join(traits []trait) {
	for _, t := range traits {
		s[s.of(t)] = s.of(traits[0])
	}
}
