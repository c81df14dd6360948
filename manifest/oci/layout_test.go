package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
)

func TestOpenLayoutRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenLayout(filepath.Join(dir, "none")); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "no such layout") {
		t.Errorf("missing: %v", err)
	}
	file := filepath.Join(dir, "file")
	writeTree(t, dir, map[string]string{"file": "x", "full/model.bin": "x", "old/oci-layout": `{"imageLayoutVersion":"2.0.0"}`, "linked/oci-layout": `{"imageLayoutVersion":"1.0.0"}`})
	if err := os.Symlink(dir, filepath.Join(dir, "linked", "blobs")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, filepath.Join(dir, "full"), filepath.Join(dir, "old"), filepath.Join(dir, "linked")} {
		if _, err := OpenLayout(name); !errors.Is(err, ErrNotLayout) {
			t.Errorf("OpenLayout(%s): %v", name, err)
		}
		before := fmt.Sprint(os.ReadDir(filepath.Dir(name)))
		if _, err := CreateLayout(t.Context(), name); !errors.Is(err, ErrNotLayout) {
			t.Errorf("CreateLayout(%s): %v", name, err)
		}
		if after := fmt.Sprint(os.ReadDir(filepath.Dir(name))); before != after {
			t.Errorf("CreateLayout(%s) changed the directory: %s", name, after)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "full")); len(entries) != 1 {
		t.Errorf("a refused directory was written to: %v", entries)
	}
}

func TestCreateLayoutGoesOnAfterInterruption(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{lockName: "", ".mlseal-123": "", "index.json": "{}"})
	if err := os.Mkdir(filepath.Join(dir, "blobs"), 0o777); err != nil {
		t.Fatal(err)
	}
	l, err := CreateLayout(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, l, sampleTree, PackOptions{Tag: "v1"})
}

func TestLayoutPushAndFetch(t *testing.T) {
	l := newLayout(t)
	data := []byte("hello")
	desc := describeBytes("text/plain", data)
	if _, err := l.Fetch(t.Context(), desc); !errors.Is(err, ErrNotFound) {
		t.Errorf("Fetch of nothing: %v", err)
	}
	for name, bad := range map[string]string{"other": "HELLO", "short": "hell", "long": "hello!"} {
		if err := l.Push(t.Context(), desc, strings.NewReader(bad)); !errors.Is(err, ErrContent) {
			t.Errorf("Push of %s bytes: %v", name, err)
		}
		if _, err := os.Stat(blobFile(t, l, desc.Digest)); err == nil {
			t.Fatalf("Push of %s bytes left a bad blob", name)
		}
	}
	if err := l.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := l.Push(t.Context(), desc, bytes.NewReader(data)); !errors.Is(err, errdef.ErrAlreadyExists) {
		t.Errorf("second Push: %v", err)
	}
	damage(t, l, desc.Digest, "HELLO")
	longer := desc
	longer.Size++
	if _, err := l.Fetch(t.Context(), longer); !errors.Is(err, ErrContent) {
		t.Errorf("Fetch with another size: %v", err)
	}
	if ok, err := l.Exists(t.Context(), desc); ok || err != nil {
		t.Errorf("a damaged blob exists: %v, %v", ok, err)
	}
	if err := l.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
		t.Errorf("repair: %v", err)
	}
	if got, err := fetchBytes(t.Context(), l, desc, 100); err != nil || string(got) != "hello" {
		t.Errorf("after the repair: %q, %v", got, err)
	}
	if _, err := fetchBytes(t.Context(), l, desc, 4); !errors.Is(err, ErrLimit) {
		t.Errorf("limit: %v", err)
	}
	for _, bad := range []ocispec.Descriptor{{Digest: "sha256:../../x", Size: 1}, {Digest: desc.Digest, Size: -1}, {}} {
		if err := l.Push(t.Context(), bad, bytes.NewReader(data)); !errors.Is(err, ErrContent) {
			t.Errorf("Push of %+v: %v", bad, err)
		}
	}
	noLeftovers(t, l.dir)
}

func TestLayoutRefusesSpecialBlobs(t *testing.T) {
	l := newLayout(t)
	desc := push(t, l, "text/plain", []byte("hello"))
	name := blobFile(t, l, desc.Digest)
	outside := filepath.Join(t.TempDir(), "x")
	if err := os.Rename(name, outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, name); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Fetch(t.Context(), desc); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a link as a blob: %v", err)
	}
}

