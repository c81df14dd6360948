// Package origin holds files to what the place that they come from published of them: the digests by which git and git-lfs
// name contents, and which a Hugging Face hub and its local cache hand on.
//
// git-lfs names a file by the sha256 of its contents (git-lfs docs/spec.md, "oid"). git names one by the sha1 over
// "blob", a space, the size in decimal, NUL and the contents (git documentation, "Git Objects"). A sha1 is weaker: whoever
// can make two files with one sha1 can publish either. It is checked because it is all that is published of small files.
package origin

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // git's name of a blob; nothing else is published of small files
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
)

// Errors that callers branch on.
var (
	// ErrMismatch says that a file is not what the place that it comes from published.
	ErrMismatch = errors.New("not what its source published")
	// ErrPointer says that a file is a git-lfs pointer in place of the contents.
	ErrPointer = errors.New("a git-lfs pointer, not the file itself")
)

// Source says where a tree comes from.
type Source struct {
	Kind       string // "model", "dataset" or "space"
	Repository string // "org/name", or "name"
	Commit     string // of git, in hexadecimal
}

// String is the source as people write it: "org/name@commit", with "datasets/" or "spaces/" before it where it is no model.
func (s Source) String() string { return s.Path() + "@" + s.Commit }

// Path is the repository's path on a hub: "org/name", with "datasets/" or "spaces/" before it where it is no model.
func (s Source) Path() string {
	if s.Kind == "" || s.Kind == "model" {
		return s.Repository
	}
	return s.Kind + "s/" + s.Repository
}

// OID is the digest by which git-lfs or git names the contents of a file. The zero value is no digest and matches nothing.
type OID struct{ text string }

// ParseOID reads a name in lower-case hexadecimal: 64 digits are a sha256 of git-lfs, 40 a sha1 of git.
func ParseOID(text string) (OID, bool) {
	if len(text) != 2*sha256.Size && len(text) != 2*sha1.Size {
		return OID{}, false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return OID{}, false
		}
	}
	return OID{text}, true
}

// Algorithm names the digest as in-toto's DigestSet does: "sha256", or "gitBlob" for git's sha1.
func (o OID) Algorithm() string {
	if len(o.text) == 2*sha256.Size {
		return "sha256"
	}
	return "gitBlob"
}

// String is the digest in hexadecimal.
func (o OID) String() string { return o.text }

// IsZero reports whether o is no digest.
func (o OID) IsZero() bool { return o.text == "" }

// hasher starts the digest of a file of size bytes.
func (o OID) hasher(size int64) hash.Hash {
	if o.Algorithm() == "sha256" {
		return sha256.New()
	}
	h := sha1.New() //nolint:gosec // see the import
	_, _ = fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// Reader returns r with a check at its end: when it does not give exactly size bytes with the digest o, the last read fails
// with ErrMismatch instead of io.EOF. At most one byte beyond size is read from r.
func (o OID) Reader(r io.Reader, size int64) io.Reader {
	return &checked{r: io.LimitReader(r, size+1), oid: o, size: size, hash: o.hasher(size)}
}

type checked struct {
	r    io.Reader
	oid  OID
	size int64
	read int64
	hash hash.Hash
	err  error
}

func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	_, _ = c.hash.Write(p[:n]) // a hash never fails to write
	c.read += int64(n)
	switch {
	case c.read > c.size:
		n-- // the one byte that is too many
		err = fmt.Errorf("%w: more than %d bytes", ErrMismatch, c.size)
	case err == io.EOF && c.read < c.size:
		err = fmt.Errorf("%w: %d bytes instead of %d", ErrMismatch, c.read, c.size)
	case err == io.EOF:
		err = c.check()
	}
	c.err = err
	return n, err
}

func (c *checked) check() error {
	if got := hex.EncodeToString(c.hash.Sum(nil)); got != c.oid.text {
		return fmt.Errorf("%w: its %s is %s instead of %s", ErrMismatch, c.oid.Algorithm(), got, c.oid.text)
	}
	return io.EOF
}

// MaxPointerBytes is the size that a git-lfs pointer does not reach (git-lfs docs/spec.md: "must be less than 1024 bytes").
const MaxPointerBytes = 1024

// pointerStart begins every git-lfs pointer (git-lfs docs/spec.md: "The first key is always version").
var pointerStart = []byte("version https://git-lfs.github.com/spec/v1\n")

// Pointers returns fsys with a look at each file that is opened: found is told the name of one that is a git-lfs pointer, as
// they stand in a clone whose files were not fetched, and its error is the opening's. Links are seen as in fsys.
func Pointers(fsys fs.FS, found func(name string) error) fs.FS { return pointers{fsys, found} }

type pointers struct {
	fs.FS
	found func(name string) error
}

// Open implements fs.FS. What it returns is the file of the inner file system.
func (p pointers) Open(name string) (fs.File, error) {
	f, err := p.FS.Open(name)
	if err != nil {
		return nil, err
	}
	is, err := isPointer(f)
	if err == nil && is {
		err = p.found(name)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// isPointer looks at the beginning of a small file that can be read again from there.
func isPointer(f fs.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	s, ok := f.(io.ReadSeeker)
	if !ok || !info.Mode().IsRegular() || info.Size() >= MaxPointerBytes {
		return false, nil
	}
	head := make([]byte, len(pointerStart))
	n, err := io.ReadFull(s, head)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	_, err = s.Seek(0, io.SeekStart)
	return bytes.Equal(head[:n], pointerStart), err
}

// ReadDir implements fs.ReadDirFS.
func (p pointers) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(p.FS, name) }

// Stat implements fs.StatFS.
func (p pointers) Stat(name string) (fs.FileInfo, error) { return fs.Stat(p.FS, name) }

// Lstat implements fs.ReadLinkFS.
func (p pointers) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(p.FS, name) }

// ReadLink implements fs.ReadLinkFS.
func (p pointers) ReadLink(name string) (string, error) { return fs.ReadLink(p.FS, name) }
