package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// What is said of the SHA instructions of the processor, in a row.
const (
	plain  = "plain"  // as the machine is
	hidden = "hidden" // the program was told that there are none
	unused = "unused" // the program does not use them: counts as plain and as hidden
)

// Whose a command is.
const (
	ours  = "mlseal"
	floor = "floor" // nobody would use it instead; it says what is possible
)

// schema is the version of the results that is understood.
const schema = 1

// results is what .ci/bench-hashing writes.
type results struct {
	Schema          int         `json:"schema"`
	Date            string      `json:"date"`
	Machine         machine     `json:"machine"`
	Versions        [][2]string `json:"versions"` // name, version
	Settings        settings    `json:"settings"`
	SHAInstructions bool        `json:"shaInstructions"`
	CanHide         bool        `json:"canHide"`
	Time            bool        `json:"time"` // whether the peaks are free of the measuring process's own
	Workloads       []workload  `json:"workloads"`
	Slope           []point     `json:"slope"`
	Engine          []engine    `json:"engine"`
	Profile         []profile   `json:"profile"`
	Others          float64     `json:"others"` // part of the processors that others had
	Minutes         float64     `json:"minutes"`
}

type machine struct {
	CPU          string   `json:"cpu"`
	Arch         string   `json:"arch"`
	Cores        int      `json:"cores"`
	MemoryMiB    int      `json:"memoryMiB"`
	Instructions []string `json:"instructions"`
	Kernel       string   `json:"kernel"`
	FileSystem   string   `json:"fileSystem"`
	System       string   `json:"system"`
}

type settings struct {
	MiB        int   `json:"mib"`
	SmallFiles int   `json:"smallFiles"`
	Runs       int   `json:"runs"`
	RunsHidden int   `json:"runsHidden"`
	SlopeGiB   []int `json:"slopeGiB"`
}

// workload is a tree, and the commands that were run over it in turn.
type workload struct {
	ID    string `json:"id"` // files16, file1, small
	Title string `json:"title"`
	Bytes int64  `json:"bytes"`
	Files int    `json:"files"`
	Rows  []row  `json:"rows"`
}

// row is a command, or one that is not measured, with the reason in Missing.
type row struct {
	Name    string `json:"name"`
	Group   string `json:"group"` // hash, sign, verify, pack
	Kind    string `json:"kind"`  // ours, floor, or a peer
	Against string `json:"against"`
	SHA     string `json:"sha"`
	Command string `json:"command"`
	Note    string `json:"note"`
	Missing string `json:"missing"`
	Runs    costs  `json:"runs"`
}

// point is what a size costs.
type point struct {
	Bytes   int64  `json:"bytes"`
	Files   int    `json:"files"`
	SHA     string `json:"sha"`
	Command string `json:"command"`
	Runs    costs  `json:"runs"`
}

type engine struct {
	SHA       string             `json:"sha"`
	Limits    map[string]float64 `json:"limits"` // MB/s of one core, by engine
	Commands  []string           `json:"commands"`
	Benchstat string             `json:"benchstat"`
	Missing   string             `json:"missing"`
}

type profile struct {
	SHA     string `json:"sha"`
	Command string `json:"command"`
	Top     string `json:"top"`
}

// cost is what one run took: seconds, KiB, bytes.
type cost struct {
	Wall    float64 `json:"wall"`
	CPU     float64 `json:"cpu"`
	PeakKiB int64   `json:"peakKiB"`
	Read    int64   `json:"read"`
	Written int64   `json:"written"`
}

type costs []cost

