package gcroom

import (
	"runtime"
	"testing"
)

// TestMake: garbage is collected before a large piece is taken, and not before a small one, nor in a program that has not asked for it.
func TestMake(t *testing.T) {
	collections := func() uint32 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.NumForcedGC
	}
	before := collections()
	Make(LargePiece)
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections in a program that has not asked", n)
	}
	Enable()
	defer enabled.Store(false)
	Make(LargePiece - 1)
	if n := collections() - before; n != 0 {
		t.Errorf("%d collections for a small piece", n)
	}
	Make(LargePiece)
	if n := collections() - before; n != 1 {
		t.Errorf("%d collections for a large piece, want 1", n)
	}
}
