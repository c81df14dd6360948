package manifest

import (
	"context"
	"fmt"
	"io"

	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/mlseal/mlseal/internal/parallel"
)

// parallelShard is the size in bytes from which on shards are streams of their own.
const parallelShard = 1 << 20

// shardStreams bounds how many shards of all files are hashed at the same time.
type shardStreams chan struct{}

func newShardStreams() shardStreams {
	const many = 1 << 20
	return make(shardStreams, hashing.Default().AtOnce(many))
}

// streams reports whether shards are streams of their own: not where they are so small that opening the file costs as much.
func (s Serialization) streams() bool { return s.HashType() == SHA256 && s.ShardSize >= parallelShard }

// apart reports whether a file's shards are hashed at the same time: its own SHA-256, which can only be computed from its first byte to its
// last, would take longer than all of them.
func (o Options) apart(size int64) bool {
	s := o.Serialization
	return o.ShardsOnly && o.Copy == nil && s.streams() && size > s.ShardSize
}

// hashShards reads each shard of a file as a stream of its own. from reads the open file.
func hashShards(ctx context.Context, file *StableFile, from io.ReaderAt, path string, opts Options) (File, []Resource, error) {
	size, shard := file.Size(), opts.Serialization.ShardSize
	resources := make([]Resource, (size-1)/shard+1)
	engine := hashing.Default()
	err := parallel.Do(ctx, len(resources), engine.AtOnce(len(resources)), func(ctx context.Context, i int) error {
		opts.streams <- struct{}{}
		defer func() { <-opts.streams }()
		start := int64(i) * shard
		end := min(start+shard, size)
		sum, n, err := engine.Sum(ctx, io.NewSectionReader(from, start, end-start), end-start, opts.tee(nil))
		if file.forget != nil {
			file.forget(start, end)
		}
		if err == nil && n != end-start {
			err = fmt.Errorf("%w: it shrank", ErrChanged)
		}
		resources[i] = Resource{Path: path, Start: start, End: end, Digest: sha256Digest(sum)}
		return err
	})
	if err != nil {
		return File{}, nil, fmt.Errorf("manifest: %s: %w", path, err)
	}
	file.read = size
	return File{Path: path, Size: size}, resources, file.Unchanged()
}
