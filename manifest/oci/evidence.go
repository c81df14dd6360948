package oci

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MediaTypeEvidence is the artifactType of a referrer that carries statements about what its subject descends from: an image
// manifest with the empty config, and one layer for each Sigstore bundle, in the order of their digests. It lets a package be judged
// where the artifacts that it was made from are not; a reader goes by what each bundle says of itself. It carries no annotations, so
// that the same bundles about the same package are the same referrer.
const MediaTypeEvidence = "application/vnd.mlseal.evidence.v1"

// MaxEvidence bounds the bundles that are carried with one artifact.
const MaxEvidence = 10_000

// evidenceImage is the referrer that carries bundles, and its blobs.
func evidenceImage(subject ocispec.Descriptor, bundles [][]byte) (ocispec.Manifest, [][]byte) {
	about := plain(subject)
	im := artifactImage(MediaTypeEvidence)
	im.Subject = &about
	for _, bundle := range bundles {
		im.Layers = append(im.Layers, describeBytes(MediaTypeBundle, bundle))
	}
	im.Layers = sorted(im.Layers)
	return im, bundles
}

// artifactImage is an image manifest without layers yet (OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage").
func artifactImage(artifactType string) ocispec.Manifest {
	return ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: artifactType, Config: plain(ocispec.DescriptorEmptyJSON)}
}

// carried reads the bundles of the referrer f, which is evidence. Each is there with its bytes or its error.
func (f *Found) carried(ctx context.Context, target Target, layers []ocispec.Descriptor, total *tally) ([]Found, error) {
	if total.count.Add(int64(len(layers))) > MaxEvidence {
		return nil, errTotal
	}
	all := make([]Found, 0, len(layers))
	for _, layer := range layers {
		one := Found{Descriptor: f.Descriptor, Carried: layer.Digest}
		if isBundle(layer) {
			one.Bundle, one.Err = total.fetch(ctx, target, layer)
		} else {
			one.Err = fmt.Errorf("%w: %s is %q, not a bundle", ErrContent, layer.Digest, layer.MediaType)
		}
		if errors.Is(one.Err, errTotal) {
			return nil, errTotal
		}
		all = append(all, one)
	}
	return all, nil
}

// tally counts what is fetched for one artifact, before it is fetched.
type tally struct{ bytes, count atomic.Int64 }

func (t *tally) fetch(ctx context.Context, target Target, layer ocispec.Descriptor) ([]byte, error) {
	if layer.Size <= MaxBundleBytes && t.bytes.Add(layer.Size) > bundlesBytes {
		return nil, errTotal
	}
	return fetchBytes(ctx, target, layer, MaxBundleBytes)
}
