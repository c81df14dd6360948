package policies_test

import (
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

// Cases 20 to 23, the policy's part: what must vouch for a signature beside the signer.
func TestWitnesses(t *testing.T) {
	with := func(logs, entries, timestamps int) Evidence {
		return statement("1", evaluation, `{}`, func(ev *Evidence) { ev.Logs, ev.LogEntries, ev.Timestamps = logs, entries, timestamps })
	}
	for name, c := range map[string]struct {
		trust  string
		ev     Evidence
		code   Code
		detail string
	}{
		"required, there":                {"transparencyLog: required", with(1, 1, 0), "", ""},
		"23 required, not verified":      {"transparencyLog: required", with(0, 1, 0), SignatureInvalid, "no entry in a trusted transparency log was verified"},
		"optional, there":                {"transparencyLog: optional", with(1, 1, 0), "", ""},
		"optional, missing":              {"transparencyLog: optional", with(0, 0, 0), "", ""},
		"forbidden, missing":             {"transparencyLog: forbidden", with(0, 0, 0), "", ""},
		"forbidden, not verified":        {"transparencyLog: forbidden", with(0, 1, 0), SignatureInvalid, "trust.transparencyLog is forbidden"},
		"20 no trusted timestamp":        {"timestamps: {atLeast: 1}", with(0, 0, 0), SignatureInvalid, "verified times by 0 different authorities, and trust.timestamps wants 1"},
		"one timestamp":                  {"timestamps: {atLeast: 1}", with(0, 0, 1), "", ""},
		"22 one authority for atLeast 2": {"timestamps: {atLeast: 2}", with(2, 2, 1), SignatureInvalid, "wants 2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, "trust: {"+c.trust+"}\n"+evaluated)
			d := want(t, p, "r", c.code, c.ev)
			r := requirement(t, d, "r")
			if !strings.Contains(r.Detail, c.detail) || c.code != "" && (len(r.NearMisses) != 1 || len(d.Ignored) != 1) {
				t.Errorf("%+v, ignored %v", r, d.Ignored)
			}
			if p.NeedsWitnesses() != p.NeedsTrustRoot() || p.NeedsWitnesses() == strings.Contains(c.trust, "o") && strings.Contains(c.trust, "optional") {
				t.Errorf("NeedsWitnesses() = %v, NeedsTrustRoot() = %v", p.NeedsWitnesses(), p.NeedsTrustRoot())
			}
		})
	}
	// What lacks a witness neither counts nor hides what has one.
	p := load(t, "trust: {transparencyLog: required}\n"+strings.Replace(evaluated, "by: [ci]", "by: [ci], match: latest", 1))
	old := with(1, 1, 0)
	old.ID, old.Time = "sha256:2", now.Add(-hours(3))
	want(t, p, "r", "", with(0, 0, 0), old)
	for trust, message := range map[string]string{
		"{transparencyLog: maybe}":              "it is one of required, optional, forbidden",
		"{transparencylog: required}":           "did you mean transparencyLog?",
		"{timestamps: 1}":                       "trust.timestamps must be a mapping",
		"{timestamps: {}}":                      "trust.timestamps has no atLeast",
		"{timestamps: {atLeast: 0}}":            "it must be at least 1",
		"{timestamps: {atleast: 1}}":            "did you mean atLeast?",
		"{transparencyLog: required, root: ''}": "trust.root is empty",
	} {
		loadFails(t, policyText("trust: "+trust+"\n"+oneRule), message)
	}
	keyless := certificateDocument(`{ci: {keyless: {issuer: https://i.example, subject: a@i.example}}}`)
	loadFails(t, string(keyless)+"trust: {transparencyLog: forbidden}\n"+oneRule, "there are keyless signers, who sign in one")
}

