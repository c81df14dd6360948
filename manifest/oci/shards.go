package oci

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// Names of the layers of a dataset with many files.
const (
	MediaTypeDatasetTar = "application/vnd.cncf.model.dataset.v1.tar" // model-spec v0.0.7, docs/spec.md
	MediaTypeFileList   = "application/vnd.mlseal.files.v1+json"      // of this package's documentation
)

// Sizes of a dataset with many files.
const (
	// MaxRawFiles is how many files a dataset has at most when each one is a layer. A layer takes 300 bytes of an image manifest and twice its path,
	// and registries take manifests of MaxManifestBytes.
	MaxRawFiles = 5000
	// MaxFileListBytes bounds the list of the files in tar layers, in bytes: some 700,000 files.
	MaxFileListBytes = 128 << 20

	shardFiles = 1000      // files of one tar layer, at most
	shardBytes = 256 << 20 // of their contents, at most; a larger file is a raw layer
)

// These are MaxRawFiles and shardBytes but for the tests, which need not write as much.
var (
	rawLimit         = MaxRawFiles
	shardLimit int64 = shardBytes
)

// listedFile is a line of the list of files: where in which layer the contents of a file are.
type listedFile struct {
	Path   string        `json:"path"`
	Size   int64         `json:"size"` // bytes
	Digest digest.Digest `json:"digest"`
	Layer  int           `json:"layer"`  // index among the layers of the image manifest
	Offset int64         `json:"offset"` // of the contents in that layer, in bytes
}

// The first and last line of a list of files.
const (
	listBegin = `{"files":[` + "\n"
	listEnd   = "]}\n"
)

// appendListed writes the one form of a line.
func appendListed(b []byte, f listedFile, last bool) ([]byte, error) {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(f); err != nil {
		return nil, err
	}
	b = append(b, bytes.TrimSuffix(line.Bytes(), []byte("\n"))...)
	if !last {
		b = append(b, ',')
	}
	return append(b, '\n'), nil
}

// writeList is the list of the files in shards, the first of which is the layer with index first.
func writeList(shards []*tarball, first int) ([]byte, error) {
	b := []byte(listBegin)
	for i, shard := range shards {
		for j, f := range shard.files {
			var err error
			last := i == len(shards)-1 && j == len(shard.files)-1
			if b, err = appendListed(b, listedFile{f.Path, f.Size, f.Digest, first + i, f.offset}, last); err != nil {
				return nil, err
			}
		}
		if len(b) > MaxFileListBytes {
			return nil, fmt.Errorf("oci: %w: the list of the files has more than %d bytes; pack the dataset in parts", ErrLimit, MaxFileListBytes)
		}
	}
	return append(b, listEnd...), nil
}

// parseList reads a list of files. It refuses every text but the one that writeList makes of what it says; whether that is true, it does
// not look at.
func parseList(data []byte) ([]listedFile, error) {
	rest, begins := bytes.CutPrefix(data, []byte(listBegin))
	rest, ends := bytes.CutSuffix(rest, []byte(listEnd))
	if !begins || !ends || len(rest) == 0 {
		return nil, fmt.Errorf("%w: the list of files is not in its form", ErrContent)
	}
	var files []listedFile
	var again []byte
	for r := bufio.NewReader(bytes.NewReader(rest)); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return files, nil
		}
		var f listedFile
		text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte(","))
		if err := json.Unmarshal(text, &f); err != nil {
			return nil, fmt.Errorf("%w: line %d of the list of files: %w", ErrContent, len(files)+2, err)
		}
		_, peek := r.Peek(1)
		if again, err = appendListed(again[:0], f, peek != nil); err != nil || !bytes.Equal(line, again) {
			return nil, fmt.Errorf("%w: line %d of the list of files is not in its form", ErrContent, len(files)+2)
		}
		if files = append(files, f); len(files) > MaxTarFiles {
			return nil, fmt.Errorf("%w: more than %d files in tar layers", ErrLimit, MaxTarFiles)
		}
	}
}

