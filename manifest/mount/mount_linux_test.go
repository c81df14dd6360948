package mount

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/reader"
)

// mounted mounts the files below dir in shards of 64 KiB.
func mounted(t *testing.T, dir string, opts Options, readerOpts reader.Options) string {
	t.Helper()
	m, err := manifest.Build(t.Context(), os.DirFS(dir), manifest.Options{Serialization: manifest.Serialization{ShardSize: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string][]manifest.Resource{}
	for _, r := range m.Resources() {
		expected[r.Path] = append(expected[r.Path], r)
	}
	var entries []reader.Entry
	for name, list := range expected {
		source, err := reader.FromFS(os.DirFS(dir), name)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, reader.Entry{Path: name, Source: source, Expected: list})
	}
	tree, err := reader.NewTree(t.Context(), entries, readerOpts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	at := t.TempDir()
	mnt, err := Mount(tree, at, opts)
	if errors.Is(err, ErrUnsupported) {
		t.Skip("nothing can be mounted here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mnt.Unmount(); err != nil {
			t.Error(err)
		}
		mnt.Wait()
	})
	return at
}

func some(n int) []byte {
	r := rand.NewChaCha8([32]byte{3})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestMount(t *testing.T) {
	dir, data := t.TempDir(), some(1_000_001)
	write(t, filepath.Join(dir, "w.bin"), data)
	write(t, filepath.Join(dir, "a", "b", "config.json"), []byte("{}"))
	at := mounted(t, dir, Options{Failed: func(file string, err error) { t.Errorf("%s: %v", file, err) }}, reader.Options{})
	write(t, filepath.Join(dir, "late.py"), []byte("import os"))

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := os.ReadFile(filepath.Join(at, "w.bin")); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if got, err := os.ReadFile(filepath.Join(at, "a/b/config.json")); err != nil || string(got) != "{}" {
		t.Errorf("%q %v", got, err)
	}
	var names []string
	err := fs.WalkDir(os.DirFS(at), ".", func(name string, d fs.DirEntry, err error) error {
		info, infoErr := d.Info()
		if err != nil || infoErr != nil || info.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s: %v %v %v", name, err, infoErr, info.Mode())
		}
		names = append(names, name)
		return nil
	})
	if got := strings.Join(names, " "); err != nil || got != ". a a/b a/b/config.json w.bin" {
		t.Errorf("%s, %v", got, err)
	}
	for what, try := range map[string]func() error{
		"write":  func() error { return os.WriteFile(filepath.Join(at, "w.bin"), nil, 0o666) },
		"create": func() error { return os.WriteFile(filepath.Join(at, "new"), nil, 0o666) },
		"remove": func() error { return os.Remove(filepath.Join(at, "w.bin")) },
		"mkdir":  func() error { return os.Mkdir(filepath.Join(at, "d"), 0o777) },
		"chmod":  func() error { return os.Chmod(filepath.Join(at, "w.bin"), 0o4777) },
	} {
		if err := try(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, at) {
			for _, want := range []string{"fuse.mlseal", "ro,", "nosuid", "nodev", "noatime"} {
				if !strings.Contains(line, want) {
					t.Errorf("%s is not in %s", want, line)
				}
			}
		}
	}
}

// TestMountOfAnAlteredFile: what touches the wrong shard gets EIO, the rest is read, and not one wrong byte is.
func TestMountOfAnAlteredFile(t *testing.T) {
	dir, data := t.TempDir(), some(1_000_001)
	name := filepath.Join(dir, "w.bin")
	write(t, name, data)
	var failed atomic.Int64
	at := mounted(t, dir, Options{Failed: func(file string, err error) {
		failed.Add(1)
		if file != "w.bin" || !errors.Is(err, reader.ErrMismatch) || !strings.Contains(err.Error(), "bytes 458752 to 524288") {
			t.Errorf("%s: %v", file, err)
		}
	}}, reader.Options{})
	bad := bytes.Clone(data)
	bad[500_000] ^= 1 // in the shard from 458752 to 524288
	write(t, name, bad)

	f, err := os.Open(filepath.Join(at, "w.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for off := int64(0); off < 1_000_001; off += 4096 {
		p := make([]byte, min(4096, 1_000_001-off))
		n, err := f.ReadAt(p, off)
		if !bytes.Equal(p[:n], data[off:off+int64(n)]) {
			t.Fatalf("wrong bytes at %d", off)
		}
		if inBad := off+4096 > 458752 && off < 524288; inBad != errors.Is(err, syscall.EIO) || inBad != (err != nil) {
			t.Errorf("at %d: %v", off, err)
		}
	}
	if failed.Load() == 0 {
		t.Error("nobody was told")
	}
}
