// Package mount shows a tree of verified files as a read-only file system (FUSE, on Linux): every read of it is one of a
// reader.Tree, so that no program gets a byte of it that was not verified. It is the only door to go-fuse.
//
// What the kernel was given it keeps in its page cache, as of any file system; those bytes are verified ones.
package mount

import "errors"

// ErrUnsupported says that this system mounts nothing, or does not let this user or container do it.
var ErrUnsupported = errors.New("files cannot be mounted here")

// Options of Mount. The zero value is sound.
type Options struct {
	Name string // of what is mounted, for the list of mounts
	// Failed is told of each read that failed, and may be called from several goroutines at once. Whoever read gets EIO.
	Failed func(file string, err error)
}
