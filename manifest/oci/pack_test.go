package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mlseal/mlseal/manifest"
)

// The digest of the sample package. It changes only when the format changes on purpose.
const samplePackage = "sha256:adfc0ec625ea4189a2e9e5a1cbdbecf613c8e0070c49196f60d6a441b57951fe"

func TestPackIsDeterministic(t *testing.T) {
	first, second := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	writeTree(t, first, sampleTree)
	writeTree(t, second, sampleTree)
	past := time.Now().Add(-1000 * time.Hour)
	for name := range sampleTree {
		file := filepath.Join(second, filepath.FromSlash(name))
		if err := errors.Join(os.Chtimes(file, past, past), os.Chmod(file, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	onEveryTarget(t, func(t *testing.T, target Target) {
		for _, fsys := range []fs.FS{os.DirFS(first), os.DirFS(second), os.DirFS(first), mapFS(sampleTree)} {
			packed, err := Pack(t.Context(), target, fsys, PackOptions{Tag: "v1"})
			if err != nil || packed.Descriptor.Digest != samplePackage {
				t.Errorf("%v, %v, want %s", packed, err, samplePackage)
			}
		}
	})
}

func TestPackWritesTheArtifact(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, sampleTree, PackOptions{Tag: "v1"}))
	var got []string
	for _, layer := range p.Manifest.Layers {
		kind := strings.TrimSuffix(strings.TrimPrefix(layer.MediaType, "application/vnd.cncf.model."), ".v1.raw")
		got = append(got, kind+" "+layer.Annotations["org.cncf.model.filepath"]+" "+layer.Annotations["org.opencontainers.image.title"])
	}
	want := []string{
		"weight.config config.json config.json",
		"weight.config copy.txt copy.txt",
		"weight.config empty.txt empty.txt",
		"weight.config tokenizer.json tokenizer.json",
		"weight model.safetensors model.safetensors",
		"code src/run.py src/run.py",
		"doc README.md README.md",
		"dataset data/train.jsonl data/train.jsonl",
	}
	if !slices.Equal(got, want) {
		t.Errorf("layers\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	config, err := fetchBytes(t.Context(), l, p.Manifest.Config, MaxManifestBytes)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(config), `"config":{"architecture":"llama","format":"safetensors","precision":"bf16"}`) || !strings.HasPrefix(string(config), `{"descriptor":{},`) {
		t.Errorf("config %s", config)
	}
	if p.Type != TypeModel || p.Tree.DirHash() != build(t, mapFS(sampleTree)).DirHash() {
		t.Errorf("type %q, tree %v", p.Type, p.Tree)
	}
	d := fetch(t, l, pack(t, l, sampleTree, PackOptions{Type: TypeDataset}))
	if d.Type != TypeDataset || d.Manifest.ArtifactType != ArtifactType {
		t.Errorf("dataset: %q", d.Type)
	}
}

// schemaFile finds the schema beside the checkout, or where MLSEAL_SCHEMAS says.
func schemaFile(t *testing.T) string {
	t.Helper()
	const name = "modelpack-config-schema.json"
	if dir := os.Getenv("MLSEAL_SCHEMAS"); dir != "" {
		return filepath.Join(dir, name)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if file := filepath.Join(dir, "shared", "schemas", name); fileExists(file) {
			return file
		}
	}
	t.Skipf("NOT CHECKED: %s was not found; set MLSEAL_SCHEMAS to the directory that holds it", name)
	return ""
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func TestConfigSatisfiesTheSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(schemaFile(t))
	if err != nil {
		t.Fatal(err)
	}
	l := newLayout(t)
	for name, tt := range map[string]struct {
		files map[string]string
		opts  PackOptions
	}{
		"everything":  {sampleTree, PackOptions{Name: "llama"}},
		"nothing":     {map[string]string{"a.bin": "x"}, PackOptions{}},
		"a dataset":   {map[string]string{"a.jsonl": "{}"}, PackOptions{Type: TypeDataset, Name: "corpus"}},
		"variants":    {map[string]string{"a.safetensors": safetensorsOf(t, "F16", 5000), "b.safetensors": safetensorsOf(t, "F32", 5000)}, PackOptions{}},
		"known count": {map[string]string{"m.safetensors": safetensorsOf(t, "F16", 6_700_000)}, PackOptions{}},
	} {
		p := fetch(t, l, pack(t, l, tt.files, tt.opts))
		config, err := fetchBytes(t.Context(), l, p.Manifest.Config, MaxManifestBytes)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %s: %v", name, config, err)
		}
		if name == "variants" && strings.Contains(string(config), "paramSize") {
			t.Errorf("the parameters of variants were added up: %s", config)
		}
		if name == "known count" && !strings.Contains(string(config), `"paramSize":"6.7m"`) {
			t.Errorf("%s", config)
		}
	}
}

func safetensorsOf(t *testing.T, dtype string, n int) string {
	t.Helper()
	header := fmt.Sprintf(`{"w":{"dtype":%q,"shape":[%d]}}`, dtype, n)
	if len(header) > 255 {
		t.Fatal("header too long")
	}
	return string([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}) + header
}

func TestNamesSayTheKind(t *testing.T) {
	tests := map[string]string{
		"model.safetensors": kindWeight, "a/M.GGUF": kindWeight, "pytorch_model.bin": kindWeight, "m.onnx": kindWeight, "x.ckpt": kindWeight,
		"config.json": kindWeightConfig, "tokenizer.model": kindWeightConfig, "merges.txt": kindWeightConfig, "x.yaml": kindWeightConfig, "noextension": kindWeightConfig, ".hidden": kindWeightConfig,
		"README": kindDoc, "LICENSE.txt": kindDoc, "docs/x.md": kindDoc, "NOTICE": kindDoc, "a.pdf": kindDoc,
		"readme_parser.py": kindDoc, "readmes.py": kindCode, "train.py": kindCode, "n.ipynb": kindCode, "Dockerfile": kindCode, "requirements.txt": kindCode,
		"x.jsonl": kindDataset, "x.parquet": kindDataset, "x.csv": kindDataset,
	}
	for name, want := range tests {
		if got := kindOf(name, TypeModel); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
		if got := kindOf(name, TypeDataset); got != kindDataset {
			t.Errorf("%s in a dataset is %s", name, got)
		}
	}
}

func TestParamSize(t *testing.T) {
	for n, want := range map[int64]string{0: "", 999: "", 1000: "1k", 1550: "1.5k", 999_999: "999.9k", 1_000_000: "1m", 6_738_415_616: "6.7b", 8_030_261_248: "8b", 1_000_000_000_000: "1t", 1 << 62: "4611.6q"} {
		if got := paramSize(n); got != want {
			t.Errorf("paramSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestOneModel(t *testing.T) {
	shards := []string{"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"}
	for _, files := range [][]string{{"m.safetensors"}, shards, {"m-00001-of-00001.safetensors"}} {
		if !oneModel(files) {
			t.Errorf("%v is one model", files)
		}
	}
	for _, files := range [][]string{nil, shards[:1], {"a.safetensors", "b.safetensors"}, {shards[0], "n-00002-of-00002.safetensors"}, {"m.fp16.safetensors", "m.safetensors"}} {
		if oneModel(files) {
			t.Errorf("%v is not one model", files)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	l := newLayout(t)
	before := tree(t, l.dir)
	one := fstest.MapFS{"a": {}}
	many := fstest.MapFS{}
	for i := range 20_000 {
		many[fmt.Sprintf("%06d.txt", i)] = &fstest.MapFile{}
	}
	for name, tt := range map[string]struct {
		files fstest.MapFS
		opts  PackOptions
		want  error
	}{
		"no files":   {fstest.MapFS{}, PackOptions{}, manifest.ErrEmpty},
		"type":       {one, PackOptions{Type: "image"}, nil},
		"tag":        {one, PackOptions{Tag: "a b"}, ErrReference},
		"name":       {fstest.MapFS{"a\\b": {}}, PackOptions{}, manifest.ErrName},
		"case twins": {fstest.MapFS{"A": {}, "a": {}}, PackOptions{}, manifest.ErrName},
		"git":        {fstest.MapFS{".gitignore": {}, "a": {}}, PackOptions{Build: manifest.Options{IncludeGit: true}}, manifest.ErrName},
		"links":      {one, PackOptions{Build: manifest.Options{Serialization: manifest.Serialization{AllowSymlinks: true}}}, manifest.ErrSymlink},
		"many files": {many, PackOptions{}, ErrLimit},
		"found":      {one, PackOptions{Build: manifest.Options{Found: func([]manifest.File) error { return ErrLimit }}}, ErrLimit},
		"no disk":    {one, PackOptions{Link: true}, errors.ErrUnsupported},
	} {
		opened := 0
		_, err := Pack(t.Context(), l, countingFS{tt.files, &opened}, tt.opts)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if opened > 0 && name != "no disk" {
			t.Errorf("%s: %d files were opened before it was refused", name, opened)
		}
	}
	if after := tree(t, l.dir); !maps.Equal(before, withoutLock(after)) {
		t.Errorf("a refused pack changed the layout: %v", after)
	}
}

// countingFS counts the regular files that are opened.
type countingFS struct {
	fstest.MapFS
	opened *int
}

func (c countingFS) Open(name string) (fs.File, error) {
	if f := c.MapFS[name]; f != nil && f.Mode.IsRegular() {
		*c.opened++
	}
	return c.MapFS.Open(name)
}

func withoutLock(files map[string]string) map[string]string {
	maps.DeleteFunc(files, func(name, _ string) bool { return name == lockName && files[name] == "" })
	files[lockName] = ""
	return files
}

// A file that is not what is remembered of it fails, leaves the layout as it was, and is remembered no more.
func TestPackNoticesStaleDigests(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		l, isLayout := target.(*Layout)
		good := pack(t, target, map[string]string{"old.txt": "old"}, PackOptions{Tag: "old"})
		var before map[string]string
		if isLayout {
			before = tree(t, l.dir)
		}
		hello := strings.Repeat("hello", bufferedBlob) // a large one is streamed into a request
		for name, changed := range map[string]string{"same size": "HELLO", "longer": "hello!", "shorter": "hell", "streamed": "H" + hello[1:]} {
			was := "hello"
			if name == "streamed" {
				was = hello
			}
			m := build(t, mapFS(map[string]string{"a.txt": "first", "z.txt": was}))
			stale := digestsOf(m)
			_, err := Pack(t.Context(), target, mapFS(map[string]string{"a.txt": "first", "z.txt": changed}), PackOptions{Tag: "new", Build: manifest.Options{Digests: stale}})
			if !slices.Equal(stale.forgotten, []string{"z.txt"}) {
				t.Errorf("%s: forgotten: %v", name, stale.forgotten)
			}
			if !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "z.txt") {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := Resolve(t.Context(), target, Reference{Tag: "new"}); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: the tag is there: %v", name, err)
			}
		}
		if isLayout && !maps.Equal(before, tree(t, l.dir)) {
			t.Errorf("the layout changed: %v", slices.Sorted(maps.Keys(tree(t, l.dir))))
		}
		if r, err := VerifyContent(t.Context(), target, fetch(t, target, good), ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("the earlier package: %v, %v", err, r.Err())
		}
	})
}

// A failed pack must not take away what another package uses.
func TestFailedPackKeepsSharedBlobs(t *testing.T) {
	l := newLayout(t)
	sink := sinkOf(t, l)
	fsys := mapFS(map[string]string{"shared.txt": "shared", "own.txt": "own"})
	for _, f := range build(t, fsys).Files {
		if err := sink.putFile(t.Context(), origin{fsys: fsys, file: f}, nil); err != nil {
			t.Fatal(err)
		}
	}
	other := pack(t, l, map[string]string{"shared.txt": "shared"}, PackOptions{Tag: "v1"})
	sink.discard(t.Context())
	if r, err := VerifyContent(t.Context(), l, fetch(t, l, other), ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
	if _, err := os.Stat(blobFile(t, l, digest.FromString("own"))); err == nil {
		t.Error("the blob of the failed pack stays")
	}
}

// A blob that vanishes before the package is listed is written again.
func TestPackWritesVanishedBlobsAgain(t *testing.T) {
	l := newLayout(t)
	fsys := mapFS(sampleTree)
	vanish := &vanishingSink{layoutSink: sinkOf(t, l), t: t, name: blobFile(t, l, build(t, fsys).Files[0].Digest)}
	packed, err := newPacking(fsys, vanish, PackOptions{Tag: "v1"}).pack(t.Context())
	if err != nil || vanish.n != 2 {
		t.Fatalf("%v after %d attempts", err, vanish.n)
	}
	if r, err := VerifyContent(t.Context(), l, fetch(t, l, packed.Descriptor), ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
}

func sinkOf(t *testing.T, l *Layout) *layoutSink {
	t.Helper()
	s, err := newLayoutSink(l, PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type vanishingSink struct {
	*layoutSink
	t    *testing.T
	name string
	n    int
}

func (s *vanishingSink) publish(ctx context.Context, img *image, tag string) error {
	if s.n++; s.n == 1 {
		if err := os.Remove(s.name); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.layoutSink.publish(ctx, img, tag)
}

func TestPackRepairsDamagedBlobs(t *testing.T) {
	l := newLayout(t)
	desc := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	p := fetch(t, l, desc)
	damage(t, l, p.Manifest.Layers[0].Digest, strings.Repeat("x", int(p.Manifest.Layers[0].Size)))
	damage(t, l, p.Manifest.Layers[1].Digest, "wrong size")
	damage(t, l, p.Manifest.Config.Digest, "x")
	pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	if r, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
}

// A clone is hashed like a copy: the file system's word is not taken for it.
func TestClonesAreVerified(t *testing.T) {
	real := cloneFile
	t.Cleanup(func() { cloneFile = real })
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"a.bin": "hello"})
	fsys := os.DirFS(dir)
	digests := digestsOf(build(t, fsys))
	clones := 0
	clone := func(data string) func(to, from *os.File) error {
		return func(to, from *os.File) error {
			clones++
			_, err := to.WriteAt([]byte(data), 0)
			return err
		}
	}
	// The clone is what is hashed: it may not be longer, and not another one than is remembered.
	for data, known := range map[string]manifest.Digests{"HELLO": digests, "hello again": nil} {
		cloneFile, clones = clone(data), 0
		if _, err := Pack(t.Context(), newLayout(t), fsys, PackOptions{Build: manifest.Options{Digests: known}}); !errors.Is(err, manifest.ErrChanged) || clones != 1 {
			t.Errorf("a bad clone: %v (%d)", err, clones)
		}
	}
	cloneFile = func(to, from *os.File) error {
		data, _ := io.ReadAll(from)
		_, err := to.WriteAt(data, 0)
		return err
	}
	l := newLayout(t)
	packed, err := Pack(t.Context(), l, fsys, PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyContent(t.Context(), l, fetch(t, l, packed.Descriptor), ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
}

func TestPackCancelled(t *testing.T) {
	l := newLayout(t)
	pack(t, l, map[string]string{"old.txt": "old"}, PackOptions{Tag: "old"})
	before := tree(t, l.dir)
	fsys := mapFS(map[string]string{"a.bin": strings.Repeat("x", 8<<20), "small.txt": "small"})
	small := blobFile(t, l, digest.FromString("small"))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Pack(ctx, l, fsys, PackOptions{Tag: "v1", Build: manifest.Options{Progress: func(n int) {
		if n < 1<<16 {
			return
		}
		for !fileExists(small) { // one blob is whole when the other one breaks off
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Millisecond)
		cancel()
	}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if !maps.Equal(before, tree(t, l.dir)) {
		t.Errorf("left behind: %v", slices.Sorted(maps.Keys(tree(t, l.dir))))
	}
}

func TestPackCountsEveryByte(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		fsys := mapFS(sampleTree)
		m := build(t, fsys)
		for round, known := range []manifest.Digests{digestsOf(m), nil, digestsOf(m), nil} {
			var n, total atomic.Int64
			opts := PackOptions{Build: manifest.Options{Digests: known, Total: total.Store, Progress: func(k int) { n.Add(int64(k)) }}}
			if _, err := Pack(t.Context(), target, fsys, opts); err != nil {
				t.Fatal(err)
			}
			if n.Load() != m.Size() || total.Load() != m.Size() {
				t.Errorf("round %d: %d bytes of %d told, want %d", round, n.Load(), total.Load(), m.Size())
			}
		}
	})
}

// sparse is a file system of one large file of zeroes.
func TestPackNeedsLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("256 MiB")
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "zero.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(256<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	fsys := os.DirFS(dir)
	l := newLayout(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	packed, err := Pack(t.Context(), l, fsys, PackOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Pull(t.Context(), l, fetch(t, l, packed.Descriptor), filepath.Join(dir, "out"), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d MiB allocated", n>>20)
	}
}

// Case 70: what a registry refuses is no answer.
func TestRegistryFailuresAreUnavailable(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	fsys := mapFS(sampleTree)
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest} {
		r.answerWith(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		if _, err := Pack(t.Context(), target, fsys, PackOptions{Tag: "v1"}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("status %d: %v", status, err)
		}
		if _, err := Resolve(t.Context(), target, Reference{Tag: "v1"}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("status %d: %v", status, err)
		}
		if _, err := Bundles(t.Context(), target, describeBytes(ocispec.MediaTypeImageManifest, nil)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("status %d: %v", status, err)
		}
	}
	nobody, err := Open(t.Context(), parse(t, "127.0.0.1:1/a/b"), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(t.Context(), nobody, Reference{Tag: "v1"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("nobody listens: %v", err)
	}
}
