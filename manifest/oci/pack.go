package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/format"
)

// blobsAtOnce is how many blobs are read or written at once when an option says 0.
const blobsAtOnce = 4

// bufferedBlob is the size in bytes up to which a file is held in memory for an upload, so that a
// request that failed can be sent again.
const bufferedBlob = 1 << 20

// PackOptions of Pack and NewVirtual. The zero value packs a whole directory as a model without a tag.
type PackOptions struct {
	Tag  string // put on the package; may be empty
	Type string // TypeModel or TypeDataset; empty for TypeModel
	Name string // written into the config; empty for none: it never comes from the directory
	// Build says which files belong to the tree and how they are hashed; Copy is Pack's own. Its Progress is told each file once, as it
	// is hashed or, with a remembered digest, as it is written.
	Build manifest.Options
	// Link puts hard links to the files into a layout instead of copies. They take no room, and a later edit of such a file in
	// place alters the package. It fails for other targets, across file systems, and where the system does not let the user link.
	Link bool
	// ReadOnce is for files that are far away. A file is copied into a layout also where a blob of its size is there, which may be the
	// same, and what is needed of its header is kept in the same read. It is read again only to go on with an upload that broke off,
	// for a target that cannot take bytes before their digest is known, or when somebody else removes its blob meanwhile.
	ReadOnce bool
	// Car says that PackCar gets the tree too: a name that a car cannot have fails with manifest.ErrName before anything is read.
	Car bool
	// Ready, when it is not nil, is called once all files are written, before the package is visible. Its error ends Pack.
	Ready func(*Packed) error
}

// Packed is a package that was made.
type Packed struct {
	Descriptor ocispec.Descriptor // of the image manifest
	Tree       *manifest.Manifest // its files, with what Build.Serialization asked for
}

// sink takes the parts of a package.
type sink interface {
	// begin starts the copy of a file whose digest is not known before it is read. A nil copy says that the file is better read again
	// when it is known.
	begin(ctx context.Context, o origin) (manifest.FileCopy, error)
	// beginBlob takes size bytes whose digest is not known before they are written. reread opens them again from an offset on.
	beginBlob(ctx context.Context, size int64, reread func(offset int64) (io.ReadCloser, error)) (manifest.FileCopy, error)
	// putFile writes the blob of a file whose digest is known, unless it is there.
	putFile(ctx context.Context, o origin, progress func(int)) error
	// publish writes config, list and manifest and makes the package visible.
	publish(ctx context.Context, img *image, tag string) error
	// discard takes back what the others wrote, after a failure.
	discard(ctx context.Context)
}

// Pack writes the tree below fsys to target as a package. Its image manifest is the same for the same tree, Type and Name.
// Each file is read once: it is hashed, serialized as Build.Serialization says and written in the same pass, and looked at again behind
// it; one that changed fails with manifest.ErrChanged. A file whose digest is remembered (Build.Digests) is not read where the
// target has the blob, and verified while it is written where it has not; a layout's blob is verified in any case. A file is read a
// second time when a target cannot take bytes before their digest is known, or a layout has a blob of its size.
//
// A dataset of more than MaxRawFiles files is grouped into tar layers, which are hashed and written in the same pass too; a file in one is read
// also when its digest is remembered, and cannot be a link.
//
// A tree with git's files at its top level, which no package has, fails with manifest.ErrName. Nothing is visible in target
// before everything is there. A tree that needs a manifest of more than MaxManifestBytes fails with
// ErrLimit before anything is read.
func Pack(ctx context.Context, target Target, fsys fs.FS, opts PackOptions) (*Packed, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	to, err := newSink(target, opts)
	if err != nil {
		return nil, err
	}
	p := newPacking(fsys, to, opts)
	packed, err := p.pack(ctx)
	if err != nil {
		to.discard(context.WithoutCancel(ctx))
		return nil, err
	}
	return packed, nil
}

// errChecked ends a Build that was to walk only.
var errChecked = errors.New("checked")

// CheckTree refuses, without reading a file, a tree below fsys that Pack would refuse: so that a target need not be made for it.
func CheckTree(ctx context.Context, fsys fs.FS, opts PackOptions) error {
	if err := opts.check(); err != nil {
		return err
	}
	build := opts.Build
	build.Found = func(files []manifest.File) error {
		if err := opts.checkFiles(files); err != nil {
			return err
		}
		return errChecked
	}
	if _, err := manifest.Build(ctx, fsys, build); !errors.Is(err, errChecked) {
		return err
	}
	return nil
}

