package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/strictjson"
)

const maxLayoutFile = 4 << 10

// layoutFiles are the files of an image layout, wherever they stand. Names have slashes. What is missing fails
// with fs.ErrNotExist, what is no regular file with ErrContent. String names the place for people.
type layoutFiles interface {
	fmt.Stringer
	open(name string) (file io.ReadSeekCloser, size int64, err error)
	stat(name string) (size int64, err error)
	list(dir string) (names []string, err error) // of the files and directories in dir, sorted
}

// layoutView reads an image layout (OCI image-spec v1.1, image-layout.md). It trusts no file: who reads a blob verifies it.
type layoutView struct {
	files layoutFiles
	fixed bool // the files do not change, so that the graph is read once
	mu    sync.Mutex
	known *graph // once it was read, if fixed
}

func (l *layoutView) view() *layoutView { return l }

// asLayout returns the layout in which target reads, or nil for a registry.
func asLayout(target Target) *layoutView {
	if l, ok := target.(interface{ view() *layoutView }); ok {
		return l.view()
	}
	return nil
}

// checkVersion is OCI image-spec v1.1, image-layout.md, "oci-layout file": it "MUST" be there and name the version.
func (l *layoutView) checkVersion() error {
	data, err := l.read(ocispec.ImageLayoutFile, maxLayoutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("oci: %s: %w: it holds no file %s", l.files, ErrNotLayout, ocispec.ImageLayoutFile)
	}
	if err != nil {
		return fmt.Errorf("oci: %s: %w: %w", l.files, ErrNotLayout, err)
	}
	var layout ocispec.ImageLayout
	if err := strictjson.Unmarshal(data, &layout, strictjson.Limits{}); err != nil || layout.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("oci: %s: %w: version %q in %s", l.files, ErrNotLayout, layout.Version, ocispec.ImageLayoutFile)
	}
	return nil
}

// blobName is OCI image-spec v1.1, image-layout.md: "blobs/<alg>/<encoded>". The digest must be valid.
func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// read reads a file of at most max bytes.
func (l *layoutView) read(name string, max int64) ([]byte, error) {
	f, size, err := l.files.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if size > max {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d are read", name, ErrLimit, size, max)
	}
	return io.ReadAll(io.LimitReader(f, max))
}

// Fetch opens the blob that desc describes. The bytes are not verified; the size is.
func (l *layoutView) Fetch(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%w: digest %q: %w", ErrContent, desc.Digest, err)
	}
	f, size, err := l.files.open(blobName(desc.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", desc.Digest, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if size != desc.Size {
		defer func() { _ = f.Close() }()
		return nil, &mismatchError{want: desc, gotSize: size, linked: hasOtherNames(f)}
	}
	return f, nil
}

// Exists reports whether the layout holds the blob that desc describes, whole: it is hashed, so
// that a damaged blob counts as missing and is written again.
func (l *layoutView) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	err := copyBlob(ctx, l, desc, io.Discard, nil)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrContent) {
		return false, nil
	}
	return err == nil, err
}

// directory holds the files of a layout on disk.
type directory string

func (d directory) String() string { return string(d) }

func (d directory) path(name string) string {
	return filepath.Join(string(d), filepath.FromSlash(name))
}

// open opens a file that must be a regular one: a pipe would block, a link lead elsewhere.
func (d directory) open(name string) (io.ReadSeekCloser, int64, error) {
	size, err := d.stat(name)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, 0, err
	}
	return f, size, nil
}

func (d directory) stat(name string) (int64, error) {
	info, err := os.Lstat(d.path(name))
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s: %w: not a regular file", d.path(name), ErrContent)
	}
	return info.Size(), nil
}

func (d directory) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(d.path(dir))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}
