package manifest

import (
	"io/fs"
	"syscall"
)

// inode is what the kernel knows of a file besides size and modification time.
type inode struct {
	dev       int32
	ino       uint64
	ctimeSec  int64
	ctimeNsec int64
}

func inodeState(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	return inode{st.Dev, st.Ino, st.Ctimespec.Sec, st.Ctimespec.Nsec}
}
