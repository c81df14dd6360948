package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bounds of the search for manifests that index.json does not list.
const (
	MaxScanBlobs = 100_000   // blobs that nothing listed names; 512 bytes of each are read
	MaxScanBytes = 256 << 20 // bytes of those that look like manifests, which are read whole
)

// node is a manifest or index with what it points to.
type node struct {
	desc ocispec.Descriptor

	MediaType    string               `json:"mediaType"`
	ArtifactType string               `json:"artifactType"`
	Subject      *ocispec.Descriptor  `json:"subject"`
	Config       *ocispec.Descriptor  `json:"config"`
	Layers       []ocispec.Descriptor `json:"layers"`
	Manifests    []ocispec.Descriptor `json:"manifests"`
}

// content lists what belongs to the node: everything it points to but the subject.
func (n *node) content() []ocispec.Descriptor {
	all := slices.Concat(n.Layers, n.Manifests)
	if n.Config != nil {
		all = append(all, *n.Config)
	}
	return all
}

func (n *node) pointsTo(d digest.Digest) bool {
	return n.isAbout(d) || slices.ContainsFunc(n.content(), func(c ocispec.Descriptor) bool { return c.Digest == d })
}

func (n *node) isAbout(d digest.Digest) bool { return n.Subject != nil && n.Subject.Digest == d }

// graph is what a layout holds, in the order of the digests.
type graph struct {
	listed  []*node              // in index.json
	broken  []ocispec.Descriptor // in index.json, missing or damaged
	orphans []*node              // manifests that nothing lists
	tagged  map[digest.Digest]bool
}

// readGraph reads every listed manifest, verified, and looks for unlisted ones.
func (l *layoutView) readGraph(ctx context.Context) (*graph, error) {
	if !l.fixed {
		return l.newGraph(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		g, err := l.newGraph(ctx)
		if err != nil {
			return nil, err
		}
		l.known = g
	}
	return l.known, nil
}

func (l *layoutView) newGraph(ctx context.Context) (*graph, error) {
	index, err := l.readIndex()
	if err != nil {
		return nil, err
	}
	g := &graph{tagged: map[digest.Digest]bool{}}
	known := map[digest.Digest]bool{}
	for _, entry := range index.Manifests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.tagged[entry.Digest] = g.tagged[entry.Digest] || tagOf(entry) != ""
		if known[entry.Digest] {
			continue
		}
		known[entry.Digest] = true
		n, err := l.readNode(entry)
		if err != nil {
			g.broken = append(g.broken, plain(entry))
			continue
		}
		g.listed = append(g.listed, n)
	}
	for _, n := range g.listed {
		if n.Config != nil {
			known[n.Config.Digest] = true
		}
		for _, layer := range n.Layers {
			known[layer.Digest] = true
		}
	}
	return g, l.scan(ctx, g, known)
}

// readNode reads and verifies one manifest.
func (l *layoutView) readNode(desc ocispec.Descriptor) (*node, error) {
	data, err := fetchBytes(context.Background(), l, desc, MaxManifestBytes) // one bounded read of a local file
	if err != nil {
		return nil, err
	}
	n := &node{desc: plain(desc)}
	if err := strictjson.Unmarshal(data, n, strictjson.Limits{}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrContent, err)
	}
	return n, nil
}

// scan finds manifests that index.json does not list: cosign v3 writes a statement's manifest as a
// blob only. Blobs that a listed manifest names as its content are not looked at.
func (l *layoutView) scan(ctx context.Context, g *graph, known map[digest.Digest]bool) error {
	names, err := l.files.list(path.Join(ocispec.ImageBlobsDir, "sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("oci: %w", err)
	}
	blobs, size := 0, int64(0)
	for _, name := range names {
		d := digest.NewDigestFromEncoded(digest.SHA256, name)
		if d.Validate() != nil || known[d] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		bytes, err := l.files.stat(blobName(d))
		if err != nil {
			continue // removed meanwhile, or no file
		}
		if blobs++; blobs > MaxScanBlobs {
			return fmt.Errorf("oci: %s: %w: more than %d blobs that index.json does not lead to", l.files, ErrLimit, MaxScanBlobs)
		}
		if !l.looksLikeManifest(d, bytes) {
			continue
		}
		if size += bytes; size > MaxScanBytes {
			return fmt.Errorf("oci: %s: %w: more than %d bytes of manifests that index.json does not list", l.files, ErrLimit, MaxScanBytes)
		}
		if n := l.orphan(d); n != nil {
			g.orphans = append(g.orphans, n)
		}
	}
	return nil
}

// looksLikeManifest decides by the size and the first bytes whether a blob is worth reading. Go's
// encoders, and so cosign, write schemaVersion first.
func (l *layoutView) looksLikeManifest(d digest.Digest, size int64) bool {
	if size > MaxManifestBytes {
		return false
	}
	f, _, err := l.files.open(blobName(d))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head)
	head = bytes.TrimLeft(head[:n], " \t\r\n")
	return bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte(`"schemaVersion"`))
}

