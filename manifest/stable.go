package manifest

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/mlseal/mlseal/internal/filestate"
)

// StableFile is a file opened for one reading, which can say afterwards whether it was
// written to meanwhile.
type StableFile struct {
	f      fs.File
	fsys   fs.FS
	name   string
	before fs.FileInfo
	read   int64

	forget    func(from, to int64) // nil to leave the page cache alone
	forgotten int64                // up to here
}

// OpenStable opens name below fsys. When seen is not nil the opened file must still be the one
// that seen describes; otherwise the error wraps ErrChanged.
func OpenStable(fsys fs.FS, name string, seen fs.FileInfo) (*StableFile, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, fmt.Errorf("manifest: %s: %w", name, ErrSpecial)
	}
	if seen != nil && !sameState(seen, info) {
		_ = f.Close()
		return nil, fmt.Errorf("manifest: %s: %w", name, ErrChanged)
	}
	adviseSequential(f, info.Size())
	return &StableFile{f: f, fsys: fsys, name: name, before: info}, nil
}

// File is the open file, for what only the system can do with it, such as sharing its blocks. It is not to be read from.
func (s *StableFile) File() fs.File { return s.f }

// Size is the file's size in bytes when it was opened.
func (s *StableFile) Size() int64 { return s.before.Size() }

// Read reads the file. Reading beyond the size that the file had when it was opened fails with
// ErrChanged, so that a file that grows without end is not followed.
func (s *StableFile) Read(p []byte) (int, error) {
	n, err := s.f.Read(p)
	s.read += int64(n)
	s.forgetRead(err == io.EOF)
	if s.read > s.before.Size() {
		return n, fmt.Errorf("%w: it grew", ErrChanged)
	}
	return n, err
}

// Skip passes over the next n bytes, which count as read: somebody else has read them.
func (s *StableFile) Skip(n int64) error {
	s.read += n
	if seeker, ok := s.f.(io.Seeker); ok {
		_, err := seeker.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, s.f, n)
	return err
}

// Bound tells a file which fetches its bytes ahead, such as one in an object store, that nothing is read of it from end on.
func Bound(f fs.File, end int64) {
	if b, ok := f.(interface{ Bound(end int64) }); ok {
		b.Bound(end)
	}
}

// Unchanged reports whether what was read is the whole file and the file is still as it was
// when it was opened, by size, modification and change time (in ns) and inode; the error wraps ErrChanged.
// It looks at the open file and at the name again, which may be another file by now.
func (s *StableFile) Unchanged() error {
	if s.read != s.before.Size() {
		return fmt.Errorf("manifest: %s: %w: %d bytes of %d", s.name, ErrChanged, s.read, s.before.Size())
	}
	now, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	named, err := lstat(s.fsys, s.name)
	if err != nil {
		return fmt.Errorf("manifest: %s: %w: %w", s.name, ErrChanged, err)
	}
	if !sameState(s.before, now) || !sameState(s.before, named) {
		return fmt.Errorf("manifest: %s: %w", s.name, ErrChanged)
	}
	return nil
}

// Close closes the file.
func (s *StableFile) Close() error { return s.f.Close() }

var _ io.ReadCloser = (*StableFile)(nil)

func sameState(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode() && inode(a) == inode(b)
}

// inode is the zero value where there is none; then the rest is compared.
func inode(info fs.FileInfo) filestate.Inode {
	i, _ := filestate.Of(info)
	return i
}
