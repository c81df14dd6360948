package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
)

var at = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func id(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func facts() Facts {
	return Facts{Now: at, Statements: []Statement{
		{PredicateType: attest.EvaluationPredicateType, Digest: id("b"), MediaType: attest.BundleMediaType, SignedBy: "signed by evaluator"},
		{PredicateType: attest.ProvenancePredicateType, Digest: id("a")},
		{PredicateType: attest.EvidenceSetPredicateType, Digest: id("c")},
	}}
}

// person answers each question with the lines that are left for it.
type person struct {
	lines map[string][]string
	asked []string
}

func (p *person) Ask(_ context.Context, q Question, problem string) (string, error) {
	p.asked = append(p.asked, q.Name+"|"+problem)
	lines := p.lines[q.Name]
	if len(lines) == 0 {
		return "", errors.New("nothing more to say about " + q.Name)
	}
	p.lines[q.Name] = lines[1:]
	return lines[0], nil
}

func compose(t *testing.T, kind string, given Answers, asker Asker) (map[string]any, error) {
	t.Helper()
	form := New(kind, facts())
	answers, err := form.Fill(context.Background(), given, asker)
	if err != nil {
		return nil, err
	}
	data, err := form.Build(answers)
	if err != nil {
		return nil, err
	}
	var predicate map[string]any
	if err := json.Unmarshal(data, &predicate); err != nil {
		t.Fatal(err)
	}
	return predicate, nil
}

func TestFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  string
		given Answers
		want  string // JSON of the predicate
	}{
		"approval": {"approval", Answers{"decision": {"approved"}, "environment": {"prod"}, "reviewed": {"all"}, "valid-for": {"30d"}, "not-before": {"2026-12-01"}, "ticket": {"T"}},
			`{"decision":"approved","environment":"prod","notAfter":"2026-12-31T00:00:00Z","notBefore":"2026-12-01T00:00:00Z","reviewed":[{"sha256":"B"},{"sha256":"A"},{"sha256":"C"}],"ticket":"T","timestamp":"2026-11-22T12:00:00Z"}`},
		"approval, two that were read": {"approval", Answers{"decision": {"revoked"}, "environment": {"prod"}, "reason": {"r"}, "reviewed": {id("a"), "1,aaaaaaaaaaaa"}, "not-after": {"1d12h"}},
			`{"decision":"revoked","environment":"prod","notAfter":"2026-11-24T00:00:00Z","reason":"r","reviewed":[{"sha256":"A"},{"sha256":"B"}],"timestamp":"2026-11-22T12:00:00Z"}`},
		"approval, nothing read": {"approval", Answers{"decision": {"approved"}, "environment": {"prod"}, "reviewed": {"none"}},
			`{"decision":"approved","environment":"prod","timestamp":"2026-11-22T12:00:00Z"}`},
		"license review": {"license-review", Answers{"concluded": {"MIT OR Apache-2.0"}, "declared": {"mit, mostly"}, "inherited": {"hf://a/b?x=y@" + id("a") + "=MIT;say so;and so", id("b") + "=NOASSERTION"}, "use-restriction": {"no war", "no spam"}, "reviewer": {"l@a.example"}},
			`{"concluded":"MIT OR Apache-2.0","declared":"mit, mostly","inherited":[{"from":{"digest":{"sha256":"A"},"uri":"hf://a/b?x=y"},"license":"MIT","obligations":["say so","and so"]},{"from":{"digest":{"sha256":"B"}},"license":"NOASSERTION"}],"reviewer":"l@a.example","timestamp":"2026-11-22T12:00:00Z","useRestrictions":["no war","no spam"]}`},
		"evidence set": {"evidence-set", nil,
			`{"attestations":[{"digest":{"sha256":"A"},"predicateType":"https://slsa.dev/provenance/v1"},{"digest":{"sha256":"B"},"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","predicateType":"https://mlseal.dev/attestation/evaluation/v0.1"}],"complete":true,"timestamp":"2026-11-22T12:00:00Z"}`},
		"revocation": {"revocation", Answers{"reason": {"r"}, "severity": {"high"}, "effective-on": {"now"}, "replacement": {id("a")}},
			`{"effectiveOn":"2026-11-22T12:00:00Z","reason":"r","replacement":{"digest":{"sha256":"A"}},"severity":"high","timestamp":"2026-11-22T12:00:00Z"}`},
		"waiver": {"waiver", Answers{"id": {"W1"}, "requirement": {"scan"}, "until": {"2026-12-24T18:00:00+01:00"}, "reason": {"r"}},
			`{"id":"W1","reason":"r","requirement":"scan","timestamp":"2026-11-22T12:00:00Z","until":"2026-12-24T17:00:00Z"}`},
	} {
		got, err := compose(t, tc.kind, tc.given, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, _ := json.Marshal(got)
		want := strings.NewReplacer(`"A"`, `"`+id("a")[7:]+`"`, `"B"`, `"`+id("b")[7:]+`"`, `"C"`, `"`+id("c")[7:]+`"`).Replace(tc.want)
		if string(text) != want {
			t.Errorf("%s:\n%s, want\n%s", name, text, want)
		}
	}
}

