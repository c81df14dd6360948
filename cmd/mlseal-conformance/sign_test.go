package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/sigstoretest"
)

// TestSignBundle signs and verifies as sigstore-conformance does, with both versions of Rekor.
func TestSignBundle(t *testing.T) {
	for name, opts := range map[string][]sigstoretest.Option{"v1": nil, "v2": {sigstoretest.WithRekorV2()}} {
		t.Run(name, func(t *testing.T) {
			s := sigstoretest.New(t, opts...)
			dir := t.TempDir()
			file := func(name, content string) string {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				return path
			}
			root, config := file("root.json", string(s.TrustedRoot())), file("config.json", string(s.SigningConfig()))
			artifact, other, bundle := file("artifact", "content"), file("other", "else"), filepath.Join(dir, "bundle.json")
			sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("content")))
			token := s.Issuer.Token(sigstoretest.User)
			sign := []string{"sign-bundle", "--identity-token", token, "--bundle", bundle, "--trusted-root", root, "--signing-config", config}
			check := []string{"verify-bundle", "--bundle", bundle, "--certificate-identity", sigstoretest.User, "--certificate-oidc-issuer", s.Issuer.URL, "--trusted-root", root}

			want(t, 0, append(sign, artifact)...)
			want(t, 0, append(check, artifact)...)
			want(t, 0, append(check, sum)...)
			want(t, 1, append(check, other)...)

			statement := file("statement.json", `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"artifact","digest":{"sha256":"`+sum[len("sha256:"):]+`"}}],"predicateType":"https://example.test/v1","predicate":{}}`)
			want(t, 0, append(sign, "--in-toto", statement)...)
			want(t, 0, append(check, artifact)...)
			want(t, 0, append(check, sum)...)
			want(t, 1, append(check, other)...)
			want(t, 1, append(sign, "--in-toto", artifact)...) // not a statement

			model := filepath.Join(dir, "model")
			if err := os.Mkdir(model, 0o755); err != nil {
				t.Fatal(err)
			}
			file("model/weights", "w")
			want(t, 0, "sign-model", "--method", "sigstore", "--model-path", model, "--output-bundle", bundle, "--identity-token", token, "--trusted-root", root, "--signing-config", config)
			verify := []string{"verify-model", "--method", "sigstore", "--model-path", model, "--bundle", bundle, "--identity-provider", s.Issuer.URL, "--trusted-root", root, "--identity"}
			want(t, 0, append(verify, sigstoretest.User)...)
			want(t, 1, append(verify, "eve@example.test")...)
			file("model/weights", "x")
			want(t, 1, append(verify, sigstoretest.User)...)
		})
	}
}

// TestSignBundleRefuses: what cannot be signed leaves no bundle.
func TestSignBundleRefuses(t *testing.T) {
	s := sigstoretest.New(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root, config, artifact := file("root.json", s.TrustedRoot()), file("config.json", s.SigningConfig()), file("artifact", []byte("content"))
	bundle := filepath.Join(dir, "bundle.json")
	sign := func(token, root string) []string {
		return []string{"sign-bundle", "--identity-token", token, "--bundle", bundle, "--trusted-root", root, "--signing-config", config, artifact}
	}
	good := s.Issuer.Token(sigstoretest.User)
	want(t, 2, sign("no token", root)...)
	want(t, 2, sign(s.Issuer.Token(sigstoretest.User, sigstoretest.Expired()), root)...)
	want(t, 3, sign(s.Issuer.Token(sigstoretest.User, sigstoretest.Audience("other")), root)...)
	want(t, 3, sign(good, file("other.json", sigstoretest.New(t).TrustedRoot()))...) // what the services answer does not pass it
	s.Fulcio.Fail(sigstoretest.NoSCT)
	want(t, 3, sign(good, root)...)
	if _, err := os.Stat(bundle); err == nil {
		t.Error("a bundle was written")
	}
}

// TestVerifyBundleWithAKeyAlone: without a trusted root to be had, a key verifies by itself, and no log is claimed.
func TestVerifyBundleWithAKeyAlone(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := func(name string) (*signer.Key, string) {
		private, public, err := signer.Generate("", nil)
		if err != nil {
			t.Fatal(err)
		}
		key, err := signer.LoadKey(private, func() ([]byte, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
		return key, file(name, public)
	}
	key, public := pair("k.pub")
	_, other := pair("other.pub")
	s, err := signer.New(key, signer.Witnesses{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.SignMessage(context.Background(), []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, artifact := file("bundle", data), file("artifact", []byte("content"))
	check := []string{"verify-bundle", "--bundle", bundle, "--key"}
	if out := want(t, 0, append(check, public, artifact)...); !strings.Contains(out, "transparency log  not done") {
		t.Errorf("a log is claimed:\n%s", out)
	}
	want(t, 1, append(check, other, artifact)...)
	want(t, 3, "verify-bundle", "--bundle", bundle, "--certificate-identity", "a", "--certificate-oidc-issuer", "b", artifact)

	// A file is read though its name is written like a digest.
	named := file(fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("content"))), []byte("else"))
	t.Chdir(dir)
	want(t, 1, append(check, public, filepath.Base(named))...)
	if err := os.Remove(named); err != nil {
		t.Fatal(err)
	}
	want(t, 0, append(check, public, filepath.Base(named))...)
}
