package parts

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/mlseal/mlseal/manifest"
)

// Hash hashes part index of parts, from 1, of the tree below fsys. opts says how, and must agree with about.
func Hash(ctx context.Context, fsys fs.FS, about About, opts manifest.Options, index, of int) (*Part, error) {
	if index < 1 || index > of {
		return nil, fmt.Errorf("parts: %w: part %d of %d", ErrPlan, index, of)
	}
	if err := about.Check(); err != nil {
		return nil, err
	}
	opts.Serialization, opts.Ignore, opts.IncludeGit = about.Serialization, about.IgnorePaths, about.IncludeGit
	part := &Part{About: about.normal(), Index: index, Of: of}
	sizes := map[string]int64{}
	var mine []manifest.Range
	hashed, err := manifest.BuildRanges(ctx, fsys, opts, func(files []manifest.File) ([]manifest.Range, error) {
		plan, err := NewPlan(about, files, of)
		if err != nil {
			return nil, err
		}
		part.Plan, part.Total = plan.Digest(), Total{len(files), plan.Bytes()}
		mine = plan.Parts()[index-1]
		for _, f := range files {
			sizes[f.Path] = f.Size
		}
		return mine, nil
	})
	if err != nil {
		return nil, err
	}
	part.Files, part.Resources, part.LeftOut = hashed.Files, hashed.Resources, hashed.LeftOut
	if about.Serialization.ShardSize > 0 {
		part.Files = touched(mine, sizes)
	} else if about.Serialization.NamesFiles() {
		part.Resources = nil
	}
	return part, nil
}

// Entries is how many files, resources and paths p lists: what it takes in memory.
func (p *Part) Entries() int {
	return len(p.Files) + len(p.Resources) + len(p.LeftOut) + len(p.IgnorePaths)
}

// touched lists the files of ranges.
func touched(ranges []manifest.Range, sizes map[string]int64) []manifest.File {
	var files []manifest.File
	for _, r := range ranges {
		if n := len(files); n == 0 || files[n-1].Path != r.Path {
			files = append(files, manifest.File{Path: r.Path, Size: sizes[r.Path]})
		}
	}
	return files
}

// ranges lists what p says that it hashed, as Plan.Parts does.
func (p *Part) ranges() []manifest.Range {
	var out []manifest.Range
	if p.Serialization.ShardSize == 0 {
		for _, f := range p.Files {
			out = append(out, manifest.Range{Path: f.Path})
		}
		return out
	}
	rest := p.Resources
	for _, f := range p.Files {
		if f.Size == 0 {
			out = append(out, manifest.Range{Path: f.Path})
		}
		for len(rest) > 0 && rest[0].Path <= f.Path {
			out = grow(out, manifest.Range{Path: rest[0].Path, Start: rest[0].Start, End: rest[0].End})
			rest = rest[1:]
		}
	}
	for _, r := range rest {
		out = grow(out, manifest.Range{Path: r.Path, Start: r.Start, End: r.End})
	}
	return out
}
