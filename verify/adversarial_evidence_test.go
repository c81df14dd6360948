package verify_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// claimed is an evaluation of our artifact that claims a time and says a value.
func claimed(time, value string) string {
	return payload(digests("sha256", ours), kind, `{"finishedOn":"`+time+`","results":[{"metric":"accuracy","value":"`+value+`"}]}`)
}

// TestAdversarialSeveral are cases 36, 38 and 39 through the whole gate: which of several signed statements counts must depend on neither
// the order nor the names under which they were found.
func TestAdversarialSeveral(t *testing.T) {
	evaluator := newPerson(t)
	good, bad := evaluator.sign(t, claimed("2026-11-01T00:00:00Z", "0.71")), evaluator.sign(t, claimed("2026-11-02T00:00:00Z", "0.10"))
	early, late := evaluator.sign(t, claimed("2026-10-30T00:00:00Z", "0.10")), evaluator.sign(t, claimed("2027-11-01T00:00:00Z", "0.99"))
	old := evaluator.sign(t, claimed("2025-11-01T00:00:00Z", "0.71"))
	for name, tc := range map[string]struct {
		more    string
		bundles [][]byte
		want    policies.Code
	}{
		"36 a newer one fails, all":         {"", [][]byte{good, bad}, policies.ConditionFalse},
		"36 a newer one fails, latest":      {"match: latest", [][]byte{good, bad}, policies.ConditionFalse},
		"36 an older one fails, all":        {"", [][]byte{good, early}, policies.ConditionFalse},
		"36 an older one fails, latest":     {"match: latest", [][]byte{good, early}, ""},
		"36 a newer one fails, any":         {"match: any", [][]byte{good, bad}, ""},
		"36 a newer one fails, one":         {"match: one", [][]byte{good, bad}, policies.ConditionFalse},
		"38 a claim of next year, latest":   {"match: latest", [][]byte{bad, late}, policies.ConditionFalse},
		"38 a claim of next year, all":      {"", [][]byte{bad, late}, policies.ConditionFalse},
		"38 a claim of next year and age":   {"maxAge: 30d", [][]byte{late}, policies.EvidenceTooOld},
		"39 last year's beyond maxAge":      {"maxAge: 30d", [][]byte{old}, policies.EvidenceTooOld},
		"39 last year's where nobody asked": {"", [][]byte{old}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy)+"    "+tc.more+"\n", map[string]person{"evaluator": evaluator})
			if err != nil {
				t.Fatal(err)
			}
			backwards := slices.Clone(tc.bundles)
			slices.Reverse(backwards)
			for order, bundles := range map[string][][]byte{"one order": tc.bundles, "the other": backwards, "each twice": append(slices.Clone(backwards), tc.bundles...)} {
				if got := code(decide(t, policy, nil, bundles...)); got != tc.want {
					t.Errorf("%s: reason is %q, want %q", order, got, tc.want)
				}
			}
		})
	}
}

// TestAdversarialRoles are cases 40 to 42 through the whole gate: who may say what, and for which place.
func TestAdversarialRoles(t *testing.T) {
	trainer, alice := newPerson(t), newPerson(t)
	const approval = "https://mlseal.dev/attestation/approval/v0.1"
	policy, err := loadPolicy(t, `apiVersion: mlseal.dev/policy/v1
name: roles
signers: {trainer: {key: trainer.pub}, alice: {key: alice.pub}}
require:
  - {id: built, attestation: slsa-provenance, by: [trainer, alice]}
  - id: approved
    attestation: `+approval+`
    by: [alice, trainer]
    match: latest
    where: ['predicate.decision == "approved"', 'predicate.environment == "prod"']
    notSignedBySameIdentityAs: [built]
`, map[string]person{"trainer": trainer, "alice": alice})
	if err != nil {
		t.Fatal(err)
	}
	built := trainer.sign(t, payload(digests("sha256", ours), attest.ProvenancePredicateType, provenance("dataset", other)))
	approve := func(p person, decision, environment, at string) []byte {
		return p.sign(t, payload(digests("sha256", ours), approval, `{"decision":"`+decision+`","environment":"`+environment+`","timestamp":"`+at+`"}`))
	}
	const day, next = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
	for name, tc := range map[string]struct {
		bundles [][]byte
		want    policies.Code
	}{
		"00 approved":                 {[][]byte{approve(alice, "approved", "prod", day)}, ""},
		"00 revoked, then approved":   {[][]byte{approve(alice, "revoked", "prod", day), approve(alice, "approved", "prod", next)}, ""},
		"40 for staging":              {[][]byte{approve(alice, "approved", "staging", day)}, policies.ConditionFalse},
		"40 then revoked":             {[][]byte{approve(alice, "approved", "prod", day), approve(alice, "revoked", "prod", next)}, policies.ConditionFalse},
		"42 the trainer approves":     {[][]byte{approve(trainer, "approved", "prod", day)}, policies.DutyOverlap},
		"42 the trainer approves too": {[][]byte{approve(alice, "approved", "prod", day), approve(trainer, "approved", "prod", day)}, policies.DutyOverlap},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, policy, nil, append(tc.bundles, built)...)
			if got := code(d); got != tc.want {
				t.Errorf("reason is %q, want %q: %+v", got, tc.want, d.Requirements)
			}
		})
	}
}

