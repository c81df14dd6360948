package filestate

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// bcachefs is its magic number, which package unix does not have.
const bcachefs = 0xca451a4e

// reliable are the local file systems that change a file's change time with every write. tmpfs and overlayfs are not: on tmpfs a write through a memory mapping need not change
// the times, on overlayfs not every one does, and it grants leases on files that are mapped to be written to. F2FS has no
// identifier of its own to tell two of them apart (manifest/cache). ZFS was not tried.
var reliable = []uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, bcachefs}

// Reliable reports whether the file system that st tells of (statfs(2)) is a local one that is known to change a file's change time with every write.
func Reliable(st *unix.Statfs_t) bool { return slices.Contains(reliable, uint32(st.Type)) }

func showsWrites(f *os.File) bool {
	return onReliable(f, func(fd int) bool {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
			return false
		}
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
		return err == nil
	})
}
