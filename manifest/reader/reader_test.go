package reader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/mlseal/mlseal/manifest"
)

// some returns n bytes that are always the same.
func some(n int) []byte {
	r := rand.NewChaCha8([32]byte{7})
	data := make([]byte, n)
	_, _ = r.Read(data)
	return data
}

// resources are those of one file.
func resources(t testing.TB, data []byte, s manifest.Serialization) []manifest.Resource {
	t.Helper()
	m, err := manifest.Build(context.Background(), fstest.MapFS{"f": {Data: data}}, manifest.Options{Serialization: s})
	if err != nil {
		t.Fatal(err)
	}
	return m.Resources()
}

// small are options under which 10 kB are large.
var small = Options{MaxShard: 1000, Block: 300, Memory: 2000}

// ways are how a file can be expected and kept.
func ways(t *testing.T, data []byte, try func(t *testing.T, expected []manifest.Resource, opts Options)) {
	for _, s := range []manifest.Serialization{
		{}, {Hash: manifest.BLAKE2b}, {ShardSize: 700}, {ShardSize: 700, Hash: manifest.BLAKE3}, {ShardSize: 2500}, {ShardSize: 1 << 40},
	} {
		for _, spool := range []Spool{SpoolNothing, SpoolLarge, SpoolAll} {
			t.Run(fmt.Sprintf("%s/shards=%d/spool=%d", s.HashType(), s.ShardSize, spool), func(t *testing.T) {
				opts := small
				opts.Spool, opts.TempDir = spool, t.TempDir()
				try(t, resources(t, data, s), opts)
			})
		}
	}
}

func TestReadsWhatWasExpected(t *testing.T) {
	for _, size := range []int{0, 1, 299, 700, 701, 1000, 5000, 9999} {
		data := some(size)
		ways(t, data, func(t *testing.T, expected []manifest.Resource, opts Options) {
			f, err := Open(t.Context(), "f", FromReaderAt(bytes.NewReader(data), int64(size)), expected, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if err := iotest.TestReader(f, data); err != nil {
				t.Error(err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			var all bytes.Buffer
			if n, err := f.WriteTo(&all); err != nil || n != int64(size) || !bytes.Equal(all.Bytes(), data) {
				t.Errorf("%d bytes, %v", n, err)
			}
			for range 50 {
				from := rand.IntN(size + 1)
				to := from + rand.IntN(size-from+1)
				var part bytes.Buffer
				if _, err := f.WriteRange(&part, int64(from), int64(to)); err != nil || !bytes.Equal(part.Bytes(), data[from:to]) {
					t.Fatalf("bytes %d to %d: %v", from, to, err)
				}
			}
			if left, err := os.ReadDir(opts.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left in the temporary directory: %v %v", left, err)
			}
		})
	}
}

// checkReads reads all over f and fails on any byte that is not the one in data, and on a read that touches no wrong unit and fails.
func checkReads(t *testing.T, f *File, data []byte, wrong func(from, to int) bool) {
	t.Helper()
	for range 60 {
		from := rand.IntN(len(data))
		p := make([]byte, 1+rand.IntN(len(data)-from))
		n, err := f.ReadAt(p, int64(from))
		if !bytes.Equal(p[:n], data[from:from+n]) {
			t.Fatalf("wrong bytes were given out, %d from %d", n, from)
		}
		if !bytes.Equal(p[n:], make([]byte, len(p)-n)) {
			t.Fatalf("something stands behind the %d bytes that were given", n)
		}
		if bad := wrong(from, from+len(p)); bad != (err != nil) || bad && !errors.Is(err, ErrMismatch) {
			t.Fatalf("bytes %d to %d: error is %v, wanted one: %t", from, from+len(p), err, bad)
		}
	}
	var all bytes.Buffer
	_, err := f.WriteRange(&all, 0, f.Size())
	if bad := wrong(0, len(data)); bad != (err != nil) || !bytes.HasPrefix(data, all.Bytes()) {
		t.Fatalf("error is %v; %d bytes", err, all.Len())
	}
}

// TestAnyFlippedBit: what touches the shard in which a byte is wrong fails, everything else is read.
func TestAnyFlippedBit(t *testing.T) {
	data := some(5000)
	ways(t, data, func(t *testing.T, expected []manifest.Resource, opts Options) {
		for range 20 {
			at := rand.IntN(len(data))
			bad := bytes.Clone(data)
			bad[at] ^= 1 << rand.IntN(8)
			f, err := Open(t.Context(), "f", FromReaderAt(bytes.NewReader(bad), int64(len(bad))), expected, opts)
			if err != nil {
				t.Fatal(err)
			}
			s := f.shardAt(int64(at))
			checkReads(t, f, data, func(from, to int) bool { return int64(from) < s.end && int64(to) > s.start })
			_ = f.Close()
		}
	})
}

// TestOtherLength: a file that is too short or too long is refused, at the latest when it is read.
func TestOtherLength(t *testing.T) {
	data := some(5000)
	ways(t, data, func(t *testing.T, expected []manifest.Resource, opts Options) {
		for _, other := range [][]byte{nil, data[:1], data[:4999], data[:700], append(bytes.Clone(data), 0)} {
			f, err := Open(t.Context(), "f", FromReaderAt(bytes.NewReader(other), int64(len(other))), expected, opts)
			if err == nil {
				_, err = f.ReadAt(make([]byte, 1), 0)
				_ = f.Close()
			}
			if !errors.Is(err, ErrMismatch) {
				t.Errorf("%d bytes: error is %v", len(other), err)
			}
			// A source that lies about its size.
			f, err = Open(t.Context(), "f", FromReaderAt(bytes.NewReader(other), int64(len(data))), expected, opts)
			if err != nil {
				t.Fatal(err)
			}
			if len(other) < len(data) {
				_, err = f.WriteRange(io.Discard, 0, f.Size())
				if !errors.Is(err, ErrMismatch) {
					t.Errorf("%d bytes and a lie: error is %v", len(other), err)
				}
			}
			_ = f.Close()
		}
	})
}

// fickle gives other bytes from the second time on that a byte is read.
type fickle struct {
	mu   sync.Mutex
	data []byte
	seen []bool
	size int64
}

func (s *fickle) Size() int64 { return s.size }

func (s *fickle) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s, offset, length)), nil
}

