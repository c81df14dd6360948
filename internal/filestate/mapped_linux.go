package filestate

import (
	"io/fs"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// recently is how long what was written to a file may stay in memory alone.
const recently = time.Minute

func showMappedWrites(f fs.File, most int64) (written int64, shown bool) {
	file, ok := f.(*os.File)
	if !ok {
		return 0, true
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		dirty, known := dirtyBytes(int(fd))
		if !known {
			dirty = recentBytes(file)
		}
		if known && dirty == 0 {
			shown = true
			return
		}
		if dirty > most {
			return
		}
		written, shown = dirty, unix.SyncFileRange(int(fd), 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE) == nil
	})
	return written, shown && err == nil
}

// dirtyBytes is how much of a file is to be written to the disk yet.
func dirtyBytes(fd int) (n int64, known bool) {
	var found unix.Cachestat_t
	if unix.Cachestat(uint(fd), &unix.CachestatRange{}, &found, 0) != nil {
		return 0, false
	}
	return int64(found.Dirty) * int64(os.Getpagesize()), true
}

// recentBytes is the size of a file that was changed recently, or 0.
func recentBytes(file *os.File) int64 {
	info, err := file.Stat()
	if err != nil {
		return math.MaxInt64
	}
	if inode, known := inodeOf(info); known && time.Since(time.Unix(0, inode.Ctime)) > recently {
		return 0
	}
	return info.Size()
}
