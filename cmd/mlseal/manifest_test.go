package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/parts"
)

// TestMergePartsBounded: many parts, each of a size that is read, are not all held in memory.
func TestMergePartsBounded(t *testing.T) {
	dir, tree := t.TempDir(), fstest.MapFS{}
	for i := range 6 {
		tree[fmt.Sprint(i)] = &fstest.MapFile{Data: []byte("x")}
	}
	for i := 1; i <= 3; i++ {
		part, err := parts.Hash(t.Context(), tree, parts.About{Name: "tree"}, manifest.Options{}, i, 3)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := mergeParts([]string{dir}, 6); err != nil {
		t.Error(err)
	}
	if _, err := mergeParts([]string{dir}, 5); !errors.Is(err, parts.ErrParts) {
		t.Error(err)
	}
}
