//go:build pkcs11key

package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
)

// noModule is a file that is no PKCS #11 library.
func noModule(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "module.so")
	if err := os.WriteFile(name, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPKCS11References(t *testing.T) {
	module := noModule(t)
	t.Setenv("COSIGN_PKCS11_MODULE_PATH", "")
	whole := "pkcs11:token=t;object=k?module-path=" + module
	pin := password("1234")
	for name, tc := range map[string]struct {
		ref    string
		pin    Password
		want   error
		reason string
	}{
		"no token":          {"pkcs11:object=k?module-path=" + module, pin, ErrKey, "pkcs11:token=TOKEN"},
		"no object":         {"pkcs11:token=t?module-path=" + module, pin, ErrKey, "pkcs11:token=TOKEN"},
		"no module":         {"pkcs11:token=t;object=k", pin, ErrKey, "COSIGN_PKCS11_MODULE_PATH"},
		"relative module":   {"pkcs11:token=t;object=k?module-path=module.so", pin, ErrKey, "absolute"},
		"module not there":  {"pkcs11:token=t;object=k?module-path=/nowhere.so", pin, ErrKey, "/nowhere.so"},
		"slot is a word":    {"pkcs11:slot-id=x;object=k?module-path=" + module, pin, ErrKey, "slot-id"},
		"broken escape":     {"pkcs11:token=%zz;object=k?module-path=" + module, pin, ErrKey, "pkcs11:token=TOKEN"},
		"control character": {"pkcs11:token=\x01", pin, ErrKey, "pkcs11:token=TOKEN"},
		"not a module":      {whole, pin, ErrKey, module},
		"broken PIN":        {whole + "&pin-value=s3cr%zz", nil, ErrKey, "percent-encoded"},
		"no PIN":            {whole, nil, ErrPINNeeded, "PIN"},
		"empty PIN":         {whole, password(""), ErrPINNeeded, "PIN"},
		"PIN in the URI":    {whole + "&pin-value=s3cr3t", nil, ErrKey, module},
		"pin fails":         {whole, func() ([]byte, error) { return nil, io.ErrUnexpectedEOF }, io.ErrUnexpectedEOF, ""},
	} {
		_, err := Open(context.Background(), tc.ref, tc.pin)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.reason) || strings.Contains(err.Error(), "s3cr") || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: error is %v, want %v that names %q", name, err, tc.want, tc.reason)
		}
	}
}

func TestPKCS11PINIsDecoded(t *testing.T) {
	for ref, want := range map[string]string{"pkcs11:?pin-value=a%20b%26": "a b&", "pkcs11:?pin-value=a+b": "a+b", "pkcs11:?module-path=/x&pin-value=1&x=y": "1", "pkcs11:?pin-value=": "asked"} {
		if pin, err := pkcs11PIN(ref, password("asked")); err != nil || pin != want {
			t.Errorf("%s: PIN %q, want %q: %v", ref, pin, want, err)
		}
	}
}

// twoHalves signs with one key and shows the public half of another.
type twoHalves struct {
	crypto.Signer
	public crypto.PublicKey
}

func (s twoHalves) Public() crypto.PublicKey { return s.public }

// TestTokenKeys has the hash that fits each key, which verifies as files' signatures do, and a pair that is none.
func TestTokenKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[crypto.Signer]crypto.Hash{rsaKey: crypto.SHA256}
	for curve, hash := range map[elliptic.Curve]crypto.Hash{elliptic.P256(): crypto.SHA256, elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[key] = hash
	}
	for onToken, hash := range keys {
		key, err := newTokenKey(onToken)
		if err != nil {
			t.Fatal(err)
		}
		sig, _, err := keypair{key}.SignData(context.Background(), []byte("data"))
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := signature.LoadVerifier(onToken.Public(), hash)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.VerifySignature(bytes.NewReader(sig), strings.NewReader("data")); err != nil {
			t.Errorf("%T with %s: %v", onToken, hash, err)
		}
		if key.Hint() == "" || key.details.GetHashType() != hash {
			t.Errorf("%T: the bundle says %s, want %s", onToken, key.details.GetHashType(), hash)
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newTokenKey(twoHalves{rsaKey, other.Public()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.SignBundle(context.Background(), "application/vnd.in-toto+json", []byte("{}")); err == nil || !strings.Contains(err.Error(), "does not verify") {
		t.Errorf("a pair of two keys signed: %v", err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil {
		if _, err := newTokenKey(small); !errors.Is(err, ErrKey) {
			t.Errorf("an RSA key of 1024 bits: %v", err)
		}
	}
}
