package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// A policy as an artifact: an image manifest of type MediaTypePolicy with the empty config. The layers are the document, the files
// that it refers to, each under the name that it uses in the title annotation, and a trusted root that came beside it. The digest of
// the manifest names all of that.
const (
	MediaTypePolicy            = "application/vnd.mlseal.policy.v1"
	MediaTypePolicyDocument    = "application/vnd.mlseal.policy.document.v1+yaml"
	MediaTypePolicyFile        = "application/vnd.mlseal.policy.file.v1"
	MediaTypePolicyTrustedRoot = "application/vnd.mlseal.policy.trustedroot.v1+json"
)

// Bounds of a policy.
const (
	MaxPolicyFiles      = 1000
	MaxPolicyFilesBytes = 16 << 20 // of all of them
)

// PolicyFiles is a policy with everything that it refers to. Nothing in it was looked into.
type PolicyFiles struct {
	Document    []byte
	Files       map[string][]byte // by the name that the document uses
	TrustedRoot []byte            // that came with it and that it does not name; may be nil
}

// image is the policy's image manifest and its blobs.
func (p *PolicyFiles) image() (ocispec.Manifest, [][]byte) {
	im := artifactImage(MediaTypePolicy)
	var blobs [][]byte
	add := func(mediaType, title string, data []byte) {
		desc := describeBytes(mediaType, data)
		desc.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		im.Layers, blobs = append(im.Layers, desc), append(blobs, data)
	}
	add(MediaTypePolicyDocument, "policy.yaml", p.Document)
	for _, name := range slices.Sorted(maps.Keys(p.Files)) {
		add(MediaTypePolicyFile, name, p.Files[name])
	}
	if p.TrustedRoot != nil {
		add(MediaTypePolicyTrustedRoot, "trusted_root.json", p.TrustedRoot)
	}
	return im, blobs
}

// check holds the policy to the bounds of FetchPolicy, so that what is pushed can be read.
func (p *PolicyFiles) check() error {
	_, blobs := p.image()
	size := 0
	for _, blob := range blobs {
		size += len(blob)
	}
	if len(blobs) > MaxPolicyFiles || size > MaxPolicyFilesBytes {
		return fmt.Errorf("oci: policy: %w: %d files of %d bytes, at most %d of %d", ErrLimit, len(blobs), size, MaxPolicyFiles, MaxPolicyFilesBytes)
	}
	return nil
}

// Descriptor names the policy with all its files. The same files have the same one.
func (p *PolicyFiles) Descriptor() (ocispec.Descriptor, error) {
	im, _ := p.image()
	data, err := json.Marshal(im)
	return describeBytes(ocispec.MediaTypeImageManifest, data), err
}

// PushPolicy writes the policy to target, without a tag, and returns what Descriptor returns.
func PushPolicy(ctx context.Context, target Target, p *PolicyFiles) (ocispec.Descriptor, error) {
	if err := p.check(); err != nil {
		return ocispec.Descriptor{}, err
	}
	im, blobs := p.image()
	for i, layer := range im.Layers {
		if err := pushBytes(ctx, target, plain(layer), blobs[i]); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("oci: policy: %s: %w", layer.Annotations[ocispec.AnnotationTitle], err)
		}
	}
	if err := pushBytes(ctx, target, im.Config, ocispec.DescriptorEmptyJSON.Data); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: policy: config: %w", err)
	}
	data, err := json.Marshal(im)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := describeBytes(ocispec.MediaTypeImageManifest, data)
	if err := pushBytes(ctx, target, desc, data); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: policy: %w", err)
	}
	return desc, nil
}

// Policies returns the policies that a layout or archive lists, in the order of their digests. A registry lists none.
func Policies(ctx context.Context, target Target) ([]ocispec.Descriptor, error) {
	l := asLayout(target)
	if l == nil {
		return nil, nil
	}
	return l.listed(ctx, func(n *node) bool { return n.ArtifactType == MediaTypePolicy })
}

// FetchPolicy reads and verifies the policy desc. An artifact that is none fails with ErrNotPolicy, bytes that are not what it
// says with ErrContent, and more than is read with ErrLimit.
func FetchPolicy(ctx context.Context, target Target, desc ocispec.Descriptor) (*PolicyFiles, error) {
	if desc.MediaType != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("oci: %s: %w: its media type is %q", desc.Digest, ErrNotPolicy, desc.MediaType)
	}
	data, err := fetchBytes(ctx, target, desc, MaxManifestBytes)
	if err != nil {
		return nil, fmt.Errorf("oci: policy: %w", err)
	}
	var im ocispec.Manifest
	if err := strictjson.Unmarshal(data, &im, strictjson.Limits{MaxBytes: MaxManifestBytes}); err != nil {
		return nil, fmt.Errorf("oci: policy %s: %w: %w", desc.Digest, ErrNotPolicy, err)
	}
	p := &PolicyFiles{Files: map[string][]byte{}}
	if err := p.fetch(ctx, target, im); err != nil {
		return nil, fmt.Errorf("oci: policy %s: %w", desc.Digest, err)
	}
	return p, nil
}

func (p *PolicyFiles) fetch(ctx context.Context, target Target, im ocispec.Manifest) error {
	if im.ArtifactType != MediaTypePolicy || im.MediaType != ocispec.MediaTypeImageManifest {
		return fmt.Errorf("%w: its artifactType is %q, not %q", ErrNotPolicy, im.ArtifactType, MediaTypePolicy)
	}
	if len(im.Layers) > MaxPolicyFiles {
		return fmt.Errorf("%w: %d files, at most %d", ErrLimit, len(im.Layers), MaxPolicyFiles)
	}
	left := int64(MaxPolicyFilesBytes)
	for _, layer := range im.Layers {
		data, err := fetchBytes(ctx, target, layer, left)
		if err != nil {
			return err
		}
		left -= int64(len(data))
		if err := p.take(layer, data); err != nil {
			return err
		}
	}
	if p.Document == nil {
		return fmt.Errorf("%w: it holds no document", ErrNotPolicy)
	}
	return nil
}

// take sorts in one layer. None may stand in for another.
func (p *PolicyFiles) take(layer ocispec.Descriptor, data []byte) error {
	name := layer.Annotations[ocispec.AnnotationTitle]
	_, twice := p.Files[name]
	switch {
	case layer.MediaType == MediaTypePolicyDocument && p.Document == nil:
		p.Document = data
	case layer.MediaType == MediaTypePolicyTrustedRoot && p.TrustedRoot == nil:
		p.TrustedRoot = data
	case layer.MediaType == MediaTypePolicyFile && name != "" && !twice:
		p.Files[name] = data
	default:
		return fmt.Errorf("%w: the layer %q of type %q has no place in it, or is there twice", ErrNotPolicy, name, layer.MediaType)
	}
	return nil
}

// FindPolicy resolves the one policy of target that want names, or without it the only one that is listed. The policy comes from
// whoever filled the target: without a digest that was had in another way it must not decide.
func FindPolicy(ctx context.Context, target Target, want digest.Digest) (ocispec.Descriptor, error) {
	if want != "" {
		desc, err := target.Resolve(ctx, want.String())
		if err == nil && desc.Digest != want {
			err = fmt.Errorf("oci: policy %s: %w: the digest leads to %q", want, ErrContent, desc.Digest)
		}
		return plain(desc), err
	}
	all, err := Policies(ctx, target)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if len(all) != 1 {
		return ocispec.Descriptor{}, fmt.Errorf("oci: %w: %d policies are listed there, not one", ErrNotFound, len(all))
	}
	return all[0], nil
}
