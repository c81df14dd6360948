package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content/memory"

	"github.com/mlseal/mlseal/internal/registrytest"
	"github.com/mlseal/mlseal/manifest"
)

// heavyFiles is a dataset of which tars have several chunks of an upload, and files are too large to be held.
func heavyFiles(t *testing.T) map[string]string {
	t.Helper()
	rawLimit, shardLimit = fewFiles, 20<<20
	t.Cleanup(func() { rawLimit, shardLimit = MaxRawFiles, shardBytes })
	files := manyFiles(fewFiles)
	for i := range 9 {
		files[fmt.Sprintf("images/%d.bin", i)] = string(randomBytes(bufferedBlob/2 + i*bufferedBlob/2))
	}
	files["raw.bin"] = string(randomBytes(21 << 20))
	return files
}

// TestShardsReadOnce: each file is read once, wherever the dataset goes, also when its digest is remembered; a car reads each once more.
func TestShardsReadOnce(t *testing.T) {
	files := heavyFiles(t)
	for _, name := range []string{"raw.bin", "images/4.bin", "images/5.bin", "images/6.bin", "images/7.bin", "images/8.bin"} { // it is read slowly
		delete(files, name)
	}
	want := pack(t, newLayout(t), files, PackOptions{Type: TypeDataset})
	once := func(t *testing.T, f *far) {
		t.Helper()
		for name := range files {
			if f.reads[name] != 1 {
				t.Errorf("%s was read %d times", name, f.reads[name])
			}
		}
		clear(f.reads)
	}
	onEveryTarget(t, func(t *testing.T, target Target) {
		f := &far{MapFS: mapFS(files), reads: map[string]int{}}
		for _, digests := range []*rememberedDigests{{known: map[string]digest.Digest{}}, digestsOf(build(t, mapFS(files)))} {
			var told atomic.Int64
			build := manifest.Options{Digests: digests, Progress: func(n int) { told.Add(int64(n)) }}
			packed, err := Pack(t.Context(), target, f, PackOptions{Type: TypeDataset, Build: build})
			if err != nil || packed.Descriptor.Digest != want.Digest {
				t.Fatalf("%v: %v", err, packed)
			}
			once(t, f)
			if sum := told.Load(); sum != packed.Tree.Size() {
				t.Errorf("%d bytes were told of %d", sum, packed.Tree.Size())
			}
			if r, err := VerifyContent(t.Context(), target, fetch(t, target, packed.Descriptor), ContentOptions{}); err != nil || r.Err() != nil {
				t.Error(err, r.Err())
			}
			if _, err := PackCar(t.Context(), target, f, packed.Tree, CarOptions{}); err != nil {
				t.Fatal(err)
			}
			once(t, f)
		}
	})
}

