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
func WriteFunc(name string, opts Options, fill func(io.Writer) error) (err error) {
	if opts.Perm == 0 {
		opts.Perm = 0o644
	}
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".mlseal-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Chmod(opts.Perm); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := place(f.Name(), name, opts.NoOverwrite); err != nil {
		return err
	}
	return SyncDir(dir)
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
