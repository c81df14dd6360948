package cache

import (
	"encoding/binary"

	"github.com/mlseal/mlseal/internal/filestate"
	"golang.org/x/sys/unix"
)

// volumeOf names the file system below dir as it calls itself (statfs(2)); ok is false where its inodes and change times cannot be relied on.
func volumeOf(dir string) (id [8]byte, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || !filestate.Reliable(&st) {
		return id, false
	}
	binary.BigEndian.PutUint32(id[:4], uint32(st.Fsid.Val[0]))
	binary.BigEndian.PutUint32(id[4:], uint32(st.Fsid.Val[1]))
	return id, true
}
