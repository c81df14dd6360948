package oci

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bounds of what Copy takes along.
const (
	MaxCopyManifests     = 10_000   // manifests and indexes, those of referrers included
	MaxCopyManifestBytes = 64 << 20 // bytes of them, which are held in memory
	MaxCopyDepth         = 8        // indexes within indexes, and referrers of referrers
)

// CopyOptions of Copy. The zero value copies the artifact alone and gives it no tag.
type CopyOptions struct {
	Tag         string      // put on the copy when everything is there; may be empty
	Referrers   bool        // copy what is attached to it too, and what is attached to that
	Concurrency int         // blobs copied at once; 0 for a few
	MountFrom   string      // repository of the destination's registry that may have the blobs; empty for the source's own
	Planned     func(int64) // told once how many bytes of blobs there are; may be nil
	Progress    func(n int) // told the bytes handled, from several goroutines at once; may be nil
}

// Volume counts blobs and manifests.
type Volume struct {
	Count int   `json:"count"`
	Bytes int64 `json:"bytes"`
}

// CopyReport says what Copy did.
type CopyReport struct {
	Copied    Volume `json:"copied"`
	Skipped   Volume `json:"skipped"`   // were there
	Mounted   Volume `json:"mounted"`   // taken from another repository of the registry
	Referrers int    `json:"referrers"` // attached to the copy, be they new or not
}

// transfer is what was done with a blob.
type transfer int

const (
	copied transfer = iota
	skipped
	mounted
)

func (r *CopyReport) add(what transfer, size int64) {
	v := map[transfer]*Volume{copied: &r.Copied, skipped: &r.Skipped, mounted: &r.Mounted}[what]
	v.Count++
	v.Bytes += size
}

// Copy brings the artifact desc, an image manifest or an index of whatever kind, from src to dst. Every byte is
// verified on the way; what is there is not sent again. Blobs come first, then the manifest, then what is attached to it, then
// the tag, so that whoever sees the tag finds everything. In a layout all of that becomes visible at once.
//
// Bytes that are not what their descriptors say fail with ErrContent, more than the bounds of this
// package with ErrLimit, and a registry that fails with ErrUnavailable. After a failure finished blobs
// stay, for the next Copy to go on from.
func Copy(ctx context.Context, src Target, desc ocispec.Descriptor, dst Target, opts CopyOptions) (CopyReport, error) {
	if opts.Tag != "" && !tagGrammar.MatchString(opts.Tag) {
		return CopyReport{}, fmt.Errorf("oci: %q: %w: not a tag", opts.Tag, ErrReference)
	}
	p, err := newPlan(ctx, src, desc, opts.Referrers)
	if err != nil {
		return CopyReport{}, err
	}
	c := &copier{plan: p, dst: dst, opts: opts}
	err = c.run(ctx)
	return c.report, err
}

// part is a manifest that is copied, with its bytes.
type part struct {
	*node
	data    []byte
	subject *ocispec.Descriptor // what it is attached to; nil for the artifact and its own manifests
}

// plan is everything that is copied. The parts of an index stand before it, referrers behind their subject.
type plan struct {
	src       Target
	referrers bool
	parts     []*part
	root      *part // the artifact itself
	known     map[digest.Digest]*part
	blobs     []ocispec.Descriptor
	sizes     map[digest.Digest]int64 // of the blobs
	bytes     int                     // of the manifests
}

func newPlan(ctx context.Context, src Target, desc ocispec.Descriptor, referrers bool) (*plan, error) {
	p := &plan{src: src, referrers: referrers, known: map[digest.Digest]*part{}, sizes: map[digest.Digest]int64{}}
	return p, p.visit(ctx, desc, nil, 0)
}

