//go:build unix

package reader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/rootfs"
)

// TestSomethingElseInPlaceOfAFile: whatever takes the place of a file, before or after it was found, is a mismatch, and nothing that is waited for.
func TestSomethingElseInPlaceOfAFile(t *testing.T) {
	data := some(5000)
	for name, put := range map[string]func(path string) error{
		"nothing":             os.Remove,
		"pipe":                instead(func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		"directory":           instead(func(path string) error { return os.Mkdir(path, 0o700) }),
		"link out of it":      instead(func(path string) error { return os.Symlink("../../outside", path) }),
		"circle":              instead(func(path string) error { return os.Symlink("f", path) }),
		"folder out of it":    folder(func(path string) error { return os.Symlink("../..", path) }),
		"file for the folder": folder(func(path string) error { return os.WriteFile(path, data, 0o600) }),
	} {
		for _, early := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "tree")
				path := filepath.Join(dir, "d", "f")
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600), os.WriteFile(filepath.Join(dir, "../outside"), data, 0o600)); err != nil {
					t.Fatal(err)
				}
				expected := resources(t, data, manifest.Serialization{ShardSize: 700})
				if early {
					if err := put(path); err != nil {
						t.Fatal(err)
					}
				}
				err := readFrom(t, dir, expected, func() error { return put(path) }, early)
				if early && name == "nothing" {
					if !errors.Is(err, os.ErrNotExist) {
						t.Error(err)
					}
				} else if !errors.Is(err, ErrMismatch) {
					t.Errorf("early %t: %v", early, err)
				}
			})
		}
	}
}

func instead(put func(path string) error) func(path string) error {
	return func(path string) error { return errors.Join(os.Remove(path), put(path)) }
}

func folder(put func(path string) error) func(path string) error {
	return func(path string) error { return errors.Join(os.RemoveAll(filepath.Dir(path)), put(filepath.Dir(path))) }
}

// readFrom finds d/f below dir, calls put unless it was called early, and reads the file.
func readFrom(t *testing.T, dir string, expected []manifest.Resource, put func() error, early bool) error {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	fsys := rootfs.New(root)
	defer func() { _ = fsys.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	source, err := FromFS(fsys, "d/f")
	if err != nil {
		return err
	}
	f, err := Open(ctx, "d/f", source, expected, Options{})
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if !early {
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = f.ReadAt(make([]byte, 1000), 2000)
	return err
}
