package manifest

import (
	"fmt"
	"hash"
	"sort"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Resource is what an OMS statement lists: a file, or a shard of one.
type Resource struct {
	Path string // of the file
	// Start and End are a shard's first byte and the one behind its last; both are 0 for a whole file.
	Start, End int64
	Digest     digest.Digest // the algorithm is a HashType
}

// Name is the resource's name in a statement: the path, and for a shard `path:start:end` (OMS v1.0 section 6.3.2).
func (r Resource) Name() string {
	if r.End == 0 {
		return r.Path
	}
	return r.Path + ":" + strconv.FormatInt(r.Start, 10) + ":" + strconv.FormatInt(r.End, 10)
}

// ParseShardName reads the name of a shard. OMS v1.0 section 6.3.2: "because filenames may contain colon characters,
// parsers MUST identify the byte-range suffix by matching the last two colon-separated decimal integer components".
func ParseShardName(name string) (path string, start, end int64, err error) {
	rest, last, ok := cutLast(name)
	path, first, ok2 := cutLast(rest)
	start, okStart := offset(first)
	end, okEnd := offset(last)
	if !ok || !ok2 || !okStart || !okEnd {
		return "", 0, 0, fmt.Errorf("%q is not the name of a shard, path:start:end", name)
	}
	return path, start, end, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// offset takes one text for one number.
func offset(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// SortResources sorts by path and start, and refuses what cannot be a tree's resources: a name that CheckName
// refuses or that is listed twice, shards that overlap, leave gaps or have another length than the shard size, which only the
// last one of a file may stay below.
func (s Serialization) SortResources(list []Resource) error {
	sort.SliceStable(list, func(i, j int) bool {
		if list[i].Path != list[j].Path {
			return list[i].Path < list[j].Path
		}
		return list[i].Start < list[j].Start
	})
	for i, r := range list {
		if err := CheckName(r.Path); err != nil {
			return err
		}
		first := i == 0 || list[i-1].Path != r.Path
		last := i == len(list)-1 || list[i+1].Path != r.Path
		if !first && r.Start == list[i-1].Start && r.End == list[i-1].End {
			return fmt.Errorf("manifest: %q is listed twice", r.Name())
		}
		if s.ShardSize == 0 {
			continue
		}
		var expected int64
		if !first {
			expected = list[i-1].End
		}
		if err := s.checkShard(r, expected, last); err != nil {
			return fmt.Errorf("manifest: %q: %w", r.Name(), err)
		}
	}
	return nil
}

// checkShard: OMS v1.0 section 6.3.2, "consecutive, non-overlapping byte ranges. Each range MUST be exactly the number of
// bytes specified by shard_size, except the final range which MAY be shorter".
func (s Serialization) checkShard(r Resource, start int64, last bool) error {
	switch length := r.End - r.Start; {
	case r.Start < start:
		return fmt.Errorf("the shard overlaps the one before it, which ends at %d", start)
	case r.Start > start:
		return fmt.Errorf("there is a gap before the shard, from %d", start)
	case length <= 0:
		return fmt.Errorf("the shard is empty")
	case length > s.ShardSize || length < s.ShardSize && !last:
		return fmt.Errorf("the shard has %d bytes, and shard_size is %d", length, s.ShardSize)
	}
	return nil
}

// DiffResources reports how the resources of a tree differ from those that are wanted; both are sorted as SortResources does.
// A shard that differs is a change under its own name; a digest is empty on the side where a file has fewer shards.
func DiffResources(want, got []Resource) *Diff {
	return diffResources(eachFileOf(want), eachFileOf(got))
}

// DiffResources is DiffResources of what is wanted and the tree's Resources, without a list of them.
func (m *Manifest) DiffResources(want []Resource) *Diff {
	got := eachFileOf(m.resources)
	if m.Serialization.NamesFiles() {
		got = m.eachFile()
	}
	return diffResources(eachFileOf(want), got)
}

// diffResources compares what both sides give of one file after the other; nothing at their end.
func diffResources(want, got func() []Resource) *Diff {
	d := &Diff{}
	w, g := want(), got()
	for len(w) > 0 || len(g) > 0 {
		switch {
		case len(g) == 0 || len(w) > 0 && w[0].Path < g[0].Path:
			d.Missing = append(d.Missing, w[0].Path)
			w = want()
		case len(w) == 0 || g[0].Path < w[0].Path:
			d.Extra = append(d.Extra, g[0].Path)
			g = got()
		default:
			d.addChanges(w, g)
			w, g = want(), got()
		}
	}
	return d
}

// eachFileOf gives the part of list that belongs to its first file, then that of the second, and so on.
func eachFileOf(list []Resource) func() []Resource {
	return func() []Resource {
		first := leadingFile(list)
		list = list[len(first):]
		return first
	}
}

// leadingFile is the part of list that belongs to the file of its first entry.
func leadingFile(list []Resource) []Resource {
	n := 0
	for n < len(list) && list[n].Path == list[0].Path {
		n++
	}
	return list[:n]
}

// eachFile gives one file of a tree after the other, each until the next is given.
func (m *Manifest) eachFile() func() []Resource {
	files, one := m.Files, make([]Resource, 1)
	return func() []Resource {
		if len(files) == 0 {
			return nil
		}
		one[0] = files[0].resource()
		files = files[1:]
		return one
	}
}

func (d *Diff) addChanges(want, got []Resource) {
	for i := range max(len(want), len(got)) {
		var w, g Resource
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w == g {
			continue
		}
		name := w.Name()
		if name == "" {
			name = g.Name()
		}
		d.Changed = append(d.Changed, Change{name, w.Digest, g.Digest})
	}
}

func newDigest(t HashType, h hash.Hash) digest.Digest {
	return digest.NewDigest(digest.Algorithm(t), h)
}
