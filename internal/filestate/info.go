package filestate

import (
	"io/fs"
	"os"
	"time"
)

// Info is what is known of a file, in a third of the memory that what package os returns takes: a tree may have many files. It implements
// fs.FileInfo; functions of this package understand it, os.SameFile does not (see Same).
type Info struct {
	name     string
	size     int64
	modified int64 // ns since 1970
	inode    Inode
	links    uint32
	owner    uint32
	mode     fs.FileMode
}

// Name implements fs.FileInfo.
func (i *Info) Name() string { return i.name }

// Size implements fs.FileInfo.
func (i *Info) Size() int64 { return i.size }

// Mode implements fs.FileInfo.
func (i *Info) Mode() fs.FileMode { return i.mode }

// ModTime implements fs.FileInfo.
func (i *Info) ModTime() time.Time { return time.Unix(0, i.modified) }

// IsDir implements fs.FileInfo.
func (i *Info) IsDir() bool { return i.mode.IsDir() }

// Sys implements fs.FileInfo. It is nil: this package is to be asked.
func (i *Info) Sys() any { return nil }

// Type implements fs.DirEntry.
func (i *Info) Type() fs.FileMode { return i.mode.Type() }

// Info implements fs.DirEntry.
func (i *Info) Info() (fs.FileInfo, error) { return i, nil }

// String implements fmt.Stringer.
func (i *Info) String() string { return fs.FormatFileInfo(i) }

// Same reports whether a and b are the same file, as os.SameFile does.
func Same(a, b fs.FileInfo) bool {
	x, knownX := Of(a)
	y, knownY := Of(b)
	if !knownX || !knownY {
		return os.SameFile(a, b)
	}
	return x.Dev == y.Dev && x.Ino == y.Ino
}
