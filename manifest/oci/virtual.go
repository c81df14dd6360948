package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/manifest"
)

// Virtual is a store of one package that serves its layers from the files themselves: it takes no room. It is an oras target to read from, as
// for oras.Copy. Its methods may be called concurrently.
type Virtual struct {
	packed *Packed
	img    *image
	tag    string
	layers map[digest.Digest]origin
	tars   map[digest.Digest]*tarball
	files  opener // of what stands in tars
}

// An oras.ReadOnlyGraphTarget.
var _ interface {
	content.ReadOnlyGraphStorage
	content.Resolver
} = (*Virtual)(nil)

// NewVirtual reads the tree below fsys once and computes the package that Pack would write, with the same errors for trees that cannot be
// one. It writes nothing. PackOptions.Link and Ready are not used; fsys must stay open for as long as layers are fetched.
func NewVirtual(ctx context.Context, fsys fs.FS, opts PackOptions) (*Virtual, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	p := newPacking(fsys, nil, opts)
	packed, img, err := p.build(ctx)
	if err != nil {
		return nil, err
	}
	v := &Virtual{packed, img, opts.Tag, map[digest.Digest]origin{}, map[digest.Digest]*tarball{}, p.contents}
	raw := packed.Tree
	if p.shards != nil {
		raw = p.shards.rawTree(raw)
		for i, layer := range p.shards.layers {
			v.tars[layer.Digest] = p.shards.balls[i]
		}
	}
	for _, f := range raw.Files {
		v.layers[f.Digest] = p.origin(f)
	}
	return v, nil
}

// Packed is the package that the store holds.
func (v *Virtual) Packed() *Packed { return v.packed }

// Fetch opens a blob. A file is verified while it is read: one that is not what it was when it was hashed fails with
// manifest.ErrChanged, at the latest instead of its end.
func (v *Virtual) Fetch(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	for _, blob := range v.blobs() {
		if blob.desc.Digest == desc.Digest {
			return io.NopCloser(bytes.NewReader(blob.data)), nil
		}
	}
	if ball := v.tars[desc.Digest]; ball != nil {
		return ball.stream(0, v.files), nil
	}
	o, ok := v.layers[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: %w", desc.Digest, ErrNotFound)
	}
	rc, err := openVerified(o)
	if err != nil {
		return nil, fmt.Errorf("oci: %s: %w", o.file.Path, err)
	}
	return rc, nil
}

// blobs are those that are no files.
func (v *Virtual) blobs() []imageBlob {
	return append([]imageBlob{{"image manifest", v.img.manifestDesc, v.img.manifest}}, v.img.blobs...)
}

// isPart reports whether d is a layer or the config.
func (v *Virtual) isPart(d digest.Digest) bool {
	return d == v.img.configDesc.Digest || slices.ContainsFunc(v.img.layers, func(l ocispec.Descriptor) bool { return l.Digest == d })
}

// Exists reports whether the package has the blob.
func (v *Virtual) Exists(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	return desc.Digest == v.img.manifestDesc.Digest || v.isPart(desc.Digest), nil
}

// Resolve knows the package by its tag and by its digest.
func (v *Virtual) Resolve(_ context.Context, reference string) (ocispec.Descriptor, error) {
	if reference != "" && (reference == v.tag || reference == v.img.manifestDesc.Digest.String()) {
		return v.img.manifestDesc, nil
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s: %w", reference, ErrNotFound)
}

// Predecessors is empty for the package, to which nothing is attached, and the package for its blobs.
func (v *Virtual) Predecessors(_ context.Context, node ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if v.isPart(node.Digest) {
		return []ocispec.Descriptor{v.img.manifestDesc}, nil
	}
	return nil, nil
}

// verifiedSource does not come to its end unless the file is what it was.
type verifiedSource struct{ *source }

func (s verifiedSource) Read(p []byte) (int, error) {
	n, err := s.source.Read(p)
	if err == io.EOF {
		s.mu.Lock()
		defer s.mu.Unlock()
		if changed := s.check(); changed != nil {
			return n, fmt.Errorf("oci: %s: %w", s.want.Path, changed)
		}
	}
	if errors.Is(err, manifest.ErrChanged) {
		return n, fmt.Errorf("oci: %s: %w", s.want.Path, err)
	}
	return n, err
}

func (s verifiedSource) Close() error { return s.file.Close() }
