package hashing

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"time"
)

func cores() int { return runtime.GOMAXPROCS(0) }

// stream is one message while it is hashed, chunk by chunk. Two chunks are with the engine at most: one that is hashed, and the next one,
// so that what hashes goes from one to the other by itself, and the stream reads on when it gets to it.
type stream struct {
	e     *Engine
	state [8]uint32
	err   error

	// Of the engine's lock.
	data, next []byte // whole blocks that are left, and the next ones; nil for none
	busy       bool   // somebody hashes data, or will: it stands in the queue
	awaited    bool   // the stream waits in await, until the engine tells waiter.freed
	waiter     *waiter
}

// waiter is what a stream waits with; nil before it has waited.
type waiter struct {
	freed chan struct{} // empty between one await and the next
	timer *time.Timer
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{freed: make(chan struct{}, 1), timer: time.NewTimer(patience)}
	w.timer.Stop()
	return w
}}

// release gives back what the stream waited with.
func (s *stream) release() {
	if s.waiter != nil {
		waiters.Put(s.waiter)
		s.waiter = nil
	}
}

// hash gives whole blocks to the engine, behind those before. They are in its hands until the next call, or wait, has returned.
func (s *stream) hash(data []byte, last bool) {
	if len(data) == 0 {
		return
	}
	if s.give(data, last) {
		s.alone(data)
		return
	}
	s.await(func() bool { return s.next == nil })
}

// give hands data to what hashes the stream already, or else begins that. It reports whether the stream is better hashed here and now: nothing
// is left that could be read meanwhile.
func (s *stream) give(data []byte, last bool) (here bool) {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	lanes := e.takesLanes(e.streams())
	switch {
	case s.busy:
		s.next = data
	case last && (!lanes || e.isTrifle(len(data))):
		return true
	case lanes:
		s.data, s.busy = data, true
		e.queue = append(e.queue, s)
		e.dispatch(false)
	default:
		s.data, s.busy = data, true
		go s.run()
	}
	return false
}

// handover is about how long one core is busy with handing a chunk to the lanes, and with being told that it is hashed.
const handover = 12 * time.Microsecond

// isTrifle reports whether so many bytes are hashed alone sooner than they are handed to the lanes.
func (e *Engine) isTrifle(bytes int) bool {
	return !e.forced && float64(bytes) < e.aloneRate*handover.Seconds()
}

// wait returns when all that was given is hashed.
func (s *stream) wait() { s.await(func() bool { return !s.busy }) }

// await returns when until is true, which is asked under the lock and whenever a chunk of the stream has ended.
func (s *stream) await(until func() bool) {
	if s.reached(until) {
		return
	}
	w := s.waiter
	w.timer.Reset(patience)
	defer w.timer.Stop()
	for {
		select {
		case <-w.freed:
			if s.reached(until) {
				return
			}
		case <-w.timer.C:
			// The streams that it would share the lanes with are slow to read.
			s.e.nudge()
			w.timer.Reset(patience)
		}
	}
}

// reached reports until; when that is false, the waiter is told once something has changed.
func (s *stream) reached(until func() bool) bool {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if until() {
		return true
	}
	if s.waiter == nil {
		s.waiter = waiters.Get().(*waiter)
	}
	s.awaited = true
	e.waiting++
	e.dispatch(false)
	return false
}

// advance goes on to the next chunk when data is hashed, and reports whether there is one. The lock is held.
func (s *stream) advance() bool {
	s.data, s.next = s.next, nil
	s.busy = s.data != nil
	if s.awaited {
		s.awaited = false
		s.e.waiting--
		s.waiter.freed <- struct{}{}
	}
	return s.busy
}

// run hashes the stream alone for as long as that is best and there are chunks.
func (s *stream) run() {
	for more := true; more; more = s.staysAlone() {
		s.alone(s.data)
	}
}

func (s *stream) staysAlone() bool {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if !s.advance() {
		return false
	}
	if e.takesLanes(e.streams()) {
		e.queue = append(e.queue, s)
		e.dispatch(false)
		return false
	}
	return true
}

