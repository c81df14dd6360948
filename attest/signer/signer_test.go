package signer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

func password(s string) Password { return func() ([]byte, error) { return []byte(s), nil } }

func TestGenerateAndLoad(t *testing.T) {
	for _, algorithm := range append(KeyAlgorithms(), "") {
		private, public, err := Generate(algorithm, []byte("pw"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(private), "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----") {
			t.Errorf("%s: the private key starts with %.60s", algorithm, private)
		}
		key, err := LoadKey(private, password("pw"))
		if err != nil {
			t.Fatal(err)
		}
		if string(key.PublicKeyPEM()) != string(public) {
			t.Errorf("%s: the loaded key has another public key", algorithm)
		}
		if _, err := LoadKey(private, password("wrong")); !errors.Is(err, ErrPassword) {
			t.Errorf("%s: wrong password: %v", algorithm, err)
		}
		if _, err := LoadKey(private, nil); !errors.Is(err, ErrPasswordNeeded) {
			t.Errorf("%s: no password: %v", algorithm, err)
		}
	}
	if _, _, err := Generate("rot13", nil); err == nil {
		t.Error("an unknown algorithm made a key")
	}
}

func TestLoadPlainKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for name, text := range map[string][]byte{
		"SEC 1": block("EC PRIVATE KEY", sec1), "PKCS #8": block("PRIVATE KEY", pkcs8),
		"PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)),
	} {
		key, err := LoadKey(text, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := key.SignBundle(context.Background(), "application/vnd.in-toto+json", []byte("{}")); err != nil {
			t.Errorf("%s: sign: %v", name, err)
		}
	}
	for name, text := range map[string][]byte{
		"empty":              nil,
		"no PEM":             []byte("AAAA"),
		"public key":         block("PUBLIC KEY", []byte("x")),
		"certificate":        block("CERTIFICATE", []byte("x")),
		"unknown type":       block("OPENSSH PRIVATE KEY", []byte("x")),
		"PKCS #8, encrypted": block("ENCRYPTED PRIVATE KEY", []byte("x")),
		"broken":             block("PRIVATE KEY", []byte("x")),
		"two blocks":         append(block("PRIVATE KEY", pkcs8), block("PRIVATE KEY", pkcs8)...),
		"too large":          make([]byte, MaxKeyBytes+1),
		"broken cosign":      block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(`{"kdf":{}}`)),
	} {
		if _, err := LoadKey(text, password("")); !errors.Is(err, ErrKey) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestBundleForm has the fields that OMS and cosign expect of a bundle signed with a key.
func TestBundleForm(t *testing.T) {
	private, _, err := Generate("", nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := LoadKey(private, password(""))
	if err != nil {
		t.Fatal(err)
	}
	data, err := key.SignBundle(context.Background(), "application/vnd.in-toto+json", []byte(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		MediaType            string
		VerificationMaterial map[string]map[string]string
		DSSEEnvelope         struct {
			Payload, PayloadType string
			Signatures           []map[string]string
		}
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	if b.MediaType != "application/vnd.dev.sigstore.bundle.v0.3+json" || b.VerificationMaterial["publicKey"]["hint"] != key.Hint() ||
		b.DSSEEnvelope.Payload != "eyJhIjoxfQ==" || len(b.DSSEEnvelope.Signatures) != 1 || len(key.Hint()) != 64 {
		t.Errorf("bundle is %s", data)
	}
	if strings.ContainsAny(string(data), "\n ") {
		t.Errorf("the bundle has white space: %s", data)
	}
}
