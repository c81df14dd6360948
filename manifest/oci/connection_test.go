package oci

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mlseal/mlseal/internal/registrytest"
)

// loggedIn writes docker's configuration with a password for the registry.
func loggedIn(t *testing.T, host, user, password string) {
	t.Helper()
	dir := t.TempDir()
	config := `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}

// Registries redirect downloads to storage elsewhere, which must not get the credentials.
func TestRedirectsCarryNoCredentials(t *testing.T) {
	data := randomBytes(1000)
	desc := describeBytes("application/octet-stream", data)
	var seen []string
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		_, _ = w.Write(data)
	}))
	defer storage.Close()
	g := &registrytest.Registry{User: "who", Password: "secret", Answer: func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, storage.URL+"/blob", http.StatusTemporaryRedirect)
		return true
	}}
	host := serve(t, g)
	loggedIn(t, host, "who", "secret")
	if err := copyBlob(t.Context(), openAt(t, host+"/team/model"), desc, io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || seen[0] != "" {
		t.Errorf("storage saw %d requests with %q", len(seen), seen)
	}
}

// secure serves over TLS and returns the certificate that has to be trusted for it.
func secure(t *testing.T, h http.Handler) (host string, certificate []byte) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return strings.TrimPrefix(s.URL, "https://"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// openSecure opens a repository on loopback with TLS, which Open would take for plain http.
func openSecure(t *testing.T, name string, certificates []byte) *repository {
	t.Helper()
	target, err := Open(t.Context(), parse(t, name), OpenOptions{CACertificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	target.(*repository).PlainHTTP = false
	return target.(*repository)
}

func TestOwnAuthority(t *testing.T) {
	host, certificate := secure(t, &registrytest.Registry{})
	data := randomBytes(100)
	if err := onePass(t, openSecure(t, host+"/team/model", certificate), data); err != nil {
		t.Errorf("trusted: %v", err)
	}
	quick(t)
	if err := onePass(t, openSecure(t, host+"/team/model", nil), data); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("not trusted: %v", err)
	}
	if _, err := Open(t.Context(), parse(t, host+"/team/model"), OpenOptions{CACertificates: []byte("x")}); !errors.Is(err, ErrCertificates) {
		t.Errorf("no certificate: %v", err)
	}
}

func TestNoWayBackFromTLS(t *testing.T) {
	data := randomBytes(100)
	desc := describeBytes("application/octet-stream", data)
	asked := false
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked = true; _, _ = w.Write(data) }))
	defer plain.Close()
	host, certificate := secure(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "http://"+r.Host+"/v2/team/model/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
			return
		}
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	r := openSecure(t, host+"/team/model", certificate)
	for name, err := range map[string]error{
		"blob":     copyBlob(t.Context(), r, desc, io.Discard, nil),
		"upload":   onePass(t, r, data),
		"manifest": func() error { _, err := r.Resolve(t.Context(), "v1"); return err }(),
	} {
		if !errors.Is(err, ErrContent) || asked {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// HTTP_PROXY is read once in a process, so that this test runs in one of its own.
func TestProxy(t *testing.T) {
	if name := os.Getenv("MLSEAL_TEST_BEHIND_PROXY"); name != "" {
		target, err := Open(t.Context(), parse(t, name), OpenOptions{PlainHTTP: true})
		if err != nil {
			t.Fatal(err)
		}
		pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		return
	}
	g := &registrytest.Registry{}
	registry, err := url.Parse("http://" + serve(t, g))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "models.invalid" {
			http.Error(w, "not a request to a proxy", http.StatusBadRequest)
			return
		}
		asked.Add(1)
		r.URL.Host, r.URL.Scheme = registry.Host, "http"
		g.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
	cmd.Env = append(os.Environ(), "MLSEAL_TEST_BEHIND_PROXY=models.invalid/team/model", "HTTP_PROXY="+proxy.URL, "NO_PROXY=")
	if out, err := cmd.CombinedOutput(); err != nil || asked.Load() == 0 {
		t.Errorf("%v, %d requests: %s", err, asked.Load(), out)
	}
}
