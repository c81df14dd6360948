package policies_test

import (
	"errors"
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

const waiverType = "https://mlseal.dev/attestation/waiver/v0.1"

// waivable wants a scan by ci, and has a waiver of it.
func waivable(waiver string) string {
	return "require:\n  - {id: scan, attestation: evaluation, by: [ci], message: m, fix: f}\n  - {id: sheet, attestation: dataset, by: [data]}\n" + waiver
}

func inPolicy(subject, until, by string) string {
	return waivable("waivers:\n  - {id: W-1, requirement: scan, subject: '" + subject + "', until: " + until + ", reason: SEC-441, by: [" + by + "]}\n")
}

// Case 65: waivers in the policy.
func TestWaiver(t *testing.T) {
	sheet := statement("s", dataset, `{}`, by("data"))
	ours := "sha256:" + h("a")
	for name, c := range map[string]struct {
		policy string
		code   Code
		note   string
	}{
		"valid":                   {inPolicy(ours, "2026-12-31T00:00:00Z", "two"), "", ""},
		"of the tree":             {inPolicy("dirHash:"+h("d"), "2026-12-31T00:00:00Z", "two"), "", ""},
		"65 for another digest":   {inPolicy("sha256:"+h("b"), "2026-12-31T00:00:00Z", "two"), TypeMissing, "waiver W-1 of scan is ignored: SUBJECT_MISMATCH: it is for sha256:626262626262…"},
		"65 expired":              {inPolicy(ours, "2026-11-18T12:00:00Z", "two"), TypeMissing, "WAIVER_EXPIRED: it ended on 2026-11-18T12:00:00Z"},
		"65 too far ahead":        {inPolicy(ours, "2027-02-17T00:00:00Z", "two"), TypeMissing, "WAIVER_EXPIRED: it ends on 2027-02-17T00:00:00Z; the limit is 90d ahead"},
		"65 90 days ahead":        {inPolicy(ours, "2027-02-16T12:00:00Z", "two"), "", ""},
		"65 by the waived role":   {inPolicy(ours, "2026-12-31T00:00:00Z", "ci"), TypeMissing, "DUTY_OVERLAP: who signs for a requirement cannot waive it"},
		"65 by the role and more": {inPolicy(ours, "2026-12-31T00:00:00Z", "two, ci"), TypeMissing, "DUTY_OVERLAP"},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, load(t, c.policy), "scan", c.code, sheet)
			r := requirement(t, d, "scan")
			if (r.Waiver == "W-1") != (c.code == "") || !strings.Contains(strings.Join(d.Notes, "\n"), c.note) {
				t.Errorf("%+v, notes %q", r, d.Notes)
			}
			if c.code == "" && r.Detail != "WAIVED by W-1 until "+r.Detail[len("WAIVED by W-1 until "):len("WAIVED by W-1 until ")+10]+" (SEC-441); TYPE_MISSING: no evaluation statement by ci" {
				t.Errorf("detail %q", r.Detail)
			}
		})
	}
	t.Run("nothing to waive", func(t *testing.T) {
		d := want(t, load(t, inPolicy(ours, "2026-01-01T00:00:00Z", "two")), "scan", "", sheet, statement("e", evaluation, `{}`))
		if r := requirement(t, d, "scan"); r.Waiver != "" || len(d.Notes) != 0 {
			t.Errorf("%+v %q", r, d.Notes)
		}
	})
	t.Run("another requirement", func(t *testing.T) {
		want(t, load(t, inPolicy(ours, "2026-12-31T00:00:00Z", "two")), "sheet", TypeMissing)
	})
	t.Run("no clock", func(t *testing.T) {
		if d := load(t, inPolicy(ours, "2026-12-31T00:00:00Z", "two")).Evaluate(model, []Evidence{sheet}, timeZero); d.Verdict == Allow {
			t.Error("allowed without a clock")
		}
	})
}

