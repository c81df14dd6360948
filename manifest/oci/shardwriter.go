package oci

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// heldBytes is how much of the files whose turn has not come is held in memory, in bytes.
const heldBytes = 4 << 20

// shardWriter writes the tars of a dataset while its files are hashed, several at once. The bytes of a tar come in the order of the files:
// a file whose turn it is goes straight into the tar, a small one that is read before its turn is held, and others wait. Files are begun in
// their order, so that one whose turn it is never waits for another.
type shardWriter struct {
	p      *packing
	balls  []*tarball
	starts []int                // how many files stand in the tars before each one
	layers []ocispec.Descriptor // of the tars that are written
	raw    map[string]bool      // files that are layers

	mu    sync.Mutex
	moved chan struct{} // closed when the turn has moved on
	turn  int           // the place of the file whose bytes come next
	held  map[int][]byte
	room  int64 // bytes that can still be held

	// These belong to whose turn it is.
	to   manifest.FileCopy // the tar at work; nil between two
	hash digest.Digester
}

// shardPlace is where a file stands.
type shardPlace struct {
	n           int // among all files in tars
	ball, index int
}

func newShardWriter(p *packing, files []manifest.File) (*shardWriter, error) {
	balls, raw, err := shardsOf(files)
	if err != nil {
		return nil, err
	}
	s := &shardWriter{p: p, balls: balls, raw: map[string]bool{}, moved: make(chan struct{}), held: map[int][]byte{}, room: heldBytes}
	n := 0
	for _, ball := range balls {
		s.starts = append(s.starts, n)
		n += len(ball.files)
	}
	for _, f := range raw.Files {
		s.raw[f.Path] = true
	}
	return s, nil
}

// place is where the file of a path stands, which is in a tar: paths rise from one file to the next, and from one tar to the next.
func (s *shardWriter) place(path string) shardPlace {
	after := sort.Search(len(s.balls), func(i int) bool { return s.balls[i].files[0].Path > path })
	ball := after - 1
	index := sort.Search(len(s.balls[ball].files), func(i int) bool { return s.balls[ball].files[i].Path >= path })
	return shardPlace{s.starts[ball] + index, ball, index}
}

// file returns the file at a place. Its digest is set when it was read.
func (s *shardWriter) file(at shardPlace) *tarFile { return &s.balls[at.ball].files[at.index] }

// copy takes the bytes of a file. One whose digest is remembered is read here all the same: the tar's is not known.
func (s *shardWriter) copy(ctx context.Context, o origin, progress func(int)) (manifest.FileCopy, error) {
	c := &shardCopy{s: s, ctx: ctx, at: s.place(o.file.Path)}
	if err := c.begin(); err != nil {
		return nil, fmt.Errorf("oci: %s: %w", o.file.Path, err)
	}
	if o.file.Digest == "" {
		return c, nil
	}
	if err := c.read(ctx, o, progress); err != nil {
		return nil, fmt.Errorf("oci: %s: %w", o.file.Path, err)
	}
	return nil, nil
}

// shardCopy is a file on its way into a tar.
type shardCopy struct {
	s    *shardWriter
	ctx  context.Context
	at   shardPlace
	hold bool // it is held until its turn
	data []byte
	n    int64
}

