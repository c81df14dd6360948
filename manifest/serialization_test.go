package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
)

// long is what BLAKE3 hashes in more than one chunk and, with its tree, in more than one way.
func long() []byte {
	data := make([]byte, 200000)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}

// TestHashTypes holds the hash types to what Python's hashlib and the reference BLAKE3 give.
func TestHashTypes(t *testing.T) {
	fsys := fstest.MapFS{"abc": {Data: []byte("abc")}, "empty": {}, "long": {Data: long()}}
	for hashType, want := range map[HashType][3]string{
		BLAKE2b: {"ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923", "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce", "a6575becf49aff242207c8e06a76f5c117f0981869cee0a903300ab5453fe6dbf6afb3b79f1a6b70441ce4ad9c4333cbb2039c1409a0a6d556ba5c9522809b75"},
		BLAKE3:  {"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", "55409142cced2ec79897459f170b6d22565daf883710b4ad7aeeddaef54244b4"},
	} {
		m := build(t, fsys, Options{Serialization: Serialization{Hash: hashType}})
		for i, r := range m.Resources() {
			if r.Digest.Encoded() != want[i] || string(r.Digest.Algorithm()) != string(hashType) || len(want[i]) != 2*hashType.Size() {
				t.Errorf("%s of %s is %s, want %s", hashType, r.Path, r.Digest, want[i])
			}
		}
		if plain := build(t, fsys, Options{}); m.DirHash() != plain.DirHash() {
			t.Errorf("with %s the dirHash is another one", hashType)
		}
	}
	if _, err := Build(context.Background(), fsys, Options{Serialization: Serialization{Hash: "md5"}}); !errors.Is(err, ErrSerialization) {
		t.Errorf("md5: %v", err)
	}
}

// TestShards cuts files at, before and behind the borders of shards and of the read buffer.
func TestShards(t *testing.T) {
	const size = 8
	data := long()
	fsys := fstest.MapFS{"empty": {}}
	for _, n := range []int{1, size - 1, size, size + 1, 2 * size, 20*size + 3} {
		fsys[fmt.Sprintf("f:%03d", n)] = &fstest.MapFile{Data: data[:n]}
	}
	m := build(t, fsys, Options{Serialization: Serialization{ShardSize: size}})
	var want []Resource
	for _, f := range m.Files {
		for start := 0; start < int(f.Size); start += size {
			end := min(start+size, int(f.Size))
			sum := sha256.Sum256(data[start:end])
			want = append(want, Resource{f.Path, int64(start), int64(end), digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum[:]))})
		}
	}
	got := m.Resources()
	if d := DiffResources(want, got); !d.Equal() || len(got) != len(want) || len(got) != 1+1+1+2+2+21 {
		t.Errorf("%d resources, want %d: %+v", len(got), len(want), d)
	}
	if err := m.Serialization.SortResources(got); err != nil {
		t.Error(err)
	}
	if m.DirHash() != build(t, fsys, Options{}).DirHash() || fmt.Sprint(m.EmptyFiles()) != "[empty]" {
		t.Errorf("dirHash %s, empty files %v", m.DirHash(), m.EmptyFiles())
	}
	big := build(t, fstest.MapFS{"big": {Data: make([]byte, 3*readBuffer+1)}}, Options{Serialization: Serialization{ShardSize: readBuffer - 1, Hash: BLAKE3}})
	if n := len(big.Resources()); n != 4 {
		t.Errorf("%d shards across read buffers, want 4", n)
	}
}

func TestTooManyShards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, MaxShards+1); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int64]error{1: ErrTooMany, 2: nil, -1: ErrSerialization} {
		if _, err := Build(context.Background(), rootFS(t, filepath.Dir(path)), Options{Serialization: Serialization{ShardSize: size}}); !errors.Is(err, want) {
			t.Errorf("shards of %d bytes: %v", size, err)
		}
	}
}

