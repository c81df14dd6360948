package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/filelock"
	"github.com/mlseal/mlseal/internal/filestate"
)

const (
	lockName   = ".mlseal.lock"
	tempPrefix = ".mlseal-" // of internal/atomicfile
)

// How old a temporary file is that nobody writes any more: by its lock, and where locks say nothing.
const (
	tempLifetime         = time.Hour
	tempLifetimeUnlocked = 24 * time.Hour
)

// Layout is an OCI image layout on disk (OCI image-spec v1.1, image-layout.md) as an oras target.
// It holds no state: each call reads index.json again, so that several processes and several
// Layouts of one directory see each other's changes. Its methods may be called concurrently.
//
// oras-go's oci.Store is not used: it writes index.json in place and in random order, keeps no lock
// against other processes, and takes a blob for right when a file of its name exists.
type Layout struct {
	layoutView
	dir   string
	sweep sync.Once
}

func layoutIn(dir string) *Layout {
	return &Layout{layoutView: layoutView{files: directory(dir)}, dir: dir}
}

var _ Target = (*Layout)(nil)

// OpenLayout opens the layout in dir. It fails with ErrNotFound when dir is missing and with
// ErrNotLayout when it is something else.
func OpenLayout(dir string) (*Layout, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("oci: %s: no such layout: %w", dir, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("oci: %s: %w: it is no directory", dir, ErrNotLayout)
	}
	l := layoutIn(dir)
	if err := l.checkVersion(); err != nil {
		return nil, err
	}
	return l, l.checkDirs()
}

// checkDirs refuses links where directories belong: blobs written through one would land elsewhere.
func (l *Layout) checkDirs() error {
	for _, name := range []string{ocispec.ImageBlobsDir, filepath.Join(ocispec.ImageBlobsDir, "sha256")} {
		info, err := os.Lstat(l.path(name))
		if err == nil && !info.IsDir() {
			return fmt.Errorf("oci: %s: %w: %s is no directory", l.dir, ErrNotLayout, filepath.ToSlash(name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("oci: %w", err)
		}
	}
	return nil
}

// CreateLayout opens the layout in dir, and makes it first when dir is missing or empty. A
// directory that holds anything else fails with ErrNotLayout and is left as it is.
func CreateLayout(ctx context.Context, dir string) (*Layout, error) {
	l, err := OpenLayout(dir)
	if err == nil {
		return l, nil
	}
	if errors.Is(err, ErrNotFound) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("oci: %w", err)
		}
	} else if err := vacant(dir, err); err != nil {
		return nil, err
	}
	l = layoutIn(dir)
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Lstat(l.path(ocispec.ImageLayoutFile)); err == nil {
		return OpenLayout(dir) // somebody else was faster
	}
	return l, l.fill()
}

// vacant returns why (the error of OpenLayout) unless dir holds nothing, or just what an
// interrupted CreateLayout leaves, or one in another process has made by now: a lock with parts of an empty layout.
func vacant(dir string, why error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return why
	}
	// Looked for after the entries: who makes the layout at this moment begins with it.
	_, err = os.Lstat(filepath.Join(dir, lockName))
	begun := err == nil
	for _, e := range entries {
		switch name := e.Name(); {
		case name == lockName, strings.HasPrefix(name, tempPrefix):
		case begun && (name == ocispec.ImageBlobsDir || name == ocispec.ImageIndexFile || name == ocispec.ImageLayoutFile):
		default:
			return fmt.Errorf("%w, and it is not empty", why)
		}
	}
	return nil
}

// fill writes an empty layout. The file oci-layout comes last: with it the layout is whole.
func (l *Layout) fill() error {
	if err := l.checkDirs(); err != nil {
		return err
	}
	if err := os.MkdirAll(l.path(ocispec.ImageBlobsDir, "sha256"), 0o777); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	index, err := json.Marshal(emptyIndex())
	if err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(l.path(ocispec.ImageIndexFile), index, atomicfile.Options{}); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	if err := atomicfile.Write(l.path(ocispec.ImageLayoutFile), version, atomicfile.Options{}); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	return nil
}

