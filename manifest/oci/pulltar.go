package oci

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/manifest"
)

// requestCost is what a request for one file out of a layer costs, in bytes that could be read in its time: that many bytes are
// read rather than skipped. It is a variable for the tests.
var requestCost int64 = 64 << 10

// pullJob is a file that is a blob, or files of one tar layer.
type pullJob struct {
	layer *tarLayer // nil for a blob
	files []manifest.File
}

// pullJobs sorts the files of a part of the package by the layers that they stand in.
func (p *Package) pullJobs(part *manifest.Manifest) []pullJob {
	inLayer := map[string]*tarLayer{}
	for _, layer := range p.tars {
		for _, f := range layer.ball.files {
			inLayer[f.Path] = layer
		}
	}
	var jobs []pullJob
	job := map[*tarLayer]int{}
	for _, f := range part.Files {
		layer := inLayer[f.Path]
		i, ok := job[layer]
		if layer == nil || !ok {
			i = len(jobs)
			jobs, job[layer] = append(jobs, pullJob{layer: layer}), i
		}
		jobs[i].files = append(jobs[i].files, f)
	}
	return jobs
}

// do brings the files of a job to their places.
func (pl *puller) do(ctx context.Context, job pullJob) error {
	if job.layer == nil {
		return pl.named(job.files[0], pl.file(ctx, job.files[0]))
	}
	missing, err := pl.missing(ctx, job.files)
	if err != nil || len(missing) == 0 {
		return err
	}
	if pl.worthPicking(job, missing) {
		return pl.pick(ctx, job.files, missing)
	}
	return pl.stream(ctx, job.layer, missing)
}

// named says which file an error is about.
func (pl *puller) named(f manifest.File, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("oci: %s: %w", filepath.Join(pl.dest, filepath.FromSlash(f.Path)), err)
}

// worthPicking says whether the missing files of a layer are fetched one by one. A layer of which all is missing is read and verified whole.
func (pl *puller) worthPicking(job pullJob, missing map[string]Action) bool {
	if len(missing) == len(job.layer.ball.files) {
		return false
	}
	if asLayout(pl.target) != nil {
		return true // requests cost nothing there
	}
	var cost int64
	for _, f := range job.files {
		if missing[f.Path] != "" {
			cost += f.Size + requestCost
		}
	}
	return cost < job.layer.desc.Size
}

// missing says what is to be done with each file that is not there.
func (pl *puller) missing(ctx context.Context, files []manifest.File) (map[string]Action, error) {
	missing := map[string]Action{}
	for _, f := range files {
		action, err := pl.present(ctx, f)
		if err != nil {
			return nil, pl.named(f, err)
		}
		if action == Kept {
			pl.tell(PullEvent{Path: f.Path, Action: action})
		} else {
			missing[f.Path] = action
		}
	}
	return missing, nil
}

// pick fetches the missing files one by one.
func (pl *puller) pick(ctx context.Context, files []manifest.File, missing map[string]Action) error {
	for _, f := range files {
		action, ok := missing[f.Path]
		if !ok {
			continue
		}
		if err := pl.write(ctx, pl.files, f); err != nil {
			return pl.named(f, err)
		}
		pl.tell(PullEvent{Path: f.Path, Action: action})
	}
	return nil
}

// stream reads the layer once, verifies it and all files in it, and writes those that are missing.
func (pl *puller) stream(ctx context.Context, layer *tarLayer, missing map[string]Action) error {
	err := layer.read(ctx, pl.target, nil, func(f manifest.File, contents io.Reader) error {
		action, ok := missing[f.Path]
		if !ok {
			return verifyContents(ctx, f, contents)
		}
		_ = pl.root.Remove(tempName(f)) // what an interrupted pull left: these contents come only once
		if err := pl.write(ctx, contentsOnce{contents}, f); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(pl.dest, filepath.FromSlash(f.Path)), err)
		}
		pl.tell(PullEvent{Path: f.Path, Action: action})
		return nil
	})
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	return nil
}

// contentsOnce has one blob: what is being read.
type contentsOnce struct{ contents io.Reader }

func (c contentsOnce) Fetch(context.Context, ocispec.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(c.contents), nil
}

// fileSource is target with the files that stand in tar layers as blobs of their own.
func (p *Package) fileSource(target content.Fetcher) content.Fetcher {
	if len(p.tars) == 0 {
		return target
	}
	s := fileSource{target, map[digest.Digest]tarPlace{}}
	for _, layer := range p.tars {
		for _, f := range layer.ball.files {
			s.places[f.Digest] = tarPlace{layer, f}
		}
	}
	return s
}

type fileSource struct {
	content.Fetcher
	places map[digest.Digest]tarPlace
}

// tarPlace is where a file's contents are.
type tarPlace struct {
	layer *tarLayer
	file  tarFile
}

// Fetch opens a file by its digest, or a blob.
func (s fileSource) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	place, ok := s.places[desc.Digest]
	if !ok || place.file.Size != desc.Size {
		return s.Fetcher.Fetch(ctx, desc)
	}
	return place.open(ctx, s.Fetcher, desc.Size)
}

// open opens the first length bytes of a file. The header in front of it must be its own, so that a tar in which it has another name is
// refused as it is when the whole layer is read.
func (place tarPlace) open(ctx context.Context, from content.Fetcher, length int64) (io.ReadCloser, error) {
	want, err := entryHeader(place.layer.ball.form.name(place.file.Path), place.file.Size, false)
	if err != nil {
		return nil, err
	}
	before := int64(len(want))
	rc, err := fetchRange(ctx, from, place.layer.desc, place.file.offset-before, before+length)
	if err != nil {
		return nil, err
	}
	header := make([]byte, before)
	if _, err := io.ReadFull(rc, header); err != nil && !isSentinel(err) || !bytes.Equal(header, want) {
		_ = rc.Close()
		return nil, fmt.Errorf("%s: %w: tar: the header of %q is not in the one form that is read", place.layer.desc.Digest, ErrContent, place.file.Path)
	} else if err != nil {
		_ = rc.Close()
		return nil, err
	}
	return rc, nil
}
