package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// MaxIndexBytes bounds the index.json of a layout, in bytes: some 40,000 entries.
const MaxIndexBytes = 16 << 20

// The annotation by which cosign finds the subject in a layout (cosign v3, pkg/oci/layout).
const (
	kindAnnotation = "kind"
	kindImage      = "dev.cosignproject.cosign/image"
)

const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	// What image-spec v1.1.0-rc had for artifacts; registries serve it as a manifest.
	mediaTypeArtifactManifest = "application/vnd.oci.artifact.manifest.v1+json"
)

// isManifest reports whether a blob of this media type is listed in index.json.
func isManifest(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList:
		return true
	}
	return false
}

func emptyIndex() *ocispec.Index {
	return &ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
}

func (l *layoutView) readIndex() (*ocispec.Index, error) {
	data, err := l.read(ocispec.ImageIndexFile, MaxIndexBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("oci: %s: %w: index.json is missing", l.files, ErrContent)
	}
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	index := emptyIndex()
	if err := strictjson.Unmarshal(data, index, strictjson.Limits{MaxBytes: MaxIndexBytes}); err != nil {
		return nil, fmt.Errorf("oci: %s: index.json: %w: %w", l.files, ErrContent, err)
	}
	for _, entry := range index.Manifests {
		if err := checkDescriptor(entry); err != nil {
			return nil, fmt.Errorf("oci: %s: index.json: %w", l.files, err)
		}
	}
	return index, nil
}

// change lets fn change the index under the lock, and writes it when it is another one then.
func (l *Layout) change(ctx context.Context, fn func(*ocispec.Index) error) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	index, err := l.readIndex()
	if err != nil {
		return err
	}
	before, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := fn(index); err != nil {
		return err
	}
	slices.SortStableFunc(index.Manifests, byTagThenDigest)
	after, err := json.Marshal(index)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	if len(after) > MaxIndexBytes {
		return fmt.Errorf("oci: %s: %w: index.json of %d bytes, at most %d", l.dir, ErrLimit, len(after), MaxIndexBytes)
	}
	if err := atomicfile.Write(l.path(ocispec.ImageIndexFile), after, atomicfile.Options{}); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	return nil
}

// byTagThenDigest puts tagged entries first, so that the order says nothing of what came first.
func byTagThenDigest(a, b ocispec.Descriptor) int {
	tagA, tagB := a.Annotations[ocispec.AnnotationRefName], b.Annotations[ocispec.AnnotationRefName]
	if (tagA == "") != (tagB == "") {
		return cmp.Compare(tagB, tagA)
	}
	return cmp.Or(cmp.Compare(tagA, tagB), cmp.Compare(a.Digest, b.Digest))
}

// list puts the manifest desc, whose blob is there, into index.json, and under tag unless that is
// empty. The tag's former holder loses it.
func (l *Layout) list(ctx context.Context, desc ocispec.Descriptor, tag string) error {
	node, err := l.readNode(desc)
	if err != nil {
		return fmt.Errorf("oci: %s: %w", desc.Digest, err)
	}
	return l.change(ctx, func(index *ocispec.Index) error {
		return l.addEntry(ctx, index, desc, node, tag)
	})
}

func (l *Layout) addEntry(ctx context.Context, index *ocispec.Index, desc ocispec.Descriptor, node *node, tag string) error {
	if tag != "" {
		if err := l.takeTag(ctx, index, desc.Digest, tag); err != nil {
			return err
		}
	}
	addTo(index, entryOf(desc, node), tag)
	if node.Subject == nil {
		return nil
	}
	// A subject that lost its tag earlier is listed again, so that oras finds the statement.
	if subject, err := l.readNode(*node.Subject); err == nil {
		addTo(index, entryOf(*node.Subject, subject), "")
	}
	markSubject(index, node.Subject.Digest)
	return nil
}

// entryOf is how index.json lists a manifest.
func entryOf(desc ocispec.Descriptor, node *node) ocispec.Descriptor {
	entry := plain(desc)
	entry.ArtifactType = node.ArtifactType
	return entry
}

// addTo lists entry, once for each of its tags, or once without. What others wrote into an entry stays.
func addTo(index *ocispec.Index, entry ocispec.Descriptor, tag string) {
	for _, e := range index.Manifests {
		if e.Digest == entry.Digest && (tag == "" || e.Annotations[ocispec.AnnotationRefName] == tag) {
			return
		}
	}
	for i, e := range index.Manifests {
		if e.Digest != entry.Digest {
			continue
		}
		entry = e
		if e.Annotations[ocispec.AnnotationRefName] == "" {
			index.Manifests = slices.Delete(index.Manifests, i, i+1)
			break
		}
	}
	entry.Annotations = maps.Clone(entry.Annotations)
	if tag != "" {
		annotate(&entry, ocispec.AnnotationRefName, tag)
	}
	index.Manifests = append(index.Manifests, entry)
}

