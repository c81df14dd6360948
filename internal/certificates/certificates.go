// Package certificates reads X.509 certificates and those of an authority out of PEM texts.
package certificates

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
)

// Parse reads a text that holds PEM certificates and no other PEM blocks; what stands between them is skipped (RFC 7468
// section 2). A block that cannot be read is an error: another reader may find a certificate in it.
func Parse(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	blocks := bytes.Count(text, []byte("-----BEGIN"))
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %q, want certificates only", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if err := CheckKey(cert.PublicKey); err != nil {
			return nil, fmt.Errorf("%q: %w", cert.Subject, err)
		}
		all = append(all, cert)
	}
	if len(all) != blocks {
		return nil, fmt.Errorf("%d of its %d PEM blocks can be read", len(all), blocks)
	}
	return all, nil
}

// MaxRSABits is the size of the largest RSA modulus that anything is verified with, as in Go's TLS: the time grows with its square.
const MaxRSABits = 8192

// CheckKey refuses RSA keys with a modulus of more than MaxRSABits or a public exponent that does not fit 32 bits. It looks at sizes
// alone, before anything is verified with the key. With all other keys that Go verifies with the time is bounded.
func CheckKey(public crypto.PublicKey) error {
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	if bits := key.N.BitLen(); bits > MaxRSABits {
		return fmt.Errorf("an RSA key of %d bits, at most %d are verified with", bits, MaxRSABits)
	}
	if int64(key.E) > math.MaxInt32 {
		return fmt.Errorf("an RSA key whose public exponent %d does not fit 32 bits", key.E)
	}
	return nil
}

// SelfSigned looks at the signature: a certificate may have its issuer's name and not be its issuer.
func SelfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}

// Authority is the certificates of a certificate authority.
type Authority struct {
	Roots         []*x509.Certificate // self-signed, at least one
	Intermediates []*x509.Certificate
}

// ParseAuthority reads the PEM certificates of an authority: at least one self-signed root, and intermediates if any.
// Any other certificate is an error: one that may sign no certificates (RFC 5280 section 4.2.1.9) is none of an authority's.
func ParseAuthority(text []byte) (*Authority, error) {
	all, err := Parse(text)
	if err != nil {
		return nil, err
	}
	a := &Authority{}
	for _, cert := range all {
		switch {
		case !cert.IsCA:
			return nil, fmt.Errorf("%q is not a certificate authority", cert.Subject)
		case SelfSigned(cert):
			a.Roots = append(a.Roots, cert)
		default:
			a.Intermediates = append(a.Intermediates, cert)
		}
	}
	if len(a.Roots) == 0 {
		return nil, errors.New("it holds no self-signed root certificate")
	}
	return a, nil
}