func TestSortResources(t *testing.T) {
	sum := digest.FromString("x")
	shard := func(path string, start, end int64) Resource { return Resource{path, start, end, sum} }
	eight := Serialization{ShardSize: 8}
	good := []Resource{shard("f", 8, 16), shard("a:0:8", 0, 3), shard("f", 16, 17), shard("f", 0, 8)}
	if err := eight.SortResources(good); err != nil || good[3].Name() != "f:16:17" || good[0].Name() != "a:0:8:0:3" {
		t.Errorf("any order: %v %v", err, good)
	}
	for name, tc := range map[string]struct {
		s      Serialization
		list   []Resource
		reason string
	}{
		"file twice":      {Serialization{}, []Resource{{Path: "f"}, {Path: "e"}, {Path: "f"}}, "listed twice"},
		"parent":          {Serialization{}, []Resource{{Path: "../f"}}, "plain relative path"},
		"shard twice":     {eight, []Resource{shard("f", 0, 8), shard("f", 0, 8)}, "listed twice"},
		"overlap":         {eight, []Resource{shard("f", 0, 8), shard("f", 7, 15)}, "overlaps"},
		"gap":             {eight, []Resource{shard("f", 0, 8), shard("f", 9, 17)}, "gap"},
		"no beginning":    {eight, []Resource{shard("f", 8, 16)}, "gap"},
		"short in middle": {eight, []Resource{shard("f", 0, 7), shard("f", 7, 15)}, "shard_size"},
		"long":            {eight, []Resource{shard("f", 0, 9)}, "shard_size"},
		"empty":           {eight, []Resource{shard("f", 0, 8), shard("f", 8, 8)}, "empty"},
		"backwards":       {eight, []Resource{shard("f", 0, -8)}, "empty"},
	} {
		if err := tc.s.SortResources(tc.list); err == nil || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: error is %v, want one that names %q", name, err, tc.reason)
		}
	}
}

func TestDiffResources(t *testing.T) {
	sum := func(s string) digest.Digest { return digest.FromString(s) }
	want := []Resource{{"a", 0, 8, sum("1")}, {"a", 8, 16, sum("2")}, {"b", 0, 1, sum("3")}, {"d", 0, 8, sum("4")}, {"e", 0, 8, sum("5")}}
	got := []Resource{{"a", 0, 8, sum("1")}, {"a", 8, 16, sum("x")}, {"c", 0, 1, sum("3")}, {"d", 0, 8, sum("4")}, {"d", 8, 9, sum("6")}, {"e", 0, 7, sum("5")}}
	d := DiffResources(want, got)
	var changed []string
	for _, c := range d.Changed {
		changed = append(changed, c.Path)
	}
	if fmt.Sprint(d.Missing, d.Extra, changed) != "[b] [c] [a:8:16 d:8:9 e:0:8]" {
		t.Errorf("diff is %+v", d)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "1000000000": 1e9, "1GB": 1e9, "16MiB": 16 << 20, "3kB": 3000, "2TiB": 2 << 40, "7B": 7,
		"": 0, "0": 0, "GB": 0, "-1": 0, "1.5GB": 0, "1GiBB": 0, "1 GB": 0, "9999999999TB": 0, "99999999999999999999": 0, "0x10": 0, "1e9": 0,
	} {
		if got, err := ParseSize(text); got != want || (err == nil) != (want > 0) || err != nil && !errors.Is(err, ErrSerialization) {
			t.Errorf("ParseSize(%q) is %d, %v, want %d", text, got, err, want)
		}
	}
}

func FuzzParseShardName(f *testing.F) {
	for _, name := range []string{"a:0:8", "a:b:0:8", ":0:8", "a:00:8", "a:-1:8", "a:0:9223372036854775808", "a", "a:0", ".:0:8", "a:+0:8"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		path, start, end, err := ParseShardName(name)
		if err != nil || end == 0 {
			return
		}
		if again := (Resource{Path: path, Start: start, End: end}).Name(); again != name {
			t.Errorf("%q is read as %q", name, again)
		}
	})
}

// linked makes a tree with links to a file and to a folder outside of it, and to a file in it.
func linked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"model/a/x": "x", "out/y": "y", "out/sub/z": "z"})
	for link, target := range map[string]string{"model/file": "../out/y", "model/folder": "../out", "model/inner": "a/x"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	return filepath.Join(dir, "model")
}

var follow = Options{Serialization: Serialization{AllowSymlinks: true}}

func TestSymlinksAreFollowedWhenAsked(t *testing.T) {
	dir := linked(t)
	m := build(t, os.DirFS(dir), follow)
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Path)
	}
	if got := strings.Join(names, " "); got != "a/x file folder/sub/z folder/y inner" {
		t.Errorf("files are %s", got)
	}
	if m.Files[1].Digest != digest.FromString("y") {
		t.Errorf("the digest of a link to a file is %s", m.Files[1].Digest)
	}
	if _, err := Build(context.Background(), os.DirFS(dir), Options{}); !errors.Is(err, ErrSymlink) {
		t.Errorf("not asked for: %v", err)
	}
	if _, err := Build(context.Background(), rootFS(t, dir), follow); err == nil {
		t.Error("a file system that must not be left was left")
	}
	one := follow
	one.File = "file"
	if m := build(t, os.DirFS(dir), one); m.Files[0].Path != "file" || m.Files[0].Digest != digest.FromString("y") {
		t.Errorf("one link is %+v", m.Files)
	}
}

