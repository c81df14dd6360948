package manifest

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// longFile is the size in bytes from which on the system is told how a file is read.
const longFile = 1 << 20

// adviseSequential has the kernel read farther ahead, so that a disk works while its earlier bytes are hashed.
func adviseSequential(f fs.File, size int64) {
	if file, ok := f.(*os.File); ok && size >= longFile {
		_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // advice
	}
}
