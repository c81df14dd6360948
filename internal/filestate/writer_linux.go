package filestate

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func noWriter(f fs.File) bool {
	file, ok := f.(*os.File)
	if !ok {
		return true
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	free := false
	err = raw.Control(func(fd uintptr) {
		if _, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK); err == nil {
			_, err = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
			free = err == nil
		}
	})
	return free && err == nil
}
