package oci

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// manyFiles is a tree of n small files.
func manyFiles(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("train/%02d/%05d.json", i%7, i)] = fmt.Sprintf(`{"n":%d}`, i*i%97)
	}
	return files
}

// fewFiles stands for MaxRawFiles where their number does not matter.
const fewFiles = 60

// sharded packs a dataset that needs shards.
func sharded(t *testing.T, target Target) (map[string]string, *Package) {
	t.Helper()
	cost := requestCost
	rawLimit, shardLimit, requestCost = fewFiles, 100, 1000
	t.Cleanup(func() { rawLimit, shardLimit, requestCost = MaxRawFiles, shardBytes, cost })
	files := manyFiles(fewFiles)
	files["empty.json"] = ""
	files["train/03/large.bin"] = strings.Repeat("large", 200)
	files[long] = "long"
	return files, fetch(t, target, pack(t, target, files, PackOptions{Type: TypeDataset, Tag: "v1"}))
}

func TestShardsRoundTrip(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		files, p := sharded(t, target)
		if p.Tree.DirHash() != build(t, mapFS(files)).DirHash() || len(p.Tree.Files) != len(files) || p.Type != TypeDataset {
			t.Fatalf("%d files, %s", len(p.Tree.Files), p.Type)
		}
		if n := len(p.Manifest.Layers); n != 1+len(p.tars)+1 || len(p.tars) < 5 {
			t.Errorf("%d layers, %d shards", n, len(p.tars))
		}
		if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("%v, %v", err, r)
		}
		dest := t.TempDir()
		if _, err := pullInto(t, target, p, dest); err != nil || !maps.Equal(tree(t, dest), files) {
			t.Fatalf("%v: %d files", err, len(tree(t, dest)))
		}
		checkSources(t, target, p, files)
		// One is repaired.
		one := "train/03/00003.json"
		writeTree(t, dest, map[string]string{one: strings.Repeat("x", len(files[one]))})
		done, err := pullInto(t, target, p, dest)
		if err != nil || done[one] != Replaced || done["empty.json"] != Kept || !maps.Equal(tree(t, dest), files) {
			t.Errorf("%v: %s", err, done[one])
		}
	})
}

// TestHeldRoomComesBack: what is held of a file is given back, also when its turn comes while it is read.
func TestHeldRoomComesBack(t *testing.T) {
	files := []manifest.File{{Path: "a", Size: 1}, {Path: "b", Size: 1}, {Path: "c", Size: 1}}
	s, err := newShardWriter(newPacking(nil, nil, PackOptions{Type: TypeDataset}), files)
	if err != nil {
		t.Fatal(err)
	}
	var copies []manifest.FileCopy
	for _, f := range files {
		c, err := s.copy(t.Context(), origin{file: f}, nil)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, c)
	}
	if s.room != heldBytes-2 {
		t.Errorf("%d bytes are held of two files", heldBytes-s.room)
	}
	for _, i := range []int{2, 0, 1} { // one waits for its turn, one's has come
		if _, err := copies[i].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := copies[i].Commit(manifest.File{Path: files[i].Path, Size: 1, Digest: digest.FromString("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if s.room != heldBytes || s.turn != len(files) || len(s.held) > 0 {
		t.Errorf("%d bytes are held, and %d files, at turn %d", heldBytes-s.room, len(s.held), s.turn)
	}
}

// TestShardThreshold: one file more makes shards, and models never have any.
func TestShardThreshold(t *testing.T) {
	l := newLayout(t)
	files := manyFiles(MaxRawFiles)
	if p := fetch(t, l, pack(t, l, files, PackOptions{Type: TypeDataset})); len(p.tars) != 0 || len(p.Manifest.Layers) != MaxRawFiles {
		t.Errorf("%d shards", len(p.tars))
	}
	files["z"] = ""
	p := fetch(t, l, pack(t, l, files, PackOptions{Type: TypeDataset}))
	if len(p.tars) != 6 || len(p.Manifest.Layers) != 7 || len(p.tars[0].ball.files) != shardFiles || len(p.tars[5].ball.files) != 1 {
		t.Errorf("%d shards, %d layers", len(p.tars), len(p.Manifest.Layers))
	}
	if p := fetch(t, l, pack(t, l, files, PackOptions{})); len(p.tars) != 0 {
		t.Error("a model with shards")
	}
}

// TestShardsAreDeterministic packs what two machines have, one at a time and several at once.
func TestShardsAreDeterministic(t *testing.T) {
	_, p := sharded(t, newLayout(t))
	if want := digest.Digest("sha256:09de5c49adbf692b1f7767756969a8aae91ae73f8307773b355439b40d392d83"); p.Descriptor.Digest != want {
		t.Errorf("%s, want %s", p.Descriptor.Digest, want)
	}
	files, again := sharded(t, newRegistry(t, true).open(t))
	if again.Descriptor.Digest != p.Descriptor.Digest {
		t.Errorf("another digest: %s", again.Descriptor.Digest)
	}
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data), Mode: 0o600, ModTime: time.Unix(rand.Int64N(1<<30), 7)}
	}
	for _, n := range []int{1, 2, 16} {
		opts := PackOptions{Type: TypeDataset, Build: manifest.Options{Concurrency: n}}
		if desc, err := Pack(t.Context(), newLayout(t), fsys, opts); err != nil || desc.Descriptor.Digest != p.Descriptor.Digest {
			t.Errorf("%v: another digest: %v", err, desc)
		}
		if v, err := NewVirtual(t.Context(), fsys, opts); err != nil || v.Packed().Descriptor.Digest != p.Descriptor.Digest {
			t.Errorf("virtual: %v: another digest", err)
		}
	}
}

