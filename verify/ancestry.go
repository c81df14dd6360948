package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bounds of what UnverifiedAncestry follows.
const (
	MaxAncestryDepth = 8   // provenance statements one behind the other
	MaxAncestors     = 500 // dependencies, each once
)

// Ancestor is something from which an artifact was made, by the word of its provenance.
type Ancestor struct {
	Role       string            `json:"role,omitempty"` // what the provenance calls it
	Digests    map[string]string `json:"digests"`
	Statements int               `json:"statements"` // about it that were found
}

// String names the ancestor for people.
func (a Ancestor) String() string { return a.Role + " " + describe(a.Digests) }

// Ancestry is what an artifact descends from and what was said about that. No signature was verified: it serves to
// take statements along to where a gate decides.
type Ancestry struct {
	Ancestors  []Ancestor // nearest first
	Statements []Found    // about the ancestors, and all that was given; each bundle once
	Unread     []string   // origins of provenance and of given things that cannot be read
}

// Missing are the ancestors about which nothing was found.
func (a *Ancestry) Missing() []Ancestor {
	var missing []Ancestor
	for _, ancestor := range a.Ancestors {
		if ancestor.Statements == 0 {
			missing = append(missing, ancestor)
		}
	}
	return missing
}

// UnverifiedAncestry follows the SLSA provenance among found, which is about the artifact, through resolvedDependencies
// (https://slsa.dev/spec/v1.0/provenance#BuildDefinition): statements about each dependency come from source, and from given by the subjects
// that they name; provenance among those is followed in turn. Whatever somebody wrote is followed, so that nothing is left behind
// that a policy may ask for. More than the bounds of this package fail with ErrLimit, and a statement that source cannot
// hand out with its error, since it may be the one that says no.
func UnverifiedAncestry(ctx context.Context, source Source, artifact map[string]string, found, given []Found) (*Ancestry, error) {
	w := &ancestryWalk{source: source, result: &Ancestry{}, taken: map[string]bool{}, asked: map[string]bool{}, given: map[string][]Found{}}
	for _, f := range found {
		w.taken[attest.ID(f.Data)] = true // it goes with the artifact
	}
	w.index(given)
	next := slices.Concat(found, w.givenAbout(artifact))
	for depth := 0; len(next) > 0; depth++ {
		if depth > MaxAncestryDepth {
			return nil, fmt.Errorf("verify: lineage: %w: more than %d provenance statements behind each other", ErrLimit, MaxAncestryDepth)
		}
		var err error
		if next, err = w.step(ctx, next); err != nil {
			return nil, err
		}
	}
	return w.result, nil
}

// ancestryWalk goes from an artifact backwards, one generation a step.
type ancestryWalk struct {
	source Source
	given  map[string][]Found // by the digests of the subjects that they name
	result *Ancestry
	taken  map[string]bool // bundles, by ID
	asked  map[string]bool // dependencies
}

// index sorts what was given by what it is about, and takes all of it along.
func (w *ancestryWalk) index(given []Found) {
	for _, f := range given {
		statement, err := statementIn(f)
		if err != nil {
			w.result.Unread = append(w.result.Unread, f.Origin)
			continue
		}
		w.take(f)
		for _, subject := range statement.Subject {
			for algorithm, value := range subject.Digest {
				w.given[algorithm+":"+value] = append(w.given[algorithm+":"+value], f)
			}
		}
	}
}

func (w *ancestryWalk) givenAbout(digests map[string]string) (all []Found) {
	for algorithm, value := range digests {
		all = append(all, w.given[algorithm+":"+value]...)
	}
	return all
}

func (w *ancestryWalk) take(f Found) {
	if id := attest.ID(f.Data); !w.taken[id] {
		w.taken[id] = true
		w.result.Statements = append(w.result.Statements, f)
	}
}

// step returns what is said about the dependencies that the provenance in found names.
func (w *ancestryWalk) step(ctx context.Context, found []Found) ([]Found, error) {
	var next []Found
	for _, f := range found {
		dependencies, err := unverifiedDependencies(f)
		if err != nil {
			w.result.Unread = append(w.result.Unread, f.Origin)
			continue
		}
		for _, dependency := range dependencies {
			key := describe(dependency.Digests)
			if w.asked[key] || len(dependency.Digests) == 0 {
				continue
			}
			w.asked[key] = true
			if len(w.result.Ancestors) == MaxAncestors {
				return nil, fmt.Errorf("verify: lineage: %w: more than %d dependencies", ErrLimit, MaxAncestors)
			}
			about, err := w.about(ctx, dependency.Digests)
			if err != nil {
				return nil, fmt.Errorf("verify: statements about %s: %w", dependency, err)
			}
			dependency.Statements = len(about)
			w.result.Ancestors = append(w.result.Ancestors, dependency)
			next = append(next, about...)
		}
	}
	return next, nil
}

// about finds the statements about one dependency.
func (w *ancestryWalk) about(ctx context.Context, digests map[string]string) ([]Found, error) {
	stored, err := w.source.Statements(ctx, digests)
	if err != nil {
		return nil, err
	}
	all := w.givenAbout(digests)
	for _, f := range stored {
		switch {
		case errors.Is(f.Err, ErrOther):
			continue
		case f.Err != nil:
			return nil, fmt.Errorf("%s: %w", f.Origin, f.Err)
		}
		w.take(f)
		all = append(all, f)
	}
	return all, nil
}

func statementIn(f Found) (*attest.Statement, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	bundle, err := attest.Parse(f.Data)
	if err != nil {
		return nil, err
	}
	return bundle.UnverifiedStatement(attest.StatementType, attest.StatementTypeV01)
}

// unverifiedDependencies are those that f names if it is provenance.
func unverifiedDependencies(f Found) ([]Ancestor, error) {
	if errors.Is(f.Err, ErrOther) {
		return nil, nil
	}
	statement, err := statementIn(f)
	if err != nil || statement.PredicateType != attest.ProvenancePredicateType {
		return nil, err
	}
	var predicate struct {
		BuildDefinition struct {
			ResolvedDependencies []struct {
				Name   string            `json:"name"`
				Digest map[string]string `json:"digest"`
			} `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
	}
	if err := strictjson.Unmarshal(statement.Predicate, &predicate, strictjson.Limits{MaxBytes: attest.MaxStatementBytes}); err != nil {
		return nil, err
	}
	var all []Ancestor
	for _, d := range predicate.BuildDefinition.ResolvedDependencies {
		all = append(all, Ancestor{Role: d.Name, Digests: d.Digest})
	}
	return all, nil
}

// UnverifiedSubject is the digests of what a bundle says that it is about; nil when it cannot be read.
func UnverifiedSubject(data []byte) map[string]string {
	statement, err := statementIn(Found{Data: data})
	if err != nil {
		return nil
	}
	digests := map[string]string{}
	for _, subject := range statement.Subject {
		for algorithm, value := range subject.Digest {
			if _, known := digests[algorithm]; !known {
				digests[algorithm] = value
			}
		}
	}
	return digests
}
