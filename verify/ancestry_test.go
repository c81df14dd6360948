package verify_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
)

// hexOf names an artifact of a test by a digest.
func hexOf(name string) map[string]string {
	return map[string]string{"sha256": fmt.Sprintf("%064x", name)[:64]}
}

// unsignedBundle is a bundle whose signature nobody looks at.
func unsignedBundle(t *testing.T, subject, predicateType string, predicate any) verify.Found {
	t.Helper()
	payload, err := json.Marshal(map[string]any{"_type": attest.StatementType, "subject": []any{map[string]any{"digest": hexOf(subject)}},
		"predicateType": predicateType, "predicate": predicate})
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString(payload)
	data := fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"x"}},"dsseEnvelope":{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"eHg="}]}}`, text)
	return verify.Found{Origin: subject + " " + predicateType, Data: []byte(data)}
}

// madeFrom is provenance.
func madeFrom(t *testing.T, subject string, dependencies ...string) verify.Found {
	t.Helper()
	list := []any{}
	for _, d := range dependencies {
		list = append(list, map[string]any{"name": d, "digest": hexOf(d)})
	}
	return unsignedBundle(t, subject, attest.ProvenancePredicateType, map[string]any{"buildDefinition": map[string]any{"resolvedDependencies": list}})
}

// shelf finds statements by the digest of what they are about.
type shelf map[string][]verify.Found

func (s shelf) Statements(_ context.Context, digests map[string]string) ([]verify.Found, error) {
	return s[digests["sha256"]], nil
}

func (s shelf) put(about string, found ...verify.Found) {
	s[hexOf(about)["sha256"]] = append(s[hexOf(about)["sha256"]], found...)
}

func note(t *testing.T, subject string) verify.Found {
	return unsignedBundle(t, subject, "https://example.test/note", map[string]any{})
}

func TestAncestryIsFollowed(t *testing.T) {
	s := shelf{}
	s.put("tune", madeFrom(t, "tune", "base", "data"))
	s.put("base", note(t, "base"), madeFrom(t, "base", "corpus", "tune")) // a circle ends
	s.put("base", verify.Found{Origin: "an SBOM", Err: verify.ErrOther})
	given := []verify.Found{note(t, "corpus"), note(t, "unrelated"), {Origin: "rubbish", Data: []byte("rubbish")}}
	found := []verify.Found{madeFrom(t, "model", "tune", "code"), note(t, "model")}
	a, err := verify.UnverifiedAncestry(t.Context(), s, hexOf("model"), found, given)
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, ancestor := range a.Ancestors {
		roles = append(roles, fmt.Sprint(ancestor.Role, ancestor.Statements))
	}
	if got := strings.Join(roles, " "); got != "tune1 code0 base2 data0 corpus1" {
		t.Errorf("ancestors: %s", got)
	}
	if len(a.Statements) != 5 || len(a.Missing()) != 2 || strings.Join(a.Unread, " ") != "rubbish" {
		t.Errorf("%d statements, missing %v, unread %v", len(a.Statements), a.Missing(), a.Unread)
	}
}

func TestAncestryThroughGivenProvenance(t *testing.T) {
	given := []verify.Found{madeFrom(t, "model", "base"), note(t, "base")}
	a, err := verify.UnverifiedAncestry(t.Context(), shelf{}, hexOf("model"), nil, given)
	if err != nil || len(a.Ancestors) != 1 || a.Ancestors[0].Statements != 1 || len(a.Statements) != 2 {
		t.Errorf("%+v %v", a, err)
	}
}

func TestAncestryIsBounded(t *testing.T) {
	deep := shelf{}
	for i := range verify.MaxAncestryDepth + 1 {
		deep.put(fmt.Sprint("m", i), madeFrom(t, fmt.Sprint("m", i), fmt.Sprint("m", i+1)))
	}
	if _, err := verify.UnverifiedAncestry(t.Context(), deep, hexOf("m"), []verify.Found{madeFrom(t, "m", "m0")}, nil); !errors.Is(err, verify.ErrLimit) {
		t.Errorf("deep: %v", err)
	}
	var many []string
	for i := range verify.MaxAncestors + 1 {
		many = append(many, fmt.Sprint("d", i))
	}
	if _, err := verify.UnverifiedAncestry(t.Context(), shelf{}, hexOf("m"), []verify.Found{madeFrom(t, "m", many...)}, nil); !errors.Is(err, verify.ErrLimit) {
		t.Errorf("wide: %v", err)
	}
}

// TestLinksAreBounded: one thing in more roles than are remembered.
func TestLinksAreBounded(t *testing.T) {
	list := make([]any, verify.MaxLinks+1)
	for i := range list {
		list[i] = map[string]any{"name": fmt.Sprint(i), "digest": hexOf("d")}
	}
	many := unsignedBundle(t, "m", attest.ProvenancePredicateType, map[string]any{"buildDefinition": map[string]any{"resolvedDependencies": list}})
	a, err := verify.UnverifiedAncestry(t.Context(), shelf{}, hexOf("m"), []verify.Found{many}, nil)
	if !errors.Is(err, verify.ErrLimit) || len(a.Links) != verify.MaxLinks {
		t.Errorf("%d links: %v", len(a.Links), err)
	}
}

// TestAncestryLeavesNothingOut: a statement that cannot be handed out may be the one that says no.
func TestAncestryLeavesNothingOut(t *testing.T) {
	found := []verify.Found{madeFrom(t, "model", "base")}
	for _, bad := range []verify.Found{{Origin: "o", Err: verify.ErrContent}, {Origin: "o", Incomplete: true, Err: verify.ErrLimit}} {
		s := shelf{}
		s.put("base", bad)
		if _, err := verify.UnverifiedAncestry(t.Context(), s, hexOf("model"), found, nil); !errors.Is(err, bad.Err) {
			t.Errorf("%v: %v", bad.Err, err)
		}
	}
	odd := unsignedBundle(t, "model", attest.ProvenancePredicateType, map[string]any{"buildDefinition": map[string]any{"resolvedDependencies": "none"}})
	a, err := verify.UnverifiedAncestry(t.Context(), shelf{}, hexOf("model"), []verify.Found{odd}, nil)
	if err != nil || len(a.Unread) != 1 {
		t.Errorf("provenance that cannot be read: %+v %v", a, err)
	}
}
