//go:build !amd64 || purego

package hashing

// single is none: the assembly is for amd64.
func single() *singleKernel { return nil }

// kernels are none: the assembly is for amd64.
func kernels() []kernel { return nil }
