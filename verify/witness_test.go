package verify_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
)

// witnessPolicy names the workflow or a key, and what must vouch for its signature.
func witnessPolicy(t *testing.T, signer, demands string, files map[string][]byte) *policies.Policy {
	t.Helper()
	text := "apiVersion: mlseal.dev/policy/v1\nname: p\nsigners:\n  ci: {" + signer + "}\ntrust: {root: root.json, " + demands + "}\nrequire:\n" + signedRule + "\n"
	p, err := policies.Load([]byte(text), policies.LoadOptions{PredicateType: attest.PredicateType, ReadFile: func(name string) ([]byte, error) { return files[name], nil }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Cases 20, 22 and 23: a log and a timestamp authority are two authorities, two entries of one log are one.
func TestWitnessesOfIdentity(t *testing.T) {
	s := newInstance(t)
	v := &verify.Verifier{Trust: trust.New(nil), Now: time.Now()}
	files := map[string][]byte{"root.json": s.trustedRoot()}
	twice := func(b *protobundle.Bundle) {
		m := b.VerificationMaterial
		m.TlogEntries = append(m.TlogEntries, m.TlogEntries[0])
	}
	stampedTwice := func(b *protobundle.Bundle) {
		m := b.VerificationMaterial
		sig := b.GetDsseEnvelope().Signatures[0].Sig
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{
			{SignedTimestamp: s.stamp(sig, nil)}, {SignedTimestamp: s.stamp(sig, nil)}}}
	}
	who := fmt.Sprintf("keyless: {issuer: %q, subject: %q}", workflow.Issuer, workflow.Subject)
	pattern := fmt.Sprintf("keyless: {issuer: %q, pattern: 'https://github\\.com/acme/llm/.+'}", workflow.Issuer)
	for name, c := range map[string]struct {
		signer, demands string
		how             signing
		code            policies.Code
	}{
		"log and timestamp":                {who, "transparencyLog: required, timestamps: {atLeast: 2}", signing{}, ""},
		"three authorities":                {who, "timestamps: {atLeast: 3}", signing{}, policies.SignatureInvalid},
		"22 the log alone for two":         {who, "timestamps: {atLeast: 2}", signing{noTimestamp: true}, policies.SignatureInvalid},
		"the log alone for one":            {who, "timestamps: {atLeast: 1}", signing{noTimestamp: true}, ""},
		"22 one authority twice for three": {who, "timestamps: {atLeast: 3}", signing{change: stampedTwice}, policies.SignatureInvalid},
		"by a pattern":                     {pattern, "transparencyLog: required", signing{}, ""},
		"17 a pattern that is another's":   {strings.Replace(pattern, "llm", "ll", 1), "transparencyLog: required", signing{}, policies.SignerNotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			d := decideKeyless(t, v, witnessPolicy(t, c.signer, c.demands, files), s.sign(keylessStatement, workflow, c.how))
			if got := code(d); got != c.code {
				t.Errorf("code %q, want %q: %+v", got, c.code, d.Requirements)
			}
		})
	}
	// A bundle with one entry twice is refused whole, or counts it once.
	d := decideKeyless(t, v, witnessPolicy(t, who, "timestamps: {atLeast: 2}", files), s.sign(keylessStatement, workflow, signing{noTimestamp: true, change: twice}))
	if d.Err() == nil {
		t.Error("22: two copies of an entry are two times")
	}
}

// A key's bundle has what the policy wants only when it verifies: the timestamp of a stranger, or of another signature, is none.
func TestWitnessesOfKey(t *testing.T) {
	s, other := newInstance(t), newInstance(t)
	ci := newPerson(t)
	files := map[string][]byte{"root.json": s.trustedRoot(), "ci.pub": ci.public}
	v := &verify.Verifier{Trust: trust.New(nil), Now: time.Now()}
	plain := ci.sign(t, keylessStatement)
	stamped := func(by *instance, over []byte) []byte {
		var b map[string]any
		if err := json.Unmarshal(plain, &b); err != nil {
			t.Fatal(err)
		}
		if over == nil {
			signature := b["dsseEnvelope"].(map[string]any)["signatures"].([]any)[0].(map[string]any)["sig"].(string)
			over, _ = base64.StdEncoding.DecodeString(signature)
		}
		b["verificationMaterial"].(map[string]any)["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{
			map[string]any{"signedTimestamp": base64.StdEncoding.EncodeToString(by.stamp(over, nil))}}}
		out, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	wants := witnessPolicy(t, "key: ci.pub", "timestamps: {atLeast: 1}", files)
	d := decideKeyless(t, v, wants, stamped(s, nil))
	if d.Err() != nil || d.Requirements[0].Counted[0].TimeSource != verify.FromTimestampAuthority {
		t.Errorf("%v %+v", d.Err(), d.Requirements)
	}
	for name, b := range map[string][]byte{"none": plain, "by a stranger": stamped(other, nil), "of another signature": stamped(s, []byte("x"))} {
		if d := decideKeyless(t, v, wants, b); code(d) != policies.SignatureInvalid {
			t.Errorf("%s: %q", name, code(d))
		}
	}
	if d := decideKeyless(t, v, witnessPolicy(t, "key: ci.pub", "transparencyLog: required", files), stamped(s, nil)); code(d) != policies.SignatureInvalid {
		t.Errorf("no log entry: %q", code(d))
	}
	if d := decideKeyless(t, v, witnessPolicy(t, "key: ci.pub", "transparencyLog: forbidden", files), plain); d.Err() != nil {
		t.Errorf("forbidden: %v", d.Err())
	}
}
