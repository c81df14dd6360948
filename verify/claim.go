package verify

import (
	"errors"
	"fmt"
	"sort"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// claim is what a bundle says, whoever signed it: what it is about, and if it is provenance what that was made from.
type claim struct {
	id           string
	subjects     []string // as "algorithm:value"
	dependencies []Ancestor
	followed     bool
}

// errDependencies says that provenance cannot be read to its end.
var errDependencies = errors.New("its dependencies cannot be read")

// readClaim reads a bundle. Provenance whose dependencies cannot be read is a claim too, beside an error that wraps errDependencies.
func readClaim(f Found) (*claim, error) {
	statement, err := statementIn(f)
	if err != nil {
		return nil, err
	}
	c := &claim{}
	for _, subject := range statement.Subject {
		c.subjects = append(c.subjects, sortedDigests(subject.Digest)...)
	}
	if statement.PredicateType != attest.ProvenancePredicateType {
		return c, nil
	}
	if c.dependencies, err = unverifiedDependencies(statement); err != nil {
		return c, fmt.Errorf("%w: %w", errDependencies, err)
	}
	return c, nil
}

func sortedDigests(set map[string]string) []string {
	all := make([]string, 0, len(set))
	for algorithm, value := range set {
		all = append(all, algorithm+":"+value)
	}
	sort.Strings(all)
	return all
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

// unverifiedDependencies are those that provenance names.
func unverifiedDependencies(statement *attest.Statement) ([]Ancestor, error) {
	var predicate struct {
		BuildDefinition struct {
			ResolvedDependencies []struct {
				Name   string            `json:"name"`
				URI    string            `json:"uri"`
				Digest map[string]string `json:"digest"`
			} `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
	}
	if err := strictjson.Unmarshal(statement.Predicate, &predicate, strictjson.Limits{MaxBytes: attest.MaxStatementBytes}); err != nil {
		return nil, err
	}
	var all []Ancestor
	for _, d := range predicate.BuildDefinition.ResolvedDependencies {
		all = append(all, Ancestor{Role: d.Name, URI: d.URI, Digests: d.Digest})
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
