package firstgc

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// percent is the collector's pace now.
func percent() int {
	now := debug.SetGCPercent(usualPercent)
	debug.SetGCPercent(now)
	return now
}

// TestPutOff: the first collection brings back the usual pace.
func TestPutOff(t *testing.T) {
	defer debug.SetGCPercent(percent())
	putOff()
	if got := percent(); got != firstPercent {
		t.Fatalf("before the first collection: GOGC=%d, want %d", got, firstPercent)
	}
	for end := time.Now().Add(10 * time.Second); percent() != usualPercent; {
		if time.Now().After(end) {
			t.Fatalf("after collections: GOGC=%d, want %d", percent(), usualPercent)
		}
		runtime.GC()
		time.Sleep(time.Millisecond) // finalizers run on a goroutine of their own
	}
}
