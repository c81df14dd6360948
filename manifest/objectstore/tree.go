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
	"sync/atomic"

	"github.com/mlseal/mlseal/internal/httpread"
	"github.com/mlseal/mlseal/internal/listfs"
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

	all     listfs.FS[entry]
	ctx     context.Context
	store   store
	retry   httpread.Retry
	buffers chan []byte  // for ranges that are fetched ahead; nil ones are not made yet
	reading atomic.Int32 // files that are being read

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
	t := &Tree{Name: where.url.Host, Source: where.String(), ctx: ctx, store: s, retry: httpread.Retry{MaxWait: MaxWait, Note: opts.Note}, stated: map[string]digest.Digest{},
		buffers: make(chan []byte, piecesAhead)}
	for range piecesAhead {
		t.buffers <- nil
	}
	t.all.Info, t.all.OpenAs = entry.info, func(e entry) (fs.File, error) { return t.newFile(e), nil }
	below := ""
	if where.prefix != "" {
		t.Name, below = path.Base(where.prefix), where.prefix+"/"
	}
	if err := t.list(below); err != nil {
		return nil, err
	}
	if len(t.all.Files) == 0 && below != "" {
		if err := t.single(where.prefix); err != nil {
			return nil, err
		}
	}
	if len(t.all.Files) == 0 {
		return nil, ErrNothing
	}
	return t, nil
}

// maxObjects bounds how many objects a list may have, with those that are no files. It is a variable for tests.
var maxObjects = manifest.MaxFiles

// list takes what is below a prefix that ends in a slash, or everything.
func (t *Tree) list(below string) error {
	listed := 0
	err := t.store.list(t.ctx, below, func(o object) error {
		name, ok := strings.CutPrefix(o.key, below)
		if listed++; listed > maxObjects {
			return fmt.Errorf("%w: at most %d", manifest.ErrTooMany, maxObjects)
		}
		switch {
		case !ok:
			return fmt.Errorf("%w: it has %q, which is not below %q", ErrListing, o.key, below)
		case o.size < 0:
			return fmt.Errorf("%w: it says that %q has %d bytes", ErrListing, o.key, o.size)
		}
		if (name == "" || strings.HasSuffix(name, "/")) && o.size == 0 {
			return nil // a folder's mark
		}
		if err := manifest.CheckName(name); err != nil {
			return err
		}
		t.all.Files = append(t.all.Files, entry{name, o})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(t.all.Files, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return t.dropMarks()
}

// dropMarks removes the empty objects that stand for a folder, and refuses names that are a file and a folder at once.
func (t *Tree) dropMarks() error {
	folders := map[string]bool{}
	for _, f := range t.all.Files {
		for dir := path.Dir(f.path); dir != "." && !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for i, f := range t.all.Files {
		if folders[f.path] && f.size > 0 {
			return fmt.Errorf("%w: %q is an object with contents and has others below it", manifest.ErrName, f.path)
		}
		if i > 0 && t.all.Files[i-1].path == f.path {
			return fmt.Errorf("%w: it has %q twice", ErrListing, f.path)
		}
	}
	t.all.Files = slices.DeleteFunc(t.all.Files, func(f entry) bool { return folders[f.path] })
	return nil
}

var errFound = errors.New("found")

// single takes the one object that has this very key. It is the first of those whose key begins so.
func (t *Tree) single(key string) error {
	err := t.store.list(t.ctx, key, func(o object) error {
		if o.key == key {
			t.File = path.Base(key)
			t.all.Files = []entry{{t.File, o}}
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

func (e entry) info() listfs.Info {
	return listfs.Info{Path: e.path, Bytes: e.size, Modified: e.modified}
}

// Open implements fs.FS. Nothing is asked of the store before the file is read.
func (t *Tree) Open(name string) (fs.File, error) { return t.all.Open(name) }

// Stat implements fs.StatFS. It says what was listed.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.all.Stat(name) }

// ReadDir implements fs.ReadDirFS.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) { return t.all.ReadDir(name) }
