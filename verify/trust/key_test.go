package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/verify"
)

func publicPEM(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestParseKey(t *testing.T) {
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small := &rsa.PublicKey{N: rsa2048.N.Rsh(rsa2048.N, 1024), E: 65537}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := publicPEM(t, &ecKey(t, elliptic.P256()).PublicKey)
	for name, tc := range map[string]struct {
		text []byte
		ok   bool
	}{
		"P-256":                {p256, true},
		"P-521":                {publicPEM(t, &ecKey(t, elliptic.P521()).PublicKey), true},
		"Ed25519":              {publicPEM(t, public), true},
		"text before":          {append([]byte("Public Key Info:\n\n"), p256...), true},
		"two keys":             {append(append([]byte(nil), p256...), publicPEM(t, public)...), false},
		"P-224":                {publicPEM(t, &ecKey(t, elliptic.P224()).PublicKey), false},
		"RSA of 1024 bits":     {publicPEM(t, small), false},
		"empty":                {nil, false},
		"no PEM":               {[]byte("ssh-ed25519 AAAA"), false},
		"private key":          {[]byte(strings.ReplaceAll(string(p256), "PUBLIC", "PRIVATE")), false},
		"garbage in the block": {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}), false},
		"too large":            {make([]byte, MaxKeyBytes+1), false},
	} {
		_, err := ParseKey(tc.text)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, verify.ErrKey) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestVerify(t *testing.T) {
	private, public, err := signer.Generate("", nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	data, err := key.SignBundle(context.Background(), attest.PayloadType, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := ParseKey(public)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseKey(publicPEM(t, &ecKey(t, elliptic.P256()).PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	if err := trusted.VerifyHinted(b); err != nil {
		t.Error(err)
	}
	if err := other.Verify(b); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if err := other.VerifyHinted(b); !errors.Is(err, verify.ErrHint) {
		t.Errorf("another key's hint: %v", err)
	}
	two := *b
	two.Envelope.Signatures = []attest.Signature{b.Envelope.Signatures[0], b.Envelope.Signatures[0]}
	if err := trusted.Verify(&two); !errors.Is(err, ErrSignature) {
		t.Errorf("two signatures: %v", err)
	}
	b.Material = attest.Material{Certificate: []byte("x")}
	if err := trusted.Verify(b); !errors.Is(err, verify.ErrMaterial) {
		t.Errorf("a certificate where a key was asked for: %v", err)
	}
	b.Material = attest.Material{PublicKey: &attest.PublicKeyHint{PEM: public}}
	if err := trusted.VerifyHinted(b); err != nil {
		t.Errorf("the key itself as a hint: %v", err)
	}
	b.Envelope.Payload = []byte("{ }")
	if err := trusted.Verify(b); !errors.Is(err, ErrSignature) {
		t.Errorf("another payload: %v", err)
	}
}
