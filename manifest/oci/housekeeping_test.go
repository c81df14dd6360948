package oci

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/registrytest"
)

func TestList(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		first := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		statement(t, target, first, "one")
		second := pack(t, target, map[string]string{"a.bin": "abc"}, PackOptions{Tag: "v0"})
		entries, err := List(t.Context(), target)
		if err != nil || len(entries) != 2 {
			t.Fatalf("%+v: %v", entries, err)
		}
		size := fetch(t, target, second).Manifest.Config.Size + 3
		want := []Entry{
			{Tag: "v0", Digest: second.Digest.String(), MediaType: second.MediaType, ArtifactType: ArtifactType, Bytes: size},
			{Tag: "v1", Digest: first.Digest.String(), MediaType: first.MediaType, ArtifactType: ArtifactType, Bytes: entries[1].Bytes, Referrers: 1},
		}
		if !slices.Equal(entries, want) {
			t.Errorf("%+v\nwant %+v", entries, want)
		}
	})
	l := newLayout(t)
	desc := pack(t, l, sampleTree, PackOptions{})
	damage(t, l, pack(t, l, map[string]string{"a": "a"}, PackOptions{Tag: "bad"}).Digest, "x")
	entries, err := List(t.Context(), l)
	if err != nil || len(entries) != 2 || entries[0].Problem == "" || entries[1].Tag != "" || entries[1].Digest != desc.Digest.String() {
		t.Errorf("%+v: %v", entries, err)
	}
}

func TestTagAndUntag(t *testing.T) {
	for name, target := range map[string]Target{"layout": newLayout(t), "registry": openAt(t, serve(t, &registrytest.Registry{})+"/team/model")} {
		desc := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		if err := Tag(t.Context(), target, desc, "v2"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, tag := range []string{"", "-x", "sha256-" + strings.Repeat("a", 64)} {
			if err := Tag(t.Context(), target, desc, tag); !errors.Is(err, ErrReference) {
				t.Errorf("%s: %q: %v", name, tag, err)
			}
		}
		if err := Untag(t.Context(), target, "v1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := Untag(t.Context(), target, "v1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		wholeCopy(t, target, desc, "v2", 0)
	}
	// A layout keeps listing what statements are attached to.
	l := newLayout(t)
	desc := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	statement(t, l, desc, "one")
	if err := Untag(t.Context(), l, "v1"); err != nil {
		t.Fatal(err)
	}
	if entries, err := List(t.Context(), l); err != nil || len(entries) != 1 || entries[0].Referrers != 1 {
		t.Errorf("%+v: %v", entries, err)
	}
}

func TestRemove(t *testing.T) {
	targets := map[string]Target{
		"layout":   newLayout(t),
		"registry": openAt(t, serve(t, &registrytest.Registry{})+"/team/model"),
		"fallback": openAt(t, serve(t, &registrytest.Registry{NoReferrers: true})+"/team/model"),
	}
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			desc := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
			other := pack(t, target, map[string]string{"a": "a"}, PackOptions{Tag: "other"})
			first := statement(t, target, desc, "one")
			statement(t, target, first, "about the first")
			if _, err := Remove(t.Context(), target, desc, RemoveOptions{Referrers: true}); !errors.Is(err, ErrReferred) || !strings.Contains(err.Error(), "by tag v1") {
				t.Errorf("%v", err)
			}
			if _, err := Remove(t.Context(), target, desc, RemoveOptions{Tag: "v1"}); !errors.Is(err, ErrReferred) {
				t.Errorf("%v", err)
			}
			wholeCopy(t, target, desc, "v1", 1)
			removed, err := Remove(t.Context(), target, desc, RemoveOptions{Referrers: true, Tag: "v1"})
			if err != nil || len(removed) != 3 || removed[2].Digest != desc.Digest {
				t.Fatalf("%v: %v", removed, err)
			}
			for _, gone := range removed {
				if _, err := target.Resolve(t.Context(), gone.Digest.String()); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %v", gone.Digest, err)
				}
			}
			wholeCopy(t, target, other, "other", 0)
		})
	}
}

