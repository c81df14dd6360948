package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/testenv"
)

// do runs one command line and returns its status and all that it wrote.
func do(args ...string) (int, string) {
	var out bytes.Buffer
	status := run(context.Background(), args, &out, &out)
	return status, out.String()
}

func want(t *testing.T, status int, args ...string) string {
	t.Helper()
	got, out := do(args...)
	if got != status {
		t.Errorf("%s: status %d, want %d\n%s", strings.Join(args, " "), got, status, out)
	}
	return out
}

// firstOf is the first of the files that is there.
func firstOf(t *testing.T, files ...string) string {
	t.Helper()
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	t.Fatalf("none of %v is there", files)
	return ""
}

func text(file, fallback string) string {
	if data, err := os.ReadFile(file); err == nil {
		return strings.TrimSpace(string(data))
	}
	return fallback
}

// TestVerifyBundle runs the cases of sigstore-conformance as its suite does, by path and by digest.
func TestVerifyBundle(t *testing.T) {
	top := filepath.Join(testenv.Vectors(t), "sigstore")
	bundles, err := filepath.Glob(filepath.Join(top, "bundle-verify", "*", "bundle.sigstore.json"))
	if err != nil || len(bundles) < 35 {
		t.Fatalf("%d cases, there should be 35: %v", len(bundles), err)
	}
	for _, bundle := range bundles {
		dir := filepath.Dir(bundle)
		artifact := firstOf(t, filepath.Join(dir, "artifact"), filepath.Join(top, "bundle-verify", "a.txt"))
		content, err := os.ReadFile(artifact)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"verify-bundle", "--bundle", bundle, "--trusted-root", firstOf(t, filepath.Join(dir, "trusted_root.json"), filepath.Join(top, "public-good-root.json"))}
		if key := filepath.Join(dir, "key.pub"); text(key, "") != "" {
			args = append(args, "--key", key)
		} else {
			args = append(args,
				"--certificate-oidc-issuer", text(filepath.Join(dir, "issuer"), "https://token.actions.githubusercontent.com"),
				"--certificate-identity", text(filepath.Join(dir, "identity"), "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"))
		}
		status := 0
		if strings.HasSuffix(dir, "_fail") {
			status = 1
		}
		for _, what := range []string{artifact, fmt.Sprintf("sha256:%x", sha256.Sum256(content))} {
			want(t, status, append(args, what)...)
		}
	}
}

func TestVerifyModelVectors(t *testing.T) {
	oms := filepath.Join(testenv.Vectors(t), "oms")
	keys := filepath.Join(oms, "keys")
	key := []string{"--method", "key", "--public-key", filepath.Join(keys, "signing-key-pub.pem")}
	certificate := []string{"--method", "certificate", "--cert-chain", filepath.Join(keys, "int-ca-cert.pem"), "--cert-chain", filepath.Join(keys, "ca-cert.pem")}
	sigstore := []string{"--method", "sigstore", "--identity", "stefanb@us.ibm.com", "--identity-provider", "https://sigstore.verify.ibm.com/oauth2",
		"--trusted-root", filepath.Join(oms, "custom_trust_config.json")}
	for name, how := range map[string][]string{
		"v0.3.1-elliptic-key": key, "v1.0.0-elliptic-key": key, "v1.1.0-elliptic-key": key,
		"v0.2.0-certificate": certificate, "v0.3.1-certificate": certificate, "v1.0.0-certificate": certificate, "v0.3.1-sigstore": sigstore, "v1.0.0-sigstore": sigstore,
	} {
		dir := filepath.Join(oms, name)
		model := dir
		if name == "v0.3.1-elliptic-key" || name == "v1.0.0-elliptic-key" {
			model = filepath.Join(dir, "signme-1")
		}
		args := append([]string{"verify-model", "--model-path", model, "--bundle", filepath.Join(dir, "model.sig")}, how...)
		out := want(t, 0, args...)
		if logged := strings.Contains(out, "transparency log  passed"); logged != (how[1] == "sigstore") {
			t.Errorf("%s: log inclusion claimed: %t\n%s", name, logged, out)
		}
		args[2] = filepath.Join(oms, "keys")
		want(t, 1, args...)
	}
}

