package verify_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// certificatePolicy names signers, each with its definition, whose authority is read from ca.pem and the policy's own trusted root, if
// any, from root.json.
func certificatePolicy(t *testing.T, authority, trustedRoot []byte, signers ...string) *policies.Policy {
	t.Helper()
	text := "apiVersion: mlseal.dev/policy/v1\nname: p\nsigners:\n"
	var names []string
	for i, definition := range signers {
		names = append(names, fmt.Sprintf("s%d", i))
		text += fmt.Sprintf("  s%d: {%s}\n", i, definition)
	}
	text += fmt.Sprintf("require: [{id: signed, signature: {by: [%s]}}]\n", strings.Join(names, ", "))
	if trustedRoot != nil {
		text += "trust: {root: root.json}\n"
	}
	p, err := policies.Load([]byte(text), policies.LoadOptions{ReadFile: func(name string) ([]byte, error) {
		if name == "root.json" {
			return trustedRoot, nil
		}
		return authority, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	trainer   = `certificate: {authority: ca.pem, subject: "CN=trainer,O=Acme"}`
	trainerAt = `certificate: {authority: ca.pem, san: trainer@acme.example}`
	anybody   = `certificate: {authority: ca.pem, anySubject: true}`
)

// named makes leaves of a distinguished name, its parts in the certificate's order, and of subject alternative names.
func named(parts []string, sans ...string) func(*x509.Certificate) {
	types := map[string]asn1.ObjectIdentifier{"CN": {2, 5, 4, 3}, "O": {2, 5, 4, 10}}
	return func(c *x509.Certificate) {
		c.URIs, c.EmailAddresses, c.Subject = nil, nil, pkix.Name{}
		for _, part := range parts {
			key, value, _ := strings.Cut(part, "=")
			c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: types[key], Value: value})
		}
		for _, san := range sans {
			if u, err := url.Parse(san); err == nil && u.Scheme != "" {
				c.URIs = append(c.URIs, u)
			} else {
				c.EmailAddresses = append(c.EmailAddresses, san)
			}
		}
	}
}

var acme = []string{"O=Acme", "CN=trainer"}

// own signs with a certificate of the instance's authority, as other software does: no log, its issuer in the bundle.
func (s *instance) own(leaf func(*x509.Certificate), how signing) []byte {
	s.t.Helper()
	signer := *s
	signer.template = leaf
	change := how.change
	how.change = func(b *protobundle.Bundle) {
		if change != nil {
			change(b)
		}
		if b.VerificationMaterial.GetX509CertificateChain() == nil {
			s.chained()(b)
		}
	}
	return signer.sign(keylessStatement, workflow, how)
}

// TestCertificateHostile are cases 18, 20, 21 and 25 of the adversarial list for certificates of one's own authority.
func TestCertificateHostile(t *testing.T) {
	s, other := newInstance(t), newInstance(t) // both authorities have the same names
	lapsed := newInstance(t)
	*lapsed = *s
	lapsed.newIssuer(-2*time.Hour, -time.Hour)
	now, later := time.Now(), time.Now().AddDate(1, 0, 0)
	plain := signing{noTimestamp: true}
	encryption := func(c *x509.Certificate) {
		named(acme)(c)
		c.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	server := func(c *x509.Certificate) {
		named(acme)(c)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	payload := func(b *protobundle.Bundle) {
		b.GetDsseEnvelope().Payload = []byte(strings.Replace(keylessStatement, `"m"`, `"x"`, 1))
	}
	at := func(sans ...string) func(*x509.Certificate) { return named(nil, sans...) }
	past := signing{from: -time.Hour, until: -time.Minute}
	for name, tc := range map[string]struct {
		bundle []byte
		signer string
		now    time.Time
		code   policies.Code // empty when it must pass
		says   string
	}{
		"the trainer":                     {s.own(named(acme), plain), trainer, now, "", ""},
		"the trainer, by email":           {s.own(named(acme, "trainer@acme.example"), plain), trainerAt, now, "", ""},
		"anybody":                         {s.own(at("eve@acme.example"), plain), anybody, now, "", ""},
		"18 subject with a part before":   {s.own(named([]string{"O=Acme", "CN=trainer", "CN=x"}), plain), trainer, now, policies.SignerNotTrusted, `neither the subject "CN=x,CN=trainer,O=Acme"`},
		"18 subject with a part behind":   {s.own(named([]string{"O=Evil", "O=Acme", "CN=trainer"}), plain), trainer, now, policies.SignerNotTrusted, `"CN=trainer,O=Acme,O=Evil"`},
		"18 two common names":             {s.own(named([]string{"O=Acme", "CN=mallory", "CN=trainer"}), plain), trainer, now, policies.SignerNotTrusted, `"CN=trainer,CN=mallory,O=Acme"`},
		"18 subject in another order":     {s.own(named([]string{"CN=trainer", "O=Acme"}), plain), trainer, now, policies.SignerNotTrusted, `"O=Acme,CN=trainer"`},
		"18 common name with a comma":     {s.own(named([]string{"CN=trainer,O=Acme"}), plain), trainer, now, policies.SignerNotTrusted, `trainer\\,O=Acme`},
		"18 subject shorter":              {s.own(named([]string{"CN=trainer"}), plain), trainer, now, policies.SignerNotTrusted, "neither"},
		"18 subject as an email address":  {s.own(at("CN=trainer,O=Acme"), plain), trainer, now, policies.SignerNotTrusted, "neither"},
		"18 email address as a subject":   {s.own(named([]string{"CN=trainer@acme.example"}), plain), trainerAt, now, policies.SignerNotTrusted, "neither"},
		"18 email address with a suffix":  {s.own(at("trainer@acme.example.evil"), plain), trainerAt, now, policies.SignerNotTrusted, "neither"},
		"18 one of two email addresses":   {s.own(at("trainer@acme.example", "eve@acme.example"), plain), trainerAt, now, policies.SignerNotTrusted, `san ""`},
		"18 an email address and a URI":   {s.own(at("trainer@acme.example", "https://acme.example/"), plain), trainerAt, now, policies.SignerNotTrusted, `san ""`},
		"20 signed in time":               {s.own(named(acme), signing{}), trainer, later, "", ""},
		"20 no trusted time":              {s.own(named(acme), plain), trainer, later, policies.SignerNotTrusted, "expired"},
		"20 time of a stranger":           {s.own(named(acme), signing{timestamp: other.strangersStamp}), trainer, now, policies.SignerNotTrusted, "no trusted time"},
		"20 no clock":                     {s.own(named(acme), plain), trainer, time.Time{}, policies.SignerNotTrusted, "no time was given"},
		"21 expired at signing":           {s.own(named(acme), past), trainer, now, policies.SignerNotTrusted, "expired"},
		"21 expired at signing, no stamp": {s.own(named(acme), signing{noTimestamp: true, from: past.from, until: past.until}), trainer, now, policies.SignerNotTrusted, "expired"},
		"21 not yet valid":                {s.own(named(acme), signing{noTimestamp: true, from: time.Minute, until: time.Hour / 2}), trainer, now, policies.SignerNotTrusted, "not yet valid"},
		"21 expired intermediate":         {lapsed.own(named(acme), plain), trainer, now, policies.SignerNotTrusted, "expired"},
		"25 another authority":            {other.own(named(acme), plain), trainer, now, policies.SignerNotTrusted, "unknown authority"},
		"25 another authority, anybody":   {other.own(named(acme), plain), anybody, now, policies.SignerNotTrusted, "unknown authority"},
		"25 its root comes along":         {other.own(named(acme), signing{noTimestamp: true, change: other.chained(other.caRoot)}), trainer, now, policies.SignerNotTrusted, "unknown authority"},
		"25 our certificates come along":  {other.own(named(acme), signing{noTimestamp: true, change: other.chained(s.issuer, s.caRoot)}), trainer, now, policies.SignerNotTrusted, "unknown authority"},
		"our root comes along":            {s.own(named(acme), signing{noTimestamp: true, change: s.chained(s.caRoot)}), trainer, now, "", ""},
		"a certificate for encryption":    {s.own(encryption, plain), trainer, now, policies.SignerNotTrusted, "its key usage does not allow signatures"},
		"a certificate for servers":       {s.own(server, plain), trainer, now, policies.SignerNotTrusted, "incompatible key usage"},
		"changed payload":                 {s.own(named(acme), signing{noTimestamp: true, change: payload}), trainer, now, policies.SignatureInvalid, "does not verify"},
		"changed payload of a stranger":   {other.own(named(acme), signing{noTimestamp: true, change: payload}), trainer, now, policies.SignerNotTrusted, "authority of s0"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &verify.Verifier{Trust: trust.New(s.root()), Now: tc.now}
			d := decideKeyless(t, v, certificatePolicy(t, certificatePEM(s.caRoot), nil, tc.signer), tc.bundle)
			r := d.Requirements[0]
			if (d.Err() == nil) != (tc.code == "") || r.Code != tc.code || !strings.Contains(r.Detail, tc.says) {
				t.Errorf("%v: code %q, want %q: %s", d.Err(), r.Code, tc.code, r.Detail)
			}
		})
	}
}

// TestCertificateTime: only a trusted timestamp dates a statement; whose it must be is the policy's trusted root to say, or else the
// verifier's.
func TestCertificateTime(t *testing.T) {
	s, other := newInstance(t), newInstance(t)
	bundle := s.own(named(acme), signing{})
	ca := certificatePEM(s.caRoot)
	for name, tc := range map[string]struct {
		policy, verifier *instance
		source           string // empty when nothing but the clock may be asked
		denied           bool
	}{
		"the verifier's":             {nil, s, verify.FromTimestampAuthority, false},
		"the policy's":               {s, nil, verify.FromTimestampAuthority, false},
		"the policy's comes first":   {s, other, verify.FromTimestampAuthority, false},
		"another than the policy's":  {other, s, "", true},
		"nobody's":                   {nil, nil, "claimed", false},
		"another of the verifier's ": {nil, other, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			var root *trust.Root
			if tc.verifier != nil {
				root = tc.verifier.root()
			}
			var text []byte
			if tc.policy != nil {
				text = tc.policy.trustedRoot()
			}
			v := &verify.Verifier{Trust: trust.New(root), Now: time.Now()}
			d := decideKeyless(t, v, certificatePolicy(t, ca, text, trainer), bundle)
			if (d.Err() != nil) != tc.denied || !tc.denied && d.Requirements[0].Counted[0].TimeSource != tc.source {
				t.Errorf("%v %+v", d.Err(), d.Requirements[0])
			}
		})
	}
	v := &verify.Verifier{Trust: trust.New(nil), Now: time.Now()}
	if _, err := v.Verify(context.Background(), verify.Target{}, nil, certificatePolicy(t, ca, []byte("{}"), trainer)); !errors.Is(err, policies.ErrPolicy) {
		t.Errorf("a trusted root that is none: %v", err)
	}
}

// TestKeylessAndCertificate: both kinds of signers in one policy, and several names of one certificate.
func TestKeylessAndCertificate(t *testing.T) {
	s, company := newInstance(t), newInstance(t)
	keyless := fmt.Sprintf("keyless: {issuer: %q, subject: %q}", workflow.Issuer, workflow.Subject)
	byKeyless := s.sign(keylessStatement, workflow, signing{})
	byOwn := company.own(named(acme, "trainer@acme.example"), signing{noTimestamp: true})
	forged := company.own(named(acme), signing{noTimestamp: true, change: func(b *protobundle.Bundle) {
		b.GetDsseEnvelope().Payload = []byte(strings.Replace(keylessStatement, `"m"`, `"x"`, 1))
	}})
	// Under the trusted root this bundle is not usable at all; for the authority a log entry is not there.
	withEntry := company.own(named(acme), signing{noTimestamp: true, change: func(b *protobundle.Bundle) {
		company.chained()(b)
		b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{{}}
	}})
	for name, tc := range map[string]struct {
		bundle    []byte
		authority *instance
		signers   []string
		want      []string
		code      policies.Code
	}{
		"keyless":                    {byKeyless, company, []string{keyless, trainer}, []string{"s0"}, ""},
		"certificate":                {byOwn, company, []string{keyless, trainer}, []string{"s1"}, ""},
		"certificate of three names": {byOwn, company, []string{trainer, trainerAt, anybody, keyless}, []string{"s0", "s1", "s2"}, ""},
		"both at once":               {byKeyless, s, []string{keyless, anybody}, []string{"s0", "s1"}, ""},
		"unusable for the other":     {withEntry, company, []string{keyless, trainer}, []string{"s1"}, ""},
		"of nobody":                  {byOwn, s, []string{keyless, trainer}, nil, policies.SignerNotTrusted},
		"forged":                     {forged, company, []string{keyless, trainer}, nil, policies.SignatureInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			v := &verify.Verifier{Trust: trust.New(s.root()), Now: time.Now()}
			d := decideKeyless(t, v, certificatePolicy(t, certificatePEM(tc.authority.caRoot, tc.authority.issuer), nil, tc.signers...), tc.bundle)
			r := d.Requirements[0]
			if r.Code != tc.code || tc.code == "" && !slices.Equal(r.Counted[0].Signers, tc.want) {
				t.Errorf("%+v", r)
			}
		})
	}
	v := &verify.Verifier{Trust: trust.New(s.root()), Now: time.Now()}
	if d := decideKeyless(t, v, keylessPolicy(t, nil, signedRule), byKeyless, byOwn); d.Err() != nil {
		t.Errorf("a strange certificate beside a good one: %v", d.Err())
	}
}

