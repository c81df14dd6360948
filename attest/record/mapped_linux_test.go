package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMappedMaterials: what is written through a mapping is noticed on every file system, whether that changes the times or not, and whether it was mapped before the command or by it.
func TestMappedMaterials(t *testing.T) {
	read, written := func(p []byte) { _ = p[40_000] }, func(p []byte) { p[40_000]++ }
	for name, dirOf := range map[string]func(*testing.T) (string, error){"a disk": onDisk, "tmpfs": onTmpfs, "overlayfs": onOverlay} {
		dir, unavailable := dirOf(t)
		for what, tc := range map[string]struct{ before, during []func([]byte) }{
			"read before":    {before: []func([]byte){read}, during: []func([]byte){written}},
			"written before": {before: []func([]byte){written}, during: []func([]byte){written}},
			"mapped during":  {during: []func([]byte){read, written}},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				if unavailable != nil {
					t.Skipf("NOT CHECKED: %v", unavailable)
				}
				ctx, file := context.Background(), filepath.Join(dir, what)
				if err := os.WriteFile(file, make([]byte, 64<<10), 0o600); err != nil {
					t.Fatal(err)
				}
				var mapped []byte
				if tc.before != nil {
					mapped = mapFile(t, file)
				}
				for _, use := range tc.before {
					use(mapped)
				}
				time.Sleep(racyWindow + 100*time.Millisecond)
				w, err := watch(ctx, Tree{FS: os.DirFS(dir), File: what}, Progress{})
				if err != nil {
					t.Fatal(err)
				}
				if tc.before == nil {
					mapped = mapFile(t, file)
				}
				if err := w.unchanged(ctx); err != nil {
					t.Errorf("before it is written to: %v", err)
				}
				for _, use := range tc.during {
					use(mapped)
				}
				if err := w.unchanged(ctx); !errors.Is(err, ErrChanged) {
					t.Errorf("%v, want %v", err, ErrChanged)
				}
			})
		}
	}
}

// mapFile maps a file to be read and written.
func mapFile(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // the mapping stays
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mapped) })
	return mapped
}

func onDisk(t *testing.T) (string, error) { return t.TempDir(), nil }

// onTmpfs is a new directory on a tmpfs.
func onTmpfs(t *testing.T) (string, error) {
	dir, err := os.MkdirTemp("/dev/shm", "mlseal")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, err
}

// onOverlay is the upper layer of a new overlayfs. To unmount it writes all back, and so must wait for those who look at pages that were not.
func onOverlay(t *testing.T) (string, error) {
	dir := t.TempDir()
	for _, sub := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return "", err
		}
	}
	merged := filepath.Join(dir, "merged")
	layers := "lowerdir=" + filepath.Join(dir, "lower") + ",upperdir=" + filepath.Join(dir, "upper") + ",workdir=" + filepath.Join(dir, "work")
	if err := unix.Mount("overlay", merged, "overlay", 0, layers); err != nil {
		return "", fmt.Errorf("overlayfs is not mounted: %w", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(merged, unix.MNT_DETACH) })
	return merged, nil
}
