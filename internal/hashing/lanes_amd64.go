//go:build !purego

package hashing

import "golang.org/x/sys/cpu"

//go:generate go run gen.go

//go:noescape
func blocks16(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int)

//go:noescape
func blocks8(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int)

// kernels are what this machine can run, best first. x/sys/cpu asks the processor and whether the system saves the registers.
func kernels() []kernel {
	var list []kernel
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW {
		list = append(list, kernel{Lanes16, 16, blocks16})
	}
	if cpu.X86.HasAVX2 {
		list = append(list, kernel{Lanes8, 8, blocks8})
	}
	return list
}
