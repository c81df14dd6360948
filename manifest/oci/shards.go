package oci

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/gcroom"
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

// eachListed makes the lines of the list of the files in shards, the first of which is the layer with index first.
func eachListed(shards []*tarball, first int, take func(line []byte)) error {
	var line []byte
	for i, shard := range shards {
		for j, f := range shard.files {
			var err error
			last := i == len(shards)-1 && j == len(shard.files)-1
			if line, err = appendListed(line[:0], listedFile{f.Path, f.Size, f.Digest, first + i, f.offset}, last); err != nil {
				return err
			}
			take(line)
		}
	}
	return nil
}

// listSize is the size in bytes of the list, which does not depend on the digests. One that would not be read fails with ErrLimit.
func listSize(shards []*tarball, first int) (int, error) {
	size := len(listBegin) + len(listEnd)
	err := eachListed(shards, first, func(line []byte) { size += len(line) })
	if err == nil && size > MaxFileListBytes {
		err = fmt.Errorf("oci: %w: the list of the files has more than %d bytes; pack the dataset in parts", ErrLimit, MaxFileListBytes)
	}
	return size, err
}

// writeList is the list.
func writeList(shards []*tarball, first int) ([]byte, error) {
	size, err := listSize(shards, first)
	if err != nil {
		return nil, err
	}
	gcroom.Make(size)
	b := append(make([]byte, 0, size), listBegin...)
	if err := eachListed(shards, first, func(line []byte) { b = append(b, line...) }); err != nil {
		return nil, err
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
	if bytes.Count(rest, []byte("\n")) > MaxTarFiles {
		return nil, fmt.Errorf("%w: more than %d files in tar layers", ErrLimit, MaxTarFiles)
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
		files = append(files, f)
	}
}

// readList reads the list of the files in tar layers and holds it to the layers: each one's files and offsets are those of the one form of a tar, and
// the size of the layer follows from them. That the layer is that tar is found when it is read.
func (p *Package) readList(ctx context.Context, target Target, progress func(int)) error {
	var data bytes.Buffer
	desc := p.Manifest.Layers[p.list()]
	if desc.Size > MaxFileListBytes {
		return fmt.Errorf("list of files: %w: it has %d bytes, at most %d are read", ErrLimit, desc.Size, MaxFileListBytes)
	}
	if err := copyBlob(ctx, target, desc, &data, progress); err != nil {
		return fmt.Errorf("list of files: %w", err)
	}
	listed, err := parseList(data.Bytes())
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
	var tars []*tarLayer
	at := 0
	for i := range p.Layers {
		if !p.Layers[i].Archive {
			continue
		}
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
		p.Layers[i].Files = byLayer[i]
		tars = append(tars, layer)
	}
	if at != len(listed) {
		return fmt.Errorf("%w: list of files: it names layers that are no tar layers", ErrContent)
	}
	p.Layers[p.list()].Files = []manifest.File{}
	p.tars = tars
	return p.complete(nil)
}

// list is the index of the layer that lists the files in the others; -1 when there is none.
func (p *Package) list() int {
	if n := len(p.Layers); n > 0 && p.Layers[n-1].list {
		return n - 1
	}
	return -1
}

// checkShards holds the image manifest of a package with a list of files to its form: raw layers, tars, the list.
func (p *Package) checkShards() error {
	list := len(p.Layers) - 1
	for i := range p.Layers {
		l := &p.Layers[i]
		switch {
		case l.list != (i == list):
			return fmt.Errorf("%w: layer %d: a list of files stands once, and last", ErrNotPackage, i+1)
		case l.Archive && (l.Compression != "" || l.Kind != kindDataset):
			return fmt.Errorf("%w: layer %d: it is %q, and a list of files is about %q", ErrNotPackage, i+1, p.Manifest.Layers[i].MediaType, MediaTypeDatasetTar)
		case i > 0 && !l.opaque() && p.Layers[i-1].Archive:
			return fmt.Errorf("%w: layer %d: a file stands behind the tar layers", ErrNotPackage, i+1)
		case l.Archive:
			l.Path, _ = layerPath(p.Manifest.Layers[i]) // for messages
		}
	}
	if list == 0 || !p.Layers[list-1].Archive {
		return fmt.Errorf("%w: it has a list of files and no tar layers", ErrNotPackage)
	}
	return nil
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

// needsShards says whether a tree of n files has too many to make a layer of each.
func (opts PackOptions) needsShards(n int) bool { return opts.Type == TypeDataset && n > rawLimit }

// shardsOf cuts a tree into groups of files in the order of their paths, and files that are too large to be in one. It depends on
// nothing but the tree.
func shardsOf(files []manifest.File) (shards []*tarball, raw *manifest.Manifest, err error) {
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
	for _, f := range files {
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

// checkShards refuses a tree that does not fit into shards, before its files are read.
func (opts PackOptions) checkShards(tree *manifest.Manifest) error {
	if opts.Link {
		return fmt.Errorf("oci: %w: the %d files go into tar layers, which cannot be hard links: pack without --link", errors.ErrUnsupported, len(tree.Files))
	}
	shards, raw, err := shardsOf(tree.Files)
	if err != nil {
		return err
	}
	if _, err := listSize(shards, len(raw.Files)); err != nil {
		return err
	}
	layers := layersOf(raw, opts.Type)
	for i := range shards {
		layers = append(layers, shardDescriptor(unread, shards, i))
	}
	data, err := marshalImage(ocispec.Descriptor{MediaType: MediaTypeConfig, Digest: unread}, layers)
	if err != nil {
		return err
	}
	return checkImageSize(len(tree.Files), len(data))
}

// shardDescriptor describes a tar layer.
func shardDescriptor(d digest.Digest, shards []*tarball, i int) ocispec.Descriptor {
	desc := ocispec.Descriptor{MediaType: MediaTypeDatasetTar, Digest: d, Size: shards[i].size}
	return withPath(desc, fmt.Sprintf("shard-%05d-of-%05d.tar", i+1, len(shards)))
}

// withPath gives a layer that is no file of the tree a name for tools that write layers as files.
func withPath(desc ocispec.Descriptor, name string) ocispec.Descriptor {
	desc.Annotations = map[string]string{AnnotationPath: name, ocispec.AnnotationTitle: name}
	return desc
}
