// Package parts hashes a tree on several machines, each a part of it, and merges what they found. It owns two formats: the manifest that
// `hash -o json` prints, and the partial manifest of one part.
//
// Both are JSON objects, with these fields in this order; those in brackets are left out where they are empty or false.
//
//	format         "mlseal.dev/manifest/v1", or of a part "mlseal.dev/manifest-part/v1"
//	[part]         of a part: index (1 to of), of, plan, and the number of files and bytes in the whole tree
//	name           base name of the tree
//	[source]       where it comes from, when something says so
//	[singleFile]   true: the tree is one file, called name
//	[dirHash]      of a whole tree of which the sha256 of every file is known
//	[omsRoot]      of a whole tree
//	bytes          number of bytes in the files, or in a part those that were hashed
//	serialization  hashType, [shardSize] in bytes, [allowSymlinks], [ignorePaths], [includeGit]
//	files          path, size and [digest] (sha256) of each file, sorted by path; in a part those of which it hashed something
//	[leftOut]      paths that are no part of the tree
//	[resources]    name and digest of each OMS resource, where those are not the files with their sha256: digests of another type,
//	               or shards `path:start:end`
//
// What follows from other fields must agree with it, and unknown fields are refused.
//
// Everybody who walks the same tree with the same options makes the same plan, without asking anybody. Its digest is the sha256 of the lines
// that Plan.write writes: the number of parts, the options, and the size and path of every file. It is what shows that
// two machines saw the same names and sizes. Contents it does not bind: a file that is written to between the work of two machines, and
// keeps its size, is noticed by the one that reads it only when that happens while it reads.
//
// What a unit of work costs is its bytes, and FileCost for a file that is opened. Without shards a unit is a file: the dearest first, by path
// where they cost the same, each goes to the part that has least, the first of them. With shards (of at most shardSize bytes, cut from
// the start of each file) the units are in the order of path and start, and a unit before which there is the cost c of a total t goes to
// part floor(c * parts / t) + 1; so most parts are one range of bytes.
package parts

