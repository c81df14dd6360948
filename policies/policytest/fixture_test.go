package policytest_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/policies"
	. "github.com/mlseal/mlseal/policies/policytest"
)

func TestFixtureErrors(t *testing.T) {
	const good = `{"signedBy":["a"],"statement":{"subject":[{"digest":{"sha256":"aa"}}],"predicateType":"t","predicate":{}}}`
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatal(old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for text, want := range map[string]string{
		good:                             "",
		edit(`"signedBy"`, `"signedby"`): "stands where",
		edit(`"signedBy"`, `"signer"`):   "unknown field",
		edit(`{"signedBy"`, `{"signedBy":[],"signedBy"`):                       "duplicate key",
		edit(`{"signedBy"`, `{"time":"2026-11-18T15:02:00Z","signedBy"`):       "time and timeSource stand together",
		edit(`{"signedBy"`, `{"timeSource":"Rekor","signedBy"`):                "time and timeSource stand together",
		edit(`{"signedBy"`, `{"time":"yesterday","timeSource":"R","signedBy"`): "RFC 3339",
		edit(`"predicateType":"t",`, ""):                                       "has no predicateType",
		edit(`"predicateType":"t"`, `"predicateType":1`):                       "has no predicateType",
		edit(`"subject":[{"digest":{"sha256":"aa"}}],`, ""):                    "no list of subjects",
		edit(`"aa"`, "1"):       "a digest that is no string",
		`{"signedBy":["a"]}`:    "has no statement",
		good + good:             "more data behind",
		"[]":                    "",
		"":                      "not valid JSON",
		`{"problem":"REVOKED"}`: "",
	} {
		_, err := ParseStatement("x.json", []byte(text))
		if text == "[]" {
			if err == nil {
				t.Error("a list is a statement")
			}
			continue
		}
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrFixture) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, name := range []string{"x.yaml", ".json", "x", "", "a/.json"} {
		if _, err := ParseStatement(name, []byte(good)); !errors.Is(err, ErrFixture) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for text, want := range map[string]string{
		`{"name":"x","digests":{"sha256":"aa"}}`: "",
		`{"name":"x"}`:                           "needs a name and digests",
		`{"digests":{"sha256":"aa"}}`:            "needs a name and digests",
		`{"name":"x","digest":{"sha256":"aa"}}`:  "unknown field",
	} {
		_, err := ParseFixture(map[string][]byte{SubjectFile: []byte(text)})
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrFixture) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseFixture(map[string][]byte{"x.json": []byte(good)}); !errors.Is(err, ErrFixture) {
		t.Errorf("no subject: %v", err)
	}
	twins := files(t)
	twins["twin.json"] = []byte(strings.Replace(good, "{", `{"id":"card",`, 1))
	if _, err := ParseFixture(twins); !errors.Is(err, ErrFixture) || !strings.Contains(err.Error(), "another statement has the id") {
		t.Errorf("two of one id: %v", err)
	}
}

// TestFixtureRoundTrip: what a verifier leaves can be written down and read again, and decides the same.
func TestFixtureRoundTrip(t *testing.T) {
	statement := map[string]any{"subject": []any{map[string]any{"digest": map[string]any{"sha256": "aa"}}}, "predicateType": "https://x.example/thing/v1"}
	evidence := []policies.Evidence{
		{ID: "sha256:1", PredicateType: "https://x.example/thing/v1", Subjects: []map[string]string{{"sha256": "aa"}}, Statement: statement, SignedBy: []string{"a"},
			VerifiedWith: policies.VerifiedWith{Keys: []string{"ab"}, Names: []string{"n"}}, Time: time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC), TimeSource: "Rekor",
			Logs: 1, LogEntries: 2, Timestamps: 3, FoundWith: map[string]string{"sha256": "aa"}},
		{ID: "sha256:2", PredicateType: "https://x.example/thing/v1", Subjects: []map[string]string{{"dirHash": "dd"}}, Statement: statement, SignatureNote: "nobody"},
		{ID: "sha256:3", Problem: policies.ParseAmbiguous, ProblemDetail: "twice"},
	}
	f := NewFixture(policies.Subject{Name: "x", Digests: map[string]string{"sha256": "aa"}, Repository: "r"}, evidence)
	written, err := f.Files()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(slices.Sorted(maps.Keys(written))); got != "[statement.json subject.json thing-2.json thing.json]" {
		t.Error(got)
	}
	read, err := ParseFixture(written)
	if err != nil {
		t.Fatal(err)
	}
	again, err := read.Files()
	if err != nil || !maps.EqualFunc(written, again, bytes.Equal) {
		t.Errorf("%v: written otherwise the second time", err)
	}
	for i, s := range read.Statements {
		want := f.Statements[i].Evidence
		want.Origin, s.Origin = "", ""
		if fmt.Sprintf("%+v", want) != fmt.Sprintf("%+v", s.Evidence) {
			t.Errorf("%+v, want %+v", s.Evidence, want)
		}
	}
}

func FuzzParseFixture(f *testing.F) {
	for _, data := range files(f) {
		f.Add(data)
	}
	f.Add([]byte(`{"problem":"REVOKED"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseStatement("x.json", data)
		if err != nil {
			if !errors.Is(err, ErrFixture) {
				t.Fatal(err)
			}
			return
		}
		one := &Fixture{Subject: policies.Subject{Name: "x", Digests: map[string]string{"sha256": "aa"}}, Statements: []Statement{s}}
		written, err := one.Files()
		if err != nil {
			t.Fatal(err)
		}
		read, err := ParseFixture(written)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", written["x.json"], err)
		}
		again, err := read.Files()
		if err != nil || !bytes.Equal(written["x.json"], again["x.json"]) {
			t.Fatalf("%s\n%s", written["x.json"], again["x.json"])
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add(string(read(f, "policy_test.yaml")))
	f.Add(suiteText(passes))
	f.Add(suiteText("{name: x, expect: {waive: W}, mutate: [{set: a, path: 'b[0].c', to: {d: [1, null]}}, {timestamp: a, shift: +1d}]}"))
	policy, good := loadPolicy(f, string(read(f, "policy.yaml"))), fixture(f)
	before, _ := good.Files()
	f.Fuzz(func(t *testing.T, text string) {
		s, err := loadSuite(text)
		if err != nil {
			if s != nil || !errors.Is(err, ErrSuite) {
				t.Fatalf("%v %v", s, err)
			}
			return
		}
		if len(s.Cases) > 20 {
			return
		}
		r, err := Run(policy, s, good, Options{})
		if err != nil && !errors.Is(err, ErrSuite) || err == nil && len(r.Cases) == 0 {
			t.Fatal(r, err)
		}
		if after, _ := good.Files(); !maps.EqualFunc(before, after, bytes.Equal) {
			t.Fatal("a mutation changed the fixture itself")
		}
	})
}