// TestShardsUpload: connections that break off, registries that take no chunks, and stores that are no registries.
func TestShardsUpload(t *testing.T) {
	quick(t)
	files := heavyFiles(t)
	l := newLayout(t)
	want := pack(t, l, files, PackOptions{Type: TypeDataset})
	check := func(t *testing.T, target Target) {
		t.Helper()
		for range 2 {
			if desc := pack(t, target, files, PackOptions{Type: TypeDataset}); desc.Digest != want.Digest {
				t.Errorf("another digest: %s", desc.Digest)
			}
		}
		p := fetch(t, target, want)
		if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("%v, %v", err, r)
		}
		packCar(t, target, files, CarOptions{})
	}
	for name, g := range map[string]*registrytest.Registry{
		"cut":            {CutUploads: []int64{1 << 20, 9 << 20, 12 << 20, 30 << 20}},
		"sessions lost":  {CutUploads: []int64{1 << 20, 9 << 20, 12 << 20, 30 << 20}, NoStatus: true},
		"no chunks":      {NoChunks: true},
		"a larger chunk": {MinChunk: chunkBytes + 1000},
	} {
		t.Run(name, func(t *testing.T) { check(t, openAt(t, serve(t, g)+"/team/data")) })
	}
	t.Run("a store in memory", func(t *testing.T) {
		target := memory.New()
		for range 2 {
			if desc := pack(t, target, files, PackOptions{Type: TypeDataset}); desc.Digest != want.Digest {
				t.Errorf("another digest: %s", desc.Digest)
			}
		}
		for _, layer := range fetch(t, l, want).Manifest.Layers[:3] {
			layer.MediaType = "application/octet-stream" // the store takes a blob of another type for another
			if err := copyBlob(t.Context(), target, layer, io.Discard, nil); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("virtual", func(t *testing.T) {
		v, err := NewVirtual(t.Context(), mapFS(files), PackOptions{Type: TypeDataset})
		if err != nil || v.Packed().Descriptor.Digest != want.Digest {
			t.Fatalf("%v", err)
		}
		p, err := FetchPackage(t.Context(), struct {
			*Virtual
			noWrites
		}{v, noWrites{}}, want)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := VerifyContent(t.Context(), v, p, ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("%v, %v", err, r)
		}
	})
}

// TestUploadOfAChangedFile: a file in a tar that has other bytes when an upload that broke off goes on in the middle of it is named, and not sent again and again.
func TestUploadOfAChangedFile(t *testing.T) {
	quick(t)
	before := map[string]string{"a.txt": "first", "w.bin": strings.Repeat("0123456789abcdef", 20<<20/16)}
	after := maps.Clone(before)
	after["w.bin"] = strings.ToUpper(before["w.bin"])
	tree := build(t, mapFS(before))
	g := &registrytest.Registry{CutUploads: []int64{9 << 20}}
	target := openAt(t, serve(t, g)+"/team/data")
	_, err := PackCar(t.Context(), target, &changing{[]fs.FS{mapFS(before), mapFS(after)}, "w.bin", 0}, tree, CarOptions{})
	if !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "w.bin") || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if got := g.Received(); got > 45<<20 {
		t.Errorf("%d bytes were sent", got)
	}
}

// changing has a file of the first file system when it is opened first, and of the second one from then on.
type changing struct {
	states []fs.FS
	name   string
	opened int
}

func (c *changing) Open(name string) (fs.File, error) {
	if name != c.name {
		return c.states[0].Open(name)
	}
	c.opened++
	return c.states[min(c.opened, len(c.states))-1].Open(name)
}

// noWrites makes a Target of what can only be read.
type noWrites struct{}

func (noWrites) Push(context.Context, ocispec.Descriptor, io.Reader) error { return ErrReadOnly }
func (noWrites) Tag(context.Context, ocispec.Descriptor, string) error     { return ErrReadOnly }

// TestShardsAndCarsMove copies both with a statement to a layout, registries and an archive, and back, and collects garbage there.
func TestShardsAndCarsMove(t *testing.T) {
	src := newLayout(t)
	files, data := sharded(t, src)
	statement(t, src, data.Descriptor, "data")
	image := packCar(t, src, files, CarOptions{Tag: "car", Of: data.Descriptor.Digest})
	statement(t, src, image, "car")
	check := func(t *testing.T, target Target) {
		t.Helper()
		for _, desc := range []ocispec.Descriptor{data.Descriptor, image} {
			p := fetch(t, target, desc)
			if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || r.Err() != nil || p.Tree.DirHash() != data.Tree.DirHash() {
				t.Errorf("%v, %v", err, r)
			}
			if found, err := Bundles(t.Context(), target, desc); err != nil || len(found) != 1 || found[0].Err != nil {
				t.Errorf("statements: %v, %v", err, found)
			}
			dest := t.TempDir()
			if _, err := pullInto(t, target, p, dest); err != nil || !maps.Equal(tree(t, dest), files) {
				t.Errorf("%v: %d files", err, len(tree(t, dest)))
			}
			part := t.TempDir()
			if err := Pull(t.Context(), target, p, part, PullOptions{Only: []string{"train/05/00005.json"}}); err != nil || len(tree(t, part)) != 1 {
				t.Errorf("a part: %v, %v", err, tree(t, part))
			}
		}
	}
	collect := func(t *testing.T, l *Layout) {
		t.Helper()
		if report, err := l.Collect(t.Context(), CollectOptions{}); err != nil || len(report.Removed) != 0 {
			t.Errorf("%v: removed %v", err, report.Removed)
		}
	}
	collect(t, src)
	check(t, src)
	for name, dst := range map[string]Target{
		"layout":   newLayout(t),
		"registry": openAt(t, serve(t, &registrytest.Registry{})+"/team/data"),
		"fallback": openAt(t, serve(t, &registrytest.Registry{NoReferrers: true})+"/team/data"),
	} {
		t.Run(name, func(t *testing.T) {
			mustCopy(t, src, data.Descriptor, dst, CopyOptions{Tag: "v1", Referrers: true})
			mustCopy(t, src, image, dst, CopyOptions{Tag: "car", Referrers: true})
			check(t, dst)
			if l, ok := dst.(*Layout); ok {
				collect(t, l)
			}
		})
	}
	t.Run("archive", func(t *testing.T) {
		for _, desc := range []ocispec.Descriptor{data.Descriptor, image} {
			a, _ := writeArchive(t, src, desc, filepath.Join(t.TempDir(), "a.tar"), ArchiveOptions{Tag: "v1", Referrers: true})
			back := newLayout(t)
			mustCopy(t, a, desc, back, CopyOptions{Tag: "v1", Referrers: true})
			p := fetch(t, a, desc)
			for _, target := range []Target{a, back} {
				if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || r.Err() != nil {
					t.Errorf("%v, %v", err, r)
				}
				dest := t.TempDir()
				if err := Pull(t.Context(), target, p, dest, PullOptions{Only: []string{"train/05"}}); err != nil || len(tree(t, dest)) < 2 {
					t.Errorf("%v, %v", err, tree(t, dest))
				}
			}
		}
	})
	t.Run("the package is removed", func(t *testing.T) { // the car stays whole
		if err := Untag(t.Context(), src, "v1"); err != nil {
			t.Fatal(err)
		}
		if _, err := Remove(t.Context(), src, data.Descriptor, RemoveOptions{Referrers: true}); err != nil {
			t.Fatal(err)
		}
		if report, err := src.Collect(t.Context(), CollectOptions{}); err != nil || len(report.Removed) == 0 {
			t.Errorf("%v: %v", err, report)
		}
		p := fetch(t, src, image)
		if dest := t.TempDir(); Pull(t.Context(), src, p, dest, PullOptions{}) != nil || !maps.Equal(tree(t, dest), files) {
			t.Error("the car is damaged")
		}
	})
}

// TestShardsPullGoesOn: what an interrupted pull has is not fetched again, and connections that break off are taken up.
func TestShardsPullGoesOn(t *testing.T) {
	quick(t)
	g := &registrytest.Registry{}
	target := openAt(t, serve(t, g)+"/team/data")
	files, p := sharded(t, target)
	gone := p.tars[3]
	var mu sync.Mutex
	asked := map[string]int{}
	answer := func(refuse bool) {
		g.Change(func(g *registrytest.Registry) {
			g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				defer mu.Unlock()
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
					asked[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]++
				}
				if refuse && strings.HasSuffix(r.URL.Path, gone.desc.Digest.String()) {
					w.WriteHeader(http.StatusForbidden)
					return true
				}
				return false
			}
		})
	}
	answer(true)
	dest := t.TempDir()
	if err := Pull(t.Context(), target, p, dest, PullOptions{Concurrency: 1}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("%v", err)
	}
	before := len(tree(t, dest))
	if before == 0 || before >= len(files) {
		t.Fatalf("%d files", before)
	}
	answer(false)
	done := asked
	asked = map[string]int{}
	g.Change(func(g *registrytest.Registry) { g.CutDownloads = []int64{0, 700, 1500, 9000} })
	if _, err := pullInto(t, target, p, dest); err != nil || !maps.Equal(tree(t, dest), files) {
		t.Fatalf("%v: %d files", err, len(tree(t, dest)))
	}
	for d := range done {
		if d != gone.desc.Digest.String() && asked[d] > 0 {
			t.Errorf("%s was fetched again", d)
		}
	}
}

