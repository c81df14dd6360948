// Package atomicfile writes files that are either whole or not there: the bytes go to
// a temporary name in the same directory, are synced, and are renamed.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExists says that a file that must not be overwritten is there already.
var ErrExists = errors.New("file exists")

// Options of Write. The zero value replaces an existing file, with mode 0o644.
type Options struct {
	Perm        fs.FileMode
	NoOverwrite bool // fail with ErrExists instead of replacing a file
}

// Write puts data under name, or leaves what was there before.
func Write(name string, data []byte, opts Options) error {
	return WriteFunc(name, opts, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteFunc puts what fill writes under name. When fill or anything else before the rename fails, the
// temporary file is removed and name is as before; an error of syncing the directory comes after it.
func WriteFunc(name string, opts Options, fill func(io.Writer) error) error {
	dir := filepath.Dir(name)
	p, err := Begin(dir, opts)
	if err != nil {
		return err
	}
	defer p.Abort()
	if err := fill(p.File); err != nil {
		return err
	}
	if err := p.Commit(name); err != nil {
		return err
	}
	return SyncDir(dir)
}

// Pending is a file that has no final name yet.
type Pending struct {
	*os.File
	opts Options
	done bool
}

// Begin makes a file under a temporary name in dir.
func Begin(dir string, opts Options) (*Pending, error) {
	if opts.Perm == 0 {
		opts.Perm = 0o644
	}
	f, err := os.CreateTemp(dir, ".mlseal-*")
	if err != nil {
		return nil, err
	}
	return &Pending{File: f, opts: opts}, nil
}

// Commit syncs the file and gives it its final name, in the same directory; after an error the file is gone. The name is durable after
// SyncDir.
func (p *Pending) Commit(name string) error {
	defer p.Abort()
	if err := p.Chmod(p.opts.Perm); err != nil {
		return err
	}
	if err := p.Sync(); err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	err := place(p.Name(), name, p.opts.NoOverwrite)
	p.done = err == nil
	return err
}

// Abort removes the file, unless it has its final name.
func (p *Pending) Abort() {
	if !p.done {
		p.done = true
		_ = p.Close()
		_ = os.Remove(p.Name())
	}
}

// place moves the finished file. A hard link fails where the name is taken, which a
// rename would overwrite; a check before the rename would leave a gap.
func place(from, to string, noOverwrite bool) error {
	if !noOverwrite {
		return os.Rename(from, to)
	}
	if err := os.Link(from, to); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", to, ErrExists)
		}
		return err
	}
	return os.Remove(from)
}
