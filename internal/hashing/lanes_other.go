//go:build !amd64 || purego

package hashing

// kernels are none: the assembly is for amd64.
func kernels() []kernel { return nil }
