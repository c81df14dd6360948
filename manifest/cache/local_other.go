//go:build !linux && !darwin

package cache

// volumeOf knows none: there are no change times here to rely on.
func volumeOf(string) (id [8]byte, ok bool) { return id, false }
