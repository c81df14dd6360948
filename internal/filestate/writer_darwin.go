package filestate

import (
	"os"

	"golang.org/x/sys/unix"
)

// Reliable reports whether the file system that st tells of (statfs(2)) is a local one that is known to change a file's change time with every write.
func Reliable(st *unix.Statfs_t) bool {
	name := unix.ByteSliceToString(st.Fstypename[:])
	return name == "apfs" || name == "hfs"
}

func showsWrites(f *os.File) bool { return onReliable(f, func(int) bool { return true }) }
