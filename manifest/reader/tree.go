package reader

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mlseal/mlseal/manifest"
)

// Entry is a file of a Tree.
type Entry struct {
	Path     string
	Source   Source
	Expected []manifest.Resource // as Open takes them
}

// Tree is a file system of verified files: those that it was made of, the directories above them, and nothing else. Its files implement
// io.ReaderAt, io.Seeker and io.WriterTo as File does. Reads of all files share Options.Memory and one temporary file. Its methods may be called concurrently.
type Tree struct {
	shared *shared
	files  map[string]*File
	dirs   map[string][]fs.DirEntry // sorted by name
	close  sync.Once
}

var (
	_ fs.ReadDirFS = (*Tree)(nil)
	_ fs.StatFS    = (*Tree)(nil)
)

// NewTree makes a tree of entries, with Open for each. A name that no tree may hold, that is there twice, or is a file and a directory, fails with
// manifest.ErrName.
func NewTree(ctx context.Context, entries []Entry, opts Options) (*Tree, error) {
	t := &Tree{shared: newShared(opts), files: map[string]*File{}, dirs: map[string][]fs.DirEntry{".": nil}}
	if err := t.open(ctx, entries); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Tree) open(ctx context.Context, entries []Entry) error {
	for _, e := range entries {
		if err := manifest.CheckName(e.Path); err != nil {
			return err
		}
		if t.files[e.Path] != nil {
			return fmt.Errorf("reader: %s: %w: it is listed twice", e.Path, manifest.ErrName)
		}
		f, err := open(ctx, e.Path, e.Source, e.Expected, t.shared)
		if err != nil {
			return err
		}
		t.files[e.Path] = f
		t.add(e.Path, fs.FileInfoToDirEntry(info{path.Base(e.Path), f.size, 0o444}))
	}
	for dir, list := range t.dirs {
		if t.files[dir] != nil {
			return fmt.Errorf("reader: %s: %w: it is a file and a directory", dir, manifest.ErrName)
		}
		slices.SortFunc(list, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return nil
}

// add lists an entry in its directory, and the directory in the one above.
func (t *Tree) add(name string, e fs.DirEntry) {
	dir := path.Dir(name)
	_, known := t.dirs[dir]
	t.dirs[dir] = append(t.dirs[dir], e)
	if !known {
		t.add(dir, fs.FileInfoToDirEntry(dirInfo(dir)))
	}
}

// File returns a file of the tree. Its position is one for all who use it, and it must not be closed: the tree is.
func (t *Tree) File(name string) (*File, error) {
	if f := t.files[name]; f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Open implements fs.FS.
func (t *Tree) Open(name string) (fs.File, error) {
	i, err := t.Stat(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err.(*fs.PathError).Err}
	}
	if list, ok := t.dirs[name]; ok {
		return &openDir{info: i, path: name, list: list}, nil
	}
	f := t.files[name]
	return &openFile{SectionReader: io.NewSectionReader(f, 0, f.size), file: f, info: i}, nil
}

// Stat implements fs.StatFS.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	if f := t.files[name]; f != nil {
		return info{path.Base(name), f.size, 0o444}, nil
	}
	if _, ok := t.dirs[name]; ok {
		return dirInfo(name), nil
	}
	return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	list, ok := t.dirs[name]
	switch {
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	case !ok:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(list), nil
}

// Close ends all reading; reads that are at work fail.
func (t *Tree) Close() (err error) {
	t.close.Do(func() {
		for _, f := range t.files {
			_ = f.Close()
		}
		err = t.shared.spool.close()
	})
	return err
}

// info describes a file or directory. A tree knows no times and no owners.
type info struct {
	name string
	size int64
	mode fs.FileMode
}

func dirInfo(name string) info { return info{path.Base(name), 0, fs.ModeDir | 0o555} }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// openFile reads a file with a position of its own.
type openFile struct {
	*io.SectionReader
	file *File
	info fs.FileInfo
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }

// WriteTo implements io.WriterTo with the file's read-ahead.
func (o *openFile) WriteTo(w io.Writer) (int64, error) {
	at, err := o.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, err := o.file.WriteRange(w, min(at, o.file.size), o.file.size)
	_, seekErr := o.Seek(n, io.SeekCurrent)
	return n, cmp.Or(err, seekErr)
}

func (o *openFile) Close() error { return nil }

// openDir lists a directory piece by piece.
type openDir struct {
	info fs.FileInfo
	path string
	list []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: fmt.Errorf("%w: it is a directory", fs.ErrInvalid)}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.list) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.list) {
		n = len(d.list)
	}
	list := slices.Clone(d.list[:n])
	d.list = d.list[n:]
	return list, nil
}

// Files lists the paths of the files, sorted.
func (t *Tree) Files() []string {
	var names []string
	for name := range t.files {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
