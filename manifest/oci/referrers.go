package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bounds of what is attached to one artifact.
const (
	MaxReferrers    = 1000      // manifests
	MaxBundleBytes  = 4 << 20   // bytes of one bundle
	MaxBundlesBytes = 256 << 20 // bytes of all bundles of one artifact, as they are listed
)

// Names of Sigstore bundles as referrers (cosign v2.6.5 and v3.1.3, pkg/oci/remote/write.go).
const (
	MediaTypeBundle         = "application/vnd.dev.sigstore.bundle.v0.3+json"
	AnnotationBundleContent = "dev.sigstore.bundle.content"
	AnnotationPredicateType = "dev.sigstore.bundle.predicateType"
	bundleMediaTypePrefix   = "application/vnd.dev.sigstore.bundle"
	bundleContentDSSE       = "dsse-envelope"
)

// attachAttempts is how often a referrer is written that then is not listed.
const attachAttempts = 3

// AttachBundle attaches a Sigstore bundle v0.3 that holds a DSSE envelope to subject, in the form that
// cosign writes and finds, and returns the descriptor of the referrer. The bundle is not looked into;
// predicateType is what it says. The subject must be in target.
//
// In a registry without the referrers API the list of referrers is a tag that everybody replaces:
// AttachBundle looks whether the referrer is listed afterwards, and writes it again if another writer won.
func AttachBundle(ctx context.Context, target Target, subject ocispec.Descriptor, bundle []byte, predicateType string, created time.Time) (ocispec.Descriptor, error) {
	if len(bundle) > MaxBundleBytes {
		return ocispec.Descriptor{}, fmt.Errorf("oci: bundle: %w: %d bytes, at most %d", ErrLimit, len(bundle), MaxBundleBytes)
	}
	if len(bundle) == 0 || predicateType == "" {
		return ocispec.Descriptor{}, errors.New("oci: bundle: empty, or without a predicate type")
	}
	exists, err := target.Exists(ctx, subject)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: subject %s: %w", subject.Digest, err)
	}
	if !exists {
		return ocispec.Descriptor{}, fmt.Errorf("oci: subject %s: %w", subject.Digest, ErrNotFound)
	}
	layer := describeBytes(MediaTypeBundle, bundle)
	data, err := json.Marshal(referrerManifest(subject, layer, predicateType, created))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := pushBytes(ctx, target, layer, bundle); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: bundle: %w", err)
	}
	if err := pushBytes(ctx, target, plain(ocispec.DescriptorEmptyJSON), ocispec.DescriptorEmptyJSON.Data); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: config of the bundle: %w", err)
	}
	desc := describeBytes(ocispec.MediaTypeImageManifest, data)
	desc.ArtifactType = MediaTypeBundle
	return desc, pushReferrer(ctx, target, subject, desc, data)
}

// referrerManifest is the image manifest of a statement. Creation time and predicate type are hints
// for listings; readers decide by the bundle.
func referrerManifest(subject, layer ocispec.Descriptor, predicateType string, created time.Time) ocispec.Manifest {
	config := plain(ocispec.DescriptorEmptyJSON)
	config.ArtifactType = MediaTypeBundle
	about := plain(subject)
	return ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: MediaTypeBundle,
		Config:       config,
		Layers:       []ocispec.Descriptor{layer},
		Subject:      &about,
		Annotations: map[string]string{
			AnnotationBundleContent:   bundleContentDSSE,
			AnnotationPredicateType:   predicateType,
			ocispec.AnnotationCreated: created.UTC().Format(time.RFC3339),
		},
	}
}

func pushReferrer(ctx context.Context, target Target, subject, desc ocispec.Descriptor, data []byte) error {
	for range attachAttempts {
		// Pushed even when the manifest is there: the push is what lists it.
		if err := target.Push(ctx, plain(desc), bytes.NewReader(data)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
			return fmt.Errorf("oci: referrer: %w", err)
		}
		listed, err := listReferrers(ctx, target, subject)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(listed, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
			return nil
		}
	}
	return fmt.Errorf("oci: referrer %s: %w: written, but not listed with its subject", desc.Digest, ErrUnavailable)
}

// listReferrers returns the referrers of subject, unfiltered, in the order of their digests.
func listReferrers(ctx context.Context, target Target, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	list := target.Predecessors
	if l := asLayout(target); l != nil {
		list = l.referrers
	}
	all, err := list(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("oci: referrers of %s: %w", subject.Digest, err)
	}
	all = sorted(all)
	if len(all) > MaxReferrers {
		return nil, fmt.Errorf("oci: referrers of %s: %w: %d, at most %d", subject.Digest, ErrLimit, len(all), MaxReferrers)
	}
	return all, nil
}