// Case 65: waivers that are statements.
func TestSignedWaiver(t *testing.T) {
	sheet := statement("s", dataset, `{}`, by("data"))
	good := `{"id":"W-2","requirement":"scan","until":"2026-12-01T00:00:00Z","reason":"SEC-442"}`
	waive := func(id, predicate string, changes ...change) Evidence {
		return statement(id, waiverType, predicate, append([]change{by("alice")}, changes...)...)
	}
	both := []Evidence{waive("1", good), waive("2", good, by("bob"))}
	accepts := waivable("acceptWaivers: {by: [two], for: [scan], maxDays: 30}\n")
	edit := func(old, new string) []Evidence {
		p := strings.Replace(good, old, new, 1)
		return []Evidence{waive("1", p), waive("2", p, by("bob"))}
	}
	for name, c := range map[string]struct {
		policy   string
		code     Code
		note     string
		evidence []Evidence
	}{
		"valid":                   {accepts, "", "", both},
		"the policy accepts none": {waivable(""), TypeMissing, "the policy has no acceptWaivers", both},
		"one of two":              {accepts, TypeMissing, "1 of 2 signers of two (alice)", both[:1]},
		"65 signed by a stranger": {accepts, TypeMissing, "", []Evidence{waive("1", good, by("mallory"))}},
		"65 by another signer":    {accepts, TypeMissing, "not signed by whom acceptWaivers names", []Evidence{waive("1", good, by("data"))}},
		"65 about another digest": {accepts, TypeMissing, "", []Evidence{waive("1", good, about(map[string]string{"sha256": h("b")})), both[1]}},
		"65 without until":        {accepts, TypeMissing, "it has no end", edit(`"until":"2026-12-01T00:00:00Z",`, "")},
		"65 until is no time":     {accepts, TypeMissing, "it has no end", edit("2026-12-01T00:00:00Z", "soon")},
		"65 expired":              {accepts, TypeMissing, "WAIVER_EXPIRED: it ended on", edit("2026-12-01", "2026-11-01")},
		"65 longer than accepted": {accepts, TypeMissing, "the limit is 30d ahead", edit("2026-12-01", "2026-12-31")},
		"without a reason":        {accepts, TypeMissing, "no id or no reason", edit("SEC-442", "")},
		"for another requirement": {strings.Replace(accepts, "for: [scan]", "for: [sheet]", 1), TypeMissing, "acceptWaivers does not name this requirement", both},
		"65 by the waived role":   {waivable("acceptWaivers: {by: [ci], for: [scan]}\n"), TypeMissing, "DUTY_OVERLAP", []Evidence{waive("1", good, by("ci"))}},
		"the earlier end counts":  {accepts, TypeMissing, "WAIVER_EXPIRED", []Evidence{both[0], waive("2", strings.Replace(good, "2026-12", "2026-11", 1), by("bob"))}},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, load(t, c.policy), "scan", c.code, append([]Evidence{sheet}, c.evidence...)...)
			if r := requirement(t, d, "scan"); (r.Waiver == "W-2") != (c.code == "") || !strings.Contains(strings.Join(d.Notes, "\n"), c.note) {
				t.Errorf("%+v, notes %q", r, d.Notes)
			}
		})
	}
}

func TestLoadWaiverErrors(t *testing.T) {
	good := inPolicy("sha256:"+h("a"), "2026-12-31T00:00:00Z", "two")
	for _, c := range []struct{ old, new, message string }{
		{" until: 2026-12-31T00:00:00Z,", "", "a waiver has no until"},
		{"2026-12-31T00:00:00Z", "soon", "until must be an RFC 3339 time"},
		{"reason: SEC-441, ", "", "a waiver has no reason"},
		{", by: [two]", "", "a waiver has no by"},
		{"by: [two]", "by: [three]", "is not a signer"},
		{"requirement: scan", "requirement: scam", "(did you mean scan?)"},
		{"sha256:" + h("a"), "sha256:abc", "is not a digest"},
		{"id: W-1", "id: 'W 1'", "use letters, digits"},
		{"until:", "untill:", "did you mean until?"},
		{"waivers:", "waiver:", "did you mean waivers?"},
	} {
		if !strings.Contains(good, c.old) {
			t.Fatal(c.old)
		}
		loadFails(t, policyText(strings.Replace(good, c.old, c.new, 1)), c.message)
	}
	loadFails(t, policyText(waivable("waivers: []\n")), "waivers is empty")
	loadFails(t, policyText(waivable("acceptWaivers: {by: [two], for: [scan], maxDays: 91}\n")), "it must be at most 90")
	loadFails(t, policyText(waivable("acceptWaivers: {by: [two], for: []}\n")), "acceptWaivers.for is empty")
	loadFails(t, policyText(waivable("acceptWaivers: {for: [scan]}\n")), "acceptWaivers has no by")
	loadFails(t, policyText(waivable("acceptWaivers: {by: [two], for: [sheets]}\n")), "did you mean sheet?")
}

