//go:build !purego

package hashing

import "golang.org/x/sys/cpu"

//go:generate go run gen.go

//go:noescape
func blocks16(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int)

//go:noescape
func blocks8(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int)

// schedules are those of 16 blocks by round, then by block, with room behind the last for who reads 16 bytes there.
type schedules [64*16 + 3]uint32

//go:noescape
func schedules16(words *schedules, data *byte)

//go:noescape
func rounds16(state *[8]uint32, words *schedules)

//go:noescape
func generalRounds16(state *[8]uint32, words *schedules)

// singles are what this machine can run for one message.
func singles() []singleKernel {
	if !cpu.X86.HasAVX512F || !cpu.X86.HasAVX512BW || !cpu.X86.HasBMI2 {
		return nil
	}
	list := []singleKernel{{Ahead16G, 16, ahead(generalRounds16)}}
	if cpu.X86.HasAVX512VL {
		list = append(list, singleKernel{Ahead16, 16, ahead(rounds16)})
	}
	return list
}

// ahead makes the schedules of 16 blocks at a time, and does their rounds.
func ahead(rounds func(*[8]uint32, *schedules)) func(state *[8]uint32, blocks []byte) {
	return func(state *[8]uint32, blocks []byte) {
		var words schedules
		for ; len(blocks) > 0; blocks = blocks[16*blockSize:] {
			schedules16(&words, &blocks[0])
			rounds(state, &words)
		}
	}
}

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
