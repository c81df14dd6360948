package oci

import (
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// FileSource opens parts of one file of a package. Its bytes are not verified: whoever reads them does that. Its methods may be called concurrently.
type FileSource struct {
	target Target
	file   manifest.File
	place  *tarPlace           // where the file stands in a tar that is not compressed; nil otherwise
	layer  *ocispec.Descriptor // the archive of another tool, or compressed layer, that must be read from its beginning; nil otherwise
	how    *Layer              // of layer
}

// Sources returns all files of p, which must be known, as sources by their paths. It reads nothing.
func (p *Package) Sources(target Target) (map[string]*FileSource, error) {
	places, err := p.tarPlaces()
	if err != nil {
		return nil, err
	}
	sources, opaque := map[string]*FileSource{}, p.opaqueLayers()
	for _, f := range p.Tree.Files {
		s := &FileSource{target: target, file: f}
		if place, ok := places[f.Path]; ok {
			s.place = &place
		} else if i, ok := opaque[f.Path]; ok {
			s.layer, s.how = &p.Manifest.Layers[i], &p.Layers[i]
		}
		sources[f.Path] = s
	}
	return sources, nil
}

// tarPlaces says where the files in tars of our own forms stand, by their paths.
func (p *Package) tarPlaces() (map[string]tarPlace, error) {
	tars := p.tars
	if p.Car != nil {
		ball, err := newTarball(carForm, p.Tree.Files)
		if err != nil {
			return nil, err
		}
		tars = []*tarLayer{{p.Manifest.Layers[0], ball}}
	}
	places := map[string]tarPlace{}
	for _, layer := range tars {
		for _, f := range layer.ball.files {
			places[f.Path] = tarPlace{layer, f}
		}
	}
	return places, nil
}

// opaqueLayers says in which layer, that must be read from its beginning, the files of other tools' archives are.
func (p *Package) opaqueLayers() map[string]int {
	in := map[string]int{}
	for i := range p.Layers {
		if p.Car == nil && len(p.tars) == 0 && p.Layers[i].opaque() {
			for _, f := range p.Layers[i].Files {
				in[f.Path] = i
			}
		}
	}
	return in
}

// File is what the package says about the file.
func (s *FileSource) File() manifest.File { return s.file }

// Size is the file's size in bytes.
func (s *FileSource) Size() int64 { return s.file.Size }

// Cheap reports whether a part costs no more than its bytes, so that it may as well be read twice: in a layout, unless it is archived or compressed.
func (s *FileSource) Cheap() bool { return asLayout(s.target) != nil && s.layer == nil }

// Range opens length bytes of the file from offset on. A file in a tar must have its own header in front of it when it is read from its
// beginning. Out of the archive of another tool everything before the part is read too.
func (s *FileSource) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || offset > s.file.Size || length > s.file.Size-offset {
		return nil, fmt.Errorf("oci: %s: %w: bytes %d and the %d behind of %d", s.file.Path, ErrContent, offset, length, s.file.Size)
	}
	rc, err := s.open(ctx, offset, length)
	if err != nil {
		return nil, fmt.Errorf("oci: %s: %w", s.file.Path, err)
	}
	return rc, nil
}

func (s *FileSource) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	switch {
	case s.layer != nil:
		return s.unpack(ctx, offset)
	case s.place == nil:
		return fetchRange(ctx, s.target, layerOf(s.file), offset, length)
	case offset == 0:
		return s.place.open(ctx, s.target, length)
	}
	return fetchRange(ctx, s.target, s.place.layer.desc, s.place.file.offset+offset, length)
}

// errEnough ends the reading of an archive once the file in it was read.
var errEnough = errors.New("enough was read")

// unpack reads the file out of the archive in which it is, from offset on.
func (s *FileSource) unpack(ctx context.Context, offset int64) (io.ReadCloser, error) {
	pr, pw := io.Pipe()
	u := newUnpacker(s.target, nil, func(name string, r io.Reader) error {
		if name != s.file.Path {
			return discardFile(name, r)
		}
		if _, err := io.CopyN(io.Discard, r, offset); err != nil {
			return err
		}
		if _, err := io.Copy(pw, r); err != nil {
			return err
		}
		return errEnough
	})
	go func() {
		_, err := u.layer(ctx, *s.layer, s.how)
		if errors.Is(err, errEnough) {
			err = nil
		}
		pw.CloseWithError(err) // nil is io.EOF
	}()
	return pr, nil
}
