package manifest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mlseal/mlseal/internal/filestate"
)

// TestDirtyFilesAreNotRemembered: what is not on the disk yet is written to it up to a bound, and beyond it is not remembered.
func TestDirtyFilesAreNotRemembered(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "w")
	write := func() *os.File {
		t.Helper()
		_ = os.Remove(name) // ext4 writes what replaces a file's contents when it is closed
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := write()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n, shown := filestate.ShowMappedWrites(f, 0); n != 0 || !shown {
		t.Skip("the system does not say what is on the disk") // Linux before 6.5, or tmpfs
	}
	_ = f.Close()
	for _, tc := range []struct {
		what  string
		most  int64
		dirty bool
		want  int
	}{{"dirty, none written back", 0, true, 0}, {"dirty, too few written back", 64<<10 - 1, true, 0}, {"dirty, written back", 64 << 10, true, 1}, {"clean", 0, false, 1}} {
		if tc.dirty {
			_ = write().Close()
		}
		d := &fakeDigests{}
		back := newWriteBack(tc.most)
		if _, err := Build(t.Context(), os.DirFS(dir), Options{Digests: d, writtenBack: back}); err != nil {
			t.Fatal(err)
		}
		left := tc.most
		if tc.dirty && tc.want > 0 {
			left -= 64 << 10
		}
		if len(d.remembered) != tc.want || back.left.Load() != left {
			t.Errorf("%s: remembered %v, %d bytes left", tc.what, d.remembered, back.left.Load())
		}
		if f, err := os.Open(name); err == nil { // for the case after it
			_ = f.Sync()
			_ = f.Close()
		}
	}
}
