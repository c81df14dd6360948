// Package progress shows how far long work over bytes has come: bytes, rate and time left. On a terminal it is one
// line that is written anew, from one second after the start and at most five times a second; elsewhere, in a log, it is a
// line every ten seconds.
package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	patience = time.Second
	interval = 200 * time.Millisecond
	logged   = 10 * time.Second
)

// Meter counts bytes. Its methods may be called from several goroutines.
type Meter struct {
	mu      sync.Mutex
	w       io.Writer
	what    string
	total   int64
	done    int64
	started time.Time
	shown   time.Time
	lines   bool
}

// New returns a meter that writes to w. A total of 0 means that the end is not known.
func New(w io.Writer, what string, total int64) *Meter {
	return &Meter{w: w, what: what, total: total, started: time.Now()}
}

// NewLines is New for what is no terminal: it writes whole lines, the first one after ten seconds.
func NewLines(w io.Writer, what string, total int64) *Meter {
	m := New(w, what, total)
	m.lines = true
	return m
}

// Add counts n more bytes.
func (m *Meter) Add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += int64(n)
	now := time.Now()
	first, between := patience, interval
	if m.lines {
		first, between = logged, logged
	}
	if now.Sub(m.started) < first || now.Sub(m.shown) < between {
		return
	}
	m.shown = now
	if m.lines {
		_, _ = fmt.Fprintln(m.w, m.line(now.Sub(m.started)))
		return
	}
	_, _ = fmt.Fprintf(m.w, "\r\x1b[K%s", m.line(now.Sub(m.started)))
}

// SetTotal says where the end is, once that is known.
func (m *Meter) SetTotal(total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total = total
}

// Done clears the line.
func (m *Meter) Done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.shown.IsZero() && !m.lines {
		_, _ = fmt.Fprint(m.w, "\r\x1b[K")
	}
}

func (m *Meter) line(elapsed time.Duration) string {
	rate := float64(m.done) / elapsed.Seconds()
	text := fmt.Sprintf("%s %s  %s/s", m.what, Bytes(m.done), Bytes(int64(rate)))
	if m.total > 0 && rate > 0 {
		left := time.Duration(float64(m.total-m.done) / rate * float64(time.Second)).Round(time.Second)
		text = fmt.Sprintf("%s %s of %s  %s/s  %s left", m.what, Bytes(m.done), Bytes(m.total), Bytes(int64(rate)), max(left, 0))
	}
	return text
}

// Bytes writes a number of bytes with a decimal unit: 1500 is "1.5 kB".
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1000, 0
	for value >= 999.95 && unit < 4 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[unit])
}
