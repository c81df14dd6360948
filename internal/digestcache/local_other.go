//go:build !linux && !darwin

package digestcache

// isLocal is false: there are no change times here to rely on.
func isLocal(string) bool { return false }