func TestRemoveOfAStatement(t *testing.T) {
	for name, g := range map[string]*registrytest.Registry{"api": {}, "fallback": {NoReferrers: true}, "api refuses": {NoDelete: true}, "fallback refuses": {NoReferrers: true, NoDelete: true}} {
		target := openAt(t, serve(t, g)+"/team/model")
		desc := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
		one := statement(t, target, desc, "one")
		two := statement(t, target, desc, "two")
		_, err := Remove(t.Context(), target, one, RemoveOptions{})
		if refused := name == "api refuses"; refused != errors.Is(err, ErrRefused) || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found, err := Bundles(t.Context(), target, desc)
		if err != nil || name != "api refuses" && (len(found) != 1 || found[0].Descriptor.Digest != two.Digest) {
			t.Errorf("%s: %d: %v", name, len(found), err)
		}
	}
	g := &registrytest.Registry{NoDelete: true}
	target := openAt(t, serve(t, g)+"/team/model")
	pack(t, target, sampleTree, PackOptions{Tag: "v1"})
	if err := Untag(t.Context(), target, "v1"); !errors.Is(err, ErrRefused) || errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func age(t *testing.T, l *Layout, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	for name := range tree(t, l.dir) {
		if err := os.Chtimes(filepath.Join(l.dir, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCollect(t *testing.T) {
	l := newLayout(t)
	kept := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	statement(t, l, kept, "one")
	index := anIndex(t, l)
	if err := l.Tag(t.Context(), index, "index"); err != nil {
		t.Fatal(err)
	}
	// The parts of the index, and a statement, are there and not listed, as cosign and oras leave them.
	err := l.change(t.Context(), func(i *ocispec.Index) error {
		i.Manifests = slices.DeleteFunc(i.Manifests, func(e ocispec.Descriptor) bool { return tagOf(e) == "" })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	gone := pack(t, l, map[string]string{"gone.bin": "gone", "shared.json": "{}"}, PackOptions{Tag: "gone"})
	statementGone := statement(t, l, gone, "about what goes")
	before := tree(t, l.dir)
	if report, err := l.Collect(t.Context(), CollectOptions{}); err != nil || len(report.Removed) != 0 {
		t.Fatalf("%+v: %v", report, err)
	}
	if _, err := Remove(t.Context(), l, gone, RemoveOptions{Tag: "gone", Referrers: true}); err != nil {
		t.Fatal(err)
	}
	age(t, l, 2*time.Hour)
	fresh := push(t, l, "text/plain", []byte("fresh"))
	for name, old := range map[string]bool{".mlseal-1": true, ".mlseal-2": false} {
		name = l.path("blobs", "sha256", name)
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if old {
			then := time.Now().Add(-2 * time.Hour)
			_ = os.Chtimes(name, then, then)
		}
	}
	dry, err := l.Collect(t.Context(), CollectOptions{OlderThan: time.Hour, DryRun: true})
	if err != nil || len(dry.Removed) == 0 {
		t.Fatalf("%+v: %v", dry, err)
	}
	report, err := l.Collect(t.Context(), CollectOptions{OlderThan: time.Hour})
	if err != nil || !slices.Equal(report.Removed, dry.Removed) || report.Young.Count != 1 {
		t.Errorf("%+v, dry %+v: %v", report, dry, err)
	}
	after := tree(t, l.dir)
	layer := "blobs/sha256/" + digest.FromString("gone").Encoded()
	if before[layer] == "" || after[layer] != "" || after["blobs/sha256/"+statementGone.Digest.Encoded()] != "" {
		t.Error("something is still there")
	}
	if _, ok := after["blobs/sha256/"+fresh.Digest.Encoded()]; !ok {
		t.Error("a young blob is gone")
	}
	if _, ok := after["blobs/sha256/.mlseal-1"]; ok {
		t.Error("an old temporary file is there")
	}
	if _, ok := after["blobs/sha256/.mlseal-2"]; !ok {
		t.Error("a young temporary file is gone")
	}
	wholeCopy(t, l, kept, "v1", 1)
	mustCopy(t, l, index, newLayout(t), CopyOptions{})
}

// A manifest that also is a layer of something is followed all the same.
func TestCollectFollowsWhatIsALayerToo(t *testing.T) {
	l := newLayout(t)
	inner := pack(t, l, sampleTree, PackOptions{})
	for _, name := range []string{"a", "b", "c"} { // in an order before and behind it
		layer := plain(inner)
		layer.MediaType = "text/plain"
		config := push(t, l, "application/x-config", []byte(name))
		push(t, l, ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}}))
	}
	if report, err := l.Collect(t.Context(), CollectOptions{}); err != nil || len(report.Removed) != 0 {
		t.Errorf("%+v: %v", report, err)
	}
	damage(t, l, inner.Digest, "x")
	age(t, l, time.Hour)
	if report, err := l.Collect(t.Context(), CollectOptions{}); !errors.Is(err, ErrContent) {
		t.Errorf("%+v: %v", report, err)
	}
}

func TestLogin(t *testing.T) {
	g := &registrytest.Registry{User: "who", Password: "secret"}
	host := serve(t, g)
	if _, err := Login(t.Context(), host, "who", "wrong", OpenOptions{}); !errors.Is(err, ErrCredentials) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
	r := openAt(t, host+"/team/model")
	if _, err := r.Resolve(t.Context(), "v1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	file, err := Login(t.Context(), host, "who", "secret", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", info, err)
	}
	r = openAt(t, host+"/team/model")
	desc := pack(t, r, map[string]string{"w.bin": string(randomBytes(chunkBytes + 1))}, PackOptions{Tag: "v1"})
	mustCopy(t, r, desc, openAt(t, host+"/prod/model"), CopyOptions{Tag: "v1"})
	if err := Logout(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if err := Logout(t.Context(), host); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	data, _ := os.ReadFile(file)
	var config struct{ Auths map[string]any }
	if err := json.Unmarshal(data, &config); err != nil || len(config.Auths) != 0 {
		t.Errorf("%s: %v", data, err)
	}
}
