//go:build !linux

package manifest

import "io/fs"

// adviseSequential does nothing: the system finds out by itself.
func adviseSequential(fs.File, int64) {}
