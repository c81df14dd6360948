// Package gcpace sets the pace of the garbage collector, for its effect on the program that imports it.
//
// The first collection is put off. A command that decides about a small artifact lives for some milliseconds; what it and the packages
// of others make in them is a little more than the 4 MiB at which Go collects for the first time, and going through it took a third of the
// command's time to give nothing back. The collector begins at 16 MiB instead.
//
// From then on the pace is the usual one while little is in use, and a faster one once much is: the list of a large tree is in use for long, and
// twice its size would stay taken. Who takes a large piece says so (package gcroom). Only a command imports this package.
//
// It must come early, before most packages of others are initialized, which the order that the language prescribes grants to a package that
// imports next to nothing: "sort all packages by import path; … initialize the first package in the list that has all its imports initialized"
// (The Go Programming Language Specification, Program initialization). Who sets GOGC or GOMEMLIMIT has decided: they are left alone.
package gcpace

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage may stand beside what is in use, in percent of it, before it is collected.
const (
	firstPercent  = 400 // of the 4 MiB that the runtime takes for the least size of a heap
	littlePercent = 100
	muchPercent   = 30
	muchInUse     = 12 << 20 // bytes
	veryPercent   = 20
	veryMuchInUse = 32 << 20
)

func init() {
	if Decides() {
		begin()
	}
}

// Decides reports whether the pace is set here: unless the environment has decided.
func Decides() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }

func begin() {
	debug.SetGCPercent(firstPercent)
	afterCollection(func() { debug.SetGCPercent(percentFor(inUse())) })
}

func percentFor(inUse uint64) int {
	switch {
	case inUse < muchInUse:
		return littlePercent
	case inUse < veryMuchInUse:
		return muchPercent
	}
	return veryPercent
}

// inUse is how many bytes of the heap the last collection left.
func inUse() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// afterCollection calls do after each collection: when it has found that nobody uses the mark.
func afterCollection(do func()) {
	mark := &struct{ itself any }{}
	mark.itself = make([]byte, 64) // an object of its own, not a part of a block of small ones
	runtime.AddCleanup(mark, func(struct{}) {
		do()
		afterCollection(do)
	}, struct{}{})
}
