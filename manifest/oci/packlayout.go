package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// errBlobGone says that a blob that was written or seen is not there any more.
var errBlobGone = errors.New("a blob was removed while the package was written")

// discardTimeout bounds how long a failed pack waits for the lock to clean up behind itself.
const discardTimeout = 10 * time.Second

// layoutSink writes a package into a layout and remembers which blobs it added.
type layoutSink struct {
	layout *Layout
	mu     sync.Mutex
	added  []digest.Digest
}

func (s *layoutSink) putFile(ctx context.Context, fsys fs.FS, f manifest.File, progress func(int)) error {
	desc := ocispec.Descriptor{Digest: f.Digest, Size: f.Size}
	err := copyBlob(ctx, s.layout, desc, io.Discard, progress)
	if err == nil {
		return nil // there, and whole
	}
	if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrContent) {
		return err
	}
	damaged := errors.Is(err, ErrContent)
	err = s.layout.writeBlob(desc, func(w io.Writer) error {
		return copyFile(ctx, w, fsys, f, progress)
	})
	if err == nil && !damaged {
		s.remember(desc.Digest)
	}
	return err
}

func (s *layoutSink) remember(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.added = append(s.added, d)
}

// copyFile copies a file to w and checks that it is what the tree says. Where the file system can
// share blocks, the copy takes no room and is hashed instead of the file.
func copyFile(ctx context.Context, w io.Writer, fsys fs.FS, f manifest.File, progress func(int)) error {
	if to, ok := w.(*os.File); ok {
		if done, err := cloneAndHash(ctx, to, fsys, f, progress); done {
			return err
		}
	}
	source, err := openSource(fsys, f, progress)
	if err != nil {
		return err
	}
	defer func() { _ = source.file.Close() }()
	if _, err := manifest.Copy(ctx, w, source, nil); err != nil {
		return err
	}
	return source.check()
}

// cloneAndHash reports with done that to holds a clone, or that no copy can help.
func cloneAndHash(ctx context.Context, to *os.File, fsys fs.FS, f manifest.File, progress func(int)) (done bool, err error) {
	opened, err := fsys.Open(f.Path)
	if err != nil {
		return true, err
	}
	defer func() { _ = opened.Close() }()
	from, ok := opened.(*os.File)
	if info, err := opened.Stat(); !ok || f.Size == 0 || err != nil || !info.Mode().IsRegular() {
		return false, nil
	}
	if cloneFile(to, from) != nil {
		return false, nil
	}
	err = copyVerified(ctx, to, ocispec.Descriptor{Digest: f.Digest, Size: f.Size}, io.Discard, progress)
	if errors.Is(err, ErrContent) {
		return true, fmt.Errorf("%w: %w", manifest.ErrChanged, err)
	}
	return true, err
}

// publish writes config and manifest, and lists the package and its tag in one change of
// index.json, under the lock, after a look at every blob.
func (s *layoutSink) publish(ctx context.Context, img *image, tag string) error {
	if err := s.putBytes(ctx, img.configDesc, img.config); err != nil {
		return fmt.Errorf("oci: config: %w", err)
	}
	if err := s.putBytes(ctx, img.manifestDesc, img.manifest); err != nil {
		return fmt.Errorf("oci: manifest: %w", err)
	}
	return s.layout.change(ctx, func(index *ocispec.Index) error {
		for _, desc := range append([]ocispec.Descriptor{img.manifestDesc, img.configDesc}, img.layers...) {
			name, err := s.layout.blobPath(desc.Digest)
			if err != nil {
				return err
			}
			if info, err := os.Lstat(name); err != nil || info.Size() != desc.Size {
				return fmt.Errorf("oci: %s: %w", desc.Digest, errBlobGone)
			}
		}
		return s.layout.addEntry(ctx, index, img.manifestDesc, &node{ArtifactType: ArtifactType}, tag)
	})
}

func (s *layoutSink) putBytes(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	exists, err := s.layout.Exists(ctx, desc)
	if err != nil || exists {
		return err
	}
	err = s.layout.writeBlob(desc, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err == nil {
		s.remember(desc.Digest)
	}
	return err
}

// discard removes the blobs that a failed pack added and that nothing listed uses, so that a full
// disk is not left fuller. It holds the lock: a pack that runs beside this one and counts on such a
// blob notices in publish, which holds the lock too, and writes it again. It does nothing when it cannot be sure.
func (s *layoutSink) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, discardTimeout)
	defer cancel()
	if len(s.added) == 0 {
		return
	}
	unlock, err := s.layout.lock(ctx)
	if err != nil {
		return
	}
	defer unlock()
	g, err := s.layout.readGraph(ctx)
	if err != nil || len(g.broken) > 0 {
		return
	}
	used := map[digest.Digest]bool{}
	for _, n := range g.listed {
		used[n.desc.Digest] = true
		for _, c := range n.content() {
			used[c.Digest] = true
		}
	}
	for _, d := range s.added {
		if name, err := s.layout.blobPath(d); err == nil && !used[d] {
			_ = os.Remove(name) // what stays is whole, and found by the next pack
		}
	}
}