func (opts PackOptions) check() error {
	switch {
	case opts.Type != "" && opts.Type != TypeModel && opts.Type != TypeDataset:
		return fmt.Errorf("oci: unknown type %q: %s or %s", opts.Type, TypeModel, TypeDataset)
	case opts.Tag != "" && !tagGrammar.MatchString(opts.Tag):
		return fmt.Errorf("oci: %q: %w: not a tag", opts.Tag, ErrReference)
	case opts.Build.Serialization.AllowSymlinks:
		return fmt.Errorf("oci: %w: a package holds files, not links to them", manifest.ErrSymlink)
	}
	return nil
}

// unread stands for the digest of a file that was not read yet.
var unread = digest.NewDigestFromEncoded(digest.SHA256, strings.Repeat("0", 64))

// checkFiles refuses a tree that cannot be a package, before its files are read.
func (opts PackOptions) checkFiles(files []manifest.File) error {
	shards := opts.needsShards(len(files))
	if shards && len(files) > MaxTarFiles {
		return fmt.Errorf("oci: %w: %d files, of which at most %d go into tar layers; pack the dataset in parts", ErrLimit, len(files), MaxTarFiles)
	}
	if !shards && len(files) > MaxManifestBytes/len(layerPrefix) {
		return tooLarge(len(files), int64(len(files))*int64(len(layerPrefix)))
	}
	for i := range files {
		files[i].Digest = unread
	}
	tree, err := newTree(files)
	if err != nil {
		return err
	}
	if err := checkPaths(tree); err != nil {
		return err
	}
	if opts.Car {
		if err := checkWhiteouts(tree); err != nil {
			return fmt.Errorf("oci: %w", err)
		}
	}
	if shards {
		return opts.checkShards(tree)
	}
	// A digest has one length, so that the size is right but for the digits of the config's.
	data, err := marshalImage(ocispec.Descriptor{MediaType: MediaTypeConfig, Digest: unread}, layersOf(tree, opts.Type))
	if err != nil {
		return err
	}
	return checkImageSize(len(files), len(data))
}

// checkPaths refuses a tree with files that a package has not, or that Pull would refuse.
func checkPaths(tree *manifest.Manifest) error {
	for _, f := range tree.Files {
		if inGit(f.Path) { // the package would have another dirHash than the tree
			return fmt.Errorf("oci: %q: %w: a package leaves git's files out of its tree", f.Path, manifest.ErrName)
		}
	}
	return checkNames(tree)
}

func newSink(target Target, opts PackOptions) (sink, error) {
	if l, ok := target.(*Layout); ok {
		return newLayoutSink(l, opts)
	}
	if opts.Link {
		return nil, fmt.Errorf("oci: %w: hard links go into layouts only", errors.ErrUnsupported)
	}
	return targetSink{target}, nil
}

// packing is one run of Pack, or of NewVirtual, which has no sink.
type packing struct {
	fsys   fs.FS
	to     sink
	opts   PackOptions
	shards *shardWriter // nil unless the tree needs them

	mu    sync.Mutex
	infos map[string]fs.FileInfo // of the files as they were found; not of those in tars, which are known by their digests
	taken map[digest.Digest]bool // blobs that somebody writes or has written
	heads map[string]format.Info // what was kept of headers, by path
}

func newPacking(fsys fs.FS, to sink, opts PackOptions) *packing {
	if opts.Type == "" {
		opts.Type = TypeModel
	}
	if opts.Link {
		opts.Build.Digests = nil // a link is not verified while it is made
	}
	if _, remote := to.(targetSink); remote && opts.Build.Concurrency == 0 {
		opts.Build.Concurrency = blobsAtOnce
	}
	return &packing{fsys: fsys, to: to, opts: opts, infos: map[string]fs.FileInfo{}, taken: map[digest.Digest]bool{}, heads: map[string]format.Info{}}
}

// build reads the tree, copies it to the sink, and computes the package.
func (p *packing) build(ctx context.Context) (*Packed, *image, error) {
	opts := p.opts.Build
	found := opts.Found
	opts.Found = func(files []manifest.File) error {
		err := p.opts.checkFiles(slices.Clone(files))
		if err == nil && p.opts.needsShards(len(files)) {
			p.shards, err = newShardWriter(p, files)
		}
		if err != nil || found == nil {
			return err
		}
		return found(files)
	}
	opts.Copy = p.copy
	if p.opts.ReadOnce {
		opts.Copy = p.copyOnce
	}
	m, err := manifest.Build(ctx, p.fsys, opts)
	if p.shards != nil {
		p.shards.abort()
	}
	if err != nil {
		return nil, nil, err
	}
	img, err := p.image(m)
	if err != nil {
		return nil, nil, err
	}
	return &Packed{img.manifestDesc, m}, img, nil
}

