package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func bundleOf(name string) string {
	return fmt.Sprintf(`{"mediaType":%q,"name":%q}`, MediaTypeBundle, name)
}

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))

func attach(t *testing.T, target Target, subject ocispec.Descriptor, name string) ocispec.Descriptor {
	t.Helper()
	desc, err := AttachBundle(t.Context(), target, subject, []byte(bundleOf(name)), "https://example.test/"+name, someTime)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// attachManifest attaches a manifest that a test made.
func attachManifest(t *testing.T, target Target, im ocispec.Manifest) ocispec.Descriptor {
	t.Helper()
	data := marshal(t, im)
	desc := describeBytes(ocispec.MediaTypeImageManifest, data)
	if err := target.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return desc
}

// The wire form that cosign v2.6.5 and v3.1.3 agree on, byte for byte.
func TestAttachBundleWireForm(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		desc := attach(t, target, a, "one")
		data, err := fetchBytes(t.Context(), target, desc, MaxManifestBytes)
		if err != nil {
			t.Fatal(err)
		}
		bundle := describeBytes("", []byte(bundleOf("one")))
		want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
			`"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json",`+
			`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json"},`+
			`"layers":[{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":%q,"size":%d}],`+
			`"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d},`+
			`"annotations":{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"https://example.test/one","org.opencontainers.image.created":"2026-01-02T02:04:05Z"}}`,
			bundle.Digest, bundle.Size, a.Digest, a.Size)
		if string(data) != want {
			t.Errorf("%s\nwant\n%s", data, want)
		}
		config, err := fetchBytes(t.Context(), target, plain(ocispec.DescriptorEmptyJSON), 2)
		if err != nil || string(config) != "{}" {
			t.Errorf("config %q, %v", config, err)
		}
	})
}

func TestBundles(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		other := pack(t, target, map[string]string{"b.txt": "b"}, PackOptions{Tag: "v2"})
		if found, err := Bundles(t.Context(), target, a); err != nil || len(found) != 0 {
			t.Errorf("before: %v, %v", found, err)
		}
		attach(t, target, other, "elsewhere")
		want := map[string]bool{}
		for _, name := range []string{"one", "two", "three"} {
			attach(t, target, a, name)
			attach(t, target, a, name) // the same again is the same referrer
			want[bundleOf(name)] = true
		}
		found, err := Bundles(t.Context(), target, a)
		if err != nil || len(found) != 3 {
			t.Fatalf("%v, %v", found, err)
		}
		for i, f := range found {
			if f.Err != nil || !want[string(f.Bundle)] {
				t.Errorf("%+v", f)
			}
			delete(want, string(f.Bundle))
			if i > 0 && found[i-1].Descriptor.Digest >= f.Descriptor.Digest {
				t.Error("not in the order of the digests")
			}
		}
	})
}

func TestBundlesReportWhatTheyCannotRead(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		layer := push(t, target, MediaTypeBundle, []byte(bundleOf("lying")))
		small := push(t, target, "text/plain", []byte("x"))
		huge := layer
		huge.Size = MaxBundleBytes + 1
		absent := describeBytes(MediaTypeBundle, []byte("never pushed"))
		about := func(edit func(*ocispec.Manifest)) ocispec.Descriptor {
			im := referrerManifest(a, layer, "https://example.test/x", someTime)
			edit(&im)
			return attachManifest(t, target, im)
		}
		want := map[string]error{
			// The body decides: a bundle under a wrong artifact type is a bundle.
			about(func(im *ocispec.Manifest) { im.ArtifactType = "text/x-lie"; im.Annotations = nil }).Digest.String(): nil,
			about(func(im *ocispec.Manifest) { im.Layers = []ocispec.Descriptor{small} }).Digest.String():              ErrContent,
			about(func(im *ocispec.Manifest) { im.Layers = nil }).Digest.String():                                      ErrContent,
			about(func(im *ocispec.Manifest) { im.Layers = append(im.Layers, small) }).Digest.String():                 ErrContent,
			about(func(im *ocispec.Manifest) {
				im.ArtifactType, im.Layers = "text/x-lie", []ocispec.Descriptor{small, layer}
			}).Digest.String(): ErrContent,
			about(func(im *ocispec.Manifest) { im.Layers = []ocispec.Descriptor{absent} }).Digest.String(): ErrNotFound,
			about(func(im *ocispec.Manifest) { im.Layers = []ocispec.Descriptor{huge} }).Digest.String():   ErrLimit,
			about(func(im *ocispec.Manifest) {
				im.ArtifactType, im.Layers = "application/spdx+json", []ocispec.Descriptor{small}
			}).Digest.String(): ErrNotBundle,
		}
		found, err := Bundles(t.Context(), target, a)
		if err != nil || len(found) != len(want) {
			t.Fatalf("%d found, %v, want %d", len(found), err, len(want))
		}
		for _, f := range found {
			class, ok := want[f.Descriptor.Digest.String()]
			if !ok || !errors.Is(f.Err, class) || (f.Err == nil) != (f.Bundle != nil) {
				t.Errorf("%s: %v, want %v", f.Descriptor.Digest, f.Err, class)
			}
		}
	})
}

