//go:build !linux && !darwin

package filestate

import "os"

// There are no change times.
func showsWrites(*os.File) bool { return false }
