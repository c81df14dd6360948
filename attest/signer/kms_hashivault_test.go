//go:build !nokms

package signer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// transit speaks as much of the transit engine's HTTP API as signing takes.
type transit struct {
	*fakeKey
	reading, signing http.HandlerFunc // take the place of what the engine does
}

func newTransit(t *testing.T, kind string) *transit {
	v := &transit{fakeKey: newFakeKey(t, kind)}
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "S3cret")
	t.Setenv("VAULT_MAX_RETRIES", "0")
	t.Setenv("TRANSIT_SECRET_ENGINE_PATH", "")
	return v
}

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(r.URL.Path, "/") // "", v1, transit, keys or sign, name, hash
	switch {
	case r.Header.Get("X-Vault-Token") != "S3cret":
		respond(w, 403, map[string]any{"errors": []string{"permission denied"}})
	case path[4] != "release":
		respond(w, 404, map[string]any{"errors": []string{}})
	case path[3] == "keys" && v.reading != nil:
		v.reading(w, r)
	case path[3] == "sign" && v.signing != nil:
		v.signing(w, r)
	case path[3] == "keys":
		respond(w, 200, map[string]any{"data": v.describe()})
	default:
		v.serveSign(w, r, strings.Join(path[5:], ""))
	}
}

func (v *transit) describe() map[string]any {
	versions := map[string]any{}
	for i, key := range v.versions {
		text := ""
		if public, ok := key.Public().(ed25519.PublicKey); ok {
			text = base64.StdEncoding.EncodeToString(public)
		} else {
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				v.t.Error(err)
			}
			text = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		}
		versions[strconv.Itoa(i+1)] = map[string]any{"name": v.kind, "public_key": text}
	}
	return map[string]any{"type": v.kind, "latest_version": len(v.versions), "keys": versions}
}

func (v *transit) serveSign(w http.ResponseWriter, r *http.Request, hash string) {
	var q struct {
		Input      []byte `json:"input"`
		Prehashed  bool   `json:"prehashed"`
		KeyVersion string `json:"key_version"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		v.t.Error(err)
	}
	version, err := strconv.Atoi(q.KeyVersion)
	if err != nil || version < 1 || version > len(v.versions) {
		respond(w, 400, map[string]any{"errors": []string{"no version " + q.KeyVersion}})
		return
	}
	sums := map[string]crypto.Hash{"": 0, "sha2-256": crypto.SHA256, "sha2-384": crypto.SHA384, "sha2-512": crypto.SHA512}
	if sums[hash] != 0 && !q.Prehashed {
		v.t.Error("the input is a digest and not called one")
	}
	sig := base64.StdEncoding.EncodeToString(v.sign(version, q.Input, sums[hash]))
	respond(w, 200, map[string]any{"data": map[string]any{"signature": fmt.Sprintf("vault:v%d:%s", version, sig)}})
}

const vaultRef = "hashivault://release"

func TestHashivault(t *testing.T) {
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "rsa-2048", "rsa-3072"} {
		t.Run(kind, func(t *testing.T) {
			v := newTransit(t, kind)
			v.rotate()
			verifies(t, open(t, vaultRef), v.versions[1].Public())
		})
	}
}

// TestHashivaultPinsVersion rotates the key between opening and signing.
func TestHashivaultPinsVersion(t *testing.T) {
	v := newTransit(t, "ecdsa-p256")
	key := open(t, vaultRef)
	v.rotate()
	verifies(t, key, v.versions[0].Public())
	verifies(t, open(t, vaultRef), v.versions[1].Public())
	if fmt.Sprint(v.asked) != "[1 2]" {
		t.Errorf("the versions %v signed", v.asked)
	}
}

func TestHashivaultRefused(t *testing.T) {
	v := newTransit(t, "ecdsa-p256")
	refusesToOpen(t, "hashivault://other", ErrKey, "no such key")

	v.reading = func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 200, map[string]any{"data": map[string]any{"type": "aes256-gcm96", "latest_version": 1, "keys": map[string]any{"1": 1700000000}}})
	}
	refusesToOpen(t, vaultRef, ErrKey, `"aes256-gcm96" has no public half`)
	v.reading = func(w http.ResponseWriter, _ *http.Request) { respond(w, 200, map[string]any{"data": []int{1}}) }
	refusesToOpen(t, vaultRef, ErrKeyService, "VAULT_ADDR")
	v.reading = func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 403, map[string]any{"errors": []string{"token S3cret has no\npolicy"}})
	}
	refusesToOpen(t, vaultRef, ErrKeyService, "token *** has no policy")
	v.reading = nil

	key := open(t, vaultRef)
	v.signing = func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 403, map[string]any{"errors": []string{"permission denied"}})
	}
	refusesToSign(t, key, ErrKeyService, "permission denied")
	v.signing = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }
	refusesToSign(t, key, ErrKeyService, "not understood")
	v.signing = nil
	v.liar = true
	refusesToSign(t, key, ErrKeyService, "does not verify")
}

func TestHashivaultUnreached(t *testing.T) {
	v := newTransit(t, "ecdsa-p256")
	key := open(t, vaultRef)
	shortTimeout(t, 200*time.Millisecond)
	v.signing, v.reading = hanging(t), hanging(t)
	refusesToSign(t, key, ErrKeyService, "no answer within 200ms")
	refusesToOpen(t, vaultRef, ErrKeyService, "no answer within 200ms")

	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	refusesToOpen(t, vaultRef, ErrKeyService, "VAULT_ADDR")
	t.Setenv("VAULT_ADDR", "")
	refusesToOpen(t, vaultRef, ErrKeyService, "VAULT_ADDR is not set")
	t.Setenv("VAULT_ADDR", "http://127.0.0.1:1")
	t.Setenv("VAULT_TOKEN", "")
	t.Setenv("HOME", t.TempDir())
	refusesToOpen(t, vaultRef, ErrKeyService, "VAULT_TOKEN is not set")
}
