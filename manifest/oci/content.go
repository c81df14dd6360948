package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/parallel"
	"github.com/mlseal/mlseal/manifest"
)

// BlobProblem is a blob that is not what the image manifest says.
type BlobProblem struct {
	Path   string        `json:"path,omitempty"` // of the file; empty for the config
	Digest digest.Digest `json:"digest"`         // as the image manifest says
	Reason string        `json:"reason"`
}

// ContentReport says which blobs of a package are not what its image manifest says. The zero
// value says that all are. Each list is in the order of the layers, the config first.
type ContentReport struct {
	Missing   []BlobProblem `json:"missing,omitempty"`
	WrongSize []BlobProblem `json:"wrongSize,omitempty"`
	Altered   []BlobProblem `json:"altered,omitempty"`
}

// Err is nil when every blob is right; otherwise it wraps ErrContent, names the first problem and
// counts the others.
func (r *ContentReport) Err() error {
	all := slices.Concat(r.Missing, r.WrongSize, r.Altered)
	if len(all) == 0 {
		return nil
	}
	name, more := all[0].Path, ""
	if name == "" {
		name = "config"
	}
	if len(all) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(all)-1)
	}
	return fmt.Errorf("oci: %s: %w: %s%s", name, ErrContent, all[0].Reason, more)
}

// ContentOptions of VerifyContent. The zero value is sound.
type ContentOptions struct {
	Concurrency int         // blobs read at once; 0 for a few
	Only        []string    // patterns of Select; none for all files
	Progress    func(n int) // told the bytes read, from several goroutines at once; may be nil
}

// VerifyContent reads every blob of p through target and hashes it, those of p.LeftOut too. With opts.Only it reads the config and the
// files that are chosen. A car was read whole by FetchPackage, and is not read again. The error is about reading, or wraps ErrPattern; it wraps ErrUnavailable when a registry failed; ContentReport.Err says whether the content
// is right.
func VerifyContent(ctx context.Context, target Target, p *Package, opts ContentOptions) (*ContentReport, error) {
	blobs, err := p.blobs(opts.Only)
	if err != nil {
		return nil, err
	}
	problems := make([]error, len(blobs))
	if len(opts.Only) > 0 {
		target = p.fileSource(target)
	}
	err = eachBlob(ctx, opts.Concurrency, len(blobs), func(ctx context.Context, i int) error {
		problem := blobs[i].verify(ctx, target, opts.Progress)
		if problem != nil && !errors.Is(problem, ErrNotFound) && !errors.Is(problem, ErrContent) {
			return fmt.Errorf("oci: %s: %w", blobs[i].desc.Digest, problem)
		}
		problems[i] = problem
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := &ContentReport{}
	for i, problem := range problems {
		r.add(blobs[i], problem)
	}
	return r, nil
}

// contentBlob is a blob, or a part of one, that VerifyContent reads.
type contentBlob struct {
	desc   ocispec.Descriptor
	path   string // of the file; empty for the config
	verify func(ctx context.Context, target Target, progress func(int)) error
}

// wholeBlob is read as it is.
func wholeBlob(desc ocispec.Descriptor) contentBlob {
	name, _ := layerPath(desc) // the layers were checked; the config has none
	return contentBlob{desc, name, func(ctx context.Context, target Target, progress func(int)) error {
		return copyBlob(ctx, target, desc, io.Discard, progress)
	}}
}

// blobs lists the config and the layers, or those of the chosen files.
func (p *Package) blobs(only []string) ([]contentBlob, error) {
	part, err := Select(p.Tree, only)
	if err != nil || p.Car != nil {
		return nil, err
	}
	tars := map[digest.Digest]*tarLayer{}
	for _, layer := range p.tars {
		tars[layer.desc.Digest] = layer
	}
	blobs := []contentBlob{wholeBlob(p.Manifest.Config)}
	if len(only) > 0 {
		return append(blobs, p.chosen(part)...), nil
	}
	for _, desc := range p.Manifest.Layers {
		blob := wholeBlob(desc)
		if layer := tars[desc.Digest]; layer != nil {
			blob.verify = layer.verify
		}
		blobs = append(blobs, blob)
	}
	return blobs, nil
}

// chosen are the files of a part, wherever they stand.
func (p *Package) chosen(part *manifest.Manifest) []contentBlob {
	var blobs []contentBlob
	for _, f := range part.Files {
		desc := layerOf(f)
		blobs = append(blobs, contentBlob{desc, f.Path, func(ctx context.Context, target Target, progress func(int)) error {
			return copyBlob(ctx, target, desc, io.Discard, progress)
		}})
	}
	return blobs
}

func (r *ContentReport) add(blob contentBlob, problem error) {
	if problem == nil {
		return
	}
	found := BlobProblem{Path: blob.path, Digest: blob.desc.Digest, Reason: problem.Error()}
	mismatch := (*mismatchError)(nil)
	switch {
	case errors.Is(problem, ErrNotFound):
		r.Missing = append(r.Missing, found)
	case errors.As(problem, &mismatch) && mismatch.got == "":
		r.WrongSize = append(r.WrongSize, found)
	default:
		r.Altered = append(r.Altered, found)
	}
}

// eachBlob runs do for 0..n-1, a few at once, and returns the first error.
func eachBlob(ctx context.Context, limit, n int, do func(ctx context.Context, i int) error) error {
	if limit <= 0 {
		limit = blobsAtOnce
	}
	return parallel.Do(ctx, n, limit, do)
}
