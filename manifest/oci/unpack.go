package oci

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/manifest"
)

// Limits of what layers are unpacked into.
const (
	// MaxUnpackedEntries bounds how many entries the archives of one package may have together.
	MaxUnpackedEntries = 500_000
	// MaxUnpackedNames bounds the bytes of their names.
	MaxUnpackedNames = 64 << 20
	// MaxExpansion bounds how many times its size a compressed layer may become, and MinExpansion is the size in bytes that every
	// one may have. Weights hardly shrink and text does by a factor of ten; a bomb grows a thousandfold.
	MaxExpansion = 100
	MinExpansion = 1 << 30
	// maxWindow is what the decoder of zstd may hold in memory, in bytes: the window of `zstd --long`.
	maxWindow = 128 << 20
)

// unpackLimits are variables for tests.
type unpackLimits struct {
	entries   int
	names     int
	expansion int64
	least     int64
}

var usualUnpackLimits = unpackLimits{MaxUnpackedEntries, MaxUnpackedNames, MaxExpansion, MinExpansion}

// putFile takes the contents of a file that is not verified yet; it reads r to its end or fails.
type putFile func(name string, r io.Reader) error

// unpacker reads the layers of one package whose files are known once they were read.
type unpacker struct {
	target   Target
	limits   unpackLimits // what is left of them
	dirs     map[string]bool
	progress func(n int) // told the bytes of layers; may be nil
	put      putFile
}

func newUnpacker(target Target, progress func(n int), put putFile) *unpacker {
	return &unpacker{target: target, limits: usualUnpackLimits, dirs: map[string]bool{}, progress: progress, put: put}
}

// layer reads one layer, gives its files to put, and returns them. When it fails nothing that put got is worth anything.
func (u *unpacker) layer(ctx context.Context, desc ocispec.Descriptor, l *Layer) ([]manifest.File, error) {
	source, err := openLayer(ctx, u.target, desc, u.progress)
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	files, err := u.expand(source, desc, l)
	if err != nil {
		if source.err != nil { // reading failed, not what was read
			err = source.err
		}
		return nil, err
	}
	if _, err := io.Copy(io.Discard, source); err != nil {
		return nil, err
	}
	return files, source.check(desc)
}

// layerReader hashes what is read of a layer and remembers why reading failed.
type layerReader struct {
	io.Closer
	ctx      context.Context
	r        io.Reader
	hash     hash.Hash
	read     int64
	err      error
	progress func(n int)
}

// openLayer begins to read a layer of target. At most one byte more than desc.Size is read; check says whether it was the layer.
func openLayer(ctx context.Context, target content.Fetcher, desc ocispec.Descriptor, progress func(int)) (*layerReader, error) {
	if err := checkDescriptor(desc); err != nil {
		return nil, err
	}
	rc, err := target.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	return &layerReader{Closer: rc, ctx: ctx, r: io.LimitReader(rc, desc.Size+1), hash: desc.Digest.Algorithm().Hash(), progress: progress}, nil
}

func (s *layerReader) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	_, _ = s.hash.Write(p[:n]) // a hash never fails to write
	s.read += int64(n)
	report(s.progress, int64(n))
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *layerReader) check(desc ocispec.Descriptor) error {
	if s.read != desc.Size {
		return &mismatchError{want: desc, gotSize: s.read}
	}
	if got := digest.NewDigest(desc.Digest.Algorithm(), s.hash); got != desc.Digest {
		return &mismatchError{want: desc, got: got, gotSize: s.read}
	}
	return nil
}

// expand reads what is compressed and archived in the layer.
func (u *unpacker) expand(source io.Reader, desc ocispec.Descriptor, l *Layer) ([]manifest.File, error) {
	r, done, err := decompress(source, l.Compression)
	if err != nil {
		return nil, fmt.Errorf("%w: it is not %s: %w", ErrContent, l.Compression, err)
	}
	defer done()
	if l.Compression != "" {
		most := u.limits.least
		if desc.Size > most/u.limits.expansion {
			most = desc.Size * u.limits.expansion
		}
		r = &expansion{r, most}
	}
	if l.Archive {
		return u.archive(r)
	}
	file, err := u.file(l.Path, r)
	return []manifest.File{file}, err
}

