package oci

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
)

// Target is a store of artifacts: a layout or a repository of a registry. It is an oras.GraphTarget, spelled out because package oras
// compiles what it needs for packing whenever a program starts, and nothing else of it is used.
type Target interface {
	content.GraphStorage
	content.TagResolver
}

// OpenOptions of Open. The zero value opens what is there, with https.
type OpenOptions struct {
	Create    bool   // create the layout when the directory is missing or empty
	PlainHTTP bool   // use http for registries that are not on this machine too
	UserAgent string // sent to registries; empty for "mlseal"
	// CACertificates are PEM certificates of authorities that are trusted beside the system's.
	CACertificates []byte
}

// Open returns the target that ref names. A layout or archive that is missing fails with ErrNotFound, a
// directory or file that is no layout with ErrNotLayout, and an archive that should be made with ErrReadOnly. A registry is not contacted yet.
func Open(ctx context.Context, ref Reference, opts OpenOptions) (Target, error) {
	switch {
	case ref.Archive != "" && opts.Create:
		return nil, fmt.Errorf("oci: %s: %w", ref, ErrReadOnly)
	case ref.Archive != "":
		return OpenArchive(ref.Archive)
	case ref.Layout != "" && opts.Create:
		return CreateLayout(ctx, ref.Layout)
	case ref.Layout != "":
		return OpenLayout(ref.Layout)
	case ref.Repository != "":
		return openRepository(ref.Repository, opts)
	}
	return nil, fmt.Errorf("oci: %w: it is empty", ErrReference)
}

// Resolve returns the descriptor of the artifact that ref names in target, without annotations;
// its bytes are not verified yet. A digest in ref is the digest of that descriptor, and a tag beside it
// must name the same one, or the error wraps ErrContent. A reference without both names the only
// artifact of a layout.
func Resolve(ctx context.Context, target Target, ref Reference) (ocispec.Descriptor, error) {
	if ref.Tag == "" && ref.Digest == "" {
		return resolveOnly(ctx, target, ref)
	}
	var tagged, desc ocispec.Descriptor
	var err error
	if ref.Tag != "" {
		if tagged, err = target.Resolve(ctx, ref.Tag); err != nil {
			return ocispec.Descriptor{}, tagError(ctx, target, ref, err)
		}
		desc = tagged
	}
	if ref.Digest != "" {
		if ref.Tag != "" && tagged.Digest != ref.Digest {
			return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w: the tag names %s", ref, ErrContent, tagged.Digest)
		}
		if desc, err = target.Resolve(ctx, ref.Digest.String()); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w", ref, err)
		}
		if desc.Digest != ref.Digest {
			return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w: the digest leads to %q", ref, ErrContent, desc.Digest)
		}
	}
	if err := checkDescriptor(desc); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w", ref, err)
	}
	return plain(desc), nil
}

// resolveOnly finds the one artifact of a layout, referrers aside.
func resolveOnly(ctx context.Context, target Target, ref Reference) (ocispec.Descriptor, error) {
	layout := asLayout(target)
	if layout == nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w: add a tag or a digest%s", ref, ErrReference, knownTags(ctx, target))
	}
	found, err := layout.artifacts(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	switch len(found) {
	case 0:
		return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w: the layout is empty", ref, ErrNotFound)
	case 1:
		return plain(found[0]), nil
	}
	return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w: the layout holds %d artifacts: add a tag or a digest%s", ref, ErrReference, len(found), knownTags(ctx, target))
}

func tagError(ctx context.Context, target Target, ref Reference, err error) error {
	if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("oci: %s: %w", ref, err)
	}
	return fmt.Errorf("oci: %s: tag %q: %w%s", ref, ref.Tag, ErrNotFound, knownTags(ctx, target))
}

// knownTags lists some of the tags that exist, as the end of a message; it is empty when they cannot be had.
func knownTags(ctx context.Context, target Target) string {
	const most = 10
	var tags []string
	enough := errors.New("enough")
	if lister, ok := target.(registry.TagLister); ok {
		err := lister.Tags(ctx, "", func(page []string) error {
			for _, tag := range page {
				if tagGrammar.MatchString(tag) && !isReferrersTag(tag) {
					tags = append(tags, tag)
				}
			}
			if len(tags) > most {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			return ""
		}
	}
	switch {
	case len(tags) == 0:
		return ""
	case len(tags) > most:
		return "; tags there: " + strings.Join(tags[:most], ", ") + ", …"
	}
	return "; tags there: " + strings.Join(tags, ", ")
}

// isReferrersTag tells the tags that stand in for the referrers API: "sha256-" and the digest
// (OCI distribution-spec v1.1, "Referrers Tag Schema").
func isReferrersTag(tag string) bool {
	rest, ok := strings.CutPrefix(tag, "sha256-")
	return ok && len(rest) == 64
}