func TestLayoutTags(t *testing.T) {
	l := newLayout(t)
	ctx := t.Context()
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	if again := pack(t, l, sampleTree, PackOptions{Tag: "v1"}); again.Digest != a.Digest {
		t.Errorf("packed again: %s, %s", a.Digest, again.Digest)
	}
	if err := l.Tag(ctx, a, "latest"); err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(ctx, a, "no tag"); !errors.Is(err, errdef.ErrInvalidReference) {
		t.Errorf("bad tag: %v", err)
	}
	if err := l.Tag(ctx, describeBytes(ocispec.MediaTypeImageManifest, []byte("x")), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("tag on nothing: %v", err)
	}
	b := pack(t, l, map[string]string{"other.txt": "x"}, PackOptions{Tag: "latest"})
	index, err := l.readIndex()
	if err != nil || len(index.Manifests) != 2 {
		t.Fatalf("%+v, %v, want one entry for each tag", index, err)
	}
	var tags []string
	if err := l.Tags(ctx, "", func(page []string) error { tags = page; return nil }); err != nil || !slices.Equal(tags, []string{"latest", "v1"}) {
		t.Errorf("tags %v, %v", tags, err)
	}
	for ref, want := range map[string]ocispec.Descriptor{"v1": a, "latest": b, a.Digest.String(): a} {
		if got, err := l.Resolve(ctx, ref); err != nil || got.Digest != want.Digest {
			t.Errorf("Resolve(%s) = %v, %v", ref, got.Digest, err)
		}
	}
	// Moving the last tag away drops an artifact without statements from the index, not from the blobs.
	pack(t, l, map[string]string{"third.txt": "x"}, PackOptions{Tag: "latest"})
	if index, _ := l.readIndex(); len(index.Manifests) != 2 {
		t.Errorf("%d entries, want 2", len(index.Manifests))
	}
	if got, err := l.Resolve(ctx, b.Digest.String()); err != nil || got.MediaType != ocispec.MediaTypeImageManifest || got.Size != b.Size {
		t.Errorf("unlisted: %+v, %v", got, err)
	}
}

func TestRetaggedSubjectStaysListed(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	attach(t, l, a, "one")
	pack(t, l, map[string]string{"other.txt": "x"}, PackOptions{Tag: "v1"})
	store, err := oci.New(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := store.Predecessors(t.Context(), a); err != nil || len(found) != 1 {
		t.Errorf("statements about the old artifact: %v, %v", found, err)
	}
	index, _ := l.readIndex()
	i := slices.IndexFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == a.Digest })
	if i < 0 || index.Manifests[i].Annotations[kindAnnotation] != kindImage || index.Manifests[i].Annotations[ocispec.AnnotationRefName] != "" {
		t.Errorf("the old artifact's entry is wrong or missing: %v", index.Manifests)
	}
	// An artifact that had been dropped is listed again when a statement about it comes.
	b := pack(t, l, map[string]string{"third.txt": "x"}, PackOptions{Tag: "v1"})
	pack(t, l, map[string]string{"fourth.txt": "x"}, PackOptions{Tag: "v1"})
	attach(t, l, b, "late")
	if index, _ := l.readIndex(); !slices.ContainsFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == b.Digest }) {
		t.Errorf("subject is not listed: %+v", index.Manifests)
	}
}

