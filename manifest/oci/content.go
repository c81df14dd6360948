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
	err = eachBlob(ctx, opts.Concurrency, len(blobs), func(ctx context.Context, i int) error {
		problem := copyBlob(ctx, target, blobs[i], io.Discard, opts.Progress)
		if problem != nil && !errors.Is(problem, ErrNotFound) && !errors.Is(problem, ErrContent) {
			return fmt.Errorf("oci: %s: %w", blobs[i].Digest, problem)
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

// blobs lists the config and the layers, or those of the chosen files.
func (p *Package) blobs(only []string) ([]ocispec.Descriptor, error) {
	if p.Car != nil {
		_, err := Select(p.Tree, only)
		return nil, err
	}
	blobs := []ocispec.Descriptor{p.Manifest.Config}
	if len(only) == 0 {
		return append(blobs, p.Manifest.Layers...), nil
	}
	part, err := Select(p.Tree, only)
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, f := range part.Files {
		chosen[f.Path] = true
	}
	for _, layer := range p.Manifest.Layers {
		if name, _ := layerPath(layer); chosen[name] {
			blobs = append(blobs, layer)
		}
	}
	return blobs, nil
}

func (r *ContentReport) add(desc ocispec.Descriptor, problem error) {
	if problem == nil {
		return
	}
	name, _ := layerPath(desc) // the layers were checked; the config has none
	found := BlobProblem{Path: name, Digest: desc.Digest, Reason: problem.Error()}
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
