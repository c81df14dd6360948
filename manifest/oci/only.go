package oci

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/mlseal/mlseal/manifest"
)

// ErrPattern says that a pattern of Select is malformed or matches nothing.
var ErrPattern = errors.New("not a part of the package")

// Select returns the files of tree that one of the patterns matches; without patterns it is tree itself. What it returns is
// a part: its DirHash is not that of any tree that somebody signed.
//
// A pattern is matched element by element against a file's path and against the directories above it, so that a directory
// stands for all that is below it. In an element `*`, `?` and `[…]` are those of path.Match; the element `**` stands for any number of
// elements. A `./` in front and a `/` behind are ignored. A pattern that is malformed or matches nothing fails with ErrPattern.
func Select(tree *manifest.Manifest, patterns []string) (*manifest.Manifest, error) {
	only, err := parsePatterns(patterns)
	if err != nil {
		return nil, err
	}
	return only.choose(tree)
}

// patterns are those of Select, and what they consist of; without any, every file is chosen.
type patterns []pattern

type pattern struct {
	text     string
	elements []string
}

func parsePatterns(texts []string) (patterns, error) {
	var only patterns
	for _, text := range texts {
		elements, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		only = append(only, pattern{text, elements})
	}
	return only, nil
}

// match reports whether a file is chosen.
func (only patterns) match(name string) bool {
	elements := strings.Split(name, "/")
	for _, p := range only {
		if matchesPath(p.elements, elements) {
			return true
		}
	}
	return len(only) == 0
}

// choose is Select for patterns that were parsed.
func (only patterns) choose(tree *manifest.Manifest) (*manifest.Manifest, error) {
	if len(only) == 0 {
		return tree, nil
	}
	chosen := make([]bool, len(tree.Files))
	for _, p := range only {
		matched := false
		for i, f := range tree.Files {
			if matchesPath(p.elements, strings.Split(f.Path, "/")) {
				chosen[i], matched = true, true
			}
		}
		if !matched {
			return nil, fmt.Errorf("oci: %q: %w: it matches none of its files: %s", p.text, ErrPattern, someOf(tree))
		}
	}
	part := &manifest.Manifest{}
	for i, f := range tree.Files {
		if chosen[i] {
			part.Files = append(part.Files, f)
		}
	}
	return part, nil
}

func parsePattern(pattern string) ([]string, error) {
	elements := strings.Split(strings.TrimSuffix(strings.TrimPrefix(pattern, "./"), "/"), "/")
	for _, element := range elements {
		if _, err := path.Match(element, ""); err != nil {
			return nil, fmt.Errorf("oci: %q: %w: %w", pattern, ErrPattern, err)
		}
		if element == "" || element == "." || element == ".." {
			return nil, fmt.Errorf("oci: %q: %w: patterns are paths inside the package", pattern, ErrPattern)
		}
	}
	return elements, nil
}

// matchesPath follows all ways through the pattern at once: at[i] says that its first i elements match what was seen.
func matchesPath(pattern, name []string) bool {
	at := make([]bool, len(pattern)+1)
	at[0] = true
	skipAny(pattern, at)
	for _, element := range name {
		next := make([]bool, len(at))
		for i, p := range pattern {
			switch {
			case !at[i]:
			case p == "**":
				next[i] = true
			default:
				matched, _ := path.Match(p, element) // the pattern was checked
				next[i+1] = next[i+1] || matched
			}
		}
		skipAny(pattern, next)
		if at = next; at[len(pattern)] {
			return true // and so does everything below
		}
	}
	return false
}

// skipAny lets each `**` stand for nothing.
func skipAny(pattern []string, at []bool) {
	for i, p := range pattern {
		at[i+1] = at[i+1] || at[i] && p == "**"
	}
}

// someOf names the first files of a tree.
func someOf(tree *manifest.Manifest) string {
	const most = 5
	var names []string
	for _, f := range tree.Files[:min(most, len(tree.Files))] {
		names = append(names, f.Path)
	}
	if more := len(tree.Files) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", shown(names), more)
	}
	return shown(names)
}
