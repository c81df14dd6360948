package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// CTLog is a certificate transparency log (RFC 6962) that promises to log every certificate and keeps none.
type CTLog struct {
	Server
	key *ecdsa.PrivateKey
	id  []byte
}

// NewCTLog starts a log, with the submission calls of RFC 6962 sections 4.1 and 4.2.
func NewCTLog(t testing.TB) *CTLog {
	t.Helper()
	l := &CTLog{key: newKey(t)}
	l.id = keyID(t, l.key.Public())
	l.start(t, http.StatusOK, map[string]http.HandlerFunc{
		"POST /ct/v1/add-chain":     l.add(ct.X509LogEntryType),
		"POST /ct/v1/add-pre-chain": l.add(ct.PrecertLogEntryType),
	})
	return l
}

// Description is what users know of the log.
func (l *CTLog) Description() TransparencyLog {
	return TransparencyLog{URL: l.URL, Key: l.key.Public()}
}

// PublicKeyPEM is the log's key as a PEM file.
func (l *CTLog) PublicKeyPEM() []byte {
	l.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(l.key.Public())
	if err != nil {
		l.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (l *CTLog) add(kind ct.LogEntryType) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		response, err := l.submit(r, kind)
		l.answer(w, response, err)
	}
}

func (l *CTLog) submit(r *http.Request, kind ct.LogEntryType) (*ct.AddChainResponse, error) {
	var request ct.AddChainRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return nil, err
	}
	sct, err := l.promise(request.Chain, kind)
	if err != nil {
		return nil, err
	}
	signature, err := tls.Marshal(sct.Signature)
	if err != nil {
		return nil, err
	}
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: l.id, Timestamp: sct.Timestamp, Signature: signature}, nil
}

// promise signs a timestamp for a chain of certificates, the first of which is the one to log.
func (l *CTLog) promise(chain [][]byte, kind ct.LogEntryType) (*ct.SignedCertificateTimestamp, error) {
	var certs []*ctx509.Certificate
	for _, der := range chain {
		cert, err := ctx509.ParseCertificate(der)
		if ctx509.IsFatal(err) {
			return nil, err
		}
		certs = append(certs, cert)
	}
	sct := &ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: [32]byte(l.id)}, Timestamp: uint64(time.Now().UnixMilli())}
	leaf, err := ct.MerkleTreeLeafFromChain(certs, kind, sct.Timestamp)
	if err != nil {
		return nil, err
	}
	input, err := ct.SerializeSCTSignatureInput(*sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	signature, err := tls.CreateSignature(*l.key, tls.SHA256, input)
	if err != nil {
		return nil, err
	}
	sct.Signature = ct.DigitallySigned(signature)
	return sct, nil
}
