package trust

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/certificates"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// MaxKeyBytes bounds the text of a public key.
const MaxKeyBytes = 1 << 20

// Key is a public key that bundles can be verified with.
type Key struct {
	verifier signature.Verifier
	material root.TrustedMaterial
	pem      []byte
	der      []byte
}

// ParseKey reads the only PEM block of a text, a "PUBLIC KEY" (PKIX); other text around it is skipped,
// as key tools write it. The error wraps verify.ErrKey.
func ParseKey(text []byte) (*Key, error) {
	if len(text) > MaxKeyBytes {
		return nil, fmt.Errorf("trust: %w: %d bytes, at most %d", verify.ErrKey, len(text), MaxKeyBytes)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("trust: %w: it holds no PEM block", verify.ErrKey)
	}
	if another, _ := pem.Decode(rest); another != nil {
		return nil, fmt.Errorf("trust: %w: it holds more than one PEM block, and only one key is meant", verify.ErrKey)
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("trust: %w: its PEM type is %q, want \"PUBLIC KEY\"", verify.ErrKey, block.Type)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrKey, err)
	}
	return newKey(public)
}

func newKey(public crypto.PublicKey) (*Key, error) {
	if err := certificates.CheckKey(public); err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrKey, err)
	}
	verifier, err := signature.LoadDefaultVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrKey, err)
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrKey, err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrKey, err)
	}
	forever := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return forever, nil })
	return &Key{verifier: verifier, material: material, pem: text, der: der}, nil
}

// Fingerprint is the lower-case hexadecimal sha256 of the key's PEM text (OMS v1.0 section 4.1).
func (k *Key) Fingerprint() string {
	return hexDigest(k.pem)
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
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
	case k.Fingerprint(), hexDigest(k.der), base64.StdEncoding.EncodeToString(derSum[:]):
		return true
	}
	return false
}

// Verify checks that the bundle's envelope was signed with this key. It says nothing about what the
// statement means. The error wraps verify.ErrMaterial or ErrSignature.
func (k *Key) Verify(b *attest.Bundle) error { return k.verify(b, nil) }

// VerifyHinted is Verify, and demands that the bundle names this key, as OMS does
// (OMS v1.0 section 4.1: the hint identifies the key). The error wraps verify.ErrHint as well.
func (k *Key) VerifyHinted(b *attest.Bundle) error {
	return k.Check(b, verify.Options{RequireHint: true}).Err()
}

func (k *Key) verify(b *attest.Bundle, artifact *verify.Artifact) error {
	if b.Material.PublicKey == nil {
		return fmt.Errorf("trust: %w", verify.ErrMaterial)
	}
	if b.Message == nil && artifact == nil {
		return k.verifyEnvelope(b)
	}
	entity, err := newEntity(b, 0)
	if err != nil {
		return fmt.Errorf("trust: %w: %w", ErrSignature, err)
	}
	x := &examination{entity: entity, material: k.material, artifact: artifact}
	if err := x.verifySignature(); err != nil {
		return fmt.Errorf("trust: %w", ErrSignature)
	}
	return nil
}

// verifyEnvelope does what sigstore-go does for a lone key, without its copies of the payload: the bundle of a tree with many files is large.
func (k *Key) verifyEnvelope(b *attest.Bundle) error {
	if !signedBy(k.verifier, b, attest.PAE(b.Envelope.PayloadType, b.Envelope.Payload)) {
		return fmt.Errorf("trust: %w", ErrSignature)
	}
	return nil
}

// signedBy reports whether the envelope's signature is over the encoding of its payload.
func signedBy(verifier signature.Verifier, b *attest.Bundle, encoding io.Reader) bool {
	// Sigstore bundle specification: an envelope in a bundle has exactly one signature. DSSE v1.0: "keyid ... MUST NOT be used for
	// security decisions"; nor is it here.
	return len(b.Envelope.Signatures) == 1 && verifier.VerifySignature(bytes.NewReader(b.Envelope.Signatures[0].Sig), encoding) == nil
}

// Check implements verify.Anchor.
func (k *Key) Check(b *attest.Bundle, opts verify.Options) *verify.Result {
	r := &verify.Result{}
	if k.checkSignature(r, b, opts); r.Failed() == "" {
		r.Signer, r.Key = k.Fingerprint(), hexDigest(k.der)
	}
	r.Skip("signed with a key", verify.CheckCertificate, verify.CheckSCT)
	r.Skip("the bundle is signed with a key; log entries in it are not looked at", verify.CheckLog)
	r.Skip("nothing but the key's owner vouches for when it was signed", verify.CheckTimestamp)
	r.Skip("the key is the identity", verify.CheckIdentity)
	return r
}

func (k *Key) checkSignature(r *verify.Result, b *attest.Bundle, opts verify.Options) {
	switch {
	case b.Material.PublicKey == nil:
		r.Fail(verify.CheckSignature, verify.ErrMaterial)
		return
	case opts.RequireHint && !k.Hinted(b):
		r.Fail(verify.CheckSignature, verify.ErrHint)
		return
	}
	var err error
	if opts.Legacy {
		err = k.verifyLegacy(b)
	} else {
		err = k.verify(b, opts.Artifact)
	}
	if err != nil {
		r.Fail(verify.CheckSignature, ErrSignature)
		return
	}
	r.Pass(verify.CheckSignature, "verified with the public key sha256:"+k.Fingerprint())
}
