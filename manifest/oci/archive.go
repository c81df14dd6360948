package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of an archive.
const (
	MaxArchiveEntries = 200_000 // files and directories
	maxArchivePadding = 1 << 20 // bytes of zeros behind the last entry; GNU tar writes up to 10 KiB
)

const tarBlock = 512

// Archive is an OCI image layout (OCI image-spec v1.1, image-layout.md) in one uncompressed tar (POSIX.1-2017, pax, "ustar
// Interchange Format"), as an oras target that can only be read. Nothing is extracted: the tar is indexed once, and blobs are read
// where they stand. The file must not be changed meanwhile; whoever reads a blob verifies it. Its methods may be called concurrently.
type Archive struct {
	layoutView
}

var _ Target = (*Archive)(nil)

// OpenArchive opens the layout in the tar file name, in any order of entries and with or without "./" before their names. A
// missing file fails with ErrNotFound. One that is no such tar fails with ErrNotLayout: compressed, cut off, with something behind
// its end, with links, devices or sparse files in it, or with the same name twice. More than MaxArchiveEntries fail with ErrLimit.
func OpenArchive(name string) (*Archive, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("oci: %s: no such archive: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("oci: %s: %w: it is no regular file", name, ErrNotLayout)
	}
	f, err := os.Open(name) // closed with the last reference to it
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	a, err := newArchive(name, f, info.Size())
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return a, nil
}

func newArchive(name string, r io.ReaderAt, size int64) (*Archive, error) {
	files, err := indexTar(r, size)
	if err != nil {
		return nil, fmt.Errorf("oci: %s: %w", name, err)
	}
	files.name = name
	a := &Archive{layoutView{files: files, fixed: true}}
	return a, a.checkVersion()
}

// Push fails with ErrReadOnly. See WriteArchive.
func (a *Archive) Push(context.Context, ocispec.Descriptor, io.Reader) error { return a.readOnly() }

// Tag fails with ErrReadOnly.
func (a *Archive) Tag(context.Context, ocispec.Descriptor, string) error { return a.readOnly() }

func (a *Archive) readOnly() error { return fmt.Errorf("oci: %s: %w", a.files, ErrReadOnly) }

// tarFiles are the regular files of a tar.
type tarFiles struct {
	name    string
	r       io.ReaderAt
	entries map[string]tarEntry
}

// tarEntry is where the content of a file stands.
type tarEntry struct{ offset, size int64 }

func (t *tarFiles) String() string { return t.name }

func (t *tarFiles) open(name string) (io.ReadSeekCloser, int64, error) {
	e, ok := t.entries[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return section{io.NewSectionReader(t.r, e.offset, e.size)}, e.size, nil
}

func (t *tarFiles) stat(name string) (int64, error) {
	e, ok := t.entries[name]
	if !ok {
		return 0, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return e.size, nil
}

func (t *tarFiles) list(dir string) ([]string, error) {
	var names []string
	for name := range t.entries {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// section is a part of a file that stays open.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// indexTar finds the files in a tar of size bytes. It holds their names and places in memory, never their content.
func indexTar(r io.ReaderAt, size int64) (*tarFiles, error) {
	if err := checkPlain(r); err != nil {
		return nil, err
	}
	t := &tarFiles{r: r, entries: map[string]tarEntry{}}
	whole := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(whole)
	end := int64(0) // of the last entry, with its padding
	for n := 0; ; n++ {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return t, checkTarEnd(r, end, size)
		}
		if err != nil {
			return nil, tarError(err)
		}
		if n == MaxArchiveEntries {
			return nil, fmt.Errorf("%w: more than %d entries", ErrLimit, MaxArchiveEntries)
		}
		// The reader takes whole blocks and seeks over what is not read, so that it stands behind the header now.
		offset, err := whole.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		length, err := t.add(header, offset, size)
		if err != nil {
			return nil, err
		}
		end = offset + (length+tarBlock-1)/tarBlock*tarBlock
	}
}

// checkPlain refuses a compressed file: blobs cannot be read where they stand in one.
func checkPlain(r io.ReaderAt) error {
	head := make([]byte, 6)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for magic, tool := range map[string]string{"\x1f\x8b": "gunzip", "\x28\xb5\x2f\xfd": "zstd -d", "BZh": "bunzip2", "\xfd7zXZ\x00": "unxz"} {
		if bytes.HasPrefix(head[:n], []byte(magic)) {
			return fmt.Errorf("%w: it is compressed: unpack it with `%s` first", ErrNotLayout, tool)
		}
	}
	return nil
}

// tarError keeps what a stranger's bytes cause apart from a disk that fails.
func tarError(err error) error {
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		return err
	}
	return fmt.Errorf("%w: no whole tar: %w", ErrNotLayout, err)
}

// add takes one entry in and returns the length of its content.
func (t *tarFiles) add(header *tar.Header, offset, size int64) (int64, error) {
	name := strings.TrimPrefix(header.Name, "./")
	switch {
	case header.Typeflag == tar.TypeDir:
		name = strings.TrimSuffix(name, "/")
		if header.Size != 0 || name != "" && !fs.ValidPath(name) {
			return 0, fmt.Errorf("%w: %q is no name of a directory in a layout", ErrNotLayout, header.Name)
		}
		return 0, nil
	case header.Typeflag != tar.TypeReg || isSparse(header):
		return 0, fmt.Errorf("%w: %q is neither a plain file nor a directory", ErrNotLayout, header.Name)
	case !fs.ValidPath(name) || strings.Contains(name, `\`):
		return 0, fmt.Errorf("%w: %q is no name of a file in a layout", ErrNotLayout, header.Name)
	case header.Size < 0 || header.Size > size-offset:
		return 0, fmt.Errorf("%w: it is cut off in %q", ErrNotLayout, header.Name)
	}
	if _, twice := t.entries[name]; twice {
		return 0, fmt.Errorf("%w: it holds %q twice, and readers disagree about which counts", ErrNotLayout, name)
	}
	t.entries[name] = tarEntry{offset, header.Size}
	return header.Size, nil
}

// isSparse tells a file whose content does not stand in the tar as it is.
func isSparse(header *tar.Header) bool {
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return header.Typeflag == tar.TypeGNUSparse
}

// checkTarEnd is POSIX.1-2017, pax, "ustar Interchange Format": "at the end of the archive file there shall be two 512-octet
// logical records filled with binary zeros". Anything else behind the last entry would be found by other readers only.
func checkTarEnd(r io.ReaderAt, end, size int64) error {
	switch rest := size - end; {
	case rest < 2*tarBlock:
		return fmt.Errorf("%w: it is cut off: a tar ends with two blocks of zeros", ErrNotLayout)
	case rest > maxArchivePadding:
		return fmt.Errorf("%w: %d bytes behind its last entry", ErrNotLayout, rest)
	}
	tail := make([]byte, size-end)
	if _, err := r.ReadAt(tail, end); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(bytes.Trim(tail, "\x00")) > 0 {
		return fmt.Errorf("%w: something stands behind its end", ErrNotLayout)
	}
	return nil
}
