package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"

	"github.com/mlseal/mlseal/manifest"
)

// blobsAtOnce is how many blobs are read or written at once when an option says 0.
const blobsAtOnce = 4

// bufferedBlob is the size in bytes up to which a file is held in memory for an upload, so that a
// request that failed can be sent again.
const bufferedBlob = 1 << 20

// PackOptions of Pack. The zero value packs a model without a tag.
type PackOptions struct {
	Tag      string      // put on the package; may be empty
	Type     string      // TypeModel or TypeDataset; empty for TypeModel
	Name     string      // written into the config; empty for none: it never comes from the directory
	Progress func(n int) // told the bytes handled, from several goroutines at once; may be nil

	shards []ocispec.Descriptor // layers beside those of the files, set by Pack
}

// sink takes the parts of a package.
type sink interface {
	// putFile writes the file's blob, unless it is there.
	putFile(ctx context.Context, fsys fs.FS, f manifest.File, progress func(int)) error
	// publish writes config and manifest and makes the package visible.
	publish(ctx context.Context, img *image, tag string) error
	// discard takes back what the others wrote, after a failure.
	discard(ctx context.Context)
}

// Pack writes the tree m, whose files stand below fsys, to target and returns the descriptor of its
// image manifest, which is the same for the same tree, Type and Name. A dataset of more than MaxRawFiles files is grouped into tar layers. Each file is hashed while it is
// written; one that is not what m says fails with manifest.ErrChanged. A tree with git's files at its top
// level, which no package has, fails with manifest.ErrName. Nothing is visible in target
// before everything is there. A tree that needs a manifest of more than MaxManifestBytes fails with
// ErrLimit before anything is written.
func Pack(ctx context.Context, target Target, fsys fs.FS, m *manifest.Manifest, opts PackOptions) (ocispec.Descriptor, error) {
	if err := opts.check(m); err != nil {
		return ocispec.Descriptor{}, err
	}
	if opts.Type == "" {
		opts.Type = TypeModel
	}
	to := newSink(target)
	desc, err := packInto(ctx, target, to, fsys, m, opts)
	if err != nil {
		to.discard(context.WithoutCancel(ctx))
	}
	return desc, err
}

