//go:build linux || darwin

package filestate

import (
	"os"

	"golang.org/x/sys/unix"
)

// onReliable asks more of a file that is on a file system that can be relied on; of others it is false.
func onReliable(f *os.File, more func(fd int) bool) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	shows := false
	err = raw.Control(func(fd uintptr) {
		var st unix.Statfs_t
		shows = unix.Fstatfs(int(fd), &st) == nil && Reliable(&st) && more(int(fd))
	})
	return shows && err == nil
}
