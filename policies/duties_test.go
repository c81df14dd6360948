package policies_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

// A requirement that only warns is reported, and changes no verdict.
func TestSeverity(t *testing.T) {
	for severity, denies := range map[string]bool{"": true, "severity: block, ": true, "severity: warn, ": false, "severity: info, ": false} {
		p := load(t, "require:\n  - {id: a, attestation: dataset, by: [ci]}\n  - {"+severity+"id: b, attestation: evaluation, by: [ci], message: m, fix: f}\n")
		d := p.Evaluate(model, []Evidence{statement("1", dataset, `{}`)}, now)
		r := requirement(t, d, "b")
		if (d.Verdict == Deny) != denies || (d.Err() != nil) != denies || r.Denies() != denies {
			t.Errorf("%s: %v %v", severity, d.Verdict, d.Err())
		}
		if r.Passed || r.Code != TypeMissing || r.Message != "m" || r.Fix != "f" {
			t.Errorf("%s: %+v", severity, r)
		}
		if d := p.Evaluate(model, nil, now); d.Verdict == Allow {
			t.Errorf("%s: allowed without evidence", severity)
		}
	}
	loadFails(t, policyText("require: [{id: a, severity: warn, signature: {by: [ci]}}, {id: b, severity: info, signature: {by: [ci]}}]\n"), "10:10: every requirement is warn or info")
	loadFails(t, policyText("require: [{id: a, severity: error, signature: {by: [ci]}}]\n"), `severity is "error"; it is one of block, warn, info`)
	loadFails(t, policyText("require: [{id: a, severty: warn, signature: {by: [ci]}}]\n"), "did you mean severity?")
}

// Case 42: the approver is the trainer.
func TestDutyOverlap(t *testing.T) {
	p := load(t, `require:
  - {id: built, attestation: slsa-provenance, by: [ci, alice]}
  - {id: approved, attestation: evaluation, by: [alice, bob], match: any, notSignedBySameIdentityAs: [built], message: m}
`)
	made := func(name string, with ...string) Evidence {
		return statement("p", provenance, `{}`, by(name), func(ev *Evidence) { ev.VerifiedWith.Keys = with })
	}
	approved := func(name string, with ...string) Evidence {
		return statement("a", evaluation, `{}`, by(name), func(ev *Evidence) { ev.VerifiedWith.Keys = with })
	}
	want(t, p, "approved", "", made("ci"), approved("alice"))
	d := want(t, p, "approved", DutyOverlap, made("alice"), approved("alice"))
	if r := requirement(t, d, "approved"); r.Detail != "signed by alice, who signed for built as well" || r.Message != "m" {
		t.Errorf("%+v", r)
	}
	want(t, p, "approved", "", made("ci", "k1"), approved("alice", "k2"))
	want(t, p, "approved", DutyOverlap, made("ci", "k1"), approved("alice", "k1")) // one key under two names
	want(t, p, "approved", DutyOverlap, made("ci", "k1"), approved("alice", "k1"), statement("b", evaluation, `{}`, by("bob")))
	d = want(t, p, "approved", DutyOverlap, approved("alice"))
	if r := requirement(t, d, "approved"); !strings.Contains(r.Detail, "requirement built failed") {
		t.Errorf("%+v", r)
	}
	list := "require: [{id: a, signature: {by: [ci]}, notSignedBySameIdentityAs: %}, {id: bb, signature: {by: [ci]}}]\n"
	loadFails(t, policyText(strings.Replace(list, "%", "[bbb]", 1)), `names "bbb", which is not the id of a requirement (did you mean bb?)`)
	loadFails(t, policyText(strings.Replace(list, "%", "[a]", 1)), "names the requirement itself")
	loadFails(t, policyText(strings.Replace(list, "%", "[]", 1)), "notSignedBySameIdentityAs is empty")
}

// One certificate under two signers of different names is one person.
func TestDutyOverlapByCertificate(t *testing.T) {
	doc := certificateDocument(`{a: {certificate: {authority: ca.pem, subject: "CN=alice,O=Acme"}}, b: {certificate: {authority: ca.pem, san: alice@acme.example}}}`)
	p, err := Load([]byte(string(doc)+`
require:
  - {id: built, attestation: slsa-provenance, by: [a]}
  - {id: approved, attestation: evaluation, by: [b], notSignedBySameIdentityAs: [built]}
`), options())
	if err != nil {
		t.Fatal(err)
	}
	certified := func(id, kind, signer, key, subject string, names ...string) Evidence {
		return statement(id, kind, `{}`, by(signer), func(ev *Evidence) {
			ev.VerifiedWith = VerifiedWith{Keys: []string{key}, Subject: subject, Names: names}
		})
	}
	approved := certified("2", evaluation, "b", "k2", "", "alice@acme.example")
	want(t, p, "approved", "", certified("1", provenance, "a", "k1", "CN=alice,O=Acme"), approved)
	want(t, p, "approved", DutyOverlap, certified("1", provenance, "a", "k1", "CN=alice,O=Acme", "alice@acme.example"), approved)
}

