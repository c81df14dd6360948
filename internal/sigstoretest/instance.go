package sigstoretest

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"testing"
	"time"

	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Instance is what the users of a Sigstore know of it: where its services are, and what vouches for their answers. A
// service without a URL is left out.
type Instance struct {
	Issuer     string // URL of the OIDC issuer
	Fulcio     Authority
	Timestamps Authority
	Rekor      TransparencyLog
	CTLog      TransparencyLog
}

// Authority issues certificates or timestamps. Its chain ends with the root; that of a timestamp authority begins with
// the certificate that it signs with.
type Authority struct {
	URL   string
	Chain []*x509.Certificate
}

// TransparencyLog is a log and the key it signs with.
type TransparencyLog struct {
	URL     string
	Key     crypto.PublicKey
	Version uint32 // of its API; 1 when it is 0
}

// TrustedRoot is the instance's trusted root (protobuf-specs sigstore_trustroot.proto, TrustedRoot) as JSON.
func (i Instance) TrustedRoot(t testing.TB) []byte {
	t.Helper()
	since := time.Now().Add(-time.Hour)
	var fulcio []root.CertificateAuthority
	if n := len(i.Fulcio.Chain) - 1; i.Fulcio.URL != "" {
		fulcio = append(fulcio, &root.FulcioCertificateAuthority{URI: i.Fulcio.URL, Root: i.Fulcio.Chain[n], Intermediates: i.Fulcio.Chain[:n], ValidityPeriodStart: since})
	}
	var timestamps []root.TimestampingAuthority
	if n := len(i.Timestamps.Chain) - 1; i.Timestamps.URL != "" {
		timestamps = append(timestamps, &root.SigstoreTimestampingAuthority{URI: i.Timestamps.URL, Root: i.Timestamps.Chain[n],
			Intermediates: i.Timestamps.Chain[1:n], Leaf: i.Timestamps.Chain[0], ValidityPeriodStart: since})
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, fulcio, i.CTLog.trusted(t, since), timestamps, i.Rekor.trusted(t, since))
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, trusted)
}

func (l TransparencyLog) trusted(t testing.TB, since time.Time) map[string]*root.TransparencyLog {
	t.Helper()
	if l.URL == "" {
		return nil
	}
	id := keyID(t, l.Key)
	return map[string]*root.TransparencyLog{hex.EncodeToString(id): {BaseURL: l.URL, ID: id, ValidityPeriodStart: since, HashFunc: crypto.SHA256,
		PublicKey: l.Key, SignatureHashFunc: crypto.SHA256}}
}

// keyID is the SHA-256 of the key's DER: the ID of a log (RFC 6962 section 3.2) and the one of Rekor's with ECDSA keys.
func keyID(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(der)
	return id[:]
}

// SigningConfig says where to sign (protobuf-specs sigstore_trustroot.proto, SigningConfig, version 0.2) as JSON.
func (i Instance) SigningConfig(t testing.TB) []byte {
	t.Helper()
	anyOne := root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
	config, err := root.NewSigningConfig(root.SigningConfigMediaType02, services(i.Fulcio.URL, 1), services(i.Issuer, 1),
		services(i.Rekor.URL, max(i.Rekor.Version, 1)), anyOne, services(i.Timestamps.URL, 1), anyOne)
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, config)
}

func services(url string, version uint32) []root.Service {
	if url == "" {
		return nil
	}
	return []root.Service{{URL: url, MajorAPIVersion: version, ValidityPeriodStart: time.Now().Add(-time.Hour), Operator: "mlseal.test"}}
}

func marshal(t testing.TB, value interface{ MarshalJSON() ([]byte, error) }) []byte {
	t.Helper()
	text, err := value.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