func TestDamagedReferrersInALayoutAreReported(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	b := pack(t, l, map[string]string{"b.txt": "b"}, PackOptions{Tag: "v2"})
	gone, altered, whole := attach(t, l, a, "gone"), attach(t, l, a, "altered"), attach(t, l, a, "whole")
	if err := os.Remove(blobFile(t, l, gone.Digest)); err != nil {
		t.Fatal(err)
	}
	damage(t, l, altered.Digest, strings.Repeat(" ", int(altered.Size)))
	damage(t, l, b.Digest, "damaged") // a tagged package is no referrer, even when it cannot be read
	found, err := Bundles(t.Context(), l, a)
	if err != nil || len(found) != 3 {
		t.Fatalf("%v, %v", found, err)
	}
	want := map[string]error{gone.Digest.String(): ErrNotFound, altered.Digest.String(): ErrContent, whole.Digest.String(): nil}
	for _, f := range found {
		if !errors.Is(f.Err, want[f.Descriptor.Digest.String()]) {
			t.Errorf("%s: %v", f.Descriptor.Digest, f.Err)
		}
	}
}

// cosign v3 writes statements into a layout as blobs only, without an entry in index.json.
func TestUnlistedReferrersAreFound(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	layer := push(t, l, MediaTypeBundle, []byte(bundleOf("one")))
	put := func(data []byte) ocispec.Descriptor {
		desc := describeBytes("application/octet-stream", data) // listed only with a manifest's media type
		if err := l.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		return desc
	}
	im := referrerManifest(a, layer, "https://example.test/one", someTime)
	want := put(marshal(t, im))
	big := put([]byte(`{"schemaVersion":2,"subject":{"digest":"` + a.Digest.String() + `"}` + strings.Repeat(" ", MaxManifestBytes) + `}`))
	put([]byte(`{"schemaVersion":2`))
	found, err := Bundles(t.Context(), l, a)
	if err != nil || len(found) != 1 || found[0].Descriptor.Digest != want.Digest || found[0].Err != nil {
		t.Fatalf("%+v, %v (big one is %s)", found, err, big.Digest)
	}
	// A damaged one is reported, as long as it can be told for one.
	damage(t, l, want.Digest, strings.Replace(string(marshal(t, im)), "example.test", "example.tset", 1))
	if found, err := Bundles(t.Context(), l, a); err != nil || len(found) != 1 || !errors.Is(found[0].Err, ErrContent) {
		t.Errorf("damaged: %+v, %v", found, err)
	}
}

func TestAttachBundleRefuses(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		if _, err := AttachBundle(t.Context(), target, a, make([]byte, MaxBundleBytes+1), "x", someTime); !errors.Is(err, ErrLimit) {
			t.Errorf("too large: %v", err)
		}
		if _, err := AttachBundle(t.Context(), target, a, nil, "x", someTime); err == nil {
			t.Error("an empty bundle was attached")
		}
		if _, err := AttachBundle(t.Context(), target, a, []byte("{}"), "", someTime); err == nil {
			t.Error("a bundle without a predicate type was attached")
		}
		absent := describeBytes(ocispec.MediaTypeImageManifest, []byte("absent"))
		if _, err := AttachBundle(t.Context(), target, absent, []byte("{}"), "x", someTime); !errors.Is(err, ErrNotFound) {
			t.Errorf("no subject: %v", err)
		}
		if found, err := Bundles(t.Context(), target, a); err != nil || len(found) != 0 {
			t.Errorf("%v, %v", found, err)
		}
	})
}

