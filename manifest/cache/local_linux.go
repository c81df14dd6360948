package cache

import (
	"slices"

	"golang.org/x/sys/unix"
)

// bcachefs is its magic number, which package unix does not have.
const bcachefs = 0xca451a4e

// isLocal reports whether the file system below dir is one whose inodes and change times can be relied on.
func isLocal(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && slices.Contains([]uint32{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		zfs, bcachefs, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC}, uint32(st.Type))
}

// zfs is its magic number, which package unix does not have.
const zfs = 0x2fc12fc1
