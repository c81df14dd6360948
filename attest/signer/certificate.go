package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/mlseal/mlseal/internal/certificates"
	"github.com/sigstore/sigstore-go/pkg/sign"
)

// ErrCertificate says that certificates cannot go with a key.
var ErrCertificate = errors.New("not a usable signing certificate")

// MaxCertificates bounds a chain, the signing certificate included.
const MaxCertificates = 16

// Certified is a key whose bundles carry a certificate chain instead of a hint at the key
// (OMS v1.0 section 4.1: x509CertificateChain, leaf first). It implements attest.Signer.
type Certified struct {
	key   *Key
	chain [][]byte // DER, leaf first, without a root: whoever verifies has roots of their own
}

// WithCertificates pairs a key with its certificate and the intermediate certificates above it, each as PEM; chain may be
// empty and may hold the root, which is left out. It refuses a certificate of another key, one that is not
// valid at the time now, and a chain whose links did not sign each other. The error wraps ErrCertificate.
func WithCertificates(key *Key, certificate, chain []byte, now time.Time) (*Certified, error) {
	certs, err := parseCertificates(append(append(bytes.Clone(certificate), '\n'), chain...))
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrCertificate, err)
	}
	leaf := certs[0]
	public, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.public) {
		return nil, fmt.Errorf("signer: %w: the certificate of %q belongs to another key", ErrCertificate, leaf.Subject)
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("signer: %w: the certificate of %q is valid from %s to %s, not now", ErrCertificate, leaf.Subject,
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c := &Certified{key: key, chain: [][]byte{leaf.Raw}}
	for i, cert := range certs[1:] {
		if err := certs[i].CheckSignatureFrom(cert); err != nil {
			return nil, fmt.Errorf("signer: %w: %q did not sign %q: %w", ErrCertificate, cert.Subject, certs[i].Subject, err)
		}
		if !certificates.SelfSigned(cert) {
			c.chain = append(c.chain, cert.Raw)
		}
	}
	return c, nil
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	certs, err := certificates.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case len(certs) > MaxCertificates:
		return nil, fmt.Errorf("more than %d certificates", MaxCertificates)
	case len(certs) == 0:
		return nil, errors.New("there is no PEM certificate")
	}
	return certs, nil
}

// PublicKeyPEM is the public key in PEM (PKIX).
func (c *Certified) PublicKeyPEM() []byte { return c.key.PublicKeyPEM() }

// Hint names the key, as Key.Hint does.
func (c *Certified) Hint() string { return c.key.Hint() }

// SignBundle signs as Key.SignBundle does; the bundle carries the certificate chain.
func (c *Certified) SignBundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	return (&Signer{identity: c}).SignBundle(ctx, payloadType, payload)
}

func (c *Certified) publicKey() crypto.PublicKey { return c.key.public }

func (c *Certified) session(context.Context) (sign.Keypair, sign.BundleOptions, error) {
	return keypair{c.key}, sign.BundleOptions{CertificateChainProvider: givenChain(c.chain)}, nil
}

// givenChain hands sigstore-go the chain that we have.
type givenChain [][]byte

// GetCertificateChain implements sign.CertificateChainProvider.
func (g givenChain) GetCertificateChain(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([][]byte, error) {
	return g, nil
}