// Case 17: a pattern is anchored, and matches not everybody.
func TestPattern(t *testing.T) {
	who := func(pattern string) Identity { return Identity{Issuer: "https://i.example", Pattern: pattern} }
	for _, c := range []struct {
		pattern, subject string
		is               bool
	}{
		{`https://github\.com/acme/[^/]+`, "https://github.com/acme/llm", true},
		{`https://github\.com/acme/[^/]+`, "https://github.com/acme/llm/x", false},
		{`https://github\.com/acme/[^/]+`, "https://evil.example/https://github.com/acme/llm", false},
		{"acme", "acme", true},
		{"acme", "evil-acme", false},
		{"acme", "acme-evil", false},
		{"acme|other", "evil-acme", false},
		{"acme|other", "other-evil", false},
		{"acme|other", "other", true},
		{"(?m)acme$", "acme\nevil", false},
		{"acme.*", "acme\nevil", false},
		{"a@acme", "", false},
	} {
		if got := who(c.pattern).Is("https://i.example", c.subject); got != c.is {
			t.Errorf("%q is %q: %v", c.pattern, c.subject, got)
		}
		if who(c.pattern).Is("https://evil.example", c.subject) {
			t.Errorf("%q is %q of another issuer", c.pattern, c.subject)
		}
	}
	if (Identity{}).Is("", "") || (Identity{Issuer: "i"}).Is("i", "") {
		t.Error("an empty identity is somebody")
	}
	doc := func(keyless string) string {
		return string(certificateDocument(`{ci: {keyless: {`+keyless+`}}}`)) + oneRule
	}
	p, err := Load([]byte(doc(`issuer: https://i.example, pattern: 'https://github\.com/acme/.+'`)), options())
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Signers()[0].Keyless; s.Pattern != `https://github\.com/acme/.+` || s.Subject != "" || !p.NeedsTrustRoot() {
		t.Errorf("%+v", s)
	}
	for keyless, message := range map[string]string{
		`issuer: i`:                            "has no subject",
		`issuer: i, pattern: ''`:               "pattern is empty",
		`issuer: i, pattern: '.*'`:             "matches anybody",
		`issuer: i, pattern: '.+'`:             "matches anybody",
		`issuer: i, pattern: '(?s).*'`:         "matches anybody",
		`issuer: i, pattern: '^.*$'`:           "matches anybody",
		`issuer: i, pattern: 'acme|.*'`:        "matches anybody",
		`issuer: i, pattern: '[^@]+@.*'`:       "matches anybody",
		`issuer: i, pattern: '\w+'`:            "matches anybody",
		`issuer: i, pattern: 'acme)|(.*'`:      "unexpected )",
		`issuer: i, pattern: '('`:              "missing closing )",
		`issuer: i, pattern: '(?=x)'`:          "invalid or unsupported Perl syntax",
		`pattern: 'acme'`:                      "has no issuer",
		`issuer: i, pattern: acme, subject: a`: "has a subject and a pattern",
		`issuer: i, patern: acme, subject: a`:  "did you mean pattern?",
	} {
		loadFails(t, doc(keyless), message)
	}
	// One account could be two members.
	group := func(a, b string) string {
		return string(certificateDocument(`{a: {keyless: {`+a+`}}, b: {keyless: {`+b+`}}, g: {group: {of: [a, b], atLeast: 2}}}`)) + "require: [{id: r, signature: {by: [g]}}]\n"
	}
	loadFails(t, group("issuer: i, pattern: 'a.*@x'", "issuer: i, subject: alice@x"), "one account of their issuer could be both")
	loadFails(t, group("issuer: i, subject: alice@x", "issuer: i, pattern: 'a.*@x'"), "one account of their issuer could be both")
	loadFails(t, group("issuer: i, pattern: 'a.*@x'", "issuer: i, pattern: 'b.*@x'"), "one account of their issuer could be both")
	for _, other := range []string{"issuer: i, subject: bob@x", "issuer: j, pattern: 'b.*@x'"} {
		if _, err := Load([]byte(group("issuer: i, pattern: 'a.*@x'", other)), options()); err != nil {
			t.Error(err)
		}
	}
	// Two patterns are two members, and not one because neither has a subject.
	both, err := Load([]byte(group("issuer: i, pattern: 'a.*@x'", "issuer: j, pattern: 'b.*@x'")), options())
	if err != nil {
		t.Fatal(err)
	}
	signed := func(id, signer string) Evidence {
		return statement(id, cosignSign, `{}`, by(signer), func(ev *Evidence) { ev.VerifiedWith = VerifiedWith{Keys: []string{id}, Names: []string{id + "@x"}} })
	}
	want(t, both, "r", "", signed("a1", "a"), signed("b1", "b"))
	want(t, both, "r", ThresholdNotMet, signed("a1", "a"), signed("a2", "a"))
}
