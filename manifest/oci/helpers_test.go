package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// testRegistry is a registry on a loopback address whose answers a test may change.
type testRegistry struct {
	host   string
	answer atomic.Pointer[answer]
}

// answer may answer a request itself; it reports whether it did.
type answer func(w http.ResponseWriter, r *http.Request) bool

// answerWith changes the answers from now on, also while requests are under way.
func (r *testRegistry) answerWith(a answer) { r.answer.Store(&a) }

// newRegistry serves go-containerregistry's registry. It sends no OCI-Subject header, by which oras-go
// learns that there is a referrers API, so that is added.
func newRegistry(t *testing.T, referrersAPI bool) *testRegistry {
	t.Helper()
	h := registry.New(registry.WithReferrersSupport(referrersAPI), registry.Logger(log.New(io.Discard, "", 0)))
	r := &testRegistry{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if a := r.answer.Load(); a != nil && *a != nil && (*a)(w, req) {
			return
		}
		if referrersAPI && req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") {
			body, _ := io.ReadAll(req.Body)
			req.Body = io.NopCloser(bytes.NewReader(body))
			var m ocispec.Manifest
			if json.Unmarshal(body, &m) == nil && m.Subject != nil {
				w.Header().Set("OCI-Subject", m.Subject.Digest.String())
			}
		}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "none.json"))
	r.host = strings.TrimPrefix(s.URL, "http://")
	return r
}

func (r *testRegistry) open(t *testing.T) Target {
	t.Helper()
	target, err := Open(t.Context(), parse(t, r.host+"/team/model"), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func parse(t *testing.T, s string) Reference {
	t.Helper()
	ref, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// onEveryTarget runs a test on a layout and on registries with and without the referrers API.
func onEveryTarget(t *testing.T, test func(t *testing.T, target Target)) {
	t.Run("layout", func(t *testing.T) { test(t, newLayout(t)) })
	t.Run("registry", func(t *testing.T) { test(t, newRegistry(t, true).open(t)) })
	t.Run("registry without referrers API", func(t *testing.T) { test(t, newRegistry(t, false).open(t)) })
}

func newLayout(t *testing.T) *Layout {
	t.Helper()
	l, err := CreateLayout(t.Context(), filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// tensorHeader is the start of a safetensors file with 12 parameters in bf16.
const tensorHeader = "\x3d\x00\x00\x00\x00\x00\x00\x00" + `{"w":{"dtype":"BF16","shape":[3,4],"data_offsets":[0,24]}}   `

var sampleTree = map[string]string{
	"config.json":       `{"model_type":"llama"}`,
	"model.safetensors": tensorHeader + "................................",
	"tokenizer.json":    `{}`,
	"README.md":         "# A model\n",
	"src/run.py":        "print(1)\n",
	"data/train.jsonl":  "{}\n",
	"empty.txt":         "",
	"copy.txt":          `{}`,
}

func mapFS(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data), Mode: 0o644}
	}
	return m
}

func writeTree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, data := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func build(t *testing.T, fsys fs.FS) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Build(t.Context(), fsys, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pack packs files from memory.
func pack(t *testing.T, target Target, files map[string]string, opts PackOptions) ocispec.Descriptor {
	t.Helper()
	packed, err := Pack(t.Context(), target, mapFS(files), opts)
	if err != nil {
		t.Fatal(err)
	}
	return packed.Descriptor
}

func fetch(t *testing.T, target Target, desc ocispec.Descriptor) *Package {
	t.Helper()
	p, err := FetchPackage(t.Context(), target, desc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func push(t *testing.T, target Target, mediaType string, data []byte) ocispec.Descriptor {
	t.Helper()
	desc := describeBytes(mediaType, data)
	if err := pushBytes(context.Background(), target, desc, data); err != nil {
		t.Fatal(err)
	}
	return desc
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// hostile returns a valid image manifest of one file that edit may change.
func hostile(edit func(*ocispec.Manifest)) ocispec.Manifest {
	im := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       describeBytes(MediaTypeConfig, []byte(`{}`)),
		Layers:       []ocispec.Descriptor{fileLayer("a.txt", "a")},
	}
	edit(&im)
	return im
}

func fileLayer(name, data string) ocispec.Descriptor {
	desc := describeBytes("application/vnd.cncf.model.doc.v1.raw", []byte(data))
	desc.Annotations = map[string]string{AnnotationPath: name, ocispec.AnnotationTitle: name}
	return desc
}

// tree lists what is below dir, with contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func blobFile(t *testing.T, l *Layout, d digest.Digest) string {
	t.Helper()
	name, err := l.blobPath(d)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// damage replaces a blob of a layout behind its back.
func damage(t *testing.T, l *Layout, d digest.Digest, data string) {
	t.Helper()
	name := blobFile(t, l, d)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
}

func noLeftovers(t *testing.T, dir string) {
	t.Helper()
	for name := range tree(t, dir) {
		if base := filepath.Base(name); strings.HasPrefix(base, tempPrefix) {
			t.Errorf("left behind: %s", name)
		}
	}
}

// digestsOf remembers the digests of a tree by the files' base names, right or wrong.
func digestsOf(m *manifest.Manifest) *rememberedDigests {
	r := &rememberedDigests{known: map[string]digest.Digest{}}
	for _, f := range m.Files {
		r.known[path.Base(f.Path)] = f.Digest
	}
	return r
}

type rememberedDigests struct {
	mu        sync.Mutex
	known     map[string]digest.Digest
	forgotten []string
}

func (r *rememberedDigests) Lookup(info fs.FileInfo) digest.Digest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[info.Name()]
}

func (r *rememberedDigests) Remember(info fs.FileInfo, _ time.Time, d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[info.Name()] = d
}

func (r *rememberedDigests) Forget(info fs.FileInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, info.Name())
	r.forgotten = append(r.forgotten, info.Name())
}

func (r *rememberedDigests) Done() {}

// fixedTarget has one blob, whatever is asked for.
type fixedTarget struct {
	Target
	data []byte
}

func (f fixedTarget) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.data)), nil
}
