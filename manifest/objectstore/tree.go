package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/origin"
	"github.com/opencontainers/go-digest"
)

// Tree is the objects below a prefix, as they were listed. It implements fs.FS, and is safe for use by several goroutines.
type Tree struct {
	// Name is the last element of the prefix, or the bucket where there is none.
	Name string
	// Source is the address without its parameters.
	Source string
	// File is the name of the one object that the address names; empty when it names a prefix.
	File string

	ctx     context.Context
	store   store
	files   []entry // sorted by path
	note    func(text string)
	wait    func(ctx context.Context, d time.Duration) error
	buffers chan []byte // for ranges that are fetched ahead; nil ones are not made yet

	mu     sync.Mutex
	stated map[string]digest.Digest // by path: the sha256 that the store says a file has
}

// entry is an object under its name in the tree.
type entry struct {
	path string
	object
}

// Open lists the objects below the address, and reads none of them. ctx ends the listing and all reading from the tree.
func Open(ctx context.Context, address string, opts Options) (*Tree, error) {
	where, err := parse(address)
	if err != nil {
		return nil, err
	}
	s, err := openers[where.url.Scheme](ctx, where.url, opts)
	if err != nil {
		return nil, fmt.Errorf("objectstore: %s: %w", where, err)
	}
	t, err := newTree(ctx, s, where, opts)
	if err != nil {
		_ = s.close()
		return nil, fmt.Errorf("objectstore: %s: %w", where, err)
	}
	return t, nil
}

func newTree(ctx context.Context, s store, where location, opts Options) (*Tree, error) {
	t := &Tree{Name: where.url.Host, Source: where.String(), ctx: ctx, store: s, note: opts.Note, wait: wait, stated: map[string]digest.Digest{},
		buffers: make(chan []byte, piecesAhead)}
	for range piecesAhead {
		t.buffers <- nil
	}
	below := ""
	if where.prefix != "" {
		t.Name, below = path.Base(where.prefix), where.prefix+"/"
	}
	if err := t.list(below); err != nil {
		return nil, err
	}
	if len(t.files) == 0 && below != "" {
		if err := t.single(where.prefix); err != nil {
			return nil, err
		}
	}
	if len(t.files) == 0 {
		return nil, ErrNothing
	}
	return t, nil
}

// list takes what is below a prefix that ends in a slash, or everything.
func (t *Tree) list(below string) error {
	err := t.store.list(t.ctx, below, func(o object) error {
		name, ok := strings.CutPrefix(o.key, below)
		if !ok || o.size < 0 {
			return fmt.Errorf("%w: the list below %q has %q", ErrUnavailable, below, o.key)
		}
		if (name == "" || strings.HasSuffix(name, "/")) && o.size == 0 {
			return nil // a folder's mark
		}
		if err := manifest.CheckName(name); err != nil {
			return err
		}
		if len(t.files) == manifest.MaxFiles {
			return fmt.Errorf("%w: at most %d", manifest.ErrTooMany, manifest.MaxFiles)
		}
		t.files = append(t.files, entry{name, o})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(t.files, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return t.dropMarks()
}

// dropMarks removes the empty objects that stand for a folder, and refuses names that are a file and a folder at once.
func (t *Tree) dropMarks() error {
	folders := map[string]bool{}
	for _, f := range t.files {
		for dir := path.Dir(f.path); dir != "." && !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for i, f := range t.files {
		if folders[f.path] && f.size > 0 {
			return fmt.Errorf("%w: %q is an object with contents and has others below it", manifest.ErrName, f.path)
		}
		if i > 0 && t.files[i-1].path == f.path {
			return fmt.Errorf("%w: the list has %q twice", ErrUnavailable, f.path)
		}
	}
	t.files = slices.DeleteFunc(t.files, func(f entry) bool { return folders[f.path] })
	return nil
}

var errFound = errors.New("found")

// single takes the one object that has this very key. It is the first of those whose key begins so.
func (t *Tree) single(key string) error {
	err := t.store.list(t.ctx, key, func(o object) error {
		if o.key == key {
			t.File = path.Base(key)
			t.files = []entry{{t.File, o}}
		}
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return err
	}
	if t.File == "" {
		return nil
	}
	return manifest.CheckName(t.File)
}

// Close lets go of the store. What is open must be closed before.
func (t *Tree) Close() error { return t.store.close() }

// Check holds what was computed to what the store says of the objects that were read: the error wraps origin.ErrMismatch and names a file.
// Nothing follows from its absence.
func (t *Tree) Check(m *manifest.Manifest) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range m.Files {
		if want := t.stated[f.Path]; want != "" && want != f.Digest {
			return fmt.Errorf("objectstore: %s/%s: %w: the store says %s, its bytes are %s", t.Source, f.Path, origin.ErrMismatch, want, f.Digest)
		}
	}
	return nil
}

// info describes a file or directory of the tree.
type info struct {
	name     string
	size     int64
	modified time.Time
	dir      bool
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return i.size }
func (i info) ModTime() time.Time         { return i.modified }
func (i info) IsDir() bool                { return i.dir }
func (i info) Sys() any                   { return nil }
func (i info) Type() fs.FileMode          { return i.Mode().Type() }
func (i info) Info() (fs.FileInfo, error) { return i, nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (e entry) info() info {
	return info{name: path.Base(e.path), size: e.size, modified: e.modified}
}

func (t *Tree) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(t.files, name, func(e entry, name string) int { return strings.Compare(e.path, name) })
	if !ok {
		return entry{}, false
	}
	return t.files[i], true
}

// Open implements fs.FS. Nothing is asked of the store before the file is read.
func (t *Tree) Open(name string) (fs.File, error) {
	if e, ok := t.find(name); ok {
		return t.newFile(e), nil
	}
	entries, err := t.ReadDir(name)
	if err != nil {
		return nil, err
	}
	return &directory{info{name: path.Base(name), dir: true}, entries}, nil
}

// Stat implements fs.StatFS. It says what was listed.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	if e, ok := t.find(name); ok {
		return e.info(), nil
	}
	if _, err := t.ReadDir(name); err != nil {
		return nil, err
	}
	return info{name: path.Base(name), dir: true}, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	prefix := name + "/"
	if name == "." {
		prefix = ""
	}
	start, _ := slices.BinarySearchFunc(t.files, prefix, func(e entry, prefix string) int { return strings.Compare(e.path, prefix) })
	var entries []fs.DirEntry
	for _, e := range t.files[start:] {
		rest, below := strings.CutPrefix(e.path, prefix)
		if !below {
			break
		}
		first, _, deeper := strings.Cut(rest, "/")
		if n := len(entries); n > 0 && entries[n-1].Name() == first {
			continue
		}
		if deeper {
			entries = append(entries, info{name: first, dir: true})
		} else {
			entries = append(entries, e.info())
		}
	}
	if len(entries) == 0 && name != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// directory is an opened directory.
type directory struct {
	info
	entries []fs.DirEntry
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return nil }
func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}
