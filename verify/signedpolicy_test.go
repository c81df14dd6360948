package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

const signedPolicy = `apiVersion: mlseal.dev/policy/v1
name: signed
signers:
  office: {key: office.pub}
require:
  - {id: signed, signature: {by: [office]}}
`

const cosignType = "https://sigstore.dev/cosign/sign/v1"

// subjectAt is a subject with a name: where a policy belongs.
func subjectAt(name, sha string) string {
	return fmt.Sprintf(`{"name":%q,"digest":{"sha256":%q}}`, name, sha)
}

// Case 62: who signed a policy, and for which place.
func TestSignedPolicy(t *testing.T) {
	office, mallory := newPerson(t), newPerson(t)
	who, err := loadPolicy(t, signedPolicy, map[string]person{"office": office})
	if err != nil {
		t.Fatal(err)
	}
	good := office.sign(t, payload(subjectAt("r.example/gate", ours), cosignType, "{}"))
	second := office.sign(t, payload(subjectAt("r.example/mirror", ours), cosignType, "{}"))
	flipped := slices.Clone(good)
	at := len(flipped) / 2
	flipped[at] ^= 1
	for name, c := range map[string]struct {
		found  [][]byte
		code   policies.Code
		places []string
	}{
		"signed":                    {[][]byte{good}, "", []string{"r.example/gate"}},
		"signed for two places":     {[][]byte{second, good, good}, "", []string{"r.example/gate", "r.example/mirror"}},
		"signed by a stranger too":  {[][]byte{mallory.sign(t, payload(subjectAt("r.example/evil", ours), cosignType, "{}")), good}, "", []string{"r.example/gate"}},
		"several subjects":          {[][]byte{office.sign(t, payload(subjectAt("r.example/else", other)+","+subjectAt("r.example/gate", ours), cosignType, "{}"))}, "", []string{"r.example/gate"}},
		"62 unsigned":               {nil, policies.PolicyUnsigned, nil},
		"62 another statement":      {[][]byte{office.sign(t, payload(subjectAt("r.example/gate", ours), "https://example.test/x", "{}"))}, policies.PolicyUnsigned, nil},
		"62 wrong signer":           {[][]byte{mallory.sign(t, payload(subjectAt("r.example/gate", ours), cosignType, "{}"))}, policies.PolicySignerNotTrusted, nil},
		"62 about another policy":   {[][]byte{office.sign(t, payload(subjectAt("r.example/gate", other), cosignType, "{}"))}, policies.PolicySignerNotTrusted, nil},
		"62 a signature that broke": {[][]byte{flipped}, policies.PolicySignerNotTrusted, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var found []verify.Found
			for i, data := range c.found {
				found = append(found, verify.Found{Origin: fmt.Sprint(i), Data: data, With: map[string]string{"sha256": ours}})
			}
			v := verify.Verifier{Trust: trust.New(nil), Now: now}
			places, err := v.SignedPolicy(context.Background(), "sha256:"+ours, found, who)
			var refused *verify.PolicyError
			if c.code == "" && (err != nil || !slices.Equal(places, c.places)) {
				t.Errorf("%v %v", places, err)
			}
			if c.code != "" && (!errors.As(err, &refused) || refused.Code != c.code || refused.Detail == "" || places != nil) {
				t.Errorf("%v %v, want %s", places, err, c.code)
			}
		})
	}
	v := verify.Verifier{Trust: trust.New(nil), Now: now}
	incomplete := []verify.Found{{Data: good, With: map[string]string{"sha256": ours}}, {Incomplete: true, Err: verify.ErrLimit}}
	if _, err := v.SignedPolicy(context.Background(), "sha256:"+ours, incomplete, who); err == nil {
		t.Error("62 more is attached than is read")
	}
}

func TestPolicyAt(t *testing.T) {
	if err := verify.PolicyAt([]string{"r.example/a", "r.example/b"}, "r.example/b"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"r.example/c", "r.example/", "R.example/b", ""} {
		var refused *verify.PolicyError
		if err := verify.PolicyAt([]string{"r.example/a", "r.example/b"}, want); !errors.As(err, &refused) || refused.Code != policies.PolicyMisplaced {
			t.Errorf("62 %q: %v", want, err)
		}
	}
}
