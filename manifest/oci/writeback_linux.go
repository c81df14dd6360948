package oci

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriteback asks the system to write n bytes at the offset at to the disk, without waiting for them. It is a hint: that
// they are there is known after a sync.
func startWriteback(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}
