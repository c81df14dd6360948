package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// VerifyLegacy checks that public signed the bundle's envelope as model-signing 0.2 did: over attest.LegacyPAE, with SHA-256 whatever
// the curve is. Whoever calls it must have seen that the payload is one of attest.OMSLegacyPredicateType, the only kind that was ever signed so, and must trust public
// for a reason of its own: a key that was given, or the leaf of a certificate chain that verified. The error wraps ErrSignature.
func VerifyLegacy(public crypto.PublicKey, b *attest.Bundle) error {
	verifier, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return fmt.Errorf("trust: %w: %w", ErrSignature, err)
	}
	signed := attest.LegacyPAE(b.Envelope.PayloadType, b.Envelope.Payload)
	if !signedBy(verifier, b, bytes.NewReader(signed)) {
		return fmt.Errorf("trust: %w, in the encoding of model-signing 0.2", ErrSignature)
	}
	return nil
}

func (k *Key) verifyLegacy(b *attest.Bundle) error {
	public, err := x509.ParsePKIXPublicKey(k.der)
	if err != nil {
		return fmt.Errorf("trust: %w: %w", verify.ErrKey, err)
	}
	return VerifyLegacy(public, b)
}

// legacySignature is the signature check of a certificate whose chain is checked beside it.
func legacySignature(r *verify.Result, b *attest.Bundle) {
	leaf, err := x509.ParseCertificate(b.Material.Leaf())
	if err == nil {
		err = VerifyLegacy(leaf.PublicKey, b)
	}
	if err != nil {
		r.Fail(verify.CheckSignature, fmt.Errorf("%w: %w", ErrSignature, err))
		return
	}
	r.Pass(verify.CheckSignature, "verified with the certificate's key, in the encoding of model-signing 0.2")
}