func annotate(entry *ocispec.Descriptor, key, value string) {
	if entry.Annotations == nil {
		entry.Annotations = map[string]string{}
	}
	entry.Annotations[key] = value
}

// markSubject sets the annotation by which cosign finds a subject, unless another kind is set.
func markSubject(index *ocispec.Index, subject digest.Digest) {
	for i := range index.Manifests {
		entry := &index.Manifests[i]
		if entry.Digest == subject && entry.MediaType == ocispec.MediaTypeImageManifest && entry.Annotations[kindAnnotation] == "" {
			annotate(entry, kindAnnotation, kindImage)
		}
	}
}

// takeTag removes tag from the entries of other artifacts. Such an entry goes, unless statements are
// attached to it or it is one: then it stays listed without a tag, so that they are still found.
func (l *Layout) takeTag(ctx context.Context, index *ocispec.Index, keep digest.Digest, tag string) error {
	for {
		i := slices.IndexFunc(index.Manifests, func(e ocispec.Descriptor) bool {
			return tagOf(e) == tag && e.Digest != keep
		})
		if i < 0 {
			return nil
		}
		if err := l.untag(ctx, index, i); err != nil {
			return err
		}
	}
}

func (l *Layout) untag(ctx context.Context, index *ocispec.Index, i int) error {
	old := index.Manifests[i]
	index.Manifests = slices.Delete(index.Manifests, i, i+1)
	listed := slices.ContainsFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == old.Digest })
	attached, err := l.hasStatements(ctx, old)
	if err != nil || listed || !attached {
		return err
	}
	old.Annotations = maps.Clone(old.Annotations)
	delete(old.Annotations, ocispec.AnnotationRefName)
	index.Manifests = append(index.Manifests, old)
	return nil
}

// Tag gives desc, whose blob must be there, the tag.
func (l *Layout) Tag(ctx context.Context, desc ocispec.Descriptor, tag string) error {
	if !tagGrammar.MatchString(tag) {
		return fmt.Errorf("oci: %q: %w: not a tag", tag, errdef.ErrInvalidReference)
	}
	return l.list(ctx, desc, tag)
}

// tagOf returns the tag of an entry of index.json, or "". A name that has not the form of a tag is
// none: other tools write whole references there, and one that reads like a digest must not stand in for it.
func tagOf(entry ocispec.Descriptor) string {
	if name := entry.Annotations[ocispec.AnnotationRefName]; tagGrammar.MatchString(name) {
		return name
	}
	return ""
}

// Resolve returns the descriptor of the artifact under a tag or digest. A digest names the entry or
// the blob that has it, whatever names the entries carry; one that is not listed in index.json is
// looked for among the blobs. A tag on two artifacts fails with ErrContent: tools disagree about which
// of them it names.
func (l *layoutView) Resolve(_ context.Context, reference string) (ocispec.Descriptor, error) {
	index, err := l.readIndex()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if d := digest.Digest(reference); d.Validate() == nil {
		i := slices.IndexFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == d })
		if i < 0 {
			return l.resolveBlob(d)
		}
		return plain(index.Manifests[i]), nil
	}
	return resolveTag(index, reference)
}

func resolveTag(index *ocispec.Index, tag string) (ocispec.Descriptor, error) {
	var found ocispec.Descriptor
	for _, entry := range index.Manifests {
		switch {
		case tag == "" || tagOf(entry) != tag || entry.Digest == found.Digest:
		case found.Digest == "":
			found = entry
		default:
			return ocispec.Descriptor{}, fmt.Errorf("%w: index.json gives the tag %s to %s and to %s", ErrContent, tag, found.Digest, entry.Digest)
		}
	}
	if found.Digest == "" {
		return ocispec.Descriptor{}, fmt.Errorf("%q: %w", tag, ErrNotFound)
	}
	return found, nil
}

func (l *layoutView) resolveBlob(d digest.Digest) (ocispec.Descriptor, error) {
	size, err := l.files.stat(blobName(d))
	if errors.Is(err, fs.ErrNotExist) {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w", d, ErrNotFound)
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: size}
	if !l.looksLikeManifest(d, size) {
		return desc, nil
	}
	if node := l.orphan(d); node != nil {
		desc.MediaType = node.MediaType
	}
	return desc, nil
}

// Tags lists the tags in byte order, those behind last if it is not empty.
func (l *layoutView) Tags(_ context.Context, last string, fn func(tags []string) error) error {
	index, err := l.readIndex()
	if err != nil {
		return err
	}
	var tags []string
	for _, entry := range index.Manifests {
		if tag := tagOf(entry); tag > last {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	return fn(slices.Compact(tags))
}