// image computes the package of a tree that was read.
func (p *packing) image(m *manifest.Manifest) (*image, error) {
	if p.shards == nil {
		return newImage(p.header, m, p.opts, nil)
	}
	raw := p.shards.rawTree(m)
	list, err := writeList(p.shards.balls, len(raw.Files))
	if err != nil {
		return nil, err
	}
	listed := withPath(describeBytes(MediaTypeFileList, list), "files.json")
	img, err := newImage(p.header, raw, p.opts, append(slices.Clone(p.shards.layers), listed))
	if err != nil {
		return nil, err
	}
	img.blobs = append(img.blobs, imageBlob{"list of files", plain(listed), list})
	return img, nil
}

// pack builds and publishes. A blob that somebody else took back in between (see
// layoutSink.discard) makes publish fail with errBlobGone; then what is missing is written again.
func (p *packing) pack(ctx context.Context) (*Packed, error) {
	packed, img, err := p.build(ctx)
	if err != nil {
		return nil, err
	}
	if p.opts.Link {
		if err := p.putFiles(ctx, packed.Tree); err != nil {
			return nil, err
		}
	}
	if p.opts.Ready != nil {
		if err := p.opts.Ready(packed); err != nil {
			return nil, err
		}
	}
	const attempts = 3
	for range attempts {
		if err = p.to.publish(ctx, img, p.opts.Tag); !errors.Is(err, errBlobGone) {
			break
		}
		if err := p.putFiles(ctx, packed.Tree); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return packed, nil
}

// copy is manifest.Options.Copy.
func (p *packing) copy(ctx context.Context, f manifest.File, info fs.FileInfo) (manifest.FileCopy, error) {
	if p.shards != nil && !p.shards.raw[f.Path] {
		return p.shards.copy(ctx, origin{p.fsys, f, info}, p.opts.Build.Progress)
	}
	p.mu.Lock()
	p.infos[f.Path] = info
	p.mu.Unlock()
	switch {
	case p.to == nil || p.opts.Link: // links are made at the end: each one changes the ctime of its file
		if f.Digest != "" {
			report(p.opts.Build.Progress, f.Size)
		}
		return nil, nil
	case f.Digest != "":
		return nil, p.put(ctx, f, p.opts.Build.Progress)
	}
	to, err := p.to.begin(ctx, p.origin(f))
	if err != nil {
		return nil, fmt.Errorf("oci: %s: %w", f.Path, err)
	}
	if to == nil {
		return late{ctx, p}, nil
	}
	once := onceCopy{to, p}
	if clone, ok := to.(manifest.Clone); ok {
		return onceClone{once, clone}, nil
	}
	return once, nil
}

// put writes the blob of a file whose digest is known, once.
func (p *packing) put(ctx context.Context, f manifest.File, progress func(int)) error {
	if !p.take(f.Digest) {
		report(progress, f.Size)
		return nil
	}
	if err := p.to.putFile(ctx, p.origin(f), progress); err != nil {
		return fmt.Errorf("oci: %s: %w", f.Path, err)
	}
	return nil
}

// take reports whether nobody else writes the blob: the same bytes under two names are one.
func (p *packing) take(d digest.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[d] {
		return false
	}
	p.taken[d] = true
	return true
}

// putFiles writes what is missing of a tree that was read already.
func (p *packing) putFiles(ctx context.Context, m *manifest.Manifest) error {
	clear(p.taken)
	if p.shards != nil {
		if err := p.shards.again(ctx); err != nil {
			return err
		}
		m = p.shards.rawTree(m)
	}
	return eachBlob(ctx, blobsAtOnce, len(m.Files), func(ctx context.Context, i int) error {
		return p.put(ctx, m.Files[i], nil)
	})
}

// origin is where the bytes of a blob come from: a file as it was found.
type origin struct {
	fsys fs.FS
	file manifest.File
	info fs.FileInfo
}

func (p *packing) origin(f manifest.File) origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	return origin{p.fsys, f, p.infos[f.Path]}
}

func (p *packing) open(f manifest.File) (*manifest.StableFile, error) { return p.origin(f).open() }

