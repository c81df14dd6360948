//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestFilesAreReplacedAsAWhole: who has a file open while a command replaces it reads the old one to its end. A file that is
// rewritten in place is for a moment neither the old nor the new one, too short a moment for a random kill.
func TestFilesAreReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	testFiles{"tree/config.json": []byte("{}"), "tree/weights": []byte("first"), "other/config.json": []byte("{}"), "other/weights": []byte("later")}.write(t, dir)
	succeed(t, dir, "keys", "generate", "--output-key-prefix", "k")
	succeed(t, dir, "pack", "tree", "oci:place/store:v1")
	succeed(t, dir, "sign", "tree", "--key", "k.key", "--signature", "place/model.sig")
	succeed(t, dir, "pull", "oci:place/store:v1", "place/out")
	before := readTree(t, filepath.Join(dir, "place"))
	open := map[string]*os.File{}
	for name := range before {
		f, err := os.Open(filepath.Join(dir, "place", name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		open[name] = f
	}
	succeed(t, dir, "sign", "oci:place/store:v1", "--key", "k.key")
	succeed(t, dir, "pack", "other", "oci:place/store:v1")
	succeed(t, dir, "sign", "other", "--key", "k.key", "--signature", "place/model.sig")
	succeed(t, dir, "pull", "oci:place/store:v1", "place/out")
	after := readTree(t, filepath.Join(dir, "place"))
	for name, f := range open {
		if data, err := io.ReadAll(f); err != nil || !bytes.Equal(data, before[name]) {
			t.Errorf("%s was rewritten in place: %v", name, err)
		}
	}
	for _, name := range []string{"store/index.json", "model.sig", "out/weights"} {
		if bytes.Equal(before[name], after[name]) {
			t.Errorf("%s was not replaced at all", name)
		}
	}
}
