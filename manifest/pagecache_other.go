//go:build !linux

package manifest

import "io/fs"

// adviseSequential does nothing: the system finds out by itself.
func adviseSequential(fs.File, int64) {}

// forgetter is nil: there is no way to know what was in memory before.
func forgetter(fs.File, int64, int64) func(from, to int64) { return nil }

func machineMemory() int64 { return 0 }
