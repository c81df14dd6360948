package oci

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestEvidenceGoesEverywhere(t *testing.T) {
	src := newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	statement(t, src, desc, "one")
	evidence := [][]byte{[]byte(bundleOf("parent")), []byte(bundleOf("grandparent"))}
	file := filepath.Join(t.TempDir(), "a.tar")
	a, report := writeArchive(t, src, desc, file, ArchiveOptions{Tag: "v1", Referrers: true, Evidence: evidence})
	if report.Referrers != 2 {
		t.Errorf("%+v", report)
	}
	onEveryTarget(t, func(t *testing.T, dst Target) {
		mustCopy(t, a, desc, dst, CopyOptions{Tag: "v1", Referrers: true})
		wholeCopy(t, dst, desc, "v1", 3)
		found, err := Bundles(t.Context(), dst, desc)
		if err != nil {
			t.Fatal(err)
		}
		carried := map[string]bool{}
		for _, f := range found {
			if f.Carried == "" {
				continue
			}
			carried[string(f.Bundle)] = f.Err == nil && f.Carried == digest.FromBytes(f.Bundle) && f.Descriptor.ArtifactType == MediaTypeEvidence
		}
		if !maps.Equal(carried, map[string]bool{bundleOf("parent"): true, bundleOf("grandparent"): true}) {
			t.Errorf("carried: %v", carried)
		}
	})
}

func TestEvidenceIsBounded(t *testing.T) {
	l := newLayout(t)
	desc := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	layer := push(t, l, MediaTypeBundle, []byte(bundleOf("x")))
	push(t, l, "application/octet-stream", ocispec.DescriptorEmptyJSON.Data)
	im, _ := evidenceImage(desc, nil)
	im.Layers = []ocispec.Descriptor{layer, {MediaType: "text/plain", Digest: layer.Digest, Size: layer.Size}, describeBytes(MediaTypeBundle, []byte("missing"))}
	attachManifest(t, l, im)
	found, err := Bundles(t.Context(), l, desc)
	if err != nil || len(found) != 3 || found[0].Err != nil || !errors.Is(found[1].Err, ErrContent) || !errors.Is(found[2].Err, ErrNotFound) {
		t.Errorf("%+v %v", found, err)
	}
	im.Layers = slices.Repeat([]ocispec.Descriptor{layer}, MaxEvidence)
	attachManifest(t, l, im)
	if _, err := Bundles(t.Context(), l, desc); !errors.Is(err, ErrLimit) {
		t.Errorf("too many: %v", err)
	}
}

func samplePolicy() *PolicyFiles {
	return &PolicyFiles{Document: []byte("apiVersion: x\n"), Files: map[string][]byte{"a.pub": []byte("A"), "keys/b.pub": []byte("B")}, TrustedRoot: []byte("{}")}
}

func TestPolicyGoesAlong(t *testing.T) {
	src := newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	file := filepath.Join(t.TempDir(), "a.tar")
	a, report := writeArchive(t, src, desc, file, ArchiveOptions{Policy: samplePolicy()})
	if got, err := Resolve(t.Context(), a, Reference{Archive: file}); err != nil || got.Digest != desc.Digest {
		t.Errorf("the package beside the policy: %v %v", got, err)
	}
	for _, pin := range []digest.Digest{"", report.Policy} {
		found, err := FindPolicy(t.Context(), a, pin)
		if err != nil || found.Digest != report.Policy {
			t.Fatalf("%q: %v %v", pin, found, err)
		}
		p, err := FetchPolicy(t.Context(), a, found)
		want := samplePolicy()
		if err != nil || string(p.Document) != string(want.Document) || string(p.TrustedRoot) != "{}" || !maps.EqualFunc(p.Files, want.Files, func(a, b []byte) bool { return string(a) == string(b) }) {
			t.Errorf("%+v %v", p, err)
		}
	}
	if _, err := FindPolicy(t.Context(), a, digest.FromString("another policy")); !errors.Is(err, ErrNotFound) {
		t.Errorf("another digest: %v", err)
	}
	if _, err := FindPolicy(t.Context(), src, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("none there: %v", err)
	}
	if _, err := FetchPolicy(t.Context(), a, desc); !errors.Is(err, ErrNotPolicy) {
		t.Errorf("a package for a policy: %v", err)
	}
	changed := samplePolicy()
	changed.Files["a.pub"] = []byte("mallory's")
	if _, other := writeArchive(t, src, desc, file, ArchiveOptions{Policy: changed}); other.Policy == report.Policy {
		t.Error("a key of the policy is not bound by its digest")
	}
}

