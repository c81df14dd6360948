package signer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// plainKeys are key files of every form that LoadKey reads without a password.
func plainKeys(t testing.TB) map[string][]byte {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]byte{
		"SEC 1":   pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}),
		"PKCS #1": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}),
	}
	for name, key := range map[string]any{"PKCS #8 of ECDSA": p256, "PKCS #8 of Ed25519": edKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	return keys
}

// FuzzLoadKey holds every key that loads to what the rest of mlseal relies on: its public key is one that can be written and
// read again, and a bundle that it signs is one that parses and names it.
func FuzzLoadKey(f *testing.F) {
	for _, text := range plainKeys(f) {
		f.Add(text)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		// Without a password no encrypted key loads, so that the fuzzer does not spend its time in scrypt.
		key, err := LoadKey(text, nil)
		if err != nil {
			return
		}
		if len(text) > MaxKeyBytes {
			t.Errorf("a key file of %d bytes was read", len(text))
		}
		public, err := cryptoutils.UnmarshalPEMToPublicKey(key.PublicKeyPEM())
		if err != nil {
			t.Fatalf("the public key does not parse: %v", err)
		}
		if again, err := cryptoutils.MarshalPublicKeyToPEM(public); err != nil || !bytes.Equal(again, key.PublicKeyPEM()) {
			t.Errorf("the public key is written as %q and then as %q: %v", key.PublicKeyPEM(), again, err)
		}
		data, err := key.SignBundle(context.Background(), attest.PayloadType, []byte("{}"))
		if err != nil {
			return // a key may be too small for its signature
		}
		b, err := attest.Parse(data)
		if err != nil {
			t.Fatalf("what the key signed does not parse: %v", err)
		}
		if b.Material.PublicKey == nil || b.Material.PublicKey.Hint != key.Hint() {
			t.Errorf("the bundle names %+v, not the key %s", b.Material.PublicKey, key.Hint())
		}
	})
}
