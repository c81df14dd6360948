package parts

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/manifest"
)

// ErrIncomparable says that two trees were hashed in ways that say nothing of each other.
var ErrIncomparable = errors.New("they cannot be compared")

// Listing is what is known of a tree: its resources, and where they are known its files.
type Listing struct {
	serialization manifest.Serialization
	resources     []manifest.Resource // sorted by path and start
	tree          *manifest.Manifest  // nil where the files' sizes and empty files are not known
}

// ListDocument lists a manifest.
func ListDocument(d *Document) Listing {
	return Listing{d.Tree.Serialization, d.Tree.Resources(), d.Tree}
}

// ListResources lists resources, sorted by path and start, as those of an OMS statement.
func ListResources(s manifest.Serialization, resources []manifest.Resource) Listing {
	return Listing{s, resources, nil}
}

// HasGit reports whether a git file at the top level is listed, which a tree leaves out by default.
func (l Listing) HasGit() bool {
	return slices.ContainsFunc(l.resources, func(r manifest.Resource) bool {
		top, _, _ := strings.Cut(r.Path, "/")
		return slices.Contains(manifest.GitNames(), top)
	})
}

// Diff reports how got differs from l: by the sha256 of the files where both have it, and by the resources otherwise. The error wraps
// ErrIncomparable.
func (l Listing) Diff(got Listing) (*manifest.Diff, error) {
	want, wantErr := l.files()
	is, isErr := got.files()
	if wantErr == nil && isErr == nil {
		return want.Diff(is), nil
	}
	if l.serialization.HashType() != got.serialization.HashType() || l.serialization.ShardSize != got.serialization.ShardSize {
		return nil, fmt.Errorf("parts: %w: one lists %s, the other %s", ErrIncomparable, how(l.serialization), how(got.serialization))
	}
	d := manifest.DiffResources(l.resources, got.resources)
	if l.tree != nil && got.tree != nil && l.serialization.ShardSize > 0 {
		emptyFiles(d, l.tree, got.tree)
	}
	d.Sort()
	return d, nil
}

// Uncompared lists the empty files that Diff does not look at: a statement of shards lists none, so that it cannot be told whether they are in
// both trees.
func (l Listing) Uncompared(got Listing) []string {
	switch {
	case l.serialization.ShardSize == 0 || got.serialization.ShardSize == 0:
		return nil
	case l.tree == nil && got.tree != nil:
		return got.tree.EmptyFiles()
	case l.tree != nil && got.tree == nil:
		return l.tree.EmptyFiles()
	}
	return nil
}

func how(s manifest.Serialization) string {
	if s.ShardSize == 0 {
		return fmt.Sprintf("%s digests of files", s.HashType())
	}
	return fmt.Sprintf("%s digests of shards of %d bytes", s.HashType(), s.ShardSize)
}

// files is the tree with the sha256 of its files.
func (l Listing) files() (*manifest.Manifest, error) {
	switch {
	case l.tree != nil && l.tree.HasDirHash():
		return l.tree, nil
	case l.tree != nil || !l.serialization.NamesFiles():
		return nil, ErrIncomparable
	}
	files := make([]manifest.File, len(l.resources))
	for i, r := range l.resources {
		files[i] = manifest.File{Path: r.Path, Digest: r.Digest}
	}
	return manifest.New(files)
}

// emptyFiles adds what no shards tell: files without contents that only one of the trees has.
func emptyFiles(d *manifest.Diff, want, got *manifest.Manifest) {
	named := func(m *manifest.Manifest) map[string]bool {
		names := map[string]bool{}
		for _, f := range m.Files {
			names[f.Path] = true
		}
		return names
	}
	had, has := named(want), named(got)
	become := func(names []string, other map[string]bool) []string {
		return slices.DeleteFunc(names, func(name string) bool { return other[name] })
	}
	// A file that is empty in one tree only has shards in the other: it is changed, and neither added nor removed.
	for _, name := range slices.Concat(d.Missing, d.Extra) {
		if had[name] && has[name] {
			d.Changed = append(d.Changed, manifest.Change{Path: name})
		}
	}
	d.Missing, d.Extra = become(d.Missing, has), become(d.Extra, had)
	for _, name := range want.EmptyFiles() {
		if !has[name] {
			d.Missing = append(d.Missing, name)
		}
	}
	for _, name := range got.EmptyFiles() {
		if !had[name] {
			d.Extra = append(d.Extra, name)
		}
	}
}
