package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/brief"
	"github.com/opencontainers/go-digest"
)

// ErrMismatch is wrapped by Diff.Err.
var ErrMismatch = errors.New("tree does not match")

// Change is a file whose contents differ.
type Change struct {
	Path string        `json:"path"`
	Want digest.Digest `json:"want"`
	Got  digest.Digest `json:"got"`
}

// Diff tells two trees apart. The zero value says that they are equal. Each list is sorted by path.
type Diff struct {
	Missing []string `json:"missing,omitempty"` // listed, not found
	Extra   []string `json:"extra,omitempty"`   // found, not listed
	Changed []Change `json:"changed,omitempty"` // found with other contents
}

// Compare hashes the tree below fsys and reports how it differs from m. The error is about
// reading only; Diff.Err says whether the trees differ.
func (m *Manifest) Compare(ctx context.Context, fsys fs.FS, opts Options) (*Diff, error) {
	got, err := Build(ctx, fsys, opts)
	if err != nil {
		return nil, err
	}
	return m.Diff(got), nil
}

// Diff reports how got differs from m.
func (m *Manifest) Diff(got *Manifest) *Diff {
	d := &Diff{}
	i, j := 0, 0
	for i < len(m.Files) || j < len(got.Files) {
		switch {
		case j == len(got.Files) || i < len(m.Files) && m.Files[i].Path < got.Files[j].Path:
			d.Missing = append(d.Missing, m.Files[i].Path)
			i++
		case i == len(m.Files) || got.Files[j].Path < m.Files[i].Path:
			d.Extra = append(d.Extra, got.Files[j].Path)
			j++
		default:
			if want, is := m.Files[i].Digest, got.Files[j].Digest; want != is {
				d.Changed = append(d.Changed, Change{m.Files[i].Path, want, is})
			}
			i, j = i+1, j+1
		}
	}
	return d
}

// Equal reports whether the trees are equal.
func (d *Diff) Equal() bool { return len(d.Missing)+len(d.Extra)+len(d.Changed) == 0 }

// Sort puts each list into the order of paths, for a Diff that was not made by this package.
func (d *Diff) Sort() {
	slices.Sort(d.Missing)
	slices.Sort(d.Extra)
	slices.SortFunc(d.Changed, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
}

// Err is nil for equal trees; otherwise it wraps ErrMismatch and counts and names the files.
func (d *Diff) Err() error {
	if d.Equal() {
		return nil
	}
	var parts []string
	add := func(what string, names []string) {
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(names), what, brief.List(names, 5)))
		}
	}
	changed := make([]string, len(d.Changed))
	for i, c := range d.Changed {
		changed[i] = c.Path
	}
	add("changed", changed)
	add("missing", d.Missing)
	add("extra", d.Extra)
	return fmt.Errorf("manifest: %w: %s", ErrMismatch, strings.Join(parts, ", "))
}
