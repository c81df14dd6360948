// Package reader reads files that nobody trusts and gives out verified bytes only, so that whoever uses them can begin before all was read.
//
// What a file must be is said by digests of its shards, or by one of the whole file, which somebody else has verified: the resources
// of a signed OMS statement, or a manifest. A shard is read into memory, hashed there, and given out of the very buffer that was
// hashed: whoever changes the source in between changes nothing. What is read again, because it fell out of memory, is hashed again.
//
// A shard of more than Options.MaxShard bytes does not fit into memory. It is read once through its hash while its blocks are hashed by themselves
// (BLAKE3, Options.Block bytes each); when the digest of the shard is right, so are those of the blocks, and from then on each block is
// treated as a small shard. So a file of which only the whole digest is known is read twice, and its first byte comes after the first
// time. Where reading twice is dear, as it is from a registry, the first reading is kept in a temporary file (Options.Spool), whose
// blocks are hashed as well when they are read.
package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/mlseal/mlseal/manifest"
)

// Defaults of Options, in bytes.
const (
	DefaultMaxShard = 64 << 20
	DefaultBlock    = 4 << 20
	DefaultMemory   = 256 << 20
)

// ErrMismatch says that a source does not hold the bytes that were expected. It is never about bytes that were given out.
var ErrMismatch = errors.New("not the bytes that were expected")

// MismatchError says which part of a file is wrong. It wraps ErrMismatch.
type MismatchError struct {
	Name       string // of the file
	Start, End int64  // the part: its first byte, and the one behind its last
	Reason     string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("reader: %s: bytes %d to %d: %s: %s", e.Name, e.Start, e.End, ErrMismatch, e.Reason)
}

func (e *MismatchError) Unwrap() error { return ErrMismatch }

// Source is where the bytes of one file come from. Nothing that it gives is trusted. Its methods may be called concurrently.
type Source interface {
	// Size is how many bytes the source says that it has.
	Size() int64
	// Range opens length bytes from offset on. Giving more or fewer is the source's lie, and is found.
	Range(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

// Spool says what is kept in a temporary file, because it costs much to read it again.
type Spool int

// What is kept. The temporary file has no name, where the system allows that, and needs as much room as what is kept in it.
const (
	SpoolNothing Spool = iota // what is needed again is read from the source again
	SpoolLarge                // shards of more than MaxShard bytes, which would be read twice at once
	SpoolAll                  // every shard that was read
)

// Options of Open and NewTree. The zero value is sound.
type Options struct {
	MaxShard int64  // shards of at most so many bytes are verified in memory; 0 for DefaultMaxShard
	Block    int64  // larger ones in blocks of so many bytes; 0 for DefaultBlock
	Memory   int64  // bytes of verified shards and blocks that are kept for the next read; 0 for DefaultMemory. What is being read comes on top
	Spool    Spool  // what is kept in a temporary file
	TempDir  string // where that is; empty for the system's
}

func (o Options) filled() Options {
	for _, n := range []struct {
		value *int64
		usual int64
	}{{&o.MaxShard, DefaultMaxShard}, {&o.Block, DefaultBlock}, {&o.Memory, DefaultMemory}} {
		if *n.value <= 0 {
			*n.value = n.usual
		}
	}
	return o
}

// shared is what the files of a tree have together.
type shared struct {
	opts  Options
	cache cache
	spool spool
}

func newShared(opts Options) *shared {
	opts = opts.filled()
	return &shared{opts: opts, cache: cache{limit: opts.Memory, entries: map[key]*entry{}}, spool: spool{dir: opts.TempDir}}
}

// File is a file of which every byte is verified before it is given out. Its methods may be called concurrently; Read, Seek and WriteTo move one
// position, which those who call them share.
type File struct {
	name   string
	size   int64
	source Source
	shards []*shard // sorted, without gaps, from 0 to size
	*shared
	alone bool // shared belongs to the file

	ctx     context.Context
	cancel  context.CancelFunc
	working sync.WaitGroup // read-ahead

	mu       sync.Mutex
	closed   bool
	stream   *stream // the source, opened where the last sequential read ended; nil for none
	previous int64   // where the unit that was read last ends
	ahead    bool    // read-ahead is at work

	seek     sync.Mutex // of position
	position int64
}

var (
	_ io.ReaderAt   = (*File)(nil)
	_ io.ReadSeeker = (*File)(nil)
	_ io.WriterTo   = (*File)(nil)
	_ io.Closer     = (*File)(nil)
)

// Open returns the file whose resources expected lists: all of one file's shards, sorted as manifest.Serialization.SortResources does, or one resource
// for the whole file. An empty list expects an empty file. It reads nothing. A source that has another size than the shards fails with ErrMismatch.
// When ctx ends, so do all reads.
func Open(ctx context.Context, name string, source Source, expected []manifest.Resource, opts Options) (*File, error) {
	f, err := open(ctx, name, source, expected, newShared(opts))
	if err == nil {
		f.alone = true
	}
	return f, err
}

func open(ctx context.Context, name string, source Source, expected []manifest.Resource, s *shared) (*File, error) {
	f := &File{name: name, size: source.Size(), source: source, shared: s, previous: -1}
	if err := f.expect(expected); err != nil {
		return nil, err
	}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f, nil
}

// expect takes in what the file must be.
func (f *File) expect(expected []manifest.Resource) error {
	var end int64
	for i, r := range expected {
		if r.End == 0 && r.Start == 0 && len(expected) == 1 {
			r.End = f.size // the whole file, whatever its size is
		}
		if i > 0 && r.End <= r.Start || r.Start != end || r.Path != expected[0].Path {
			return fmt.Errorf("reader: %s: %q does not follow what is listed before it", f.name, r.Name())
		}
		if _, err := manifest.ParseHashType(r.Digest.Algorithm().String()); err != nil {
			return fmt.Errorf("reader: %s: %w", f.name, err)
		}
		if r.End == 0 { // an empty file, of which nothing will be read
			if err := f.compare(span{digest: r.Digest}, digest.NewDigest(r.Digest.Algorithm(), manifest.HashType(r.Digest.Algorithm()).New())); err != nil {
				return err
			}
			continue
		}
		f.shards = append(f.shards, &shard{span: span{r.Start, r.End, r.Digest}})
		end = r.End
	}
	if end != f.size {
		return &MismatchError{f.name, 0, end, fmt.Sprintf("it has %d bytes instead of %d", f.size, end)}
	}
	return nil
}

// Name is the file's name, for messages.
func (f *File) Name() string { return f.name }

// Size is the file's size in bytes: where shards are expected, the one that follows from them.
func (f *File) Size() int64 { return f.size }

// span is a part of the file with its digest.
type span struct {
	start, end int64
	digest     digest.Digest
}

func (s span) size() int64 { return s.end - s.start }

func (s span) hashType() manifest.HashType { return manifest.HashType(s.digest.Algorithm()) }

// shard is a part of the file that was expected.
type shard struct {
	span
	mu     sync.Mutex // of what follows
	blocks []span     // of a large shard; nil until it was read
	kept   int64      // where in the spool it is, plus 1; 0 when it is not there
}

// shardAt is the shard in which a byte stands.
func (f *File) shardAt(off int64) *shard {
	i := sort.Search(len(f.shards), func(i int) bool { return f.shards[i].end > off })
	return f.shards[i]
}

// unitEnd is where the unit ends in which the last byte before end stands.
func (f *File) unitEnd(end int64) int64 {
	s := f.shardAt(end - 1)
	if s.size() <= f.opts.MaxShard {
		return s.end
	}
	return min(s.end, s.start+(end-1-s.start)/f.opts.Block*f.opts.Block+f.opts.Block)
}

// acquire returns the verified unit of bytes in which off stands, to be released. until is where a sequential read will end.
func (f *File) acquire(off, until int64) (*entry, error) {
	if err := f.usable(); err != nil {
		return nil, err
	}
	s := f.shardAt(off)
	unit := s.span
	if s.size() > f.opts.MaxShard {
		if err := f.learn(s, until); err != nil {
			return nil, err
		}
		unit = s.blocks[(off-s.start)/f.opts.Block]
	}
	return f.cache.acquire(key{f, unit.start}, unit, func(buf []byte) error { return f.fill(s, unit, until, buf) })
}

func (f *File) usable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("reader: %s: %w", f.name, fs.ErrClosed)
	}
	return f.ctx.Err()
}