func TestAttachingAtOnce(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		const n = 6
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				if _, err := AttachBundle(t.Context(), target, a, []byte(bundleOf(fmt.Sprint(i))), "x", someTime); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if found, err := Bundles(t.Context(), target, a); err != nil || len(found) != n {
			t.Errorf("%d found, %v", len(found), err)
		}
	})
}

// referrersAnswer makes a registry list n referrers.
func referrersAnswer(n int, link string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/referrers/") {
			return false
		}
		index := emptyIndex()
		for i := range n {
			index.Manifests = append(index.Manifests, describeBytes(ocispec.MediaTypeImageManifest, fmt.Append(nil, r.URL.RawQuery, i)))
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		if link != "" {
			w.Header().Set("Link", fmt.Sprintf("<%s?last=%d>; rel=next", link, time.Now().UnixNano()))
		}
		_ = json.NewEncoder(w).Encode(index)
		return true
	}
}

// Case 43: a list of referrers that is too long is refused before one is read.
func TestTooManyReferrers(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
	path := "/v2/team/model/referrers/" + a.Digest.String()
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"one too many":            referrersAnswer(MaxReferrers+1, ""),
		"a page beyond the limit": referrersAnswer(40_000, ""),
		"pages without end":       referrersAnswer(1, path),
	} {
		fetched, listed := 0, 0
		r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
			if strings.Contains(req.URL.Path, "/manifests/") {
				fetched++
			}
			if strings.Contains(req.URL.Path, "/referrers/") {
				listed++
			}
			return answer(w, req)
		})
		if found, err := Bundles(t.Context(), target, a); !errors.Is(err, ErrLimit) || errors.Is(err, ErrUnavailable) || found != nil {
			t.Errorf("%s: %d found, %v", name, len(found), err)
		}
		if fetched > 0 || listed > MaxListPages {
			t.Errorf("%s: %d manifests were fetched, %d pages", name, fetched, listed)
		}
	}
}

func TestReferrersOfAnUnknownRepository(t *testing.T) {
	target := newRegistry(t, true).open(t)
	found, err := Bundles(t.Context(), target, describeBytes(ocispec.MediaTypeImageManifest, []byte("x")))
	if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) || found != nil {
		t.Errorf("%v, %v", found, err)
	}
}

func TestTooManyReferrersInALayout(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	index, _ := l.readIndex()
	for i := range MaxReferrers + 1 {
		index.Manifests = append(index.Manifests, describeBytes(ocispec.MediaTypeImageManifest, fmt.Append(nil, i)))
	}
	writeTree(t, l.dir, map[string]string{"index.json": string(marshal(t, index))})
	if _, err := Bundles(t.Context(), l, a); !errors.Is(err, ErrLimit) {
		t.Errorf("%v", err)
	}
}

// A registry that lists a manifest of another subject, or with another media type, is not believed.
func TestRegistryLiesAboutReferrers(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
	b := pack(t, target, map[string]string{"b.txt": "b"}, PackOptions{Tag: "v2"})
	ref := plain(attach(t, target, b, "about b"))
	retyped := ref
	retyped.MediaType = ocispec.MediaTypeImageIndex
	resized := ref
	resized.Size = MaxManifestBytes + 1
	for name, lie := range map[string]struct {
		desc ocispec.Descriptor
		want error
	}{"other subject": {ref, ErrContent}, "other media type": {retyped, ErrContent}, "huge": {resized, ErrLimit}} {
		r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/referrers/") {
				return false
			}
			index := emptyIndex()
			index.Manifests = append(index.Manifests, lie.desc)
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_ = json.NewEncoder(w).Encode(index)
			return true
		})
		found, err := Bundles(t.Context(), target, a)
		if err != nil || len(found) != 1 || !errors.Is(found[0].Err, lie.want) || errors.Is(found[0].Err, ErrNotBundle) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}

