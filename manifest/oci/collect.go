package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// MinCollectAge is the age below which temporary files are never collected: something may be writing them.
const MinCollectAge = time.Hour

// CollectOptions of Collect. The zero value collects whatever its age.
type CollectOptions struct {
	OlderThan time.Duration // younger blobs stay, since a pack that is at work lists its blobs when all are there
	DryRun    bool          // remove nothing
}

// CollectReport says what Collect did, or would do.
type CollectReport struct {
	Removed []string `json:"removed"` // digests
	Bytes   int64    `json:"bytes"`   // of what was removed
	Young   Volume   `json:"young"`   // nothing refers to these, but they are too young
	Kept    Volume   `json:"kept"`    // something refers to these
}

// Collect removes the blobs of a layout that nothing in index.json leads to: as an artifact, as its content, or as what is
// attached to it, listed or not. It holds the layout's lock. It removes nothing and fails with ErrContent when something
// listed cannot be read, since nobody knows what that refers to.
func (l *Layout) Collect(ctx context.Context, opts CollectOptions) (*CollectReport, error) {
	unlock, err := l.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	used, err := l.reachable(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	report := &CollectReport{Removed: []string{}}
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		if err := l.collectIn(algorithm, used, now.Add(-opts.OlderThan), opts.DryRun, report); err != nil {
			return report, err
		}
	}
	if !opts.DryRun {
		l.removeLeftovers(now.Add(-max(opts.OlderThan, MinCollectAge)))
	}
	return report, nil
}

func (l *Layout) collectIn(algorithm digest.Algorithm, used map[digest.Digest]bool, before time.Time, dryRun bool, report *CollectReport) error {
	dir := l.path(ocispec.ImageBlobsDir, algorithm.String())
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return nil // not there, or a link that leads elsewhere
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	for _, e := range entries {
		d := digest.NewDigestFromEncoded(algorithm, e.Name())
		info, err := e.Info()
		if err != nil || d.Validate() != nil || !info.Mode().IsRegular() {
			continue
		}
		switch {
		case used[d]:
			report.Kept.Count++
			report.Kept.Bytes += info.Size()
			continue
		case info.ModTime().After(before):
			report.Young.Count++
			report.Young.Bytes += info.Size()
			continue
		case !dryRun:
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("oci: %w", err)
			}
		}
		report.Removed = append(report.Removed, d.String())
		report.Bytes += info.Size()
	}
	return nil
}

// reachable is every digest that index.json leads to.
func (l *Layout) reachable(ctx context.Context) (map[digest.Digest]bool, error) {
	g, err := l.readGraph(ctx)
	if err != nil {
		return nil, err
	}
	if len(g.broken) > 0 {
		return nil, fmt.Errorf("oci: %s: %w: index.json lists %s, which is missing or damaged; nothing was removed", l.dir, ErrContent, g.broken[0].Digest)
	}
	r := &reach{layout: l, used: map[digest.Digest]bool{}, visited: map[digest.Digest]bool{}}
	for _, n := range g.listed {
		if err := r.visit(ctx, n, 0); err != nil {
			return nil, err
		}
	}
	// What is attached to something that stays, stays; and what is attached to that.
	for found := true; found; {
		found = false
		for _, n := range g.orphans {
			if n.Subject == nil || !r.used[n.Subject.Digest] || r.visited[n.desc.Digest] {
				continue
			}
			found = true
			if err := r.visit(ctx, n, 0); err != nil {
				return nil, err
			}
		}
	}
	return r.used, nil
}

// reach collects what manifests lead to.
type reach struct {
	layout  *Layout
	used    map[digest.Digest]bool
	visited map[digest.Digest]bool // manifests; one that is used as a layer only is not followed
}

// visit marks n, its content, and what it is about.
func (r *reach) visit(ctx context.Context, n *node, depth int) error {
	if r.visited[n.desc.Digest] {
		return ctx.Err()
	}
	if depth > MaxCopyDepth {
		return fmt.Errorf("oci: %s: %w: more than %d manifests below each other; nothing was removed", n.desc.Digest, ErrLimit, MaxCopyDepth)
	}
	r.visited[n.desc.Digest], r.used[n.desc.Digest] = true, true
	for _, desc := range n.content() {
		r.used[desc.Digest] = true
	}
	next := n.Manifests
	if n.Subject != nil {
		next = append(slices.Clone(next), *n.Subject)
	}
	for _, desc := range next {
		child, err := r.layout.readNode(desc)
		if errors.Is(err, ErrNotFound) {
			continue // a part of an index may stay elsewhere
		}
		if err != nil {
			return fmt.Errorf("oci: %s: %w; nothing was removed", desc.Digest, err)
		}
		if err := r.visit(ctx, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}
