package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
)

// PolicyError says why a policy from a store does not decide.
type PolicyError struct {
	Code   policies.Code
	Detail string
}

// Error is "CODE: detail".
func (e *PolicyError) Error() string { return string(e.Code) + ": " + e.Detail }

// errNoStatement says that what counted is not among what was found.
var errNoStatement = errors.New("verify: the statement that counted is not among those that were found")

// SignedPolicy makes sure that the policy artifact with the sha256 digest, "sha256:<hex>", is signed by whom who, a policy with one signature
// requirement, names, and returns the names under which its signers signed it: the subject's name in each signature that counts, which says
// where the policy belongs. found is what is attached to it. A *PolicyError says that nobody signed it, or not who should have.
func (v *Verifier) SignedPolicy(ctx context.Context, digest string, found []Found, who *policies.Policy) (places []string, err error) {
	sha := strings.TrimPrefix(digest, "sha256:")
	d, err := v.Verify(ctx, Target{Subject: policies.Subject{Name: "policy", Digests: map[string]string{"sha256": sha}}}, found, who)
	if err != nil {
		return nil, err
	}
	if d.Err() != nil {
		return nil, unsigned(d)
	}
	for _, r := range d.Requirements {
		for _, seen := range r.Counted {
			name, err := placeIn(found, seen.ID, sha)
			if err != nil {
				return nil, err
			}
			places = append(places, name)
		}
	}
	slices.Sort(places)
	return slices.Compact(places), nil
}

// unsigned puts a denial into the words of policies.
func unsigned(d *policies.Decision) *PolicyError {
	for _, r := range d.Requirements {
		switch {
		case !r.Denies():
		case r.Code == policies.TypeMissing && len(r.NearMisses) == 0:
			return &PolicyError{policies.PolicyUnsigned, "no signature is attached to it"}
		default:
			return &PolicyError{policies.PolicySignerNotTrusted, string(r.Code) + ": " + r.Detail}
		}
	}
	return &PolicyError{policies.PolicySignerNotTrusted, d.Err().Error()}
}

// placeIn reads the name that a statement, whose signature was verified, gives the subject with the digest.
func placeIn(found []Found, id, sha string) (string, error) {
	for _, f := range found {
		if f.Err != nil || attest.ID(f.Data) != id {
			continue
		}
		b, err := attest.Parse(f.Data)
		if err != nil {
			return "", err
		}
		s, err := b.UnverifiedStatement(attest.StatementType)
		if err != nil {
			return "", err
		}
		for _, subject := range s.Subject {
			if subject.Digest["sha256"] == sha {
				return subject.Name, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %s", errNoStatement, id)
}

// PolicyAt makes sure that one of the names under which a policy was signed is the place that it was found at.
func PolicyAt(places []string, want string) error {
	if slices.Contains(places, want) {
		return nil
	}
	return &PolicyError{policies.PolicyMisplaced, fmt.Sprintf("it is signed for %s, not for %s", strings.Join(places, ", "), want)}
}