func (s *fickle) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(p, s.data[off:])
	for i := range p[:n] {
		if s.seen[off+int64(i)] {
			p[i] ^= 0x55
		}
		s.seen[off+int64(i)] = true
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestBytesThatChangeBetweenTwoReads: whoever changes the source once it was verified gets nothing of it out.
func TestBytesThatChangeBetweenTwoReads(t *testing.T) {
	data := some(5000)
	ways(t, data, func(t *testing.T, expected []manifest.Resource, opts Options) {
		f, err := Open(t.Context(), "f", &fickle{data: data, seen: make([]bool, len(data)), size: int64(len(data))}, expected, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		for range 5 {
			var all bytes.Buffer
			_, err := f.WriteRange(&all, 0, f.Size())
			if !bytes.HasPrefix(data, all.Bytes()) {
				t.Fatal("wrong bytes were given out")
			}
			if err != nil && !errors.Is(err, ErrMismatch) {
				t.Fatal(err)
			}
			if opts.Spool == SpoolAll && err != nil {
				t.Errorf("what is kept is not read again: %v", err)
			}
			if opts.Spool == SpoolNothing && expected[0].End != 700 && err == nil {
				t.Error("a source that changed passed")
			}
		}
	})
}

// counting counts what is read.
type counting struct {
	Source
	ranges, bytes atomic.Int64
	fail          atomic.Bool
}

func (s *counting) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if s.fail.Load() {
		return nil, errDown
	}
	s.ranges.Add(1)
	s.bytes.Add(length)
	return s.Source.Range(ctx, offset, length)
}

var errDown = errors.New("it is down")

// TestReadsNoMoreThanNeeded: a range reads the shards that it touches, once, in one request.
func TestReadsNoMoreThanNeeded(t *testing.T) {
	data := some(7000)
	src := &counting{Source: FromReaderAt(bytes.NewReader(data), 7000)}
	f, err := Open(t.Context(), "f", src, resources(t, data, manifest.Serialization{ShardSize: 700}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var part bytes.Buffer
	if _, err := f.WriteRange(&part, 1500, 2200); err != nil || !bytes.Equal(part.Bytes(), data[1500:2200]) {
		t.Fatal(err)
	}
	if src.ranges.Load() > 1 || src.bytes.Load() > 1400 {
		t.Errorf("%d requests for %d bytes", src.ranges.Load(), src.bytes.Load())
	}
	before := src.bytes.Load()
	if _, err := f.ReadAt(make([]byte, 700), 1450); err != nil || src.bytes.Load() != before {
		t.Errorf("%d bytes more were read, %v", src.bytes.Load()-before, err)
	}
}

// delivering counts the bytes that are read, not those that are asked for.
type delivering struct {
	data []byte
	read atomic.Int64
}

func (s *delivering) Size() int64 { return int64(len(s.data)) }

func (s *delivering) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.TeeReader(bytes.NewReader(s.data[offset:offset+length]), writerFunc(func(p []byte) { s.read.Add(int64(len(p))) }))), nil
}

type writerFunc func(p []byte)

func (w writerFunc) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// TestManyAtOnce: of all who want one shard at once, one reads it. A large one is read twice, or once when it is kept.
func TestManyAtOnce(t *testing.T) {
	data := some(7000)
	for _, tc := range []struct {
		shards int64
		spool  Spool
		want   int64
	}{{700, SpoolNothing, 7000}, {700, SpoolAll, 7000}, {0, SpoolNothing, 14000}, {0, SpoolLarge, 7000}, {3500, SpoolNothing, 14000}, {3500, SpoolAll, 7000}} {
		src := &delivering{data: data}
		expected := resources(t, data, manifest.Serialization{ShardSize: tc.shards})
		f, err := Open(t.Context(), "f", src, expected, Options{MaxShard: 1000, Block: 300, Spool: tc.spool, TempDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				p := make([]byte, 2000)
				for off := range 30 {
					at := (i*311 + off*457) % 5000
					if _, err := f.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, data[at:at+2000]) {
						t.Errorf("from %d: %v", at, err)
					}
				}
				if _, err := f.WriteRange(io.Discard, 0, 7000); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := src.read.Load(); got != tc.want {
			t.Errorf("shards of %d, spool %d: %d bytes were read of the source, want %d", tc.shards, tc.spool, got, tc.want)
		}
		_ = f.Close()
	}
}

// TestFailureIsNotRemembered: a source that failed once is asked again, and its error is its own.
func TestFailureIsNotRemembered(t *testing.T) {
	data := some(5000)
	ways(t, data, func(t *testing.T, expected []manifest.Resource, opts Options) {
		src := &counting{Source: FromReaderAt(bytes.NewReader(data), 5000)}
		f, err := Open(t.Context(), "f", src, expected, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		src.fail.Store(true)
		if _, err := f.ReadAt(make([]byte, 1), 100); !errors.Is(err, errDown) || errors.Is(err, ErrMismatch) {
			t.Errorf("error is %v", err)
		}
		src.fail.Store(false)
		checkReads(t, f, data, func(int, int) bool { return false })
	})
}

func TestEnds(t *testing.T) {
	data := some(5000)
	expected := resources(t, data, manifest.Serialization{ShardSize: 700})
	source := FromReaderAt(bytes.NewReader(data), 5000)
	ctx, cancel := context.WithCancel(t.Context())
	f, err := Open(ctx, "f", source, expected, small)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 5000); err != io.EOF {
		t.Errorf("behind the end: %v", err)
	}
	for _, r := range [][2]int64{{-1, 3}, {3, 2}, {0, 5001}} {
		if _, err := f.WriteRange(io.Discard, r[0], r[1]); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, err := f.ReadAt(nil, -1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("before the beginning: %v", err)
	}
	cancel()
	if _, err := f.ReadAt(make([]byte, 1), 3000); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = f.Close()
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	for name, list := range map[string][]manifest.Resource{
		"a gap":     {expected[0], expected[2]},
		"twice":     {expected[0], expected[0]},
		"no start":  expected[1:],
		"backwards": {expected[0], {Path: "f", Start: 700, End: 600, Digest: expected[0].Digest}},
		"two files": {expected[0], {Path: "g", Start: 700, End: 1400, Digest: expected[0].Digest}},
		"md5":       {{Path: "f", Digest: "md5:00"}},
	} {
		if _, err := Open(t.Context(), "f", source, list, small); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

// TestMemoryIsBounded: what is kept does not grow with the file.
func TestMemoryIsBounded(t *testing.T) {
	data := some(100_000)
	f, err := Open(t.Context(), "f", FromReaderAt(bytes.NewReader(data), 100_000), resources(t, data, manifest.Serialization{ShardSize: 700}), Options{Memory: 3000})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if f.cache.used > 3000 || int64(len(f.cache.entries))*700 > 3000+700 {
		t.Errorf("%d bytes in %d units are kept", f.cache.used, len(f.cache.entries))
	}
}

func TestTree(t *testing.T) {
	files := fstest.MapFS{"a.txt": {Data: some(3)}, "b/c.bin": {Data: some(5000)}, "b/d/e": {Data: some(700)}, "b/d/empty": {}, "unlisted": {Data: some(2)}}
	var entries []Entry
	for _, name := range []string{"b/c.bin", "a.txt", "b/d/e", "b/d/empty"} {
		source, err := FromFS(files, name)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, Entry{name, source, resources(t, files[name].Data, manifest.Serialization{ShardSize: 700})})
	}
	opts := small
	opts.Spool, opts.TempDir = SpoolAll, t.TempDir()
	tree, err := NewTree(t.Context(), entries, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	if err := fstest.TestFS(tree, "a.txt", "b/c.bin", "b/d/e", "b/d/empty"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(tree, "unlisted"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not listed: %v", err)
	}
	files["b/c.bin"].Data = append(bytes.Clone(files["b/c.bin"].Data[:4999]), 'x') // what was read is kept
	if data, err := fs.ReadFile(tree, "b/c.bin"); err != nil || !bytes.Equal(data, some(5000)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	for _, bad := range [][]Entry{{entries[0], entries[0]}, {{Path: "../x", Source: entries[0].Source}}, {entries[1], {"a.txt/b", entries[3].Source, nil}}} {
		if _, err := NewTree(t.Context(), bad, opts); !errors.Is(err, manifest.ErrName) {
			t.Errorf("%v", err)
		}
	}
}

// ended is a context of another kind, for each of whose children package context keeps a goroutine until they are cancelled.
type ended struct{ context.Context }

func (ended) Value(any) any { return nil }

// TestNewTreeLetsGo: what was opened before an error is closed.
func TestNewTreeLetsGo(t *testing.T) {
	source, err := FromFS(fstest.MapFS{"a": {Data: some(3)}}, "a")
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	for i := range 100 {
		entries = append(entries, Entry{fmt.Sprint("f", i), source, resources(t, some(3), manifest.Serialization{})})
	}
	parent := ended{t.Context()}
	before := runtime.NumGoroutine()
	if _, err := NewTree(parent, append(entries, entries[0]), small); !errors.Is(err, manifest.ErrName) {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+10; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines more than before", runtime.NumGoroutine()-before)
		}
	}
}

// FuzzDamage damages a file in any way: nothing of it is ever given out.
func FuzzDamage(f *testing.F) {
	f.Add(uint16(0), []byte{1}, uint16(700), uint16(0), uint16(100), uint8(0))
	f.Add(uint16(4999), []byte{1}, uint16(0), uint16(4000), uint16(1000), uint8(1))
	f.Add(uint16(1400), []byte("a longer piece that is written over"), uint16(2500), uint16(1399), uint16(2), uint8(2))
	f.Add(uint16(5000), []byte("more"), uint16(700), uint16(4900), uint16(200), uint8(2))
	data := some(5000)
	f.Fuzz(func(t *testing.T, at uint16, over []byte, shardSize, from, length uint16, spool uint8) {
		bad := bytes.Clone(data)
		if int(at) <= len(bad) {
			bad = append(bad[:at], append(bytes.Clone(over), bad[min(len(bad), int(at)+len(over)):]...)...)
		}
		opts := small
		opts.Spool, opts.TempDir = Spool(spool%3), t.TempDir()
		expected := resources(t, data, manifest.Serialization{ShardSize: int64(shardSize)})
		file, err := Open(t.Context(), "f", FromReaderAt(bytes.NewReader(bad), int64(len(bad))), expected, opts)
		if err != nil {
			if len(bad) == len(data) || !errors.Is(err, ErrMismatch) {
				t.Fatal(err)
			}
			return
		}
		defer func() { _ = file.Close() }()
		p := make([]byte, length)
		for range 2 {
			n, err := file.ReadAt(p, int64(from))
			if n > 0 && !bytes.Equal(p[:n], data[from:int(from)+n]) {
				t.Fatal("wrong bytes were given out")
			}
			if n < len(p) && err == nil || err != nil && err != io.EOF && !errors.Is(err, ErrMismatch) {
				t.Fatalf("%d bytes, %v", n, err)
			}
		}
	})
}
