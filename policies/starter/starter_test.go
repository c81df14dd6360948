package starter_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/policytest"
	. "github.com/mlseal/mlseal/policies/starter"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func shortType(short string) (string, bool) {
	uri, ok := map[string]string{"slsa-provenance": "https://slsa.dev/provenance/v1", "evaluation": "https://mlseal.dev/attestation/evaluation/v0.1"}[short]
	return uri, ok
}

// TestFiles: whatever is answered, the test of the policy passes, covers all of it and leaves no mutant alive.
func TestFiles(t *testing.T) {
	who := []Signer{{Name: "ci", Issuer: "https://i.example", Subject: "https://x.example/train.yml@refs/heads/main"}, {Name: "yes", Issuer: "https://i.example", Subject: "a: #b\"\\"}}
	for _, requires := range [][]string{{"signed"}, {"provenance"}, {"evaluation"}, {"signed", "evaluation"}, Kinds()} {
		for _, repositories := range [][]string{nil, {"registry.example/models/**"}, {"registry.example/a-*/x", "other.example/y"}} {
			for n := 1; n <= 2; n++ {
				o := Options{Name: "no", Signers: who[:n], Requires: requires, Repositories: repositories, Now: now, Expires: Until(now, 30)}
				if r := tested(t, o); !r.Passed() || r.Mutants == nil || r.Coverage == nil {
					t.Errorf("%+v: %+v %+v %+v", o, r.Cases, r.Coverage, r.Mutants)
				}
			}
		}
	}
}

func tested(t *testing.T, o Options) *policytest.Result {
	t.Helper()
	files, err := Files("gate", o)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := policies.Load(files["gate.yaml"], policies.LoadOptions{PredicateType: shortType})
	if err != nil {
		t.Fatalf("%v\n%s", err, files["gate.yaml"])
	}
	suite, err := policytest.Load(files["gate_test.yaml"], policytest.LoadOptions{Name: "gate_test.yaml"})
	if err != nil {
		t.Fatalf("%v\n%s", err, files["gate_test.yaml"])
	}
	of := map[string][]byte{}
	for name, data := range files {
		if name, ok := strings.CutPrefix(name, "gate_fixture/"); ok {
			of[name] = data
		}
	}
	fixture, err := policytest.ParseFixture(of)
	if err != nil {
		t.Fatal(err)
	}
	result, err := policytest.Run(policy, suite, fixture, policytest.Options{Coverage: true, Mutate: true})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestAnswers(t *testing.T) {
	who := []Signer{{Name: "ci", Key: "ci.pub"}}
	for want, o := range map[string]Options{
		"nobody signs":            {Name: "x", Requires: []string{"signed"}, Now: now, Expires: Until(now, 1)},
		"nothing is required":     {Name: "x", Signers: who, Now: now, Expires: Until(now, 1)},
		"cannot be required here": {Name: "x", Signers: who, Requires: []string{"luck"}, Now: now, Expires: Until(now, 1)},
		"expired already":         {Name: "x", Signers: who, Requires: []string{"signed"}, Now: now},
		"cannot be called":        {Name: "x y", Signers: who, Requires: []string{"signed"}, Now: now, Expires: Until(now, 1)},
		"two signers are called":  {Name: "x", Signers: append(who, who...), Requires: []string{"signed"}, Now: now, Expires: Until(now, 1)},
	} {
		if files, err := Files("gate", o); files != nil || !errors.Is(err, ErrAnswer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, text := range []string{"", "ci", "ci=", "=x", "a b=x", "ci=https://i.example", "ci=https://i.example,"} {
		if _, err := ParseSigner(text); !errors.Is(err, ErrAnswer) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAsk(t *testing.T) {
	ask := func(answers string, o Options) (Options, string, error) {
		var said bytes.Buffer
		o.Now = now
		o, err := Ask(strings.NewReader(answers), &said, o)
		return o, said.String(), err
	}
	o, said, err := ask("ci=ci.pub\neve=https://i.example,eve@x.example\n\nsigned, evaluation\nr.example/** 90\n", Options{})
	if err != nil || len(o.Signers) != 2 || o.Signers[1].Subject != "eve@x.example" || strings.Join(o.Requires, " ") != "signed evaluation" ||
		strings.Join(o.Repositories, " ") != "r.example/**" || !o.Expires.Equal(time.Date(2027, 2, 18, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v %v", o, err)
	}
	if strings.Count(said, "? ")+strings.Count(said, ": ") < 4 {
		t.Error(said)
	}
	o, _, err = ask("ci=ci.pub\n\n\n\n", Options{})
	if err != nil || strings.Join(o.Requires, " ") != "signed" || o.Repositories != nil || !o.Expires.Equal(Until(now, 365)) {
		t.Errorf("%+v %v", o, err)
	}
	o, said, err = ask("", Options{Signers: []Signer{{Name: "ci", Key: "k"}}, Requires: []string{"signed"}, Expires: Until(now, 3)})
	if err != nil || said != "" || len(o.Signers) != 1 {
		t.Errorf("what is answered is asked again: %q %v", said, err)
	}
	for _, answers := range []string{"", "ci\n", "ci=ci.pub\n", "ci=ci.pub\n\n", "ci=ci.pub\n\nsigned\n", "ci=ci.pub\n\nsigned\n0\n", "ci=ci.pub\n\nsigned\n99999\n"} {
		if _, _, err := ask(answers, Options{}); !errors.Is(err, ErrAnswer) {
			t.Errorf("%q: %v", answers, err)
		}
	}
}
