package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

const revocationType = "https://mlseal.dev/attestation/revocation/v0.1"

func madeFrom(id, of string, from ...string) Evidence {
	var deps []string
	for _, digest := range from {
		deps = append(deps, fmt.Sprintf(`{"name":"x","digest":{"sha256":%q}}`, digest))
	}
	return statement(id, provenance, `{"buildDefinition":{"resolvedDependencies":[`+strings.Join(deps, ",")+`]}}`, about(map[string]string{"sha256": of}))
}

func nth(i int) string { return fmt.Sprintf("%064x", i+1) }

// gather adds statements as Wanted asks for them.
func gather(p *Policy, all []Evidence) (have []Evidence, enough bool) {
	taken := map[string]bool{}
	take := func(digest string) (more bool) {
		for _, e := range all {
			if e.Subjects[0]["sha256"] == digest && !taken[e.ID] {
				taken[e.ID], more = true, true
				have = append(have, e)
			}
		}
		return more
	}
	enough = true
	for more := take(model.Digests["sha256"]); more; {
		more = false
		wanted, all := p.WantedAll(model, have)
		enough = enough && all
		for _, d := range wanted {
			more = take(d.Digests["sha256"]) || more
		}
	}
	return have, enough
}

func TestDenyListsReachWhatIsFetched(t *testing.T) {
	const require = "\nrequire: [{id: built, attestation: slsa-provenance, by: [ci]}]\n"
	all := []Evidence{madeFrom("0", h("a"), nth(0))}
	for i := range 20 {
		all = append(all, madeFrom(fmt.Sprint(i+1), nth(i), nth(i+1)))
	}
	p := load(t, `digests: {deny: ["sha256:`+nth(19)+`"]}`+require)
	have, enough := gather(p, all)
	if !enough {
		t.Error("a chain of 20 is too much")
	}
	want(t, p, "digests.deny", DigestDenied, have...)

	for i := 20; i < MaxLineageDepth+10; i++ {
		all = append(all, madeFrom(fmt.Sprint(i+1), nth(i), nth(i+1)))
	}
	if _, enough := gather(p, all); enough {
		t.Errorf("a chain of more than %d is enough", MaxLineageDepth)
	}

	var wide []string
	for i := range MaxDependencies + 1 {
		wide = append(wide, nth(i))
	}
	withdrawn := statement("r", revocationType, `{"reason":"bad"}`, by("data"), about(map[string]string{"sha256": wide[MaxDependencies]}))
	for n, whole := range map[int]bool{MaxDependencies: true, MaxDependencies + 1: false} {
		p = load(t, "revocations: {by: [data]}"+require)
		if _, enough := gather(p, []Evidence{madeFrom("0", h("a"), wide[:n]...), withdrawn}); enough != whole {
			t.Errorf("%d dependencies: enough is %v", n, enough)
		}
	}
}

func TestWaiversAndRegoWantWitnesses(t *testing.T) {
	const body = `
trust: {transparencyLog: required}
require:
  - {id: built, attestation: slsa-provenance, by: [ci]}
  - {id: eval, attestation: evaluation, by: [ci]}
acceptWaivers: {by: [alice], for: [eval]}
`
	logged := func(ev *Evidence) { ev.Logs = 1 }
	built := statement("b", provenance, `{"buildDefinition":{}}`, logged)
	waived := func(changes ...change) Evidence {
		return statement("w", waiverType, `{"id":"W-1","requirement":"eval","until":"2026-12-01T00:00:00Z","reason":"x"}`, append(changes, by("alice"))...)
	}
	want(t, load(t, body), "eval", TypeMissing, built, waived())
	want(t, load(t, body), "eval", "", built, waived(logged))

	opts := options()
	read := opts.ReadFile
	opts.ReadFile = func(name string) ([]byte, error) {
		if name == "x.rego" {
			return []byte("package acme\ndeny contains \"not approved\" if not approved\napproved if {\n\tsome e in input.evidence\n\t\"alice\" in e.signers\n}\n"), nil
		}
		return read(name)
	}
	p, err := Load([]byte(policyText("rego: [{file: x.rego, package: acme}]"+body)), opts)
	if err != nil {
		t.Fatal(err)
	}
	eval := statement("e", evaluation, `{}`, logged)
	want(t, p, "rego:acme", ConditionFalse, built, eval, waived())
	want(t, p, "rego:acme", "", built, eval, waived(logged))
}