// Case 54: what was built after it was approved.
func TestOrder(t *testing.T) {
	p := load(t, `require:
  - {id: built, attestation: slsa-provenance, by: [ci]}
  - {id: eval, attestation: evaluation, by: [ci]}
  - {id: sheet, severity: info, attestation: dataset, by: [ci]}
lineage:
  edges: [{from: built, role: base, count: {min: 0}, accept: [{signature: {by: [ci]}}]}]
  order: [built, eval]
`)
	at := func(id, kind string, old time.Duration, source string) Evidence {
		return statement(id, kind, `{}`, age(old), func(ev *Evidence) { ev.TimeSource = source })
	}
	made := func(old time.Duration, source string) Evidence {
		ev := at("p", provenance, old, source)
		ev.Statement["predicate"] = built("p").Statement["predicate"]
		return ev
	}
	for name, c := range map[string]struct {
		code     Code
		detail   string
		evidence []Evidence
	}{
		"in order":                {"", "built before eval", []Evidence{made(hours(2), "Rekor"), at("e", evaluation, hours(1), "timestamp authority")}},
		"at once":                 {"", "", []Evidence{made(hours(1), "Rekor"), at("e", evaluation, hours(1), "Rekor")}},
		"54 built after it":       {OrderWrong, "statement sha256:e of eval is of 2026-11-18T10:00:00Z, before what counted for built", []Evidence{made(hours(1), "Rekor"), at("e", evaluation, hours(2), "Rekor")}},
		"54 one of two is before": {OrderWrong, "", []Evidence{made(hours(2), "Rekor"), at("e", evaluation, hours(1), "Rekor"), at("f", evaluation, hours(3), "Rekor")}},
		"the first only claims":   {OrderWrong, "nobody but itself says when statement sha256:p of built", []Evidence{made(hours(2), "claimed"), at("e", evaluation, hours(1), "Rekor")}},
		"the second only claims":  {OrderWrong, "", []Evidence{made(hours(2), "Rekor"), at("e", evaluation, hours(1), "claimed")}},
		"the second has no time":  {OrderWrong, "", []Evidence{made(hours(2), "Rekor"), at("e", evaluation, hours(1), "")}},
		"the second is not there": {OrderWrong, "requirement eval failed", []Evidence{made(hours(2), "Rekor")}},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, "lineage.order", c.code, c.evidence...)
			if r := requirement(t, d, "lineage.order"); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
		})
	}
}

// Case 53: the evaluation dataset is also in the training set.
func TestDisjoint(t *testing.T) {
	body := `require:
  - {id: built, attestation: slsa-provenance, by: [ci]}
  - {id: eval, attestation: evaluation, by: [ci]}
lineage:
  edges:
    - {from: built, role: dataset, count: {min: 0}, requireEach: [{attestation: dataset, by: [data]}]}
    - {from: eval, role: evalDataset, disjointFrom: {edge: dataset, using: digest}}
`
	p := load(t, body)
	eval := func(dataset string) Evidence { return statement("e", evaluation, `{"dataset":`+dataset+`}`) }
	set := func(digest string) string { return `{"name":"mmlu","digest":` + digest + `}` }
	trained := func(digest string) []Evidence {
		return []Evidence{built("p", dep{"dataset", digest}), sheet("s", "1", about(map[string]string{"sha256": h("1")}, map[string]string{"dirHash": h("1")}))}
	}
	for name, c := range map[string]struct {
		code     Code
		detail   string
		evidence []Evidence
	}{
		"different":           {"", "evalDataset sha256:323232323232…: compared with dataset", append(trained(sha256of("1")), eval(set(sha256of("2"))))},
		"53 the same":         {DigestDenied, "is a dependency of dataset as well", append(trained(sha256of("1")), eval(set(sha256of("1"))))},
		"53 the same, beside": {DigestDenied, "", append(trained(sha256of("1")), eval(set(`{"sha256":"`+h("2")+`","SHA-256":"`+h("1")+`"}`)))},
		"another algorithm":   {LineageGap, "no kind of digest in common", append(trained(sha256of("1")), eval(set(`{"dirHash":"`+h("2")+`"}`)))},
		"no training data":    {"", "", []Evidence{built("p"), eval(set(sha256of("2")))}},
		"no digest":           {LineageGap, "no digest that is accepted", append(trained(sha256of("1")), eval(`{"name":"mmlu"}`))},
		"no dataset":          {LineageGap, "evaluation sha256:e lists 0 of role evalDataset", append(trained(sha256of("1")), eval(`null`))},
		"not an object":       {LineageGap, "dataset is not an object", append(trained(sha256of("1")), eval(`"mmlu"`))},
		"no evaluation":       {LineageGap, "requirement eval failed", trained(sha256of("1"))},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, "lineage:evalDataset", c.code, c.evidence...)
			if r := requirement(t, d, "lineage:evalDataset"); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
		})
	}
	loadFails(t, policyText(strings.Replace(body, "edge: dataset,", "edge: datasets,", 1)), `disjointFrom names "datasets", which is not another edge (did you mean dataset?)`)
	loadFails(t, policyText(strings.Replace(body, "edge: dataset,", "edge: evalDataset,", 1)), "which is not another edge")
	loadFails(t, policyText(strings.Replace(body, "using: digest", "using: name", 1)), "disjointFrom.using can only be digest")
	loadFails(t, policyText(strings.Replace(body, "disjointFrom: {edge: dataset, using: digest}", "disjointFrom: {}", 1)), "disjointFrom has no edge")
	loadFails(t, policyText(strings.Replace(body, "role: evalDataset", "role: data", 1)), "of an evaluation the role evalDataset is followed")
	for order, message := range map[string]string{"[built]": "an order needs two", "[]": "lineage.order is empty", "[built, evals]": "did you mean eval?", "[built, built]": `names "built" twice`} {
		loadFails(t, policyText(body+"  order: "+order+"\n"), message)
	}
}
