package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/mlseal/mlseal/internal/parallel"
	"github.com/mlseal/mlseal/manifest"
)

// BlobProblem is a blob that is not what the image manifest says.
type BlobProblem struct {
	Path   string        `json:"path,omitempty"` // of the file, or what an archive calls itself; empty for the config
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
	Concurrency int         // blobs read at once; 0 for a few, or for as many of a layout as are hashed fastest
	Only        []string    // patterns of Select; none for all files
	FailFast    bool        // stop at the first blob that is missing or wrong, which is then the only one in the report
	Progress    func(n int) // told the bytes read, from several goroutines at once; may be nil
}

// VerifyContent reads every blob of p through target and hashes it, those of p.LeftOut too, and in the tar layers of a dataset each file. With
// opts.Only it reads the config and the files that are chosen, and whole archives of other tools. A car was read whole by Package.Read, and is not
// read again. The error is about reading, and wraps ErrUnavailable when a registry failed, or is about a pattern (ErrPattern); ContentReport.Err says
// whether the content is right.
func VerifyContent(ctx context.Context, target content.Fetcher, p *Package, opts ContentOptions) (*ContentReport, error) {
	blobs, err := p.contentBlobs(opts.Only)
	if err != nil {
		return nil, err
	}
	if len(opts.Only) > 0 {
		target = p.fileSource(target)
	}
	problems := make([]error, len(blobs))
	if _, local := target.(*Layout); local && opts.Concurrency == 0 && len(blobs) > 0 {
		opts.Concurrency = hashing.Default().AtOnce(len(blobs))
	}
	expected := hashing.Default().Expect(len(blobs), cmp.Or(opts.Concurrency, blobsAtOnce))
	defer expected.End()
	err = eachBlob(ctx, opts.Concurrency, len(blobs), func(ctx context.Context, i int) error {
		defer expected.One()
		problem := blobs[i].verify(ctx, target, opts.Progress)
		if problem != nil && !errors.Is(problem, ErrNotFound) && !errors.Is(problem, ErrContent) {
			return fmt.Errorf("oci: %s: %w", blobs[i].desc.Digest, problem)
		}
		problems[i] = problem
		if problem != nil && opts.FailFast {
			return errFirst
		}
		return nil
	})
	if err != nil && !errors.Is(err, errFirst) {
		return nil, err
	}
	r := &ContentReport{}
	for i, problem := range problems {
		r.add(blobs[i].path, blobs[i].desc, problem)
	}
	return r, nil
}

// errFirst ends a reading at the first blob that is wrong.
var errFirst = errors.New("stopped at the first blob that is wrong")

// contentBlob is a blob, or a part of one, that VerifyContent reads.
type contentBlob struct {
	desc ocispec.Descriptor
	path string    // of the file, or what a layer calls itself; empty for the config
	tar  *tarLayer // nil for what is read as it is
}

func (b contentBlob) verify(ctx context.Context, target content.Fetcher, progress func(int)) error {
	if b.tar != nil {
		return b.tar.verify(ctx, target, progress)
	}
	return copyBlob(ctx, target, b.desc, io.Discard, progress)
}

// contentBlobs lists the config and the layers, or those of the chosen files.
func (p *Package) contentBlobs(only []string) ([]contentBlob, error) {
	if p.Car != nil {
		_, err := Select(p.Tree, only)
		return nil, err
	}
	blobs := []contentBlob{{desc: p.Manifest.Config}}
	if len(only) > 0 {
		part, err := Select(p.Tree, only)
		return append(blobs, p.chosen(part)...), err
	}
	tars := p.tars
	for i, desc := range p.Manifest.Layers {
		blob := contentBlob{desc: desc, path: p.layerName(i)}
		if len(tars) > 0 && p.Layers[i].Archive {
			blob.tar, tars = tars[0], tars[1:]
		}
		blobs = append(blobs, blob)
	}
	return blobs, nil
}

// layerName is what a layer is called in a report.
func (p *Package) layerName(i int) string {
	if len(p.Layers) != len(p.Manifest.Layers) { // a package that was not parsed
		name, _ := layerPath(p.Manifest.Layers[i])
		return name
	}
	return cmp.Or(p.Layers[i].Path, fmt.Sprintf("layer %d", i+1))
}

// chosen are the files of a part, and the archives that hold some of them.
func (p *Package) chosen(part *manifest.Manifest) []contentBlob {
	if part == nil {
		return nil
	}
	archive := map[string]int{}
	for i := range p.Layers {
		if p.Layers[i].opaque() && len(p.tars) == 0 {
			for _, f := range p.Layers[i].Files {
				archive[f.Path] = i
			}
		}
	}
	var blobs []contentBlob
	seen := map[int]bool{}
	for _, f := range part.Files {
		i, inArchive := archive[f.Path]
		switch {
		case !inArchive:
			blobs = append(blobs, contentBlob{desc: layerOf(f), path: f.Path})
		case !seen[i]:
			seen[i] = true
			blobs = append(blobs, contentBlob{desc: p.Manifest.Layers[i], path: p.layerName(i)})
		}
	}
	return blobs
}

func (r *ContentReport) add(name string, desc ocispec.Descriptor, problem error) {
	if problem == nil {
		return
	}
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
