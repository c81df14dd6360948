package oci

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/registrytest"
)

// statement attaches a bundle that says text.
func statement(t *testing.T, target Target, subject ocispec.Descriptor, text string) ocispec.Descriptor {
	t.Helper()
	desc, err := AttachBundle(t.Context(), target, subject, []byte(`{"says":"`+text+`"}`), "https://example.test/v1", time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

func mustCopy(t *testing.T, src Target, desc ocispec.Descriptor, dst Target, opts CopyOptions) CopyReport {
	t.Helper()
	report, err := Copy(t.Context(), src, desc, dst, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// wholeCopy checks that dst has the package under the tag, whole, with as many referrers.
func wholeCopy(t *testing.T, dst Target, desc ocispec.Descriptor, tag string, referrers int) {
	t.Helper()
	got, err := dst.Resolve(t.Context(), tag)
	if err != nil || got.Digest != desc.Digest {
		t.Fatalf("%s is %s: %v", tag, got.Digest, err)
	}
	found, err := Bundles(t.Context(), dst, desc)
	if err != nil || len(found) != referrers {
		t.Fatalf("%d referrers, want %d: %v", len(found), referrers, err)
	}
	for _, f := range found {
		if f.Err != nil {
			t.Errorf("%v", f.Err)
		}
	}
	report, err := VerifyContent(t.Context(), dst, fetch(t, dst, desc), ContentOptions{})
	if err != nil || report.Err() != nil {
		t.Errorf("%v %v", err, report.Err())
	}
}

func TestCopyBetweenAllTargets(t *testing.T) {
	targets := map[string]func(*testing.T) Target{
		"layout":   func(t *testing.T) Target { return newLayout(t) },
		"registry": func(t *testing.T) Target { return openAt(t, serve(t, &registrytest.Registry{})+"/team/model") },
		"fallback": func(t *testing.T) Target {
			return openAt(t, serve(t, &registrytest.Registry{NoReferrers: true})+"/team/model")
		},
		"ggcr": func(t *testing.T) Target { return newRegistry(t, true).open(t) },
	}
	for from, src := range targets {
		for to, dst := range targets {
			t.Run(from+" to "+to, func(t *testing.T) {
				src, dst := src(t), dst(t)
				desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
				first := statement(t, src, desc, "one")
				statement(t, src, desc, "two")
				statement(t, src, first, "about the first")
				var planned, done atomic.Int64
				report := mustCopy(t, src, desc, dst, CopyOptions{Tag: "v2", Referrers: true, Planned: planned.Store, Progress: func(n int) { done.Add(int64(n)) }})
				if report.Referrers != 3 || report.Copied.Count == 0 || report.Skipped.Count > 1 {
					t.Errorf("%+v", report)
				}
				if planned.Load() != done.Load() {
					t.Errorf("%d bytes planned, %d told", planned.Load(), done.Load())
				}
				wholeCopy(t, dst, desc, "v2", 2)
				if found, err := Bundles(t.Context(), dst, first); err != nil || len(found) != 1 {
					t.Errorf("%d statements about the statement: %v", len(found), err)
				}
				if l, ok := dst.(*Layout); ok { // oras finds what index.json lists
					if index, err := l.readIndex(); err != nil || len(index.Manifests) != 4 {
						t.Errorf("%d entries in index.json: %v", len(index.Manifests), err)
					}
				}
				again := mustCopy(t, src, desc, dst, CopyOptions{Tag: "v2", Referrers: true})
				if again.Copied.Count != 0 || again.Referrers != 3 || again.Skipped.Bytes != report.Copied.Bytes+report.Skipped.Bytes {
					t.Errorf("again: %+v after %+v", again, report)
				}
			})
		}
	}
}

func TestCopyWithoutReferrers(t *testing.T) {
	src, dst := newLayout(t), newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	statement(t, src, desc, "one")
	if report := mustCopy(t, src, desc, dst, CopyOptions{Tag: "v1"}); report.Referrers != 0 {
		t.Errorf("%+v", report)
	}
	wholeCopy(t, dst, desc, "v1", 0)
}

// anIndex pushes an image index of two artifacts of a kind that mlseal does not know.
func anIndex(t *testing.T, target Target) ocispec.Descriptor {
	t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, text := range []string{"a", "b"} {
		layer := push(t, target, "application/x-tar", []byte(text))
		config := push(t, target, "application/x-config", []byte(`{}`))
		im := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}}
		index.Manifests = append(index.Manifests, push(t, target, ocispec.MediaTypeImageManifest, marshal(t, im)))
	}
	return push(t, target, ocispec.MediaTypeImageIndex, marshal(t, index))
}

func TestCopyAnyArtifact(t *testing.T) {
	src := openAt(t, serve(t, &registrytest.Registry{})+"/team/model")
	desc := anIndex(t, src)
	statement(t, src, desc, "about the index")
	dst, third := newLayout(t), openAt(t, serve(t, &registrytest.Registry{})+"/other/model")
	mustCopy(t, src, desc, dst, CopyOptions{Tag: "v1", Referrers: true})
	mustCopy(t, dst, desc, third, CopyOptions{Tag: "v1", Referrers: true})
	if got, err := third.Resolve(t.Context(), "v1"); err != nil || got.Digest != desc.Digest || got.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("%v: %v", got, err)
	}
	if found, err := Bundles(t.Context(), third, desc); err != nil || len(found) != 1 {
		t.Errorf("%d statements: %v", len(found), err)
	}
}

func TestCopyMounts(t *testing.T) {
	g := &registrytest.Registry{}
	host := serve(t, g)
	src := openAt(t, host+"/team/model")
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	before := g.Received()
	report := mustCopy(t, src, desc, openAt(t, host+"/prod/model"), CopyOptions{Tag: "v1"})
	if report.Mounted.Count == 0 || g.Received() != before {
		t.Errorf("%+v, %d bytes came", report, g.Received()-before)
	}
	// From a repository that was named, and where it is not mounted after all.
	l := newLayout(t)
	mustCopy(t, src, desc, l, CopyOptions{Tag: "v1"})
	if report := mustCopy(t, l, desc, openAt(t, host+"/third/model"), CopyOptions{Tag: "v1", MountFrom: "team/model"}); report.Mounted.Count == 0 {
		t.Errorf("%+v", report)
	}
	// Another registry is not told where the package comes from.
	other := &registrytest.Registry{Answer: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("mount") {
			t.Errorf("%s", r.URL)
		}
		return false
	}}
	mustCopy(t, src, desc, openAt(t, serve(t, other)+"/prod/model"), CopyOptions{Tag: "v1"})
	g.Change(func(g *registrytest.Registry) { g.NoMount = true })
	to := openAt(t, host+"/fourth/model")
	if report := mustCopy(t, src, desc, to, CopyOptions{Tag: "v1"}); report.Mounted.Count != 0 || report.Copied.Count == 0 {
		t.Errorf("%+v", report)
	}
	wholeCopy(t, to, desc, "v1", 0)
}