func (o origin) open() (*manifest.StableFile, error) {
	return manifest.OpenStable(o.fsys, o.file.Path, o.info)
}

// reread opens the file from an offset on.
func (o origin) reread(offset int64) (io.ReadCloser, error) {
	file, err := o.open()
	if err != nil {
		return nil, err
	}
	if err := file.Skip(offset); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// late puts a file when its digest is known.
type late struct {
	ctx context.Context
	p   *packing
}

func (l late) Write(b []byte) (int, error)  { return len(b), nil }
func (l late) Commit(f manifest.File) error { return l.p.put(l.ctx, f, nil) }
func (l late) Abort()                       {}

// onceCopy is given up when another file had the same bytes.
type onceCopy struct {
	manifest.FileCopy
	p *packing
}

func (c onceCopy) Commit(f manifest.File) error {
	if !c.p.take(f.Digest) {
		c.Abort()
		return nil
	}
	if err := c.FileCopy.Commit(f); err != nil {
		return fmt.Errorf("oci: %s: %w", f.Path, err)
	}
	return nil
}

// onceClone is a onceCopy that is a manifest.Clone.
type onceClone struct {
	onceCopy
	clone manifest.Clone
}

func (c onceClone) Shared() io.Reader { return c.clone.Shared() }

// report tells progress of n bytes at once.
func report(progress func(int), n int64) {
	if progress != nil && n > 0 {
		progress(int(n))
	}
}

// blobStarter is a target that takes the bytes of a blob before their digest is known.
type blobStarter interface {
	// startBlob begins an upload of size bytes. reread opens them again from an offset on, to go on after a failure.
	startBlob(ctx context.Context, size int64, reread func(offset int64) (io.ReadCloser, error)) (blobUpload, error)
}

// blobUpload takes all bytes of one blob, in order.
type blobUpload interface {
	io.Writer
	// Commit ends the upload; the target refuses it unless desc describes the bytes.
	Commit(ctx context.Context, desc ocispec.Descriptor) error
	// Abort gives the upload up, whatever state it is in.
	Abort(ctx context.Context)
}

// targetSink writes to a registry, or to any other target.
type targetSink struct{ target Target }

func (s targetSink) discard(context.Context) {} // registries collect garbage themselves

// blobOf describes a file as a blob.
func blobOf(f manifest.File) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: f.Digest, Size: f.Size}
}

func (s targetSink) begin(ctx context.Context, o origin) (manifest.FileCopy, error) {
	if _, ok := s.target.(blobStarter); !ok && o.file.Size > bufferedBlob {
		return nil, nil
	}
	return s.beginBlob(ctx, o.file.Size, o.reread)
}

func (s targetSink) beginBlob(ctx context.Context, size int64, reread func(offset int64) (io.ReadCloser, error)) (manifest.FileCopy, error) {
	if size <= bufferedBlob {
		return &buffered{ctx: ctx, target: s.target}, nil
	}
	starter, ok := s.target.(blobStarter)
	if !ok {
		return lateBlob{ctx: ctx, target: s.target, reread: reread}, nil
	}
	upload, err := starter.startBlob(ctx, size, reread)
	if err != nil {
		return nil, err
	}
	return uploading{ctx, upload}, nil
}

// buffered holds a small file until its digest is known.
type buffered struct {
	bytes.Buffer
	ctx    context.Context
	target Target
}

func (b *buffered) Commit(f manifest.File) error {
	return pushBytes(b.ctx, b.target, blobOf(f), b.Bytes())
}

func (b *buffered) Abort() {}

// lateBlob is read again when its digest is known.
type lateBlob struct {
	nowhereCopy
	ctx    context.Context
	target Target
	reread func(offset int64) (io.ReadCloser, error)
}

func (b lateBlob) Commit(f manifest.File) error {
	desc := blobOf(f)
	exists, err := b.target.Exists(b.ctx, desc)
	if err != nil || exists {
		return err
	}
	rc, err := b.reread(0)
	if err != nil {
		return err
	}
	body := &verifiedBody{ReadCloser: rc, want: desc, hash: desc.Digest.Algorithm().Hash()}
	defer func() { _ = body.Close() }()
	if err := b.target.Push(b.ctx, desc, body); !errors.Is(err, errdef.ErrAlreadyExists) {
		return err
	}
	return nil
}

// uploading is a file that is sent while it is hashed.
type uploading struct {
	ctx    context.Context
	upload blobUpload
}

func (u uploading) Write(p []byte) (int, error) { return u.upload.Write(p) }

