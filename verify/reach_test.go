package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/policies"
)

// TestTooManyToLookUp: where not everything was looked for that a revocation may reach, the artifact is denied.
func TestTooManyToLookUp(t *testing.T) {
	trainer := newPerson(t)
	for _, c := range []struct {
		policy string
		n      int
		denied bool
	}{
		{"revocations: {by: [trainer]}\n", policies.MaxDependencies, false},
		{"revocations: {by: [trainer]}\n", policies.MaxDependencies + 1, true},
		{"", policies.MaxDependencies + 1, false}, // nobody asks what it descends from
	} {
		text := "apiVersion: mlseal.dev/policy/v1\nname: reach\nsigners:\n  trainer: {key: trainer.pub}\n" + c.policy +
			"require:\n  - {id: built, attestation: slsa-provenance, by: [trainer]}\n"
		policy, err := loadPolicy(t, text, map[string]person{"trainer": trainer})
		if err != nil {
			t.Fatal(err)
		}
		entries := make([]string, c.n)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"name":"dataset","digest":{"sha256":%q}}`, digestOf(fmt.Sprint("set ", i)))
		}
		predicate := `{"buildDefinition":{"buildType":"https://example.test/b","externalParameters":{},"resolvedDependencies":[` + strings.Join(entries, ",") + `]},"runDetails":{"builder":{"id":"https://example.test/x"}}}`
		d := decide(t, policy, shelf{}, trainer.sign(t, payload(digests("sha256", ours), "https://slsa.dev/provenance/v1", predicate)))
		limited := d.Requirements[0].ID == "evidence" && d.Requirements[0].Code == policies.LimitExceeded
		if (d.Err() != nil) != c.denied || limited != c.denied {
			t.Errorf("%d things, policy %q: %v %+v", c.n, c.policy, d.Err(), d.Requirements)
		}
	}
}