// Nothing can be seen in the destination before everything is there.
func TestCopyThatFailsShowsNothing(t *testing.T) {
	quick(t)
	src := newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	statement(t, src, desc, "one")
	p := fetch(t, src, desc)
	damage(t, src, p.Manifest.Layers[2].Digest, "other bytes")
	dst := newLayout(t)
	if _, err := Copy(t.Context(), src, desc, dst, CopyOptions{Tag: "v1", Referrers: true}); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	if index, err := dst.readIndex(); err != nil || len(index.Manifests) != 0 {
		t.Errorf("%d entries: %v", len(index.Manifests), err)
	}
	g := &registrytest.Registry{}
	to := openAt(t, serve(t, g)+"/team/model")
	if _, err := Copy(t.Context(), src, desc, to, CopyOptions{Tag: "v1", Referrers: true}); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	if n := g.Requests(http.MethodPut, "manifests"); n != 0 {
		t.Errorf("%d manifests were written", n)
	}
	// A registry that refuses the statement shows no tag.
	src = newLayout(t)
	desc = pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	one := statement(t, src, desc, "one")
	g.Change(func(g *registrytest.Registry) {
		g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, one.Digest.String()) {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		}
	})
	if _, err := Copy(t.Context(), src, desc, to, CopyOptions{Tag: "v1", Referrers: true}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if tags := g.Tags("team/model"); len(tags) != 0 {
		t.Errorf("tags: %v", tags)
	}
}

