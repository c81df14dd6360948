package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/manifest"
)

// MaxTarFiles bounds the files of a package that stand in tar layers.
const MaxTarFiles = 1_000_000

const (
	maxPAXRecords = 16 << 10 // bytes of the records of one header: two names of manifest.MaxNameLength and more
	maxTarHeaders = 16 << 20 // bytes of the headers in front of one file: its own and those of the directories above it
)

// tarForm is one of the two forms of tar layers. In both there is one way only to write a tree, and readers take no other: files
// stand in the order of their paths, their headers are those of entryHeader, padding is of zeros, and two blocks of zeros end the
// layer. So links, devices, twins, names that another header overrides and bytes behind the end are all refused alike.
type tarForm struct {
	root string // the directory in which all files stand; empty for none
	dirs bool   // directories have entries, each in front of the first file below it
}

// entryHeader is the header of a file or directory: mode 0644 or 0755, and everything else that a tar can say of it zero or empty. It is a pax header
// (POSIX.1-2024) as archive/tar writes it: with an extended header where a name is not ASCII or longer than 100 bytes, or a size 8 GiB or more.
func entryHeader(name string, size int64, dir bool) ([]byte, error) {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	if dir {
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, name+"/", 0o755
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("%q: %w: %w", name, manifest.ErrName, err)
	}
	return b.Bytes(), nil
}

// padding is how many zeros follow the contents of a file.
func padding(size int64) int64 { return (tarBlock - size%tarBlock) % tarBlock }

// name is the path of a file in the tar.
func (f tarForm) name(path string) string {
	if f.root == "" {
		return path
	}
	return f.root + "/" + path
}

// tarSequence makes the headers of a tar, one file after the other.
type tarSequence struct {
	form tarForm
	last string // path of the file before
	seen map[string]bool
}

// next returns all headers that stand in front of the contents of a file.
func (s *tarSequence) next(path string, size int64) ([]byte, error) {
	if path <= s.last {
		return nil, fmt.Errorf("%q stands behind %q", path, s.last)
	}
	s.last = path
	var all []byte
	name := s.form.name(path)
	if s.form.dirs {
		if s.seen == nil {
			s.seen = map[string]bool{}
		}
		var missing []string
		for dir := range parents(name) {
			if s.seen[dir] {
				break
			}
			s.seen[dir] = true
			missing = append(missing, dir)
		}
		for i := range missing {
			header, err := entryHeader(missing[len(missing)-1-i], 0, true)
			if err != nil {
				return nil, err
			}
			all = append(all, header...)
		}
	}
	header, err := entryHeader(name, size, false)
	return append(all, header...), err
}

// tarFile is a file in a tar.
type tarFile struct {
	manifest.File
	offset int64 // of the contents, in bytes
}

// tarball is a tar before it is written, or one whose contents are known.
type tarball struct {
	form  tarForm
	files []tarFile // in the order of their paths
	size  int64     // in bytes
}

// newTarball computes the tar of files, which are in the order of their paths.
func newTarball(form tarForm, files []manifest.File) (*tarball, error) {
	t := &tarball{form: form, files: make([]tarFile, len(files))}
	seq := tarSequence{form: form}
	for i, f := range files {
		header, err := seq.next(f.Path, f.Size)
		if err != nil {
			return nil, fmt.Errorf("oci: %w", err)
		}
		if len(header) > maxTarHeaders || f.Size < 0 || f.Size > math.MaxInt64-t.size-int64(len(header))-4*tarBlock {
			return nil, fmt.Errorf("oci: %s: %w: it does not fit into a tar", f.Path, ErrLimit)
		}
		t.files[i] = tarFile{f, t.size + int64(len(header))}
		t.size += int64(len(header)) + f.Size + padding(f.Size)
	}
	t.size += 2 * tarBlock
	return t, nil
}

// opener opens the contents of a file from an offset on.
type opener func(f manifest.File, offset int64) (io.ReadCloser, error)

// stream reads the tar from an offset on. Files that stand before it are not opened.
func (t *tarball) stream(offset int64, open opener) io.ReadCloser {
	return &tarStream{ball: t, open: open, skip: offset, seq: tarSequence{form: t.form}}
}

// tarStream reads a tar that nobody has written: headers, contents and padding in turn.
type tarStream struct {
	ball *tarball
	open opener
	seq  tarSequence
	skip int64 // bytes that are still to be left out
	file int   // index of the file that is at work
	part int   // 0 for its headers, 1 for its contents, 2 for its padding

	piece io.Reader // what is read now; nil between two pieces
	close func() error
}

