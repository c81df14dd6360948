//go:build !linux && !darwin

package cache

// isLocal is false: there are no change times here to rely on.
func isLocal(string) bool { return false }