// Bytes that the source registry lies about are never committed in the destination.
func TestCopyOfLies(t *testing.T) {
	quick(t)
	g := &registrytest.Registry{}
	src := openAt(t, serve(t, g)+"/team/model")
	desc := pack(t, src, map[string]string{"w.bin": "weights"}, PackOptions{Tag: "v1"})
	layer := fetch(t, src, desc).Manifest.Layers[0].Digest.String()
	g.Change(func(g *registrytest.Registry) {
		g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, layer) {
				_, _ = w.Write([]byte("Weights"))
				return true
			}
			return false
		}
	})
	other := &registrytest.Registry{}
	to := openAt(t, serve(t, other)+"/team/model")
	old := wholeOnly
	t.Cleanup(func() { wholeOnly = old })
	if _, err := Copy(t.Context(), src, desc, to, CopyOptions{Tag: "v1"}); !errors.Is(err, ErrContent) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if n := other.Requests(http.MethodPut, "uploads"); n > 1 {
		t.Errorf("%d blobs were committed", n) // the config may be
	}
}

// A body that is sent in one request is verified before its last bytes go out.
func TestWholeUploadOfLies(t *testing.T) {
	quick(t)
	old := wholeOnly
	t.Cleanup(func() { wholeOnly = old })
	wholeOnly = []string{"127.0.0.1"}
	data := randomBytes(chunkBytes + 1000)
	desc := describeBytes("application/octet-stream", data)
	r := openAt(t, serve(t, &registrytest.Registry{})+"/team/model")
	data[20] ^= 1
	if _, err := r.uploadBlob(t.Context(), desc, blobSource{open: openBytes(data)}); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	if _, err := r.uploadBlob(t.Context(), desc, blobSource{open: openBytes(data[:chunkBytes])}); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	data[20] ^= 1
	if what, err := r.uploadBlob(t.Context(), desc, blobSource{open: openBytes(data)}); err != nil || what != copied {
		t.Errorf("%v %v", what, err)
	}
}

// Case 43: 20,000 referrers are refused before one is read.
func TestCopyOfTooMuch(t *testing.T) {
	g := &registrytest.Registry{}
	src := openAt(t, serve(t, g)+"/team/model")
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	g.Change(func(g *registrytest.Registry) {
		g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			entry := `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"` + string(desc.Digest) + `"}`
			_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[` + strings.Repeat(entry+",", 19_999) + entry + `]}`))
			return true
		}
	})
	before := g.Requests(http.MethodGet, "manifests")
	_, err := Copy(t.Context(), src, desc, newLayout(t), CopyOptions{Tag: "v1", Referrers: true})
	if !errors.Is(err, ErrLimit) || g.Requests(http.MethodGet, "manifests")-before > 1 {
		t.Errorf("%v after %d requests", err, g.Requests(http.MethodGet, "manifests")-before)
	}
	// Statements about statements without end.
	l := newLayout(t)
	desc = pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	at := desc
	for range MaxCopyDepth + 1 {
		at = statement(t, l, at, "x")
	}
	if _, err := Copy(t.Context(), l, desc, newLayout(t), CopyOptions{Referrers: true}); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
}

// Case 56: what an image manifest or an index is cannot be two things.
func TestCopyOfConfusedManifests(t *testing.T) {
	for name, text := range map[string]string{
		"index and image":   `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[],"manifests":[]}`,
		"another type":      `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
		"docker's type":     `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","layers":[]}`,
		"another spelling":  `{"schemaVersion":2,"Layers":[]}`,
		"twice":             `{"schemaVersion":2,"layers":[],"layers":[]}`,
		"two sizes":         `{"schemaVersion":2,"layers":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1},{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":2}]}`,
		"negative":          `{"schemaVersion":2,"layers":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":-1}]}`,
		"path for a digest": `{"schemaVersion":2,"layers":[{"digest":"sha256:../../x","size":1}]}`,
	} {
		g := &registrytest.Registry{}
		src := openAt(t, serve(t, g)+"/team/model")
		desc := push(t, src, ocispec.MediaTypeImageManifest, []byte(text))
		if _, err := Copy(t.Context(), src, desc, newLayout(t), CopyOptions{Tag: "v1"}); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	src := newLayout(t)
	desc := push(t, src, "text/plain", []byte("x"))
	if _, err := Copy(t.Context(), src, desc, newLayout(t), CopyOptions{}); !errors.Is(err, ErrManifest) {
		t.Errorf("%v", err)
	}
}

