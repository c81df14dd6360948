package verify_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// giantBits take some seconds where nothing bounds them; the time grows with the square.
const giantBits = 65536

const tooLarge = "an RSA key of 65536 bits, at most 8192"

// rsaKey is a public key that nobody has the private key of.
func rsaKey(t *testing.T, bits int) *rsa.PublicKey {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		t.Fatal(err)
	}
	return &rsa.PublicKey{N: n.SetBit(n.SetBit(n, 0, 1), bits-1, 1), E: 1<<31 - 1}
}

// anySignature signs with nonsense of the size of an RSA key's signatures.
type anySignature struct{ key *rsa.PublicKey }

func (a anySignature) Public() crypto.PublicKey { return a.key }

func (a anySignature) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	sig := make([]byte, (a.key.N.BitLen()+7)/8)
	sig[9] = 7
	return sig, nil
}

// forger makes certificates of keys that nobody has, with signatures that nobody made.
type forger struct {
	t   *testing.T
	key *rsa.PrivateKey
}

func newForger(t *testing.T) forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return forger{t, key}
}

// certificate is one of name's by issuer, whose key is of the given size.
func (f forger) certificate(name, issuer string, public *rsa.PublicKey, issuerBits int, authority bool) *x509.Certificate {
	f.t.Helper()
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		f.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: authority, BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA256WithRSA, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if !authority {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, &f.key.PublicKey, f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(f.splice(der, public, issuerBits))
	if err != nil {
		f.t.Fatal(err)
	}
	return cert
}

// splice puts another key and signature into a certificate.
func (f forger) splice(der []byte, public *rsa.PublicKey, issuerBits int) []byte {
	f.t.Helper()
	var c struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		f.t.Fatal(err)
	}
	old, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		f.t.Fatal(err)
	}
	key, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		f.t.Fatal(err)
	}
	tbs, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: bytes.Replace(c.TBS.Bytes, old, key, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	c.TBS = asn1.RawValue{FullBytes: tbs}
	c.Signature = asn1.BitString{Bytes: make([]byte, issuerBits/8), BitLength: issuerBits}
	c.Signature.Bytes[9] = 7
	if der, err = asn1.Marshal(c); err != nil {
		f.t.Fatal(err)
	}
	return der
}

// stamp is a timestamp with the certificate of a key, whose signature is nonsense.
func (f forger) stamp(cert *x509.Certificate, digest []byte) []byte {
	f.t.Helper()
	ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: digest, Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true}
	token, err := ts.CreateResponseWithOpts(cert, anySignature{cert.PublicKey.(*rsa.PublicKey)}, crypto.SHA256)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// withStamps replaces the timestamps of a bundle.
func withStamps(stamps ...[]byte) func(*protobundle.Bundle) {
	return func(b *protobundle.Bundle) {
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{}
		for _, stamp := range stamps {
			b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps = append(b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps,
				&protocommon.RFC3161SignedTimestamp{SignedTimestamp: stamp})
		}
	}
}

func withChain(certs ...*x509.Certificate) func(*protobundle.Bundle) {
	return func(b *protobundle.Bundle) {
		chain := &protocommon.X509CertificateChain{}
		for _, c := range certs {
			chain.Certificates = append(chain.Certificates, &protocommon.X509Certificate{RawBytes: c.Raw})
		}
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: chain}
	}
}

// withBody replaces the body of the log entry.
func withBody(kind, version, spec string) func(*protobundle.Bundle) {
	return func(b *protobundle.Bundle) {
		entry := b.VerificationMaterial.TlogEntries[0]
		entry.KindVersion = &protorekor.KindVersion{Kind: kind, Version: version}
		entry.CanonicalizedBody = []byte(`{"apiVersion":"` + version + `","kind":"` + kind + `","spec":` + spec + `}`)
	}
}

