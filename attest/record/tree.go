package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mlseal/mlseal/internal/filestate"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// Tree is a directory or file that is looked at, opened. Close is called once nothing is read any more; it may be nil.
type Tree struct {
	FS    fs.FS
	File  string // the one file below FS; empty for all of it
	Close func()
}

func (t Tree) close() {
	if t.Close != nil {
		t.Close()
	}
}

// racyWindow is how long a file must have been left alone before it was read, for its state to tell afterwards that it did not change:
// a write right behind the reading may have the same times.
const racyWindow = 2 * time.Second

// states remembers the state of files and what they held. It is asked for nothing before it is sealed: what is recorded was read.
type states struct {
	mu     sync.Mutex
	sealed bool
	files  map[state]digest.Digest
}

// state is what the system knows of a file. Of its change time the owner cannot say what it is.
type state struct {
	inode    filestate.Inode
	size     int64
	modified int64
	mode     fs.FileMode
}

func stateOf(info fs.FileInfo) (state, bool) {
	inode, known := filestate.Of(info)
	return state{inode, info.Size(), info.ModTime().UnixNano(), info.Mode()}, known
}

// Lookup implements manifest.Digests.
func (s *states) Lookup(info fs.FileInfo) digest.Digest {
	key, known := stateOf(info)
	if !s.sealed || !known {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[key]
}

// Remember implements manifest.Digests.
func (s *states) Remember(info fs.FileInfo, begun time.Time, d digest.Digest) {
	key, known := stateOf(info)
	if !known || begun.UnixNano()-key.inode.Ctime < int64(racyWindow) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[key] = d
}

// Forget implements manifest.Digests.
func (s *states) Forget(fs.FileInfo) {}

// Done implements manifest.Digests.
func (s *states) Done() {}

// watched is a tree that was hashed, and can be looked at again.
type watched struct {
	tree   Tree
	before *manifest.Manifest
	states states
}

// watch hashes the tree: every byte is read.
func watch(ctx context.Context, t Tree, p Progress) (*watched, error) {
	w := &watched{tree: t, states: states{files: map[state]digest.Digest{}}}
	var err error
	w.before, err = manifest.Build(ctx, t.FS, manifest.Options{File: t.File, Digests: &w.states, Total: p.Total, Progress: p.Add})
	w.states.sealed = true
	return w, err
}

// unchanged fails with manifest.ErrChanged when the tree is another one by now. A file whose state is as before is not read again; one
// that was written shortly before it was read is.
func (w *watched) unchanged(ctx context.Context) error {
	after, err := manifest.Build(ctx, w.tree.FS, manifest.Options{File: w.tree.File, Digests: &w.states})
	if errors.Is(err, fs.ErrNotExist) || manifest.IsRefusal(err) {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return err
	}
	if d := w.before.Diff(after); !d.Equal() {
		return fmt.Errorf("%w: %w", ErrChanged, d.Err())
	}
	return nil
}

// SamePlace is for Material.Again: whether the path still leads to the directory that it leads to now, or of one file to the directory that it is in. A
// tree is looked at where it was opened: a link that leads elsewhere by now, or a directory that another one was put in the place of, it does not show.
func SamePlace(name, file string) func(context.Context) error {
	if file != "" {
		name = filepath.Dir(name)
	}
	before, failed := os.Stat(name)
	return func(context.Context) error {
		if failed != nil {
			return failed
		}
		after, err := os.Stat(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || !os.SameFile(before, after) {
			return fmt.Errorf("%w: another directory stands there", ErrChanged)
		}
		return nil
	}
}

// ErrChanged says that a material is not what it was before the command. It wraps manifest.ErrChanged.
var ErrChanged error = meanwhile{}

type meanwhile struct{}

func (meanwhile) Error() string { return "it changed while the command ran" }
func (meanwhile) Unwrap() error { return manifest.ErrChanged }

// listing is the state of all files of a tree, by which one that nobody touched is told.
type listing map[string]state

// empty reports whether no file holds anything.
func (l listing) empty() bool {
	for _, s := range l {
		if s.size > 0 {
			return false
		}
	}
	return true
}

var errListed = errors.New("listed")

// list reads no file. Known is false where the system says too little of files.
func list(ctx context.Context, t Tree) (all listing, known bool, err error) {
	all, known = listing{}, true
	var found []manifest.File
	_, err = manifest.Build(ctx, t.FS, manifest.Options{File: t.File, Found: func(files []manifest.File) error {
		found = files
		return errListed
	}})
	if !errors.Is(err, errListed) {
		return nil, false, err
	}
	for _, f := range found {
		info, err := fs.Stat(t.FS, f.Path)
		if err != nil {
			return nil, false, err
		}
		var ok bool
		all[f.Path], ok = stateOf(info)
		known = known && ok
	}
	return all, known, nil
}
