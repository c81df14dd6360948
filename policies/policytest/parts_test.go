package policytest_test

import (
	"slices"
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies/policytest"
)

// TestPartsOfEdges sees the checks of edges and of duties covered by the case that is about them, and by no other.
func TestPartsOfEdges(t *testing.T) {
	policy := strings.Replace(string(read(t, "policy.yaml")), "      role: dataset\n", `      role: base
      count: {min: 0, max: 1}
      disjointFrom: {edge: dataset}
      accept: [{pinned: ["sha256:`+strings.Repeat("5", 64)+`"]}]
    - from: built-by-us
      role: dataset
      accept: [{pinned: ["sha256:`+strings.Repeat("5", 64)+`"]}]
`, 1)
	const dependencies = "path: predicate.buildDefinition.resolvedDependencies"
	entry := func(role, digit string) string {
		return "{name: " + role + ", digest: {sha256: '" + strings.Repeat(digit, 64) + "'}}"
	}
	set := func(entries ...string) string {
		return "mutate: [{set: built-by-us, " + dependencies + ", to: [" + strings.Join(entries, ", ") + "]}]"
	}
	for part, body := range map[string]string{
		"lineage:dataset.accept[0]":               "expect: {deny: 'lineage:dataset'}, " + set(entry("dataset", "6")),
		"lineage:dataset.count":                   "expect: {deny: 'lineage:dataset'}, mutate: [{set: built-by-us, " + dependencies + ", to: []}]",
		"lineage:base.count":                      "expect: {deny: 'lineage:base'}, " + set(entry("dataset", "5"), entry("base", "6"), entry("base", "7")),
		"lineage:base.disjointFrom":               "expect: {deny: 'lineage:base'}, " + set(entry("dataset", "5"), entry("base", "5")),
		"two-humans.notSignedBySameIdentityAs":    "expect: {deny: two-humans, code: DUTY_OVERLAP}, mutate: [{resign: built-by-us, as: [trainer, alice]}]",
		"lineage:dataset.requireEach[0].by":       "expect: {deny: 'lineage:dataset'}, mutate: [{resign: card, as: mallory}]",
		"lineage:dataset.requireEach[0].where[0]": "expect: {deny: 'lineage:dataset'}, mutate: [{set: card, path: predicate.license.declared, to: x}]",
	} {
		r, err := run(t, policy, suiteText(passes, "{name: x, "+body+"}"), Options{Coverage: true})
		if err != nil || !r.Cases[1].Passed {
			t.Errorf("%s: %v %+v", part, err, r)
			continue
		}
		i := slices.IndexFunc(r.Coverage.Parts, func(p Part) bool { return p.Name == part })
		if i < 0 || !slices.Equal(r.Coverage.Parts[i].Cases, []string{"x"}) {
			t.Errorf("%s is not covered", part)
		}
	}
}

// TestResignTakesTheKeyAway: who signs again does so with another key, and a stranger is named.
func TestResignTakesTheKeyAway(t *testing.T) {
	of := files(t)
	of["approval-bob.json"] = []byte(strings.Replace(string(of["approval-bob.json"]), `"signedBy"`, `"verifiedWith": {"names": ["alice@acme.example"]}, "signedBy"`, 1))
	f, err := ParseFixture(of)
	if err != nil {
		t.Fatal(err)
	}
	s, err := loadSuite(suiteText("{name: one person, expect: {deny: two-humans, code: THRESHOLD_NOT_MET}}",
		"{name: two people, expect: pass, mutate: [{resign: approval-bob, as: carol}]}",
		"{name: a stranger, expect: {deny: eval-bar}, mutate: [{resign: evaluation, as: mallory}]}"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(loadPolicy(t, string(read(t, "policy.yaml"))), s, f, Options{})
	if err != nil || !r.Passed() {
		t.Fatalf("%v %+v", err, r)
	}
	if detail := r.Cases[2].Detail; !strings.Contains(detail, "signed by mallory, who is no signer of the policy") {
		t.Error(detail)
	}
}