// TestAdversarialLineage are cases 41, 46, 47 and 49 to 53 through the whole gate, with what a source gives for a digest.
func TestAdversarialLineage(t *testing.T) {
	trainer, office, mallory := newPerson(t), newPerson(t), newPerson(t)
	hexOf := func(name string) string { return fmt.Sprintf("%x", sum(name)) }
	text := `apiVersion: mlseal.dev/policy/v1
name: lineage
signers: {trainer: {key: trainer.pub}, office: {key: office.pub}}
require:
  - {id: built, attestation: slsa-provenance, by: [trainer]}
  - {id: eval, attestation: evaluation, by: [office]}
lineage:
  edges:
    - {from: [built, base-built], role: dataset, requireEach: [{attestation: dataset, by: [office]}], denyDigests: ["sha256:` + hexOf("denied") + `"]}
    - {from: [built, base-built], role: baseModel, count: {min: 0, max: 1}, accept: [{id: base-built, attestation: slsa-provenance, by: [trainer]}]}
    - {from: eval, id: measured, role: evalDataset, count: {min: 0}, disjointFrom: {edge: dataset, using: digest}}
`
	policy, err := loadPolicy(t, text, map[string]person{"trainer": trainer, "office": office})
	if err != nil {
		t.Fatal(err)
	}
	dep := func(role, name string) string {
		return `{"name":"` + role + `","uri":"oci:store","digest":{"sha256":"` + hexOf(name) + `"}}`
	}
	made := func(deps ...string) string {
		return `{"buildDefinition":{"buildType":"x","externalParameters":{},"resolvedDependencies":[` + strings.Join(deps, ",") + `]},"runDetails":{"builder":{"id":"x"}}}`
	}
	about := func(p person, name, predicateType, predicate string) []byte {
		return p.sign(t, payload(digests("sha256", hexOf(name)), predicateType, predicate))
	}
	sheet := func(p person, name string) []byte { return about(p, name, attest.DatasetPredicateType, `{}`) }
	base := func(deps ...string) []byte {
		return about(trainer, "base", attest.ProvenancePredicateType, made(deps...))
	}
	data := dep("dataset", "data")
	sheets := map[string][]byte{"data": sheet(office, "data"), "denied": sheet(office, "denied"), "unloved": sheet(mallory, "unloved"), "trained": sheet(trainer, "trained")}
	evaluated := func(dataset string) string {
		return `{"dataset":{"digest":{"sha256":"` + hexOf(dataset) + `"}},"results":[]}`
	}
	for name, tc := range map[string]struct {
		deps []string
		base []byte
		eval string
		want policies.Code
	}{
		"00 all there":                     {[]string{data, dep("baseModel", "base")}, base(data), evaluated("exam"), ""},
		"41 a sheet by the trainer":        {[]string{dep("dataset", "trained")}, nil, "{}", policies.LineageGap},
		"46 no statement":                  {[]string{dep("dataset", "nothing")}, nil, "{}", policies.LineageGap},
		"46 a stranger's statement":        {[]string{dep("dataset", "unloved")}, nil, "{}", policies.LineageGap},
		"47 a cycle":                       {[]string{data, dep("baseModel", "base")}, base(data, `{"name":"baseModel","digest":{"sha256":"`+ours+`"}}`), "{}", policies.LineageCycle},
		"49 a uri and no digest":           {[]string{`{"name":"dataset","uri":"oci:store:data"}`}, nil, "{}", policies.LineageGap},
		"50 another spelling":              {[]string{dep("DataSet", "data")}, nil, "{}", policies.LineageGap},
		"50 no role":                       {[]string{`{"digest":{"sha256":"` + hexOf("data") + `"}}`}, nil, "{}", policies.LineageGap},
		"50 two base models":               {[]string{data, dep("baseModel", "base"), dep("baseModel", "second")}, base(data), "{}", policies.LineageAmbiguous},
		"51 no dependencies":               {nil, nil, "{}", policies.LineageGap},
		"52 denied, behind the base model": {[]string{data, dep("baseModel", "base")}, base(dep("dataset", "denied")), "{}", policies.DigestDenied},
		"53 evaluated with training data":  {[]string{data}, nil, evaluated("data"), policies.DigestDenied},
	} {
		t.Run(name, func(t *testing.T) {
			source := sourceFunc(func(digests map[string]string) ([]verify.Found, error) {
				for name, bundle := range sheets {
					if digests["sha256"] == hexOf(name) {
						return []verify.Found{{Origin: name, With: digests, Data: bundle}}, nil
					}
				}
				if tc.base != nil && digests["sha256"] == hexOf("base") {
					return []verify.Found{{Origin: "base", With: digests, Data: tc.base}}, nil
				}
				return nil, nil
			})
			d := decide(t, policy, source, ourStatement(t, trainer, attest.ProvenancePredicateType, made(tc.deps...)), ourStatement(t, office, kind, tc.eval))
			if got := code(d); got != tc.want {
				t.Errorf("reason is %q, want %q: %+v", got, tc.want, d.Requirements)
			}
		})
	}
}

// ourStatement is a signed statement about our artifact.
func ourStatement(t *testing.T, p person, predicateType, predicate string) []byte {
	return p.sign(t, payload(digests("sha256", ours), predicateType, predicate))
}
