package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestGarbageAllowed(t *testing.T) {
	for inUse, want := range map[uint64]int{0: 100, 4 << 20: 100, 12 << 20: 30, 1 << 40: 30} {
		if got := garbageAllowed(inUse); got != want {
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
	for end := time.Now().Add(10 * time.Second); calls.Load() < 3 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		runtime.GC()
	}
	if calls.Load() < 3 {
		t.Errorf("called %d times", calls.Load())
	}
}
