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

// NoWriter reports that nobody has an open file open for writing at this moment, in whatever process, nor has mapped it into memory to write to it. Whoever does so
// later changes its change time with the first write; who does so already need not: Linux sets the time once for a write(2) however long it takes, and for a mapping when
// a page that is clean is first written to.
//
// On Linux this is known to the owner of the file and to who has CAP_LEASE (fcntl(2): a read lease "can be placed only on a file descriptor that is opened read-only", and not while
// the file is open for writing); to others it is false. Who opens the file for writing at that moment waits some microseconds, or with O_NONBLOCK is refused. Systems other than Linux do not tell, and there it is true, as it is for a file that is none of the system's.
func NoWriter(f fs.File) bool { return noWriter(f) }
