package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/verify"
)

func keylessFile(f *testing.F, name string) []byte {
	f.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(f), "testdata", "keyless", name))
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// FuzzParseKey holds what parses as a public key to being the same key when it is written and read again.
func FuzzParseKey(f *testing.F) {
	for _, seed := range testenv.Seeds(f, "oms/keys/*-pub.pem", "oms/keys/*-cert.pem", "sigstore/bundle-verify/*/*.pub") {
		f.Add(seed)
	}
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("text\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := ParseKey(text)
		if err != nil {
			if !errors.Is(err, verify.ErrKey) {
				t.Errorf("the error is none of a key: %v", err)
			}
			return
		}
		again, err := ParseKey(key.pem)
		if err != nil || again.Fingerprint() != key.Fingerprint() || len(key.Fingerprint()) != 64 || !bytes.Equal(again.der, key.der) {
			t.Errorf("written again it is another key: %v", err)
		}
		if len(text) > MaxKeyBytes || bytes.Count(text, []byte("-----BEGIN PUBLIC KEY-----")) == 0 {
			t.Errorf("a key was read from %q", text)
		}
	})
}

// FuzzParseAuthority holds what parses as an authority to being the same certificates when they are written and read again, with a
// root among them.
func FuzzParseAuthority(f *testing.F) {
	for _, seed := range testenv.Seeds(f, "oms/keys/*-cert.pem", "oms/keys/*-pub.pem") {
		f.Add(seed)
	}
	f.Add(keylessFile(f, "ca.pem"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := ParseAuthority(text, nil)
		if err != nil {
			if !errors.Is(err, verify.ErrAuthority) {
				t.Errorf("the error is none of an authority: %v", err)
			}
			return
		}
		var written []byte
		for _, c := range append(slices.Clone(a.roots), a.intermediates...) {
			if !c.IsCA {
				t.Errorf("%q is an authority, and is none", c.Subject)
			}
			written = append(written, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
		}
		again, err := ParseAuthority(written, nil)
		if err != nil {
			t.Fatalf("written again it does not parse: %v", err)
		}
		same := func(a, b *x509.Certificate) bool { return a.Equal(b) }
		if len(a.roots) == 0 || !slices.EqualFunc(a.roots, again.roots, same) || !slices.EqualFunc(a.intermediates, again.intermediates, same) {
			t.Errorf("written again it has %d roots and %d intermediates, not %d and %d", len(again.roots), len(again.intermediates), len(a.roots), len(a.intermediates))
		}
	})
}

// FuzzParseRoot wants every text refused or usable: what parses verifies nothing of a stranger's, and does not panic when asked.
func FuzzParseRoot(f *testing.F) {
	f.Add(keylessFile(f, "trusted_root.json"))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	f.Add([]byte(`{"trustedRoot":{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[]}}`))
	for _, seed := range testenv.Seeds(f, "sigstore/bundle-verify/*/trusted_root.json") {
		f.Add(seed)
	}
	stranger := strangersCertificate(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRoot(text)
		if err != nil {
			if !errors.Is(err, verify.ErrRoot) {
				t.Errorf("the error is none of a trusted root: %v", err)
			}
			return
		}
		if len(text) > MaxRootBytes {
			t.Errorf("a trusted root of %d bytes was read", len(text))
		}
		for id, log := range r.material.RekorLogs() {
			if id == "" || log.PublicKey == nil {
				t.Errorf("a log without an ID or a key: %q %+v", id, log)
			}
		}
		for _, authority := range r.material.FulcioCertificateAuthorities() {
			if _, err := authority.Verify(stranger, stranger.NotBefore); err == nil {
				t.Error("an authority vouches for a stranger's certificate")
			}
		}
	})
}

func strangersCertificate(f *testing.F) *x509.Certificate {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		f.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		f.Fatal(err)
	}
	return cert
}
