// Package listfs makes a read-only file system of a list of files, such as a hub's or an object store's. Directories are what the paths say.
package listfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// FS is the file system of a list. It is safe for use by several goroutines while nobody changes the list.
type FS[F any] struct {
	Files  []F                      // sorted by path
	Info   func(F) Info             // of a file
	OpenAs func(F) (fs.File, error) // opens a file for reading
}

// Info describes a file or directory.
type Info struct {
	Path     string // with slashes, from the root
	Bytes    int64
	Modified time.Time // the zero value where nothing is known
	Folder   bool
}

// Name implements fs.FileInfo and fs.DirEntry.
func (i Info) Name() string { return path.Base(i.Path) }

// Size implements fs.FileInfo.
func (i Info) Size() int64 { return i.Bytes }

// ModTime implements fs.FileInfo.
func (i Info) ModTime() time.Time { return i.Modified }

// IsDir implements fs.FileInfo and fs.DirEntry.
func (i Info) IsDir() bool { return i.Folder }

// Sys implements fs.FileInfo.
func (i Info) Sys() any { return nil }

// Type implements fs.DirEntry.
func (i Info) Type() fs.FileMode { return i.Mode().Type() }

// Info implements fs.DirEntry.
func (i Info) Info() (fs.FileInfo, error) { return i, nil }

// Mode implements fs.FileInfo.
func (i Info) Mode() fs.FileMode {
	if i.Folder {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// Find returns the file with a path.
func (l FS[F]) Find(name string) (found F, ok bool) {
	if i, ok := l.search(name); ok {
		return l.Files[i], true
	}
	return found, false
}

func (l FS[F]) search(name string) (int, bool) {
	return slices.BinarySearchFunc(l.Files, name, func(f F, name string) int { return strings.Compare(l.Info(f).Path, name) })
}

// Open implements fs.FS.
func (l FS[F]) Open(name string) (fs.File, error) {
	if f, ok := l.Find(name); ok {
		return l.OpenAs(f)
	}
	entries, err := l.ReadDir(name)
	if err != nil {
		return nil, err
	}
	return &directory{Info{Path: name, Folder: true}, entries}, nil
}

// Stat implements fs.StatFS. It says what the list says.
func (l FS[F]) Stat(name string) (fs.FileInfo, error) {
	if f, ok := l.Find(name); ok {
		return l.Info(f), nil
	}
	if _, err := l.ReadDir(name); err != nil {
		return nil, err
	}
	return Info{Path: name, Folder: true}, nil
}

// ReadDir implements fs.ReadDirFS.
func (l FS[F]) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	prefix := name + "/"
	if name == "." {
		prefix = ""
	}
	start, _ := l.search(prefix)
	var entries []fs.DirEntry
	for _, f := range l.Files[start:] {
		info := l.Info(f)
		rest, below := strings.CutPrefix(info.Path, prefix)
		if !below {
			break
		}
		first, _, deeper := strings.Cut(rest, "/")
		if n := len(entries); n > 0 && entries[n-1].Name() == first {
			continue
		}
		if deeper {
			info = Info{Path: prefix + first, Folder: true}
		}
		entries = append(entries, info)
	}
	if len(entries) == 0 && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// directory is an opened directory.
type directory struct {
	Info
	entries []fs.DirEntry // that were not read yet
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.Info, nil }
func (d *directory) Close() error               { return nil }
func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.Path, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (d *directory) ReadDir(n int) (some []fs.DirEntry, err error) {
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		err = io.EOF
	}
	n = min(n, len(d.entries))
	some, d.entries = d.entries[:n], d.entries[n:]
	return some, err
}

var _ interface {
	fs.StatFS
	fs.ReadDirFS
} = FS[Info]{}
