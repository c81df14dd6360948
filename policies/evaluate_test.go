package policies_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

func TestZeroValuesDeny(t *testing.T) {
	all := []Evidence{statement("1", evaluation, `{}`)}
	for name, d := range map[string]*Decision{
		"zero policy":              (&Policy{}).Evaluate(model, all, now),
		"no policy":                (*Policy)(nil).Evaluate(model, all, now),
		"zero decision":            {},
		"no decision":              nil,
		"a verdict alone":          {Verdict: Allow},
		"allowed, a failed one":    {Verdict: Allow, Requirements: []Requirement{{ID: "a", Passed: true}, {ID: "b"}}},
		"denied, though it passed": {Requirements: []Requirement{{ID: "a", Passed: true}}},
	} {
		if !errors.Is(d.Err(), ErrDenied) {
			t.Errorf("%s: Err() = %v", name, d.Err())
		}
	}
	if d := (&Policy{}).Evaluate(model, all, now); d.Verdict != Deny {
		t.Errorf("the zero policy: %v", d.Verdict)
	}
	if err := (&Decision{Verdict: Allow, Requirements: []Requirement{{ID: "a", Passed: true}}}).Err(); err != nil {
		t.Errorf("Err() = %v", err)
	}
}

func TestErrNamesRequirements(t *testing.T) {
	p := load(t, "require:\n  - {id: one, attestation: evaluation, by: [ci]}\n  - {id: two, attestation: dataset, by: [ci]}\n  - {id: three, attestation: dataset, by: [data]}\n")
	d := p.Evaluate(model, []Evidence{statement("1", evaluation, `{}`), statement("2", dataset, `{}`)}, now)
	if got := fmt.Sprint(d.Err()); got != "denied by policy: three: SIGNER_NOT_TRUSTED" {
		t.Errorf("Err() = %s", got)
	}
	d = p.Evaluate(model, nil, now)
	if got := fmt.Sprint(d.Err()); got != "denied by policy: one: TYPE_MISSING, two: TYPE_MISSING, three: TYPE_MISSING" {
		t.Errorf("Err() = %s", got)
	}
}

func TestDecisionExplainsItself(t *testing.T) {
	p := load(t, "version: 3\n"+evaluated)
	d := want(t, p, "r", "", statement("2", evaluation, `{}`), statement("1", dataset, `{}`))
	if d.Policy != p.Ref() || d.Policy.Version != 3 || d.Subject.Name != "model" || !d.Time.Equal(now) {
		t.Errorf("%+v", d)
	}
	r := requirement(t, d, "r")
	if r.Message != "" || r.Fix != "" || r.Detail != "1 evaluation statement by ci, 2026-11-18 11:00 UTC (claimed)" {
		t.Errorf("%+v", r)
	}
	want := Seen{ID: "sha256:2", PredicateType: evaluation, Signers: []string{"ci"}, Origin: "2.json", Time: now.Add(-time.Hour), TimeSource: "claimed"}
	if len(r.Counted) != 1 || fmt.Sprint(r.Counted[0]) != fmt.Sprint(want) {
		t.Errorf("counted %+v", r.Counted)
	}
	if len(d.Ignored) != 1 || d.Ignored[0].ID != "sha256:1" {
		t.Errorf("ignored %+v", d.Ignored)
	}
	r = requirement(t, p.Evaluate(model, nil, now), "r")
	if r.Message != "not good enough" || r.Fix != "evaluate it again" {
		t.Errorf("%+v", r)
	}
}

