package verify_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

var workflow = trust.Identity{Issuer: "https://token.actions.githubusercontent.com", Subject: "https://github.com/acme/llm/.github/workflows/train.yml@refs/heads/main"}

const keylessDigest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var keylessStatement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"` + keylessDigest + `"}}],` +
	`"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{"timestamp":"2001-01-01T00:00:00Z"}}`

// keylessPolicy names the workflow, and root.json for the trusted root when there is one.
func keylessPolicy(t *testing.T, trustedRoot []byte, rules string) *policies.Policy {
	t.Helper()
	text := fmt.Sprintf("apiVersion: mlseal.dev/policy/v1\nname: p\nsigners:\n  ci: {keyless: {issuer: %q, subject: %q}}\nrequire:\n%s", workflow.Issuer, workflow.Subject, rules)
	if trustedRoot != nil {
		text += "\ntrust: {root: root.json}\n"
	}
	p, err := policies.Load([]byte(text), policies.LoadOptions{PredicateType: attest.PredicateType, ReadFile: func(string) ([]byte, error) { return trustedRoot, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decideKeyless(t *testing.T, v *verify.Verifier, p *policies.Policy, bundles ...[]byte) *policies.Decision {
	t.Helper()
	var found []verify.Found
	for i, b := range bundles {
		found = append(found, verify.Found{Origin: fmt.Sprintf("bundle %d", i), Data: b})
	}
	d, err := v.Verify(context.Background(), verify.Target{Subject: policies.Subject{Name: "m", Digests: map[string]string{"sha256": keylessDigest}}}, found, p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const signedRule = "  - {id: signed, signature: {by: [ci]}}"

func TestKeylessGate(t *testing.T) {
	s := newInstance(t)
	good := s.sign(keylessStatement, workflow, signing{})
	v := &verify.Verifier{Trust: trust.New(nil), Now: time.Now()}
	if d := decideKeyless(t, v, keylessPolicy(t, s.trustedRoot(), signedRule), good); d.Err() != nil {
		t.Fatalf("%v %+v", d.Err(), d.Requirements)
	}
	// The verifier's root serves where the policy names none, and the verified time is what ages are measured by.
	v.Trust = trust.New(s.root())
	aged := keylessPolicy(t, nil, "  - {id: signed, signature: {by: [ci]}, maxAge: 1h}")
	if d := decideKeyless(t, v, aged, good); d.Err() != nil {
		t.Errorf("%v %+v", d.Err(), d.Requirements)
	}
	later := &verify.Verifier{Trust: v.Trust, Now: time.Now().Add(2 * time.Hour)}
	if d := decideKeyless(t, later, aged, good); d.Err() == nil || d.Requirements[0].Code != policies.EvidenceTooOld {
		t.Errorf("two hours later: %+v", d.Requirements)
	}
	_, err := (&verify.Verifier{Trust: trust.New(nil), Now: time.Now()}).Verify(context.Background(), verify.Target{}, nil, aged)
	if !errors.Is(err, verify.ErrNoRoot) || errors.Is(err, policies.ErrPolicy) {
		t.Errorf("no trusted root: %v", err)
	}
	_, err = v.Verify(context.Background(), verify.Target{}, nil, keylessPolicy(t, []byte("{}"), signedRule))
	if !errors.Is(err, policies.ErrPolicy) {
		t.Errorf("a trusted root that is none: %v", err)
	}
}

// TestKeylessHostile are cases 18, 20 to 23 and 25 of the adversarial list: each denied, by the named check.
func TestKeylessHostile(t *testing.T) {
	s, other := newInstance(t), newInstance(t)
	hour := -time.Hour / 2
	old := signing{from: hour - time.Minute, until: hour + time.Minute, logged: hour, noTimestamp: true}
	noPromise := func(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry {
		e.InclusionPromise = nil
		return e
	}
	var another *protorekor.TransparencyLogEntry
	s.sign(strings.Replace(keylessStatement, `"m"`, `"n"`, 1), workflow, signing{entryOf: func(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry {
		another = e
		return e
	}})
	twice := func(b *protobundle.Bundle) {
		b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, b.VerificationMaterial.TlogEntries[0])
	}
	payload := func(b *protobundle.Bundle) {
		b.GetDsseEnvelope().Payload = []byte(strings.Replace(keylessStatement, `"m"`, `"x"`, 1))
	}
	evil := trust.Identity{Issuer: workflow.Issuer, Subject: workflow.Subject + ".evil"}
	issuer := trust.Identity{Issuer: workflow.Issuer + ".evil", Subject: workflow.Subject}
	for name, tc := range map[string]struct {
		bundle []byte
		fails  string // the check; empty when it must pass
		code   policies.Code
	}{
		"18 branch main.evil":             {s.sign(keylessStatement, evil, signing{}), verify.CheckIdentity, policies.SignerNotTrusted},
		"18 another issuer":               {s.sign(keylessStatement, issuer, signing{}), verify.CheckIdentity, policies.SignerNotTrusted},
		"20 signed in time":               {s.sign(keylessStatement, workflow, old), "", ""},
		"20 no trusted time":              {s.sign(keylessStatement, workflow, signing{noTimestamp: true, entryOf: noPromise}), verify.CheckCertificate, policies.SignerNotTrusted},
		"22 timestamp outside validity":   {s.sign(keylessStatement, workflow, signing{from: old.from, until: old.until, logged: hour}), verify.CheckCertificate, policies.SignerNotTrusted},
		"22 log time outside validity":    {s.sign(keylessStatement, workflow, signing{logged: hour}), verify.CheckLog, policies.SignerNotTrusted},
		"22 one entry twice":              {s.sign(keylessStatement, workflow, signing{change: twice}), verify.CheckLog, policies.SignerNotTrusted},
		"23 entry of another payload":     {s.sign(keylessStatement, workflow, signing{entryOf: func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry { return another }}), verify.CheckLog, policies.SignerNotTrusted},
		"changed payload":                 {s.sign(keylessStatement, workflow, signing{change: payload}), verify.CheckSignature, policies.SignatureInvalid},
		"25 chain of another authority":   {other.sign(keylessStatement, workflow, signing{}), verify.CheckLog, policies.SignerNotTrusted},
		"25 with our log and timestamp":   {borrowed(s, other), verify.CheckCertificate, policies.SignerNotTrusted},
		"21 timestamp of a non-authority": {s.sign(keylessStatement, workflow, signing{timestamp: other.strangersStamp}), verify.CheckTimestamp, policies.SignerNotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			checkKeyless(t, s.root(), tc.bundle, tc.fails)
			d := decideKeyless(t, &verify.Verifier{Trust: trust.New(s.root()), Now: time.Now()}, keylessPolicy(t, nil, signedRule), tc.bundle)
			if (d.Err() == nil) != (tc.code == "") {
				t.Fatalf("%v %+v", d.Err(), d.Requirements)
			}
			if got := d.Requirements[0].Code; got != tc.code {
				t.Errorf("code %s, want %s: %+v", got, tc.code, d.Requirements[0])
			}
		})
	}
}

// checkKeyless wants the bundle to fail exactly the named check, other than those which cannot be made then.
func checkKeyless(t *testing.T, trusted *trust.Root, bundle []byte, fails string) {
	t.Helper()
	b, err := attest.Parse(bundle)
	if err != nil {
		t.Fatal(err)
	}
	r := keyless(t, trusted, workflow).Check(b, verify.Options{})
	failed := map[string]bool{}
	for _, c := range r.Checks {
		if c.Status == verify.Failed {
			failed[c.Name] = true
		}
	}
	if len(r.Checks) != 6 || failed[fails] != (fails != "") || len(failed) > 0 && fails == "" || (r.Err() == nil) != (fails == "") {
		t.Errorf("failed %v, want %q: %v\n%+v", failed, fails, r.Err(), r.Checks)
	}
	if (r.Signer == "") != (fails != "") || r.Time.IsZero() != (fails != "") {
		t.Errorf("signer %q at %s although %q failed", r.Signer, r.Time, fails)
	}
}

// TestExpiredIntermediate is the first half of case 21: the certificate is valid, its issuer is not any more.
func TestExpiredIntermediate(t *testing.T) {
	s := newInstance(t)
	s.newIssuer(-2*time.Hour, -time.Hour)
	checkKeyless(t, s.root(), s.sign(keylessStatement, workflow, signing{}), verify.CheckCertificate)
}

// TestTimestampAuthorityWithoutCriticalUsage is the second half of case 21 (RFC 3161 section 2.3).
func TestTimestampAuthorityWithoutCriticalUsage(t *testing.T) {
	for critical, fails := range map[bool]string{true: "", false: verify.CheckTimestamp} {
		s := newInstance(t)
		stamp := s.newTSA(critical)
		checkKeyless(t, s.root(), s.sign(keylessStatement, workflow, signing{timestamp: stamp}), fails)
	}
}

// TestUnloggedCertificate: a certificate without an SCT of a known log.
func TestUnloggedCertificate(t *testing.T) {
	s := newInstance(t)
	trusted := s.root()
	s.ctKey = testKey(t)
	checkKeyless(t, trusted, s.sign(keylessStatement, workflow, signing{}), verify.CheckSCT)
}

// TestChainInKeylessBundle: versions 0.1 and 0.2 list a chain; a root in it is refused, whoever it is.
func TestChainInKeylessBundle(t *testing.T) {
	s := newInstance(t)
	older := func(more ...*x509.Certificate) func(*protobundle.Bundle) {
		return func(b *protobundle.Bundle) {
			entries := b.VerificationMaterial.TlogEntries
			s.chained(more...)(b)
			b.VerificationMaterial.TlogEntries = entries
			b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.2"
		}
	}
	checkKeyless(t, s.root(), s.sign(keylessStatement, workflow, signing{change: older()}), "")
	checkKeyless(t, s.root(), s.sign(keylessStatement, workflow, signing{change: older(s.caRoot)}), verify.CheckCertificate)
}

// TestMessageBundles: a bundle that signs a message holds no statement, for the tree and for the gate.
func TestMessageBundles(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "sigstore", "bundle-verify", "happy-path-v0.3-new-mediaType", "bundle.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := verify.Tree(context.Background(), fstest.MapFS{"a": {}}, data, publicVectorKey(t), verify.TreeOptions{})
	if !errors.Is(err, verify.ErrFailed) || !errors.Is(err, attest.ErrBundle) || !strings.Contains(r.Checks[0].Detail, "signs a message") {
		t.Errorf("%v %+v", err, r.Checks)
	}
	d := decideKeyless(t, &verify.Verifier{Trust: trust.New(newInstance(t).root()), Now: time.Now()}, keylessPolicy(t, nil, signedRule), data)
	if d.Err() == nil || d.Requirements[0].NearMisses[0].Code != policies.StatementUnusable {
		t.Errorf("%+v", d.Requirements)
	}
}

// borrowed is a bundle of other's certificate authority with entry and timestamp of s.
func borrowed(s, other *instance) []byte {
	mixed := *other
	mixed.virtual = s.virtual
	return mixed.sign(keylessStatement, workflow, signing{})
}

// strangersStamp is a timestamp of this instance's authority.
func (s *instance) strangersStamp(sig []byte) []byte { return s.stamp(sig, nil) }

// newTSA replaces the instance's timestamp authority by one whose certificate has the timestamping usage, critical
// or not.
func (s *instance) newTSA(critical bool) func(sig []byte) []byte {
	s.t.Helper()
	key := testKey(s.t)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		s.t.Fatal(err)
	}
	leaf := s.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "tsa"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: usage}}}, -time.Hour, time.Hour, s.caRoot, &key.PublicKey, s.caRootKey)
	s.tsa = []root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{Root: s.caRoot, Leaf: leaf, URI: "https://tsa.test", ValidityPeriodStart: time.Now().Add(-time.Hour)}}
	return func(sig []byte) []byte {
		h := crypto.SHA256.New()
		h.Write(sig)
		ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: h.Sum(nil), Time: time.Now(),
			Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: true}
		token, err := ts.CreateResponseWithOpts(leaf, key, crypto.SHA256)
		if err != nil {
			s.t.Fatal(err)
		}
		return token
	}
}