func TestRefused(t *testing.T) {
	approved := func(name string, values ...string) Answers {
		return Answers{"decision": {"approved"}, "environment": {"prod"}, "reviewed": {"none"}, name: values}
	}
	for name, tc := range map[string]struct {
		kind  string
		given Answers
		is    error
		names string
	}{
		"everything is missing":         {"approval", nil, ErrMissing, "--decision, --environment, --reviewed"},
		"empty is missing":              {"approval", approved("environment", " "), ErrMissing, "--environment"},
		"a rejection without a reason":  {"approval", approved("decision", "rejected"), ErrMissing, "--reason"},
		"another word":                  {"approval", approved("decision", "ok"), ErrAnswer, "approved"},
		"both ends":                     {"approval", Answers{"decision": {"approved"}, "environment": {"p"}, "reviewed": {"none"}, "valid-for": {"1d"}, "not-after": {"1d"}}, ErrAnswer, "--valid-for"},
		"over before it begins":         {"approval", Answers{"decision": {"approved"}, "environment": {"p"}, "reviewed": {"none"}, "not-before": {"2d"}, "not-after": {"1d"}}, ErrAnswer, "--not-after"},
		"a time without its zone":       {"approval", approved("not-after", "2027-01-01T00:00:00"), ErrAnswer, "--not-after"},
		"no time at all":                {"approval", approved("valid-for", "0d"), ErrAnswer, "30d"},
		"a statement that is not there": {"approval", approved("reviewed", id("d")), ErrAnswer, "no statement"},
		"a number that is not there":    {"approval", approved("reviewed", "4"), ErrAnswer, "1 to 3"},
		"too short a digest":            {"approval", approved("reviewed", "aaaaaaa"), ErrAnswer, "12 digits"},
		"no license":                    {"license-review", Answers{"concluded": {"see file"}}, ErrAnswer, "--concluded"},
		"inherited from nothing":        {"license-review", Answers{"concluded": {"MIT"}, "inherited": {"=MIT"}}, ErrAnswer, "FROM=LICENSE"},
		"inherited, no license":         {"license-review", Answers{"concluded": {"MIT"}, "inherited": {"hf://x=a b"}}, ErrAnswer, "AND, OR"},
		"inherited, empty obligation":   {"license-review", Answers{"concluded": {"MIT"}, "inherited": {"hf://x=MIT;"}}, ErrAnswer, "obligation"},
		"inherited, half a digest":      {"license-review", Answers{"concluded": {"MIT"}, "inherited": {"hf://x@sha256:12=MIT"}}, ErrAnswer, "no sha256 digest"},
		"how bad":                       {"revocation", Answers{"reason": {"r"}, "severity": {"awful"}}, ErrAnswer, "critical"},
		"a waiver that is over":         {"waiver", Answers{"id": {"1"}, "requirement": {"r"}, "until": {"2026-11-22"}, "reason": {"r"}}, ErrAnswer, "past"},
		"an id that no policy has":      {"waiver", Answers{"id": {"1"}, "requirement": {"clean scan"}, "until": {"30d"}, "reason": {"r"}}, ErrAnswer, "requirement"},
		"a waiver without an end":       {"waiver", Answers{"id": {"1"}, "requirement": {"r"}, "reason": {"r"}}, ErrMissing, "--until"},
		"a long reason":                 {"revocation", Answers{"reason": {strings.Repeat("r", 4097)}, "severity": {"low"}}, ErrAnswer, "4096"},
	} {
		if _, err := compose(t, tc.kind, tc.given, nil); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.names) {
			t.Errorf("%s: %v, want %v that names %q", name, err, tc.is, tc.names)
		}
	}
	empty := New("evidence-set", Facts{Now: at, Statements: facts().Statements[2:]})
	if _, err := empty.Build(Answers{}); !errors.Is(err, ErrAnswer) {
		t.Errorf("an inventory of nothing: %v", err)
	}
}