// Found is a referrer, or one of the bundles that a referrer of type MediaTypeEvidence carries. Bundle is its unverified
// bundle, or nil beside Err.
type Found struct {
	// Descriptor is that of the referrer's manifest as it was listed, but for ArtifactType: that is what the
	// manifest itself says, its artifactType or else the media type of its config. It is empty
	// when the manifest cannot be read.
	Descriptor ocispec.Descriptor
	Bundle     []byte // JSON; its digest is what the manifest says, nothing else was verified
	Err        error  // why there is no bundle; wraps ErrNotBundle for referrers of other kinds
	// Carried is the digest of a bundle that evidence carries, which is about something that the subject descends
	// from and not attached to it; empty for every other.
	Carried digest.Digest
}

// Bundles returns all referrers of subject in the order of their digests, of whatever type the listing
// says they are, and the bundles that evidence among them carries. One that cannot be read is there with its error; none is
// skipped. More than MaxReferrers fail with ErrLimit before one is read.
func Bundles(ctx context.Context, target Target, subject ocispec.Descriptor) ([]Found, error) {
	listed, err := listReferrers(ctx, target, subject)
	if err != nil {
		return nil, err
	}
	found := make([][]Found, len(listed))
	total := &tally{}
	err = eachBlob(ctx, 0, len(listed), func(ctx context.Context, i int) error {
		f := Found{Descriptor: listed[i]}
		f.Descriptor.ArtifactType = ""
		all, err := f.fetch(ctx, target, subject, total)
		if errors.Is(err, errTotal) {
			return fmt.Errorf("oci: bundles of %s: %w: %w, at most %d bytes together and %d in evidence", subject.Digest, ErrLimit, errTotal, bundlesBytes, MaxEvidence)
		}
		if err != nil {
			f.Err = fmt.Errorf("oci: referrer %s: %w", listed[i].Digest, err)
			all = []Found{f}
		}
		found[i] = all
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// fetch reads one referrer. What it is, its body says: indexes name wrong artifact types.
func (f *Found) fetch(ctx context.Context, target Target, subject ocispec.Descriptor, total *tally) ([]Found, error) {
	data, err := fetchBytes(ctx, target, f.Descriptor, MaxManifestBytes)
	if err != nil {
		return nil, err
	}
	var im ocispec.Manifest
	if err := strictjson.Unmarshal(data, &im, strictjson.Limits{MaxBytes: MaxManifestBytes}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	// OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage": without an artifactType,
	// the media type of the config says what an artifact is.
	f.Descriptor.ArtifactType = cmp.Or(im.ArtifactType, im.Config.MediaType)
	if im.MediaType != "" && im.MediaType != f.Descriptor.MediaType {
		return nil, fmt.Errorf("%w: it is listed as %q and says %q", ErrContent, f.Descriptor.MediaType, im.MediaType)
	}
	if im.Subject == nil || im.Subject.Digest != subject.Digest {
		return nil, fmt.Errorf("%w: it is listed with a subject that it does not name", ErrContent)
	}
	if im.ArtifactType == MediaTypeEvidence {
		return f.carried(ctx, target, im.Layers, total)
	}
	layer, err := bundleLayer(im)
	if err != nil {
		return nil, err
	}
	f.Bundle, err = total.fetch(ctx, target, layer)
	return []Found{*f}, err
}

// bundlesBytes is MaxBundlesBytes but for the test, which need not write as much.
var bundlesBytes int64 = MaxBundlesBytes

// errTotal says that the bundles of an artifact are too large together, or too many.
var errTotal = errors.New("too many large bundles")

func isBundle(d ocispec.Descriptor) bool {
	return strings.HasPrefix(d.MediaType, bundleMediaTypePrefix)
}

// bundleLayer returns the layer that holds the bundle: "exactly one layer of the bundle's media type".
func bundleLayer(im ocispec.Manifest) (ocispec.Descriptor, error) {
	switch {
	case len(im.Layers) == 1 && isBundle(im.Layers[0]):
		return im.Layers[0], nil
	case slices.ContainsFunc(im.Layers, isBundle), strings.HasPrefix(im.ArtifactType, bundleMediaTypePrefix):
		return ocispec.Descriptor{}, fmt.Errorf("%w: it should have one layer, a bundle, and has %d", ErrContent, len(im.Layers))
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w: it is %q", ErrNotBundle, cmp.Or(im.ArtifactType, im.Config.MediaType))
}
