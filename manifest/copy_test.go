package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
)

// copies keeps what Build copies, in memory.
type copies struct {
	mu        sync.Mutex
	committed map[string]string
	aborted   map[string]bool
	write     func(name string) error // called before a write; may be nil
	commit    func(name string) error
}

func newCopies() *copies { return &copies{committed: map[string]string{}, aborted: map[string]bool{}} }

func (c *copies) copy(_ context.Context, f File, _ fs.FileInfo) (FileCopy, error) {
	return &memoryCopy{c: c, name: f.Path}, nil
}

type memoryCopy struct {
	bytes.Buffer
	c    *copies
	name string
}

func (m *memoryCopy) Write(p []byte) (int, error) {
	if m.c.write != nil {
		if err := m.c.write(m.name); err != nil {
			return 0, err
		}
	}
	return m.Buffer.Write(p)
}

func (m *memoryCopy) Commit(f File) error {
	if m.c.commit != nil {
		if err := m.c.commit(m.name); err != nil {
			return err
		}
	}
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if f.Digest != digest.FromBytes(m.Bytes()) || f.Size != int64(m.Len()) || f.Path != m.name {
		return fmt.Errorf("committed as %v", f)
	}
	m.c.committed[m.name] = m.String()
	return nil
}

func (m *memoryCopy) Abort() {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.c.aborted[m.name] = true
}

// countingFS counts the bytes that are read of files.
type countingFS struct {
	fs.FS
	read atomic.Int64
}

func (c *countingFS) Open(name string) (fs.File, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	return &countingFile{f, c}, nil
}

type countingFile struct {
	fs.File
	c *countingFS
}

func (f *countingFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.c.read.Add(int64(n))
	return n, err
}

func TestBuildCopiesInTheSameRead(t *testing.T) {
	files := map[string]string{"empty": "", "a/small": "hello", "twin": "hello", "large": strings.Repeat("0123456789", readBuffer/4)}
	fsys := fstest.MapFS{}
	var size int64
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
		size += int64(len(data))
	}
	for _, s := range []Serialization{{}, {Hash: BLAKE3}, {ShardSize: 1000_000}, {Hash: BLAKE2b, ShardSize: 997}} {
		alone, err := Build(t.Context(), fsys, Options{Serialization: s})
		if err != nil {
			t.Fatal(err)
		}
		c, counted := newCopies(), &countingFS{FS: fsys}
		var found []File
		m, err := Build(t.Context(), counted, Options{Serialization: s, Copy: c.copy, Found: func(files []File) error {
			found = files
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m.Files, alone.Files) || !reflect.DeepEqual(m.Resources(), alone.Resources()) {
			t.Errorf("%v: another tree with copies", s)
		}
		if !maps.Equal(c.committed, files) || len(c.aborted) > 0 {
			t.Errorf("%v: %d copies, aborted %v", s, len(c.committed), c.aborted)
		}
		if got := counted.read.Load(); got != size {
			t.Errorf("%v: %d bytes read of %d", s, got, size)
		}
		for i, f := range found {
			if f.Digest != "" || f.Path != m.Files[i].Path || f.Size != m.Files[i].Size {
				t.Errorf("%v: found %v", s, f)
			}
		}
	}
}

// A copy of a file that is not whole is aborted and never committed.
func TestBuildAbortsCopies(t *testing.T) {
	fail := errors.New("no more")
	for name, tt := range map[string]struct {
		spoil func(c *copies, file string, cancel func())
		want  error
	}{
		"the disk is full":         {func(c *copies, _ string, _ func()) { c.write = func(string) error { return syscall.ENOSPC } }, syscall.ENOSPC},
		"the copy is not accepted": {func(c *copies, _ string, _ func()) { c.commit = func(string) error { return fail } }, fail},
		"the file grows":           {changing(func(file string) error { return appendTo(file, "more") }), ErrChanged},
		"the file is edited":       {changing(func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("y"), 3*readBuffer), 0o644) }), ErrChanged},
		"the file is cut off":      {changing(func(file string) error { return os.Truncate(file, 7) }), ErrChanged},
		"the file is replaced": {changing(func(file string) error {
			if err := os.WriteFile(file+"2", bytes.Repeat([]byte("y"), 3*readBuffer), 0o644); err != nil {
				return err
			}
			return os.Rename(file+"2", file)
		}), ErrChanged},
		"the file vanishes": {changing(os.Remove), ErrChanged},
		"cancelled": {func(c *copies, _ string, cancel func()) {
			c.write = func(string) error { cancel(); return nil }
		}, context.Canceled},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "a.bin")
		if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 3*readBuffer), 0o644); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Millisecond) // so that an edit has another time
		ctx, cancel := context.WithCancel(t.Context())
		c := newCopies()
		tt.spoil(c, file, cancel)
		digests := &fakeDigests{}
		_, err := Build(ctx, os.DirFS(dir), Options{Copy: c.copy, Digests: digests})
		cancel()
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "a.bin") && tt.want != fail {
			t.Errorf("%s: %v", name, err)
		}
		if !c.aborted["a.bin"] || len(c.committed) > 0 || len(digests.remembered) > 0 {
			t.Errorf("%s: aborted %v, %d committed, %d remembered", name, c.aborted, len(c.committed), len(digests.remembered))
		}
	}
}

