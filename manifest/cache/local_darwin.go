package cache

import "golang.org/x/sys/unix"

// isLocal reports whether the file system below dir is one whose inodes and change times can be relied on.
func isLocal(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	name := unix.ByteSliceToString(st.Fstypename[:])
	return name == "apfs" || name == "hfs"
}