// ReadAt implements io.ReaderAt. The shards in which the bytes stand are verified first; where one is wrong the bytes before it
// are given, and an error that wraps ErrMismatch.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("reader: %s: offset %d: %w", f.name, off, fs.ErrInvalid)
	}
	for n < len(p) {
		if off >= f.size {
			return n, io.EOF
		}
		e, err := f.acquire(off, 0)
		if err != nil {
			return n, err
		}
		f.readAhead(e.unit, f.size, false)
		got := copy(p[n:], e.bytes[off-e.unit.start:])
		f.cache.release(e)
		n, off = n+got, off+int64(got)
	}
	return n, nil
}

// WriteRange writes the bytes from start to end, exclusive, as each shard is verified. Nothing that was not verified is written; n bytes were
// when the error says that something is wrong. While one shard is written the next one is read.
func (f *File) WriteRange(w io.Writer, start, end int64) (n int64, err error) {
	if start < 0 || end > f.size || start > end {
		return 0, fmt.Errorf("reader: %s: bytes %d to %d of %d: %w", f.name, start, end, f.size, fs.ErrInvalid)
	}
	for off := start; off < end; {
		until := f.unitEnd(end)
		e, err := f.acquire(off, until)
		if err != nil {
			return n, err
		}
		f.readAhead(e.unit, until, true)
		got, err := w.Write(e.bytes[off-e.unit.start : min(end, e.unit.end)-e.unit.start])
		f.cache.release(e)
		n, off = n+int64(got), off+int64(got)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readAhead begins to read what follows unit, up to the byte end, when it seems that it will be wanted: one unit, and one at a time.
func (f *File) readAhead(unit span, end int64, sequential bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sequential = sequential || unit.start == f.previous
	if f.previous = unit.end; !sequential || f.ahead || f.closed || unit.end >= end {
		return
	}
	f.ahead = true
	f.working.Add(1)
	go func() {
		defer f.working.Done()
		if e, err := f.acquire(unit.end, end); err == nil { // who reads it gets the error
			f.cache.release(e)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ahead = false
	}()
}

// Read implements io.Reader, from the position on.
func (f *File) Read(p []byte) (int, error) {
	f.seek.Lock()
	defer f.seek.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.ReadAt(p, f.position)
	f.position += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// WriteTo implements io.WriterTo: it is WriteRange from the position to the end.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	f.seek.Lock()
	defer f.seek.Unlock()
	n, err := f.WriteRange(w, min(f.position, f.size), f.size)
	f.position += n
	return n, err
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.seek.Lock()
	defer f.seek.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.position
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fmt.Errorf("reader: %s: seek: %w", f.name, fs.ErrInvalid)
	}
	f.position = offset
	return offset, nil
}

// Close ends all reading; reads that are at work fail.
func (f *File) Close() error {
	f.mu.Lock()
	f.closed = true
	stream := f.stream
	f.stream = nil
	f.mu.Unlock()
	f.cancel()
	f.working.Wait()
	stream.close()
	if f.alone {
		return f.spool.close()
	}
	return nil
}
