package manifest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/mlseal/mlseal/internal/parallel"
)

// Range is a piece of a tree: the bytes of a file from Start up to End, or the whole file when both are 0.
type Range struct {
	Path       string
	Start, End int64
}

// Hashed is what BuildRanges knows of a tree of which it read a part. It is no Manifest, and has no digest.
type Hashed struct {
	// Files are those that were hashed whole, in the order of the ranges.
	Files []File
	// Resources are what the ranges are to an OMS statement, in their order; nil where they are the Files.
	Resources []Resource
	// LeftOut is as in Manifest.
	LeftOut []string
}

// rangeAtOnce is about how many bytes of one file are hashed in one go, so that one large file keeps several processors busy.
const rangeAtOnce = 64 << 20

// BuildRanges is Build for a part of a tree: choose is told all files, sorted and without their digests, and returns what is to be
// hashed. Where the Serialization has shards, ranges begin and end at the borders of shards, and what is not read
// is not known: neither is the sha256 of the files. Found, Copy and Listed of opts do not count.
func BuildRanges(ctx context.Context, fsys fs.FS, opts Options, choose func(files []File) ([]Range, error)) (*Hashed, error) {
	if err := opts.Serialization.check(); err != nil {
		return nil, err
	}
	opts.Listed, opts.Copy = nil, nil
	w, err := list(ctx, fsys, opts)
	if err != nil {
		return nil, err
	}
	if err := opts.Serialization.checkCount(w.files); err != nil {
		return nil, err
	}
	pieces, err := chosen(w.files, opts, choose)
	if err != nil {
		return nil, err
	}
	if opts.Serialization.AllowSymlinks {
		fsys = following{fsys}
	}
	files := make([]File, len(pieces))
	resources := make([][]Resource, len(pieces))
	var bytes int64
	for _, p := range pieces {
		bytes += p.end - p.start
	}
	defer opts.begin(bytes)()
	hash := func(ctx context.Context, i int) (err error) {
		if opts.Serialization.ShardSize == 0 {
			files[i], resources[i], err = opts.file(ctx, fsys, pieces[i].entry)
			return err
		}
		resources[i], err = hashRange(ctx, fsys, pieces[i], opts)
		return err
	}
	if opts.Serialization.ShardSize == 0 || opts.Serialization.streams() {
		err = opts.eachStream(ctx, len(pieces), hash)
	} else {
		err = parallel.Do(ctx, len(pieces), opts.Concurrency, hash)
	}
	if err != nil {
		return nil, err
	}
	out := &Hashed{Resources: slices.Concat(resources...), LeftOut: w.leftOut}
	if opts.Serialization.ShardSize == 0 {
		out.Files = files
	}
	return out, nil
}

// piece is a range of a file that is there.
type piece struct {
	entry
	start, end int64
}

// chosen looks up the files of the ranges that choose returns, cuts large ranges into pieces, and tells opts.Total how much there is
// to read.
func chosen(found []entry, opts Options, choose func([]File) ([]Range, error)) ([]piece, error) {
	files := make([]File, len(found))
	at := make(map[string]int, len(found))
	for i, e := range found {
		files[i], at[e.path] = e.file(), i
	}
	ranges, err := choose(files)
	if err != nil {
		return nil, err
	}
	var pieces []piece
	var total int64
	for _, r := range ranges {
		i, ok := at[r.Path]
		if !ok {
			return nil, fmt.Errorf("manifest: %q is not in the tree", r.Path)
		}
		if r.End == 0 {
			r.End = files[i].Size
		}
		more, err := opts.Serialization.cut(found[i], r)
		if err != nil {
			return nil, err
		}
		pieces, total = append(pieces, more...), total+r.End-r.Start
	}
	if opts.Total != nil {
		opts.Total(total)
	}
	return pieces, nil
}

// cut cuts a range of the file e into pieces of some shards each, or of one where shards are streams. Without shards, the file is one piece.
func (s Serialization) cut(e entry, r Range) ([]piece, error) {
	size := e.info.Size()
	if s.ShardSize == 0 {
		if r.Start != 0 || r.End != size {
			return nil, fmt.Errorf("manifest: %q: a part of a file has no digest without shards", r.Path)
		}
		return []piece{{e, 0, size}}, nil
	}
	if r.Start < 0 || r.Start > r.End || r.End > size || r.Start%s.ShardSize != 0 || r.End%s.ShardSize != 0 && r.End != size {
		return nil, fmt.Errorf("manifest: %q: the bytes from %d to %d are no shards of the file", r.Path, r.Start, r.End)
	}
	step := s.ShardSize
	if !s.streams() {
		step *= max(rangeAtOnce/s.ShardSize, 1)
	}
	var pieces []piece
	for start := r.Start; start < r.End; start += min(step, r.End-start) {
		pieces = append(pieces, piece{e, start, start + min(step, r.End-start)})
	}
	return pieces, nil
}

// hashRange reads a piece of a file and hashes its shards. The file must be what it was when the tree was walked, before and after it.
func hashRange(ctx context.Context, fsys fs.FS, p piece, opts Options) ([]Resource, error) {
	file, err := OpenStable(fsys, p.path, p.info)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	Bound(file.f, p.end)
	if err := file.Skip(p.start); err != nil {
		return nil, fmt.Errorf("manifest: %s: %w", p.path, err)
	}
	if opts.passes {
		file.passBy(p.start, p.end)
	}
	resources, n, err := p.read(ctx, io.LimitReader(file, p.end-p.start), opts)
	if err != nil {
		return nil, fmt.Errorf("manifest: %s: %w", p.path, err)
	}
	file.forgetRead(true)
	if n < p.end-p.start {
		return nil, fmt.Errorf("manifest: %s: %w: it is shorter", p.path, ErrChanged)
	}
	if err := file.Skip(p.info.Size() - p.end); err != nil {
		return nil, fmt.Errorf("manifest: %s: %w", p.path, err)
	}
	return resources, file.Unchanged()
}

// read hashes the shards of a piece, which r reads, and returns how many bytes there were.
func (p piece) read(ctx context.Context, r io.Reader, opts Options) ([]Resource, int64, error) {
	if opts.Serialization.streams() {
		sum, n, err := hashing.Default().Sum(ctx, r, p.end-p.start, opts.tee(nil))
		return []Resource{{Path: p.path, Start: p.start, End: p.end, Digest: sha256Digest(sum)}}, n, err
	}
	shards := &sharder{Serialization: opts.Serialization, path: p.path, pos: p.start}
	n, err := Copy(ctx, shards, r, opts.Progress)
	return shards.resources(), n, err
}