func TestNotCounted(t *testing.T) {
	p := load(t, quoted(`predicate.ok == true`)+"    match: latest\n    maxAge: 30d\n  - {id: s, attestation: dataset, by: [data]}\n")
	note := func(ev *Evidence) { ev.SignedBy, ev.SignatureNote = nil, "key \x1b[31m unknown" }
	d := p.Evaluate(model, []Evidence{
		statement("1", evaluation, `{"ok":true}`),
		statement("2", evaluation, `{"ok":true}`, age(2*time.Hour)),
		statement("3", evaluation, `{"ok":true}`, note),
		statement("4", evaluation, `{"ok":true}`, about(map[string]string{"sha256": h("x")})),
		statement("5", provenance, `{}`),
		statement("6", evaluation, `{}`, broken(LimitExceeded)),
		statement("7", dataset, `{}`, about(map[string]string{"sha256": h("x")}), elsewhere),
		statement("8", provenance, `{}`, broken(SignatureInvalid), elsewhere),
		statement("9", provenance, `{}`, note),
		statement("a", evaluation, `{}`, by(), about(map[string]string{"sha256": h("x")})),
		statement("b", provenance, `{}`, by("mallory")),
		statement("c", provenance, `{}`, note, func(ev *Evidence) { ev.TimeSource = "Rekor" }),
	}, now)
	want := map[string]string{
		"sha256:2": " a later statement decides",
		"sha256:3": `SIGNER_NOT_TRUSTED key \x1b[31m unknown`,
		"sha256:4": "SUBJECT_MISMATCH about something else: sha256:787878787878…",
		"sha256:5": " no requirement asks for this type",
		"sha256:6": "LIMIT_EXCEEDED why",
		"sha256:7": "SUBJECT_MISMATCH about neither the artifact nor a dependency that is followed",
		"sha256:8": "SIGNATURE_INVALID why",
		"sha256:9": `SIGNER_NOT_TRUSTED key \x1b[31m unknown; no requirement asks for this type`,
		"sha256:a": "SIGNER_NOT_TRUSTED not signed by a signer of the policy; about something else: sha256:787878787878…",
		"sha256:b": "SIGNER_NOT_TRUSTED signed by mallory, whom the requirement does not name; no requirement asks for this type",
		"sha256:c": `SIGNER_NOT_TRUSTED key \x1b[31m unknown; no requirement asks for this type`,
	}
	near := map[string]Seen{}
	for _, s := range requirement(t, d, "r").NearMisses {
		near[s.ID] = s
	}
	if s := near["sha256:3"]; !s.Time.IsZero() || s.TimeSource != "" {
		t.Errorf("a near miss shows a time that a stranger claims: %+v", s)
	}
	for _, s := range d.Ignored {
		if shown := slices.Contains([]string{"sha256:2", "sha256:4", "sha256:5", "sha256:7", "sha256:c"}, s.ID); shown == s.Time.IsZero() || shown == (s.TimeSource == "") {
			t.Errorf("%s: time %v %q", s.ID, s.Time, s.TimeSource)
		}
		if got := fmt.Sprintf("%s %s", s.Code, s.Reason); got != want[s.ID] {
			t.Errorf("%s: %q, want %q", s.ID, got, want[s.ID])
		}
		delete(want, s.ID)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestExpiry(t *testing.T) {
	p := load(t, "expires: 2026-11-18T12:00:00Z\n"+evaluated)
	ev := []Evidence{statement("1", evaluation, `{}`)}
	for name, c := range map[string]struct {
		clock time.Time
		code  Code
	}{
		"before":        {now.Add(-time.Second), ""},
		"at its end":    {now, PolicyExpired},
		"after":         {now.Add(time.Hour), PolicyExpired},
		"without clock": {time.Time{}, PolicyExpired},
	} {
		d := p.Evaluate(model, ev, c.clock)
		if r := requirement(t, d, "policy"); r.Code != c.code || (d.Verdict == Allow) != (c.code == "") {
			t.Errorf("%s: %v %+v", name, d.Verdict, r)
		}
	}
}

func TestDeniedDigest(t *testing.T) {
	for name, c := range map[string]struct {
		deny string
		code Code
	}{
		"another digest": {"sha256:" + h("x"), ""},
		"sha256":         {"sha256:" + h("a"), DigestDenied},
		"dirHash":        {"dirHash:" + h("d"), DigestDenied},
		"no aliases":     {"sha256:" + h("d"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, "digests: {deny: ['"+c.deny+"']}\n"+evaluated)
			want(t, p, "digests.deny", c.code, statement("1", evaluation, `{}`))
		})
	}
	t.Run("an algorithm that is not accepted", func(t *testing.T) {
		p := load(t, "digests: {algorithms: [sha512], deny: ['sha256:"+h("a")+"']}\n"+evaluated)
		want(t, p, "digests.deny", DigestDenied, statement("1", evaluation, `{}`, about(map[string]string{"dirHash": h("d")})))
	})
}

// The deny list reaches the dependencies of all provenance that somebody trusted signed, without any edge.
func TestDeniedDependencyWithoutEdges(t *testing.T) {
	p := load(t, "digests: {deny: ['sha256:"+h("o")+"']}\n"+evaluated)
	ok := statement("1", evaluation, `{}`)
	made := func(id string, changes ...change) Evidence {
		ev := built(id, dep{"tool", sha256of("1")}, dep{"base", sha256of("o")})
		for _, c := range changes {
			c(&ev)
		}
		return ev
	}
	for name, c := range map[string]struct {
		code Code
		ev   Evidence
	}{
		"by the requirement's signer": {DigestDenied, made("p")},
		"by another signer":           {DigestDenied, made("p", by("carol"))},
		"about the tree":              {DigestDenied, made("p", about(map[string]string{"sha256": h("x")}, map[string]string{"dirHash": h("d")}))},
		"by nobody":                   {"", made("p", by())},
		"by a stranger":               {"", made("p", by("mallory"))},
		"by a group's name":           {"", made("p", by("two"))},
		"about another":               {"", made("p", about(map[string]string{"sha256": h("x")}))},
		"with a problem":              {"", made("p", broken(SignatureInvalid))},
		"nothing denied":              {"", built("p", dep{"tool", sha256of("1")})},
		"not a list":                  {StatementUnusable, statement("p", provenance, `{"buildDefinition":{"resolvedDependencies":{}}}`)},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, "digests.deny", c.code, ok, c.ev)
			if r := requirement(t, d, "digests.deny"); c.code == DigestDenied && r.Detail != "the artifact was made from base, which is on the list: sha256:6f6f6f6f6f6f… (provenance sha256:p)" {
				t.Error(r.Detail)
			}
		})
	}
}

