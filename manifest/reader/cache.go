package reader

import (
	"container/list"
	"sync"
)

// cache keeps verified units in memory, the ones that were used last. Each is loaded once at a time, whoever asks for it.
type cache struct {
	mu      sync.Mutex
	limit   int64 // bytes of units that nobody uses at the moment
	used    int64 // bytes of all units
	entries map[key]*entry
	recent  list.List // of entries, those used last in front
	spare   []byte    // the buffer of a unit that was dropped, for the next one
}

// key names a unit.
type key struct {
	file  *File
	start int64
}

// entry is a unit. Its bytes are not changed while it is acquired.
type entry struct {
	key     key
	unit    span
	bytes   []byte
	err     error
	done    chan struct{} // closed when bytes or err is there
	users   int
	element *list.Element // in recent; nil when it was dropped
}

// acquire returns a unit that load has filled, now or before. It must be released.
func (c *cache) acquire(k key, unit span, load func(buf []byte) error) (*entry, error) {
	c.mu.Lock()
	e, ok := c.entries[k]
	if ok {
		e.users++
		c.recent.MoveToFront(e.element)
		c.mu.Unlock()
		<-e.done
	} else {
		c.makeRoom(unit.size())
		e = &entry{key: k, unit: unit, done: make(chan struct{}), users: 1}
		e.element = c.recent.PushFront(e)
		c.entries[k] = e
		buf := c.takeSpare(unit.size())
		c.mu.Unlock()
		c.load(e, buf, load)
	}
	if e.err != nil {
		c.release(e)
		return nil, e.err
	}
	return e, nil
}

// load fills an entry. One that could not be filled is not kept, so that the next who asks tries again.
func (c *cache) load(e *entry, buf []byte, load func([]byte) error) {
	if buf == nil {
		buf = make([]byte, e.unit.size())
	}
	e.bytes = buf
	e.err = load(buf)
	if e.err != nil {
		c.mu.Lock()
		c.drop(e)
		c.mu.Unlock()
	}
	close(e.done)
}

// release says that the bytes of a unit are not used any more.
func (c *cache) release(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.users--
	if e.users == 0 && e.element == nil {
		c.spare = e.bytes
	}
}

// makeRoom drops what was not used for the longest time. The caller holds the lock.
func (c *cache) makeRoom(size int64) {
	for at := c.recent.Back(); at != nil && c.used+size > c.limit; {
		e := at.Value.(*entry)
		at = at.Prev()
		if e.users == 0 {
			c.drop(e)
			c.spare = e.bytes
		}
	}
	c.used += size
}

// drop takes an entry out. The caller holds the lock.
func (c *cache) drop(e *entry) {
	c.recent.Remove(e.element)
	e.element = nil
	delete(c.entries, e.key)
	c.used -= e.unit.size()
}

// takeSpare returns a buffer of the size, or nil. The caller holds the lock.
func (c *cache) takeSpare(size int64) []byte {
	if int64(cap(c.spare)) < size || int64(cap(c.spare)) > 2*size {
		return nil
	}
	buf := c.spare[:size]
	c.spare = nil
	return buf
}
