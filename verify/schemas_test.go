package verify_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// TestCheckSchemas: where it is asked for, what a signer of the policy says must satisfy its schema, or it does not count and denies. What a stranger
// says changes nothing.
func TestCheckSchemas(t *testing.T) {
	evaluator, mallory := newPerson(t), newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "attest", "testdata", "predicates", "evaluation.json"))
	if err != nil {
		t.Fatal(err)
	}
	says := func(who person, predicateType, predicate string) []byte {
		return who.sign(t, payload(digests("sha256", ours), predicateType, predicate))
	}
	whole, short := says(evaluator, kind, string(text)), says(evaluator, kind, goodEvaluation)
	provenance := `{"buildDefinition":{"buildType":"https://actions.example/v1"},"runDetails":{"builder":{"id":"x"}}}`
	for name, tc := range map[string]struct {
		check   bool
		bundles [][]byte
		want    policies.Code
	}{
		"not asked for":                 {false, [][]byte{short}, ""},
		"satisfied":                     {true, [][]byte{whole}, ""},
		"a field is missing":            {true, [][]byte{short}, policies.SchemaMismatch},
		"beside one that satisfies it":  {true, [][]byte{whole, short}, policies.SchemaMismatch},
		"a stranger's":                  {true, [][]byte{whole, says(mallory, kind, goodEvaluation)}, ""},
		"a revocation that lacks words": {true, [][]byte{whole, says(evaluator, attest.RevocationPredicateType, `{"reson":"bad"}`)}, policies.SchemaMismatch},
		"provenance of another builder": {true, [][]byte{whole, says(evaluator, attest.ProvenancePredicateType, provenance)}, ""},
		"of a type that is not ours":    {true, [][]byte{whole, says(evaluator, "https://example.test/x", `{}`)}, ""},
	} {
		artifact := map[string]string{"sha256": ours, "dirHash": oursDir}
		var found []verify.Found
		for i, b := range tc.bundles {
			found = append(found, verify.Found{Origin: fmt.Sprint("referrer ", i), Data: b, With: artifact})
		}
		v := verify.Verifier{Trust: trust.New(nil), Now: now, CheckSchemas: tc.check}
		d, err := v.Verify(context.Background(), verify.Target{Subject: policies.Subject{Name: "model", Digests: artifact}}, found, policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := code(d); got != tc.want {
			t.Errorf("%s: %q, want %q: %+v", name, got, tc.want, d.Requirements)
		}
		if allowed := d.Verdict == policies.Allow; allowed != (tc.want == "") {
			t.Errorf("%s: %s", name, d.Verdict)
		}
		if listed := slices.ContainsFunc(d.Requirements, func(r policies.Requirement) bool { return r.ID == "schemas" }); listed != tc.check {
			t.Errorf("%s: the requirement schemas is listed: %t", name, listed)
		}
	}
}
