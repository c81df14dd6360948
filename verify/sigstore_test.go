package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
)

// instance is a Sigstore of the tests' own: sigstore-go's virtual log and timestamp authority, and a
// certificate authority whose certificates carry an SCT, which the virtual one's do not.
type instance struct {
	t         *testing.T
	virtual   *ca.VirtualSigstore
	caRoot    *x509.Certificate
	caRootKey crypto.Signer
	issuer    *x509.Certificate // the intermediate
	issuerKey *ecdsa.PrivateKey
	ctKey     *ecdsa.PrivateKey
	tsa       []root.TimestampingAuthority
	usage     x509.KeyUsage             // of leaves
	template  func(c *x509.Certificate) // changes leaves before they are issued; may be nil
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	s := &instance{t: t, ctKey: testKey(t), usage: x509.KeyUsageDigitalSignature}
	var err error
	if s.virtual, err = ca.NewVirtualSigstore(); err != nil {
		t.Fatal(err)
	}
	if s.caRoot, s.caRootKey, err = ca.GenerateRootCa(); err != nil {
		t.Fatal(err)
	}
	s.tsa = s.virtual.TimestampingAuthorities()
	s.newIssuer(-4*time.Hour, time.Hour)
	return s
}

func testKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newIssuer makes another intermediate, valid from and until now plus the durations.
func (s *instance) newIssuer(from, until time.Duration) {
	s.t.Helper()
	s.issuerKey = testKey(s.t)
	s.issuer = s.certificate(&x509.Certificate{Subject: pkix.Name{CommonName: "test-intermediate"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, from, until, s.caRoot, &s.issuerKey.PublicKey, s.caRootKey)
}

func (s *instance) certificate(c *x509.Certificate, from, until time.Duration, parent *x509.Certificate, public, signer any) *x509.Certificate {
	s.t.Helper()
	c.SerialNumber = big.NewInt(7)
	c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(until)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, signer)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// leaf issues a certificate with an SCT of the instance's log.
func (s *instance) leaf(who trust.Identity, from, until time.Duration, public *ecdsa.PublicKey) *x509.Certificate {
	s.t.Helper()
	c := x509.Certificate{KeyUsage: s.usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(who.Issuer)}}}
	if u, err := url.Parse(who.Subject); err == nil && u.Scheme != "" {
		c.URIs = []*url.URL{u}
	} else {
		c.EmailAddresses = []string{who.Subject}
	}
	if s.template != nil {
		s.template(&c)
	}
	precertificate := c
	unlogged := s.certificate(&precertificate, from, until, s.issuer, public, s.issuerKey)
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: s.sct(unlogged.RawTBSCertificate)})
	c.SerialNumber, c.NotBefore, c.NotAfter = unlogged.SerialNumber, unlogged.NotBefore, unlogged.NotAfter
	der, err := x509.CreateCertificate(rand.Reader, &c, s.issuer, public, s.issuerKey)
	if err != nil {
		s.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert
}

// sct is the list of one SCT (RFC 6962 section 3.3) over a certificate without it.
func (s *instance) sct(tbs []byte) []byte {
	s.t.Helper()
	public, err := x509.MarshalPKIXPublicKey(&s.ctKey.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: sha256.Sum256(public)}, Timestamp: uint64(time.Now().UnixMilli())}
	entry := ct.LogEntry{Leaf: ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
		Timestamp: sct.Timestamp, EntryType: ct.PrecertLogEntryType,
		PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(s.issuer.RawSubjectPublicKeyInfo), TBSCertificate: tbs}}}}
	input, err := ct.SerializeSCTSignatureInput(sct, entry)
	if err != nil {
		s.t.Fatal(err)
	}
	signature, err := tls.CreateSignature(*s.ctKey, tls.SHA256, input)
	if err != nil {
		s.t.Fatal(err)
	}
	sct.Signature = ct.DigitallySigned(signature)
	one, err := tls.Marshal(sct)
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := tls.Marshal(ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: one}}})
	if err != nil {
		s.t.Fatal(err)
	}
	value, err := asn1.Marshal(list)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// trustedRoot is what the instance's users trust.