// alone hashes blocks on this core, with crypto/sha256 where that is the fastest.
func (s *stream) alone(data []byte) {
	data = s.e.single.hash(&s.state, data)
	if len(data) == 0 {
		return
	}
	if err := alone(sha256.New(), &s.state, data); err != nil && s.err == nil {
		s.err = err
	}
}

func (e *Engine) begin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active++
}

func (e *Engine) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active--
	e.dispatch(false)
}

// streams is how many there are, or will be in a moment. The lock is held.
func (e *Engine) streams() int { return max(e.active, e.expected) }

// nudge has pieces hashed that have waited long.
func (e *Engine) nudge() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatch(true)
}

// enough is how many streams make it worth to run the lanes: most of what can come.
func (e *Engine) enough() int { return max(1, min(e.kernel.lanes, e.streams())*3/4) }

// dispatch starts a goroutine for the lanes when there is enough in the queue to fill them, or when nothing more will come: all
// streams wait, or the time is over. The lock is held.
func (e *Engine) dispatch(now bool) {
	if len(e.queue) == 0 {
		return
	}
	all := e.waiting >= e.streams()
	switch {
	case len(e.queue) >= e.enough() && e.workers < e.workersFor(e.streams()):
	case (all || now) && e.workers == 0:
	default:
		return
	}
	e.workers++
	go e.work()
}

// lanes is what one goroutine works on.
type lanes struct {
	streams [maxLanes]*stream
	loaded  int
	state   [8][maxLanes]uint32
	data    [maxLanes]*byte
}

// stride bounds how many blocks are hashed before free lanes are filled again.
const stride = (64 << 10) / blockSize

// work runs the lanes until there is too little to do. It ends by itself and is started again by dispatch: so it never waits, and never
// holds a core that a reader needs.
func (e *Engine) work() {
	w := &lanes{}
	for first := true; e.load(w, first); first = false {
		if !e.forced && float64(w.loaded)/float64(e.kernel.lanes)*e.lanesRate < e.aloneRate {
			w.hand()
			continue
		}
		w.run(e.kernel)
		e.unload(w)
	}
}

// load fills the free lanes. Without enough for them it gives back what there is, which is hashed later, and reports false.
func (e *Engine) load(w *lanes, first bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := 0; l < e.kernel.lanes && len(e.queue) > 0; l++ {
		if w.streams[l] == nil {
			w.put(l, e.queue[0])
			e.queue[0] = nil
			e.queue = e.queue[1:]
		}
	}
	if w.loaded > 0 && (first || w.loaded >= e.enough() || e.waiting >= e.streams()) {
		return true
	}
	for l, s := range w.streams {
		if s != nil {
			w.take(l)
			e.queue = append(e.queue, s)
		}
	}
	e.workers--
	e.dispatch(false)
	return false
}

func (w *lanes) put(l int, s *stream) {
	w.streams[l] = s
	w.loaded++
	for i, word := range s.state {
		w.state[i][l] = word
	}
}

func (w *lanes) take(l int) {
	s := w.streams[l]
	w.streams[l] = nil
	w.loaded--
	for i := range s.state {
		s.state[i] = w.state[i][l]
	}
}

// run hashes as many blocks as all loaded lanes have.
func (w *lanes) run(k *kernel) {
	n := stride
	var some *byte
	for l, s := range w.streams {
		if s != nil {
			n = min(n, len(s.data)/blockSize)
			some = &s.data[0]
			w.data[l] = some
		}
	}
	for l, s := range w.streams {
		if s == nil {
			w.data[l] = some // has enough to read; what comes out counts for nothing
		}
	}
	k.blocks(&w.state, &w.data, n)
	for _, s := range w.streams {
		if s != nil {
			s.data = s.data[n*blockSize:]
		}
	}
}

// hand has the few streams that there are hashed alone.
func (w *lanes) hand() {
	for l, s := range w.streams {
		if s != nil {
			w.take(l)
			go s.run()
		}
	}
}

// unload goes on to the next chunk of what is done, or takes it out.
func (e *Engine) unload(w *lanes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l, s := range w.streams {
		if s == nil || len(s.data) > 0 {
			continue
		}
		if s.next == nil {
			w.take(l)
		}
		s.advance()
	}
}