func TestAsking(t *testing.T) {
	p := &person{lines: map[string][]string{"decision": {"yes", "rejected"}, "environment": {"", "prod"}, "reason": {"weak"}, "reviewed": {"4", "1"}}}
	got, err := compose(t, "approval", Answers{"ticket": {"T"}}, p)
	if err != nil {
		t.Fatal(err)
	}
	if got["decision"] != "rejected" || got["reason"] != "weak" || got["ticket"] != "T" {
		t.Errorf("made %v", got)
	}
	var names []string
	for _, asked := range p.asked {
		names = append(names, strings.Split(asked, "|")[0])
	}
	if want := []string{"decision", "decision", "environment", "environment", "reason", "reviewed", "reviewed"}; !slices.Equal(names, want) {
		t.Errorf("asked for %v, want %v", names, want)
	}
	if !strings.Contains(p.asked[1], "want one of") {
		t.Errorf("asked again without saying why: %s", p.asked[1])
	}

	p = &person{lines: map[string][]string{"declared": {""}, "concluded": {"MIT"}, "reviewer": {""}}}
	if got, err := compose(t, "license-review", nil, p); err != nil || got["declared"] != nil || got["concluded"] != "MIT" {
		t.Errorf("license review: %v, %v", got, err)
	}
	// Whoever gives up, or never says anything that can be used, makes nothing.
	if _, err := compose(t, "revocation", nil, &person{}); err == nil {
		t.Error("a person without answers made a revocation")
	}
	stubborn := &person{lines: map[string][]string{"reason": slices.Repeat([]string{""}, 100)}}
	if _, err := compose(t, "revocation", nil, stubborn); !errors.Is(err, ErrAnswer) || len(stubborn.asked) != maxAttempts {
		t.Errorf("asked %d times: %v", len(stubborn.asked), err)
	}
}

func TestKinds(t *testing.T) {
	for _, kind := range Kinds() {
		uri, ok := attest.PredicateType(kind)
		if _, hasSchema := attest.Schema(kind); !ok || !hasSchema || New(kind, Facts{}) == nil {
			t.Errorf("%s (%s) has no schema or no form", kind, uri)
		}
	}
	if New("dataset", Facts{}) != nil {
		t.Error("a form for what no person writes")
	}
}

// FuzzAnswers: whatever is typed makes a predicate that satisfies its schema, or none.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{"all", "1,2", id("a"), "hf://x=MIT;y", "2027-01-01", "30d", "a\x00b", "\xff"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, one, other string) {
		for kind, given := range map[string]Answers{
			"approval":       {"decision": {"approved"}, "environment": {one}, "reviewed": {other}, "not-after": {one}, "scope": {other}},
			"license-review": {"concluded": {one}, "inherited": {other}, "declared": {other}},
			"revocation":     {"reason": {one}, "severity": {"low"}, "effective-on": {other}},
		} {
			predicate, err := compose(t, kind, given, nil)
			if err == nil && predicate["timestamp"] == nil {
				t.Errorf("%s: %v", kind, predicate)
			}
			if err != nil && !errors.Is(err, ErrAnswer) && !errors.Is(err, ErrMissing) && !errors.Is(err, attest.ErrPredicate) {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
}

func ExampleForm_Fill() {
	form := New("revocation", Facts{Now: at})
	_, err := form.Fill(context.Background(), Answers{"reason": {"consent was withdrawn"}}, nil)
	fmt.Println(err)
	answers, _ := form.Fill(context.Background(), Answers{"reason": {"consent was withdrawn"}, "severity": {"high"}}, nil)
	predicate, _ := form.Build(answers)
	fmt.Println(string(predicate))
	// Output:
	// revocation: values are missing: --severity
	// {"reason":"consent was withdrawn","severity":"high","timestamp":"2026-11-22T12:00:00Z"}
}