func TestIndexKeepsWhatOthersWrote(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	index, err := l.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	index.Annotations = map[string]string{"org.example.index": "kept"}
	annotate(&index.Manifests[0], "org.example.entry", "kept")
	if err := os.WriteFile(filepath.Join(l.dir, "index.json"), marshal(t, index), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(t.Context(), a, "v2"); err != nil {
		t.Fatal(err)
	}
	attach(t, l, a, "one")
	index, _ = l.readIndex()
	if index.Annotations["org.example.index"] != "kept" {
		t.Errorf("annotations of the index: %v", index.Annotations)
	}
	for _, e := range index.Manifests[:2] {
		if e.Annotations["org.example.entry"] != "kept" || e.Annotations[kindAnnotation] != kindImage {
			t.Errorf("entry %v", e.Annotations)
		}
	}
}

func TestIndexOrderSaysNothingOfTheOrderOfWork(t *testing.T) {
	trees := []map[string]string{{"a.txt": "1"}, {"b.txt": "2"}, {"c.txt": "3"}}
	var indexes [2][]byte
	for i := range indexes {
		l := newLayout(t)
		for j := range trees {
			if i == 1 {
				j = len(trees) - 1 - j
			}
			pack(t, l, trees[j], PackOptions{Tag: fmt.Sprint("v", j)})
		}
		indexes[i], _ = os.ReadFile(filepath.Join(l.dir, "index.json"))
	}
	if !bytes.Equal(indexes[0], indexes[1]) {
		t.Errorf("%s\n%s", indexes[0], indexes[1])
	}
}

func TestHostileIndex(t *testing.T) {
	l := newLayout(t)
	for name, index := range map[string]string{
		"no JSON":    `{`,
		"twice":      `{"schemaVersion":2,"manifests":[],"manifests":[]}`,
		"bad digest": `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:../x","size":1}]}`,
		"bad size":   `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"` + someDigest + `","size":-1}]}`,
	} {
		writeTree(t, l.dir, map[string]string{"index.json": index})
		if _, err := l.Resolve(t.Context(), "v1"); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Remove(filepath.Join(l.dir, "index.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Resolve(t.Context(), "v1"); !errors.Is(err, ErrContent) {
		t.Errorf("missing: %v", err)
	}
}

func TestOrasReadsOurLayout(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	ref := attach(t, l, a, "one")
	store, err := oci.New(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Resolve(t.Context(), "v1")
	if err != nil || got.Digest != a.Digest {
		t.Errorf("Resolve: %v, %v", got, err)
	}
	found, err := store.Predecessors(t.Context(), a)
	if err != nil || len(found) != 1 || found[0].Digest != ref.Digest {
		t.Errorf("Predecessors: %v, %v", found, err)
	}
	if err := store.Tag(t.Context(), a, "byoras"); err != nil { // it writes index.json its way
		t.Fatal(err)
	}
	if found, err := Bundles(t.Context(), l, a); err != nil || len(found) != 1 || found[0].Err != nil {
		t.Errorf("after oras wrote: %v, %v", found, err)
	}
}

func TestOrasCopiesIntoOurLayout(t *testing.T) {
	from := newLayout(t)
	a := pack(t, from, sampleTree, PackOptions{Tag: "v1"})
	attach(t, from, a, "one")
	to := newLayout(t)
	if _, err := oras.ExtendedCopy(t.Context(), from, "v1", to, "v2", oras.DefaultExtendedCopyOptions); err != nil {
		t.Fatal(err)
	}
	found, err := Bundles(t.Context(), to, a)
	if err != nil || len(found) != 1 || string(found[0].Bundle) != bundleOf("one") {
		t.Errorf("%v, %v", found, err)
	}
	p := fetch(t, to, a)
	if r, err := VerifyContent(t.Context(), to, p, ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", r.Err(), err)
	}
	index, _ := to.readIndex()
	for _, e := range index.Manifests {
		if e.Digest == a.Digest && (e.Annotations[kindAnnotation] != kindImage || e.Annotations[ocispec.AnnotationRefName] != "v2") {
			t.Errorf("entry of the subject: %v", e.Annotations)
		}
	}
}

// A pushed manifest must not name its own tags by its annotations or by those of its descriptor.
func TestPushTakesNoTagFromAnnotations(t *testing.T) {
	l := newLayout(t)
	pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	evil := hostile(func(im *ocispec.Manifest) { im.Annotations = map[string]string{ocispec.AnnotationRefName: "v1"} })
	data := marshal(t, evil)
	desc := describeBytes(ocispec.MediaTypeImageManifest, data)
	desc.Annotations = evil.Annotations
	if err := l.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Resolve(t.Context(), "v1"); err != nil || got.Digest == desc.Digest {
		t.Errorf("v1 is %v, %v", got.Digest, err)
	}
}

func TestPackingAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	const n = 8
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			l, err := CreateLayout(t.Context(), dir) // each with a Layout of its own, as processes have
			if err != nil {
				t.Error(err)
				return
			}
			fsys := mapFS(map[string]string{"shared.bin": strings.Repeat("x", 100_000), "own.txt": fmt.Sprint(i % 4)})
			if _, err := Pack(t.Context(), l, fsys, PackOptions{Tag: fmt.Sprint("v", i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l, err := OpenLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		desc, err := Resolve(t.Context(), l, Reference{Layout: dir, Tag: fmt.Sprint("v", i)})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := VerifyContent(t.Context(), l, fetch(t, l, desc), ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("v%d: %v, %v", i, err, r.Err())
		}
	}
	noLeftovers(t, dir)
}

func TestLockWaitsForTheContext(t *testing.T) {
	l := newLayout(t)
	unlock, err := l.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	other := layoutIn(l.dir)
	if _, err := other.lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a held lock: %v", err)
	}
}

func TestOldLeftoversAreRemoved(t *testing.T) {
	l := newLayout(t)
	blobs := filepath.Join(l.dir, "blobs", "sha256")
	writeTree(t, l.dir, map[string]string{".mlseal-old": "x", ".mlseal-new": "x"})
	writeTree(t, blobs, map[string]string{".mlseal-old": "x"})
	past := time.Now().Add(-2 * tempLifetime)
	for _, name := range []string{filepath.Join(l.dir, ".mlseal-old"), filepath.Join(blobs, ".mlseal-old")} {
		if err := os.Chtimes(name, past, past); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenLayout(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	pack(t, again, sampleTree, PackOptions{})
	files := tree(t, l.dir)
	_, old := files[".mlseal-old"]
	_, oldBlob := files["blobs/sha256/.mlseal-old"]
	if old || oldBlob || files[".mlseal-new"] != "x" {
		t.Errorf("wrong leftovers: %v %v %q", old, oldBlob, files[".mlseal-new"])
	}
}

// A pack may wait for its source, a network file system, for longer than a leftover lives.
func TestFilesOfASlowPackStay(t *testing.T) {
	l := newLayout(t)
	data := "slow"
	desc := describeBytes("text/plain", []byte(data))
	err := l.writeBlob(desc, func(w io.Writer) error {
		files, err := filepath.Glob(filepath.Join(l.dir, "blobs", "sha256", tempPrefix+"*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		past := time.Now().Add(-2 * tempLifetimeUnlocked)
		if err := os.Chtimes(files[0], past, past); err != nil {
			t.Fatal(err)
		}
		other, err := OpenLayout(l.dir)
		if err != nil {
			t.Fatal(err)
		}
		pack(t, other, sampleTree, PackOptions{Tag: "v1"})
		_, err = io.WriteString(w, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := l.Exists(t.Context(), desc); err != nil || !ok {
		t.Errorf("the slow blob: %v, %v", ok, err)
	}
}

func TestResolve(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		ctx := t.Context()
		ref := Reference{Layout: "x"}
		if l, ok := target.(*Layout); ok {
			if _, err := Resolve(ctx, l, ref); !errors.Is(err, ErrNotFound) {
				t.Errorf("empty layout: %v", err)
			}
		}
		a := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		b := pack(t, target, map[string]string{"b.txt": "b"}, PackOptions{Tag: "v2"})
		attach(t, target, a, "one")
		for want, ref := range map[*ocispec.Descriptor]Reference{&a: {Tag: "v1"}, &b: {Tag: "v2", Digest: b.Digest}} {
			if got, err := Resolve(ctx, target, ref); err != nil || got.Digest != want.Digest || got.Annotations != nil || got.MediaType != ocispec.MediaTypeImageManifest {
				t.Errorf("Resolve(%v) = %+v, %v", ref, got, err)
			}
		}
		if got, err := Resolve(ctx, target, Reference{Digest: a.Digest}); err != nil || got.Size != a.Size {
			t.Errorf("by digest: %+v, %v", got, err)
		}
		if _, err := Resolve(ctx, target, Reference{Tag: "v1", Digest: b.Digest}); !errors.Is(err, ErrContent) {
			t.Errorf("tag and digest disagree: %v", err)
		}
		_, err := Resolve(ctx, target, Reference{Tag: "v9"})
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "v1, v2") || strings.Contains(err.Error(), "sha256-") {
			t.Errorf("unknown tag: %v", err)
		}
		if _, err := Resolve(ctx, target, Reference{Digest: digest.FromString("unknown")}); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown digest: %v", err)
		}
		if _, err := Resolve(ctx, target, ref); !errors.Is(err, ErrReference) || !strings.Contains(err.Error(), "v1, v2") {
			t.Errorf("neither tag nor digest: %v", err)
		}
	})
}

func TestResolveTheOnlyArtifact(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{})
	attach(t, l, a, "one")
	if got, err := Resolve(t.Context(), l, Reference{Layout: l.dir}); err != nil || got.Digest != a.Digest {
		t.Errorf("%+v, %v", got, err)
	}
}

// relabel gives each entry of index.json the name that name returns for it.
func relabel(t *testing.T, l *Layout, name func(digest.Digest) string) {
	t.Helper()
	index, err := l.readIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := range index.Manifests {
		annotate(&index.Manifests[i], ocispec.AnnotationRefName, name(index.Manifests[i].Digest))
	}
	writeTree(t, l.dir, map[string]string{"index.json": string(marshal(t, index))})
}

// A name in index.json that reads like a digest does not stand in for that digest.
func TestDigestsAreNoTags(t *testing.T) {
	for name, listed := range map[string]bool{"beside the entry": true, "in its place": false} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			good := pack(t, l, sampleTree, PackOptions{Tag: "good"})
			evil := pack(t, l, map[string]string{"evil.bin": "x"}, PackOptions{Tag: "evil"})
			relabel(t, l, func(d digest.Digest) string {
				if d == evil.Digest {
					return good.Digest.String()
				}
				return "good"
			})
			if !listed {
				index, _ := l.readIndex()
				index.Manifests = slices.DeleteFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == good.Digest })
				writeTree(t, l.dir, map[string]string{"index.json": string(marshal(t, index))})
			}
			if desc, err := l.Resolve(t.Context(), good.Digest.String()); err != nil || desc.Digest != good.Digest {
				t.Errorf("Layout.Resolve: %v, %v", desc.Digest, err)
			}
			if desc, err := Resolve(t.Context(), l, Reference{Layout: l.dir, Digest: good.Digest}); err != nil || desc.Digest != good.Digest {
				t.Errorf("Resolve: %v, %v", desc.Digest, err)
			}
			var tags []string
			if err := l.Tags(t.Context(), "", func(page []string) error { tags = page; return nil }); err != nil || strings.Contains(strings.Join(tags, " "), ":") {
				t.Errorf("tags %v, %v", tags, err)
			}
		})
	}
	t.Run("other names", func(t *testing.T) {
		l := newLayout(t)
		pack(t, l, sampleTree, PackOptions{})
		for _, name := range []string{"registry.example/a:b", "-x", "a b", "sha256:12", strings.Repeat("x", 129)} {
			relabel(t, l, func(digest.Digest) string { return name })
			if desc, err := l.Resolve(t.Context(), name); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q is a tag of %v, %v", name, desc.Digest, err)
			}
		}
	})
}

