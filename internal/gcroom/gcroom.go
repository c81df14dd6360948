// Package gcroom makes room in memory before something large is taken at once. It does so in a program that asked for it (Enable), as the
// command does; in others, which use the packages of this module as a library, the garbage collector is theirs.
package gcroom

import (
	"runtime"
	"sync/atomic"
)

// LargePiece is from how many bytes on room is made.
const LargePiece = 4 << 20

var enabled atomic.Bool

// Enable lets Make collect garbage from now on.
func Enable() { enabled.Store(true) }

// Make collects garbage when n, the number of bytes that the caller is about to take at once, is large. The collector works beside the program: what is taken
// at once stands beside all that it would have found, as when the list of a large tree is written, signed and encoded one after the other.
func Make(n int) {
	if n >= LargePiece && enabled.Load() {
		runtime.GC()
	}
}
