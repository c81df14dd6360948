package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/mlseal/mlseal/internal/filestate"
	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/mlseal/mlseal/internal/parallel"
)

// readBuffer is what one Copy holds in memory, in bytes.
const readBuffer = 256 << 10

// Options of Build and Compare. The zero value takes the whole tree and every processor.
type Options struct {
	// File names the one file below fsys that is the tree; empty for the whole tree.
	File string
	// Ignore lists paths below the root that are left out, each with what is below it.
	Ignore []string
	// IncludeGit keeps the top-level git files, which are left out otherwise.
	IncludeGit bool
	// Serialization says how the tree's resources are made; the sha256 of every file is computed in any case but ShardsOnly, in the
	// same read.
	Serialization Serialization
	// ShardsOnly says that the SHA-256 of a file that has several shards is not wanted, so that they can be hashed at the same time. Where that
	// is done its File has no digest, and the tree no dirHash.
	ShardsOnly bool
	streams    shardStreams
	passes     bool // the files are forgotten by the page cache behind the reading
	// Listed, when it is not nil, has the paths of the files that count: what stands beside them is named in
	// Manifest.Unlisted and not read, a directory that leads to none of them as a whole, with a slash behind its name.
	Listed map[string]bool
	// Concurrency is how many files are read at once; 0 means as many as are hashed fastest.
	Concurrency int
	// Found, when it is not nil, is told the files once, sorted and without their digests, before anything is read. Its error
	// ends Build.
	Found func(files []File) error
	// Copy, when it is not nil, is asked for each file where its bytes go in the same read, from several goroutines at once. info is what
	// stat says of the file. The FileCopy may be nil. When f has a digest, it is a remembered one (Digests): then Copy does itself
	// what is to be done, verifies the bytes that it uses, tells Progress of the file's size in all, and returns a nil FileCopy;
	// an error that wraps ErrChanged makes the digest forgotten.
	Copy func(ctx context.Context, f File, info fs.FileInfo) (FileCopy, error)
	// Digests remembers digests from one Build to another; nil for none. It is not asked when Serialization wants more than the
	// files' sha256, nor may it be set where somebody else's claim about the files is checked.
	Digests Digests
	// Hashed, when it is not nil, is told each file and its resources once they are known, in any order and from several
	// goroutines at once. Its error ends Build.
	Hashed func(f File, resources []Resource) error
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
	if err := opts.announce(w.files); err != nil {
		return nil, err
	}
	if opts.Serialization.AllowSymlinks {
		fsys = following{fsys}
	}
	defer opts.begin(bytesOf(w.files))()
	opts.streams = newShardStreams()
	files := w.files
	m := &Manifest{Serialization: opts.Serialization, Files: make([]File, len(files)), Unlisted: w.unlisted, LeftOut: w.leftOut}
	var resources [][]Resource
	if !opts.Serialization.NamesFiles() {
		resources = make([][]Resource, len(files))
	}
	err = opts.eachStream(ctx, len(files), func(ctx context.Context, i int) error {
		f, list, err := opts.file(ctx, fsys, files[i])
		if err != nil {
			return err
		}
		m.Files[i], files[i] = f, entry{} // what was known before takes more memory than what is known now
		if resources != nil {
			resources[i] = list
		}
		if opts.Hashed != nil {
			return opts.Hashed(f, list)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.resources = slices.Concat(resources...)
	return m, nil
}

// begin sets what the files share while so many bytes of them are hashed. What it returns is to be called when they are.
func (o *Options) begin(bytes int64) (end func()) {
	o.passes = passes(bytes)
	if o.Digests == nil {
		return func() {}
	}
	return o.Digests.Done
}

// eachStream calls do for 0 to n-1, each of which hashes a file, as many at once as are hashed fastest.
func (o Options) eachStream(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	atOnce, streams := o.atOnce(n), n
	if o.ShardsOnly && o.Serialization.streams() {
		streams = 0 // the streams are the shards
	}
	expected := hashing.Default().Expect(streams, atOnce)
	defer expected.End()
	return parallel.Do(ctx, n, atOnce, func(ctx context.Context, i int) error {
		defer expected.One()
		return do(ctx, i)
	})
}

// copiesAtOnce bounds how many files are copied at the same time when Concurrency is 0: each has buffers of its own, and a disk is not
// the faster for writing more.
const copiesAtOnce = 16

// atOnce is how many of n files are read at the same time.
func (o Options) atOnce(n int) int {
	switch {
	case o.Concurrency > 0:
		return o.Concurrency
	case o.Copy != nil:
		n = min(n, copiesAtOnce)
	}
	return hashing.Default().AtOnce(n)
}

// announce checks and tells what was found, before anything is read.
func (o Options) announce(found []entry) error {
	if err := o.Serialization.checkCount(found); err != nil {
		return err
	}
	if o.Found != nil {
		files := make([]File, len(found))
		for i, e := range found {
			files[i] = e.file()
		}
		if err := o.Found(files); err != nil {
			return err
		}
	}
	if o.Total != nil {
		o.Total(bytesOf(found))
	}
	return nil
}

// file hashes one file, and copies it where that is asked for. One whose digest is remembered is not read here.
func (o Options) file(ctx context.Context, fsys fs.FS, e entry) (f File, _ []Resource, err error) {
	f = e.file()
	if o.Digests != nil && o.Serialization.NamesFiles() {
		if f.Digest = o.Digests.Lookup(e.info); f.Digest != "" {
			return f, nil, o.remembered(ctx, f, e.info)
		}
	}
	begun := time.Now()
	file, err := OpenStable(fsys, e.path, e.info)
	if err != nil {
		return File{}, nil, err
	}
	defer func() { _ = file.Close() }()
	// Else one who writes could change the file behind what is remembered.
	remember := o.Digests != nil && filestate.ShowsWrites(file.f)
	to, err := o.copyOf(ctx, f, e.info)
	if err != nil {
		return File{}, nil, err
	}
	f, resources, err := hashFile(ctx, file, e.path, to, o)
	if err == nil {
		err = to.Commit(f)
	}
	if err != nil {
		to.Abort()
		return File{}, nil, err
	}
	if remember {
		o.Digests.Remember(e.info, begun, f.Digest)
	}
	return f, resources, nil
}

// remembered deals with a file whose digest is remembered.
func (o Options) remembered(ctx context.Context, f File, info fs.FileInfo) error {
	if o.Copy == nil {
		o.report(f.Size)
		return nil
	}
	_, err := o.Copy(ctx, f, info)
	// Once ctx has ended, the error may be the one that ended it.
	if errors.Is(err, ErrChanged) && ctx.Err() == nil {
		o.Digests.Forget(info)
	}
	return err
}

func (o Options) report(n int64) {
	if o.Progress != nil && n > 0 {
		o.Progress(int(n))
	}
}

// copyOf is where a file is copied to while it is hashed, which may be nowhere.
func (o Options) copyOf(ctx context.Context, f File, info fs.FileInfo) (FileCopy, error) {
	if o.Copy == nil {
		return nowhere{}, nil
	}
	to, err := o.Copy(ctx, f, info)
	if to == nil {
		to = nowhere{}
	}
	return to, err
}

// hashFile reads a file once: for its sha256, for its resources where those are something else, and for its copy. What is a Clone
// is read in the file's place.
func hashFile(ctx context.Context, file *StableFile, path string, to FileCopy, opts Options) (File, []Resource, error) {
	if opts.passes {
		file.passBy(0, file.Size())
	}
	if from, ok := file.f.(io.ReaderAt); ok && opts.apart(file.Size()) {
		return hashShards(ctx, file, from, path, opts)
	}
	shards := &sharder{Serialization: opts.Serialization, path: path}
	var from io.Reader = file
	var also []io.Writer
	if !opts.Serialization.NamesFiles() {
		also = append(also, shards)
	}
	if clone, ok := to.(Clone); ok {
		from = clone.Shared()
	} else if to != (nowhere{}) {
		also = append(also, to)
	}
	sum, n, err := hashing.Default().Sum(ctx, from, file.Size(), opts.tee(also))
	if err != nil {
		return File{}, nil, fmt.Errorf("manifest: %s: %w", path, err)
	}
	file.read = n
	if err := file.Unchanged(); err != nil {
		return File{}, nil, err
	}
	f := File{Path: path, Size: n, Digest: sha256Digest(sum)}
	if opts.Serialization.NamesFiles() {
		return f, nil, nil
	}
	return f, shards.resources(), nil
}

// sha256Digest is what digest.NewDigestFromBytes gives, in one allocation instead of four.
func sha256Digest(sum [sha256.Size]byte) digest.Digest {
	const prefix = "sha256:"
	var text [len(prefix) + 2*sha256.Size]byte
	copy(text[:], prefix)
	hex.Encode(text[len(prefix):], sum[:])
	return digest.Digest(text[:])
}

// tee gives each piece of a file to all writers, and tells Progress of it.
func (o Options) tee(to []io.Writer) func(p []byte) error {
	return func(p []byte) error {
		for _, w := range to {
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		o.report(int64(len(p)))
		return nil
	}
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