// liar answers each question for a digest with another artifact.
type liar struct {
	Target
	desc ocispec.Descriptor
}

func (l liar) Resolve(context.Context, string) (ocispec.Descriptor, error) { return l.desc, nil }

func TestResolveChecksTheDigest(t *testing.T) {
	other := describeBytes(ocispec.MediaTypeImageManifest, []byte("other"))
	for _, ref := range []Reference{{Layout: "x", Digest: someDigest}, {Layout: "x", Tag: "v1", Digest: someDigest}} {
		if desc, err := Resolve(t.Context(), liar{newLayout(t), other}, ref); !errors.Is(err, ErrContent) || desc.Digest != "" {
			t.Errorf("%s: %v, %v", ref, desc.Digest, err)
		}
	}
	r := newRegistry(t, true)
	target := r.open(t)
	r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		w.Header().Set("Docker-Content-Digest", other.Digest.String())
		w.Header().Set("Content-Length", "5")
		return true
	})
	if desc, err := target.Resolve(t.Context(), someDigest); !errors.Is(err, ErrContent) || desc.Digest != "" {
		t.Errorf("registry: %v, %v", desc.Digest, err)
	}
}

func TestDuplicateTags(t *testing.T) {
	l := newLayout(t)
	a := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	b := pack(t, l, map[string]string{"b.txt": "b"}, PackOptions{Tag: "v2"})
	relabel(t, l, func(digest.Digest) string { return "v1" })
	if desc, err := Resolve(t.Context(), l, Reference{Layout: l.dir, Tag: "v1"}); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "the tag v1 ") {
		t.Errorf("%v, %v", desc.Digest, err)
	}
	for _, d := range []digest.Digest{a.Digest, b.Digest} {
		if desc, err := l.Resolve(t.Context(), d.String()); err != nil || desc.Digest != d {
			t.Errorf("by digest: %v, %v", desc.Digest, err)
		}
	}
	// The same artifact twice is no question, and taking the tag takes it from all.
	index, _ := l.readIndex()
	first := index.Manifests[0]
	index.Manifests = append(index.Manifests, first)
	index.Manifests[1] = first
	writeTree(t, l.dir, map[string]string{"index.json": string(marshal(t, index))})
	if desc, err := l.Resolve(t.Context(), "v1"); err != nil || desc.Digest != first.Digest {
		t.Errorf("listed twice: %v, %v", desc.Digest, err)
	}
	c := pack(t, l, map[string]string{"c.txt": "c"}, PackOptions{Tag: "v1"})
	if desc, err := l.Resolve(t.Context(), "v1"); err != nil || desc.Digest != c.Digest {
		t.Errorf("after a new pack: %v, %v", desc.Digest, err)
	}
}

// Whoever opens a layout while it is made finds it unfinished at one moment and finished at the next.
func TestLayoutMadeMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := CreateLayout(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := vacant(dir, ErrNotLayout); err != nil {
		t.Errorf("finished between two looks: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if err := vacant(dir, ErrNotLayout); !errors.Is(err, ErrNotLayout) {
		t.Errorf("made by somebody else: %v", err)
	}
}
