package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
)

// TimestampAuthority signs the time (RFC 3161, over HTTP as in section 3.4). Its URL is to be posted to as it stands.
type TimestampAuthority struct {
	Server
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
}

var (
	policyOID        = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}
	extendedUsageOID = asn1.ObjectIdentifier{2, 5, 29, 37}
	timeStampingOID  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
)

func newTimestampAuthority(t testing.TB) *TimestampAuthority {
	t.Helper()
	a := &TimestampAuthority{key: newKey(t)}
	top := newRoot(t, "timestamp root")
	// Go marks the extended usage as not critical, and RFC 3161 section 2.3 wants it critical.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{timeStampingOID})
	if err != nil {
		t.Fatal(err)
	}
	leaf := mustIssue(t, top, valid(&x509.Certificate{Subject: pkix.Name{CommonName: "timestamps", Organization: []string{"mlseal.test"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: []pkix.Extension{{Id: extendedUsageOID, Critical: true, Value: usage}}},
		-time.Hour, 24*time.Hour), &a.key.PublicKey)
	a.chain = []*x509.Certificate{leaf, top.certificate}
	a.start(t, http.StatusOK, map[string]http.HandlerFunc{"POST /api/v1/timestamp": a.stamp})
	a.URL += "/api/v1/timestamp"
	return a
}

func (a *TimestampAuthority) stamp(w http.ResponseWriter, r *http.Request) {
	reply, err := a.reply(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write(reply)
}

func (a *TimestampAuthority) reply(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	request, err := timestamp.ParseRequest(body)
	if err != nil {
		return nil, err
	}
	digest := request.HashedMessage
	if a.fails(OtherDigest) {
		digest = make([]byte, len(digest))
	}
	token := timestamp.Timestamp{HashAlgorithm: request.HashAlgorithm, HashedMessage: digest, Nonce: request.Nonce,
		Time: time.Now(), Policy: policyOID, AddTSACertificate: request.Certificates}
	return token.CreateResponseWithOpts(a.chain[0], a.key, crypto.SHA256)
}