// All names that a statement which counts gives the artifact are looked up.
func TestDeniedUnderAnotherName(t *testing.T) {
	p := load(t, "digests: {deny: ['sha256:"+h("a")+"']}\n"+evaluated)
	pulled := Subject{Name: "dir", Digests: map[string]string{"dirHash": h("d")}}
	both := about(map[string]string{"sha256": h("a")}, map[string]string{"dirHash": h("d")})
	tree := statement("1", evaluation, `{}`, about(map[string]string{"dirHash": h("d")}))
	for name, c := range map[string]struct {
		code     Code
		evidence []Evidence
	}{
		"named by a statement that counts": {DigestDenied, []Evidence{statement("1", evaluation, `{}`, both)}},
		"beside one that does not":         {DigestDenied, []Evidence{tree, statement("2", evaluation, `{}`, both)}},
		"another spelling":                 {DigestDenied, []Evidence{statement("1", evaluation, `{}`, about(map[string]string{"dirHash": h("d")}, map[string]string{"SHA-256": strings.ToUpper(h("a"))}))}},
		"not named":                        {"", []Evidence{tree}},
		"named by a stranger":              {"", []Evidence{tree, statement("2", evaluation, `{}`, both, by("mallory"))}},
	} {
		d := p.Evaluate(pulled, c.evidence, now)
		if r := requirement(t, d, "digests.deny"); r.Code != c.code || (d.Verdict == Allow) != (c.code == "") || c.code != "" && (!strings.Contains(r.Detail, "sha256:616161616161… is on the list") || len(r.Counted) != 1) {
			t.Errorf("%s: %v %+v", name, d.Verdict, r)
		}
	}
}

func TestMaxEvidence(t *testing.T) {
	p := load(t, evaluated)
	many := make([]Evidence, 0, MaxEvidence+1)
	for i := range MaxEvidence {
		many = append(many, statement(fmt.Sprintf("%06d", i), dataset, `{}`))
	}
	many[MaxEvidence-1] = statement("good", evaluation, `{}`)
	if d := p.Evaluate(model, many, now); d.Verdict != Allow {
		t.Errorf("at the limit: %v", d.Err())
	}
	d := p.Evaluate(model, append(many, statement("more", dataset, `{}`)), now)
	if r := requirement(t, d, "evidence"); d.Verdict == Allow || r.Code != LimitExceeded || len(d.Requirements) != 1 {
		t.Errorf("beyond the limit: %v", d.Err())
	}
	if d := load(t, lineagePolicy).Evaluate(model, many[:0:0], now); len(d.Skipped) != 0 {
		t.Errorf("skipped where everything was looked at: %v", d.Skipped)
	}
	ids := func(d *Decision) (asked, skipped []string) {
		for _, r := range d.Requirements {
			asked = append(asked, r.ID)
		}
		for _, s := range d.Skipped {
			skipped = append(skipped, s.Check)
		}
		return asked, skipped
	}
	opts := options()
	opts.ReadFile = func(name string) ([]byte, error) {
		if name == "m.rego" {
			return []byte("package acme.m\ndeny contains \"no\" if false\n"), nil
		}
		return readKey(name)
	}
	p, err := Load([]byte(policyText(strings.Replace(lineagePolicy, "lineage:\n", `  - {id: evaluated, attestation: evaluation, by: [alice]}
  - {id: warned, attestation: dataset, by: [data], severity: warn}
expires: 2099-01-01T00:00:00Z
revocations: {by: [alice]}
match: {repositories: [r.example/**]}
rego:
  - {file: m.rego, package: acme.m}
lineage:
  order: [built, evaluated]
`, 1))), opts)
	if err != nil {
		t.Fatal(err)
	}
	here, elsewhere := model, model
	here.Repository, elsewhere.Repository = "r.example/m", "other.example/m"
	want, none := ids(p.Evaluate(here, nil, now))
	if len(want) != 10 || len(none) != 0 {
		t.Fatalf("with all that a policy may ask: %v, and skipped is %v", want, none)
	}
	if asked, got := ids(p.Evaluate(here, append(many, statement("more", dataset, `{}`)), now)); !slices.Equal(asked, []string{"evidence"}) || !slices.Equal(got, want) {
		t.Errorf("beyond the limit: %v, and skipped is %v, want %v", asked, got, want)
	}
	if asked, got := ids(p.Evaluate(elsewhere, nil, now)); !slices.Equal(asked, []string{"match"}) || !slices.Equal(got, want) {
		t.Errorf("of another artifact: %v, and skipped is %v, want %v", asked, got, want)
	}
	// A policy that does not speak of revocations looks for them all the same.
	if _, got := ids(load(t, evaluated).Evaluate(model, append(many, statement("more", dataset, `{}`)), now)); !slices.Equal(got, []string{"revocations", "r"}) {
		t.Errorf("skipped of the least policy: %v", got)
	}
}

