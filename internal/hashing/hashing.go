// Package hashing computes SHA-256 of many streams as fast as the machine can.
//
// SHA-256 cannot be cut into parts: each block of 64 bytes needs the result of the one before. What can be done at the same time is
// more than one stream. So an Engine has two ways, and picks for each piece of a stream, which may go from one to the other:
//
//   - alone: one core hashes the piece. crypto/sha256 does, which uses the SHA instructions of amd64 and arm64 where there are any; without them, and with
//     AVX-512, one core makes the message schedules of 16 blocks of the stream at a time, before it does their rounds.
//   - in lanes: one core hashes 16 streams (AVX-512) or 8 (AVX2) at a time, one in each lane of the vector registers. A lane that is
//     empty costs as much as one that is not, so it pays with many streams only.
//
// All are checked against crypto/sha256 and timed when an engine starts, which takes a millisecond; what gives a wrong digest is
// not used. Then lanes are taken whenever so many streams are under way that they are the faster way. See docs/hashing.md for what was
// measured.
//
// An engine has no goroutines when it has no work, and its buffers are bounded (see Engine.AtOnce).
package hashing

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Names of engines.
const (
	Auto     = "auto"     // what is best for the machine and for the work
	Go       = "go"       // crypto/sha256 on every core
	Ahead16  = "ahead16"  // one core a stream, with the message schedules of 16 blocks made ahead (AVX-512), whatever the timing says
	Ahead16G = "ahead16g" // the same with all rounds in general registers, none in vector registers
	Lanes16  = "lanes16"  // 16 lanes (AVX-512), whatever the timing says
	Lanes8   = "lanes8"   // 8 lanes (AVX2), whatever the timing says
)

var names = []string{Auto, Go, Ahead16, Ahead16G, Lanes16, Lanes8}

// Errors of New.
var (
	ErrUnknown     = errors.New("no such hashing engine")
	ErrUnsupported = errors.New("this machine cannot run the hashing engine")
)

const (
	// chunk is how many bytes of a stream are read and hashed at a time. Two chunks of each stream are in memory.
	chunk = 256 << 10
	// smallChunk is for streams that are known to be short.
	smallChunk = 16 << 10
	// largeChunk is for a long stream that has a core for itself: a chunk goes from the core that reads to the one that hashes, and both wait a little for that.
	largeChunk = 1 << 20
	// fewStreams may have large chunks.
	fewStreams = 2
	// maxMemory bounds the chunks of all streams.
	maxMemory = 64 << 20
	// patience is how long a chunk waits for others to share the lanes with before it is hashed without them.
	patience = 2 * time.Millisecond
)

// Engine hashes streams. Its methods may be called from several goroutines.
type Engine struct {
	kernel   *kernel        // nil for alone only
	single   *singleKernel  // how streams are hashed alone; nil for crypto/sha256 only
	singles  []singleKernel // those to choose from
	cores    int
	forced   bool     // the lanes are taken for any number of streams
	rejected []string // what failed its self-check
	// Bytes a second, of one core.
	aloneRate, lanesRate float64

	mu       sync.Mutex
	queue    []*stream // what waits for lanes
	active   int       // streams under way
	expected int       // streams that are said to be under way, or will be in a moment
	waiting  int       // those under way that wait until a chunk is hashed
	workers  int       // goroutines that run the lanes
}

// New starts the engine of a name: it is checked and timed. The error wraps ErrUnknown or ErrUnsupported.
func New(name string) (*Engine, error) {
	if !slices.Contains(names, cmp.Or(name, Auto)) {
		return nil, fmt.Errorf("%w: %q, want %s", ErrUnknown, name, strings.Join(names, ", "))
	}
	e := &Engine{cores: cores()}
	switch name {
	case Go:
	case Ahead16, Ahead16G:
		e.startSingles(slices.DeleteFunc(singles(), func(k singleKernel) bool { return k.name != name }))
		if len(e.singles) > 0 {
			e.single = &e.singles[0]
		}
	case Lanes16, Lanes8:
		e.forced = true
		e.startLanes(slices.DeleteFunc(kernels(), func(k kernel) bool { return k.name != name }))
	default:
		e.startSingles(singles())
		e.startLanes(kernels())
		e.time()
	}
	if strings.HasPrefix(name, Ahead16) && e.single == nil || e.forced && e.kernel == nil {
		return nil, e.unsupported(name)
	}
	return e, nil
}