import (
	"bufio"
	"container/heap"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// Limits.
const (
	// MaxParts bounds into how many parts a tree is divided.
	MaxParts = 10_000
	// MaxBytes bounds the bytes of a tree: 1 EiB.
	MaxBytes = 1 << 60
	// FileCost is what opening a file costs, in bytes that are read in the same time: about a millisecond over a network. It is part of the
	// format.
	FileCost = 256 << 10
)

// ErrPlan says that a tree cannot be divided as it was asked for.
var ErrPlan = errors.New("the tree cannot be divided so")

// About says what tree a manifest is about, and with which options it was walked.
type About struct {
	Name          string // base name of the tree
	Source        string // where it comes from, when something says so
	SingleFile    bool   // the tree is one file
	IgnorePaths   []string
	IncludeGit    bool
	Serialization manifest.Serialization
}

// normal is a with one spelling for what means the same.
func (a About) normal() About {
	a.Serialization.Hash = a.Serialization.HashType()
	a.IgnorePaths = slices.Clone(a.IgnorePaths)
	slices.Sort(a.IgnorePaths)
	a.IgnorePaths = slices.Compact(a.IgnorePaths)
	if len(a.IgnorePaths) == 0 {
		a.IgnorePaths = nil
	}
	return a
}

// Plan divides a tree into parts by the names and sizes of its files alone.
type Plan struct {
	About
	Of    int             // number of parts
	Files []manifest.File // sorted by path; their digests do not count
	bytes int64
}

// NewPlan makes the plan for files, which are sorted by path. The error wraps ErrPlan.
func NewPlan(about About, files []manifest.File, of int) (*Plan, error) {
	if of < 1 || of > MaxParts {
		return nil, fmt.Errorf("parts: %w: %d parts, want 1 to %d", ErrPlan, of, MaxParts)
	}
	p := &Plan{About: about.normal(), Of: of, Files: files}
	var shards int64
	for _, f := range files {
		if f.Size < 0 || f.Size > MaxBytes-p.bytes {
			return nil, fmt.Errorf("parts: %w: more than %d bytes", ErrPlan, int64(MaxBytes))
		}
		p.bytes += f.Size
		if size := p.Serialization.ShardSize; size > 0 && f.Size > 0 {
			shards += (f.Size-1)/size + 1
		}
		if shards > manifest.MaxShards {
			return nil, fmt.Errorf("parts: %w: %w: more than %d shards", ErrPlan, manifest.ErrTooMany, manifest.MaxShards)
		}
	}
	return p, nil
}

// Bytes is the number of bytes in all files.
func (p *Plan) Bytes() int64 { return p.bytes }

// Digest names the plan: who has the same one divides the same names and sizes in the same way.
func (p *Plan) Digest() digest.Digest {
	h := sha256.New()
	w := bufio.NewWriterSize(h, 1<<16)
	p.write(w)
	_ = w.Flush() // a hash never fails to write
	return digest.NewDigest(digest.SHA256, h)
}

// write writes the lines that Digest hashes. No path has a line break in it.
func (p *Plan) write(w io.Writer) {
	s := p.Serialization
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line("%s", PartFormat)
	line("parts %d", p.Of)
	line("name %q", p.Name)
	line("source %q", p.Source)
	line("singleFile %t", p.SingleFile)
	line("hashType %s", s.HashType())
	line("shardSize %d", s.ShardSize)
	line("allowSymlinks %t", s.AllowSymlinks)
	line("includeGit %t", p.IncludeGit)
	for _, path := range p.IgnorePaths {
		line("ignore %s", path)
	}
	for _, f := range p.Files {
		line("%d  %s", f.Size, f.Path)
	}
}

// Parts lists what each part hashes, the first part first; each is sorted by path and start. In a tree with shards an empty file, of
// which there are none, is a Range from 0 to 0. There may be parts with nothing in them.
func (p *Plan) Parts() [][]manifest.Range {
	if p.Serialization.ShardSize > 0 {
		return p.shards()
	}
	return p.whole()
}

// whole gives each file to the part that has least so far.
func (p *Plan) whole() [][]manifest.Range {
	order := make([]int, len(p.Files))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch x, y := p.Files[a].Size, p.Files[b].Size; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	loads := make(loads, p.Of)
	for i := range loads {
		loads[i].part = i
	}
	owner := make([]int, len(p.Files))
	for _, i := range order {
		owner[i] = loads[0].part
		loads[0].cost += uint64(p.Files[i].Size) + FileCost
		heap.Fix(&loads, 0)
	}
	out := make([][]manifest.Range, p.Of)
	for i, f := range p.Files {
		out[owner[i]] = append(out[owner[i]], manifest.Range{Path: f.Path})
	}
	return out
}

// loads is a heap of parts, the one with the least to do first.
type loads []struct {
	cost uint64
	part int
}

func (l loads) Len() int { return len(l) }
func (l loads) Less(i, j int) bool {
	return l[i].cost < l[j].cost || l[i].cost == l[j].cost && l[i].part < l[j].part
}
func (l loads) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *loads) Push(any)     {} // parts neither come
func (l *loads) Pop() any     { return nil }

// shards cuts the sequence of all shards.
func (p *Plan) shards() [][]manifest.Range {
	out := make([][]manifest.Range, p.Of)
	total := uint64(p.bytes) + FileCost*uint64(len(p.Files))
	size := p.Serialization.ShardSize
	var before uint64
	for _, f := range p.Files {
		opening := uint64(FileCost)
		for start := int64(0); start == 0 || start < f.Size; start += size {
			end := start + min(size, f.Size-start)
			high, low := bits.Mul64(before, uint64(p.Of))
			part, _ := bits.Div64(high, low, total) // before < total, so that it is less than Of
			out[part] = grow(out[part], manifest.Range{Path: f.Path, Start: start, End: end})
			before += opening + uint64(end-start)
			opening = 0
			if end == f.Size {
				break
			}
		}
	}
	return out
}

// grow adds a range to a list, joining it to the last one where it goes on from that.
func grow(list []manifest.Range, r manifest.Range) []manifest.Range {
	if n := len(list); n > 0 && list[n-1].Path == r.Path && list[n-1].End == r.Start && r.Start > 0 {
		list[n-1].End = r.End
		return list
	}
	return append(list, r)
}

// rangeName is how a message names a range.
func rangeName(r manifest.Range) string {
	return manifest.Resource{Path: r.Path, Start: r.Start, End: r.End}.Name()
}

// options says in a message how a tree was walked; it tells apart whatever changes what is hashed.
func (a About) options() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	s := a.Serialization
	add("name %q, %s", a.Name, how(s))
	if a.Source != "" {
		add("source %q", a.Source)
	}
	if a.SingleFile {
		add("one file")
	}
	if s.AllowSymlinks {
		add("links followed")
	}
	if a.IncludeGit {
		add("git files counted")
	}
	if len(a.IgnorePaths) > 0 {
		add("ignored %s", strings.Join(a.IgnorePaths, " "))
	}
	return strings.Join(out, ", ")
}