// Case 55: a tag that moves between two requests changes nothing: the digest was resolved once.
func TestTagThatMovesMeanwhile(t *testing.T) {
	g := &registrytest.Registry{}
	src := openAt(t, serve(t, g)+"/team/model")
	first := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	desc, err := Resolve(t.Context(), src, Reference{Repository: "x", Tag: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	pack(t, src, map[string]string{"evil.bin": "evil"}, PackOptions{Tag: "v1"})
	dst := newLayout(t)
	mustCopy(t, src, desc, dst, CopyOptions{Tag: "v1"})
	wholeCopy(t, dst, first, "v1", 0)
}

// Case 44, for copies: what a registry lists as attached says itself what it is about.
func TestCopyOfAForeignReferrer(t *testing.T) {
	g := &registrytest.Registry{}
	src := openAt(t, serve(t, g)+"/team/model")
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	other := pack(t, src, map[string]string{"a": "a"}, PackOptions{Tag: "v2"})
	foreign := statement(t, src, other, "about the other")
	g.Change(func(g *registrytest.Registry) {
		g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/referrers/"+desc.Digest.String()) {
				return false
			}
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = w.Write(marshal(t, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{foreign}}))
			return true
		}
	})
	dst := newLayout(t)
	if _, err := Copy(t.Context(), src, desc, dst, CopyOptions{Tag: "v1", Referrers: true}); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "does not name") {
		t.Errorf("%v", err)
	}
	// It is not deleted as something of the artifact's either.
	if removed, err := Remove(t.Context(), src, desc, RemoveOptions{Tag: "v1"}); err != nil || len(removed) != 1 {
		t.Errorf("%v: %v", removed, err)
	}
	if _, err := src.Resolve(t.Context(), foreign.Digest.String()); err != nil {
		t.Error(err)
	}
}

// A blob that is collected while the copy is at work is noticed before anything is listed.
func TestCopyNoticesWhatIsGone(t *testing.T) {
	src, dst := newLayout(t), newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{})
	p := &plan{src: src, known: map[digest.Digest]*part{}, sizes: map[digest.Digest]int64{}}
	if err := p.visit(t.Context(), desc, nil, 0); err != nil {
		t.Fatal(err)
	}
	c := &copier{plan: p, dst: dst}
	if err := c.copyBlobs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report, err := dst.Collect(t.Context(), CollectOptions{}); err != nil || len(report.Removed) == 0 {
		t.Fatalf("%+v: %v", report, err)
	}
	if err := c.list(t.Context(), dst); !errors.Is(err, errBlobGone) {
		t.Errorf("%v", err)
	}
	if index, err := dst.readIndex(); err != nil || len(index.Manifests) != 0 {
		t.Errorf("%d entries: %v", len(index.Manifests), err)
	}
}
