//go:build interop

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// distributedExample is where a worked example of docs/distributed.md stands.
func distributedExample(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples", "distributed", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestInteropParallel hashes a tree in parts with GNU parallel, and wants what hashing it in one gives.
func TestInteropParallel(t *testing.T) {
	parallel := peer(t, "PARALLEL")
	l := newLab(t)
	l.tree("model", peersModel)
	t.Setenv("PATH", filepath.Dir(l.mlseal)+string(os.PathListSeparator)+filepath.Dir(parallel)+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("SHARDS", "1kB")
	t.Setenv("PARTS", "5")
	want := l.run(l.mlseal, "hash", "model", "--shards", "1kB", "-o", "digest")
	out := l.run(distributedExample(t, "parallel.sh"))
	if !strings.HasSuffix(out, want) || !strings.Contains(out, "model, 5/5") {
		t.Errorf("want %s at the end of:\n%s", want, out)
	}
	l.run(l.mlseal, "manifest", "diff", "mlseal-parts/manifest.json", "model")
	// What a path holds is no command.
	const strange = "my model; touch ran; '"
	if err := os.Rename(filepath.Join(l.dir, "model"), filepath.Join(l.dir, strange)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MODEL", filepath.Join(l.dir, strange))
	t.Setenv("OUT", filepath.Join(l.dir, "of "+strange))
	if out := l.run(distributedExample(t, "parallel.sh")); !strings.HasSuffix(out, want) {
		t.Errorf("want %s at the end of:\n%s", want, out)
	}
	// One part that fails ends the whole.
	t.Setenv("SHARDS", "none")
	l.fails(distributedExample(t, "parallel.sh"))
}

// TestInteropKubernetesValidate holds the Indexed Job to Kubernetes' own schema.
func TestInteropKubernetesValidate(t *testing.T) {
	validate := peer(t, "KUBERNETES_VALIDATE")
	l := newLab(t)
	good := distributedExample(t, "kubernetes.yaml")
	l.run(validate, "--strict", good)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	l.write("bad.yaml", strings.Replace(string(text), "completionMode:", "completionsMode:", 1))
	l.fails(validate, "--strict", "bad.yaml")
}
