package oci

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
)

// MaxListed bounds the artifacts that List looks at.
const MaxListed = 10_000

// Entry is an artifact that a target lists. Nothing in it but the digest was verified.
type Entry struct {
	Tag          string `json:"tag,omitempty"` // empty for an artifact of a layout without one
	Digest       string `json:"digest"`
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType,omitempty"` // or the media type of the config
	Bytes        int64  `json:"bytes"`                  // of config and layers; of the manifests for an index
	Referrers    int    `json:"referrers"`
	Problem      string `json:"problem,omitempty"` // why the rest is not known
}

// List returns what target lists, by tag in byte order, and in a layout the artifacts without a tag behind them. Referrers
// and the tags that stand in for the referrers API are not artifacts of their own. An artifact that cannot be
// read is there with its problem. More than MaxListed fail with ErrLimit.
func List(ctx context.Context, target Target) ([]Entry, error) {
	entries, err := tagEntries(ctx, target)
	if err != nil {
		return nil, err
	}
	if l := asLayout(target); l != nil {
		untagged, err := l.untagged(ctx)
		if err != nil {
			return nil, err
		}
		entries = append(entries, untagged...)
	}
	err = eachBlob(ctx, 0, len(entries), func(ctx context.Context, i int) error {
		if err := entries[i].look(ctx, target); err != nil {
			entries[i].Problem = err.Error()
		}
		return ctx.Err()
	})
	return entries, err
}

func tagEntries(ctx context.Context, target Target) ([]Entry, error) {
	lister, ok := target.(registry.TagLister)
	if !ok {
		return nil, nil
	}
	var entries []Entry
	err := lister.Tags(ctx, "", func(page []string) error {
		for _, tag := range page {
			if tagGrammar.MatchString(tag) && !isReferrersTag(tag) {
				entries = append(entries, Entry{Tag: tag})
			}
		}
		if len(entries) > MaxListed {
			return fmt.Errorf("%w: more than %d tags", ErrLimit, MaxListed)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("oci: tags: %w", err)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Tag, b.Tag) })
	return entries, nil
}

// untagged are the listed artifacts that no tag names.
func (l *layoutView) untagged(ctx context.Context) ([]Entry, error) {
	g, err := l.readGraph(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(g.broken)
	for _, n := range g.listed {
		if n.Subject == nil {
			all = append(all, n.desc)
		}
	}
	var entries []Entry
	for _, desc := range sorted(all) {
		if !g.tagged[desc.Digest] {
			entries = append(entries, Entry{Digest: desc.Digest.String(), MediaType: desc.MediaType})
		}
	}
	return entries, nil
}

// look fills in what the tag or digest leads to.
func (e *Entry) look(ctx context.Context, target Target) error {
	desc, err := target.Resolve(ctx, cmp.Or(e.Tag, e.Digest))
	if err != nil {
		return err
	}
	if err := checkDescriptor(desc); err != nil {
		return err
	}
	desc = plain(desc)
	e.Digest, e.MediaType = desc.Digest.String(), desc.MediaType
	n, err := fetchNode(ctx, target, desc)
	if err != nil {
		return err
	}
	e.ArtifactType = n.ArtifactType
	if n.Config != nil {
		e.ArtifactType = cmp.Or(e.ArtifactType, n.Config.MediaType)
	}
	for _, part := range n.content() {
		e.Bytes += max(0, part.Size)
	}
	attached, err := listReferrers(ctx, target, desc)
	e.Referrers = len(attached)
	return err
}

// fetchNode reads and verifies a manifest or index.
func fetchNode(ctx context.Context, target Target, desc ocispec.Descriptor) (*node, error) {
	if !isManifest(desc.MediaType) {
		return nil, fmt.Errorf("%s: %w: its media type is %q", desc.Digest, ErrManifest, desc.MediaType)
	}
	data, err := fetchBytes(ctx, target, desc, MaxManifestBytes)
	if err != nil {
		return nil, err
	}
	return parseNode(desc, data)
}