// response is a timestamp response around any token.
func response(t *testing.T, token []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Status struct{ Status int }
		Token  asn1.RawValue
	}{Token: asn1.RawValue{FullBytes: token}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// overlapping is ASN.1 whose elements reach out of those around them: its parser reads each of them twice, and all in them.
func overlapping(n int) []byte {
	var out []byte
	for ; n > 0; n-- {
		out = append([]byte{0x30, 2, 0x30, byte(len(out))}, out...)
	}
	return append([]byte{0x30, byte(len(out))}, out...)
}

// deep is ASN.1 of n elements, one in the other.
func deep(t *testing.T, n int) []byte {
	t.Helper()
	out := []byte{5, 0}
	for ; n > 0; n-- {
		var err error
		if out, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: out}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestBounds: a stranger's bundle may not choose how long it takes to refuse it. Each is refused by every anchor that looks at the part.
func TestBounds(t *testing.T) {
	s, f := newInstance(t), newForger(t)
	public := rsaKey(t, giantBits)
	leaf := f.certificate("leaf", "issuer", &f.key.PublicKey, giantBits, false)
	issuer := f.certificate("issuer", "issuer", public, giantBits, true)
	signer := f.certificate("leaf", "issuer", public, 2048, false)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signer.Raw})
	base := base64.StdEncoding.EncodeToString(text)
	digest := strings.Repeat("a", 64)
	sig := base64.StdEncoding.EncodeToString(make([]byte, giantBits/8))
	hashed := `{"data":{"hash":{"algorithm":"sha256","value":"` + digest + `"}},"signature":{"content":"` + sig + `","publicKey":{"content":"` + base + `"}}}`
	small := f.certificate("tsa", "issuer", &f.key.PublicKey, 2048, false)
	const certificate, stamp, log = verify.CheckCertificate, verify.CheckTimestamp, verify.CheckLog
	for name, tc := range map[string]struct {
		change func(*protobundle.Bundle)
		fails  string // the check of a keyless identity
		own    bool   // an authority of one's own refuses it as well
		says   string
	}{
		"giant signer":                 {withChain(signer), certificate, true, tooLarge},
		"giant issuer":                 {withChain(leaf, issuer), certificate, true, tooLarge},
		"giant timestamp":              {withStamps(f.stamp(f.certificate("tsa", "x", public, 2048, false), make([]byte, 32))), stamp, true, tooLarge},
		"giant timestamp beside small": {withStamps(f.stamp(small, make([]byte, 32)), f.stamp(f.certificate("tsa", "x", public, 2048, false), make([]byte, 32))), stamp, true, tooLarge},
		"overlapping ASN.1":            {withStamps(response(t, overlapping(26))), stamp, true, "asn1"},
		"deep ASN.1":                   {withStamps(response(t, deep(t, 1000))), stamp, true, "nested deeper than 32"},
		"giant key in a log entry":     {withBody("hashedrekord", "0.0.1", hashed), log, false, tooLarge},
		"envelope in a log entry":      {withBody("dsse", "0.0.1", `{"proposedContent":{"envelope":"{}","verifiers":["`+base+`"]}}`), log, false, `"proposedContent", which no log gives out`},
		"signatures in a log entry":    {withBody("intoto", "0.0.2", `{"content":{"envelope":{"payload":"e30=","payloadType":"x","signatures":[{}`+strings.Repeat(`,{}`, 8)+`]}}}`), log, false, "a list of 9, at most 8 are looked at"},
		"key as numbers":               {withBody("hashedrekord", "0.0.1", `{"signature":{"publicKey":{"content":[1,2]}}}`), log, false, "a list of numbers"},
		"two bodies in one":            {withBody("hashedrekord", "0.0.1", `{"data":1,"data":2}`), log, false, "duplicate key"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := attest.Parse(s.sign(keylessStatement, workflow, signing{change: tc.change}))
			if err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			r := s.root().Identify(b, verify.Options{})
			if r.Failed() != tc.fails || !strings.Contains(r.Err().Error(), tc.says) {
				t.Errorf("keyless: %q fails, want %q: %v", r.Failed(), tc.fails, r.Err())
			}
			own, err := trust.ParseAuthority(certificatePEM(s.caRoot), s.root())
			if err != nil {
				t.Fatal(err)
			}
			if r := own.Check(b, verify.Options{Now: time.Now()}); tc.own && !strings.Contains(r.Err().Error(), tc.says) {
				t.Errorf("authority: %v", r.Err())
			}
			if took := time.Since(started); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestBoundsOfKeys: what is verified with a key looks at timestamps and log entries when it is told to, and at nothing else.
func TestBoundsOfKeys(t *testing.T) {
	s, f := newInstance(t), newForger(t)
	stamp := f.stamp(f.certificate("tsa", "x", rsaKey(t, giantBits), 2048, false), make([]byte, 32))
	bundle, public := bare(t, s.sign(keylessStatement, workflow, signing{change: func(b *protobundle.Bundle) {
		s.chained()(b)
		withStamps(stamp)(b)
	}}))
	b, err := attest.Parse(bundle)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	if r := key.Check(b, verify.Options{}); r.Err() != nil {
		t.Errorf("the key alone: %v", r.Err())
	}
	for name, anchor := range map[string]verify.Anchor{"timestamped": trust.NewTimestampedKey(key, s.root()), "logged": trust.NewLoggedKey(key, s.root())} {
		if r := anchor.Check(b, verify.Options{}); r.Failed() != verify.CheckTimestamp || !strings.Contains(r.Err().Error(), tooLarge) {
			t.Errorf("%s: %q fails: %v", name, r.Failed(), r.Err())
		}
	}
}

// TestBoundsOfTimestamps: as many certificates as fit are looked at, and one signature of each timestamp.
func TestBoundsOfTimestamps(t *testing.T) {
	s, f := newInstance(t), newForger(t)
	cert := f.certificate("tsa", "issuer", &f.key.PublicKey, 2048, false)
	one := f.stamp(cert, make([]byte, 32))
	key := testKey(t)
	leaf := s.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "tsa"}}, -time.Hour, time.Hour, s.caRoot, &key.PublicKey, s.caRootKey)
	ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: make([]byte, 32), Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true, Certificates: []*x509.Certificate{s.caRoot}}
	two, err := ts.CreateResponseWithOpts(leaf, key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	most := make([][]byte, 32)
	for i := range most {
		most[i] = one
	}
	for name, tc := range map[string]struct {
		stamps [][]byte
		says   string
	}{
		"as many as are looked at": {most, "unable to verify signed timestamps"},
		"one certificate more":     {append(most[:31:31], two), "more than 32 certificates in timestamps"},
	} {
		b, err := attest.Parse(s.sign(keylessStatement, workflow, signing{change: withStamps(tc.stamps...)}))
		if err != nil {
			t.Fatal(err)
		}
		if r := s.root().Identify(b, verify.Options{}); r.Failed() != verify.CheckTimestamp || !strings.Contains(r.Err().Error(), tc.says) {
			t.Errorf("%s: %q fails: %v", name, r.Failed(), r.Err())
		}
	}
}

