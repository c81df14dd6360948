// Package memory remembers which versions of policies were accepted, so that an older one that somebody puts in its place is noticed.
//
// The memory is one JSON file:
//
//	{"format": "mlseal.dev/policy-memory/v1",
//	 "policies": [{"name": "prod", "signer": "key sha256:…", "version": 7, "document": "sha256:…", "artifact": "sha256:…", "place": "…", "accepted": "2026-…Z"}],
//	 "places":   [{"place": "registry.example/policies/gates:prod", "signer": "key sha256:…", "name": "prod"}]}
//
// policies holds the highest version that was accepted of each policy, which is known by its name and by who signed it, wherever it came
// from. places holds which policy of a signer each reference gave, so that another one of the same signer, perhaps a laxer one, is not taken for it.
//
// A memory that cannot be read is an error and never an empty one.
package memory

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of the memory.
const (
	MaxBytes    = 4 << 20
	MaxPolicies = 10_000
)

const format = "mlseal.dev/policy-memory/v1"

var (
	// ErrRollback says that a policy is older than one that was accepted before, or another one of the same version.
	ErrRollback = errors.New("POLICY_ROLLBACK")
	// ErrMisplaced says that a place gave another policy before.
	ErrMisplaced = errors.New("POLICY_MISPLACED")
	// ErrUnreadable says that there is a memory and that nobody knows what it holds.
	ErrUnreadable = errors.New("the memory of accepted policies cannot be read")
)

// Policy is a policy that was found to be signed by whom the operator trusts.
type Policy struct {
	Name, Signer       string // which policy it is
	Version            int
	Document, Artifact string // digests of the document alone, and of all files
	Previous           string // the document that it says it follows; may be empty
	Place              string // the reference that gave it; empty when it names no place, as a digest does
}

// accepted is the highest version of a policy.
type accepted struct {
	Name     string    `json:"name"`
	Signer   string    `json:"signer"`
	Version  int       `json:"version"`
	Document string    `json:"document"`
	Artifact string    `json:"artifact"`
	Place    string    `json:"place,omitempty"`
	Accepted time.Time `json:"accepted"`
}

type place struct {
	Place  string `json:"place"`
	Signer string `json:"signer"`
	Name   string `json:"name"`
}

type memory struct {
	Format   string     `json:"format"`
	Policies []accepted `json:"policies"`
	Places   []place    `json:"places"`
}

// accept compares p with what is known and takes it in. changed says that there is something new to keep.
func (m *memory) accept(p Policy, now time.Time) (note string, changed bool, err error) {
	if p.Version < 1 {
		return "", false, fmt.Errorf("%w: the policy %s has no version, so that nobody could tell it from an older one", ErrRollback, p.Name)
	}
	moved, err := m.atPlace(p)
	if err != nil {
		return "", false, err
	}
	i := slices.IndexFunc(m.Policies, func(a accepted) bool { return a.Name == p.Name && a.Signer == p.Signer })
	if i < 0 {
		m.Policies = append(m.Policies, p.entry(now))
		return "", true, m.bounded()
	}
	if note, err = m.Policies[i].precedes(p); err != nil {
		return "", false, err
	}
	if p.Version == m.Policies[i].Version {
		return "", moved, m.bounded()
	}
	m.Policies[i] = p.entry(now)
	return note, true, m.bounded()
}

func (p Policy) entry(now time.Time) accepted {
	return accepted{p.Name, p.Signer, p.Version, p.Document, p.Artifact, p.Place, now.UTC().Truncate(time.Second)}
}

// precedes compares a policy with the highest version before it.
func (a accepted) precedes(p Policy) (note string, err error) {
	switch {
	case p.Version < a.Version:
		return "", fmt.Errorf("%w: %s is of version %d, and version %d was accepted on %s", ErrRollback, p.Name, p.Version, a.Version, a.Accepted.Format("2006-01-02"))
	case p.Version == a.Version && p.Artifact != a.Artifact:
		return "", fmt.Errorf("%w: %s of version %d is %s, and %s was accepted under that version on %s", ErrRollback, p.Name, p.Version, p.Artifact, a.Artifact, a.Accepted.Format("2006-01-02"))
	case p.Previous == "" || p.Version == a.Version:
		return "", nil
	case p.Version == a.Version+1 && p.Previous != a.Document:
		return "", fmt.Errorf("%w: %s of version %d says that it follows %s, and %s was accepted as version %d", ErrRollback, p.Name, p.Version, p.Previous, a.Document, a.Version)
	case p.Version > a.Version+1:
		return fmt.Sprintf("the policy follows %s, which was not seen here: the last that was accepted is version %d", p.Previous, a.Version), nil
	}
	return "", nil
}

// atPlace compares the name of a policy with that of the one that the place gave before. added says that nothing was known of it.
func (m *memory) atPlace(p Policy) (added bool, err error) {
	if p.Place == "" {
		return false, nil
	}
	for _, known := range m.Places {
		if known.Place != p.Place || known.Signer != p.Signer {
			continue
		}
		if known.Name != p.Name {
			return false, fmt.Errorf("%w: %s gave the policy %s before, and now gives %s", ErrMisplaced, p.Place, known.Name, p.Name)
		}
		return false, nil
	}
	m.Places = append(m.Places, place{p.Place, p.Signer, p.Name})
	return true, nil
}

func (m *memory) bounded() error {
	if len(m.Policies) > MaxPolicies || len(m.Places) > MaxPolicies {
		return fmt.Errorf("%w: it would hold more than %d policies", ErrUnreadable, MaxPolicies)
	}
	return nil
}
