package policytest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/policies"
	. "github.com/mlseal/mlseal/policies/policytest"
)

// example is the worked example of the documentation.
const example = "../../docs/policy-testing"

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(example, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func shortType(short string) (string, bool) {
	uri, ok := map[string]string{
		"slsa-provenance": "https://slsa.dev/provenance/v1", "evaluation": "https://mlseal.dev/attestation/evaluation/v0.1",
		"dataset": "https://mlseal.dev/attestation/dataset/v0.1",
	}[short]
	return uri, ok
}

func loadPolicy(t testing.TB, text string) *policies.Policy {
	t.Helper()
	p, err := policies.Load([]byte(text), policies.LoadOptions{Name: "policy.yaml", PredicateType: shortType})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func files(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(example, "good"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out[e.Name()] = read(t, "good/"+e.Name())
	}
	return out
}

func fixture(t testing.TB) *Fixture {
	t.Helper()
	f, err := ParseFixture(files(t))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func loadSuite(text string) (*Suite, error) {
	return Load([]byte(text), LoadOptions{Name: "t.yaml", ReadFile: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(example, name)) }})
}

// suiteText is a suite with these lines under cases, and what stands behind them.
func suiteText(cases ...string) string {
	return "policy: policy.yaml\nnow: 2026-11-20T12:00:00Z\nfixtures: good\ncases:\n  - " + strings.Join(cases, "\n  - ") + "\n"
}

const passes = "{name: good, expect: pass}"

func run(t *testing.T, policy, suite string, opts Options) (*Result, error) {
	t.Helper()
	s, err := loadSuite(suite)
	if err != nil {
		t.Fatal(err)
	}
	return Run(loadPolicy(t, policy), s, fixture(t), opts)
}

func TestExample(t *testing.T) {
	r, err := run(t, string(read(t, "policy.yaml")), string(read(t, "policy_test.yaml")), Options{})
	if err != nil || !r.Passed() || r.Coverage == nil || r.Mutants == nil || r.Mutants.Mutants < 50 {
		t.Fatalf("%v %+v", err, r)
	}
	if (&Result{}).Passed() || (*Result)(nil).Passed() {
		t.Error("nothing was asked, and it passed")
	}
}

// TestMutations asks what each verb makes of the decision.
func TestMutations(t *testing.T) {
	policy := string(read(t, "policy.yaml"))
	for mutate, want := range map[string]string{
		"{drop: eval-bar}":                                                        "deny eval-bar TYPE_MISSING",
		"{drop: evaluation}":                                                      "deny eval-bar TYPE_MISSING",
		"{duplicate: approval-alice}":                                             "pass",
		"{duplicate: approval-alice, as: carol}":                                  "pass",
		"{resign: approval-bob, as: alice}":                                       "deny two-humans THRESHOLD_NOT_MET",
		"{resign: approval-bob, as: carol}":                                       "pass",
		"{resign: approval-bob, as: [bob, carol]}":                                "pass",
		"{resign: two-humans, as: trainer}":                                       "deny two-humans SIGNER_NOT_TRUSTED",
		"{resign: eval-bar, as: nobody}":                                          "deny eval-bar SIGNER_NOT_TRUSTED",
		"{timestamp: eval-bar, shift: -1d}":                                       "pass",
		"{timestamp: eval-bar, shift: -30d}":                                      "deny eval-bar EVIDENCE_TOO_OLD",
		"{timestamp: eval-bar, shift: 2d}":                                        "deny eval-bar EVIDENCE_TOO_OLD",
		"{timestamp: eval-bar, to: 2026-10-01T00:00:00Z}":                         "deny eval-bar EVIDENCE_TOO_OLD",
		"{timestamp: eval-bar, source: claimed}":                                  "pass",
		"{resubject: eval-bar}":                                                   "deny eval-bar SUBJECT_MISMATCH",
		"{resubject: eval-bar, to: 'dirHash:" + strings.Repeat("d", 64) + "'}":    "pass",
		"{retype: eval-bar}":                                                      "deny eval-bar TYPE_MISSING",
		"{retype: eval-bar, to: 'https://mlseal.dev/attestation/scan/v0.1'}":      "deny eval-bar TYPE_MISSING",
		"{set: eval-bar, path: 'predicate.results[0].value', to: '0.69'}":         "deny eval-bar CONDITION_FALSE",
		"{set: eval-bar, path: 'predicate.results[0].value', to: 0.70}":           "pass",
		"{set: eval-bar, path: 'predicate.results[0].value', to: NaN}":            "deny eval-bar CONDITION_ERROR",
		"{set: eval-bar, path: 'predicate.results[0].passed', to: 'yes'}":         "deny eval-bar CONDITION_ERROR",
		"{set: eval-bar, path: 'predicate.results', to: []}":                      "deny eval-bar CONDITION_FALSE",
		"{set: eval-bar, path: 'predicate.results', to: [{passed: null}]}":        "deny eval-bar CONDITION_ERROR",
		"{set: eval-bar, path: 'predicate.new', to: 1}":                           "pass",
		"{set: eval-bar, path: predicateType, to: 'https://x.example/y'}":         "deny eval-bar TYPE_MISSING",
		"{set: eval-bar, path: 'subject[0].digest.sha256', to: 'aa'}":             "deny eval-bar SUBJECT_MISMATCH",
		"{unset: eval-bar, path: 'predicate.results'}":                            "deny eval-bar CONDITION_ERROR",
		"{spoil: eval-bar}":                                                       "deny eval-bar SIGNATURE_INVALID",
		"{spoil: eval-bar, code: PARSE_AMBIGUOUS}":                                "deny eval-bar PARSE_AMBIGUOUS",
		"{add: eval-failed.json}":                                                 "deny eval-bar CONDITION_FALSE",
		"{replace: eval-bar, with: eval-failed.json}":                             "deny eval-bar CONDITION_FALSE",
		"{drop: 'lineage:dataset'}":                                               "deny built-by-us TYPE_MISSING, deny two-humans DUTY_OVERLAP, deny lineage:dataset LINEAGE_GAP",
		"{drop: card}":                                                            "deny lineage:dataset LINEAGE_GAP",
		"{set: built-by-us, path: 'predicate.runDetails.builder', to: {id: 'x'}}": "deny built-by-us CONDITION_FALSE, deny two-humans DUTY_OVERLAP, deny lineage:dataset LINEAGE_GAP",
	} {
		r, err := run(t, policy, suiteText("{name: x, expect: pass, mutate: ["+mutate+"]}"), Options{})
		if err != nil {
			t.Errorf("%s: %v", mutate, err)
			continue
		}
		if c := r.Cases[0]; c.Got != want || c.Passed != (want == "pass") {
			t.Errorf("%s: %s (passed %v), want %s", mutate, c.Got, c.Passed, want)
		}
	}
}

// TestExpectations asks which expectations hold: that a policy denies is not enough.
func TestExpectations(t *testing.T) {
	policy := strings.Replace(string(read(t, "policy.yaml")), "  - id: eval-bar\n", "  - id: eval-bar\n    severity: warn\n", 1)
	for body, holds := range map[string]bool{
		"expect: pass": true,
		"expect: pass, mutate: [{drop: eval-bar}]":                                             true, // a warning denies nothing
		"expect: {warn: eval-bar}, mutate: [{drop: eval-bar}]":                                 true,
		"expect: {warn: eval-bar, code: TYPE_MISSING}, mutate: [{drop: eval-bar}]":             true,
		"expect: {warn: eval-bar, code: EVIDENCE_TOO_OLD}, mutate: [{drop: eval-bar}]":         false,
		"expect: {warn: eval-bar}":                                                             false,
		"expect: {warn: eval-bar}, mutate: [{drop: eval-bar}, {drop: card}]":                   false, // denied for another reason
		"expect: {deny: eval-bar}, mutate: [{drop: eval-bar}]":                                 false,
		"expect: {deny: eval-bar}, mutate: [{drop: eval-bar}, {drop: card}]":                   false,
		"expect: {deny: 'lineage:dataset'}, mutate: [{drop: card}]":                            true,
		"expect: {deny: built-by-us}, mutate: [{drop: card}]":                                  false,
		"expect: {deny: 'lineage:dataset', code: CONDITION_FALSE}, mutate: [{drop: card}]":     false,
		"expect: {deny: policy, code: POLICY_EXPIRED}, now: 2027-07-01T00:00:00Z":              true,
		"expect: {deny: policy}":                                                               false,
		"expect: {deny: two-humans}, subject: {sha256: '" + strings.Repeat("b", 64) + "'}":     true,
		"expect: pass, subject: {repository: registry.example/x, artifactType: application/x}": true,
	} {
		r, err := run(t, policy, suiteText("{name: x, "+body+"}"), Options{})
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if c := r.Cases[0]; c.Passed != holds || r.Passed() != holds {
			t.Errorf("%s: %s, passed %v, want %v", body, c.Got, c.Passed, holds)
		}
	}
}

// TestMistakes: a case that cannot be asked is no case that passes.
func TestMistakes(t *testing.T) {
	policy := string(read(t, "policy.yaml"))
	for body, want := range map[string]string{
		"expect: {deny: eval-baz}":                                                             "no requirement \"eval-baz\"",
		"expect: pass, mutate: [{drop: eval-baz}]":                                             "there is no statement \"eval-baz\"",
		"expect: pass, mutate: [{drop: eval-bar}, {drop: eval-bar}]":                           "not all there any more",
		"expect: pass, mutate: [{resign: eval-bar, as: evaluator}]":                            "changes nothing",
		"expect: pass, mutate: [{resign: eval-bar, as: approvers}]":                            "approvers is a group",
		"expect: pass, mutate: [{replace: two-humans, with: eval-failed.json}]":                "means 2 statements",
		"expect: pass, mutate: [{add: eval-failed.json}, {add: eval-failed.json}]":             "there is a statement eval-failed",
		"expect: pass, mutate: [{set: eval-bar, path: predicate.a.b, to: 1}]":                  "there is no \"a\"",
		"expect: pass, mutate: [{unset: eval-bar, path: predicate.a}]":                         "there is no \"a\"",
		"expect: pass, mutate: [{set: eval-bar, path: 'predicate.results[7]', to: 1}]":         "there is no [7]",
		"expect: pass, mutate: [{set: eval-bar, path: 'predicate.results.x', to: 1}]":          "no key of a list",
		"expect: pass, mutate: [{unset: eval-bar, path: 'predicate.results[0]'}]":              "unset takes a key away",
		"expect: pass, mutate: [{set: eval-bar, path: 'predicate.results[0].value.x', to: 1}]": "a key of nothing",
		"expect: pass, params: {bar: '0.9'}":                                                   "no parameter \"bar\"",
	} {
		_, err := run(t, policy, suiteText("{name: x, "+body+"}"), Options{})
		if !errors.Is(err, ErrSuite) || !strings.Contains(fmt.Sprint(err), want) || !strings.Contains(fmt.Sprint(err), "t.yaml:5") {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	if _, err := Run(loadPolicy(t, policy), &Suite{}, fixture(t), Options{}); !errors.Is(err, ErrSuite) {
		t.Errorf("no cases: %v", err)
	}
}

// Case 68: the clock of a suite is written in it, and nowhere else.
func TestLoadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"": "no policy test document",
		"policy: p\nnow: 2026-11-20T12:00:00Z\nfixtures: f\ncases: []\n":              "cases is empty",
		"policy: p\nnow: 2026-11-20T12:00:00Z\nfixtures: f\n":                         "has no cases",
		"now: 2026-11-20T12:00:00Z\nfixtures: f\ncases: []\n":                         "has no policy",
		strings.Replace(suiteText(passes), "now: 2026-11-20T12:00:00Z\n", "", 1):      "has no now",
		suiteText(passes) + "mutant: {}\n":                                            "did you mean mutants",
		suiteText(passes, passes):                                                     "stands in line 5 already",
		suiteText("{name: x}"):                                                        "has no expect",
		suiteText("{name: x, expect: fail}"):                                          "it is pass, or a mapping",
		suiteText("{name: x, expect: {}}"):                                            "needs one of deny",
		suiteText("{name: x, expect: {deny: a, warn: b}}"):                            "needs one of them",
		suiteText("{name: x, expect: {deny: a, code: TYPE_MISING}}"):                  "did you mean TYPE_MISSING",
		suiteText("{name: x, expect: {waive: a, code: REVOKED}}"):                     "waived has no code",
		suiteText("{name: x, expect: pass, mutate: []}"):                              "mutate is empty",
		suiteText("{name: x, expect: pass, mutate: [{}]}"):                            "exactly one of",
		suiteText("{name: x, expect: pass, mutate: [{drop: a, resign: b}]}"):          "exactly one of",
		suiteText("{name: x, expect: pass, mutate: [{drop: a, as: b}]}"):              "drop does not take as",
		suiteText("{name: x, expect: pass, mutate: [{resign: a}]}"):                   "has no as",
		suiteText("{name: x, expect: pass, mutate: [{timestamp: a}]}"):                "timestamp needs shift",
		suiteText("{name: x, expect: pass, mutate: [{timestamp: a, shift: -31}]}"):    "must be a string",
		suiteText("{name: x, expect: pass, mutate: [{timestamp: a, shift: -1w}]}"):    "write days, hours",
		suiteText("{name: x, expect: pass, mutate: [{resubject: a, to: aaaa}]}"):      "it is a digest such as",
		suiteText("{name: x, expect: pass, mutate: [{set: a, path: 'b[', to: 1}]}"):   "indexes in brackets",
		suiteText("{name: x, expect: pass, mutate: [{set: a, path: 'b[x]', to: 1}]}"): "indexes in brackets",
		suiteText("{name: x, expect: pass, mutate: [{set: a, path: 'b..c', to: 1}]}"): "a key in it is empty",
		suiteText("{name: x, expect: pass, mutate: [{set: a, path: b}]}"):             "has no to",
		suiteText("{name: x, expect: pass, mutate: [{set: a, path: b, to: .inf}]}"):   "no number in JSON",
		suiteText("{name: x, expect: pass, mutate: [{spoil: a, code: X}]}"):           "there is no code",
		suiteText("{name: x, expect: pass, mutate: [{add: nowhere.json}]}"):           "cannot be read",
		suiteText("{name: x, expect: pass, mutate: [{add: policy.yaml}]}"):            "no statement of a fixture",
		suiteText("{name: x, expect: pass, subject: {}}"):                             "subject is empty",
		suiteText("{name: x, expect: pass, params: {}}"):                              "params must be a mapping",
		suiteText(passes) + "coverage: {requirements: all}\n":                         "must be a percentage",
		suiteText(passes) + "coverage: {requirements: 101%}\n":                        "between 1% and 100%",
		suiteText(passes) + "coverage: {requirements: 0%}\n":                          "between 1% and 100%",
		suiteText(passes) + "coverage: {}\n":                                          "coverage is empty",
		suiteText(passes) + "mutants: {survivors: 0}\n":                               "has no builtin",
		suiteText(passes) + "mutants: {builtin: false}\n":                             "can only be true",
		suiteText(passes) + "---\na: 1\n":                                             "a second YAML document",
		"a: &x 1\n":                                                                   "an anchor",
	} {
		s, err := loadSuite(text)
		if s != nil || !errors.Is(err, ErrSuite) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "t.yaml:") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestCoverage takes a case away and sees what it had covered named.
func TestCoverage(t *testing.T) {
	policy, suite := string(read(t, "policy.yaml")), string(read(t, "policy_test.yaml"))
	for name, missing := range map[string]string{
		"wrong workflow": "built-by-us.by", "a builder that is not ours": "built-by-us.where[0]", "old evaluation": "eval-bar.maxAge",
		"a result that did not pass": "eval-bar.where[1]", "one approver twice": "two-humans.by", "approved for staging": "two-humans.where[0]",
		"an unlicensed dataset": "lineage:dataset.requireEach[0].where[0]", "a policy that ended": "policy",
	} {
		s, err := loadSuite(suite)
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.Cases)
		s.Cases = slices.DeleteFunc(s.Cases, func(c Case) bool { return c.Name == name })
		r, err := Run(loadPolicy(t, policy), s, fixture(t), Options{})
		if err != nil || len(s.Cases) != before-1 {
			t.Fatal(err, name)
		}
		found := slices.ContainsFunc(r.Coverage.Parts, func(p Part) bool { return p.Name == missing && len(p.Cases) == 0 })
		if !found || r.Passed() {
			t.Errorf("without %q, %s is covered or the suite passes (%v)", name, missing, r.Passed())
		}
	}
	r, err := run(t, policy, suiteText(passes), Options{Coverage: true})
	if covered, all := r.Coverage.Count(Requirements); err != nil || covered != 0 || all != 4 || r.Passed() {
		t.Errorf("%v: %d of %d, passed %v", err, covered, all, r.Passed())
	}
	// What fails on the side is not covered.
	r, err = run(t, policy, suiteText(passes, "{name: x, mutate: [{drop: provenance}], expect: {deny: built-by-us}}"), Options{Coverage: true})
	if covered, _ := r.Coverage.Count(Requirements); err != nil || covered != 1 {
		t.Errorf("%v: %d covered", err, covered)
	}
	// Nor by a case that does not hold.
	r, err = run(t, policy, suiteText(passes, "{name: x, mutate: [{drop: provenance}], expect: {deny: built-by-us, code: REVOKED}}"), Options{Coverage: true})
	if covered, _ := r.Coverage.Count(Requirements); err != nil || covered != 0 {
		t.Errorf("%v: %d covered", err, covered)
	}
}

// TestMutants weakens the policy and sees who survives.
func TestMutants(t *testing.T) {
	text := string(read(t, "policy.yaml"))
	survivors := func(policy, settings string) string {
		t.Helper()
		r, err := run(t, policy, suiteText(passes)+settings, Options{Mutate: true})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, s := range r.Mutants.Survivors {
			out = append(out, s.Statement+" "+s.Mutant)
		}
		if (len(out) == 0) != r.Passed() {
			t.Errorf("passed %v with %q", r.Passed(), out)
		}
		return strings.Join(out, "; ")
	}
	replaced := func(old, new string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatal(old)
		}
		return strings.Replace(text, old, new, 1)
	}
	edge := text[strings.Index(text, "lineage:"):]
	for name, c := range map[string]struct{ policy, settings, want string }{
		"as it is":            {text, "", ""},
		"no maxAge":           {replaced("    maxAge: 30d\n", ""), "", "evaluation replay; evaluation future-date"},
		"timeless":            {replaced("    maxAge: 30d\n", ""), "mutants: {builtin: true, timeless: [eval-bar]}\n", ""},
		"no lineage":          {replaced(edge, ""), "", "card drop"},
		"unneeded":            {replaced(edge, ""), "mutants: {builtin: true, unneeded: [card]}\n", ""},
		"needed, and listed":  {text, "mutants: {builtin: true, unneeded: [card]}\n", "card drop"},
		"one approval enough": {replaced("atLeast: 2", "atLeast: 1"), "", "approval-alice drop; approval-bob drop"},
		"anybody evaluates":   {replaced("by: [evaluator]", "by: [evaluator, trainer, office, alice, bob, carol]"), "", ""},
	} {
		if got := survivors(c.policy, c.settings); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if r, err := run(t, replaced(edge, ""), suiteText(passes)+"mutants: {builtin: true, survivors: 1}\n", Options{}); err != nil || !r.Passed() {
		t.Errorf("one survivor is accepted: %v", err)
	}
	for settings, want := range map[string]string{
		"mutants: {builtin: true, unneeded: [cart]}\n": "unneeded: there is no statement",
		"mutants: {builtin: true, timeless: [cart]}\n": "timeless: there is no statement",
	} {
		if _, err := run(t, text, suiteText(passes)+settings, Options{}); !errors.Is(err, ErrSuite) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err := run(t, replaced(`dec("0.70")`, `dec("0.80")`), suiteText(passes), Options{Mutate: true})
	if !errors.Is(err, ErrSuite) || !strings.Contains(err.Error(), "does not pass as it is: deny eval-bar CONDITION_FALSE") {
		t.Errorf("mutants of what is denied: %v", err)
	}
}

// TestNotes: a signer who may not say the same twice is no survivor, and is named.
func TestNotes(t *testing.T) {
	r, err := run(t, string(read(t, "policy.yaml")), suiteText(passes), Options{Mutate: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Mutants.Notes) != 1 || !strings.HasPrefix(r.Mutants.Notes[0], "provenance twice is denied: deny built-by-us LINEAGE_AMBIGUOUS") {
		t.Errorf("notes %q", r.Mutants.Notes)
	}
}
