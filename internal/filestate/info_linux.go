package filestate

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// InfoOf fills in what stat said of the file name.
func InfoOf(name string, st *unix.Stat_t) Info {
	return Info{
		name: name, size: st.Size, modified: unix.TimespecToNsec(st.Mtim), mode: modeOf(st.Mode), owner: st.Uid, links: uint32(min(uint64(st.Nlink), 1<<32-1)), //nolint:unconvert // other widths on other processors
		inode: Inode{Dev: st.Dev, Ino: st.Ino, Ctime: unix.TimespecToNsec(st.Ctim)},
	}
}

// modeOf is the mode as package os has it.
func modeOf(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	switch bits & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	if bits&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if bits&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