func parse(data []byte) (*results, error) {
	var r results
	if err := strictjson.Unmarshal(data, &r, strictjson.Limits{}); err != nil {
		return nil, err
	}
	if r.Schema != schema {
		return nil, fmt.Errorf("results of schema %d, this makes pages of schema %d", r.Schema, schema)
	}
	for _, w := range r.Workloads {
		for _, row := range w.Rows {
			if (row.Missing == "") == (len(row.Runs) == 0) {
				return nil, fmt.Errorf("%s: %s: either runs or the reason why there are none", w.Title, row.Name)
			}
			if row.Against != "" && w.find(row.Against, plain) == nil {
				return nil, fmt.Errorf("%s: %s: is compared with %q, which is not there", w.Title, row.Name, row.Against)
			}
		}
	}
	for _, p := range r.Slope {
		if len(p.Runs) == 0 {
			return nil, errors.New("a size without runs")
		}
	}
	return &r, nil
}

// modes are the ways of the SHA instructions that there are results of.
func (r *results) modes() []string {
	if r.CanHide {
		return []string{plain, hidden}
	}
	return []string{plain}
}

// mode says in words which way that is.
func (r *results) mode(sha string) string {
	switch {
	case sha == hidden:
		return "SHA instructions hidden"
	case r.SHAInstructions:
		return "SHA instructions"
	}
	return "no SHA instructions"
}

func (r *results) workload(id string) *workload {
	for i := range r.Workloads {
		if r.Workloads[i].ID == id {
			return &r.Workloads[i]
		}
	}
	return nil
}

// counts reports whether a row is one of a way's.
func (r row) counts(sha string) bool { return r.Missing == "" && (r.SHA == sha || r.SHA == unused) }

// find returns the row of a name in a way; nil when there is none.
func (w *workload) find(name, sha string) *row {
	if w == nil {
		return nil
	}
	for i := range w.Rows {
		if w.Rows[i].Name == name && w.Rows[i].counts(sha) {
			return &w.Rows[i]
		}
	}
	return nil
}

// has reports whether anything in the workload was measured in a way of its own.
func (w *workload) has(sha string) bool {
	return slices.ContainsFunc(w.Rows, func(r row) bool { return r.SHA == sha && r.Missing == "" })
}

func (c costs) wall() float64 { return median(c, func(c cost) float64 { return c.Wall }) }
func (c costs) cpu() float64  { return median(c, func(c cost) float64 { return c.CPU }) }
func (c costs) peakMiB() float64 {
	return median(c, func(c cost) float64 { return float64(c.PeakKiB) / 1024 })
}
func (c costs) read() float64 { return median(c, func(c cost) float64 { return float64(c.Read) }) }
func (c costs) written() float64 {
	return median(c, func(c cost) float64 { return float64(c.Written) })
}

// span is the fastest and the slowest run, in seconds.
func (c costs) span() (least, most float64) {
	byWall := func(a, b cost) int { return cmp.Compare(a.Wall, b.Wall) }
	return slices.MinFunc(c, byWall).Wall, slices.MaxFunc(c, byWall).Wall
}

func median(c costs, of func(cost) float64) float64 {
	var all []float64
	for _, one := range c {
		all = append(all, of(one))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// line is a straight line through what sizes cost.
type line struct {
	start, slope float64 // s, s/GiB
	off          float64 // the largest distance of a size from the line, as a part of the line's value
	sizes        int
}

const gib = 1 << 30

// fit is the line of least squares through the medians.
func fit(points []point) line {
	var n, x, y, xx, xy float64
	for _, p := range points {
		g, s := float64(p.Bytes)/gib, p.Runs.wall()
		n, x, y, xx, xy = n+1, x+g, y+s, xx+g*g, xy+g*s
	}
	l := line{sizes: len(points)}
	if d := n*xx - x*x; d != 0 {
		l.slope = (n*xy - x*y) / d
	}
	l.start = (y - l.slope*x) / n
	for _, p := range points {
		at := l.at(float64(p.Bytes) / gib)
		l.off = max(l.off, math.Abs(p.Runs.wall()-at)/at)
	}
	return l
}

func (l line) at(gib float64) float64 { return l.start + l.slope*gib }

// sizes are the points of a way.
func (r *results) sizes(sha string) []point {
	var of []point
	for _, p := range r.Slope {
		if p.SHA == sha {
			of = append(of, p)
		}
	}
	return of
}