func TestSignModel(t *testing.T) {
	dir := t.TempDir()
	private, public, err := signer.Generate("", []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("MLSEAL_PASSWORD", "pw")
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, pub := file("k.key", string(private)), file("k.pub", string(public))
	weights, notes := file("model/weights", "w"), file("model/notes/a", "n")
	model, bundle := filepath.Dir(weights), filepath.Join(dir, "model", "model.sig")
	sign := []string{"sign-model", "--method", "key", "--model-path", model, "--output-bundle", bundle, "--private-key", key, "--ignore-paths", filepath.Dir(notes)}
	check := []string{"verify-model", "--method", "key", "--model-path", model, "--bundle", bundle, "--public-key", pub}
	want(t, 0, sign...)
	want(t, 0, check...)
	file("model/notes/a", "changed, and ignored by the signer")
	want(t, 0, check...)
	file("model/weights", "x")
	want(t, 1, check...)
	file("model/model.sig", "{}")
	want(t, 1, check...)
	file("model/weights", "w")
	want(t, 0, sign...)
	file("model/unsigned", "x")
	want(t, 1, check...)
	want(t, 0, append(check, "--ignore-unsigned-files")...)
	want(t, 0, append(check, "--ignore-paths", filepath.Join(model, "unsigned"))...)
	want(t, 1, append(check, "--ignore-paths", filepath.Join(model, "weights"))...)
	t.Setenv("MLSEAL_PASSWORD", "wrong")
	want(t, 2, sign...)
	want(t, 0, append(sign[:3:3], "--model-path", weights, "--output-bundle", bundle, "--private-key", keyOf(t, file))...)
	want(t, 1, append(check[:3:3], "--model-path", weights, "--bundle", bundle, "--public-key", pub)...)
}

// TestSignModelWithACertificate signs with the vectors' key and certificates and verifies with their authority.
func TestSignModelWithACertificate(t *testing.T) {
	keys := filepath.Join(testenv.Vectors(t), "oms", "keys")
	model := t.TempDir()
	if err := os.WriteFile(filepath.Join(model, "weights"), []byte("w"), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "model.sig")
	sign := []string{"sign-model", "--method", "certificate", "--model-path", model, "--output-bundle", bundle, "--private-key", filepath.Join(keys, "signing-key.pem"),
		"--signing-cert", filepath.Join(keys, "signing-key-cert.pem"), "--cert-chain"}
	want(t, 0, append(sign, filepath.Join(keys, "int-ca-cert.pem"))...)
	check := []string{"verify-model", "--method", "certificate", "--model-path", model, "--bundle", bundle, "--cert-chain"}
	want(t, 0, append(check, filepath.Join(keys, "ca-cert.pem"))...)
	want(t, 2, append(sign, filepath.Join(keys, "ca-cert.pem"))...) // it did not sign the certificate
}

// keyOf is a key without a password.
func keyOf(t *testing.T, file func(name, content string) string) string {
	t.Helper()
	private, _, err := signer.Generate("", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("MLSEAL_PASSWORD", "")
	return file("plain.key", string(private))
}

// TestUsage: what is asked wrongly, or cannot be done, is status 2 and never a yes.
func TestUsage(t *testing.T) {
	if out := want(t, 0, "--help"); !strings.Contains(out, "sign-bundle") {
		t.Errorf("the help lists no commands:\n%s", out)
	}
	model := t.TempDir()
	for _, args := range [][]string{
		{}, {"verify"}, {"verify-bundle"}, {"verify-bundle", "--bundle", "b", "a"}, {"verify-bundle", "--bundle", "b", "--key", "k"},
		{"verify-bundle", "--bundle", "b", "--key", "k", "--certificate-identity", "i", "a"}, {"verify-bundle", "--no-such-flag"},
		{"verify-bundle", "--bundle", "b", "--trusted-root", "missing", "--key", "k", "a"},
		{"sign-bundle", "--identity-token", "t", "--bundle", "b", "f"},
		{"sign-model", "--method", "sigstore", "--model-path", model, "--output-bundle", "b"},
		{"sign-model", "--method", "certificate", "--model-path", model, "--output-bundle", "b"},
		{"sign-model", "--method", "certificate", "--model-path", model, "--output-bundle", "b", "--private-key", "missing"},
		{"verify-model", "--method", "key", "--model-path", model, "--bundle", "b"},
		{"verify-model", "--method", "certificate", "--model-path", model, "--bundle", "b"},
		{"verify-model", "--method", "magic", "--model-path", model, "--bundle", "b"},
	} {
		want(t, 2, args...)
	}
}
