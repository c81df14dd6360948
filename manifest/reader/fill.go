package reader

import (
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/mlseal/mlseal/manifest"
)

// piece is how much is read before it is hashed, while the next piece is read.
const piece = 1 << 20

// blockHash is what the blocks of a large shard are hashed with, which nobody but this process sees.
const blockHash = manifest.BLAKE3

// fill reads a unit of s into buf, which has its size, and verifies it there. When it fails nothing in buf is worth anything.
func (f *File) fill(s *shard, unit span, until int64, buf []byte) error {
	s.mu.Lock()
	kept := s.kept
	s.mu.Unlock()
	if kept > 0 {
		return f.hashed(unit, f.spool.section(kept-1+unit.start-s.start, unit.size()), buf)
	}
	source, err := f.openStream(unit.start, unit.end, until)
	if err != nil {
		return f.named(err)
	}
	if err := f.hashed(unit, source, buf); err != nil {
		source.close()
		return err
	}
	f.putStream(source)
	if f.opts.Spool == SpoolAll && unit == s.span {
		return f.keep(s, buf)
	}
	return nil
}

// hashed reads buf full from r and compares its digest with that of unit.
func (f *File) hashed(unit span, r io.Reader, buf []byte) error {
	h := newAside(unit.hashType().New())
	read, err := 0, error(nil)
	for read < len(buf) && err == nil {
		part := buf[read:min(len(buf), read+piece)]
		if err = f.full(unit, r, part); err == nil {
			h.write(part)
			read += len(part)
		}
	}
	got := h.sum(unit.digest.Algorithm())
	if err != nil {
		return err
	}
	return f.compare(unit, got)
}

// full reads buf full. A source that ends too early does not have what was expected.
func (f *File) full(unit span, r io.Reader, buf []byte) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	_, err := io.ReadFull(r, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &MismatchError{f.name, unit.start, unit.end, "the source ends before"}
	}
	return f.named(err)
}

func (f *File) compare(unit span, got digest.Digest) error {
	if got != unit.digest {
		return &MismatchError{f.name, unit.start, unit.end, fmt.Sprintf("digest %s instead of %s", got, unit.digest)}
	}
	return nil
}

func (f *File) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reader: %s: %w", f.name, err)
}

// learn reads a large shard once and verifies it, so that the digests of its blocks are known. Who needs the same shard waits.
func (f *File) learn(s *shard, until int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks != nil {
		return nil
	}
	if f.opts.Spool == SpoolNothing {
		until = s.end // what comes next are the blocks, from the beginning
	}
	source, err := f.openStream(s.start, s.end, until)
	if err != nil {
		return f.named(err)
	}
	blocks, kept, err := f.learnFrom(s, source)
	if err != nil {
		source.close()
		return err
	}
	f.putStream(source)
	s.blocks, s.kept = blocks, kept
	return nil
}

// learnFrom reads the blocks of a large shard, into the spool where there is one.
func (f *File) learnFrom(s *shard, source io.Reader) (blocks []span, kept int64, err error) {
	if f.opts.Spool == SpoolNothing {
		blocks, err = f.readBlocks(s, source, func([]byte, int64) error { return nil })
		return blocks, 0, err
	}
	at, err := f.spool.reserve(s.size())
	if err != nil {
		return nil, 0, err
	}
	blocks, err = f.readBlocks(s, source, func(p []byte, off int64) error { return f.spool.write(p, at+off) })
	return blocks, at + 1, err
}

// readBlocks returns the digests of the blocks of s when the digest of s is right. The whole is hashed while the block is, and while the next block is read.
func (f *File) readBlocks(s *shard, source io.Reader, each func(p []byte, off int64) error) ([]span, error) {
	whole := newAside(s.hashType().New())
	blocks, err := f.hashBlocks(s, source, whole, each)
	got := whole.sum(s.digest.Algorithm())
	if err != nil {
		return nil, err
	}
	return blocks, f.compare(s.span, got)
}

func (f *File) hashBlocks(s *shard, source io.Reader, whole *aside, each func(p []byte, off int64) error) ([]span, error) {
	var buffers [2][]byte
	for i := range buffers {
		buffers[i] = make([]byte, f.opts.Block)
	}
	var blocks []span
	for start := s.start; start < s.end; start += f.opts.Block {
		unit := span{start: start, end: min(start+f.opts.Block, s.end)}
		buf := buffers[len(blocks)%2][:unit.size()]
		if err := f.full(s.span, source, buf); err != nil {
			return nil, err
		}
		whole.wait() // for the other buffer
		whole.write(buf)
		h := blockHash.New()
		_, _ = h.Write(buf) // a hash never fails to write
		unit.digest = digest.NewDigest(digest.Algorithm(blockHash), h)
		blocks = append(blocks, unit)
		if err := each(buf, start-s.start); err != nil {
			return nil, err
		}
	}
	return blocks, nil
}

// keep writes a shard that was verified into the spool.
func (f *File) keep(s *shard, buf []byte) error {
	at, err := f.spool.reserve(s.size())
	if err == nil {
		err = f.spool.write(buf, at)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = at + 1
	return nil
}

// aside hashes in a goroutine of its own, so that hashing and reading overlap.
type aside struct {
	in      chan []byte
	pending sync.WaitGroup
	h       hash.Hash
}

func newAside(h hash.Hash) *aside {
	a := &aside{in: make(chan []byte, 16), h: h}
	go func() {
		for p := range a.in {
			_, _ = a.h.Write(p)
			a.pending.Done()
		}
	}()
	return a
}

// write hands over p, which must stay as it is until wait or sum returns.
func (a *aside) write(p []byte) {
	a.pending.Add(1)
	a.in <- p
}

// wait returns when all that was written is hashed.
func (a *aside) wait() { a.pending.Wait() }

// sum ends the hash.
func (a *aside) sum(algorithm digest.Algorithm) digest.Digest {
	close(a.in)
	a.wait()
	return digest.NewDigest(algorithm, a.h)
}

// stream is a source that is open from at to end.
type stream struct {
	rc      io.ReadCloser
	at, end int64
}

func (s *stream) Read(p []byte) (int, error) {
	if left := s.end - s.at; int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := s.rc.Read(p)
	s.at += int64(n)
	return n, err
}

func (s *stream) close() {
	if s != nil {
		_ = s.rc.Close()
	}
}

// openStream opens the source at start, to until where that is behind end, so that one request is enough for a file that is read in its order.
func (f *File) openStream(start, end, until int64) (*stream, error) {
	f.mu.Lock()
	s := f.stream
	if s != nil && s.at == start && s.end >= end {
		f.stream = nil
		f.mu.Unlock()
		return s, nil
	}
	f.mu.Unlock()
	until = max(until, end)
	rc, err := f.source.Range(f.ctx, start, until-start)
	if err != nil {
		return nil, err
	}
	return &stream{rc, start, until}, nil
}

// putStream keeps what is left of a stream for the next unit.
func (f *File) putStream(s *stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.at >= s.end || f.closed {
		s.close()
		return
	}
	f.stream.close()
	f.stream = s
}
