package verify_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
)

// twoOf is a policy that wants two signers, whose files are given.
func twoOf(t *testing.T, files map[string][]byte, a, b string) *policies.Policy {
	t.Helper()
	text := fmt.Sprintf("apiVersion: mlseal.dev/policy/v1\nname: p\nsigners:\n  a: {%s}\n  b: {%s}\n  two: {group: {of: [a, b], atLeast: 2}}\nrequire: [{id: signed, signature: {by: [two]}}]\n", a, b)
	if files["root.json"] != nil {
		text += "trust: {root: root.json}\n"
	}
	p, err := policies.Load([]byte(text), policies.LoadOptions{ReadFile: func(name string) ([]byte, error) { return files[name], nil }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantSigners wants each bundle to count for its one signer, and both together to be one person or two.
func wantSigners(t *testing.T, p *policies.Policy, code policies.Code, byA, byB []byte) {
	t.Helper()
	v := &verify.Verifier{Trust: trust.New(nil), Now: time.Now()}
	for name, bundle := range map[string][]byte{"a": byA, "b": byB} {
		r := decideKeyless(t, v, p, bundle).Requirements[0]
		if r.Code != policies.ThresholdNotMet || len(r.Counted) != 1 || fmt.Sprint(r.Counted[0].Signers) != "["+name+"]" {
			t.Fatalf("the statement of %s: %+v", name, r)
		}
	}
	for _, bundles := range [][][]byte{{byA, byB}, {byB, byA}} {
		d := decideKeyless(t, v, p, bundles...)
		if r := d.Requirements[0]; r.Code != code || (d.Err() == nil) != (code == "") || len(r.Counted) != 2 {
			t.Errorf("%v: code %q, want %q: %+v", d.Err(), r.Code, code, r)
		}
	}
}

// bare turns a bundle with a certificate into one of its key alone, and gives the key.
func bare(t *testing.T, bundle []byte) (other, public []byte) {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	material := b["verificationMaterial"].(map[string]any)
	chain := material["x509CertificateChain"].(map[string]any)["certificates"].([]any)
	var der []byte
	if err := json.Unmarshal([]byte(`"`+chain[0].(map[string]any)["rawBytes"].(string)+`"`), &der); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	delete(material, "x509CertificateChain")
	material["publicKey"] = map[string]any{"hint": "trainer"}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: leaf.RawSubjectPublicKeyInfo})
}

// TestAdversarialOneKeyTwice is case 15: a private key that signs once by itself and once with its certificate.
func TestAdversarialOneKeyTwice(t *testing.T) {
	s := newInstance(t)
	withCertificate := s.own(named(acme), signing{noTimestamp: true})
	alone, public := bare(t, withCertificate)
	another, strange := bare(t, s.own(named(acme), signing{noTimestamp: true}))
	files := map[string][]byte{"ca.pem": certificatePEM(s.caRoot), "a.pub": public}
	wantSigners(t, twoOf(t, files, "key: a.pub", trainer), policies.ThresholdNotMet, alone, withCertificate)
	files["a.pub"] = strange
	wantSigners(t, twoOf(t, files, "key: a.pub", trainer), "", another, withCertificate)
}

// TestAdversarialCrossSigned is case 15: an intermediate that two authorities certify, so that one certificate leads to either.
func TestAdversarialCrossSigned(t *testing.T) {
	s := newInstance(t)
	key := testKey(t)
	second := pkix.Name{CommonName: "root two"}
	root := s.certificate(&x509.Certificate{Subject: second, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		-time.Hour, time.Hour, &x509.Certificate{Subject: second}, &key.PublicKey, key)
	crossed := *s
	crossed.issuer = s.certificate(&x509.Certificate{Subject: s.issuer.Subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		-time.Hour, time.Hour, root, &s.issuerKey.PublicKey, key)
	p := twoOf(t, map[string][]byte{"ca.pem": certificatePEM(s.caRoot), "two.pem": certificatePEM(root)}, trainer, `certificate: {authority: two.pem, san: trainer@acme.example}`)
	one := s.own(named(acme, "trainer@acme.example"), signing{noTimestamp: true})
	wantSigners(t, p, policies.ThresholdNotMet, one, crossed.own(named(acme, "trainer@acme.example"), signing{noTimestamp: true}))
	one = s.own(named(acme), signing{noTimestamp: true})
	wantSigners(t, p, "", one, crossed.own(named([]string{"CN=other"}, "trainer@acme.example"), signing{noTimestamp: true}))
}

// TestAdversarialKeylessAndCertificate is case 15: one identity whose statement is keyless with its log entry, and with an
// authority of one's own without it.
func TestAdversarialKeylessAndCertificate(t *testing.T) {
	s := newInstance(t)
	files := map[string][]byte{"root.json": s.trustedRoot(), "ca.pem": certificatePEM(s.caRoot, s.issuer)}
	p := twoOf(t, files, fmt.Sprintf("keyless: {issuer: %q, subject: %q}", workflow.Issuer, workflow.Subject), anybody)
	// The clock is past the certificate of the first, which is why it does not count as the authority's as well.
	past := -time.Hour / 2
	logged := s.sign(keylessStatement, workflow, signing{from: past - time.Minute, until: past + time.Minute, logged: past, noTimestamp: true})
	unlogged := func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries = nil }
	stamped := func(who trust.Identity) []byte { return s.sign(keylessStatement, who, signing{change: unlogged}) }
	wantSigners(t, p, policies.ThresholdNotMet, logged, stamped(workflow))
	wantSigners(t, p, "", logged, stamped(trust.Identity{Issuer: workflow.Issuer, Subject: "https://github.com/acme/other"}))
}