// orphan returns the manifest in a blob, or nil when it holds none. The digest is not verified:
// whoever reads the manifest later does that, and reports a damaged one.
func (l *layoutView) orphan(d digest.Digest) *node {
	data, err := l.read(blobName(d), MaxManifestBytes)
	if err != nil || strictjson.Check(data, strictjson.Limits{}) != nil {
		return nil
	}
	n := &node{}
	if json.Unmarshal(data, n) != nil {
		return nil
	}
	if n.MediaType == "" && n.Config != nil && n.Layers != nil {
		n.MediaType = ocispec.MediaTypeImageManifest // "SHOULD be used", so it may be missing
	}
	if !isManifest(n.MediaType) {
		return nil
	}
	n.desc = ocispec.Descriptor{MediaType: n.MediaType, Digest: d, Size: int64(len(data))}
	return n
}

// Predecessors returns the manifests that point to node as their subject or content, in the order
// of their digests.
func (l *layoutView) Predecessors(ctx context.Context, node ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	g, err := l.readGraph(ctx)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, n := range slices.Concat(g.listed, g.orphans) {
		if n.pointsTo(node.Digest) {
			all = append(all, n.desc)
		}
	}
	return sorted(all), nil
}

// referrers returns the manifests whose subject is subject, and the listed ones that cannot be read
// and have no tag: what they are about is unknown, so they are reported rather than skipped.
func (l *layoutView) referrers(ctx context.Context, subject ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	g, err := l.readGraph(ctx)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, n := range slices.Concat(g.listed, g.orphans) {
		if n.isAbout(subject.Digest) {
			all = append(all, n.desc)
		}
	}
	for _, desc := range g.broken {
		if !g.tagged[desc.Digest] && desc.Digest != subject.Digest {
			all = append(all, desc)
		}
	}
	return sorted(all), nil
}

// hasStatements reports whether desc has referrers or is one.
func (l *layoutView) hasStatements(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if desc.Annotations[kindAnnotation] != "" {
		return true, nil
	}
	g, err := l.readGraph(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(slices.Concat(g.listed, g.orphans), func(n *node) bool {
		return n.isAbout(desc.Digest) || n.desc.Digest == desc.Digest && n.Subject != nil
	}), nil
}

// artifacts returns what is listed and is neither a referrer nor a policy that was taken along.
func (l *layoutView) artifacts(ctx context.Context) ([]ocispec.Descriptor, error) {
	g, err := l.readGraph(ctx)
	if err != nil {
		return nil, err
	}
	all, err := l.listed(ctx, func(n *node) bool { return n.Subject == nil && n.ArtifactType != MediaTypePolicy })
	return sorted(append(all, g.broken...)), err
}

// listed returns what index.json lists and is wanted.
func (l *layoutView) listed(ctx context.Context, wanted func(*node) bool) ([]ocispec.Descriptor, error) {
	g, err := l.readGraph(ctx)
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, n := range g.listed {
		if wanted(n) {
			all = append(all, n.desc)
		}
	}
	return sorted(all), nil
}

func sorted(all []ocispec.Descriptor) []ocispec.Descriptor {
	slices.SortFunc(all, func(a, b ocispec.Descriptor) int { return bytes.Compare([]byte(a.Digest), []byte(b.Digest)) })
	return slices.CompactFunc(all, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest })
}
