package parts

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mlseal/mlseal/internal/brief"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// ErrParts says that parts do not make a whole.
var ErrParts = errors.New("the parts do not make a whole")

// Merge makes the manifest of the tree of which parts are all parts, in any order. It proves that they were chosen by one plan, that each
// part is there once and holds exactly what the plan gives it, so that nothing is missing and nothing is there twice, and
// that the names and sizes are those that the plan was made from. It takes the digests on trust: whoever wrote a
// part chose them. The error wraps ErrParts.
func Merge(parts []*Part) (*Document, error) {
	d, err := merge(parts)
	if err != nil {
		return nil, fmt.Errorf("parts: %w: %w", ErrParts, err)
	}
	return d, nil
}

func merge(parts []*Part) (*Document, error) {
	if len(parts) == 0 {
		return nil, errors.New("there are none")
	}
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b *Part) int { return a.Index - b.Index })
	if err := samePlan(parts); err != nil {
		return nil, err
	}
	if err := eachOnce(parts); err != nil {
		return nil, err
	}
	files, err := union(parts)
	if err != nil {
		return nil, err
	}
	if err := parts[0].fits(files); err != nil {
		return nil, err
	}
	plan, err := NewPlan(parts[0].About, files, parts[0].Of)
	if err != nil {
		return nil, fmt.Errorf("no plan gives them: %v", err) // it is not the command line that is wrong
	}
	if got := plan.Digest(); got != parts[0].Plan {
		return nil, fmt.Errorf("the plan was for %s, the parts list %s: their plan is %s, not %s", parts[0].Total, Total{len(files), plan.Bytes()}, got, parts[0].Plan)
	}
	if got := (Total{len(files), plan.Bytes()}); got != parts[0].Total {
		return nil, fmt.Errorf("the parts say that the tree has %s, and list %s", parts[0].Total, got)
	}
	for i, want := range plan.Parts() {
		if err := holds(parts[i], want); err != nil {
			return nil, err
		}
	}
	return assemble(parts, files)
}

// String says the size of a tree.
func (t Total) String() string { return fmt.Sprintf("%d files with %d bytes", t.Files, t.Bytes) }

// samePlan wants all parts to be of one tree, seen alike. What most parts say is taken for what is right.
func samePlan(parts []*Part) error {
	count := map[digest.Digest]int{}
	usual := parts[0]
	for _, p := range parts {
		if count[p.Plan]++; count[p.Plan] > count[usual.Plan] {
			usual = p
		}
	}
	for _, p := range parts {
		switch {
		case p.Of != usual.Of:
			return fmt.Errorf("part %d is one of %d parts, part %d one of %d", p.Index, p.Of, usual.Index, usual.Of)
		case p.options() != usual.options():
			return fmt.Errorf("part %d was hashed with other options (%s) than part %d (%s)", p.Index, p.options(), usual.Index, usual.options())
		case p.Plan != usual.Plan:
			return fmt.Errorf("part %d saw another tree than part %d, which saw %s%s: the tree changed meanwhile, or they did not look at the same one", p.Index, usual.Index, usual.Total, difference(parts, p, usual.Total))
		case p.Total != usual.Total:
			return fmt.Errorf("part %d says that the tree has %s, part %d that it has %s", p.Index, p.Total, usual.Index, usual.Total)
		}
	}
	return nil
}

// difference says what is known of how the tree that odd saw is not the one of the usual size that parts with another plan saw.
func difference(parts []*Part, odd *Part, usual Total) string {
	out := ", and not " + odd.Total.String()
	if odd.Total == usual {
		out = ", as many but with other names or sizes"
	}
	own := map[string]int64{}
	for _, f := range odd.Files {
		own[f.Path] = f.Size
	}
	for _, p := range parts {
		if p.Plan == odd.Plan {
			continue
		}
		for _, f := range p.Files {
			if size, ok := own[f.Path]; ok && size != f.Size {
				return out + fmt.Sprintf("; %q had %d bytes for part %d and %d for part %d", f.Path, f.Size, p.Index, size, odd.Index)
			}
		}
	}
	return out
}

// eachOnce wants parts, which are sorted, to be 1 to Of.
func eachOnce(parts []*Part) error {
	of := parts[0].Of
	var missing, double []string
	next := 1
	for i, p := range parts {
		if i > 0 && parts[i-1].Index == p.Index {
			double = append(double, strconv.Itoa(p.Index))
			continue
		}
		for ; next < p.Index; next++ {
			missing = append(missing, strconv.Itoa(next))
		}
		next++
	}
	for ; next <= of; next++ {
		missing = append(missing, strconv.Itoa(next))
	}
	var faults []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			faults = append(faults, what+" "+brief.List(list, 20))
		}
	}
	add("missing: part", missing)
	add("given twice: part", double)
	if len(faults) > 0 {
		return fmt.Errorf("%s, of %d parts", strings.Join(faults, "; "), of)
	}
	return nil
}

// union lists all files of the parts, sorted. Several parts may list a file, when it has shards.
func union(parts []*Part) ([]manifest.File, error) {
	type seen struct {
		size int64
		part int
	}
	known := map[string]seen{}
	var files []manifest.File
	for _, p := range parts {
		for _, f := range p.Files {
			before, ok := known[f.Path]
			switch {
			case ok && before.size != f.Size:
				return nil, fmt.Errorf("%q had %d bytes for part %d and %d for part %d", f.Path, before.size, before.part, f.Size, p.Index)
			case ok && p.Serialization.ShardSize == 0:
				return nil, fmt.Errorf("%q is in part %d and in part %d", f.Path, before.part, p.Index)
			case ok:
				continue
			}
			known[f.Path] = seen{f.Size, p.Index}
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

// holds wants p to have hashed exactly the ranges of the plan.
func holds(p *Part, want []manifest.Range) error {
	if err := p.checkShards(); err != nil {
		return fmt.Errorf("part %d: %w", p.Index, err)
	}
	got := p.ranges()
	for i := range max(len(want), len(got)) {
		switch {
		case i == len(want):
			return fmt.Errorf("part %d lists %q, which is not for it", p.Index, rangeName(got[i]))
		case i == len(got):
			return fmt.Errorf("part %d does not list %q", p.Index, rangeName(want[i]))
		case got[i] != want[i]:
			return fmt.Errorf("part %d lists %q where %q is for it", p.Index, rangeName(got[i]), rangeName(want[i]))
		}
	}
	return nil
}

// assemble puts together what the parts hold.
func assemble(parts []*Part, files []manifest.File) (*Document, error) {
	var resources []manifest.Resource
	var leftOut []string
	for _, p := range parts {
		resources = append(resources, p.Resources...)
		leftOut = append(leftOut, p.LeftOut...)
	}
	about := parts[0].normal()
	tree, err := manifest.Assemble(about.Serialization, files, resources)
	if err != nil {
		return nil, err
	}
	slices.Sort(leftOut)
	tree.LeftOut = slices.Compact(leftOut)
	return &Document{about, tree}, nil
}
