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

// TestMappedWrites: what is written to a file through a memory mapping that was dirty already is noticed.
func TestMappedWrites(t *testing.T) {
	dir := t.TempDir()
	c := newCache(t)
	files := below(t, c, dir)
	name := filepath.Join(dir, "w")
	if err := os.WriteFile(name, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	mapped, err := unix.Mmap(int(f.Fd()), 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	hash := func(digests manifest.Digests) string {
		m, err := manifest.Build(context.Background(), os.DirFS(dir), manifest.Options{Digests: digests})
		if err != nil {
			t.Fatal(err)
		}
		return m.DirHash()
	}
	mapped[0], mapped[40_000] = 1, 1
	time.Sleep(RacyWindow + 100*time.Millisecond)
	remembered := 0
	for i := range byte(20) {
		first := hash(files)
		if info, err := c.Info(); err == nil && info.Entries > 0 {
			remembered++
		}
		mapped[40_000] = 2 + i
		if got, want := hash(files), hash(nil); got != want || got == first {
			t.Fatalf("write %d: the cache says %s, the file %s, before it %s", i, got, want, first)
		}
	}
	if remembered == 0 {
		t.Error("nothing was ever remembered, so that nothing was shown")
	}
}
