package gcpace

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

// percent is the collector's pace now.
func percent() int {
	now := debug.SetGCPercent(littlePercent)
	debug.SetGCPercent(now)
	return now
}

// collectUntil collects garbage until done; what follows a collection runs on a goroutine of its own.
func collectUntil(done func() bool) bool {
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
		runtime.GC()
	}
	return true
}

// TestBegin: the first collection ends what put it off.
func TestBegin(t *testing.T) {
	if before := percent(); before != firstPercent && before != littlePercent {
		t.Skipf("the environment says GOGC=%d", before)
	}
	debug.SetGCPercent(firstPercent)
	if !collectUntil(func() bool { return percent() == littlePercent }) {
		t.Errorf("after collections: GOGC=%d, want %d", percent(), littlePercent)
	}
	much := make([]byte, veryMuchInUse-4<<20)
	if !collectUntil(func() bool { return percent() == muchPercent }) {
		t.Errorf("with much in use: GOGC=%d, want %d", percent(), muchPercent)
	}
	runtime.KeepAlive(much)
	much = nil
	if !collectUntil(func() bool { return percent() == littlePercent }) {
		t.Errorf("with little in use again: GOGC=%d, want %d", percent(), littlePercent)
	}
}

func TestPercentFor(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 100, 4 << 20: 100, 12 << 20: 30, 31 << 20: 30, 32 << 20: 20, 1 << 40: 20} {
		if got := percentFor(inUse); got != want {
			t.Errorf("%d bytes in use: %d %%, want %d", inUse, got, want)
		}
	}
	runtime.GC()
	if n := inUse(); n == 0 || n > 1<<34 {
		t.Errorf("%d bytes in use", n)
	}
}

func TestAfterCollection(t *testing.T) {
	var calls atomic.Int64
	afterCollection(func() { calls.Add(1) })
	if !collectUntil(func() bool { return calls.Load() >= 3 }) {
		t.Errorf("called %d times", calls.Load())
	}
}
