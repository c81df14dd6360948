package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How much garbage may stand beside what is in use, in percent of it, before it is collected. While little is in use, collecting would only
// cost time; the list of a large tree is in use for long, and twice its size would stay taken.
const (
	garbageOfLittle = 100
	garbageOfMuch   = 30
	muchInUse       = 12 << 20 // bytes
)

// saveMemory has garbage collected earlier once much memory is in use. Who sets GOGC or GOMEMLIMIT has decided.
func saveMemory() {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if os.Getenv(name) != "" {
			return
		}
	}
	afterCollection(func() { debug.SetGCPercent(garbageAllowed(inUse())) })
}

func garbageAllowed(inUse uint64) int {
	if inUse < muchInUse {
		return garbageOfLittle
	}
	return garbageOfMuch
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
