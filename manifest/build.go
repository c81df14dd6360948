package manifest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/mlseal/mlseal/internal/parallel"
)

// readBuffer is what one hashing goroutine holds in memory, in bytes.
const readBuffer = 1 << 20

// Options of Build and Compare. The zero value takes the whole tree and every processor.
type Options struct {
	// File names the one file below fsys that is the tree; empty for the whole tree.
	File string
	// Ignore lists paths below the root that are left out, each with what is below it.
	Ignore []string
	// IncludeGit keeps the top-level git files, which are left out otherwise.
	IncludeGit bool
	// Serialization says how the tree's resources are made; the sha256 of every file is computed in any case, in the same
	// read.
	Serialization Serialization
	// Listed, when it is not nil, has the paths of the files that count: what stands beside them is named in
	// Manifest.Unlisted and not read, a directory that leads to none of them as a whole, with a slash behind its name.
	Listed map[string]bool
	// Concurrency is how many files are read at once; 0 means one for each processor.
	Concurrency int
	// Total is told once, before anything is read, how many bytes there are to read.
	Total func(bytes int64)
	// Progress is told the number of bytes read, from several goroutines at once.
	Progress func(n int)
}

// Build walks fsys and hashes its files, several at once, in memory that does not grow with
// them. Every file is looked at again after it was read: one that was written to meanwhile fails with
// ErrChanged, since no digest describes it. Links and special files in the tree fail with
// ErrSymlink and ErrSpecial, a tree without files with ErrEmpty; where links are followed, one that leads nowhere or in a
// circle fails with ErrBrokenLink.
func Build(ctx context.Context, fsys fs.FS, opts Options) (*Manifest, error) {
	if err := opts.Serialization.check(); err != nil {
		return nil, err
	}
	w, err := list(ctx, fsys, opts)
	if err != nil {
		return nil, err
	}
	if err := opts.Serialization.checkCount(w.files); err != nil {
		return nil, err
	}
	if opts.Total != nil {
		opts.Total(totalSize(w.files))
	}
	if opts.Serialization.AllowSymlinks {
		fsys = following{fsys}
	}
	files := w.files
	m := &Manifest{Serialization: opts.Serialization, Files: make([]File, len(files)), Unlisted: w.unlisted, LeftOut: w.leftOut}
	resources := make([][]Resource, len(files))
	err = parallel.Do(ctx, len(files), opts.Concurrency, func(ctx context.Context, i int) (err error) {
		m.Files[i], resources[i], err = hashFile(ctx, fsys, files[i], opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.resources = slices.Concat(resources...)
	return m, nil
}

func totalSize(files []entry) int64 {
	var n int64
	for _, f := range files {
		n += f.info.Size()
	}
	return n
}

// hashFile reads a file once, for its sha256 and for its resources where those are something else.
func hashFile(ctx context.Context, fsys fs.FS, e entry, opts Options) (File, []Resource, error) {
	r, err := OpenStable(fsys, e.path, e.info)
	if err != nil {
		return File{}, nil, err
	}
	defer func() { _ = r.Close() }()
	h := sha256.New()
	shards := &sharder{Serialization: opts.Serialization, path: e.path}
	var w io.Writer = h
	if !opts.Serialization.NamesFiles() {
		w = io.MultiWriter(h, shards)
	}
	n, err := Copy(ctx, w, r, opts.Progress)
	if err != nil {
		return File{}, nil, fmt.Errorf("manifest: %s: %w", e.path, err)
	}
	if err := r.Unchanged(); err != nil {
		return File{}, nil, err
	}
	f := File{Path: e.path, Size: n, Digest: newDigest(SHA256, h)}
	if opts.Serialization.NamesFiles() {
		return f, nil, nil
	}
	return f, shards.resources(), nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// Copy copies r to w through a pooled buffer until the end, an error or the end of ctx, tells
// progress (which may be nil) of each piece, and returns the number of bytes.
func Copy(ctx context.Context, w io.Writer, r io.Reader, progress func(n int)) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := r.Read(*buf)
		if n > 0 {
			if _, werr := w.Write((*buf)[:n]); werr != nil {
				return total, werr
			}
			total += int64(n)
			if progress != nil {
				progress(n)
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
