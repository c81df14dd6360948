// Package filestate tells what the kernel knows of a file besides its size and its modification time.
package filestate

import "io/fs"

// Inode identifies a file and its last change. Two equal ones of one machine are, with the same size and modification
// time, the same unchanged file. The zero value says that nothing is known.
type Inode struct {
	Dev, Ino uint64
	Ctime    int64 // change time in ns since 1970, which the file's owner cannot set
}

// Of returns the inode that info tells of; known is false where the system or the file system has none.
func Of(info fs.FileInfo) (i Inode, known bool) { return inodeOf(info) }

// Links is the number of names that the file has; 1 where that is not known.
func Links(info fs.FileInfo) uint64 { return linksOf(info) }

// IsMine reports whether the file belongs to the user who runs this process; false where that is not known.
func IsMine(info fs.FileInfo) bool { return isMine(info) }

// ShowMappedWrites makes the next write to an open file through a shared memory mapping change its times, whoever has mapped it. Linux changes them when
// a page that is clean is first written to; a page that is dirty already takes any number of writes without a trace. To write pages back
// makes them clean, and their mappings read-only until the next write (sync_file_range(2); it waits for the disk only when that has much to do). It works on
// file systems that notice such writes: ext4, XFS, Btrfs, F2FS; not on tmpfs, which never does, nor on overlayfs, where it does not reach the file below.
// Systems other than Linux have nothing like it: there it does nothing and says that all is shown.
//
// At most most bytes are written back: where more are dirty it does nothing, and shown is false. It returns how many they were. Before Linux 6.5, and for a file
// that the user may not write to on some later ones, that is not known (cachestat(2)): the whole file counts when it was changed within the last minute, by when the
// kernel has begun to write it by itself (/proc/sys/vm/dirty_expire_centisecs), and nothing later on.
//
// Called between a stat and the reading of a file, it lets a second stat behind the reading tell what the mapping's owner wrote in between, and
// later ones what was written after that.
func ShowMappedWrites(f fs.File, most int64) (written int64, shown bool) {
	return showMappedWrites(f, most)
}
