package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := Write(name, []byte("one"), Options{Perm: 0o600}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o", info.Mode().Perm())
	}
	if err := Write(name, []byte("two"), Options{}); err != nil || read(t, name) != "two" {
		t.Errorf("replacing: %v", err)
	}
	if err := Write(name, []byte("three"), Options{NoOverwrite: true}); !errors.Is(err, ErrExists) {
		t.Errorf("NoOverwrite: error is %v", err)
	}
	failure := errors.New("half way")
	err = WriteFunc(name, Options{}, func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			return err
		}
		return failure
	})
	if !errors.Is(err, failure) || read(t, name) != "two" {
		t.Errorf("after a failure: %v, contents %q", err, read(t, name))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("temporary files are left: %v", entries)
	}
	if err := Write(filepath.Join(dir, "missing", "f"), nil, Options{}); err == nil {
		t.Error("a directory that is not there was written to")
	}
}