// TestOneFileOfAShard: a range is asked for, and where the registry knows none, one file is found in the whole.
func TestOneFileOfAShard(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprint("ranges ", ranges), func(t *testing.T) {
			r := newRegistry(t, true)
			target := r.open(t)
			files, p := sharded(t, target)
			var blobs, asked atomic.Int32
			r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
				if !strings.Contains(req.URL.Path, "/blobs/") {
					return false
				}
				blobs.Add(1)
				header := req.Header.Get("Range")
				if header == "" || !ranges {
					return false
				}
				asked.Add(1)
				var first, last int
				if _, err := fmt.Sscanf(header, "bytes=%d-%d", &first, &last); err != nil {
					t.Errorf("%q", header)
				}
				req.Header.Del("Range")
				return serveRange(t, target, p, w, req, first, last)
			})
			dest := t.TempDir()
			if err := Pull(t.Context(), target, p, dest, PullOptions{Only: []string{"train/05/00005.json", long}}); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"train/05/00005.json": files["train/05/00005.json"], long: "long"}
			if got := tree(t, dest); !maps.Equal(got, want) {
				t.Errorf("%v", got)
			}
			if blobs.Load() != 2 || ranges && asked.Load() != 2 {
				t.Errorf("%d requests, %d with a range", blobs.Load(), asked.Load())
			}
		})
	}
}

// serveRange answers with a part of a shard.
func serveRange(t *testing.T, _ Target, p *Package, w http.ResponseWriter, req *http.Request, first, last int) bool {
	for _, layer := range p.tars {
		if !strings.HasSuffix(req.URL.Path, layer.desc.Digest.String()) {
			continue
		}
		var b bytes.Buffer
		if err := layer.ball.write(t.Context(), &b, opened(shardFilesOf(layer)), nil); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, b.Len()))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(b.Bytes()[first : last+1])
		return true
	}
	return false
}

// shardFilesOf makes the contents of a layer of sharded anew.
func shardFilesOf(layer *tarLayer) map[string]string {
	all := manyFiles(fewFiles)
	all[long], all["empty.json"] = "long", ""
	files := map[string]string{}
	for _, f := range layer.ball.files {
		files[f.Path] = all[f.Path]
	}
	return files
}

// TestRangeLies: a registry that sends another part, or other bytes, is found out.
func TestRangeLies(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, first, last int){
		"another part": func(w http.ResponseWriter, first, last int) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/9999", first+1, last))
			w.WriteHeader(http.StatusPartialContent)
		},
		"other bytes": func(w http.ResponseWriter, first, last int) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/9999", first, last))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(bytes.Repeat([]byte("x"), last-first+1))
		},
		"nothing": func(w http.ResponseWriter, first, last int) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/9999", first, last))
			w.WriteHeader(http.StatusPartialContent)
		},
		"too little": func(w http.ResponseWriter, _, _ int) { w.WriteHeader(http.StatusOK) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, true)
			target := r.open(t)
			_, p := sharded(t, target)
			r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
				var first, last int
				if _, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &first, &last); err != nil {
					return false
				}
				answer(w, first, last)
				return true
			})
			dest := t.TempDir()
			if err := Pull(t.Context(), target, p, dest, PullOptions{Only: []string{"train/05/00005.json"}}); !errors.Is(err, ErrContent) ||
				name == "another part" && !strings.Contains(err.Error(), "asked for bytes from") {
				t.Errorf("%v", err)
			}
			if got := tree(t, dest); len(got) > 0 {
				t.Errorf("%v", got)
			}
		})
	}
}

