package verify_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
)

func certificatePEM(certs ...*x509.Certificate) []byte {
	var text []byte
	for _, c := range certs {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}

// chained lists the issuer in the bundle, and leaves out what only Sigstore has.
func (s *instance) chained(more ...*x509.Certificate) func(*protobundle.Bundle) {
	return func(b *protobundle.Bundle) {
		chain := []*protocommon.X509Certificate{b.VerificationMaterial.GetCertificate(), {RawBytes: s.issuer.Raw}}
		for _, c := range more {
			chain = append(chain, &protocommon.X509Certificate{RawBytes: c.Raw})
		}
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{Certificates: chain}}
		b.VerificationMaterial.TlogEntries = nil
	}
}

// TestAuthorityWithExpiredIntermediate is case 21 for an authority of one's own, which cosign lets pass (CVE-2026-24122): the signing
// certificate is valid, and the one above it is not any more.
func TestAuthorityWithExpiredIntermediate(t *testing.T) {
	s := newInstance(t)
	a, err := trust.ParseAuthority(certificatePEM(s.caRoot), s.root())
	if err != nil {
		t.Fatal(err)
	}
	check := func() *verify.Result {
		t.Helper()
		b, err := attest.Parse(s.sign(keylessStatement, workflow, signing{noTimestamp: true, change: s.chained()}))
		if err != nil {
			t.Fatal(err)
		}
		return a.Check(b, verify.Options{Now: time.Now()})
	}
	if r := check(); r.Err() != nil {
		t.Fatal(r.Err())
	}
	s.newIssuer(-2*time.Hour, -time.Hour)
	if r := check(); r.Failed() != verify.CheckCertificate {
		t.Errorf("failed %q, want %q: %+v", r.Failed(), verify.CheckCertificate, r.Checks)
	}
}

// TestAuthorityTimes: a trusted timestamp decides when a certificate must have been valid; without one the
// current time does.
func TestAuthorityTimes(t *testing.T) {
	s := newInstance(t)
	now, later := time.Now(), time.Now().AddDate(1, 0, 0)
	stamped := s.sign(keylessStatement, workflow, signing{change: s.chained()})
	plain := s.sign(keylessStatement, workflow, signing{noTimestamp: true, change: s.chained()})
	before := s.sign(keylessStatement, workflow, signing{from: -time.Hour, until: -time.Minute, change: s.chained()})
	foreign := s.sign(keylessStatement, workflow, signing{change: s.chained(), timestamp: newInstance(t).strangersStamp})
	withRoot := s.sign(keylessStatement, workflow, signing{noTimestamp: true, change: s.chained(s.caRoot)})
	encryption := *s
	encryption.usage = x509.KeyUsageKeyEncipherment
	unfit := encryption.sign(keylessStatement, workflow, signing{noTimestamp: true, change: s.chained()})
	for name, tc := range map[string]struct {
		bundle []byte
		tsa    *trust.Root
		now    time.Time
		fails  string
		source string
	}{
		"timestamp, now":                     {stamped, s.root(), now, "", verify.FromTimestampAuthority},
		"timestamp, a year later":            {stamped, s.root(), later, "", verify.FromTimestampAuthority},
		"timestamp, no clock":                {stamped, s.root(), time.Time{}, "", verify.FromTimestampAuthority},
		"timestamp of nobody trusted":        {stamped, nil, now, "", ""},
		"timestamp of nobody trusted, later": {stamped, nil, later, verify.CheckCertificate, ""},
		"timestamp of another authority":     {foreign, s.root(), now, verify.CheckTimestamp, ""},
		"timestamp after expiry":             {before, s.root(), now, verify.CheckCertificate, ""},
		"no timestamp":                       {plain, s.root(), now, "", ""},
		"no timestamp, later":                {plain, s.root(), later, verify.CheckCertificate, ""},
		"a certificate for encryption":       {unfit, nil, now, verify.CheckCertificate, ""},
		"the root comes along, and is known": {withRoot, nil, now, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := trust.ParseAuthority(certificatePEM(s.caRoot), tc.tsa)
			if err != nil {
				t.Fatal(err)
			}
			b, err := attest.Parse(tc.bundle)
			if err != nil {
				t.Fatal(err)
			}
			r := a.Check(b, verify.Options{Now: tc.now})
			if (r.Err() == nil) != (tc.fails == "") || (r.Signer == workflow.Subject) != (tc.fails == "") {
				t.Errorf("error %v, signer %q", r.Err(), r.Signer)
			}
			if r.Failed() != tc.fails || r.TimeSource != tc.source || len(r.Checks) != 6 {
				t.Errorf("failed %q, want %q; time by %q, want %q: %+v", r.Failed(), tc.fails, r.TimeSource, tc.source, r.Checks)
			}
		})
	}
	// What a bundle brings along is never trusted by itself.
	other := newInstance(t)
	a, err := trust.ParseAuthority(certificatePEM(other.caRoot), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Parse(withRoot)
	if err != nil {
		t.Fatal(err)
	}
	if r := a.Check(b, verify.Options{Now: now}); r.Failed() != verify.CheckCertificate {
		t.Errorf("another root: %+v", r.Checks)
	}
}

func TestParseAuthority(t *testing.T) {
	s := newInstance(t)
	key := testKey(t)
	leaf := s.leaf(workflow, -time.Minute, time.Minute, &key.PublicKey)
	for name, tc := range map[string]struct {
		text []byte
		ok   bool
	}{
		"root":                  {certificatePEM(s.caRoot), true},
		"root and intermediate": {append([]byte("some text\n"), certificatePEM(s.issuer, s.caRoot)...), true},
		"intermediate alone":    {certificatePEM(s.issuer), false},
		"leaf":                  {certificatePEM(s.caRoot, leaf), false},
		"empty":                 {nil, false},
		"key":                   {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), false},
		"garbage":               {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), false},
		"too large":             {make([]byte, trust.MaxKeyBytes+1), false},
	} {
		if _, err := trust.ParseAuthority(tc.text, nil); (err == nil) != tc.ok || err != nil && !errors.Is(err, verify.ErrAuthority) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewKeylessNeedsAll(t *testing.T) {
	root := newInstance(t).root()
	for _, who := range []trust.Identity{{}, {Issuer: "i"}, {Subject: "s"}} {
		if _, err := trust.NewKeyless(root, who); !errors.Is(err, verify.ErrNoIdentity) {
			t.Errorf("%+v: %v", who, err)
		}
	}
	if _, err := trust.NewKeyless(nil, workflow); !errors.Is(err, verify.ErrNoRoot) {
		t.Errorf("no root: %v", err)
	}
	if err := (&verify.Result{}).Err(); err == nil {
		t.Error("the zero result passes")
	}
	for _, text := range []string{"", "{}", `{"mediaType":"x"}`, `{"trustedRoot":{}}`, `{"mediaType":"a","mediaType":"b"}`} {
		if _, err := trust.ParseRoot([]byte(text)); !errors.Is(err, verify.ErrRoot) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
