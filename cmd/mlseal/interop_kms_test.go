//go:build interop

package main

import (
	"bufio"
	"net/http"
	"os"
	"strings"
	"testing"
)

// vault starts the transit engine of HashiCorp Vault on loopback and lets the lab's commands use it.
func (l *lab) vault() {
	l.t.Helper()
	const token = "interop-token"
	cmd := l.command(peer(l.t, "TRANSIT"))
	cmd.Env = append(cmd.Env, "DEV_TOKEN="+token)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		l.t.Fatalf("the engine did not start: %v", err)
	}
	l.t.Setenv("VAULT_ADDR", strings.TrimSpace(address))
	l.t.Setenv("VAULT_TOKEN", token)
}

// transit asks the engine to do what mlseal never does: make, rotate and configure keys.
func (l *lab) transit(path, body string) {
	l.t.Helper()
	request, err := http.NewRequest("POST", os.Getenv("VAULT_ADDR")+"/v1/transit/"+path, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	request.Header.Set("X-Vault-Token", os.Getenv("VAULT_TOKEN"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		l.t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode >= 300 {
		l.t.Fatalf("%s %s: %s", path, body, response.Status)
	}
}

// exported writes the public key of a key in the service.
func (l *lab) exported(ref, file string) {
	l.write(file, l.run(l.mlseal, "keys", "public", "--key", ref))
}

// cosignVerifies has a cosign command line verify a package with release.pub. Both take every digest for sha256 unless told.
func (l *lab) cosignVerifies(name, at, hash string) {
	l.t.Helper()
	args := []string{"verify", "--key", "release.pub", "--insecure-ignore-tlog=true", "--allow-http-registry", "--signature-digest-algorithm", hash}
	cosign := peer(l.t, name)
	if name == "COSIGN2" {
		l.run(cosign, "trusted-root", "create", "--out", "root.json")
		args = append(args, "--new-bundle-format", "--trusted-root", "root.json")
	}
	l.run(cosign, append(args, at)...)
}

// TestInteropKMS signs a tree and a package with every kind of key that the transit engine has and bundles know.
func TestInteropKMS(t *testing.T) {
	l := newLab(t)
	l.vault()
	l.model()
	for kind, hash := range map[string]string{"ecdsa-p256": "sha256", "ecdsa-p384": "sha384", "ecdsa-p521": "sha512", "ed25519": "sha256", "rsa-2048": "sha256", "rsa-3072": "sha256", "rsa-4096": "sha256"} {
		t.Run(kind, func(t *testing.T) {
			l := &lab{t, l.dir, l.mlseal}
			key := "hashivault://" + kind
			l.transit("keys/"+kind, `{"type": "`+kind+`"}`)
			l.exported(key, "release.pub")
			l.run(l.mlseal, "sign", "model", "--key", key, "--signature", "model.sig")
			l.run(l.mlseal, "verify", "model", "--signature", "model.sig", "--key", "release.pub")

			ref := l.referrersRegistry() + "/team/model"
			at := ref + "@" + strings.TrimSpace(l.run(l.mlseal, "pack", "model", ref+":v1", "-o", "digest"))
			l.run(l.mlseal, "sign", at, "--key", key)
			l.run(l.mlseal, "verify", at, "--key", "release.pub")
			for _, name := range []string{"COSIGN2", "COSIGN3"} {
				l.cosignVerifies(name, at, hash)
			}
			if strings.HasPrefix(kind, "ecdsa-") { // the kinds that the Python package knows
				l.run(peer(t, "MODEL_SIGNING"), "verify", "key", "--signature", "model.sig", "--public_key", "release.pub", "model")
			}
		})
	}
}

// TestInteropKMSRotation: what was signed before a rotation verifies with the key that was exported before it.
func TestInteropKMSRotation(t *testing.T) {
	l := newLab(t)
	l.vault()
	l.model()
	const ref = "hashivault://release"
	l.transit("keys/release", `{"type": "ecdsa-p256"}`)
	l.exported(ref, "v1.pub")
	l.run(l.mlseal, "sign", "model", "--key", ref, "--signature", "v1.sig")
	l.transit("keys/release/rotate", "")
	l.exported(ref, "v2.pub")
	l.run(l.mlseal, "sign", "model", "--key", ref, "--signature", "v2.sig")
	l.run(l.mlseal, "verify", "model", "--signature", "v1.sig", "--key", "v1.pub")
	l.run(l.mlseal, "verify", "model", "--signature", "v2.sig", "--key", "v2.pub")
	l.fails(l.mlseal, "verify", "model", "--signature", "v1.sig", "--key", "v2.pub")
	l.fails(l.mlseal, "verify", "model", "--signature", "v2.sig", "--key", "v1.pub")

	// the old version may sign no more
	l.transit("keys/release/config", `{"min_encryption_version": 2}`)
	l.run(l.mlseal, "sign", "model", "--key", ref, "--signature", "v2again.sig")
	l.run(l.mlseal, "verify", "model", "--signature", "v2again.sig", "--key", "v2.pub")
	// and the engine forgets it altogether
	l.transit("keys/release/config", `{"min_decryption_version": 2}`)
	l.run(l.mlseal, "verify", "model", "--signature", "v1.sig", "--key", "v1.pub")
	l.exported(ref, "v2still.pub")
	l.run("cmp", "v2.pub", "v2still.pub")

	l.transit("keys/secret", `{"type": "aes256-gcm96"}`)
	if out := l.fails(l.mlseal, "sign", "model", "--key", "hashivault://secret"); !strings.Contains(out, "no public half") {
		t.Errorf("a symmetric key: %s", out)
	}
	if out := l.fails(l.mlseal, "sign", "model", "--key", "hashivault://missing"); !strings.Contains(out, "no such key") {
		t.Errorf("a missing key: %s", out)
	}
	t.Setenv("VAULT_TOKEN", "another")
	if out := l.fails(l.mlseal, "sign", "model", "--key", ref); !strings.Contains(out, "permission denied") {
		t.Errorf("another token: %s", out)
	}
}
