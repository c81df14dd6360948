//go:build linux || darwin

package filestate

import (
	"io/fs"
	"os"
	"syscall"
)

func inodeOf(info fs.FileInfo) (Inode, bool) {
	switch st := sys(info).(type) {
	case *Info:
		return st.inode, true
	case *syscall.Stat_t:
		return Inode{Dev: uint64(st.Dev), Ino: st.Ino, Ctime: ctime(st)}, true //nolint:unconvert // other widths on other systems
	}
	return Inode{}, false
}

func linksOf(info fs.FileInfo) uint64 {
	switch st := sys(info).(type) {
	case *Info:
		return uint64(st.links)
	case *syscall.Stat_t:
		return uint64(st.Nlink) //nolint:unconvert // other widths on other systems
	}
	return 1
}

func isMine(info fs.FileInfo) bool {
	switch st := sys(info).(type) {
	case *Info:
		return int64(st.owner) == int64(os.Geteuid())
	case *syscall.Stat_t:
		return int64(st.Uid) == int64(os.Geteuid())
	}
	return false
}

// sys is an Info itself, or what the system said of the file.
func sys(info fs.FileInfo) any {
	if own, ok := info.(*Info); ok {
		return own
	}
	return info.Sys()
}
