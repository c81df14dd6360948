package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

const groupPolicy = `apiVersion: mlseal.dev/policy/v1
name: two-of-three
signers:
  alice: {keys: [alice.pub, alice2.pub]}
  bob: {key: bob.pub}
  carol: {key: carol.pub}
  two: {group: {of: [alice, bob, carol], atLeast: 2}}
require: [{id: eval, attestation: evaluation, by: [two]}]
`

// withSignatures replaces the signatures of a bundle's envelope.
func withSignatures(t *testing.T, bundle []byte, change func(signature map[string]any) []map[string]any) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	envelope := b["dsseEnvelope"].(map[string]any)
	envelope["signatures"] = change(envelope["signatures"].([]any)[0].(map[string]any))
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAdversarialThresholds are cases 14 and 15: what one person signs counts once, however it is presented.
func TestAdversarialThresholds(t *testing.T) {
	alice, alice2, bob, mallory := newPerson(t), newPerson(t), newPerson(t), newPerson(t)
	policy, err := loadPolicy(t, groupPolicy, map[string]person{"alice": alice, "alice2": alice2, "bob": bob, "carol": newPerson(t)})
	if err != nil {
		t.Fatal(err)
	}
	good := payload(digests("sha256", ours), kind, goodEvaluation)
	byAlice := alice.sign(t, good)
	garbage := map[string]any{"sig": "AAAA", "keyid": "x"}
	twoSignatures := withSignatures(t, byAlice, func(s map[string]any) []map[string]any { return []map[string]any{s, garbage} })
	keyID := func(id string) []byte {
		return withSignatures(t, byAlice, func(s map[string]any) []map[string]any {
			s["keyid"] = id
			return []map[string]any{s}
		})
	}
	underBobsHint := bytes.Replace(byAlice, []byte(alice.key.Hint()), []byte(bob.key.Hint()), 1)
	for name, tc := range map[string]struct {
		want    policies.Code
		bundles [][]byte
	}{
		"00 two people":                             {"", [][]byte{byAlice, bob.sign(t, good)}},
		"00 one person":                             {policies.ThresholdNotMet, [][]byte{byAlice}},
		"14 one signature under two keyids":         {policies.ThresholdNotMet, [][]byte{keyID(alice.key.Hint()), keyID(bob.key.Hint())}},
		"14 one signature under two hints":          {policies.ThresholdNotMet, [][]byte{byAlice, underBobsHint}},
		"14 the same bundle twice":                  {policies.ThresholdNotMet, [][]byte{byAlice, byAlice}},
		"14 a good and a garbage signature":         {policies.ThresholdNotMet, [][]byte{twoSignatures, byAlice}},
		"14 the same, beside two people's":          {"", [][]byte{twoSignatures, byAlice, bob.sign(t, good)}},
		"15 one person with two keys":               {policies.ThresholdNotMet, [][]byte{byAlice, alice2.sign(t, good)}},
		"15 one person, two statements":             {policies.ThresholdNotMet, [][]byte{byAlice, alice.sign(t, strings.Replace(good, "0.71", "0.72", 1))}},
		"15 two keys, one of them of a stranger":    {policies.ThresholdNotMet, [][]byte{byAlice, mallory.sign(t, good)}},
		"15 the second person is about another one": {policies.ThresholdNotMet, [][]byte{byAlice, bob.sign(t, strings.Replace(good, ours, other, 1))}},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, policy, nil, tc.bundles...)
			if got := code(d); got != tc.want || (d.Err() == nil) != (tc.want == "") {
				t.Errorf("reason is %q, want %q\n%+v", got, tc.want, d.Requirements)
			}
		})
	}
}

