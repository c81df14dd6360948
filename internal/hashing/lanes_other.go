//go:build !amd64 || purego

package hashing

// singles are none: the assembly is for amd64.
func singles() []singleKernel { return nil }

// kernels are none: the assembly is for amd64.
func kernels() []kernel { return nil }