// smallList is a package of two shards whose list and shards a test may change.
func smallList(t *testing.T, l *Layout, editList func([]listedFile) []listedFile, editTar func(i int, data []byte) []byte, edit func(*ocispec.Manifest)) ocispec.Descriptor {
	t.Helper()
	first, second := map[string]string{"a": "1", "b": "22"}, map[string]string{"c": "333"}
	var shards []*tarball
	im := hostile(func(im *ocispec.Manifest) {
		im.Layers = []ocispec.Descriptor{{MediaType: "application/vnd.cncf.model.dataset.v1.raw", Digest: digest.FromString("raw"), Size: 3,
			Annotations: map[string]string{AnnotationPath: "raw"}}}
	})
	push(t, l, "application/octet-stream", []byte("raw"))
	push(t, l, MediaTypeConfig, []byte("{}"))
	for i, files := range []map[string]string{first, second} {
		ball, err := newTarball(tarForm{}, build(t, mapFS(files)).Files)
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, ball)
		im.Layers = append(im.Layers, withPath(push(t, l, MediaTypeDatasetTar, editTar(i, writeTar(t, tarForm{}, files))), fmt.Sprint(i)))
	}
	data, err := writeList(shards, 1)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := parseList(data)
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(listBegin)
	listed = editList(listed)
	for i, f := range listed {
		if data, err = appendListed(data, f, i == len(listed)-1); err != nil {
			t.Fatal(err)
		}
	}
	im.Layers = append(im.Layers, push(t, l, MediaTypeFileList, append(data, listEnd...)))
	edit(&im)
	return push(t, l, ocispec.MediaTypeImageManifest, marshal(t, im))
}

func sameList(l []listedFile) []listedFile { return l }
func sameTar(_ int, data []byte) []byte    { return data }
func at(i int, edit func(*listedFile)) func([]listedFile) []listedFile {
	return func(l []listedFile) []listedFile {
		edit(&l[i])
		return l
	}
}