func decompress(r io.Reader, compression string) (io.Reader, func(), error) {
	switch compression {
	case "gzip":
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// expansion ends a reader that gives too much.
type expansion struct {
	r    io.Reader
	left int64
}

func (e *expansion) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left < 0 {
		return 0, fmt.Errorf("%w: it expands to more than %d times its size", ErrLimit, MaxExpansion)
	}
	if err != nil && err != io.EOF && !errors.Is(err, ErrLimit) {
		err = fmt.Errorf("%w: %w", ErrContent, err)
	}
	return n, err
}

// archive reads a tar archive of files and directories, and nothing else: what tools make of links, devices and sparse files differs,
// and a second entry of a name replaces the first with some.
func (u *unpacker) archive(r io.Reader) ([]manifest.File, error) {
	var files []manifest.File
	seen := map[string]bool{}
	for tr := tar.NewReader(r); ; {
		head, err := tr.Next()
		if err == io.EOF {
			return files, u.rest(r)
		}
		if err != nil {
			return nil, classed(fmt.Errorf("not a readable tar archive: %w", err))
		}
		name, err := u.entry(head)
		if err != nil {
			return nil, fmt.Errorf("%w: archive entry %q: %w", ErrNotPackage, head.Name, err)
		}
		if head.Typeflag == tar.TypeDir {
			u.dirs[name] = true
			continue
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: archive entry %q: it is there twice", ErrNotPackage, name)
		}
		seen[name] = true
		file, err := u.file(name, tr)
		if err != nil {
			return nil, classed(err)
		}
		files = append(files, file)
	}
}

// classed makes an error of an archive one about its content, unless it has a class.
func classed(err error) error {
	if isSentinel(err) || errors.Is(err, errPut) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrContent, err)
}

// entry checks the head of an entry and returns its name as a path.
func (u *unpacker) entry(head *tar.Header) (string, error) {
	u.limits.entries--
	u.limits.names -= len(head.Name)
	if u.limits.entries < 0 || u.limits.names < 0 {
		return "", fmt.Errorf("%w: more than %d entries or %d bytes of names", ErrLimit, MaxUnpackedEntries, MaxUnpackedNames)
	}
	if head.Typeflag != tar.TypeReg && head.Typeflag != tar.TypeDir {
		return "", fmt.Errorf("it is neither a file nor a directory (type %q)", head.Typeflag)
	}
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return "", errors.New("it is sparse")
		}
	}
	// GNU tar writes "./a" and "dir/".
	name := strings.TrimPrefix(head.Name, "./")
	if head.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
		if name == "" || name == "." {
			return ".", nil
		}
	}
	return name, manifest.CheckName(name)
}

// errPut marks an error of putFile, which is not about the layer.
var errPut = errors.New("writing")

// file hands on the contents of a file and describes them.
func (u *unpacker) file(name string, r io.Reader) (manifest.File, error) {
	h := digest.SHA256.Digester()
	c := &counter{r: io.TeeReader(r, h.Hash())}
	if err := u.put(name, c); err != nil {
		if c.err != nil {
			return manifest.File{}, c.err
		}
		return manifest.File{}, fmt.Errorf("%w %s: %w", errPut, name, err)
	}
	return manifest.File{Path: name, Size: c.n, Digest: h.Digest()}, nil
}

// counter counts what is read and remembers why it ended.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// rest reads what is behind the end of an archive, which is filled up with zeros: other tools may find another archive there.
func (u *unpacker) rest(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return fmt.Errorf("%w: there is something behind the end of the archive", ErrNotPackage)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return classed(err)
		}
	}
}

// discardFile is a putFile that only reads.
func discardFile(_ string, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