// visit reads a manifest and what belongs to it.
func (p *plan) visit(ctx context.Context, desc ocispec.Descriptor, subject *ocispec.Descriptor, depth int) error {
	if p.known[desc.Digest] != nil {
		return nil
	}
	if depth > MaxCopyDepth || len(p.parts) >= MaxCopyManifests {
		return fmt.Errorf("oci: %s: %w: more than %d manifests, or more than %d below each other", desc.Digest, ErrLimit, MaxCopyManifests, MaxCopyDepth)
	}
	part, err := p.read(ctx, desc)
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	// A registry may list what it likes. Attached is what says so itself.
	if subject != nil && !part.isAbout(subject.Digest) {
		return fmt.Errorf("oci: %s: %w: it is listed with a subject that it does not name", desc.Digest, ErrContent)
	}
	part.subject = subject
	p.known[desc.Digest] = part
	p.root = cmp.Or(p.root, part)
	for _, child := range part.content() {
		if isManifest(child.MediaType) {
			if err := p.visit(ctx, child, nil, depth+1); err != nil {
				return err
			}
		} else if err := p.addBlob(child); err != nil {
			return err
		}
	}
	p.parts = append(p.parts, part)
	if !p.referrers {
		return nil
	}
	attached, err := listReferrers(ctx, p.src, desc)
	if err != nil {
		return err
	}
	for _, referrer := range attached {
		if err := p.visit(ctx, referrer, &part.desc, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) read(ctx context.Context, desc ocispec.Descriptor) (*part, error) {
	if !isManifest(desc.MediaType) {
		return nil, fmt.Errorf("%s: %w: its media type is %q", desc.Digest, ErrManifest, desc.MediaType)
	}
	data, err := fetchBytes(ctx, p.src, desc, MaxManifestBytes)
	if err != nil {
		return nil, err
	}
	if p.bytes += len(data); p.bytes > MaxCopyManifestBytes {
		return nil, fmt.Errorf("%s: %w: more than %d bytes of manifests", desc.Digest, ErrLimit, MaxCopyManifestBytes)
	}
	n, err := parseNode(desc, data)
	return &part{node: n, data: data}, err
}

// parseNode reads a manifest that must be what its descriptor says: one text may not be a manifest here and an
// index there.
func parseNode(desc ocispec.Descriptor, data []byte) (*node, error) {
	n := &node{desc: plain(desc)}
	err := strictjson.CheckKeys(data, "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations", "manifests")
	if err == nil {
		err = strictjson.Unmarshal(data, n, strictjson.Limits{MaxBytes: MaxManifestBytes})
	}
	isIndex := desc.MediaType == ocispec.MediaTypeImageIndex || desc.MediaType == mediaTypeDockerList
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", desc.Digest, ErrContent, err)
	case n.MediaType != "" && n.MediaType != desc.MediaType:
		return nil, fmt.Errorf("%s: %w: it is named as %q and says %q", desc.Digest, ErrContent, desc.MediaType, n.MediaType)
	case isIndex && (n.Config != nil || n.Layers != nil), !isIndex && n.Manifests != nil:
		return nil, fmt.Errorf("%s: %w: it is an index and an image manifest at once", desc.Digest, ErrContent)
	}
	return n, nil
}

func (p *plan) addBlob(desc ocispec.Descriptor) error {
	if err := checkDescriptor(desc); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	if size, known := p.sizes[desc.Digest]; known {
		if size != desc.Size {
			return fmt.Errorf("oci: %s: %w: it has two sizes, %d and %d bytes", desc.Digest, ErrContent, size, desc.Size)
		}
		return nil
	}
	p.sizes[desc.Digest] = desc.Size
	p.blobs = append(p.blobs, ocispec.Descriptor{MediaType: blobMediaType(desc), Digest: desc.Digest, Size: desc.Size})
	return nil
}

func (p *plan) size() (total int64) {
	for _, blob := range p.blobs {
		total += blob.Size
	}
	return total
}

// blobMediaType keeps a blob from being taken for a manifest, whatever it is called.
func blobMediaType(desc ocispec.Descriptor) string {
	if desc.MediaType == mediaTypeArtifactManifest {
		return "application/octet-stream"
	}
	return cmp.Or(desc.MediaType, "application/octet-stream")
}

// copier carries out a plan.
type copier struct {
	*plan
	dst    Target
	opts   CopyOptions
	mu     sync.Mutex
	report CopyReport
}

func (c *copier) add(what transfer, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.add(what, size)
}

func (c *copier) run(ctx context.Context) error {
	if c.opts.Planned != nil {
		c.opts.Planned(c.size())
	}
	layout, ok := c.dst.(*Layout)
	if !ok {
		if err := c.copyBlobs(ctx); err != nil {
			return err
		}
		return c.publish(ctx)
	}
	const tries = 3
	var err error
	for range tries {
		if err = c.copyBlobs(ctx); err != nil {
			return err
		}
		if err = c.list(ctx, layout); !errors.Is(err, errBlobGone) {
			return err
		}
		c.opts.Progress, c.report = nil, CopyReport{} // counted already
	}
	return err
}

func (c *copier) copyBlobs(ctx context.Context) error {
	return eachBlob(ctx, c.opts.Concurrency, len(c.blobs), func(ctx context.Context, i int) error {
		desc := c.blobs[i]
		what, err := c.copyBlob(ctx, desc)
		if err != nil {
			return fmt.Errorf("oci: blob %s: %w", desc.Digest, err)
		}
		if what != copied {
			report(c.opts.Progress, desc.Size)
		}
		c.add(what, desc.Size)
		return nil
	})
}

func (c *copier) copyBlob(ctx context.Context, desc ocispec.Descriptor) (transfer, error) {
	if to, ok := c.dst.(*repository); ok {
		return to.uploadBlob(ctx, desc, blobSource{
			open:      func(offset int64) (io.ReadCloser, error) { return fetchFrom(ctx, c.src, desc, offset) },
			mountFrom: c.mountFrom(to),
			progress:  c.opts.Progress,
		})
	}
	if exists, err := c.dst.Exists(ctx, desc); err != nil || exists {
		return skipped, err
	}
	if to, ok := c.dst.(*Layout); ok {
		return copied, to.writeBlob(desc, func(w io.Writer) error {
			return copyBlob(ctx, c.src, desc, w, c.opts.Progress)
		})
	}
	rc, err := c.src.Fetch(ctx, desc)
	if err != nil {
		return copied, err
	}
	body := &verifiedBody{ReadCloser: rc, want: desc, hash: desc.Digest.Algorithm().Hash(), progress: c.opts.Progress}
	defer func() { _ = body.Close() }()
	return copied, c.dst.Push(ctx, desc, body)
}

// mountFrom is the repository from which blobs may be mounted: the one that was named, or the source when it
// is of the same registry.
func (c *copier) mountFrom(to *repository) string {
	from, ok := c.src.(*repository)
	if c.opts.MountFrom == "" && ok && from.Reference.Host() == to.Reference.Host() && from.Reference.Repository != to.Reference.Repository {
		return from.Reference.Repository
	}
	return c.opts.MountFrom
}

// publish writes the manifests to a registry, the tag last.
func (c *copier) publish(ctx context.Context) error {
	listed := map[digest.Digest]map[digest.Digest]bool{}
	for _, part := range c.parts {
		var err error
		if part.subject == nil {
			err = c.push(ctx, part)
		} else {
			err = c.attach(ctx, part, listed)
		}
		if err != nil {
			return fmt.Errorf("oci: manifest %s: %w", part.desc.Digest, err)
		}
	}
	if c.opts.Tag == "" {
		return nil
	}
	return putTag(ctx, c.dst, c.root.desc, c.root.data, c.opts.Tag)
}

func (c *copier) push(ctx context.Context, part *part) error {
	exists, err := c.dst.Exists(ctx, part.desc)
	if err != nil {
		return err
	}
	if exists {
		c.add(skipped, part.desc.Size)
		return nil
	}
	err = c.dst.Push(ctx, part.desc, bytes.NewReader(part.data))
	if err == nil || errors.Is(err, errdef.ErrAlreadyExists) {
		c.add(copied, part.desc.Size)
		return nil
	}
	return err
}

// attach writes a referrer, unless it is listed with its subject. listed holds what is known of the listings.
func (c *copier) attach(ctx context.Context, part *part, listed map[digest.Digest]map[digest.Digest]bool) error {
	subject := *part.subject
	if listed[subject.Digest] == nil {
		all, err := listReferrers(ctx, c.dst, subject)
		if err != nil {
			return err
		}
		listed[subject.Digest] = map[digest.Digest]bool{}
		for _, desc := range all {
			listed[subject.Digest][desc.Digest] = true
		}
	}
	c.report.Referrers++
	if listed[subject.Digest][part.desc.Digest] {
		c.add(skipped, part.desc.Size)
		return nil
	}
	c.add(copied, part.desc.Size)
	return pushReferrer(ctx, c.dst, subject, part.desc, part.data)
}

// putTag gives the manifest in data a tag.
func putTag(ctx context.Context, target Target, desc ocispec.Descriptor, data []byte, tag string) error {
	var err error
	if pusher, ok := target.(registry.ReferencePusher); ok {
		err = pusher.PushReference(ctx, desc, bytes.NewReader(data), tag)
	} else {
		err = target.Tag(ctx, desc, tag)
	}
	if err != nil {
		return fmt.Errorf("oci: tag %s: %w", tag, err)
	}
	return nil
}

// list writes the manifests to a layout and lists the artifact and its referrers in one change, after a look
// whether all blobs still are there.
func (c *copier) list(ctx context.Context, l *Layout) error {
	for _, part := range c.parts {
		exists, err := l.Exists(ctx, part.desc)
		if err != nil {
			return err
		}
		what := skipped
		if !exists {
			what = copied
			err = l.writeBlob(part.desc, func(w io.Writer) error {
				_, err := w.Write(part.data)
				return err
			})
			if err != nil {
				return fmt.Errorf("oci: manifest %s: %w", part.desc.Digest, err)
			}
		}
		c.add(what, part.desc.Size)
	}
	return l.change(ctx, func(index *ocispec.Index) error {
		if err := c.allThere(l); err != nil {
			return err
		}
		if err := l.addEntry(ctx, index, c.root.desc, c.root.node, c.opts.Tag); err != nil {
			return err
		}
		for _, part := range c.parts {
			if part.subject == nil {
				continue
			}
			c.report.Referrers++
			if err := l.addEntry(ctx, index, part.desc, part.node, ""); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *copier) allThere(l *Layout) error {
	all := slices.Clone(c.blobs)
	for _, part := range c.parts {
		all = append(all, part.desc)
	}
	for _, desc := range all {
		name, err := l.blobPath(desc.Digest)
		if err != nil {
			return err
		}
		if info, err := os.Lstat(name); err != nil || info.Size() != desc.Size {
			return fmt.Errorf("oci: %s: %w", desc.Digest, errBlobGone)
		}
	}
	return nil
}
