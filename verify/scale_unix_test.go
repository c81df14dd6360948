//go:build unix

package verify_test

import (
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/mlseal/mlseal/internal/testenv"
)

// TestScale: 10,000 statements and a lineage of 500 things are decided within five seconds of two processors, and 300 MB.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("signs 10,000 statements")
	}
	s := newScale(t, 10_000, 500)
	debug.FreeOSMemory()
	stop, peak := make(chan struct{}), make(chan uint64)
	go watchHeap(stop, peak)
	start, used := time.Now(), processorTime(t)
	d := s.decide(t)
	took, worked := time.Since(start), processorTime(t)-used
	close(stop)
	most := <-peak >> 20
	if d.Err() != nil || len(d.Lineage.Nodes) != s.nodes+1 || len(d.Ignored) < 6000 {
		t.Errorf("%v, %d nodes, %d statements not counted", d.Err(), len(d.Lineage.Nodes), len(d.Ignored))
	}
	t.Logf("decided in %v, with %v of processor time and a heap of at most %d MB, the statements included", took, worked, most)
	if !testenv.Race && (worked > 10*time.Second || most > 300) {
		t.Errorf("it took %v of processor time and %d MB", worked, most)
	}
}

// watchHeap sends the largest heap that it saw.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	var most uint64
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
		select {
		case <-stop:
			peak <- most
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func processorTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
