package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/filestate"
	"github.com/mlseal/mlseal/manifest"
)

// errBlobGone says that a blob that was written or seen is not there any more.
var errBlobGone = errors.New("a blob was removed while the package was written")

// discardTimeout bounds how long a failed pack waits for the lock to clean up behind itself.
const discardTimeout = 10 * time.Second

// layoutSink writes a package into a layout and remembers which blobs it added.
type layoutSink struct {
	layout *Layout
	link   bool
	sizes  map[int64]bool // of the blobs that were there at the start, in bytes; empty where no file is to be read again
	mu     sync.Mutex
	added  []digest.Digest
}

func newLayoutSink(l *Layout, opts PackOptions) (*layoutSink, error) {
	s := &layoutSink{layout: l, link: opts.Link, sizes: map[int64]bool{}}
	if opts.ReadOnce {
		return s, nil
	}
	entries, err := os.ReadDir(l.blobsDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("oci: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // it may be gone
			s.sizes[info.Size()] = true
		}
	}
	return s, nil
}

// begin copies a file into the layout while it is hashed, unless a blob of its size is there, which may be the same: that is
// verified when the digest is known, so that packing again writes nothing.
func (s *layoutSink) begin(_ context.Context, o origin) (manifest.FileCopy, error) {
	if s.sizes[o.file.Size] {
		return nil, nil
	}
	c, err := s.newBlob()
	if err != nil {
		return nil, err
	}
	file, err := o.open()
	if err != nil {
		c.Abort()
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if shareBlocks(c.to.File, file) {
		return layoutClone{c}, nil
	}
	return c, nil
}

// beginBlob writes a blob anew also when it is there: it may be damaged.
func (s *layoutSink) beginBlob(context.Context, int64, func(int64) (io.ReadCloser, error)) (manifest.FileCopy, error) {
	return s.newBlob()
}

// newBlob makes the file of a blob that has no name yet.
func (s *layoutSink) newBlob() (*layoutCopy, error) {
	if err := os.MkdirAll(s.layout.blobsDir(), 0o777); err != nil {
		return nil, err
	}
	to, err := atomicfile.Begin(s.layout.blobsDir(), blobFileOptions)
	if err != nil {
		return nil, err
	}
	hold(to.File)
	return &layoutCopy{s, to}, nil
}

// shareBlocks makes to a copy of from that takes no room, where the file system can.
func shareBlocks(to *os.File, from *manifest.StableFile) bool {
	file, ok := from.File().(*os.File)
	return ok && from.Size() > 0 && cloneFile(to, file) == nil
}

// layoutCopy is a blob that has no name yet.
type layoutCopy struct {
	sink *layoutSink
	to   *atomicfile.Pending
}

// Write implements io.Writer.
func (c *layoutCopy) Write(p []byte) (int, error) { return c.to.Write(p) }

// Abort removes the file.
func (c *layoutCopy) Abort() { c.to.Abort() }

// Commit gives the blob its name; publish makes the name durable.
func (c *layoutCopy) Commit(f manifest.File) error {
	name, err := c.sink.layout.blobPath(f.Digest)
	if err != nil {
		return err
	}
	_, err = os.Lstat(name)
	isNew := errors.Is(err, fs.ErrNotExist) // else it is damaged, or somebody else was faster
	if err := c.to.Commit(name); err != nil {
		return err
	}
	if isNew {
		c.sink.remember(f.Digest)
	}
	return nil
}

// layoutClone is a layoutCopy that shares the file's blocks.
type layoutClone struct{ *layoutCopy }

// Shared implements manifest.Clone.
func (c layoutClone) Shared() io.Reader { return c.to }

func (s *layoutSink) putFile(ctx context.Context, o origin, progress func(int)) error {
	if s.link && s.isLinked(o) {
		return nil
	}
	desc := blobOf(o.file)
	err := copyBlob(ctx, s.layout, desc, io.Discard, progress)
	if err == nil {
		return nil // there, and whole
	}
	if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrContent) {
		return err
	}
	damaged := errors.Is(err, ErrContent)
	if s.link {
		err = s.linkBlob(o)
	} else {
		err = s.layout.writeBlob(desc, func(w io.Writer) error { return copyFile(ctx, w, o, progress) })
	}
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

// isLinked reports whether the blob is the file that was hashed.
func (s *layoutSink) isLinked(o origin) bool {
	name, err := s.layout.blobPath(o.file.Digest)
	if err != nil {
		return false
	}
	info, err := os.Lstat(name)
	return err == nil && filestate.Same(info, o.info)
}

// linkBlob makes the blob a second name of the file.
func (s *layoutSink) linkBlob(o origin) error {
	name, err := s.layout.blobPath(o.file.Digest)
	if err != nil {
		return err
	}
	file, err := o.open()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	opened, ok := file.File().(*os.File)
	if !ok {
		return fmt.Errorf("%w: it is no file on a disk, and cannot be linked", errors.ErrUnsupported)
	}
	if err := os.MkdirAll(s.layout.blobsDir(), 0o777); err != nil {
		return err
	}
	hold(opened) // the link is as old as the file, so that its age would make it a leftover
	temp := filepath.Join(s.layout.blobsDir(), fmt.Sprintf("%s%d", tempPrefix, rand.Uint64()))
	if err := os.Link(opened.Name(), temp); err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }() // also where both names are the same file, which a rename leaves as they are
	info, err := os.Lstat(temp)
	if err != nil {
		return err
	}
	// The link itself changed the ctime.
	if !filestate.Same(info, o.info) || info.Size() != o.info.Size() || !info.ModTime().Equal(o.info.ModTime()) {
		return manifest.ErrChanged
	}
	if err := opened.Sync(); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// copyFile copies a file to w and checks that it is what the tree says. Where the file system can
// share blocks, the copy takes no room and is hashed instead of the file.
func copyFile(ctx context.Context, w io.Writer, o origin, progress func(int)) error {
	source, err := openSource(o, progress)
	if err != nil {
		return err
	}
	defer func() { _ = source.file.Close() }()
	if to, ok := w.(*os.File); ok && shareBlocks(to, source.file) {
		err := copyVerified(ctx, to, blobOf(o.file), io.Discard, progress)
		if errors.Is(err, ErrContent) {
			return fmt.Errorf("%w: %w", manifest.ErrChanged, err)
		}
		return err
	}
	if _, err := manifest.Copy(ctx, w, source, nil); err != nil {
		return err
	}
	return source.check()
}

// publish writes config and manifest, and lists the package and its tag in one change of
// index.json, under the lock, after a look at every blob.
func (s *layoutSink) publish(ctx context.Context, img *image, tag string) error {
	for _, blob := range img.blobs {
		if err := s.putBytes(ctx, blob.desc, blob.data); err != nil {
			return fmt.Errorf("oci: %s: %w", blob.name, err)
		}
	}
	if err := s.putBytes(ctx, img.manifestDesc, img.manifest); err != nil {
		return fmt.Errorf("oci: manifest: %w", err)
	}
	if err := atomicfile.SyncDir(s.layout.blobsDir()); err != nil {
		return fmt.Errorf("oci: %w", err)
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
		return s.layout.addEntry(ctx, index, img.manifestDesc, &node{ArtifactType: img.artifactType}, tag)
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
