//go:build linux || darwin

package filestate

import (
	"io/fs"
	"os"
	"syscall"
)

func inodeOf(info fs.FileInfo) (Inode, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Inode{}, false
	}
	return Inode{Dev: uint64(st.Dev), Ino: st.Ino, Ctime: ctime(st)}, true //nolint:unconvert // other widths on other systems
}

func linksOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // other widths on other systems
	}
	return 1
}

func isMine(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(st.Uid) == int64(os.Geteuid())
}