func (u uploading) Commit(f manifest.File) error { return u.upload.Commit(u.ctx, blobOf(f)) }

func (u uploading) Abort() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), discardTimeout)
	defer cancel()
	u.upload.Abort(ctx)
}

func (s targetSink) putFile(ctx context.Context, o origin, progress func(int)) error {
	desc := blobOf(o.file)
	exists, err := s.target.Exists(ctx, desc)
	if err != nil {
		return err
	}
	if exists {
		report(progress, o.file.Size)
		return nil
	}
	source, err := openSource(o, progress)
	if err != nil {
		return err
	}
	defer func() { _ = source.file.Close() }()
	var body io.Reader = source
	if desc.Size <= bufferedBlob {
		data, err := io.ReadAll(source)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	return source.explain(s.target.Push(ctx, desc, body))
}

func (s targetSink) publish(ctx context.Context, img *image, tag string) error {
	for _, blob := range img.blobs {
		if err := pushBytes(ctx, s.target, blob.desc, blob.data); err != nil {
			return fmt.Errorf("oci: %s: %w", blob.name, err)
		}
	}
	if pusher, ok := s.target.(registry.ReferencePusher); ok && tag != "" {
		if err := pusher.PushReference(ctx, img.manifestDesc, bytes.NewReader(img.manifest), tag); err != nil {
			return fmt.Errorf("oci: manifest: %w", err)
		}
		return nil
	}
	if err := pushBytes(ctx, s.target, img.manifestDesc, img.manifest); err != nil {
		return fmt.Errorf("oci: manifest: %w", err)
	}
	if tag == "" {
		return nil
	}
	if err := s.target.Tag(ctx, img.manifestDesc, tag); err != nil {
		return fmt.Errorf("oci: tag %s: %w", tag, err)
	}
	return nil
}

// pushBytes pushes data unless it is there.
func pushBytes(ctx context.Context, target Target, desc ocispec.Descriptor, data []byte) error {
	exists, err := target.Exists(ctx, desc)
	if err != nil || exists {
		return err
	}
	if err := target.Push(ctx, desc, bytes.NewReader(data)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return err
	}
	return nil
}

// source reads a file that must have the digest that the tree says, and remembers why it could not. An HTTP
// client may still be reading when the answer is there, hence the lock.
type source struct {
	mu       sync.Mutex
	file     *manifest.StableFile
	want     manifest.File
	hash     digest.Digester
	read     int64
	err      error
	progress func(int)
}

func openSource(o origin, progress func(int)) (*source, error) {
	file, err := o.open()
	if err != nil {
		return nil, err
	}
	if file.Size() != o.file.Size {
		_ = file.Close()
		return nil, fmt.Errorf("%w: %d bytes instead of %d", manifest.ErrChanged, file.Size(), o.file.Size)
	}
	return &source{file: file, want: o.file, hash: digest.SHA256.Digester(), progress: progress}, nil
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.file.Read(p)
	_, _ = s.hash.Hash().Write(p[:n]) // a hash never fails to write
	s.read += int64(n)
	report(s.progress, int64(n))
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain returns why an upload failed: a file that changed shows as a request that broke off, or as
// a digest that the registry refuses. An upload that was accepted is checked like every other.
func (s *source) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.read == s.want.Size {
		if changed := s.check(); changed != nil {
			return changed
		}
	}
	switch {
	case errors.Is(err, errdef.ErrAlreadyExists):
		return nil
	case err == nil && s.read < s.want.Size:
		return fmt.Errorf("%w: the upload was accepted after %d of %d bytes", ErrContent, s.read, s.want.Size)
	}
	return err
}

// check reports whether what was read is what the tree says, and the file still is that.
func (s *source) check() error {
	if got := s.hash.Digest(); got != s.want.Digest {
		return fmt.Errorf("%w: its digest is %s instead of %s", manifest.ErrChanged, got, s.want.Digest)
	}
	return s.file.Unchanged()
}

// newTree is manifest.New with the checks that make a tree fit to be unpacked: no file stands where
// another one needs a directory.
func newTree(files []manifest.File) (*manifest.Manifest, error) {
	m, err := manifest.New(files)
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	isFile := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		isFile[f.Path] = true
	}
	for _, f := range m.Files {
		for dir := range parents(f.Path) {
			if isFile[dir] {
				return nil, fmt.Errorf("oci: %q: %w: %q is a file", f.Path, manifest.ErrName, dir)
			}
		}
	}
	return m, nil
}
