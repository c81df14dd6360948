package cache

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// bcachefs is its magic number, which package unix does not have.
const bcachefs = 0xca451a4e

// reliable are the file systems whose inodes and change times can be relied on, also when a file is written to through a memory mapping (see
// filestate.ShowMappedWrites). tmpfs and overlayfs are not: on tmpfs no such write changes the times, on overlayfs not every one. ZFS was not tried.
var reliable = []uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, bcachefs}

// volumeOf names the file system below dir as it calls itself (statfs(2): "a filesystem ID"); ok is false where it cannot be relied on.
func volumeOf(dir string) (id [8]byte, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || !slices.Contains(reliable, uint32(st.Type)) {
		return id, false
	}
	binary.BigEndian.PutUint32(id[:4], uint32(st.Fsid.Val[0]))
	binary.BigEndian.PutUint32(id[4:], uint32(st.Fsid.Val[1]))
	return id, true
}
