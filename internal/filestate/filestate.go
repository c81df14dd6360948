// Package filestate tells what the kernel knows of a file besides its size and its modification time.
package filestate

import (
	"io/fs"
	"os"
)

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

// ShowsWrites reports that whoever writes to an open file from now on changes its change time: that its file system is one that sees to that (Reliable), and that nobody has the file open
// for writing at this moment, in whatever process, nor has mapped it into memory to write to it. For who does so already need not change it: Linux sets the time once for a write(2)
// however long it takes, and for a mapping when a page that is clean is first written to. It cannot tell of pages that a writer pinned and then unmapped.
//
// On Linux this is known to the owner of the file and to who has CAP_LEASE (fcntl(2): a read lease "can be placed only on a file descriptor that is opened read-only", and not while
// the file is open for writing); to others it is false. Who opens the file for writing at that moment waits some microseconds, or with O_NONBLOCK is refused. macOS does not tell of
// writers, and there it rests on the file system alone. On other systems it is false, and true for a file that is none of the system's, of which
// the kernel knows nothing.
func ShowsWrites(f fs.File) bool {
	file, ok := f.(*os.File)
	return !ok || showsWrites(file)
}