// TestHostileLists: a list that disagrees with its shards is refused before a byte of them is read, or when they are.
func TestHostileLists(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, smallList(t, l, sameList, sameTar, asItIs))
	if r, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || r.Err() != nil || len(p.Tree.Files) != 4 {
		t.Fatalf("the good one: %v, %v", err, r)
	}
	for name, list := range map[string]func([]listedFile) []listedFile{
		"empty":               func([]listedFile) []listedFile { return nil },
		"a file is missing":   func(l []listedFile) []listedFile { return l[1:] },
		"a shard is missing":  func(l []listedFile) []listedFile { return l[:2] },
		"a shard's last file": func(l []listedFile) []listedFile { return []listedFile{l[0], l[2]} },
		"one more in a shard": func(l []listedFile) []listedFile {
			return append(l, listedFile{"d", 0, digest.FromString(""), 2, 1536})
		},
		"one more elsewhere": func(l []listedFile) []listedFile { return append(l, listedFile{"d", 0, digest.FromString(""), 9, 512}) },
		"a file more": func(l []listedFile) []listedFile {
			return append(l, listedFile{"d", 0, digest.FromString(""), 2, 2048})
		},
		"listed twice":          func(l []listedFile) []listedFile { return []listedFile{l[0], l[0], l[1], l[2]} },
		"out of order":          func(l []listedFile) []listedFile { return []listedFile{l[1], l[0], l[2]} },
		"layers out of order":   func(l []listedFile) []listedFile { return []listedFile{l[2], l[0], l[1]} },
		"overlapping":           at(1, func(f *listedFile) { f.Offset-- }),
		"a negative offset":     at(1, func(f *listedFile) { f.Offset = -512 }),
		"an offset of another":  at(1, func(f *listedFile) { f.Offset = 512 }),
		"a negative size":       at(0, func(f *listedFile) { f.Size = -1 }),
		"a huge size":           at(0, func(f *listedFile) { f.Size = 1<<63 - 1 }),
		"a size that grows it":  at(0, func(f *listedFile) { f.Size = 600 }),
		"another layer":         at(2, func(f *listedFile) { f.Layer = 1 }),
		"a raw layer":           at(0, func(f *listedFile) { f.Layer = 0 }),
		"no layer":              at(2, func(f *listedFile) { f.Layer = 9 }),
		"a negative layer":      at(0, func(f *listedFile) { f.Layer = -1 }),
		"the list itself":       at(2, func(f *listedFile) { f.Layer = 3 }),
		"..":                    at(0, func(f *listedFile) { f.Path = "../a" }),
		"an absolute path":      at(0, func(f *listedFile) { f.Path = "/a" }),
		"a control character":   at(0, func(f *listedFile) { f.Path = "a\x1b[31m" }),
		"a sha512":              at(0, func(f *listedFile) { f.Digest = digest.SHA512.FromString("1") }),
		"no digest":             at(0, func(f *listedFile) { f.Digest = "" }),
		"a directory of a file": at(1, func(f *listedFile) { f.Path = "a/b" }),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, l, smallList(t, l, list, sameTar, asItIs), ErrContent) })
	}
	t.Run("a path of a raw layer", func(t *testing.T) {
		refuses(t, l, smallList(t, l, at(2, func(f *listedFile) { f.Path = "raw" }), sameTar, asItIs), ErrNotPackage)
	})
	for name, edit := range map[string]func(*ocispec.Manifest){
		"two lists":            func(im *ocispec.Manifest) { im.Layers = append(im.Layers, im.Layers[3]) },
		"a list and no shards": func(im *ocispec.Manifest) { im.Layers = slices.Delete(im.Layers, 1, 3) },
		"a compressed shard":   func(im *ocispec.Manifest) { im.Layers[1].MediaType += "+gzip" },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, l, smallList(t, l, sameList, sameTar, edit), ErrNotPackage) })
	}
	t.Run("no list", func(t *testing.T) { // as other tools pack: what is in the archives is known once they were read
		p := fetch(t, l, smallList(t, l, sameList, sameTar, func(im *ocispec.Manifest) { im.Layers = im.Layers[:3] }))
		if len(p.tars) != 0 || len(p.Tree.Files) != 4 {
			t.Errorf("%d tars, %d files", len(p.tars), len(p.Tree.Files))
		}
	})
	// The list may be what it should be, and the shard something else of the same size.
	other := func(files map[string]string) func(int, []byte) []byte {
		return func(i int, data []byte) []byte {
			if i == 1 {
				return data
			}
			return writeTar(t, tarForm{}, files)
		}
	}
	for name, c := range map[string]struct {
		list func([]listedFile) []listedFile
		tar  func(int, []byte) []byte
	}{
		"other bytes in the shard": {sameList, other(map[string]string{"a": "1", "b": "2x"})},
		"other names in the shard": {sameList, other(map[string]string{"a": "1", "x": "22"})},
		"other digest in the list": {at(1, func(f *listedFile) { f.Digest = digest.FromString("xx") }), sameTar},
		"other path in the list":   {at(1, func(f *listedFile) { f.Path = "bb" }), sameTar},
		"another size":             {at(0, func(f *listedFile) { f.Size = 2 }), sameTar},
		"a link in the shard": {sameList, func(i int, data []byte) []byte {
			return splice(data, 1024, 1024+156, "2")
		}},
		"bytes in the padding": {sameList, func(i int, data []byte) []byte { return splice(data, 0, 600, "x") }},
		"rubbish":              {sameList, func(i int, data []byte) []byte { return bytes.Repeat([]byte("x"), len(data)) }},
	} {
		t.Run(name, func(t *testing.T) {
			tar := func(i int, data []byte) []byte {
				if i == 1 {
					return data
				}
				return c.tar(i, data)
			}
			p := fetch(t, l, smallList(t, l, c.list, tar, asItIs))
			if r, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || !errors.Is(r.Err(), ErrContent) {
				t.Errorf("verify: %v, %v", err, r)
			}
			dest := t.TempDir()
			if _, err := pullInto(t, l, p, dest); !errors.Is(err, ErrContent) {
				t.Errorf("pull: %v", err)
			}
			for file, data := range tree(t, dest) {
				for _, f := range p.Tree.Files {
					if f.Path == file && f.Digest != digest.FromString(data) {
						t.Errorf("%s was written: %q", file, data)
					}
				}
			}
			noLeftovers(t, dest)
		})
	}
	t.Run("another name in front of one file", func(t *testing.T) {
		p := fetch(t, l, smallList(t, l, sameList, func(i int, data []byte) []byte {
			if i == 0 {
				return other(map[string]string{"a": "1", "x": "22"})(i, data)
			}
			return data
		}, asItIs))
		dest := t.TempDir()
		if err := Pull(t.Context(), onlyPicks{l}, p, dest, PullOptions{Only: []string{"b"}}); !errors.Is(err, ErrContent) || len(tree(t, dest)) > 0 {
			t.Errorf("%v", err)
		}
		if r, err := VerifyContent(t.Context(), l, p, ContentOptions{Only: []string{"b"}}); err != nil || !errors.Is(r.Err(), ErrContent) {
			t.Errorf("%v, %v", err, r)
		}
		if r, err := VerifyContent(t.Context(), l, p, ContentOptions{Only: []string{"a", "c"}}); err != nil || r.Err() != nil {
			t.Errorf("%v, %v", err, r)
		}
	})
}