// An entry of index.json that gives a referrer another media type hides it from nobody.
func TestReferrerListedWithAnotherMediaType(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	ref := attach(t, l, a, "one")
	index, _ := l.readIndex()
	for i := range index.Manifests {
		if index.Manifests[i].Digest == ref.Digest {
			index.Manifests[i].MediaType = ocispec.MediaTypeImageIndex
		}
	}
	writeTree(t, l.dir, map[string]string{"index.json": string(marshal(t, index))})
	if found, err := Bundles(t.Context(), l, a); err != nil || len(found) != 1 || !errors.Is(found[0].Err, ErrContent) {
		t.Errorf("%+v, %v", found, err)
	}
}

// careless accepts a number of pushes of one media type without storing anything.
type careless struct {
	Target
	mediaType string
	times     int
}

func (c *careless) Push(ctx context.Context, desc ocispec.Descriptor, r io.Reader) error {
	if desc.MediaType == c.mediaType && c.times > 0 {
		c.times--
		return nil
	}
	return c.Target.Push(ctx, desc, r)
}

// A referrer that another writer of the list pushed aside is written again, and one that never shows up is an error.
func TestAttachBundleMakesSureThatItIsListed(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	attach(t, &careless{l, ocispec.MediaTypeImageManifest, attachAttempts - 1}, a, "one")
	if found, err := Bundles(t.Context(), l, a); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	_, err := AttachBundle(t.Context(), &careless{l, ocispec.MediaTypeImageManifest, attachAttempts}, a, []byte(bundleOf("two")), "x", someTime)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("never listed: %v", err)
	}
}

func TestPackNoticesAnUploadThatNobodyRead(t *testing.T) {
	fsys := mapFS(map[string]string{"big.bin": strings.Repeat("x", 2*bufferedBlob)})
	target := &careless{newRegistry(t, true).open(t), "application/octet-stream", 1}
	if _, err := Pack(t.Context(), target, fsys, PackOptions{}); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
}

// What a referrer is, its own manifest says, in layouts as in registries.
func TestReferrersSayWhatTheyAre(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		attach(t, target, a, "one")
		about := plain(a)
		push(t, target, "application/vnd.example.config", []byte(`{}`))
		for i, artifactType := range []string{"application/vnd.example.sbom", ""} {
			layer := push(t, target, "text/plain", fmt.Append(nil, i))
			im := hostile(func(im *ocispec.Manifest) {
				im.ArtifactType, im.Config.MediaType, im.Subject = artifactType, "application/vnd.example.config", &about
				im.Layers = []ocispec.Descriptor{layer}
			})
			data := marshal(t, im)
			if err := target.Push(t.Context(), describeBytes(ocispec.MediaTypeImageManifest, data), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		found, err := Bundles(t.Context(), target, a)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, f := range found {
			got[f.Descriptor.ArtifactType] = errors.Is(f.Err, ErrNotBundle)
		}
		if want := map[string]bool{MediaTypeBundle: false, "application/vnd.example.sbom": true, "application/vnd.example.config": true}; !maps.Equal(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
	})
}

// TestBundlesAreBoundedTogether lists more bytes of bundles than are read: none of the list may be believed whole.
func TestBundlesAreBoundedTogether(t *testing.T) {
	store := newLayout(t)
	subject := pack(t, store, map[string]string{"f": "x"}, PackOptions{})
	for _, name := range []string{"a", "b", "c"} {
		if _, err := AttachBundle(t.Context(), store, subject, []byte(bundleOf(name)), "https://example.test/"+name, someTime); err != nil {
			t.Fatal(err)
		}
	}
	bundlesBytes = int64(3 * len(bundleOf("a")))
	defer func() { bundlesBytes = MaxBundlesBytes }()
	if found, err := Bundles(t.Context(), store, subject); err != nil || len(found) != 3 {
		t.Fatalf("at the limit: %d found, %v", len(found), err)
	}
	bundlesBytes--
	if _, err := Bundles(t.Context(), store, subject); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: error is %v", err)
	}
}

// TestLockThatIsALink: a layout from a stranger must not make a file elsewhere.
func TestLockThatIsALink(t *testing.T) {
	store := newLayout(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Remove(store.path(lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, store.path(lockName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(t.Context(), store, mapFS(map[string]string{"f": "x"}), PackOptions{}); !errors.Is(err, ErrNotLayout) {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was made where the link points to")
	}
}