func (e *Engine) unsupported(name string) error {
	why := "the processor, or this build of mlseal, has not what it needs"
	if len(e.rejected) > 0 {
		why = strings.Join(e.rejected, "; ")
	}
	return fmt.Errorf("%w: %s: %s", ErrUnsupported, name, why)
}

// startLanes takes the first kernel that gives right digests.
func (e *Engine) startLanes(list []kernel) {
	for i := range list {
		if err := check(&list[i]); err != nil {
			e.rejected = append(e.rejected, err.Error())
			continue
		}
		e.kernel = &list[i]
		return
	}
}

// startSingles keeps the kernels for one stream that give right digests.
func (e *Engine) startSingles(list []singleKernel) {
	for _, k := range list {
		if err := checkSingle(&k); err != nil {
			e.rejected = append(e.rejected, err.Error())
			continue
		}
		e.singles = append(e.singles, k)
	}
}

// String says how the engine hashes, and which lanes it does not trust.
func (e *Engine) String() string {
	if len(e.rejected) > 0 {
		return e.way() + " (" + strings.Join(e.rejected, "; ") + ")"
	}
	return e.way()
}

func (e *Engine) way() string {
	alone := Go
	if e.single != nil {
		alone = e.single.name
	}
	switch {
	case e.kernel == nil:
		return alone
	case e.forced:
		return e.kernel.name
	case e.lanesFrom() == 0:
		return fmt.Sprintf("%s (%s is not faster here)", alone, e.kernel.name)
	}
	return fmt.Sprintf("%s, %s from %d streams on", alone, e.kernel.name, e.lanesFrom())
}

// lanesFrom is the number of streams from which on lanes are taken; 0 for never.
func (e *Engine) lanesFrom() int {
	if e.kernel == nil {
		return 0
	}
	for n := 1; n <= e.cores*e.kernel.lanes; n++ {
		if e.takesLanes(n) {
			return n
		}
	}
	return 0
}

// takesLanes reports whether n streams are hashed in lanes. Cores that lanes leave free can read meanwhile, so that lanes are taken
// also when they are a little slower.
func (e *Engine) takesLanes(n int) bool {
	const worth = 1.25
	if e.kernel == nil || e.forced {
		return e.kernel != nil
	}
	if n < 2 {
		return false // one lane is slower than crypto/sha256 on every processor, also where the timing went wrong
	}
	full := e.workersFor(n) * e.kernel.lanes
	lanes := e.lanesRate * float64(min(n, full)) / float64(e.kernel.lanes)
	return lanes*worth >= e.aloneRate*float64(min(n, e.cores))
}

// workersFor is how many cores run lanes for n streams: as many as can be filled.
func (e *Engine) workersFor(n int) int { return max(1, min(n/e.kernel.lanes, e.cores)) }

// AtOnce is how many of n streams are best under way at the same time. It bounds the memory: each of them has two buffers.
func (e *Engine) AtOnce(n int) int {
	most := e.cores
	if e.kernel != nil && e.takesLanes(e.cores*e.kernel.lanes) {
		// A few more than there are lanes: some of them open and close their files.
		most = e.cores * e.kernel.lanes * 5 / 4
	}
	return max(1, min(n, most, maxMemory/(2*chunk)))
}

// Expected is what Expect returns. Its methods may be called from several goroutines.
type Expected struct {
	e             *Engine
	left, counted int // of the engine's lock
}

