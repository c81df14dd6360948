// Package rootfs is the file system of an os.Root for trees of many files. It reaches exactly what os.Root reaches, and nothing outside
// of the directory. On Linux the kernel looks up a path in one call that cannot leave the directory (openat2 with RESOLVE_BENEATH, Linux 5.6),
// where os.Root opens each folder on the way; and what is told of a file is a filestate.Info. Whatever the kernel refuses is asked of
// os.Root again, whose answer counts. Elsewhere it is os.Root alone. Open never waits: a named pipe that somebody put in the place of a file
// is opened at once, for the caller to see what it is.
package rootfs

import (
	"io/fs"
	"os"
)

// FS is what New returns.
type FS interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.ReadLinkFS
	// Close closes what New opened; the os.Root stays open.
	Close() error
}

// New returns the file system of root, which must stay open.
func New(root *os.Root) FS { return open(root) }

// plain is the file system that os.Root makes.
type plain struct {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.ReadLinkFS
	fs.FS
	root *os.Root
}

func plainOf(root *os.Root) plain {
	fsys := root.FS()
	return plain{fsys.(fs.ReadDirFS), fsys.(fs.ReadFileFS), fsys.(fs.ReadLinkFS), fsys, root} // os.Root.FS says that it implements them
}

// Open implements fs.FS.
func (p plain) Open(name string) (fs.File, error) {
	if nonblock == 0 || !fs.ValidPath(name) {
		return p.FS.Open(name)
	}
	f, err := p.root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err // not f, which would be a file that is nil
	}
	return f, nil
}

// Stat implements fs.StatFS.
func (p plain) Stat(name string) (fs.FileInfo, error) { return fs.Stat(p.FS, name) }

// Close does nothing: the root is somebody else's.
func (p plain) Close() error { return nil }