// readList reads the list of the files in tar layers and holds it to the layers: each one's files and offsets are those of the one form of a tar, and
// the size of the layer follows from them. That the layer is that tar is found when it is read.
func (p *Package) readList(ctx context.Context, target Target) error {
	list := p.Manifest.Layers[p.list]
	data, err := fetchBytes(ctx, target, list, MaxFileListBytes)
	if err != nil {
		return fmt.Errorf("list of files: %w", err)
	}
	listed, err := parseList(data)
	if err != nil {
		return err
	}
	byLayer := map[int][]manifest.File{}
	for i, f := range listed {
		if i > 0 && (f.Layer < listed[i-1].Layer || f.Path <= listed[i-1].Path) {
			return fmt.Errorf("%w: list of files: %q is out of order", ErrContent, f.Path)
		}
		byLayer[f.Layer] = append(byLayer[f.Layer], manifest.File{Path: f.Path, Size: f.Size, Digest: f.Digest})
	}
	files := p.raw
	at := 0
	for _, i := range p.shards {
		layer, err := newShardLayer(p.Manifest.Layers[i], byLayer[i])
		if err != nil {
			return fmt.Errorf("list of files: layer %d: %w", i, err)
		}
		for _, f := range layer.ball.files {
			if listed[at].Offset != f.offset {
				return fmt.Errorf("%w: list of files: %q stands at %d and not at %d", ErrContent, f.Path, f.offset, listed[at].Offset)
			}
			at++
		}
		files = append(files, byLayer[i]...)
		p.tars = append(p.tars, layer)
	}
	if at != len(listed) {
		return fmt.Errorf("%w: list of files: it names layers that are no tar layers", ErrContent)
	}
	return p.setTree(files)
}

// newShardLayer makes sure that the layer can be the tar of the files.
func newShardLayer(desc ocispec.Descriptor, files []manifest.File) (*tarLayer, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: it names no file of the layer", ErrContent)
	}
	if _, err := newTree(files); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	ball, err := newTarball(tarForm{}, files)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	if ball.size != desc.Size {
		return nil, fmt.Errorf("%w: a tar of its files has %d bytes, the layer %d", ErrContent, ball.size, desc.Size)
	}
	return &tarLayer{desc, ball}, nil
}

// needsShards says whether a tree has too many files to make a layer of each.
func (opts PackOptions) needsShards(m *manifest.Manifest) bool {
	return opts.Type == TypeDataset && len(m.Files) > rawLimit
}

// shardsOf cuts a tree into groups of files in the order of their paths, and files that are too large to be in one. It depends on
// nothing but the tree.
func shardsOf(m *manifest.Manifest) (shards []*tarball, raw *manifest.Manifest, err error) {
	raw = &manifest.Manifest{}
	var group []manifest.File
	var size int64
	flush := func() error {
		if len(group) == 0 {
			return nil
		}
		ball, err := newTarball(tarForm{}, group)
		shards, group, size = append(shards, ball), nil, 0
		return err
	}
	for _, f := range m.Files {
		if f.Size > shardLimit {
			raw.Files = append(raw.Files, f)
			continue
		}
		if len(group) == shardFiles || size+f.Size > shardLimit {
			if err := flush(); err != nil {
				return nil, nil, err
			}
		}
		group, size = append(group, f), size+f.Size
	}
	return shards, raw, flush()
}

// putShards writes the shards and their list, a few at once, and returns their descriptors as layers. raw is how many layers stand before them.
func putShards(ctx context.Context, target Target, to sink, fsys fs.FS, shards []*tarball, raw int, progress func(int)) ([]ocispec.Descriptor, error) {
	list, err := writeList(shards, raw)
	if err != nil {
		return nil, err
	}
	layers := make([]ocispec.Descriptor, len(shards)+1)
	err = eachBlob(ctx, blobsAtOnce, len(shards), func(ctx context.Context, i int) error {
		desc, isNew, err := putTar(ctx, target, shards[i], MediaTypeDatasetTar, fsys, progress)
		if err != nil {
			return fmt.Errorf("oci: %w", err)
		}
		if l, ok := to.(*layoutSink); ok && isNew {
			l.remember(desc.Digest)
		}
		layers[i] = withPath(desc, fmt.Sprintf("shard-%05d-of-%05d.tar", i+1, len(shards)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	desc := describeBytes(MediaTypeFileList, list)
	if err := pushBytes(ctx, target, desc, list); err != nil {
		return nil, fmt.Errorf("oci: list of files: %w", err)
	}
	layers[len(shards)] = withPath(desc, "files.json")
	return layers, nil
}

// withPath gives a layer that is no file of the tree a name for tools that write layers as files.
func withPath(desc ocispec.Descriptor, name string) ocispec.Descriptor {
	desc.Annotations = map[string]string{AnnotationPath: name, ocispec.AnnotationTitle: name}
	return desc
}