// TestBoundsOfTrustedKeys: nor is anything verified with such a key when the user gives it.
func TestBoundsOfTrustedKeys(t *testing.T) {
	f := newForger(t)
	public := rsaKey(t, giantBits)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	authority := certificatePEM(f.certificate("ca", "ca", public, giantBits, true))
	if _, err := trust.ParseKey(key); !errors.Is(err, verify.ErrKey) || !strings.Contains(err.Error(), tooLarge) {
		t.Errorf("ParseKey: %v", err)
	}
	if _, err := trust.ParseAuthority(authority, nil); !errors.Is(err, verify.ErrAuthority) || !strings.Contains(err.Error(), tooLarge) {
		t.Errorf("ParseAuthority: %v", err)
	}
	if _, err := trust.ParseTimestampAuthority(authority); !errors.Is(err, verify.ErrAuthority) || !strings.Contains(err.Error(), tooLarge) {
		t.Errorf("ParseTimestampAuthority: %v", err)
	}
	for file, text := range map[string]string{"key": "key: file", "certificate": "certificate: {authority: file, anySubject: true}"} {
		data := map[string][]byte{"key": key, "certificate": authority}[file]
		_, err := policies.Load([]byte("apiVersion: mlseal.dev/policy/v1\nname: p\nsigners: {a: {"+text+"}}\nrequire: [{id: signed, signature: {by: [a]}}]\n"),
			policies.LoadOptions{ReadFile: func(string) ([]byte, error) { return data, nil }})
		if !errors.Is(err, policies.ErrPolicy) || !strings.Contains(err.Error(), tooLarge) {
			t.Errorf("a policy with a %s: %v", file, err)
		}
	}
}

// TestTimestampWithoutCertificate: the authority's own certificate stands in the timestamp or in the file.
func TestTimestampWithoutCertificate(t *testing.T) {
	s := newInstance(t)
	key := testKey(t)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := s.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "tsa"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}}, -time.Hour, time.Hour, s.caRoot, &key.PublicKey, s.caRootKey)
	stamp := func(sig []byte) []byte {
		digest := crypto.SHA256.New()
		digest.Write(sig)
		ts := timestamp.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: digest.Sum(nil), Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 2, 3}}
		token, err := ts.CreateResponseWithOpts(leaf, key, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	bundle, public := bare(t, s.sign(keylessStatement, workflow, signing{timestamp: stamp, change: s.chained()}))
	b, err := attest.Parse(bundle)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := trust.ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		file []byte
		says string
	}{
		"root alone":      {certificatePEM(s.caRoot), "add the timestamp authority's own certificate to the file"},
		"with the leaf's": {certificatePEM(s.caRoot, leaf), ""},
	} {
		tsa, err := trust.ParseTimestampAuthority(tc.file)
		if err != nil {
			t.Fatal(err)
		}
		err = trust.NewTimestampedKey(parsed, tsa).Check(b, verify.Options{}).Err()
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}