func packInto(ctx context.Context, target Target, to sink, fsys fs.FS, m *manifest.Manifest, opts PackOptions) (ocispec.Descriptor, error) {
	if opts.needsShards(m) {
		shards, raw, err := shardsOf(m)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if opts.shards, err = putShards(ctx, target, to, fsys, shards, len(raw.Files), opts.Progress); err != nil {
			return ocispec.Descriptor{}, err
		}
		m = raw
	}
	img, err := newImage(fsys, m, opts)
	if err == nil {
		err = packTo(ctx, to, fsys, m, img, opts)
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return img.manifestDesc, nil
}

func (opts PackOptions) check(m *manifest.Manifest) error {
	switch {
	case opts.Type != "" && opts.Type != TypeModel && opts.Type != TypeDataset:
		return fmt.Errorf("oci: unknown type %q: %s or %s", opts.Type, TypeModel, TypeDataset)
	case opts.Tag != "" && !tagGrammar.MatchString(opts.Tag):
		return fmt.Errorf("oci: %q: %w: not a tag", opts.Tag, ErrReference)
	case len(m.Files) == 0:
		return fmt.Errorf("oci: %w to pack", manifest.ErrEmpty)
	}
	tree, err := newTree(m.Files)
	if err != nil {
		return err
	}
	for _, f := range tree.Files {
		if inGit(f.Path) { // the package would have another dirHash than m
			return fmt.Errorf("oci: %q: %w: a package leaves git's files out of its tree", f.Path, manifest.ErrName)
		}
	}
	return checkNames(tree) // what Pull would refuse is not packed
}

func newSink(target Target) sink {
	if l, ok := target.(*Layout); ok {
		return &layoutSink{layout: l}
	}
	return targetSink{target}
}

// packTo writes the blobs and publishes. A blob that somebody else took back in between (see
// layoutSink.discard) makes publish fail with errBlobGone; then what is missing is written again.
func packTo(ctx context.Context, to sink, fsys fs.FS, m *manifest.Manifest, img *image, opts PackOptions) error {
	const attempts = 3
	var err error
	for range attempts {
		if err = putFiles(ctx, to, fsys, m, opts.Progress); err != nil {
			return err
		}
		if err = to.publish(ctx, img, opts.Tag); !errors.Is(err, errBlobGone) {
			return err
		}
		opts.Progress = nil // counted already
	}
	return err
}

func putFiles(ctx context.Context, to sink, fsys fs.FS, m *manifest.Manifest, progress func(int)) error {
	var distinct []manifest.File // the same bytes under two names are one blob
	seen := map[digest.Digest]bool{}
	for _, f := range m.Files {
		if seen[f.Digest] {
			report(progress, f.Size)
			continue
		}
		seen[f.Digest] = true
		distinct = append(distinct, f)
	}
	return eachBlob(ctx, blobsAtOnce, len(distinct), func(ctx context.Context, i int) error {
		if err := to.putFile(ctx, fsys, distinct[i], progress); err != nil {
			return fmt.Errorf("oci: %s: %w", distinct[i].Path, err)
		}
		return nil
	})
}

// report tells progress of n bytes at once.
func report(progress func(int), n int64) {
	if progress != nil && n > 0 {
		progress(int(n))
	}
}

// targetSink writes to a registry, or to any other target.
type targetSink struct{ target Target }

func (s targetSink) discard(context.Context) {} // registries collect garbage themselves

func (s targetSink) putFile(ctx context.Context, fsys fs.FS, f manifest.File, progress func(int)) error {
	desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: f.Digest, Size: f.Size}
	exists, err := s.target.Exists(ctx, desc)
	if err != nil {
		return err
	}
	if exists {
		report(progress, f.Size)
		return nil
	}
	source, err := openSource(fsys, f, progress)
	if err != nil {
		return err
	}
	defer func() { _ = source.file.Close() }()
	var body io.Reader = source
	if f.Size <= bufferedBlob {
		data, err := io.ReadAll(source)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	return source.explain(s.target.Push(ctx, desc, body))
}

func (s targetSink) publish(ctx context.Context, img *image, tag string) error {
	if err := pushBytes(ctx, s.target, img.configDesc, img.config); err != nil {
		return fmt.Errorf("oci: config: %w", err)
	}
	if pusher, ok := s.target.(registry.ReferencePusher); ok && tag != "" {
		if err := pusher.PushReference(ctx, img.manifestDesc, bytes.NewReader(img.manifest), tag); err != nil {
			return fmt.Errorf("oci: manifest: %w", err)
		}
		return nil
	}
	if err := pushBytes(ctx, s.target, img.manifestDesc, img.manifest); err != nil {
		return fmt.Errorf("oci: manifest: %w", err)
	}
	if tag == "" {
		return nil
	}
	if err := s.target.Tag(ctx, img.manifestDesc, tag); err != nil {
		return fmt.Errorf("oci: tag %s: %w", tag, err)
	}
	return nil
}

// pushBytes pushes data unless it is there.
func pushBytes(ctx context.Context, target Target, desc ocispec.Descriptor, data []byte) error {
	exists, err := target.Exists(ctx, desc)
	if err != nil || exists {
		return err
	}
	if err := target.Push(ctx, desc, bytes.NewReader(data)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return err
	}
	return nil
}

// source reads a file that must have the digest that the tree says, and remembers why it could not. An HTTP
// client may still be reading when the answer is there, hence the lock.
type source struct {
	mu       sync.Mutex
	file     *manifest.StableFile
	want     manifest.File
	hash     digest.Digester
	read     int64
	err      error
	progress func(int)
}

func openSource(fsys fs.FS, f manifest.File, progress func(int)) (*source, error) {
	file, err := manifest.OpenStable(fsys, f.Path, nil)
	if err != nil {
		return nil, err
	}
	if file.Size() != f.Size {
		_ = file.Close()
		return nil, fmt.Errorf("%w: %d bytes instead of %d", manifest.ErrChanged, file.Size(), f.Size)
	}
	return &source{file: file, want: f, hash: digest.SHA256.Digester(), progress: progress}, nil
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.file.Read(p)
	_, _ = s.hash.Hash().Write(p[:n]) // a hash never fails to write
	s.read += int64(n)
	report(s.progress, int64(n))
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain returns why an upload failed: a file that changed shows as a request that broke off, or as
// a digest that the registry refuses. An upload that was accepted is checked like every other.
func (s *source) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.read == s.want.Size {
		if changed := s.check(); changed != nil {
			return changed
		}
	}
	switch {
	case errors.Is(err, errdef.ErrAlreadyExists):
		return nil
	case err == nil && s.read < s.want.Size:
		return fmt.Errorf("%w: the upload was accepted after %d of %d bytes", ErrContent, s.read, s.want.Size)
	}
	return err
}

// check reports whether what was read is what the tree says, and the file still is that.
func (s *source) check() error {
	if got := s.hash.Digest(); got != s.want.Digest {
		return fmt.Errorf("%w: its digest is %s instead of %s", manifest.ErrChanged, got, s.want.Digest)
	}
	return s.file.Unchanged()
}

// newTree is manifest.New with the checks that make a tree fit to be unpacked: no file stands where
// another one needs a directory.
func newTree(files []manifest.File) (*manifest.Manifest, error) {
	m, err := manifest.New(files)
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	isFile := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		isFile[f.Path] = true
	}
	for _, f := range m.Files {
		for dir := range parents(f.Path) {
			if isFile[dir] {
				return nil, fmt.Errorf("oci: %q: %w: %q is a file", f.Path, manifest.ErrName, dir)
			}
		}
	}
	return m, nil
}
