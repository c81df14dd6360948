package signer

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/sign"
)

// Keyless signs with a key that lives for one signature, and with a certificate that Sigstore's Fulcio issues for
// it to whoever the identity token names. Make it with NewKeyless. It implements Identity.
type Keyless struct {
	authority string
	tokens    TokenSource
	now       func() time.Time
}

// NewKeyless takes the certificate authority from the config and, each time that something is signed, a token from tokens. A config
// without a transparency log is refused: such signatures could not be verified once the certificate has expired
// (Sigstore client specification, "Signing"). The error wraps ErrSigningConfig or ErrServiceURL.
func NewKeyless(config *SigningConfig, tokens TokenSource, now func() time.Time) (*Keyless, error) {
	authority, err := config.certificateAuthority(now())
	if err != nil {
		return nil, err
	}
	if len(config.config.RekorLogURLs()) == 0 {
		return nil, fmt.Errorf("signer: %w: it names no transparency log, which keyless signatures need", ErrSigningConfig)
	}
	return &Keyless{authority: authority, tokens: tokens, now: now}, nil
}

func (k *Keyless) publicKey() crypto.PublicKey { return nil }

// session gets a token and makes a key; Fulcio is asked for the certificate when there is something to sign.
func (k *Keyless) session(ctx context.Context) (sign.Keypair, sign.BundleOptions, error) {
	var opts sign.BundleOptions
	token, err := k.tokens(ctx)
	if err != nil {
		return nil, opts, err
	}
	if _, err := readToken(token, k.now()); err != nil {
		return nil, opts, err
	}
	pair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, opts, fmt.Errorf("signer: %w", err)
	}
	opts.CertificateProvider = fulcio{k.authority}
	opts.CertificateProviderOptions = &sign.CertificateProviderOptions{IDToken: token}
	return pair, opts, nil
}

// fulcio is Sigstore's certificate authority at an address.
type fulcio struct{ address string }

// GetCertificate implements sign.CertificateProvider. A certificate for another key is refused: the bundle would be
// of no use.
func (f fulcio) GetCertificate(ctx context.Context, pair sign.Keypair, opts *sign.CertificateProviderOptions) ([]byte, error) {
	der, err := sign.NewFulcio(&sign.FulcioOptions{BaseURL: f.address, Transport: transport{ctx: ctx}}).GetCertificate(ctx, pair, opts)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.address, err)
	}
	public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(pair.GetPublicKey()) {
		return nil, fmt.Errorf("%s: the certificate is for another key", f.address)
	}
	return der, nil
}
