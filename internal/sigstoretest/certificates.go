package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issuer is a certificate authority: its certificate and its key.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newRoot makes a self-signed authority.
func newRoot(t testing.TB, name string) issuer {
	t.Helper()
	key := newKey(t)
	template := authority(name)
	return issuer{mustIssue(t, issuer{template, key}, template, &key.PublicKey), key}
}

func authority(name string, usages ...x509.ExtKeyUsage) *x509.Certificate {
	return valid(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"mlseal.test"}}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: usages}, -time.Hour, 24*time.Hour)
}

// valid sets when the certificate is valid, from and until now plus the durations.
func valid(template *x509.Certificate, from, until time.Duration) *x509.Certificate {
	template.NotBefore, template.NotAfter = time.Now().Add(from), time.Now().Add(until)
	return template
}

func mustIssue(t testing.TB, by issuer, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	cert, err := by.issue(template, public)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue signs a certificate; one without a serial number gets one.
func (i issuer) issue(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	if template.SerialNumber == nil {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			return nil, err
		}
		template.SerialNumber = serial
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, public, i.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
