package policies_test

import (
	"errors"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

// FuzzLoad: Load never panics, its errors have a place, and a policy that loads asks for
// something, so that it denies an artifact without evidence.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"", "---\n", "a: &a [*a]\n", "? [a]\n: b\n", "a: !!binary x\n", "<<: {}\n", "name: \"\\u0000\"\n", "- - - -\n", "{[",
		policyText(oneRule), policyText(evaluated), policyText(lineagePolicy), policyText(quoted(`predicate.r.all(x, x.v >= dec("0.7"))`)),
		policyText(oneRule) + "---\n" + policyText(oneRule), policyText("require: []\n"), policyText("digests: {algorithms: [sha512]}\n" + oneRule),
		string(certificateDocument(`{ci: {certificate: {authority: ca.pem, subject: "CN=a,O=b"}}, g: {group: {of: [ci], atLeast: 1}}}`)) + oneRule,
		policyText(recursive), policyText(parameters + evaluated), policyText(inPolicy("sha256:"+h("a"), "2026-12-31T00:00:00Z", "two")),
		policyText("match: {repositories: [r.example/**]}\n" + oneRule), policyText("trust: {transparencyLog: required, timestamps: {atLeast: 2}}\n" + oneRule),
		policyText("revocations: {by: [two]}\n" + waivable("acceptWaivers: {by: [two], for: [scan]}\n")), policyText(oneRule + "rego: [{file: a.rego, package: a}]\n"),
		"expires: 2027-06-30T00:00:00Z\n" + policyText(oneRule),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Load(data, options())
		if err != nil {
			var le *LoadError
			if p != nil || !errors.As(err, &le) || le.Line < 1 || le.Column < 1 {
				t.Fatalf("%#v with policy %v", err, p)
			}
			return
		}
		d := p.Evaluate(model, nil, now)
		if d.Verdict == Allow || d.Err() == nil || len(d.Requirements) == 0 || len(p.Signers()) == 0 {
			t.Fatalf("a policy that allows without evidence:\n%s", data)
		}
		// Loading is deterministic, and reading the same bytes gives the same policy.
		again, err := Load(data, options())
		if err != nil || again.Ref() != p.Ref() {
			t.Fatalf("loads differently the second time: %v", err)
		}
		p.Evaluate(model, lineageEvidence(), now)
	})
}