func (s *instance) trustedRoot() []byte {
	s.t.Helper()
	public, err := x509.MarshalPKIXPublicKey(&s.ctKey.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	id := sha256.Sum256(public)
	ctLog := &root.TransparencyLog{BaseURL: "https://ct.test", ID: id[:], ValidityPeriodStart: time.Now().Add(-time.Hour), HashFunc: crypto.SHA256,
		PublicKey: &s.ctKey.PublicKey, SignatureHashFunc: crypto.SHA256}
	rekor := s.virtual.RekorLogs()
	for key, log := range rekor {
		log.ID, _ = hex.DecodeString(key) // the virtual one has the hexadecimal text there
	}
	fulcio := &root.FulcioCertificateAuthority{Root: s.caRoot, Intermediates: []*x509.Certificate{s.issuer}, ValidityPeriodStart: time.Now().Add(-5 * time.Hour), URI: "https://fulcio.test"}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{fulcio},
		map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): ctLog}, s.tsa, rekor)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := trusted.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func (s *instance) root() *trust.Root {
	s.t.Helper()
	r, err := trust.ParseRoot(s.trustedRoot())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// signing is how a statement is signed. The zero value is a good one.
type signing struct {
	from, until time.Duration // validity of the certificate; -5 to 5 minutes
	logged      time.Duration // the log's time; now
	noTimestamp bool
	timestamp   func(sig []byte) []byte                                                 // of another authority
	change      func(*protobundle.Bundle)                                               // before it is written
	entryOf     func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry // the log entry to staple
}

// sign makes the bundle of a keyless signature over the statement.
func (s *instance) sign(statement string, who trust.Identity, how signing) []byte {
	s.t.Helper()
	if how.from == 0 && how.until == 0 {
		how.from, how.until = -5*time.Minute, 5*time.Minute
	}
	key := testKey(s.t)
	leaf := s.leaf(who, how.from, how.until, &key.PublicKey)
	digest := sha256.Sum256(dsse.PAE(attest.PayloadType, []byte(statement)))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		s.t.Fatal(err)
	}
	envelope := &dsse.Envelope{PayloadType: attest.PayloadType, Payload: base64.StdEncoding.EncodeToString([]byte(statement)),
		Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}}}
	logged, err := s.virtual.GenerateTlogEntry(leaf, envelope, sig, time.Now().Add(how.logged).Unix(), true)
	if err != nil {
		s.t.Fatal(err)
	}
	entry := s.complete(logged.TransparencyLogEntry())
	if how.entryOf != nil {
		entry = how.entryOf(entry)
	}
	b := &protobundle.Bundle{MediaType: attest.BundleMediaType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: leaf.Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{entry}},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{Payload: []byte(statement), PayloadType: attest.PayloadType,
			Signatures: []*protodsse.Signature{{Sig: sig}}}}}
	if !how.noTimestamp {
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: s.stamp(sig, how.timestamp)}}}
	}
	if how.change != nil {
		how.change(b)
	}
	text, err := protojson.Marshal(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return []byte(strings.ReplaceAll(string(text), "\n", ""))
}

// complete gives a virtual entry what a bundle needs: its kind, the proof's index in a tree of one, and the signed
// entry timestamp.
func (s *instance) complete(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry {
	s.t.Helper()
	set, err := s.virtual.RekorSignPayload(tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(e.CanonicalizedBody),
		IntegratedTime: e.IntegratedTime, LogIndex: e.LogIndex, LogID: hex.EncodeToString(e.LogId.KeyId)})
	if err != nil {
		s.t.Fatal(err)
	}
	e.KindVersion = &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	e.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: set}
	e.InclusionProof.LogIndex = 0
	return e
}

func (s *instance) stamp(sig []byte, other func([]byte) []byte) []byte {
	s.t.Helper()
	if other != nil {
		return other(sig)
	}
	token, err := s.virtual.TimestampResponse(sig)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}
