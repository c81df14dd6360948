package manifest

import (
	"io/fs"
	"syscall"
)

// inode is what the kernel knows of a file besides size and modification time. The change
// time cannot be set back by the file's owner.
type inode struct {
	dev, ino  uint64
	ctimeSec  int64
	ctimeNsec int64
}

func inodeState(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	return inode{uint64(st.Dev), st.Ino, int64(st.Ctim.Sec), int64(st.Ctim.Nsec)} //nolint:unconvert // other widths on other architectures
}