// The same evidence in any order gives the same bytes.
func TestOrderIndependence(t *testing.T) {
	p := load(t, lineagePolicy)
	evidence := append(lineageEvidence(), statement("x1", evaluation, `{}`), statement("x2", evaluation, `{}`, by("bob")),
		statement("x3", "", `{}`, broken(ParseAmbiguous)), statement("x4", dataset, `{}`, elsewhere),
		statement("", dataset, `{}`), statement("", evaluation, `{}`),
		statement("x5", evaluation, `{}`, func(ev *Evidence) { ev.SignedBy = []string{"bob", "alice"} }))
	first := text(t, p.Evaluate(model, evidence, now))
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		shuffled := slices.Clone(evidence)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again := text(t, p.Evaluate(model, shuffled, now)); again != first {
			t.Fatalf("the order changes the decision:\n%s\n%s", first, again)
		}
	}
}

// Evaluate changes neither the evidence nor shares the subject's digests.
func TestEvaluateKeepsItsArguments(t *testing.T) {
	evidence := []Evidence{statement("2", evaluation, `{}`, by("data", "ci", "ci")), statement("1", evaluation, `{}`)}
	subject := Subject{Name: "model", Digests: map[string]string{"sha256": h("a")}}
	d := load(t, evaluated).Evaluate(subject, evidence, now)
	subject.Digests["sha256"] = h("x")
	if evidence[0].ID != "sha256:2" || strings.Join(evidence[0].SignedBy, ",") != "data,ci,ci" || d.Subject.Digests["sha256"] != h("a") {
		t.Errorf("%+v %+v", evidence[0], d.Subject)
	}
}

// Evidence of any shape is denied, not a panic.
func TestOddEvidence(t *testing.T) {
	p := load(t, lineagePolicy)
	for _, predicate := range []string{`null`, `[]`, `"x"`, `1`, `{}`, `{"buildDefinition":[]}`, `{"buildDefinition":null}`,
		`{"buildDefinition":{"resolvedDependencies":"x"}}`, `{"buildDefinition":{"resolvedDependencies":[null]}}`,
		`{"buildDefinition":{"resolvedDependencies":[{"name":1}]}}`, `{"buildDefinition":{"resolvedDependencies":[{"name":"dataset","digest":[]}]}}`,
		`{"buildDefinition":{"resolvedDependencies":[{"name":"dataset","digest":{"sha256":1}}]}}`} {
		evidence := lineageEvidence()
		evidence[0] = statement("p", provenance, predicate)
		if d := p.Evaluate(model, evidence, now); d.Verdict == Allow {
			t.Errorf("allowed with %s", predicate)
		}
		p.Wanted(model, []Evidence{evidence[0]})
	}
	for _, ev := range []Evidence{{}, {PredicateType: provenance}, {ID: "x", PredicateType: provenance, SignedBy: []string{"ci"}, Subjects: []map[string]string{nil}}} {
		if d := p.Evaluate(Subject{}, []Evidence{ev, ev}, time.Time{}); d.Verdict == Allow {
			t.Errorf("allowed with %+v", ev)
		}
	}
}
