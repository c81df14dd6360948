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
