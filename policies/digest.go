package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// dirHash is the in-toto DigestSet's name for the hash of a tree; it is always accepted, since
// it names something that the other algorithms do not.
const dirHash = "dirHash"

// hexLength is the number of hexadecimal digits of every algorithm that is ever accepted.
var hexLength = map[string]int{"sha256": 64, "sha512": 128, dirHash: 64}

// digestList holds digests as "algorithm:hex".
type digestList map[string]bool

// parseDigest reads "algorithm:hex" as a policy writes it.
func parseDigest(s string) (algorithm string, err error) {
	algorithm, value, _ := strings.Cut(s, ":")
	switch {
	case hexLength[algorithm] == 0:
		return "", fmt.Errorf("%q is not a digest: write sha256:, sha512: or dirHash: and hexadecimal digits", s)
	case !isHex(algorithm, value):
		return "", fmt.Errorf("%q is not a digest: %s has %d lower-case hexadecimal digits", s, algorithm, hexLength[algorithm])
	}
	return algorithm, nil
}

// isHex reports whether value has the one spelling that a digest of the algorithm has.
func isHex(algorithm, value string) bool {
	return len(value) == hexLength[algorithm] && !strings.ContainsFunc(value, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f')
	})
}

// usable reports whether a statement's digest set can be compared at all. A set that spells an
// accepted algorithm in another way (SHA256, sha-256), or writes a digest in another way than
// lower-case hexadecimal, would be read differently by another verifier: it matches nothing.
func (p *Policy) usable(set map[string]string) bool {
	for key, value := range set {
		accepted := slices.Contains(p.algorithms, key)
		if accepted && !isHex(key, value) {
			return false
		}
		if !accepted && slices.ContainsFunc(p.algorithms, func(a string) bool { return fold(a) == fold(key) }) {
			return false
		}
	}
	return true
}

var separators = strings.NewReplacer("-", "", "_", "", "/", "", " ", "")

func fold(algorithm string) string { return separators.Replace(strings.ToLower(algorithm)) }

// about reports whether the digest set of one subject of a statement names the artifact.
//
// in-toto's validation model (docs/validation.md) asks for at least one accepted algorithm that
// matches. This is stricter: every accepted algorithm that both sides know must match, since a
// set with one right and one wrong digest is two claims, of which one is a lie. An algorithm
// that the artifact was not hashed with says nothing either way.
func (p *Policy) about(set, artifact map[string]string) bool {
	return len(p.shared(set, artifact)) > 0
}

// shared lists the accepted algorithms by which the set names the artifact; none when it does not.
func (p *Policy) shared(set, artifact map[string]string) []string {
	if !p.usable(set) {
		return nil
	}
	var matched []string
	for _, algorithm := range p.algorithms {
		claimed, ok := set[algorithm]
		actual, known := artifact[algorithm]
		if !ok || !known {
			continue
		}
		if claimed != actual {
			return nil
		}
		matched = append(matched, algorithm)
	}
	return matched
}

// aboutAny reports whether any of a statement's subjects is the artifact.
//
// in-toto matches each subject by itself. A statement about a package has two, the image manifest and
// the tree: matched apart, the tree alone would let another image manifest of the same tree pass, which nobody
// signed and whose config, annotations and layers outside the tree may be anything. So an artifact that has
// an image manifest is not found by its tree in a statement that names image manifests, unless its own says nothing beside the
// tree (Subject.TreeSuffices).
func (p *Policy) aboutAny(subjects []map[string]string, artifact Subject) bool {
	treeSuffices := artifact.TreeSuffices || artifact.Digests["sha256"] == "" || !namesManifest(subjects)
	return slices.ContainsFunc(subjects, func(set map[string]string) bool {
		matched := p.shared(set, artifact.Digests)
		return len(matched) > 0 && (treeSuffices || !slices.Equal(matched, []string{dirHash}))
	})
}

// namesManifest reports whether a subject has a sha256 or a sha512, in whatever spelling: the digest of an image
// manifest and not of a tree.
func namesManifest(subjects []map[string]string) bool {
	for _, set := range subjects {
		for key := range set {
			if name := fold(key); name == "sha256" || name == "sha512" {
				return true
			}
		}
	}
	return false
}

// relatedTo is aboutAny without its care for the image manifest: for what may only ever deny.
func (p *Policy) relatedTo(subjects []map[string]string, artifact map[string]string) bool {
	return slices.ContainsFunc(subjects, func(set map[string]string) bool { return p.about(set, artifact) })
}

// accepted is the part of a digest set that identifies something: empty when there is none,
// or when the set is not usable.
func (p *Policy) accepted(set map[string]string) map[string]string {
	out := map[string]string{}
	if !p.usable(set) {
		return out
	}
	for _, algorithm := range p.algorithms {
		if value, ok := set[algorithm]; ok {
			out[algorithm] = value
		}
	}
	return out
}

// has reports whether a digest of the set is on the list.
func (d digestList) has(set map[string]string) bool {
	for algorithm, value := range set {
		if d[algorithm+":"+value] {
			return true
		}
	}
	return false
}

// denies returns a digest of the set that is on the list, however the set spells it: an
// upper-case digit must not take a digest off a deny list.
func (d digestList) denies(set map[string]string) (string, bool) {
	for _, key := range slices.Sorted(maps.Keys(set)) {
		for _, algorithm := range []string{"sha256", "sha512", dirHash} {
			s := algorithm + ":" + strings.ToLower(set[key])
			if fold(algorithm) == fold(key) && d[s] {
				return s, true
			}
		}
	}
	return "", false
}

// deniesAny returns a digest of a statement's subjects that is on the list.
func (d digestList) deniesAny(subjects []map[string]string) (string, bool) {
	for _, set := range subjects {
		if digest, ok := d.denies(set); ok {
			return digest, true
		}
	}
	return "", false
}

// short is a digest set as a person wants to see it: one digest, cut.
func short(set map[string]string) string {
	for _, algorithm := range []string{"sha256", dirHash, "sha512"} {
		if value, ok := set[algorithm]; ok {
			return cut(algorithm + ":" + value)
		}
	}
	return "no digest"
}

func cut(digest string) string {
	algorithm, value, ok := strings.Cut(digest, ":")
	if !ok || len(value) <= 12 {
		return digest
	}
	return algorithm + ":" + value[:12] + "…"
}