// Expect says that n streams will be hashed, atOnce of them at the same time. Short streams end before others have begun, so that without
// being told the engine would take them for few. End is to be called when all is over.
func (e *Engine) Expect(n, atOnce int) *Expected {
	x := &Expected{e: e, left: n}
	e.mu.Lock()
	defer e.mu.Unlock()
	x.counted = min(n, atOnce)
	e.expected += x.counted
	return x
}

// One says that one of the streams has ended, or does not come.
func (x *Expected) One() {
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	x.left--
	x.drop(x.left)
}

// End says that no more streams come.
func (x *Expected) End() {
	x.e.mu.Lock()
	defer x.e.mu.Unlock()
	x.drop(0)
}

// drop leaves at most so many expected. The lock is held.
func (x *Expected) drop(left int) {
	if over := x.counted - max(left, 0); over > 0 {
		x.counted -= over
		x.e.expected -= over
		x.e.dispatch(false)
	}
}

// Sum reads r to its end and returns its SHA-256 and the number of bytes. It reads on while it hashes. size is about how much there is,
// 0 when that is not known. also, which may be nil, is called with each piece after it was read, in order, while the ones before it are
// hashed; it must not keep the piece, and its error ends Sum, as the end of ctx does.
func (e *Engine) Sum(ctx context.Context, r io.Reader, size int64, also func(p []byte) error) (sum [sha256.Size]byte, n int64, err error) {
	e.begin()
	defer e.end()
	s := stream{e: e, state: initial}
	pool := e.poolFor(size)
	var held [2]*[]byte
	defer func() {
		s.wait() // the buffers are in use until then
		s.release()
		for _, buf := range held {
			if buf != nil {
				pool.Put(buf)
			}
		}
	}()
	for i := 0; ; i = 1 - i {
		if held[i] == nil {
			held[i] = pool.Get().(*[]byte)
		}
		room := *held[i]
		filled, last, err := fill(ctx, r, room[:len(room)-spare], also)
		n += int64(filled)
		if err != nil {
			return sum, n, err
		}
		data := room[:filled]
		if last {
			data = pad(data, n)
		}
		s.hash(data, last)
		if last {
			s.wait()
			return encode(&s.state), n, s.err
		}
	}
}

// spare is the room for the padding behind the last bytes.
const spare = 2 * blockSize

// fill reads until p is full or r ends.
func fill(ctx context.Context, r io.Reader, p []byte, also func(p []byte) error) (n int, last bool, err error) {
	for n < len(p) {
		if err := ctx.Err(); err != nil {
			return n, false, err
		}
		m, err := r.Read(p[n:])
		if m > 0 && also != nil {
			if aerr := also(p[n : n+m]); aerr != nil {
				return n + m, false, aerr
			}
		}
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

var (
	chunks      = sync.Pool{New: func() any { b := make([]byte, chunk+spare); return &b }}
	smallChunks = sync.Pool{New: func() any { b := make([]byte, smallChunk+spare); return &b }}
	largeChunks = sync.Pool{New: func() any { b := make([]byte, largeChunk+spare); return &b }}
)

// poolFor has the chunks for a stream of about that size, 0 when it is not known, which has begun.
func (e *Engine) poolFor(size int64) *sync.Pool {
	if size > 0 && size < smallChunk {
		return &smallChunks
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if size >= 4*largeChunk && e.streams() <= fewStreams {
		return &largeChunks
	}
	return &chunks
}

var (
	chosen     = Auto
	chosenLock sync.Mutex
	started    *Engine
)

// Use says which engine Default is. The error wraps ErrUnknown or ErrUnsupported.
func Use(name string) error {
	e, err := New(name)
	if err != nil {
		return err
	}
	chosenLock.Lock()
	defer chosenLock.Unlock()
	chosen, started = name, e
	return nil
}

// Default is the process's engine. It is started when it is first asked for.
func Default() *Engine {
	chosenLock.Lock()
	defer chosenLock.Unlock()
	if started == nil {
		started, _ = New(chosen) // Auto is known and supported everywhere
	}
	return started
}
