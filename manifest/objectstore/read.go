package objectstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/mlseal/mlseal/internal/httpread"
	"github.com/mlseal/mlseal/manifest/origin"
)

// How objects are read.
const (
	// Concurrency is how many objects are well read at once: a request waits for its answer most of the time.
	Concurrency = 16
	// IdleTimeout is the time in which at least one byte of an answer must come.
	IdleTimeout = httpread.IdleTimeout
	// MaxAttempts bounds how often something is tried in a row without a byte of progress.
	MaxAttempts = httpread.MaxAttempts
	// MaxWait bounds the time between two attempts.
	MaxWait = 20 * time.Second

	pieceBytes  = 4 << 20 // of a range; a smaller object is asked for as a whole
	piecesAhead = 5       // ranges that are fetched ahead and held in memory, of all files together
	enough      = 12      // connections with which nothing more is fetched ahead: many files that are read at once need none of it
)

// file is an opened object. It is read range by range; those that come next are fetched meanwhile, as far as there is room.
type file struct {
	entry
	t       *Tree
	ctx     context.Context
	cancel  context.CancelFunc
	offset  int64 // of the next byte that Read gives
	planned int64 // end of the last range that was asked for
	bound   int64 // where reading ends: nothing behind it is fetched ahead
	now     *span
	ahead   []*span
	begun   bool   // a range was begun since the last seek
	sum     uint32 // crc32c of what was given
	summed  int64  // as long as it is offset, sum is of everything up to there
	sums    checksums
	kept    []byte // the whole of a tiny object, once it was read
	reading bool   // counted in Tree.reading
}

func (t *Tree) newFile(e entry) *file {
	f := &file{entry: e, t: t, sums: e.sums, bound: e.size}
	f.ctx, f.cancel = context.WithCancel(t.ctx)
	return f
}

// Stat implements fs.File. It says what was listed.
func (f *file) Stat() (fs.FileInfo, error) { return f.info(), nil }

// Close implements fs.File.
func (f *file) Close() error {
	f.cancel()
	f.drop()
	if f.reading {
		f.reading = false
		f.t.reading.Add(-1)
	}
	return nil
}

// drop forgets the ranges that are on their way.
func (f *file) drop() {
	for _, s := range append(f.ahead, f.now) {
		if s != nil {
			s.close()
		}
	}
	f.now, f.ahead, f.planned, f.begun = nil, nil, f.offset, false
}

// Bound says that nothing is read from end on, so that it is not fetched ahead. What is read there all the same is asked for then. A tiny object
// comes as a whole.
func (f *file) Bound(end int64) {
	if f.size >= tinyBytes {
		f.bound = min(max(end, 0), f.size)
	}
}

// Seek implements io.Seeker.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 || offset > f.size {
		return f.offset, &fs.PathError{Op: "seek", Path: f.path, Err: fs.ErrInvalid}
	}
	if offset == f.offset {
		return offset, nil
	}
	f.offset = offset
	if f.kept == nil {
		f.drop()
	}
	if offset == 0 {
		f.sum, f.summed = 0, 0
	}
	return offset, nil
}

