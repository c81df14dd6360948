// Package firstgc puts off the first garbage collection. A command that decides about a small artifact lives for some
// milliseconds; what it and the packages of others make in them is a little more than the 4 MiB at which Go collects for the first time, and
// going through it took a third of the command's time to give nothing back. The collector begins at 16 MiB instead; from then on it
// keeps the usual pace, so that what runs for long takes no more memory than before.
//
// Main imports the package for its effect. It must come early, before most packages of others are
// initialized, which the order that the language prescribes grants to a package that imports next to nothing: "sort all packages by import path;
// … initialize the first package in the list that has all its imports initialized" (The Go Programming Language Specification, Program initialization).
package firstgc

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	usualPercent = 100
	// firstPercent is of the 4 MiB that the runtime takes for the least size of a heap.
	firstPercent = 400
)

func init() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return // the user has said how memory and time are to be weighed
	}
	putOff()
}

func putOff() {
	debug.SetGCPercent(firstPercent)
	// Nothing refers to what has this finalizer, so the first collection calls it.
	runtime.SetFinalizer(new([64]byte), func(*[64]byte) { debug.SetGCPercent(usualPercent) })
}