// TestAdversarialCertificateThreshold is case 15 with certificates: each signature of an identity has one of its own.
func TestAdversarialCertificateThreshold(t *testing.T) {
	s := newInstance(t)
	second := trust.Identity{Issuer: workflow.Issuer, Subject: workflow.Subject + "-2"}
	text := fmt.Sprintf("apiVersion: mlseal.dev/policy/v1\nname: p\nsigners:\n  a: {keyless: {issuer: %q, subject: %q}}\n  b: {keyless: {issuer: %q, subject: %q}}\n"+
		"  two: {group: {of: [a, b], atLeast: 2}}\nrequire: [{id: signed, signature: {by: [two]}}]\n", workflow.Issuer, workflow.Subject, second.Issuer, second.Subject)
	policy, err := loadPolicy(t, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &verify.Verifier{Trust: trust.New(s.root()), Now: time.Now()}
	first := s.sign(keylessStatement, workflow, signing{})
	if d := decideKeyless(t, v, policy, first, s.sign(keylessStatement, second, signing{})); d.Err() != nil {
		t.Errorf("two identities: %v %+v", d.Err(), d.Requirements)
	}
	if d := decideKeyless(t, v, policy, first, s.sign(keylessStatement, workflow, signing{})); code(d) != policies.ThresholdNotMet {
		t.Errorf("15 one identity with two certificates: %q %+v", code(d), d.Requirements)
	}
}

// TestAdversarialSignerPolicies are cases 15 and 17: signers that would be more people, or others, than their policy's author means.
func TestAdversarialSignerPolicies(t *testing.T) {
	evaluator := newPerson(t)
	people := map[string]person{"evaluator": evaluator, "again": evaluator}
	for name, signer := range map[string]string{
		"15 one key under two names": "{key: evaluator.pub}\n  b: {key: again.pub}",
		"15 one identity, two names": "{keyless: {issuer: 'https://i.example', subject: s}}\n  b: {keyless: {issuer: 'https://i.example', subject: s}}",
		"17 issuer only":             "{keyless: {issuer: 'https://i.example'}}",
		"17 empty subject":           "{keyless: {issuer: 'https://i.example', subject: ''}}",
		"17 blank subject":           "{keyless: {issuer: 'https://i.example', subject: ' '}}",
		"17 subject only":            "{keyless: {subject: 'acme'}}",
		"17 regular expression":      "{keyless: {issuer: 'https://i.example', subject: '.*acme.*'}}",
		"17 field for an expression": "{keyless: {issuer: 'https://i.example', subjectRegExp: acme}}",
	} {
		text := strings.Replace(fmt.Sprintf(gatePolicy, accuracy), "{key: evaluator.pub}", signer, 1)
		if _, err := loadPolicy(t, text, people); !errors.Is(err, policies.ErrPolicy) {
			t.Errorf("%s: error is %v, want ErrPolicy", name, err)
		}
	}
}

// TestAdversarialBuilder is case 19: a signer is trusted for what one builder made, and another builder is named.
func TestAdversarialBuilder(t *testing.T) {
	trainer := newPerson(t)
	const builder = "https://github.com/actions/runner/github-hosted"
	text := "apiVersion: mlseal.dev/policy/v1\nname: p\nsigners: {trainer: {key: trainer.pub}}\n" +
		"require: [{id: built, attestation: 'https://slsa.dev/provenance/v1', by: [trainer], where: 'predicate.runDetails.builder.id == \"" + builder + "\"'}]\n"
	policy, err := loadPolicy(t, text, map[string]person{"trainer": trainer})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]policies.Code{builder: "", builder + "/": policies.ConditionFalse, "https://evil.example/runner": policies.ConditionFalse, "": policies.ConditionFalse} {
		statement := payload(digests("sha256", ours), "https://slsa.dev/provenance/v1", `{"runDetails":{"builder":{"id":"`+id+`"}}}`)
		if got := code(decide(t, policy, nil, trainer.sign(t, statement))); got != want {
			t.Errorf("19 builder %q: reason is %q, want %q", id, got, want)
		}
	}
}

// TestAdversarialPayloadTypes is case 24: in-toto in an envelope that is signed as something else.
func TestAdversarialPayloadTypes(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	good := []byte(payload(digests("sha256", ours), kind, goodEvaluation))
	for _, payloadType := range []string{"text/plain", "application/json", "application/vnd.in-toto", "application/vnd.in-toto+json ", "APPLICATION/VND.IN-TOTO+JSON", ""} {
		bundle, err := evaluator.key.SignBundle(context.Background(), payloadType, good)
		if err != nil {
			t.Fatal(err)
		}
		d := decide(t, policy, nil, bundle)
		if got := code(d); got != policies.StatementUnusable || len(d.Ignored) != 1 {
			t.Errorf("24 payloadType %q: reason is %q: %+v", payloadType, got, d.Requirements)
		}
		// Nor does it help to write the type that was not signed.
		relabelled := bytes.Replace(bundle, []byte(`"payloadType":"`+payloadType+`"`), []byte(`"payloadType":"application/vnd.in-toto+json"`), 1)
		if got := code(decide(t, policy, nil, relabelled)); got == "" || payloadType != "" && got != policies.SignatureInvalid {
			t.Errorf("24 payloadType %q, relabelled: reason is %q", payloadType, got)
		}
	}
}