func TestRegoRefusesNumbersThatTakeForever(t *testing.T) {
	opts := options()
	read := opts.ReadFile
	opts.ReadFile = func(name string) ([]byte, error) {
		if name == "x.rego" {
			return []byte("package acme\ndeny contains \"small\" if {\n\tsome e in input.evidence\n\te.predicate.n[0].x + 1 < 0\n}\n"), nil
		}
		return read(name)
	}
	p, err := Load([]byte(policyText("rego: [{file: x.rego, package: acme}]\nrequire: [{id: eval, attestation: evaluation, by: [ci]}]\n")), opts)
	if err != nil {
		t.Fatal(err)
	}
	for n, code := range map[string]Code{"1e999999999": ConditionError, "1E-999999999": ConditionError, "1e99999999999999999999": ConditionError,
		strings.Repeat("9", 2000): ConditionError, "5e-324": "", "1.7976931348623157e+308": "", "9007199254740993": ""} {
		begin := time.Now()
		want(t, p, "rego:acme", code, statement("e", evaluation, `{"n":[{"x":`+n+`}]}`))
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s took %s", n, took)
		}
	}
}

func TestOldStatementsTimestampedAgain(t *testing.T) {
	p := load(t, "require: [{id: eval, attestation: evaluation, by: [ci], maxAge: 30d, match: latest, where: predicate.passed == true}]\n")
	at := func(verified, claimed time.Duration) change {
		return func(ev *Evidence) {
			ev.Time, ev.TimeSource, ev.Claimed = now.Add(-verified), "timestamp authority", now.Add(-claimed)
		}
	}
	const day = 24 * time.Hour
	want(t, p, "eval", "", statement("a", evaluation, `{"passed":true}`, at(day, day+time.Minute)))
	want(t, p, "eval", "", statement("a", evaluation, `{"passed":true}`, at(day, -day))) // a claim makes nothing younger
	want(t, p, "eval", EvidenceTooOld, statement("a", evaluation, `{"passed":true}`, at(day, 400*day)))
	failing := statement("b", evaluation, `{"passed":false}`, at(5*day, 6*day))
	want(t, p, "eval", ConditionFalse, statement("a", evaluation, `{"passed":true}`, at(day, 10*day)), failing)
	want(t, p, "eval", "", statement("a", evaluation, `{"passed":true}`, at(day, 2*day)), failing)
}

func TestConditionsCompareWhatIsInside(t *testing.T) {
	for where, code := range map[string]Code{
		`predicate.results != ["FAILED"]`:                            ConditionError, // a bool is not compared with a string
		`predicate.results == [true]`:                                "",
		`predicate.results != [false]`:                               "",
		`predicate.scores == [dec("1.0"), dec("0.5")]`:               "",
		`predicate.scores != [dec("1"), dec("0.5")]`:                 ConditionFalse,
		`predicate.result != {"status": "FAILED"}`:                   ConditionError,
		`predicate.result == {"status": true}`:                       "",
		`predicate.result == {"other": true}`:                        ConditionFalse,
		`!(predicate.results in [["FAILED"]])`:                       ConditionError,
		`predicate.results != ["FAILED", "FAILED"]`:                  "",
		`predicate.mixed != ["FAILED", "x"]`:                         "", // the second differs, whatever the first is
		`predicate.nested != [["FAILED"]] || predicate.scores == []`: ConditionError,
	} {
		t.Run(where, func(t *testing.T) {
			p := load(t, "require: [{id: r, attestation: evaluation, by: [ci], where: '"+where+"'}]\n")
			want(t, p, "r", code, statement("e", evaluation, `{"results":[true],"scores":[1,0.50],"result":{"status":true},"mixed":[true,"y"],"nested":[[true]]}`))
		})
	}
}

func TestGlobsEnd(t *testing.T) {
	names := strings.Repeat("a/", 120)
	p := load(t, "match: {repositories: ['r.example/"+strings.Repeat("**/a/", 30)+"b', 'r.example/**/x/**/y-*/**']}\nrequire: [{id: r, attestation: evaluation, by: [ci]}]\n")
	for repository, matches := range map[string]bool{
		"r.example/" + names + "c": false, "r.example/" + names + "b": true, "r.example/a/b": false,
		"r.example/x/y-1": true, "r.example/a/x/x/b/y-/c": true, "r.example/x/z/y": false, "s.example/x/y-1": false,
	} {
		if err := p.Matches(Subject{Repository: repository}); (err == nil) != matches {
			t.Errorf("%s: %v", repository, err)
		}
	}
}
