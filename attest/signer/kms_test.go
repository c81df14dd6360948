//go:build !nokms

package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// TestMain makes the certificate of httptest's servers one of the machine's: the clients of the services offer no other way to name one.
func TestMain(m *testing.M) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	file, err := os.CreateTemp("", "signer")
	if err != nil {
		panic(err)
	}
	if err := pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}); err != nil {
		panic(err)
	}
	_ = os.Setenv("SSL_CERT_FILE", file.Name())
	status := m.Run()
	_ = os.Remove(file.Name())
	os.Exit(status)
}

// fakeKey is a key in a service: its versions, the first being number 1.
type fakeKey struct {
	t        *testing.T
	kind     string
	versions []crypto.Signer
	asked    []int // the versions that signed
	liar     bool  // signs with a key of its own
}

func newFakeKey(t *testing.T, kind string) *fakeKey {
	k := &fakeKey{t: t, kind: kind}
	k.rotate()
	return k
}

func (k *fakeKey) rotate() { k.versions = append(k.versions, newPrivate(k.t, k.kind)) }

func (k *fakeKey) sign(version int, input []byte, hash crypto.Hash) []byte {
	k.asked = append(k.asked, version)
	key := k.versions[version-1]
	if k.liar {
		key = newPrivate(k.t, k.kind)
	}
	sig, err := key.Sign(rand.Reader, input, hash)
	if err != nil {
		k.t.Error(err)
	}
	return sig
}

func newPrivate(t *testing.T, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "ecdsa-p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ecdsa-p521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "rsa-2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "rsa-3072":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	}
	if err != nil || key == nil {
		t.Fatalf("no %s key: %v", kind, err)
	}
	return key
}

// verifies wants a bundle of key that verifies with public.
func verifies(t *testing.T, key *Key, public crypto.PublicKey) {
	t.Helper()
	want, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key.PublicKeyPEM(), want) {
		t.Error("the exported key is not that of the version")
	}
	text, err := key.SignBundle(context.Background(), "text/plain", []byte("model"))
	if err != nil {
		t.Fatal(err)
	}
	var bundle struct {
		DSSE struct{ Signatures []struct{ Sig []byte } } `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(text, &bundle); err != nil || len(bundle.DSSE.Signatures) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	details, err := signature.GetDefaultAlgorithmDetails(public)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signature.LoadVerifier(public, details.GetHashType())
	if err != nil {
		t.Fatal(err)
	}
	signed := strings.NewReader("DSSEv1 10 text/plain 5 model")
	if err := verifier.VerifySignature(bytes.NewReader(bundle.DSSE.Signatures[0].Sig), signed); err != nil {
		t.Errorf("the signature does not verify with the exported key: %v", err)
	}
}

func open(t *testing.T, ref string) *Key {
	t.Helper()
	key, err := Open(context.Background(), ref, nil)
	if err != nil {
		t.Fatalf("%s: %v", ref, err)
	}
	return key
}

// refuses wants an error about the reference, or about the service, that says a text and shows no secret.
func refuses(t *testing.T, err error, is error, text string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want one about %q", text)
	case !errors.Is(err, is), errors.Is(err, ErrKey) != (is == ErrKey):
		t.Errorf("the error is not %q: %v", is, err)
	case !strings.Contains(err.Error(), text):
		t.Errorf("the error does not say %q: %v", text, err)
	case strings.Contains(err.Error(), "S3cret"), strings.Contains(err.Error(), "\n"):
		t.Errorf("the error shows a secret or has several lines: %q", err)
	}
}

func refusesToOpen(t *testing.T, ref string, is error, text string) {
	t.Helper()
	_, err := Open(context.Background(), ref, nil)
	refuses(t, err, is, text)
}

func refusesToSign(t *testing.T, key *Key, is error, text string) {
	t.Helper()
	_, err := key.SignBundle(context.Background(), "text/plain", []byte("model"))
	refuses(t, err, is, text)
}

func shortTimeout(t *testing.T, d time.Duration) {
	old := kmsTimeout
	kmsTimeout = d
	t.Cleanup(func() { kmsTimeout = old })
}

// hanging is a service that never answers.
func hanging(t *testing.T) http.HandlerFunc {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}
}

func startTLS(t *testing.T, h http.Handler) string {
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "https://")
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func TestKMSReferences(t *testing.T) {
	for _, ref := range []string{
		"hashivault://", "hashivault://a/b", "hashivault://../x", "azurekms://vault", "azurekms://vault/key/V/more", "awskms://key",
		"awskms:///arn:aws:kms:x", "gcpkms://projects/p", "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
	} {
		if _, err := Open(context.Background(), ref, nil); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	refusesToOpen(t, "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k", ErrKey, "cryptoKeyVersions/N")
}

func TestBounded(t *testing.T) {
	shortTimeout(t, 50*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := bounded(ctx, func(context.Context) (int, error) { panic("no field") }); err == nil || !strings.Contains(err.Error(), "no field") {
		t.Errorf("a panic became %v", err)
	}
	deaf := func(context.Context) (int, error) { select {} }
	if _, err := bounded(ctx, deaf); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("a client that does not listen gave %v", err)
	}
	cancel()
	if _, err := bounded(ctx, deaf); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call gave %v", err)
	}
	if got, err := bounded(context.Background(), func(context.Context) (int, error) { return 7, nil }); got != 7 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

func TestExplain(t *testing.T) {
	s := kmsService{needs: "set X", gone: func(error) bool { return false }, secrets: func() []string { return []string{"", "S3cret"} }}
	err := s.explain(fmt.Errorf("a\n\n* header S3cret: %w", context.Canceled))
	refuses(t, err, ErrKeyService, "a * header ***: context canceled (set X)")
	if !errors.Is(err, context.Canceled) {
		t.Error("the cause is lost")
	}
}
