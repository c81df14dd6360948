//go:build interop

package main

import (
	"bytes"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What mlseal copies, oras and others read, and the other way; distribution's registry and zot take and give it in chunks.
func TestInteropCopy(t *testing.T) {
	l := newLab(t)
	oras := peer(t, "ORAS")
	l.model()
	large := make([]byte, 40<<20)
	_, _ = rand.New(rand.NewSource(1)).Read(large)
	if err := os.WriteFile(filepath.Join(l.dir, "model", "large.bin"), large, 0o644); err != nil {
		t.Fatal(err)
	}
	l.run(l.mlseal, "keys", "generate")
	digest := strings.TrimSpace(l.run(l.mlseal, "pack", "model", "oci:store:v1", "-o", "digest"))
	l.run(l.mlseal, "sign", "oci:store:v1", "--key", "mlseal.key")
	for name, start := range registries {
		t.Run(name, func(t *testing.T) {
			l := &lab{t, l.dir, l.mlseal}
			addr := start(l)
			ref, prod, layout := addr+"/team/model:v1", addr+"/prod/model:v1", "back-"+name
			l.run(l.mlseal, "push", "oci:store:v1", ref)
			// No file is sent within a registry: it is mounted, or there for every repository.
			if out := l.run(l.mlseal, "copy", ref, prod); !strings.Contains(out, "MB in ") || regexp.MustCompile(`(?m)^sent .* MB`).MatchString(out) {
				t.Errorf("the files were sent:\n%s", out)
			}
			if got := strings.TrimSpace(l.run(oras, "resolve", "--plain-http", prod)); got != digest {
				t.Errorf("the digest is %s, want %s", got, digest)
			}
			if out := l.run(oras, "discover", "--plain-http", prod); !strings.Contains(out, "dev.sigstore.bundle.predicateType") {
				t.Errorf("oras discovers no bundle:\n%s", out)
			}
			l.run(l.mlseal, "copy", prod, "oci:"+layout+":v1")
			if out := l.run(oras, "discover", "--oci-layout", layout+":v1"); !strings.Contains(out, "dev.sigstore.bundle.predicateType") {
				t.Errorf("oras discovers no bundle in the layout:\n%s", out)
			}
			l.run(l.mlseal, "verify", "oci:"+layout+":v1", "--key", "mlseal.pub")
			l.run(l.mlseal, "gc", layout, "--older-than", "0s")
			l.run(oras, "cp", "-r", "--from-oci-layout", layout+":v1", "--to-plain-http", addr+"/again/model:v1")
			l.run(l.mlseal, "verify", addr+"/again/model:v1", "--key", "mlseal.pub")
			l.run(l.mlseal, "pull", prod, "out-"+name)
			got, err := os.ReadFile(filepath.Join(l.dir, "out-"+name, "large.bin"))
			if err != nil || !bytes.Equal(got, large) {
				t.Errorf("large.bin: %v", err)
			}
		})
	}
}
