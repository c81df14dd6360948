package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Tag gives the artifact desc, which must be in target, another tag. A tag that stands in for the
// referrers API is refused with ErrReference.
func Tag(ctx context.Context, target Target, desc ocispec.Descriptor, tag string) error {
	if !tagGrammar.MatchString(tag) || isReferrersTag(tag) {
		return fmt.Errorf("oci: %q: %w: not a tag for artifacts (letters, digits, '.', '_' and '-', at most 128)", tag, ErrReference)
	}
	data, err := fetchBytes(ctx, target, desc, MaxManifestBytes)
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	return putTag(ctx, target, desc, data, tag)
}

// Untag removes a tag; what it named stays in a registry, and in a layout when something else still refers to it or is
// attached to it (OCI distribution-spec v1.1, "Deleting tags"). A registry that deletes no tags fails with ErrRefused.
func Untag(ctx context.Context, target Target, tag string) error {
	if !tagGrammar.MatchString(tag) {
		return fmt.Errorf("oci: %q: %w: not a tag", tag, ErrReference)
	}
	var err error
	switch t := target.(type) {
	case *Layout:
		err = t.removeTag(ctx, tag)
	case *Archive:
		err = t.readOnly()
	case *repository:
		err = t.deleteTag(ctx, tag)
	default:
		err = ErrRefused
	}
	if err != nil {
		return fmt.Errorf("oci: tag %s: %w", tag, err)
	}
	return nil
}

func (l *Layout) removeTag(ctx context.Context, tag string) error {
	return l.change(ctx, func(index *ocispec.Index) error {
		if !slices.ContainsFunc(index.Manifests, func(e ocispec.Descriptor) bool { return tagOf(e) == tag }) {
			return ErrNotFound
		}
		return l.takeTag(ctx, index, "", tag)
	})
}

func (r *repository) deleteTag(ctx context.Context, tag string) error {
	ctx = auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull, auth.ActionDelete)
	resp, err := r.send(ctx, http.MethodDelete, r.endpoint("manifests/"+tag), nil, nil)
	if err != nil {
		return remoteError(err)
	}
	if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusOK {
		return deletionError(refusal(resp))
	}
	return resp.Body.Close()
}

// deletionError says that a registry refused to delete: "405 Method Not Allowed" or another 4xx, as the
// specification's "Deletion may be disabled" has it.
func deletionError(err error) error {
	response := (*errcode.ErrorResponse)(nil)
	if errors.As(err, &response) && response.StatusCode/100 == 4 && response.StatusCode != http.StatusNotFound && !isPassing(err) {
		return fmt.Errorf("%w: %w", ErrRefused, remoteError(err))
	}
	return remoteError(err)
}

// RemoveOptions of Remove.
type RemoveOptions struct {
	Referrers bool   // remove what is attached to it too, and what is attached to that
	Tag       string // the tag that may name it; one more is in the way
}

// Remove deletes a manifest or index and returns what was deleted, referrers first. What something else still refers to is
// refused with ErrReferred before anything is deleted: other tags, indexes of a layout, and without Referrers
// what is attached to it. A registry that deletes nothing fails with ErrRefused. Blobs stay: in a layout Collect
// removes them.
func Remove(ctx context.Context, target Target, desc ocispec.Descriptor, opts RemoveOptions) ([]ocispec.Descriptor, error) {
	if err := checkUnnamed(ctx, target, desc, opts); err != nil {
		return nil, fmt.Errorf("oci: %s: %w", desc.Digest, err)
	}
	all, err := below(ctx, target, desc, 0)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 && !opts.Referrers {
		return nil, fmt.Errorf("oci: %s: %w: %d statements or other referrers are attached", desc.Digest, ErrReferred, len(all)-1)
	}
	for i, each := range all {
		if err := removeOne(ctx, target, each); err != nil {
			return all[:i], fmt.Errorf("oci: %s: %w", each.Digest, err)
		}
	}
	return all, nil
}

// checkUnnamed refuses what a tag or an index names.
func checkUnnamed(ctx context.Context, target Target, desc ocispec.Descriptor, opts RemoveOptions) error {
	var names []string
	entries, err := tagEntries(ctx, target)
	if err != nil {
		return err
	}
	err = eachBlob(ctx, 1, len(entries), func(ctx context.Context, i int) error {
		tagged, err := target.Resolve(ctx, entries[i].Tag)
		if err == nil && tagged.Digest == desc.Digest && entries[i].Tag != opts.Tag {
			names = append(names, entries[i].Tag)
		}
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrContent) {
			return err
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(names) > 0:
		return fmt.Errorf("%w: by tag %s", ErrReferred, strings.Join(names, ", "))
	}
	l := asLayout(target)
	if l == nil {
		return nil
	}
	g, err := l.readGraph(ctx)
	if err != nil {
		return err
	}
	for _, n := range g.listed {
		if slices.ContainsFunc(n.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
			return fmt.Errorf("%w: by the index %s", ErrReferred, n.desc.Digest)
		}
	}
	return nil
}

// below lists desc behind everything that is attached to it.
func below(ctx context.Context, target Target, desc ocispec.Descriptor, depth int) ([]ocispec.Descriptor, error) {
	if depth > MaxCopyDepth {
		return nil, fmt.Errorf("oci: %s: %w: more than %d referrers below each other", desc.Digest, ErrLimit, MaxCopyDepth)
	}
	attached, err := listReferrers(ctx, target, desc)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, referrer := range attached {
		n, err := fetchNode(ctx, target, referrer)
		if err != nil || !n.isAbout(desc.Digest) {
			continue // listed, but not attached: it is not ours to delete
		}
		more, err := below(ctx, target, n.desc, depth+1)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > MaxCopyManifests {
			return nil, fmt.Errorf("oci: %s: %w: more than %d referrers", desc.Digest, ErrLimit, MaxCopyManifests)
		}
	}
	return append(all, plain(desc)), nil
}

func removeOne(ctx context.Context, target Target, desc ocispec.Descriptor) error {
	switch t := target.(type) {
	case *Layout:
		return t.removeManifest(ctx, desc)
	case *Archive:
		return t.readOnly()
	case *repository:
		return t.deleteManifest(ctx, desc)
	}
	if deleter, ok := target.(content.Deleter); ok {
		return deleter.Delete(ctx, desc)
	}
	return ErrRefused
}

// removeManifest takes a manifest out of index.json and removes its blob, since one that nothing lists would
// still be found as a referrer.
func (l *Layout) removeManifest(ctx context.Context, desc ocispec.Descriptor) error {
	name, err := l.blobPath(desc.Digest)
	if err != nil {
		return err
	}
	err = l.change(ctx, func(index *ocispec.Index) error {
		index.Manifests = slices.DeleteFunc(index.Manifests, func(e ocispec.Descriptor) bool { return e.Digest == desc.Digest })
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("oci: %w", err)
	}
	return nil
}

// deleteManifest deletes a manifest, and takes it out of the tag that stands in for the referrers API. A registry that
// refuses the first has done what counts for a referrer when it is not listed any more.
func (r *repository) deleteManifest(ctx context.Context, desc ocispec.Descriptor) error {
	n, err := fetchNode(ctx, r, desc)
	if err != nil {
		return err
	}
	ctx = auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull, auth.ActionPush, auth.ActionDelete)
	err = deletionError(r.Manifests().Delete(ctx, desc))
	if !errors.Is(err, ErrRefused) || n.Subject == nil {
		return err
	}
	listed, listError := listReferrers(ctx, r, plain(*n.Subject))
	if listError == nil && !slices.ContainsFunc(listed, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
		return nil
	}
	return err
}