// begin waits until the file's turn comes, or until there is room to hold it.
func (c *shardCopy) begin() error {
	s, size := c.s, c.s.file(c.at).Size
	for {
		s.mu.Lock()
		moved, mine := s.moved, s.turn == c.at.n
		if c.hold = !mine && size <= bufferedBlob && size <= s.room; c.hold {
			s.room -= size
		}
		s.mu.Unlock()
		switch {
		case mine:
			return s.open(c.ctx, c.at)
		case c.hold:
			c.data = make([]byte, 0, size)
			return nil
		}
		select {
		case <-moved:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

// read copies a file whose digest is known.
func (c *shardCopy) read(ctx context.Context, o origin, progress func(int)) error {
	source, err := openSource(o, progress)
	if err != nil {
		return err
	}
	defer func() { _ = source.file.Close() }()
	if _, err := manifest.Copy(ctx, c, source, nil); err != nil {
		return err
	}
	if err := source.check(); err != nil {
		return err
	}
	return c.Commit(o.file)
}

// Write implements io.Writer.
func (c *shardCopy) Write(p []byte) (int, error) {
	if c.n += int64(len(p)); c.n > c.s.file(c.at).Size {
		return 0, fmt.Errorf("%w: it grew", manifest.ErrChanged)
	}
	if c.hold {
		c.data = append(c.data, p...)
		return len(p), nil
	}
	return c.s.write(p)
}

// Commit implements manifest.FileCopy: it ends the file in the tar, or leaves it to whose turn it is.
func (c *shardCopy) Commit(f manifest.File) error {
	file := c.s.file(c.at)
	if c.n != file.Size {
		return fmt.Errorf("oci: %s: %w: %d bytes instead of %d", f.Path, manifest.ErrChanged, c.n, file.Size)
	}
	s := c.s
	s.mu.Lock()
	file.Digest = f.Digest
	mine := s.turn == c.at.n
	switch {
	case !mine:
		s.held[c.at.n] = c.data
	case c.hold: // its turn came while it was read
		s.room += file.Size
	}
	s.mu.Unlock()
	if !mine {
		return nil
	}
	if c.hold {
		if err := s.whole(c.ctx, c.at, c.data); err != nil {
			return fmt.Errorf("oci: %s: %w", f.Path, err)
		}
	}
	return s.pass(c.ctx, c.at)
}

// Abort implements manifest.FileCopy. Those who wait find that their context has ended.
func (c *shardCopy) Abort() {}

// pass ends the file at a place, whose turn it was, and goes on with those behind it that are held.
func (s *shardWriter) pass(ctx context.Context, at shardPlace) error {
	for {
		if err := s.end(ctx, at); err != nil {
			return fmt.Errorf("oci: %s: %w", s.file(at).Path, err)
		}
		s.mu.Lock()
		s.turn++
		data, ok := s.held[s.turn]
		delete(s.held, s.turn)
		s.room += int64(len(data))
		close(s.moved)
		s.moved = make(chan struct{})
		s.mu.Unlock()
		if !ok {
			return nil
		}
		at = s.after(at)
		if err := s.whole(ctx, at, data); err != nil {
			return fmt.Errorf("oci: %s: %w", s.file(at).Path, err)
		}
	}
}

// after is the place behind another.
func (s *shardWriter) after(at shardPlace) shardPlace {
	if at.index+1 < len(s.balls[at.ball].files) {
		return shardPlace{at.n + 1, at.ball, at.index + 1}
	}
	return shardPlace{at.n + 1, at.ball + 1, 0}
}

// whole writes a file that was held.
func (s *shardWriter) whole(ctx context.Context, at shardPlace, data []byte) error {
	if err := s.open(ctx, at); err != nil {
		return err
	}
	_, err := s.write(data)
	return err
}

// open writes the header of a file, and begins a tar with its first one.
func (s *shardWriter) open(ctx context.Context, at shardPlace) error {
	f := s.file(at)
	if at.index == 0 {
		ball := s.balls[at.ball]
		s.hash = digest.SHA256.Digester()
		s.to = nowhereCopy{}
		if s.p.to != nil {
			to, err := s.p.to.beginBlob(ctx, ball.size, func(offset int64) (io.ReadCloser, error) {
				return ball.stream(offset, s.p.contents), nil
			})
			if err != nil {
				return err
			}
			s.to = to
		}
	}
	header, err := entryHeader(f.Path, f.Size, false)
	if err != nil {
		return err
	}
	_, err = s.write(header)
	return err
}

func (s *shardWriter) write(p []byte) (int, error) {
	_, _ = s.hash.Hash().Write(p) // a hash never fails to write
	return s.to.Write(p)
}

// end writes what stands behind the contents of a file, and ends a tar with its last one.
func (s *shardWriter) end(ctx context.Context, at shardPlace) error {
	ball := s.balls[at.ball]
	last := at.index == len(ball.files)-1
	zeros := padding(s.file(at).Size)
	if last {
		zeros += 2 * tarBlock
	}
	if _, err := s.write(make([]byte, zeros)); err != nil || !last {
		return err
	}
	d := s.hash.Digest()
	if err := s.to.Commit(manifest.File{Size: ball.size, Digest: d}); err != nil {
		return err
	}
	s.to = nil
	s.layers = append(s.layers, shardDescriptor(d, s.balls, at.ball))
	return ctx.Err()
}

// abort gives up what is at work, once nobody writes any more.
func (s *shardWriter) abort() {
	if s.to != nil {
		s.to.Abort()
		s.to = nil
	}
}

// rawTree is the part of a tree that does not stand in tars.
func (s *shardWriter) rawTree(m *manifest.Manifest) *manifest.Manifest {
	raw := &manifest.Manifest{}
	for _, f := range m.Files {
		if s.raw[f.Path] {
			raw.Files = append(raw.Files, f)
		}
	}
	return raw
}

// again writes the tars anew: somebody else took one away.
func (s *shardWriter) again(ctx context.Context) error {
	for i, ball := range s.balls {
		if _, err := putTar(ctx, s.p.to, ball, s.p.contents, nil); err != nil {
			return fmt.Errorf("oci: %s: %w", s.layers[i].Digest, err)
		}
	}
	return nil
}

// contents opens a file that stands in a tar, from an offset on.
func (p *packing) contents(f manifest.File, offset int64) (io.ReadCloser, error) {
	return p.origin(f).contents(offset)
}

// putTar writes a tar as a blob, of which open opens the files: also again, to go on with an upload that broke off.
func putTar(ctx context.Context, to sink, t *tarball, open opener, progress func(int)) (digest.Digest, error) {
	blob, err := to.beginBlob(ctx, t.size, func(offset int64) (io.ReadCloser, error) { return t.stream(offset, open), nil })
	if err != nil {
		return "", err
	}
	h := digest.SHA256.Digester()
	if err := t.write(ctx, io.MultiWriter(h.Hash(), blob), open, progress); err != nil {
		blob.Abort()
		return "", err
	}
	if err := blob.Commit(manifest.File{Size: t.size, Digest: h.Digest()}); err != nil {
		blob.Abort()
		return "", err
	}
	return h.Digest(), nil
}

// nowhereCopy takes bytes that are hashed only.
type nowhereCopy struct{}

func (nowhereCopy) Write(p []byte) (int, error) { return len(p), nil }
func (nowhereCopy) Commit(manifest.File) error  { return nil }
func (nowhereCopy) Abort()                      {}

// filesBelow opens the files of a tree that stands below fsys.
func filesBelow(fsys fs.FS) opener {
	return func(f manifest.File, offset int64) (io.ReadCloser, error) {
		return origin{fsys, f, nil}.contents(offset)
	}
}

// contents opens a file from an offset on. One whose digest is known is verified where it is read from its beginning, so that the error names it if it has
// changed; else the digest of the tar decides.
func (o origin) contents(offset int64) (io.ReadCloser, error) {
	if o.file.Digest != "" && offset == 0 {
		return openVerified(o)
	}
	return o.reread(offset)
}

// openVerified opens a file that does not come to its end unless it is what the tree says.
func openVerified(o origin) (io.ReadCloser, error) {
	source, err := openSource(o, nil)
	if err != nil {
		return nil, err
	}
	return verifiedSource{source}, nil
}
