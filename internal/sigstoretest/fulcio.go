package sigstoretest

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Fulcio issues certificates of ten minutes for the issuer's ID tokens, over Fulcio's API of version 2 (fulcio.proto,
// CreateSigningCertificate with a public key).
type Fulcio struct {
	Server
	tokens *Issuer
	log    *CTLog
	issuer issuer
	chain  []*x509.Certificate // the intermediate and the root
}

var (
	issuerOID   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	issuerV2OID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	poisonOID   = asn1.ObjectIdentifier(ctx509.OIDExtensionCTPoison)
	sctListOID  = asn1.ObjectIdentifier(ctx509.OIDExtensionCTSCT)
)

func newFulcio(t testing.TB, tokens *Issuer, log *CTLog) *Fulcio {
	t.Helper()
	top := newRoot(t, "fulcio root")
	f := &Fulcio{tokens: tokens, log: log, issuer: issuer{key: newKey(t)}}
	f.issuer.certificate = mustIssue(t, top, authority("fulcio intermediate", x509.ExtKeyUsageCodeSigning), &f.issuer.key.PublicKey)
	f.chain = []*x509.Certificate{f.issuer.certificate, top.certificate}
	f.start(t, http.StatusOK, map[string]http.HandlerFunc{"POST /api/v2/signingCert": f.sign})
	return f
}

type signingRequest struct {
	PublicKeyRequest struct {
		PublicKey         struct{ Content string }
		ProofOfPossession []byte
	}
}

// certificates is the answer's chain, the new certificate first.
type certificates struct {
	Chain struct {
		Certificates []string `json:"certificates"`
	} `json:"chain"`
}

func (f *Fulcio) sign(w http.ResponseWriter, r *http.Request) {
	leaf, err := f.certify(r)
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	var c certificates
	for _, cert := range append([]*x509.Certificate{leaf}, f.chain...) {
		c.Chain.Certificates = append(c.Chain.Certificates, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	}
	how := "signedCertificateEmbeddedSct"
	if f.fails(NoSCT) {
		how = "signedCertificateDetachedSct"
	}
	f.answer(w, map[string]certificates{how: c}, nil)
}

// certify checks the token and that the client has the key, and issues the certificate.
func (f *Fulcio) certify(r *http.Request) (*x509.Certificate, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, errors.New("no bearer token")
	}
	who, err := f.tokens.verify(token)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	var request signingRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return nil, err
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(request.PublicKeyRequest.PublicKey.Content))
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	verifier, err := signature.LoadDefaultVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	proof := bytes.NewReader(request.PublicKeyRequest.ProofOfPossession)
	if err := verifier.VerifySignature(proof, strings.NewReader(who.challenge())); err != nil {
		return nil, fmt.Errorf("proof of possession: %w", err)
	}
	if f.fails(OtherKey) {
		public = newKey(f.t).Public()
	}
	return f.issue(who, public)
}

// issue makes a certificate with an SCT in it.
func (f *Fulcio) issue(who claims, public crypto.PublicKey) (*x509.Certificate, error) {
	template, err := f.template(who)
	if err != nil {
		return nil, err
	}
	if !f.fails(NoSCT) {
		list, err := f.sctList(template, public)
		if err != nil {
			return nil, err
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: sctListOID, Value: list})
	}
	return f.issuer.issue(template, public)
}

// template is the certificate for an identity (Fulcio's docs/oid-info.md).
func (f *Fulcio) template(who claims) (*x509.Certificate, error) {
	issuerV2, err := asn1.MarshalWithParams(who.Issuer, "utf8")
	if err != nil {
		return nil, err
	}
	template := valid(&x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: issuerOID, Value: []byte(who.Issuer)}, {Id: issuerV2OID, Value: issuerV2}}}, 0, 10*time.Minute)
	if who.Workflow == "" {
		template.EmailAddresses = []string{who.Email}
		return template, nil
	}
	workflow, err := url.Parse(WorkflowIdentity(who.Workflow))
	template.URIs = []*url.URL{workflow}
	return template, err
}

// sctList is the extension's value with one SCT (RFC 6962 section 3.3). What is logged is the certificate poisoned
// (section 3.1), with the serial number that the template gets here.
func (f *Fulcio) sctList(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	poisoned := *template
	poisoned.ExtraExtensions = append(slices.Clone(template.ExtraExtensions), pkix.Extension{Id: poisonOID, Critical: true, Value: asn1.NullBytes})
	logged, err := f.issuer.issue(&poisoned, public)
	if err != nil {
		return nil, err
	}
	template.SerialNumber = logged.SerialNumber
	sct, err := f.log.promise([][]byte{logged.Raw, f.chain[0].Raw, f.chain[1].Raw}, ct.PrecertLogEntryType)
	if err != nil {
		return nil, err
	}
	one, err := tls.Marshal(*sct)
	if err != nil {
		return nil, err
	}
	list, err := tls.Marshal(ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: one}}})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(list)
}
