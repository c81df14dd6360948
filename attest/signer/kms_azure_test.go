//go:build !nokms

package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// azureVault speaks as much of Key Vault's HTTP API as signing takes, behind TLS and a managed identity.
type azureVault struct {
	*fakeKey
	host             string
	reading, signing http.HandlerFunc // take the place of what the vault does
}

const azureVersion = "%032d"

func newAzureVault(t *testing.T, kind string) *azureVault {
	identity := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-IDENTITY-HEADER") != "S3cret" {
			respond(w, 403, "no")
			return
		}
		respond(w, 200, map[string]string{"access_token": "S3cretToken", "expires_on": fmt.Sprint(time.Now().Add(time.Hour).Unix()),
			"resource": r.URL.Query().Get("resource"), "token_type": "Bearer"})
	}))
	t.Cleanup(identity.Close)
	t.Setenv("IDENTITY_ENDPOINT", identity.URL)
	t.Setenv("IDENTITY_HEADER", "S3cret")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	v := &azureVault{fakeKey: newFakeKey(t, kind)}
	v.host = startTLS(t, v)
	return v
}

func (v *azureVault) ref() string { return "azurekms://" + v.host + "/release" }

func (v *azureVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer S3cretToken" {
		// The client wants the resource to be a suffix of the host.
		_, resource, _ := strings.Cut(v.host, ".")
		w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000", resource="https://`+resource+`"`)
		w.WriteHeader(401)
		return
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // keys, name, version, sign
	version := len(v.versions)
	if len(path) > 2 {
		if _, err := fmt.Sscanf(path[2], "%d", &version); err != nil || version < 1 || version > len(v.versions) {
			path[1] = ""
		}
	}
	switch {
	case path[1] != "release":
		respond(w, 404, map[string]any{"error": map[string]string{"code": "KeyNotFound", "message": "A key with that name was not found"}})
	case len(path) == 4 && v.signing != nil:
		v.signing(w, r)
	case len(path) == 4:
		v.serveSign(w, r, version)
	case v.reading != nil:
		v.reading(w, r)
	default:
		respond(w, 200, map[string]any{"key": v.webKey(version), "attributes": map[string]bool{"enabled": true}})
	}
}

func (v *azureVault) webKey(version int) map[string]any {
	key := map[string]any{"kid": "https://" + v.host + "/keys/release/" + fmt.Sprintf(azureVersion, version)}
	b64 := base64.RawURLEncoding.EncodeToString
	switch public := v.versions[version-1].Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			v.t.Error(err)
		}
		size := len(point) / 2
		key["kty"], key["crv"] = "EC-HSM", public.Params().Name
		key["x"], key["y"] = b64(point[1:1+size]), b64(point[1+size:])
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	}
	return key
}

func (v *azureVault) serveSign(w http.ResponseWriter, r *http.Request, version int) {
	var q struct{ Alg, Value string }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		v.t.Error(err)
	}
	digest, err := base64.RawURLEncoding.DecodeString(q.Value)
	if err != nil {
		v.t.Error(err)
	}
	sums := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	sig := v.sign(version, digest, sums[q.Alg[2:]])
	if public, ok := v.versions[version-1].Public().(*ecdsa.PublicKey); ok {
		var point struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &point); err != nil {
			v.t.Error(err)
		}
		size := (public.Params().BitSize + 7) / 8
		sig = append(point.R.FillBytes(make([]byte, size)), point.S.FillBytes(make([]byte, size))...)
	}
	respond(w, 200, map[string]any{"kid": v.webKey(version)["kid"], "value": base64.RawURLEncoding.EncodeToString(sig)})
}

func TestAzure(t *testing.T) {
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048"} {
		t.Run(kind, func(t *testing.T) {
			v := newAzureVault(t, kind)
			verifies(t, open(t, v.ref()), v.versions[0].Public())
		})
	}
}

// TestAzurePinsVersion rotates the key between opening and signing.
func TestAzurePinsVersion(t *testing.T) {
	v := newAzureVault(t, "ecdsa-p256")
	key := open(t, v.ref())
	v.rotate()
	verifies(t, key, v.versions[0].Public())
	verifies(t, open(t, v.ref()), v.versions[1].Public())
	verifies(t, open(t, v.ref()+"/"+fmt.Sprintf(azureVersion, 1)), v.versions[0].Public())
	verifies(t, open(t, v.ref()+"/"), v.versions[1].Public())
	if fmt.Sprint(v.asked) != "[1 2 1 2]" {
		t.Errorf("the versions %v signed", v.asked)
	}
}

func TestAzureRefused(t *testing.T) {
	v := newAzureVault(t, "ecdsa-p256")
	refusesToOpen(t, "azurekms://"+v.host+"/other", ErrKey, "no such key")
	refusesToOpen(t, v.ref()+"/"+fmt.Sprintf(azureVersion, 9), ErrKey, "no such key")
	v.reading = func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 403, map[string]any{"error": map[string]string{"code": "Forbidden", "message": "S3cret may not"}})
	}
	refusesToOpen(t, v.ref(), ErrKeyService, "*** may not")
	v.reading = func(w http.ResponseWriter, _ *http.Request) { respond(w, 200, map[string]any{}) }
	refusesToOpen(t, v.ref(), ErrKeyService, "names no version")
	refusesToOpen(t, v.ref()+"/1", ErrKeyService, "not understood")
	v.reading = func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 200, map[string]any{"key": map[string]string{"kid": "https://" + v.host + "/keys/release/1", "kty": "oct-HSM"}})
	}
	refusesToOpen(t, v.ref(), ErrKey, "symmetric")
	v.reading = nil

	key := open(t, v.ref())
	v.signing = func(w http.ResponseWriter, _ *http.Request) { respond(w, 200, map[string]any{"value": ""}) }
	refusesToSign(t, key, ErrKeyService, "does not verify")
	v.signing = nil
	v.liar = true
	refusesToSign(t, key, ErrKeyService, "does not verify")
	shortTimeout(t, 200*time.Millisecond)
	v.signing = hanging(t)
	refusesToSign(t, key, ErrKeyService, "no answer within 200ms")

	other := newAzureVault(t, "ecdsa-p256") // for which there is no token yet
	t.Setenv("IDENTITY_HEADER", "other")
	refusesToOpen(t, other.ref(), ErrKeyService, "AZURE_CLIENT_ID")
}

// TestAzureHash: the vault's client signs with SHA-384 where bundles want SHA-256.
func TestAzureHash(t *testing.T) {
	v := newAzureVault(t, "rsa-3072")
	refusesToOpen(t, v.ref(), ErrKey, "signs with SHA-384")
	if v.asked != nil {
		t.Error("it signed")
	}
}