// onlyPicks knows no ranges.
type onlyPicks struct{ Target }

func TestShardsAltered(t *testing.T) {
	l := newLayout(t)
	_, p := sharded(t, l)
	layer := p.tars[2].desc
	name := blobFile(t, l, layer.Digest)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := p.tars[2].ball.files[3]
	data[f.offset+5] ^= 1
	damage(t, l, layer.Digest, string(data))
	r, err := VerifyContent(t.Context(), l, p, ContentOptions{})
	if err != nil || !strings.Contains(fmt.Sprint(r.Err()), f.Path) || len(r.Altered) != 1 {
		t.Errorf("%v, %v", err, r.Err())
	}
	dest := t.TempDir()
	if _, err := pullInto(t, l, p, dest); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(dest, filepath.FromSlash(f.Path))); err == nil {
		t.Error("it was written")
	}
	if err := Pull(t.Context(), l, p, t.TempDir(), PullOptions{Only: []string{p.tars[2].ball.files[4].Path}}); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
}

// TestFailedShards leaves nothing of a dataset that could not be packed, and says why.
func TestFailedShards(t *testing.T) {
	l := newLayout(t)
	rawLimit = fewFiles
	t.Cleanup(func() { rawLimit = MaxRawFiles })
	files := manyFiles(3 * fewFiles)
	digests := digestsOf(build(t, mapFS(files)))
	files["train/03/00003.json"] = "other"
	_, err := Pack(t.Context(), l, mapFS(files), PackOptions{Type: TypeDataset, Build: manifest.Options{Digests: digests}})
	if !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "00003") || !slices.Equal(digests.forgotten, []string{"00003.json"}) {
		t.Errorf("%v; forgotten: %v", err, digests.forgotten)
	}
	if _, err := Pack(t.Context(), l, mapFS(files), PackOptions{Type: TypeDataset, Link: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("links: %v", err)
	}
	noLeftovers(t, l.dir)
	if blobs, err := os.ReadDir(l.path("blobs", "sha256")); err != nil || len(blobs) > 0 {
		t.Errorf("%v: %d blobs", err, len(blobs))
	}
}

// FuzzFileList: what parses is written again as the same bytes.
func FuzzFileList(f *testing.F) {
	list := func(files ...listedFile) {
		b := []byte(listBegin)
		for i, file := range files {
			b, _ = appendListed(b, file, i == len(files)-1)
		}
		f.Add(append(b, listEnd...))
	}
	list()
	list(listedFile{"a", 1, digest.FromString("1"), 0, 512})
	list(listedFile{"a<b>&.json", 1 << 40, digest.FromString("1"), 0, 512}, listedFile{long, 0, "", -1, -1})
	f.Add([]byte(listBegin + `{"path":"a","path":"b","size":1,"digest":"","layer":0,"offset":0}` + "\n" + listEnd))
	f.Add([]byte(listBegin + `{"Path":"a","size":1,"digest":"","layer":0,"offset":0}` + "\n" + listEnd))
	f.Add([]byte(listBegin + `{"path":"a","size":1e0,"digest":"","layer":0,"offset":0},` + "\n" + listEnd))
	f.Add([]byte("{\"files\":[]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := parseList(data)
		if err != nil {
			if !errors.Is(err, ErrContent) {
				t.Errorf("%v", err)
			}
			return
		}
		b := []byte(listBegin)
		for i, file := range files {
			if b, err = appendListed(b, file, i == len(files)-1); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(append(b, listEnd...), data) {
			t.Errorf("%q becomes %q", data, b)
		}
	})
}
