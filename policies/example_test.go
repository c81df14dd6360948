package policies_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/mlseal/mlseal/policies"
)

func Example() {
	document := `apiVersion: mlseal.dev/policy/v1
name: first-gate
signers:
  evaluator: {key: ./evaluator.pub}
require:
  - id: eval-bar
    attestation: https://mlseal.dev/attestation/evaluation/v0.1
    by: [evaluator]
    match: latest
    maxAge: 30d
    where: dec(predicate.accuracy) >= dec("0.70")
`
	policy, err := policies.Load([]byte(document), policies.LoadOptions{
		Name:     "gate.yaml",
		ReadFile: func(name string) ([]byte, error) { return publicKey(name), nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	digest := map[string]string{"sha256": strings.Repeat("6c1c", 16)}
	clock := time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)
	// The verifier makes this out of a bundle, once it has checked the signature.
	evidence := policies.Evidence{
		ID:            "sha256:77",
		PredicateType: "https://mlseal.dev/attestation/evaluation/v0.1",
		Subjects:      []map[string]string{digest},
		Statement:     map[string]any{"predicate": map[string]any{"accuracy": "0.712"}},
		SignedBy:      []string{"evaluator"},
		Time:          clock.Add(-48 * time.Hour),
		TimeSource:    "claimed",
	}
	decision := policy.Evaluate(policies.Subject{Name: "support-bot", Digests: digest}, []policies.Evidence{evidence}, clock)
	fmt.Println(decision.Verdict, decision.Err())

	later := policy.Evaluate(decision.Subject, []policies.Evidence{evidence}, clock.Add(40*24*time.Hour))
	fmt.Println(later.Verdict, later.Err())
	fmt.Println(later.Requirements[0].Detail)
	// Output:
	// ALLOWED <nil>
	// DENIED denied by policy: eval-bar: EVIDENCE_TOO_OLD
	// https://mlseal.dev/attestation/evaluation/v0.1 statement sha256:77: 42d old, the limit is 30d
}
