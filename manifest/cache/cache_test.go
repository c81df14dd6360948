//go:build linux || darwin

package cache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// file is a file that was left alone for long enough.
type file struct {
	name  string
	info  fs.FileInfo
	begun time.Time // of a reading that may be remembered
}

func newFile(t *testing.T, dir, data string) *file {
	t.Helper()
	f := &file{name: filepath.Join(dir, "weights.bin")}
	f.write(t, data)
	return f
}

func (f *file) write(t *testing.T, data string) {
	t.Helper()
	if err := os.WriteFile(f.name, bytes.Repeat([]byte(data), MinSize), 0o644); err != nil {
		t.Fatal(err)
	}
	f.stat(t)
}

func (f *file) stat(t *testing.T) {
	t.Helper()
	var err error
	if f.info, err = os.Lstat(f.name); err != nil {
		t.Fatal(err)
	}
	f.begun = time.Now().Add(RacyWindow + time.Second)
}

func below(t *testing.T, c *Cache, dir string) *Files {
	t.Helper()
	files := c.Below(dir)
	if files == nil {
		t.Skipf("NOT CHECKED: the file system of %s is not relied on", dir)
	}
	return files
}

func newCache(t *testing.T) *Cache { return New(filepath.Join(t.TempDir(), "mlseal")) }

// reopened is the cache as the next process sees it.
func reopened(t *testing.T, c *Cache) *Cache {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return New(c.dir)
}

var sum = digest.FromString("sum")

func TestRemembers(t *testing.T) {
	dir := t.TempDir()
	c, f := newCache(t), newFile(t, dir, "x")
	files := below(t, c, dir)
	if got := files.Lookup(f.info); got != "" {
		t.Errorf("before: %s", got)
	}
	files.Remember(f.info, f.begun, sum)
	for round := range 3 {
		if got := files.Lookup(f.info); got != sum {
			t.Errorf("round %d: %q", round, got)
		}
		c = reopened(t, c)
		files = below(t, c, dir)
	}
	for name, mode := range map[string]fs.FileMode{c.Path(): 0o600, c.dir: fs.ModeDir | 0o700} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := c.Info(); err != nil || info.Entries != 1 || info.Bytes != int64(len(header)+recordSize) {
		t.Errorf("%+v, %v", info, err)
	}
	files.Forget(f.info)
	if got := files.Lookup(f.info); got != "" {
		t.Errorf("forgotten: %s", got)
	}
	c = reopened(t, c)
	if got := below(t, c, dir).Lookup(f.info); got != "" {
		t.Errorf("forgotten, in the next process: %s", got)
	}
	if info, err := c.Info(); err != nil || info.Entries != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// A file that may be another one by now is not found.
func TestMisses(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, f *file){
		"edited in place, size and mtime as before": func(t *testing.T, f *file) {
			mtime := f.info.ModTime()
			time.Sleep(20 * time.Millisecond) // one tick of the kernel's coarse clock
			f.write(t, "y")
			if err := os.Chtimes(f.name, mtime, mtime); err != nil {
				t.Fatal(err)
			}
		},
		"replaced, the inode perhaps used again": func(t *testing.T, f *file) {
			mtime := f.info.ModTime()
			time.Sleep(20 * time.Millisecond)
			if err := os.Remove(f.name); err != nil {
				t.Fatal(err)
			}
			f.write(t, "y")
			if err := os.Chtimes(f.name, mtime, mtime); err != nil {
				t.Fatal(err)
			}
		},
		"grown": func(t *testing.T, f *file) { f.write(t, "yy") },
		"renamed over": func(t *testing.T, f *file) {
			if err := os.WriteFile(f.name+".new", bytes.Repeat([]byte("y"), MinSize), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(f.name+".new", f.name); err != nil {
				t.Fatal(err)
			}
		},
	} {
		dir := t.TempDir()
		c, f := newCache(t), newFile(t, dir, "x")
		files := below(t, c, dir)
		files.Remember(f.info, f.begun, sum)
		if files.Lookup(f.info) != sum {
			t.Fatal("not remembered")
		}
		change(t, f)
		f.stat(t)
		if got := below(t, reopened(t, c), dir).Lookup(f.info); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// What changed a moment before it was read may change again in the same tick of the clock.
func TestRacyFilesAreNotRemembered(t *testing.T) {
	dir := t.TempDir()
	c, f := newCache(t), newFile(t, dir, "x")
	files := below(t, c, dir)
	changed, _ := files.key(f.info)
	for _, tt := range []struct {
		after time.Duration
		want  digest.Digest
	}{{-time.Hour, ""}, {0, ""}, {RacyWindow - 1, ""}, {RacyWindow, sum}} {
		files.Remember(f.info, time.Unix(0, changed.Ctime).Add(tt.after), sum)
		if got := files.Lookup(f.info); got != tt.want {
			t.Errorf("read %v after the change: %q", tt.after, got)
		}
	}
}

func TestOnlyLargeFilesOfTheFileSystem(t *testing.T) {
	dir := t.TempDir()
	c, f := newCache(t), newFile(t, dir, "x")
	files := below(t, c, dir)
	if err := os.Truncate(f.name, MinSize-1); err != nil {
		t.Fatal(err)
	}
	f.stat(t)
	files.Remember(f.info, f.begun, sum)
	if got := files.Lookup(f.info); got != "" {
		t.Errorf("a small file: %s", got)
	}
	f.write(t, "x")
	other := &Files{c, files.dev + 1, files.volume + 1}
	other.Remember(f.info, f.begun, sum)
	if got := files.Lookup(f.info); got != "" {
		t.Errorf("a file of another file system: %s", got)
	}
	files.Remember(f.info, f.begun, "sha512:00")
	if got := files.Lookup(f.info); got != "" {
		t.Errorf("another digest: %s", got)
	}
	if c.Below("/proc") != nil {
		t.Error("/proc is relied on")
	}
}

// A damaged, foreign or open file counts for nothing and is replaced.
func TestUnusableFiles(t *testing.T) {
	for name, spoil := range map[string]func(path string, data []byte) error{
		"a flipped digest": func(path string, data []byte) error {
			data[len(header)+keySize] ^= 1
			return os.WriteFile(path, data, 0o600)
		},
		"a flipped key": func(path string, data []byte) error { data[len(header)+8] ^= 1; return os.WriteFile(path, data, 0o600) },
		"zeroes": func(path string, data []byte) error {
			clear(data[len(header):])
			return os.WriteFile(path, data, 0o600)
		},
		"another version":   func(path string, data []byte) error { data[len(header)-2]++; return os.WriteFile(path, data, 0o600) },
		"cut off":           func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)-1], 0o600) },
		"empty":             func(path string, _ []byte) error { return os.Truncate(path, 0) },
		"huge":              func(path string, _ []byte) error { return os.Truncate(path, 1<<40) },
		"writable by all":   func(path string, _ []byte) error { return os.Chmod(path, 0o666) },
		"in an open folder": func(path string, _ []byte) error { return os.Chmod(filepath.Dir(path), 0o777) },
		"a link": func(path string, data []byte) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
	} {
		dir := t.TempDir()
		c, f := newCache(t), newFile(t, dir, "x")
		below(t, c, dir).Remember(f.info, f.begun, sum)
		c = reopened(t, c)
		data, err := os.ReadFile(c.Path())
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(c.Path(), data); err != nil {
			t.Fatal(err)
		}
		files := below(t, c, dir)
		if got := files.Lookup(f.info); got != "" {
			t.Errorf("%s: %s", name, got)
		}
		files.Remember(f.info, f.begun, sum)
		if got := below(t, reopened(t, c), dir).Lookup(f.info); got != sum {
			t.Errorf("%s: not mended: %q", name, got)
		}
	}
}