// Read implements io.Reader. The read that would say io.EOF says origin.ErrMismatch when the bytes are not as the store states.
func (f *file) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for f.offset < f.size {
		n, err := f.read(p)
		f.add(p[:n])
		if err != nil {
			return n, f.about(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if err := f.check(); err != nil {
		return 0, f.about(err)
	}
	return 0, io.EOF
}

// about names the object that an error is about.
func (f *file) about(err error) error {
	return fmt.Errorf("objectstore: %s/%s: %w", f.t.Source, f.path, err)
}

// read gives what comes next of the range, and nothing where the range ends.
func (f *file) read(p []byte) (int, error) {
	if f.size < tinyBytes {
		return f.readKept(p)
	}
	if !f.reading {
		f.reading = true
		f.t.reading.Add(1)
	}
	if f.now == nil {
		f.next()
	}
	n, err := f.now.Read(p)
	if err == io.EOF {
		f.learn(f.now.sums)
		f.now.close()
		f.now, err = nil, nil
	}
	return n, err
}

// readKept reads a tiny object as a whole, and keeps it.
func (f *file) readKept(p []byte) (int, error) {
	if f.kept == nil {
		s := &span{t: f.t, ctx: f.ctx, object: f.object, end: f.size} // from its beginning, wherever Seek went before
		defer s.close()
		kept, err := io.ReadAll(s)
		if err != nil {
			return 0, err
		}
		f.learn(s.sums)
		f.kept = kept
	}
	return copy(p, f.kept[f.offset:]), nil
}

// add counts what was read.
func (f *file) add(p []byte) {
	if f.summed == f.offset {
		f.sum = crc32.Update(f.sum, castagnoli, p)
		f.summed += int64(len(p))
	}
	f.offset += int64(len(p))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// learn keeps what an answer said of the whole object.
func (f *file) learn(said checksums) {
	if said.sha256 != "" {
		f.sums.sha256 = said.sha256
	}
	if said.crc32c != nil {
		f.sums.crc32c = said.crc32c
	}
}

// check holds all that was read to what the store says.
func (f *file) check() error {
	if f.now != nil {
		f.learn(f.now.sums)
	}
	if f.size > pieceBytes && f.sums.none() {
		// Answers that are ranges say nothing of the whole.
		said, err := f.t.statedOf(f.ctx, f.object)
		if err != nil {
			return err
		}
		f.learn(said)
	}
	if f.sums.sha256 != "" {
		f.t.mu.Lock()
		f.t.stated[f.path] = f.sums.sha256
		f.t.mu.Unlock()
	}
	if want := f.sums.crc32c; want != nil && f.summed == f.size && *want != f.sum {
		return fmt.Errorf("%w: the store says crc32c %08x, its bytes have %08x", origin.ErrMismatch, *want, f.sum)
	}
	return nil
}

// next begins the next range, and from the second on fetches more ahead while there is room for them.
func (f *file) next() {
	if len(f.ahead) > 0 {
		f.now, f.ahead = f.ahead[0], f.ahead[1:]
	} else {
		f.now = f.span()
	}
	if !f.begun {
		f.begun = true
		return // by the second range it shows whether this one is read on, and how many files are read at once
	}
	for f.planned < f.bound && f.t.connections() < enough {
		select {
		case buf := <-f.t.buffers:
			s := f.span()
			s.fetch(buf)
			f.ahead = append(f.ahead, s)
		default:
			return
		}
	}
}

// connections is how many ranges of all files are on their way, about.
func (t *Tree) connections() int { return int(t.reading.Load()) + piecesAhead - len(t.buffers) }

// span plans the next range.
func (f *file) span() *span {
	end := f.size
	if f.planned < f.bound {
		end = f.bound
	}
	s := &span{t: f.t, ctx: f.ctx, object: f.object, offset: f.planned, end: min(f.planned+pieceBytes, end)}
	f.planned = s.end
	return s
}

// tinyBytes is the size below which an object is kept while it is open, so that it can be looked at and read again.
const tinyBytes = origin.MaxPointerBytes

// span is a range of an object, read over as many connections as it takes. Either it is read as it comes, or fetch reads it
// into memory.
type span struct {
	t      *Tree
	ctx    context.Context
	object object
	offset int64 // of the next byte that comes
	end    int64
	sums   checksums

	body   io.ReadCloser
	cancel context.CancelCauseFunc
	conn   context.Context // of the connection
	idle   *time.Timer

	fetched chan struct{} // closed when kept is complete, or err says why not; nil when it is read as it comes
	buf     []byte        // one of Tree.buffers
	kept    []byte        // what is still to be given of it
	err     error
}

// fetch reads the range into buf, in another goroutine.
func (s *span) fetch(buf []byte) {
	if buf == nil {
		buf = make([]byte, pieceBytes)
	}
	s.buf, s.fetched = buf, make(chan struct{})
	go func() {
		defer close(s.fetched)
		n, err := io.ReadFull(receiver{s}, buf[:s.end-s.offset])
		s.kept, s.err = buf[:n], err
		s.disconnect()
	}()
}

// receiver reads a range as it comes.
type receiver struct{ s *span }

func (r receiver) Read(p []byte) (int, error) { return r.s.receive(p) }

// close ends the range. Its buffer is free again.
func (s *span) close() {
	if s.fetched == nil {
		s.disconnect()
		return
	}
	<-s.fetched // soon: either it is complete, or the file's context has ended
	if s.buf != nil {
		s.t.buffers <- s.buf
		s.buf, s.kept = nil, nil
	}
}

// Read implements io.Reader.
func (s *span) Read(p []byte) (int, error) {
	if s.fetched == nil {
		return s.receive(p)
	}
	<-s.fetched
	if len(s.kept) == 0 {
		return 0, cmp.Or(s.err, io.EOF)
	}
	n := copy(p, s.kept)
	s.kept = s.kept[n:]
	return n, nil
}

// receive reads what comes next, and takes a connection that broke off up where it ended.
func (s *span) receive(p []byte) (n int, err error) {
	if s.offset >= s.end {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.end-s.offset)]
	err = s.t.retry.Do(s.ctx, func() (err error) {
		if n, err = s.readOnce(p); n > 0 {
			return nil // what went wrong behind it shows in the next read
		}
		s.disconnect()
		return err
	})
	s.offset += int64(n)
	return n, err
}

// readOnce reads from the connection that is open, or opens one. An error without a byte ends the connection.
func (s *span) readOnce(p []byte) (int, error) {
	if s.body == nil {
		if err := s.connect(); err != nil {
			return 0, err
		}
	}
	s.idle.Reset(IdleTimeout)
	n, err := s.body.Read(p)
	s.idle.Stop() // whoever reads may take its time
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the end is known, and is not here
	}
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	if err != nil && s.conn.Err() != nil {
		err = context.Cause(s.conn)
	}
	if err == nil {
		return 0, nil
	}
	return 0, httpread.Again{Err: fmt.Errorf("%w: it broke off after %d of %d bytes: %s", ErrUnavailable, s.offset, s.object.size, line(httpread.WithoutURL(err).Error()))}
}

var errIdle = fmt.Errorf("no byte came within %v", IdleTimeout)

// connect asks for what is missing of the range.
func (s *span) connect() error {
	s.conn, s.cancel = context.WithCancelCause(s.ctx)
	cancel := s.cancel
	s.idle = time.AfterFunc(IdleTimeout+AnswerTimeout, func() { cancel(errIdle) })
	a, err := s.t.store.open(s.conn, s.object, s.offset, s.end-s.offset)
	if errors.Is(err, errIdle) {
		err = httpread.Again{Err: fmt.Errorf("%w: %w", ErrUnavailable, errIdle)}
	}
	if err != nil {
		s.disconnect()
		return err
	}
	s.body = a.body
	if !a.sums.none() {
		s.sums = a.sums
	}
	return nil
}

// disconnect closes the connection, if there is one.
func (s *span) disconnect() {
	if s.idle != nil {
		s.idle.Stop()
	}
	if s.body != nil {
		_ = s.body.Close()
		s.body = nil
	}
	if s.cancel != nil {
		s.cancel(nil)
		s.cancel = nil
	}
}

// statedOf asks what the store says of an object, as patiently as its bytes are read.
func (t *Tree) statedOf(ctx context.Context, o object) (said checksums, err error) {
	err = t.retry.Do(ctx, func() (err error) {
		said, err = t.store.stated(ctx, o)
		return err
	})
	return said, err
}

var _ io.ReadSeeker = (*file)(nil)
