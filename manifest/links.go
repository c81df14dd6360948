package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
)

// MaxLinks bounds how many symbolic links are followed in one tree: links to folders can multiply what a walk sees.
const MaxLinks = 100_000

// follow returns what the link name leads to. OMS v1.0 section 6.1.1: "The signer MUST resolve symbolic links to their target
// and hash the target file's contents"; its resources are named by the link's path. Where the specification asks for a warning
// about a cycle, this is an error: nothing names the files behind a cycle.
func (w *walker) follow(name string) (fs.FileInfo, error) {
	if w.links++; w.links > MaxLinks {
		return nil, fmt.Errorf("manifest: %w: more than %d symbolic links", ErrTooMany, MaxLinks)
	}
	info, err := fs.Stat(w.fsys, name)
	if slices.ContainsFunc([]error{fs.ErrNotExist, syscall.ELOOP, syscall.ENOTDIR, syscall.ENAMETOOLONG}, func(target error) bool { return errors.Is(err, target) }) {
		return nil, fmt.Errorf("manifest: %s: %w: %w", name, ErrBrokenLink, err)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !info.IsDir() {
		return info, nil
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		parent, err := fs.Stat(w.fsys, dir)
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if os.SameFile(info, parent) {
			return nil, fmt.Errorf("manifest: %s: %w: it is in a folder that it leads to", name, ErrBrokenLink)
		}
		if dir == "." {
			return info, nil
		}
	}
}

// following is a file system whose Stat and Lstat are one: what is asked of a link is asked of its target.
type following struct{ fs.FS }

// Stat implements fs.StatFS; without it fs.Stat would open what it looks at.
func (f following) Stat(name string) (fs.FileInfo, error) { return fs.Stat(f.FS, name) }