// Case 63: a policy that is not for the artifact does not decide.
func TestMatchArtifact(t *testing.T) {
	subject := func(artifactType, repository string) Subject {
		return Subject{Name: "m", Digests: model.Digests, ArtifactType: artifactType, Repository: repository}
	}
	const kind = "application/vnd.cncf.model.manifest.v1+json"
	evidence := []Evidence{statement("1", evaluation, `{}`)}
	for _, c := range []struct {
		match   string
		subject Subject
		matches bool
	}{
		{"artifactTypes: [" + kind + "]", subject(kind, ""), true},
		{"artifactTypes: [" + kind + "]", subject(kind+".evil", ""), false},
		{"artifactTypes: [" + kind + "]", subject("", ""), false},
		{"repositories: [r.example/models/**]", subject("", "r.example/models/a"), true},
		{"repositories: [r.example/models/**]", subject("", "r.example/models/a/b"), true},
		{"repositories: [r.example/models/**]", subject("", "r.example/models-evil/a"), false},
		{"repositories: [r.example/models/**]", subject("", "r.example.evil/models/a"), false},
		{"repositories: [r.example/models/**]", subject("", ""), false},
		{"repositories: [r.example/models/*]", subject("", "r.example/models/a"), true},
		{"repositories: [r.example/models/*]", subject("", "r.example/models/a/b"), false},
		{"repositories: [r.example/models/*]", subject("", "r.example/models/"), false},
		{"repositories: [r.example/*/x]", subject("", "r.example/a/x"), true},
		{"repositories: [r.example/**/x]", subject("", "r.example/x"), true},
		{"repositories: [r.example/a-*-z*]", subject("", "r.example/a-b-zc"), true},
		{"repositories: [r.example/a-*-z]", subject("", "r.example/a-z"), false},
		{"repositories: [r.example/x, r.example/y]", subject("", "r.example/y"), true},
		{"repositories: [r.example/a.b]", subject("", "r.example/axb"), false},
		{"repositories: [r.example/x], artifactTypes: [" + kind + "]", subject("other", "r.example/x"), false},
	} {
		p := load(t, "match: {"+c.match+"}\n"+evaluated)
		d := p.Evaluate(c.subject, evidence, now)
		err := p.Matches(c.subject)
		if (err == nil) != c.matches || (d.Verdict == Allow) != c.matches {
			t.Errorf("%s with %+v: %v, %v", c.match, c.subject, err, d.Verdict)
		}
		if err != nil && (!errors.Is(err, ErrNotMatched) || !errors.Is(d.Err(), ErrNotMatched) || !errors.Is(err, ErrPolicy) || errors.Is(d.Err(), ErrDenied)) {
			t.Errorf("63: %v and %v", err, d.Err())
		}
	}
	for match, message := range map[string]string{
		"{}":                           "match is empty",
		"{artifactTypes: []}":          "match.artifactTypes is empty",
		"{repositories: []}":           "match.repositories is empty",
		"{artifactTypes: ['a/*']}":     "a type is compared whole",
		"{repositories: ['a/b?']}":     "write a repository with *",
		"{repositories: ['a/.+']}":     "write a repository with *",
		"{repositories: ['a/b**']}":    "** stands for whole names",
		"{repositories: ['**']}":       "the registry is written out",
		"{repositories: ['*.evil/a']}": "the registry is written out",
		"{repository: ['a/b']}":        "unknown key",
	} {
		loadFails(t, policyText("match: "+match+"\n"+oneRule), message)
	}
}