func TestSymlinksThatCannotBeFollowed(t *testing.T) {
	const circle = "in a folder that it leads to" // found before the system gives up, after 40 links
	for name, link := range map[string]struct{ at, to, reason string }{
		"dangling":       {"l", "nowhere", "no such file"},
		"itself":         {"l", "l", "too many"},
		"its folder":     {"a/l", ".", circle},
		"the root":       {"a/l", "..", circle},
		"above the root": {"l", "../..", circle},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "above", "model")
			write(t, dir, map[string]string{"a/x": "x"})
			if err := os.Symlink(link.to, filepath.Join(dir, link.at)); err != nil {
				t.Skipf("no symbolic links here: %v", err)
			}
			if _, err := Build(context.Background(), os.DirFS(dir), follow); !errors.Is(err, ErrBrokenLink) || !IsRefusal(err) || !strings.Contains(err.Error(), link.reason) {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("to a pipe", func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
			t.Skip(err)
		}
		write(t, dir, map[string]string{"model/x": "x"})
		if err := os.Symlink("../pipe", filepath.Join(dir, "model", "l")); err != nil {
			t.Skip(err)
		}
		if _, err := Build(context.Background(), os.DirFS(filepath.Join(dir, "model")), follow); !errors.Is(err, ErrSpecial) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestOnlyListedFilesAreRead(t *testing.T) {
	dir := linked(t)
	write(t, dir, map[string]string{"b/c/signed": "s", "b/c/other": "o", "cache/big": "b", "back\\slash": "x"})
	m := build(t, shy{rootFS(t, dir)}, Options{Listed: map[string]bool{"a/x": true, "b/c/signed": true, "gone": true}})
	if fmt.Sprint(len(m.Files), m.Unlisted) != `2 [b/c/other back\slash cache/ file folder inner]` {
		t.Errorf("%d files, not listed: %v", len(m.Files), m.Unlisted)
	}
}

// shy cannot open files that nothing lists.
type shy struct{ fs.FS }

func (s shy) Open(name string) (fs.File, error) {
	if strings.Contains(name, "other") || strings.Contains(name, "cache") {
		return nil, fs.ErrPermission
	}
	return s.FS.Open(name)
}

func (s shy) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(s.FS, name) }
func (s shy) ReadLink(name string) (string, error)   { return fs.ReadLink(s.FS, name) }

func BenchmarkHashTypes(b *testing.B) {
	data := make([]byte, 64<<20)
	for _, h := range HashTypes() {
		b.Run(string(h), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for range b.N {
				_, _ = h.New().Write(data)
			}
		})
	}
}

// TestShardsOnly hashes shards at the same time and gets what one after the other gives.
func TestShardsOnly(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef!"), 5<<20/17)
	fsys := os.DirFS(t.TempDir())
	for name, size := range map[string]int{"large": len(data), "even": 3 << 20, "one": 1 << 20, "empty": 0} {
		if err := os.WriteFile(filepath.Join(fmt.Sprint(fsys), name), data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := Options{Serialization: Serialization{ShardSize: parallelShard}}
	want, err := Build(t.Context(), fsys, opts)
	if err != nil {
		t.Fatal(err)
	}
	var total atomic.Int64
	opts.ShardsOnly, opts.Progress = true, func(n int) { total.Add(int64(n)) }
	got, err := Build(t.Context(), fsys, opts)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Resources(), want.Resources()) || total.Load() != want.Size() || got.Size() != want.Size() {
		t.Errorf("shards at the same time: %v, %d bytes told of, want %v", got.Resources(), total.Load(), want.Resources())
	}
	if got.DirHash() != "" || want.DirHash() == "" || got.OMSRoot() != want.OMSRoot() {
		t.Errorf("dirHash %q, OMS root %s", got.DirHash(), got.OMSRoot())
	}
	for _, f := range got.Files {
		if known := f.Digest != ""; known != (f.Size <= parallelShard) {
			t.Errorf("%s of %d bytes has the digest %q", f.Path, f.Size, f.Digest)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	opts.Progress = func(int) { cancel() }
	if _, err := Build(ctx, fsys, opts); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestShardsOnlyOfAFileThatChanges is noticed like a change of any other.
func TestShardsOnlyOfAFileThatChanges(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "large")
	if err := os.WriteFile(name, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(){
		"shrinks": func() { _ = os.Truncate(name, 2<<20) },
		"grows":   func() { _ = os.WriteFile(name, make([]byte, 4<<20), 0o600) },
	} {
		var once sync.Once
		opts := Options{Serialization: Serialization{ShardSize: parallelShard}, ShardsOnly: true, Progress: func(int) { once.Do(change) }}
		if _, err := Build(t.Context(), os.DirFS(dir), opts); !errors.Is(err, ErrChanged) {
			t.Errorf("a file that %s: %v", what, err)
		}
	}
}
