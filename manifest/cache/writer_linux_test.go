package cache

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mlseal/mlseal/manifest"
	"golang.org/x/sys/unix"
)

// TestWritersAreNotRemembered: while somebody has a file open for writing or mapped to write to it, its digest is not remembered, for the next write may
// leave no trace. Afterwards it is.
func TestWritersAreNotRemembered(t *testing.T) {
	const size = 64 << 10
	for name, hold := range map[string]func(t *testing.T, f *os.File) (write func(byte), release func()){
		"open": func(t *testing.T, f *os.File) (func(byte), func()) {
			return func(b byte) {
				if _, err := f.WriteAt([]byte{b}, 40_000); err != nil {
					t.Fatal(err)
				}
			}, func() { _ = f.Close() }
		},
		"mapped": func(t *testing.T, f *os.File) (func(byte), func()) {
			mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close() // the mapping stays
			return func(b byte) { mapped[40_000] = b }, func() { _ = unix.Munmap(mapped) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := newCache(t)
			files := below(t, c, dir)
			hash := func(digests manifest.Digests) string {
				t.Helper()
				m, err := manifest.Build(context.Background(), os.DirFS(dir), manifest.Options{Digests: digests})
				if err != nil {
					t.Fatal(err)
				}
				return m.DirHash()
			}
			remembered := func() bool {
				t.Helper()
				info, err := c.Info()
				if err != nil {
					t.Fatal(err)
				}
				return info.Entries > 0
			}
			file := filepath.Join(dir, "w")
			if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			write, release := hold(t, f)
			write(1)
			time.Sleep(RacyWindow + 100*time.Millisecond)
			for i := range byte(20) {
				first := hash(files)
				if remembered() {
					t.Fatalf("write %d: the digest was remembered", i)
				}
				write(2 + i)
				if got, want := hash(files), hash(nil); got != want || got == first {
					t.Fatalf("write %d: the cache says %s, the file %s, before it %s", i, got, want, first)
				}
			}
			release()
			time.Sleep(RacyWindow + 100*time.Millisecond)
			if want := hash(nil); hash(files) != want || !remembered() || hash(files) != want {
				t.Errorf("nobody writes any more: remembered %t, the digest right %t", remembered(), hash(files) == want)
			}
		})
	}
}
