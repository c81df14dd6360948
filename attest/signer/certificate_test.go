package signer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
)

// authority is a certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue makes a certificate below parent; a nil parent makes a root.
func issue(t *testing.T, name string, parent *authority, isCA bool, notAfter time.Time) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	by := authority{template, key}
	if parent != nil {
		by = *parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func TestWithCertificates(t *testing.T) {
	later := time.Now().Add(time.Hour)
	root := issue(t, "root", nil, true, later)
	middle := issue(t, "middle", &root, true, later)
	leaf := issue(t, "leaf", &middle, false, later)
	expired := issue(t, "expired", &middle, false, time.Now().Add(-time.Minute))
	stranger := issue(t, "stranger", nil, true, later)
	keyOf := func(a authority) *Key {
		der, err := x509.MarshalPKCS8PrivateKey(a.key)
		if err != nil {
			t.Fatal(err)
		}
		key, err := LoadKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	chain := append(middle.pem(), root.pem()...)
	certified, err := WithCertificates(keyOf(leaf), leaf.pem(), chain, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	data, err := certified.SignBundle(context.Background(), attest.PayloadType, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Material.Chain) != 2 || string(b.Material.Chain[0]) != string(leaf.cert.Raw) || string(b.Material.Chain[1]) != string(middle.cert.Raw) {
		t.Errorf("the bundle carries %d certificates, want leaf and middle without the root", len(b.Material.Chain))
	}
	for name, tc := range map[string]struct {
		key                *Key
		certificate, chain []byte
		reason             string
	}{
		"another key":    {keyOf(middle), leaf.pem(), chain, "another key"},
		"expired":        {keyOf(expired), expired.pem(), chain, "not now"},
		"foreign chain":  {keyOf(leaf), leaf.pem(), stranger.pem(), "did not sign"},
		"chain reversed": {keyOf(leaf), leaf.pem(), append(root.pem(), middle.pem()...), "did not sign"},
		"no certificate": {keyOf(leaf), nil, nil, "no PEM certificate"},
		"key instead":    {keyOf(leaf), keyOf(leaf).PublicKeyPEM(), nil, "PUBLIC KEY"},
		"too many":       {keyOf(leaf), leaf.pem(), []byte(strings.Repeat(string(root.pem()), MaxCertificates)), "more than"},
		"broken":         {keyOf(leaf), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), nil, ""},
	} {
		if _, err := WithCertificates(tc.key, tc.certificate, tc.chain, time.Now()); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