func (l *Layout) path(elements ...string) string {
	return filepath.Join(append([]string{l.dir}, elements...)...)
}

// lock keeps other processes and other goroutines from changing the layout until unlock is called.
func (l *Layout) lock(ctx context.Context) (unlock func(), err error) {
	// The layout may come from a stranger, and a link under this name would make the file elsewhere.
	if info, err := os.Lstat(l.path(lockName)); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("oci: %s: %w: %s is not a regular file", l.dir, ErrNotLayout, lockName)
	}
	f, err := os.OpenFile(l.path(lockName), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	if err := filelock.Wait(ctx, f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("oci: lock of %s: %w", l.dir, err)
	}
	l.sweep.Do(func() { l.removeLeftovers(time.Now().Add(-tempLifetime)) })
	return func() { _ = f.Close() }, nil
}

// removeLeftovers removes temporary files that a killed process left before the given time.
func (l *Layout) removeLeftovers(before time.Time) {
	for _, dir := range []string{l.dir, l.path(ocispec.ImageBlobsDir, "sha256")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), tempPrefix) {
				continue
			}
			name := filepath.Join(dir, e.Name())
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) && !beingWritten(name, info) {
				_ = os.Remove(name) // the next one tries again
			}
		}
	}
}

// hold says to others that the temporary file is being written. Where files cannot be locked they go by its age.
func hold(temp io.Writer) {
	if f, ok := temp.(*os.File); ok {
		_, _ = filelock.Try(f)
	}
}

// beingWritten reports whether a process has the temporary file name open to write it: whoever writes a blob holds its lock, which ends with
// the process. A writer may have waited for its source for any time, so that the age alone tells little.
func beingWritten(name string, info fs.FileInfo) bool {
	f, err := os.Open(name)
	if err == nil {
		defer func() { _ = f.Close() }()
		held := false
		if held, err = filelock.Try(f); err == nil {
			return held
		}
	}
	return info.ModTime().After(time.Now().Add(-tempLifetimeUnlocked))
}

// Linked lists the files of p whose blobs have another name, as those that PackOptions.Link made: who edits such a file in place
// alters the package.
func (l *Layout) Linked(p *Package) []string {
	var paths []string
	for _, f := range p.Tree.Files {
		name, err := l.blobPath(f.Digest)
		if err != nil {
			continue
		}
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() && filestate.Links(info) > 1 {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// Push writes a blob, verified. A manifest is listed in index.json too. A blob that is there, whole,
// fails with oras-go's ErrAlreadyExists, as oras expects; a damaged one is replaced.
func (l *Layout) Push(ctx context.Context, desc ocispec.Descriptor, r io.Reader) error {
	exists, err := l.Exists(ctx, desc)
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	if !exists {
		err := l.writeBlob(desc, func(w io.Writer) error { return copyVerified(ctx, r, desc, w, nil) })
		if err != nil {
			return fmt.Errorf("oci: %w", err)
		}
	}
	if isManifest(desc.MediaType) {
		if err := l.list(ctx, desc, ""); err != nil {
			return err
		}
	}
	if exists {
		return fmt.Errorf("oci: %s: %w", desc.Digest, errdef.ErrAlreadyExists)
	}
	return nil
}

// writeBlob puts what fill writes under the digest's name. fill must fail unless it wrote the
// blob's bytes.
func (l *Layout) writeBlob(desc ocispec.Descriptor, fill func(io.Writer) error) error {
	if err := checkDescriptor(desc); err != nil {
		return err
	}
	name, err := l.blobPath(desc.Digest)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return atomicfile.WriteFunc(name, blobFileOptions, func(w io.Writer) error {
		hold(w)
		return fill(w)
	})
}

// blobFileOptions make blobs read-only, so that an editor that opens one by mistake does not damage it.
var blobFileOptions = atomicfile.Options{Perm: 0o444}

// blobsDir is where blobs with a sha256 are.
func (l *Layout) blobsDir() string { return l.path(ocispec.ImageBlobsDir, digest.SHA256.String()) }

func (l *Layout) blobPath(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("%w: digest %q: %w", ErrContent, d, err)
	}
	return l.path(filepath.FromSlash(blobName(d))), nil
}