func TestHostilePolicies(t *testing.T) {
	l := newLayout(t)
	put := func(edit func(*ocispec.Manifest)) ocispec.Descriptor {
		im, blobs := samplePolicy().image()
		for i, blob := range blobs {
			push(t, l, im.Layers[i].MediaType, blob)
		}
		edit(&im)
		return push(t, l, ocispec.MediaTypeImageManifest, marshal(t, im))
	}
	push(t, l, "application/octet-stream", ocispec.DescriptorEmptyJSON.Data)
	tests := map[string]struct {
		edit func(*ocispec.Manifest)
		want error
	}{
		"another type":      {func(im *ocispec.Manifest) { im.ArtifactType = "x/y" }, ErrNotPolicy},
		"no document":       {func(im *ocispec.Manifest) { im.Layers = im.Layers[1:] }, ErrNotPolicy},
		"two documents":     {func(im *ocispec.Manifest) { im.Layers = append(im.Layers, im.Layers[0]) }, ErrNotPolicy},
		"a file twice":      {func(im *ocispec.Manifest) { im.Layers = append(im.Layers, im.Layers[1]) }, ErrNotPolicy},
		"two roots":         {func(im *ocispec.Manifest) { im.Layers = append(im.Layers, im.Layers[3]) }, ErrNotPolicy},
		"a nameless file":   {func(im *ocispec.Manifest) { im.Layers[1].Annotations = nil }, ErrNotPolicy},
		"something else":    {func(im *ocispec.Manifest) { im.Layers[1].MediaType = "text/plain" }, ErrNotPolicy},
		"too many files":    {func(im *ocispec.Manifest) { im.Layers = slices.Repeat(im.Layers, MaxPolicyFiles) }, ErrLimit},
		"too large":         {func(im *ocispec.Manifest) { im.Layers[1].Size = MaxPolicyFilesBytes + 1 }, ErrLimit},
		"a file is missing": {func(im *ocispec.Manifest) { im.Layers[1] = describeBytes(MediaTypePolicyFile, []byte("x")) }, ErrNotFound},
	}
	for name, test := range tests {
		if _, err := FetchPolicy(t.Context(), l, put(test.edit)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := FindPolicy(t.Context(), l, ""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "not one") {
		t.Errorf("many policies and no pin: %v", err)
	}
}

// misleading resolves everything to one artifact.
type misleading struct {
	*Layout
	to ocispec.Descriptor
}

func (m *misleading) Resolve(context.Context, string) (ocispec.Descriptor, error) { return m.to, nil }

// TestPinnedPolicyIsThatPolicy: a store that leads elsewhere does not get to choose the policy.
func TestPinnedPolicyIsThatPolicy(t *testing.T) {
	l := newLayout(t)
	im, _ := samplePolicy().image()
	other := push(t, l, ocispec.MediaTypeImageManifest, marshal(t, im))
	if _, err := FindPolicy(t.Context(), &misleading{l, other}, digest.FromString("the policy")); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
}

// A policy that is pushed is what goes along in an archive: one digest for the same files.
func TestPushPolicy(t *testing.T) {
	target := newLayout(t)
	desc, err := PushPolicy(t.Context(), target, samplePolicy())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := PushPolicy(t.Context(), target, samplePolicy()); err != nil || again.Digest != desc.Digest {
		t.Errorf("again: %v %v", again, err)
	}
	if named, err := samplePolicy().Descriptor(); err != nil || named.Digest != desc.Digest || named.Size != desc.Size {
		t.Errorf("its descriptor: %v %v", named, err)
	}
	src := newLayout(t)
	if _, report := writeArchive(t, src, pack(t, src, sampleTree, PackOptions{}), filepath.Join(t.TempDir(), "a.tar"), ArchiveOptions{Policy: samplePolicy()}); report.Policy != desc.Digest {
		t.Errorf("in an archive it is %s", report.Policy)
	}
	p, err := FetchPolicy(t.Context(), target, desc)
	if err != nil || string(p.Files["keys/b.pub"]) != "B" {
		t.Errorf("%+v %v", p, err)
	}
	many, large := samplePolicy(), samplePolicy()
	for i := range MaxPolicyFiles {
		many.Files[strings.Repeat("x", i+1)] = nil
	}
	large.Files["x"] = make([]byte, MaxPolicyFilesBytes)
	for _, p := range []*PolicyFiles{many, large} {
		before, err := Policies(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := PushPolicy(t.Context(), target, p); !errors.Is(err, ErrLimit) {
			t.Errorf("%v", err)
		}
		if after, err := Policies(t.Context(), target); err != nil || len(after) != len(before) {
			t.Errorf("it was pushed: %v %v", after, err)
		}
	}
}
