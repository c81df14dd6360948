package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/manifest"
)

// MaxTarFiles bounds the files of a package that stand in tar layers.
const MaxTarFiles = 1_000_000

const (
	tarBlock      = 512      // bytes; POSIX.1-2024, pax, "ustar Interchange Format"
	maxPAXRecords = 16 << 10 // bytes of the records of one header: two names of manifest.MaxNameLength and more
	maxTarHeaders = 16 << 20 // bytes of the headers in front of one file: its own and those of the directories above it
)

// tarForm is one of the two forms of tar layers. In both there is one way only to write a tree, and readers take no other: files
// stand in the order of their paths, their headers are those of tarHeader, padding is of zeros, and two blocks of zeros end the
// layer. So links, devices, twins, names that another header overrides and bytes behind the end are all refused alike.
type tarForm struct {
	root string // the directory in which all files stand; empty for none
	dirs bool   // directories have entries, each in front of the first file below it
}

// tarHeader is the header of a file or directory: mode 0644 or 0755, and everything else that a tar can say of it zero or empty. It is a pax header
// (POSIX.1-2024) as archive/tar writes it: with an extended header where a name is not ASCII or longer than 100 bytes, or a size 8 GiB or more.
func tarHeader(name string, size int64, dir bool) ([]byte, error) {
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
			header, err := tarHeader(missing[len(missing)-1-i], 0, true)
			if err != nil {
				return nil, err
			}
			all = append(all, header...)
		}
	}
	header, err := tarHeader(name, size, false)
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

// write writes the tar with the contents of the files below fsys. Each one is verified while it is copied, and fails with manifest.ErrChanged.
func (t *tarball) write(ctx context.Context, to io.Writer, fsys fs.FS, progress func(int)) error {
	w := bufio.NewWriterSize(to, 1<<16)
	seq := tarSequence{form: t.form}
	zeros := make([]byte, 2*tarBlock)
	for _, f := range t.files {
		header, err := seq.next(f.Path, f.Size)
		if err != nil {
			return err
		}
		if _, err := w.Write(header); err != nil {
			return err
		}
		if err := copyFile(ctx, w, fsys, f.File, progress); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		if _, err := w.Write(zeros[:padding(f.Size)]); err != nil {
			return err
		}
	}
	if _, err := w.Write(zeros); err != nil {
		return err
	}
	return w.Flush()
}

// putTar writes a tar as a blob of target. Into a layout it is hashed while it is written. Other targets want the digest first, and are sent nothing
// that they have: the files are read once more for that. isNew says that the blob was not there.
func putTar(ctx context.Context, target Target, t *tarball, mediaType string, fsys fs.FS, progress func(int)) (desc ocispec.Descriptor, isNew bool, err error) {
	h := digest.SHA256.Digester()
	desc = ocispec.Descriptor{MediaType: mediaType, Size: t.size}
	if l, ok := target.(*Layout); ok {
		isNew, err = l.writeUnnamed(h, func(w io.Writer) error { return t.write(ctx, w, fsys, progress) })
		desc.Digest = h.Digest()
		return desc, isNew, err
	}
	if err := t.write(ctx, h.Hash(), fsys, nil); err != nil {
		return desc, false, err
	}
	desc.Digest = h.Digest()
	exists, err := target.Exists(ctx, desc)
	if err != nil || exists {
		report(progress, t.size)
		return desc, false, err
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := t.write(ctx, w, fsys, progress)
		_ = w.CloseWithError(err)
		done <- err
	}()
	err = target.Push(ctx, desc, r)
	_ = r.CloseWithError(errUnread)
	if cause := <-done; cause != nil && !errors.Is(cause, errUnread) {
		return desc, false, cause
	}
	return desc, true, err
}

// errUnread ends the writing of a tar that nobody reads any more.
var errUnread = errors.New("the upload ended")

// writeUnnamed writes a blob whose digest h knows when fill has written it.
func (l *Layout) writeUnnamed(h digest.Digester, fill func(io.Writer) error) (isNew bool, err error) {
	dir := l.path(ocispec.ImageBlobsDir, digest.SHA256.String())
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return false, err
	}
	to, err := atomicfile.Begin(dir, atomicfile.Options{Perm: 0o444})
	if err != nil {
		return false, err
	}
	defer to.Abort()
	if err := fill(io.MultiWriter(h.Hash(), to)); err != nil {
		return false, err
	}
	name, err := l.blobPath(h.Digest())
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(name)
	isNew = errors.Is(err, fs.ErrNotExist)
	if err := to.Commit(name); err != nil {
		return false, err
	}
	return isNew, atomicfile.SyncDir(dir)
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
func readTar(ctx context.Context, target Target, desc ocispec.Descriptor, form tarForm, progress func(int), visit func(tarFile, io.Reader) error) error {
	if err := checkDescriptor(desc); err != nil {
		return err
	}
	rc, err := target.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer func() { _ = rc.Close() }()
	h := desc.Digest.Algorithm().Hash()
	counted := &countedReader{ctx: ctx, r: io.TeeReader(io.LimitReader(rc, desc.Size), h), progress: progress}
	t := &tarReader{r: bufio.NewReaderSize(counted, 1<<18), seq: tarSequence{form: form}}
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
	if t.at != desc.Size {
		return &mismatchError{want: desc, gotSize: t.at}
	}
	if got := digest.NewDigest(desc.Digest.Algorithm(), h); got != desc.Digest {
		return &mismatchError{want: desc, got: got, gotSize: t.at}
	}
	return nil
}

// countedReader tells of what is read, and ends with ctx.
type countedReader struct {
	ctx      context.Context
	r        io.Reader
	progress func(int)
}

func (c *countedReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	report(c.progress, int64(n))
	return n, err
}

// tarLayer is a layer that holds several files.
type tarLayer struct {
	desc ocispec.Descriptor
	ball *tarball
}

// read reads the layer, verified, which must hold exactly the files that it is known to. visit must verify contents.
func (l *tarLayer) read(ctx context.Context, target Target, progress func(int), visit func(manifest.File, io.Reader) error) error {
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
func (l *tarLayer) verify(ctx context.Context, target Target, progress func(int)) error {
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