// TestCertificateVectorsAtTheGate: directories that model-signing signed with a certificate, judged by a policy. Its legacy form
// is for verify.Tree alone.
func TestCertificateVectorsAtTheGate(t *testing.T) {
	for name, passes := range map[string]bool{"v0.2.0-certificate": false, "v0.3.1-certificate": true, "v1.0.0-certificate": true} {
		fsys, bundle, opts := vector{name: name}.load(t)
		m, err := manifest.Build(context.Background(), fsys, manifest.Options{Ignore: append(opts.Ignore, opts.Signature)})
		if err != nil {
			t.Fatal(err)
		}
		target := verify.Target{Subject: policies.Subject{Name: name, Digests: map[string]string{"dirHash": m.DirHash()}}}
		v := &verify.Verifier{Trust: trust.New(nil), Now: certificateTime}
		for definition, right := range map[string]bool{`certificate: {authority: ca.pem, subject: "CN=intermediate-ca"}`: true, `certificate: {authority: ca.pem, subject: "CN=signing-key"}`: false} {
			policy := certificatePolicy(t, vectorKey(t, "ca-cert.pem"), nil, definition)
			d, err := v.Verify(context.Background(), target, []verify.Found{{Origin: "model.sig", Data: bundle}}, policy)
			if err != nil || (d.Err() == nil) != (passes && right) {
				t.Errorf("%s, %s: %v %+v", name, definition, err, d.Requirements)
			}
		}
	}
}