// changing does something to the file when a part of it was copied.
func changing(do func(file string) error) func(*copies, string, func()) {
	return func(c *copies, file string, _ func()) {
		var once sync.Once
		c.write = func(string) (err error) {
			once.Do(func() { err = do(file) })
			return err
		}
	}
}

func appendTo(file, data string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(data)
	return errors.Join(err, f.Close())
}

// A clone is hashed in the file's place, and must be as long.
func TestBuildHashesClones(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: []byte("the file")}}
	for data, want := range map[string]error{"a clone.": nil, "short": ErrChanged, "longer than that": ErrChanged} {
		c := newCopies()
		m, err := Build(t.Context(), fsys, Options{Copy: func(ctx context.Context, f File, info fs.FileInfo) (FileCopy, error) {
			to := &memoryCopy{c: c, name: f.Path}
			to.WriteString(data)
			return memoryClone{to}, nil
		}})
		if !errors.Is(err, want) || err == nil && m.Files[0].Digest != digest.FromString(data) {
			t.Errorf("%s: %v", data, err)
		}
	}
}

type memoryClone struct{ *memoryCopy }

func (c memoryClone) Shared() io.Reader           { return bytes.NewReader(c.Bytes()) }
func (c memoryClone) Write(p []byte) (int, error) { return 0, errors.New("a clone was written to") }

type fakeDigests struct {
	mu                    sync.Mutex
	known                 map[string]digest.Digest
	remembered, forgotten []string
	done                  int
}

func (d *fakeDigests) Lookup(info fs.FileInfo) digest.Digest { return d.known[info.Name()] }

func (d *fakeDigests) Remember(info fs.FileInfo, begun time.Time, _ digest.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(begun) < 0 || time.Since(begun) > time.Minute {
		panic(begun)
	}
	d.remembered = append(d.remembered, info.Name())
}

func (d *fakeDigests) Forget(info fs.FileInfo) { d.forgotten = append(d.forgotten, info.Name()) }
func (d *fakeDigests) Done()                   { d.done++ }

func TestBuildTakesRememberedDigests(t *testing.T) {
	sum := digest.FromString("remembered")
	fsys := fstest.MapFS{"known": {Data: []byte("some bytes")}, "new": {Data: []byte("others")}}
	counted, d := &countingFS{FS: fsys}, &fakeDigests{known: map[string]digest.Digest{"known": sum}}
	var told atomic.Int64
	m, err := Build(t.Context(), counted, Options{Digests: d, Progress: func(n int) { told.Add(int64(n)) }})
	if err != nil || m.Files[0].Digest != sum || m.Files[0].Size != 10 || m.Files[1].Digest != digest.FromString("others") {
		t.Fatalf("%v, %v", m, err)
	}
	if counted.read.Load() != 6 || told.Load() != 16 || d.done != 1 || !reflect.DeepEqual(d.remembered, []string{"new"}) {
		t.Errorf("%d bytes read, %d told, done %d times, remembered %v", counted.read.Load(), told.Load(), d.done, d.remembered)
	}
	// What the cache does not hold is read.
	m, err = Build(t.Context(), fsys, Options{Digests: d, Serialization: Serialization{Hash: BLAKE3}})
	if err != nil || m.Files[0].Digest == sum {
		t.Errorf("another serialization: %v, %v", m, err)
	}
	for _, failure := range []error{ErrChanged, io.ErrUnexpectedEOF} {
		_, err = Build(t.Context(), fsys, Options{Digests: d, Copy: func(_ context.Context, f File, _ fs.FileInfo) (FileCopy, error) {
			if f.Digest == "" {
				return nil, nil
			}
			return nil, failure
		}})
		if !errors.Is(err, failure) {
			t.Errorf("%v", err)
		}
	}
	if !reflect.DeepEqual(d.forgotten, []string{"known"}) {
		t.Errorf("forgotten %v", d.forgotten)
	}
	refused := errors.New("refused")
	counted = &countingFS{FS: fsys}
	if _, err := Build(t.Context(), counted, Options{Found: func([]File) error { return refused }}); !errors.Is(err, refused) || counted.read.Load() > 0 {
		t.Errorf("refused: %v after %d bytes", err, counted.read.Load())
	}
}
