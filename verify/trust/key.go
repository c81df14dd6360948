// Package trust says who signed a bundle. It is the only door to sigstore-go's verification.
//
// A bundle is verified with what the caller trusts, never with what the bundle brings along: with
// a public key the signature over the DSSE pre-authentication encoding must verify, and nothing else
// is claimed: no transparency log, no time.
package trust

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/mlseal/mlseal/attest"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// Errors that callers branch on.
var (
	// ErrKey says that a text is not a public key that is understood.
	ErrKey = errors.New("not a usable public key")
	// ErrSignature says that the signature does not verify with the key.
	ErrSignature = errors.New("the signature does not verify with this key")
	// ErrHint says that the bundle names another key than the one given.
	ErrHint = errors.New("the bundle was signed with another key")
	// ErrMaterial says that the bundle is meant to be verified with something else than a key.
	ErrMaterial = errors.New("the bundle is signed with a certificate, not with a key")
)

// MaxKeyBytes bounds the text of a public key.
const MaxKeyBytes = 1 << 20

// Key is a public key that bundles can be verified with.
type Key struct {
	material root.TrustedMaterial
	pem      []byte
	der      []byte
}

// ParseKey reads the only PEM block of a text, a "PUBLIC KEY" (PKIX); other text around it is skipped,
// as key tools write it. The error wraps ErrKey.
func ParseKey(text []byte) (*Key, error) {
	if len(text) > MaxKeyBytes {
		return nil, fmt.Errorf("trust: %w: %d bytes, at most %d", ErrKey, len(text), MaxKeyBytes)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("trust: %w: it holds no PEM block", ErrKey)
	}
	if another, _ := pem.Decode(rest); another != nil {
		return nil, fmt.Errorf("trust: %w: it holds more than one PEM block, and only one key is meant", ErrKey)
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("trust: %w: its PEM type is %q, want \"PUBLIC KEY\"", ErrKey, block.Type)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", ErrKey, err)
	}
	return newKey(public)
}

func newKey(public crypto.PublicKey) (*Key, error) {
	verifier, err := signature.LoadDefaultVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", ErrKey, err)
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", ErrKey, err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", ErrKey, err)
	}
	forever := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return forever, nil })
	return &Key{material: material, pem: text, der: der}, nil
}

// Fingerprint is the lower-case hexadecimal sha256 of the key's PEM text (OMS v1.0 section 4.1).
func (k *Key) Fingerprint() string {
	sum := sha256.Sum256(k.pem)
	return hex.EncodeToString(sum[:])
}

// Hinted reports whether the bundle names this key: by one of the forms in which tools write a hint, or
// by the key itself. A bundle that names no key is no hint at it.
func (k *Key) Hinted(b *attest.Bundle) bool {
	hint := b.Material.PublicKey
	if hint == nil {
		return false
	}
	if len(hint.PEM) > 0 {
		other, err := ParseKey(hint.PEM)
		return err == nil && bytes.Equal(other.der, k.der)
	}
	derSum := sha256.Sum256(k.der)
	switch hint.Hint {
	case k.Fingerprint(), hex.EncodeToString(derSum[:]), base64.StdEncoding.EncodeToString(derSum[:]):
		return true
	}
	return false
}

// Verify checks that the bundle's envelope was signed with this key. It says nothing about what the
// statement means. The error wraps ErrMaterial or ErrSignature.
func (k *Key) Verify(b *attest.Bundle) error {
	if b.Material.PublicKey == nil {
		return fmt.Errorf("trust: %w", ErrMaterial)
	}
	pb := &protobundle.Bundle{
		MediaType: attest.BundleMediaType,
		VerificationMaterial: &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: b.Material.PublicKey.Hint}}},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope(b)},
	}
	entity, err := bundle.NewBundle(pb)
	if err != nil {
		return fmt.Errorf("trust: %w: %w", ErrSignature, err)
	}
	sig, err := entity.SignatureContent()
	if err != nil {
		return fmt.Errorf("trust: %w: %w", ErrSignature, err)
	}
	content, err := entity.VerificationContent()
	if err != nil {
		return fmt.Errorf("trust: %w: %w", ErrSignature, err)
	}
	if err := verify.VerifySignature(sig, content, k.material); err != nil {
		return fmt.Errorf("trust: %w", ErrSignature)
	}
	return nil
}

// VerifyHinted is Verify, and demands that the bundle names this key, as OMS does
// (OMS v1.0 section 4.1: the hint identifies the key). The error wraps ErrHint as well.
func (k *Key) VerifyHinted(b *attest.Bundle) error {
	if b.Material.PublicKey == nil {
		return fmt.Errorf("trust: %w", ErrMaterial)
	}
	if !k.Hinted(b) {
		return fmt.Errorf("trust: %w", ErrHint)
	}
	return k.Verify(b)
}

func envelope(b *attest.Bundle) *protodsse.Envelope {
	e := &protodsse.Envelope{Payload: b.Envelope.Payload, PayloadType: b.Envelope.PayloadType}
	for _, s := range b.Envelope.Signatures {
		// DSSE v1.0: "keyid ... MUST NOT be used for security decisions"; so it is not even shown to the verifier.
		e.Signatures = append(e.Signatures, &protodsse.Signature{Sig: s.Sig})
	}
	return e
}