// Read implements io.Reader.
func (s *tarStream) Read(p []byte) (int, error) {
	for {
		if s.piece == nil {
			if err := s.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := s.piece.Read(p)
		if err == io.EOF {
			err = s.Close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Close implements io.Closer.
func (s *tarStream) Close() error {
	s.piece = nil
	if s.close == nil {
		return nil
	}
	err := s.close()
	s.close = nil
	return err
}

// next opens the piece that comes next, or none when all of it is left out.
func (s *tarStream) next() error {
	zeros := int64(0)
	switch files := s.ball.files; {
	case s.file > len(files):
		return io.EOF
	case s.file == len(files):
		zeros = 2 * tarBlock
		s.file++
	case s.part == 0:
		header, err := s.seq.next(files[s.file].Path, files[s.file].Size)
		if err != nil {
			return err
		}
		s.part = 1
		s.bytes(header)
		return nil
	case s.part == 1:
		s.part = 2
		return s.contents(files[s.file].File)
	default:
		zeros = padding(files[s.file].Size)
		s.file, s.part = s.file+1, 0
	}
	s.bytes(make([]byte, zeros))
	return nil
}

func (s *tarStream) bytes(p []byte) {
	left := min(s.skip, int64(len(p)))
	s.skip -= left
	s.piece = bytes.NewReader(p[left:])
}

func (s *tarStream) contents(f manifest.File) error {
	left := min(s.skip, f.Size)
	if s.skip -= left; left == f.Size && left > 0 {
		return nil
	}
	rc, err := s.open(f, left)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	s.piece, s.close = &exactly{rc, f, f.Size - left}, rc.Close
	return nil
}

// exactly reads a file to its end, which must be where the tar says.
type exactly struct {
	r    io.Reader
	file manifest.File
	left int64
}

// Read implements io.Reader.
func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if e.left < 0 || err == io.EOF && e.left > 0 {
		return 0, fmt.Errorf("%s: %w: it has another size", e.file.Path, manifest.ErrChanged)
	}
	return n, err
}

// write writes the tar.
func (t *tarball) write(ctx context.Context, w io.Writer, open opener, progress func(int)) error {
	r := t.stream(0, open)
	defer func() { _ = r.Close() }()
	_, err := manifest.Copy(ctx, w, r, progress)
	return err
}

// tarReader reads a tar in one of the forms, and nothing else.
type tarReader struct {
	r    io.Reader
	at   int64 // bytes read
	seq  tarSequence
	left int64 // of the contents of the last file and their padding
	pad  int64
}

func (t *tarReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.at += int64(n)
	return n, err
}

// malformed says what is wrong with a tar. It wraps ErrContent.
func (t *tarReader) malformed(format string, args ...any) error {
	return fmt.Errorf("%w: tar: %s, before byte %d", ErrContent, fmt.Sprintf(format, args...), t.at)
}

// full fills p.
func (t *tarReader) full(p []byte) error {
	_, err := io.ReadFull(t, p)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && !isSentinel(err) {
		return t.malformed("it ends early")
	}
	return err
}

// next moves on to the next file, of which it returns path, size and offset. At the end of the tar, behind which there is nothing, it returns io.EOF.
func (t *tarReader) next() (tarFile, error) {
	if err := t.skipContents(); err != nil {
		return tarFile{}, err
	}
	var raw []byte // the headers since the last file
	for {
		header, err := t.header()
		if err != nil {
			return tarFile{}, err
		}
		if header == nil {
			return tarFile{}, t.end(raw)
		}
		if raw = append(raw, header...); len(raw) > maxTarHeaders {
			return tarFile{}, t.malformed("headers of more than %d bytes in front of a file", maxTarHeaders)
		}
		h, err := tar.NewReader(bytes.NewReader(header)).Next()
		switch {
		case err != nil:
			return tarFile{}, t.malformed("a header cannot be read (%v)", err)
		case h.Typeflag == tar.TypeDir && t.seq.form.dirs:
			continue
		case h.Typeflag != tar.TypeReg:
			return tarFile{}, t.malformed("%q is %s", h.Name, tarKind(h.Typeflag))
		}
		return t.file(h, raw)
	}
}

// file checks that raw is what stands in front of the file with header h.
func (t *tarReader) file(h *tar.Header, raw []byte) (tarFile, error) {
	path, ok := h.Name, true
	if root := t.seq.form.root; root != "" {
		path, ok = strings.CutPrefix(h.Name, root+"/")
	}
	if !ok {
		return tarFile{}, t.malformed("%q does not stand in %s/", h.Name, t.seq.form.root)
	}
	if err := manifest.CheckName(path); err != nil {
		return tarFile{}, t.malformed("%v", err)
	}
	want, err := t.seq.next(path, h.Size)
	if err != nil {
		return tarFile{}, t.malformed("%v", err)
	}
	if !bytes.Equal(raw, want) {
		return tarFile{}, t.malformed("the headers of %q are not in the one form that is read", h.Name)
	}
	t.left, t.pad = h.Size, padding(h.Size)
	return tarFile{manifest.File{Path: path, Size: h.Size}, t.at}, nil
}

// header reads the blocks of one header: with an extended one, both and its records. At the first block of zeros it returns nil.
func (t *tarReader) header() ([]byte, error) {
	raw := make([]byte, tarBlock)
	if err := t.full(raw); err != nil {
		return nil, err
	}
	if isZero(raw) {
		return nil, nil
	}
	const typeflag, size = 156, 124 // offsets in a header, of 1 and 12 bytes
	if raw[typeflag] != tar.TypeXHeader {
		return raw, nil
	}
	var n int64
	if _, err := fmt.Sscanf(string(raw[size:size+11]), "%o", &n); err != nil || n <= 0 || n > maxPAXRecords {
		return nil, t.malformed("an extended header of more than %d bytes, or without a size", maxPAXRecords)
	}
	raw = append(raw, make([]byte, n+padding(n)+tarBlock)...)
	return raw, t.full(raw[tarBlock:])
}

// contents reads those of the file that next returned last.
func (t *tarReader) contents() io.Reader { return tarContents{t} }

type tarContents struct{ t *tarReader }

func (c tarContents) Read(p []byte) (int, error) {
	if c.t.left == 0 {
		return 0, io.EOF
	}
	n, err := c.t.Read(p[:min(int64(len(p)), c.t.left)])
	c.t.left -= int64(n)
	return n, err
}

// skipContents reads what is left of a file, and its padding.
func (t *tarReader) skipContents() error {
	if _, err := io.CopyN(io.Discard, t.contents(), t.left); err != nil {
		if err == io.EOF {
			return t.malformed("it ends within a file")
		}
		return err
	}
	pad := make([]byte, t.pad)
	t.pad = 0
	if err := t.full(pad); err != nil {
		return err
	}
	if !isZero(pad) {
		return t.malformed("bytes behind the contents of %q", t.seq.last)
	}
	return nil
}

// end is the second block of zeros and nothing behind it.
func (t *tarReader) end(headers []byte) error {
	block := make([]byte, tarBlock)
	switch err := t.full(block); {
	case err != nil:
		return err
	case !isZero(block):
		return t.malformed("one block of zeros where two end a tar")
	case len(headers) > 0:
		return t.malformed("a directory without a file")
	case t.seq.last == "":
		return t.malformed("it is empty")
	}
	n, err := t.Read(block[:1])
	for n == 0 && err == nil {
		n, err = t.Read(block[:1])
	}
	if n > 0 {
		return t.malformed("bytes behind its end")
	}
	return err
}

func isZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// tarKind names the types of entries that are refused.
func tarKind(typeflag byte) string {
	switch typeflag {
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a pipe"
	case tar.TypeDir:
		return "a directory"
	}
	return fmt.Sprintf("an entry of type %q", typeflag)
}

// readTar reads the tar layer desc of target, verified, and calls visit with each file and its contents, which visit need not read to the end. visit acts on bytes whose
// layer is not verified until readTar returns nil. What is no tar in the form fails with ErrContent.
func readTar(ctx context.Context, target content.Fetcher, desc ocispec.Descriptor, form tarForm, progress func(int), visit func(tarFile, io.Reader) error) error {
	source, err := openLayer(ctx, target, desc, progress)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	t := &tarReader{r: bufio.NewReaderSize(source, 1<<18), seq: tarSequence{form: form}}
	for n := 0; ; n++ {
		f, err := t.next()
		if err == io.EOF {
			break
		}
		if err == nil && n == MaxTarFiles {
			err = fmt.Errorf("%w: more than %d files in a tar", ErrLimit, MaxTarFiles)
		}
		if err == nil {
			err = visit(f, t.contents())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", desc.Digest, err)
		}
	}
	return source.check(desc)
}

// tarLayer is a layer that holds several files.
type tarLayer struct {
	desc ocispec.Descriptor
	ball *tarball
}

// read reads the layer, verified, which must hold exactly the files that it is known to. visit must verify contents.
func (l *tarLayer) read(ctx context.Context, target content.Fetcher, progress func(int), visit func(manifest.File, io.Reader) error) error {
	n := 0
	err := readTar(ctx, target, l.desc, l.ball.form, progress, func(f tarFile, contents io.Reader) error {
		if n == len(l.ball.files) || f.Path != l.ball.files[n].Path || f.Size != l.ball.files[n].Size {
			return fmt.Errorf("%w: tar: %q is not what the list says of the layer", ErrContent, f.Path)
		}
		n++
		return visit(l.ball.files[n-1].File, contents)
	})
	if err == nil && n < len(l.ball.files) {
		err = fmt.Errorf("%s: %w: tar: %q is missing", l.desc.Digest, ErrContent, l.ball.files[n].Path)
	}
	return err
}

// verify reads the layer and verifies it and each file in it.
func (l *tarLayer) verify(ctx context.Context, target content.Fetcher, progress func(int)) error {
	return l.read(ctx, target, progress, func(f manifest.File, contents io.Reader) error {
		return verifyContents(ctx, f, contents)
	})
}

func verifyContents(ctx context.Context, f manifest.File, contents io.Reader) error {
	if err := copyVerified(ctx, contents, layerOf(f), io.Discard, nil); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}