// TestShardsFlipped: no byte of a tar or of the list can be changed.
func TestShardsFlipped(t *testing.T) {
	l := newLayout(t)
	good := smallList(t, l, sameList, sameTar, asItIs)
	p := fetch(t, l, good)
	for _, layer := range p.Manifest.Layers[1:] {
		name := blobFile(t, l, layer.Digest)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 1
			damage(t, l, layer.Digest, string(bad))
			q, err := FetchPackage(t.Context(), l, good)
			if err == nil {
				var r *ContentReport
				if r, err = VerifyContent(t.Context(), l, q, ContentOptions{}); err == nil {
					err = r.Err()
				}
			}
			if !errors.Is(err, ErrContent) {
				t.Fatalf("%s, byte %d: %v", layer.MediaType, i, err)
			}
		}
		damage(t, l, layer.Digest, string(data))
	}
}

// TestHostileShards are the cases 45 (bombs), 57 (names) and 58 (links, twins) of the list of attacks, for datasets of many files.
func TestHostileShards(t *testing.T) {
	t.Run("45 a list with too many entries", func(t *testing.T) {
		var b bytes.Buffer
		b.WriteString(listBegin)
		for i := range MaxTarFiles + 1 {
			fmt.Fprintf(&b, `{"path":"%07d"},`+"\n", i)
		}
		b.WriteString(listEnd)
		if _, err := parseList(b.Bytes()); !errors.Is(err, ErrLimit) {
			t.Errorf("%v", err)
		}
	})
	t.Run("45 a list that says that it is huge", func(t *testing.T) {
		l := newLayout(t)
		for _, size := range []int64{MaxFileListBytes + 1, 1 << 40, math.MaxInt64 - 1<<20} {
			refuses(t, l, smallList(t, l, sameList, sameTar, func(im *ocispec.Manifest) { im.Layers[3].Size = size }), ErrLimit)
		}
	})
	t.Run("45 compressed", func(t *testing.T) {
		l := newLayout(t)
		for _, how := range []string{"+gzip", "+zstd"} {
			refuses(t, l, smallList(t, l, sameList, sameTar, func(im *ocispec.Manifest) { im.Layers[1].MediaType += how }), ErrNotPackage)
			refuses(t, l, smallList(t, l, sameList, sameTar, func(im *ocispec.Manifest) { im.Layers[3].MediaType += how }), ErrNotPackage)
		}
	})
	t.Run("57 names", func(t *testing.T) {
		l := newLayout(t)
		for _, name := range []string{"../x", "..", "a/../../x", "/etc/x", `a\..\b`, "a\x00b", "a\u202eb", "", ".", "a//b", "a/", strings.Repeat("n", 256)} {
			for _, list := range []func([]listedFile) []listedFile{at(0, func(f *listedFile) { f.Path = name }), at(1, func(f *listedFile) { f.Path = name })} {
				refuses(t, l, smallList(t, l, list, sameTar, asItIs), ErrContent)
			}
		}
		// What is a name here and none elsewhere is listed, and not pulled.
		for _, names := range [][2]string{{"CON", "b"}, {"B", "b"}, {"a\u0308", "\u00e4"}} {
			desc := smallList(t, l, func(f []listedFile) []listedFile {
				f[0].Path, f[1].Path, f[2].Path = names[0], names[1], "\u00ff"
				return f
			}, func(i int, data []byte) []byte {
				if i == 1 {
					return data
				}
				return writeTar(t, tarForm{}, map[string]string{names[0]: "1", names[1]: "22"})
			}, asItIs)
			p, err := FetchPackage(t.Context(), l, desc)
			if err == nil {
				dest := filepath.Join(t.TempDir(), "out")
				if err = Pull(t.Context(), l, p, dest, PullOptions{}); exists(dest) {
					t.Errorf("%q: something was written", names)
				}
			}
			if !errors.Is(err, manifest.ErrName) && !errors.Is(err, ErrContent) {
				t.Errorf("%q: %v", names, err)
			}
		}
	})
	for name, entries := range map[string][]madeEntry{
		"58 a symbolic link":    {plainFile("a", "1"), link("b", "/etc/passwd")},
		"58 an entry twice":     {plainFile("a", "1"), plainFile("a", "1")},
		"58 an entry more":      {plainFile("a", "1"), plainFile("aa", ""), plainFile("b", "22")},
		"58 an entry behind":    {plainFile("a", "1"), plainFile("b", "22"), plainFile("z", "")},
		"58 another order":      {plainFile("b", "22"), plainFile("a", "1")},
		"57 ../x in the tar":    {plainFile("a", "1"), plainFile("../x", "22")},
		"57 /x in the tar":      {plainFile("/a", "1"), plainFile("b", "22")},
		"58 one entry of three": {plainFile("a", "1")},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			desc := smallList(t, l, sameList, func(i int, data []byte) []byte {
				if i == 1 {
					return data
				}
				return handmade(t, entries...)
			}, asItIs)
			dest := t.TempDir()
			p, err := FetchPackage(t.Context(), l, desc)
			if err == nil {
				r, err := VerifyContent(t.Context(), l, p, ContentOptions{})
				if err != nil || !errors.Is(r.Err(), ErrContent) {
					t.Errorf("verify: %v, %v", err, r)
				}
				_, err = pullInto(t, l, p, dest)
				if !errors.Is(err, ErrContent) {
					t.Errorf("pull: %v", err)
				}
			} else if !isNo(err, ErrContent) {
				t.Errorf("%v", err)
			}
			for file, data := range tree(t, dest) {
				if want := map[string]string{"a": "1", "b": "22", "c": "333", "raw": "raw"}[file]; data != want {
					t.Errorf("%s was written: %q", file, data)
				}
			}
		})
	}
	t.Run("58 entries within what the list calls one file", func(t *testing.T) {
		l := newLayout(t)
		two := writeTar(t, tarForm{}, map[string]string{"a": "1", "b": "22"})
		inner := two[512 : 512+1024+2] // the contents of a, and the whole entry b
		list := func(f []listedFile) []listedFile {
			return []listedFile{{"a", int64(len(inner)), digest.FromBytes(inner), 1, 512}, f[2]}
		}
		p := fetch(t, l, smallList(t, l, list, sameTar, asItIs))
		dest := t.TempDir()
		if _, err := pullInto(t, l, p, dest); !errors.Is(err, ErrContent) {
			t.Errorf("%v", err)
		}
		if err := Pull(t.Context(), l, p, dest, PullOptions{Only: []string{"a"}}); !errors.Is(err, ErrContent) {
			t.Errorf("picked: %v", err)
		}
		if exists(filepath.Join(dest, "a")) {
			t.Error("it was written")
		}
	})
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func link(name, to string) madeEntry {
	e := plainFile(name, "")
	e.Typeflag, e.Linkname = '2', to
	return e
}