func TestBounded(t *testing.T) {
	c := newCache(t)
	dir := t.TempDir()
	f := newFile(t, dir, "x")
	files := below(t, c, dir)
	k, _ := files.key(f.info)
	for i := range MaxRecords + 2*batch {
		k.Ino = uint64(i)
		c.add(record{k, sumOf(sum)})
	}
	info, err := reopened(t, c).Info()
	if err != nil || info.Entries < MaxRecords/2 || info.Entries > MaxRecords || info.Bytes > maxBytes {
		t.Errorf("%+v, %v", info, err)
	}
	c = New(c.dir)
	c.load()
	if c.known[k].digest() != sum {
		t.Error("the newest entry was given up")
	}
}

// Several processes write at once, each with its own Cache.
func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	f := newFile(t, dir, "x")
	store := filepath.Join(t.TempDir(), "mlseal")
	base, _ := below(t, New(store), dir).key(f.info)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				c := New(store)
				k := base
				k.Ino = uint64(1000*w + i)
				c.add(record{k, sumOf(digest.FromString(fmt.Sprint(k.Ino)))})
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c := New(store)
	c.load()
	if len(c.known) != 200 {
		t.Errorf("%d entries, want 200", len(c.known))
	}
	for k, d := range c.known {
		if d.digest() != digest.FromString(fmt.Sprint(k.Ino)) {
			t.Errorf("%v: %x", k, d)
		}
	}
}

func TestClear(t *testing.T) {
	dir := t.TempDir()
	c, f := newCache(t), newFile(t, dir, "x")
	if err := c.Clear(t.Context()); err != nil {
		t.Errorf("nothing to clear: %v", err)
	}
	below(t, c, dir).Remember(f.info, f.begun, sum)
	c = reopened(t, c)
	if err := c.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := c.Info(); err != nil || info.Entries != 0 || info.Bytes != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if got := below(t, c, dir).Lookup(f.info); got != "" {
		t.Errorf("cleared: %s", got)
	}
}

// TestVolume: what two file systems call themselves tells them apart, also under one device number.
func TestVolume(t *testing.T) {
	a, b := volume(1, [8]byte{1}), volume(1, [8]byte{2})
	if a == b || a == volume(2, [8]byte{1}) || a != volume(1, [8]byte{1}) {
		t.Errorf("%d, %d", a, b)
	}
}
