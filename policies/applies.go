package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrNotMatched is wrapped by the error of Matches, and of a decision about an artifact that the policy is not for. It wraps ErrPolicy: the
// question is wrong, not the artifact.
var ErrNotMatched = fmt.Errorf("%w: it is not for this artifact", ErrPolicy)

// applies says which artifacts a policy is for; empty lists are for all.
type applies struct {
	artifactTypes []string
	repositories  []string
}

// applies reads the policy's own match.
func (l *loader) applies(n *yaml.Node) {
	if n == nil {
		return
	}
	f := l.mapping(n, "match", "artifactTypes", "repositories")
	if len(f.at) == 0 {
		l.failf(n, "match is empty")
	}
	a := &l.policy.applies
	a.artifactTypes = l.names(f.at["artifactTypes"], "match.artifactTypes")
	a.repositories = l.names(f.at["repositories"], "match.repositories")
	for i, t := range a.artifactTypes {
		if strings.ContainsAny(t, "*?") || strings.TrimSpace(t) != t {
			l.failf(f.at["artifactTypes"].Content[i], "match.artifactTypes has %q; a type is compared whole", t)
		}
	}
	for i, glob := range a.repositories {
		if err := checkGlob(glob); err != nil && l.err == nil {
			l.failf(f.at["repositories"].Content[i], "match.repositories has %q: %v", glob, err)
		}
	}
}

// checkGlob refuses what could be meant as a pattern of another language.
func checkGlob(glob string) error {
	if strings.ContainsAny(glob, "?[]{}\\^$+|()<>! ") || strings.Contains(glob, "//") {
		return errors.New("write a repository with * for a part of a name and ** for any number of names")
	}
	parts := strings.Split(glob, "/")
	for _, part := range parts {
		if part != "**" && strings.Contains(part, "**") {
			return errors.New("** stands for whole names, between slashes")
		}
	}
	if strings.Contains(parts[0], "*") {
		return errors.New("the registry is written out: a name in another registry may be anybody's")
	}
	return nil
}

// Matches is nil when the policy is for the artifact; otherwise its error wraps ErrNotMatched.
func (p *Policy) Matches(subject Subject) error {
	if p == nil {
		return nil
	}
	a := p.applies
	if len(a.artifactTypes) > 0 && !slices.Contains(a.artifactTypes, subject.ArtifactType) {
		return fmt.Errorf("%w: its type is %s, and the policy is for %s", ErrNotMatched, orNone(subject.ArtifactType), strings.Join(a.artifactTypes, ", "))
	}
	if len(a.repositories) > 0 && !slices.ContainsFunc(a.repositories, func(glob string) bool { return globMatches(glob, subject.Repository) }) {
		return fmt.Errorf("%w: its repository is %s, and the policy is for %s", ErrNotMatched, orNone(subject.Repository), strings.Join(a.repositories, ", "))
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "not known"
	}
	return foreign(s)
}

// globMatches compares name by name: * is any part of one name, ** any number of names.
func globMatches(glob, repository string) bool {
	if repository == "" {
		return false
	}
	return namesMatch(strings.Split(glob, "/"), strings.Split(repository, "/"))
}

// namesMatch goes back to the last ** alone when the rest does not match: trying all of them takes forever.
func namesMatch(glob, names []string) bool {
	g, n, star, mark := 0, 0, -1, 0
	for n < len(names) {
		switch {
		case g < len(glob) && glob[g] == "**":
			star, mark = g, n
			g++
		case g < len(glob) && nameMatches(glob[g], names[n]):
			g++
			n++
		case star >= 0:
			mark++
			g, n = star+1, mark
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == "**" {
		g++
	}
	return g == len(glob)
}

func nameMatches(glob, name string) bool {
	parts := strings.Split(glob, "*")
	if len(parts) == 1 {
		return glob == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok || name == "" {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
