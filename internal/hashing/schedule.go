package hashing

import (
	"crypto/sha256"
	"runtime"
	"time"
)

func cores() int { return runtime.GOMAXPROCS(0) }

// stream is one message while it is hashed, piece by piece.
type stream struct {
	e     *Engine
	state [8]uint32
	piece piece
	busy  bool // the piece is not done
	err   error
}

// piece is some blocks of a stream that wait for being hashed.
type piece struct {
	s    *stream
	data []byte // whole blocks that are left
	// Of the engine's lock: ended says that it is hashed, awaited that its stream waits for that.
	ended, awaited bool
	done           chan struct{} // told when an awaited piece has ended
}

// hash begins to hash whole blocks, behind those that were given before. They must not be altered before the next call or wait.
func (s *stream) hash(data []byte, last bool) {
	s.wait()
	if s.err != nil || len(data) == 0 {
		return
	}
	lanes := s.e.submitsTo()
	if !lanes && last {
		s.alone(data) // nothing is left that could be read meanwhile
		return
	}
	s.piece = piece{s: s, data: data, done: s.piece.done}
	s.busy = true
	if lanes {
		s.e.submit(&s.piece)
		return
	}
	go s.piece.alone()
}

func (s *stream) alone(data []byte) {
	if err := alone(sha256.New(), &s.state, data); err != nil && s.err == nil {
		s.err = err
	}
}

func (p *piece) alone() {
	p.s.alone(p.data)
	p.s.e.mu.Lock()
	defer p.s.e.mu.Unlock()
	p.s.e.ends(p)
}

// wait returns when all that was given is hashed.
func (s *stream) wait() {
	if !s.busy {
		return
	}
	s.busy = false
	if s.e.awaits(&s.piece) {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-s.piece.done:
			return
		case <-timer.C:
			// The streams that it would share the lanes with are slow to read.
			s.e.nudge()
			timer.Reset(patience)
		}
	}
}

// awaits reports whether a piece has ended; otherwise its done is told when it does.
func (e *Engine) awaits(p *piece) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p.ended {
		return true
	}
	if p.done == nil {
		p.done = make(chan struct{}, 1)
	}
	p.awaited = true
	e.waiting++
	e.dispatch(false)
	return false
}

// ends says that a piece is hashed. The lock is held.
func (e *Engine) ends(p *piece) {
	p.ended = true
	if p.awaited {
		e.waiting--
		p.done <- struct{}{}
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

// nudge has pieces hashed that have waited long.
func (e *Engine) nudge() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatch(true)
}

func (e *Engine) submitsTo() (lanes bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.takesLanes(e.active)
}

func (e *Engine) submit(p *piece) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, p)
	e.dispatch(false)
}

// enough is how many pieces make it worth to run the lanes: most of what can come.
func (e *Engine) enough() int { return max(1, min(e.kernel.lanes, e.active)*3/4) }

// dispatch starts a goroutine for the lanes when there is enough in the queue to fill them, or when nothing more will come: all
// streams wait, or the time is over. The lock is held.
func (e *Engine) dispatch(now bool) {
	if len(e.queue) == 0 {
		return
	}
	all := e.waiting >= e.active
	switch {
	case len(e.queue) >= e.enough() && e.workers < e.workersFor(e.active):
	case (all || now) && e.workers == 0:
	default:
		return
	}
	e.workers++
	go e.work()
}

// lanes is what one goroutine works on.
type lanes struct {
	pieces [maxLanes]*piece
	loaded int
	state  [8][maxLanes]uint32
	data   [maxLanes]*byte
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
		if w.pieces[l] == nil {
			w.put(l, e.queue[0])
			e.queue[0] = nil
			e.queue = e.queue[1:]
		}
	}
	if w.loaded == 0 || w.loaded < e.enough() && !first && e.waiting < e.active {
		for l, p := range w.pieces {
			if p != nil {
				w.take(l)
				e.queue = append(e.queue, p)
			}
		}
		e.workers--
		e.dispatch(false)
		return false
	}
	return true
}

func (w *lanes) put(l int, p *piece) {
	w.pieces[l] = p
	w.loaded++
	for i, word := range p.s.state {
		w.state[i][l] = word
	}
}

func (w *lanes) take(l int) {
	p := w.pieces[l]
	w.pieces[l] = nil
	w.loaded--
	for i := range p.s.state {
		p.s.state[i] = w.state[i][l]
	}
}

// run hashes as many blocks as all loaded lanes have.
func (w *lanes) run(k *kernel) {
	n := stride
	var any *byte
	for l := range k.lanes {
		if p := w.pieces[l]; p != nil {
			n = min(n, len(p.data)/blockSize)
			any = &p.data[0]
			w.data[l] = any
		}
	}
	for l := range k.lanes {
		if w.pieces[l] == nil {
			w.data[l] = any // has enough to read; what comes out counts for nothing
		}
	}
	k.blocks(&w.state, &w.data, n)
	for l := range k.lanes {
		if p := w.pieces[l]; p != nil {
			p.data = p.data[n*blockSize:]
		}
	}
}

// hand has the few pieces that there are hashed alone.
func (w *lanes) hand() {
	for l, p := range w.pieces {
		if p != nil {
			w.take(l)
			go p.alone()
		}
	}
}

// unload takes out what is done.
func (e *Engine) unload(w *lanes) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l, p := range w.pieces {
		if p != nil && len(p.data) == 0 {
			w.take(l)
			e.ends(p)
		}
	}
}
