package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/mlseal/mlseal/manifest"
)

// FromReaderAt is a source of size bytes in r.
func FromReaderAt(r io.ReaderAt, size int64) Source { return readerAt{r, size} }

type readerAt struct {
	r    io.ReaderAt
	size int64
}

func (s readerAt) Size() int64 { return s.size }

func (s readerAt) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.r, offset, length)), nil
}

// FromFS is the regular file name below fsys as a source. It is opened anew for every range, so that a file which is replaced meanwhile is one that
// fails to be verified, and no descriptor is held in between.
func FromFS(fsys fs.FS, name string) (Source, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reader: %w", displaced(fsys, name, err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reader: %s: %w: it is no regular file", name, ErrMismatch)
	}
	return fsFile{fsys, name, info.Size()}, nil
}

type fsFile struct {
	fsys fs.FS
	name string
	size int64
}

func (s fsFile) Size() int64 { return s.size }

func (s fsFile) Range(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	f, err := s.fsys.Open(s.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it is not there any more: %w", ErrMismatch, err)
	}
	if err != nil {
		return nil, displaced(s.fsys, s.name, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is no regular file any more", ErrMismatch)
	}
	if err == nil {
		manifest.Bound(f, offset+length)
		err = skip(f, offset)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// displaced tells a file that cannot be opened because of what somebody put in its place, which is a mismatch, from one that cannot be read: a
// link on its path that leads out of fsys or round in circles, or a file where a directory is wanted.
func displaced(fsys fs.FS, name string, err error) error {
	for i, c := range name + "/" {
		if c != '/' {
			continue
		}
		info, lerr := fs.Lstat(fsys, name[:i])
		switch {
		case lerr != nil:
			return err
		case info.Mode().Type() == fs.ModeSymlink:
			return fmt.Errorf("%w: %s is a symbolic link: %w", ErrMismatch, name[:i], err)
		case i < len(name) && !info.IsDir():
			return fmt.Errorf("%w: %s is no directory: %w", ErrMismatch, name[:i], err)
		}
	}
	return err
}

// skip moves r on by n bytes. A file that ends before is found short by whoever reads on.
func skip(r io.Reader, n int64) error {
	if seeker, ok := r.(io.Seeker); ok {
		_, err := seeker.Seek(n, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	if err == io.EOF {
		return nil
	}
	return err
}
