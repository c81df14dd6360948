package main

import (
	"os"
	"syscall"
)

// peak is a process's largest resident set in KiB.
func peak(state *os.ProcessState) int64 { return state.SysUsage().(*syscall.Rusage).Maxrss }
