package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/draw"
)

// document is a page while it is written.
type document struct{ draw.Lines }

// page is the results as Markdown; name is that of the files beside it, without their extensions.
func page(r *results, name string) []byte {
	var out bytes.Buffer
	d := &document{draw.Lines{To: &out}}
	d.head(r, name)
	d.bars(r)
	for i := range r.Workloads {
		d.workload(r, &r.Workloads[i])
	}
	d.slope(r)
	d.engine(r)
	d.profile(r)
	d.commands(r)
	return bytes.ReplaceAll(out.Bytes(), []byte("\n\n\n"), []byte("\n\n"))
}

func (d *document) section(format string, args ...any) { d.Line("\n"+format+"\n", args...) }

func (d *document) table(heads ...string) {
	d.Line("| %s |", strings.Join(heads, " | "))
	d.Line("|%s", strings.Repeat(" --- |", len(heads)))
}

func (d *document) cells(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	d.Line("| %s |", strings.Join(cells, " | "))
}

func (d *document) head(r *results, name string) {
	d.Line("# Benchmarks")
	d.Line("\nMade by `make bench` (`.ci/bench hashing`) from [%s.json](%s.json), which has every run. Do not edit: `go run ./cmd/mlseal-benchreport docs/%s.json` makes it anew.", name, name, name)
	d.Line("\n![Seconds of each command by workload](%s.svg)", name)
	d.section("## How")
	m := r.Machine
	d.table("", "")
	d.cells("date", r.Date)
	d.cells("machine", fmt.Sprintf("%s, %s, %s, %s of memory", m.CPU, m.Arch, plural(m.Cores, "processor"), size(int64(m.MemoryMiB)<<20)))
	d.cells("instructions that hashing uses", orNone(strings.Join(m.Instructions, ", ")))
	d.cells("system", fmt.Sprintf("%s, Linux %s, trees on %s", m.System, m.Kernel, m.FileSystem))
	d.cells("what else ran", fmt.Sprintf("others had %.0f %% of the processors while commands were measured, the system's own work included", 100*r.Others))
	d.cells("the run took", fmt.Sprintf("%.0f minutes", r.Minutes))
	for _, v := range r.Versions {
		d.cells(v[0], v[1])
	}
	d.Line("")
	d.Line("- All commands of a workload took turns, A B C, A B C, …: one turn to warm up, then %s; the medians are shown, and the fastest and the slowest.", plural(r.Settings.Runs, "turn"))
	d.Line("- The trees are random bytes, written just before, so that they are read from the page cache. Between commands what was written is synced to the disk.")
	d.Line("- Before a command that stores the tree, another process uses as much memory and frees it: a virtual machine gives free memory back to its host within seconds, and the first to fill it again would pay for all.")
	d.Line("- CPU seconds are user and system, of all processes of the command. Peak is the resident memory of the largest of them%s.", d.floorOf(r))
	d.Line("- Read and written are the bytes that went through system calls, as multiples of the tree.")
	d.Line("- Times mlseal's: what a command took, divided by what mlseal took for the same. More than 1 is slower than mlseal.")
	if r.CanHide {
		d.Line("- The processor has SHA instructions, which many have not. Go's crypto/sha256 (GODEBUG=cpu.sha=off) and OpenSSL (OPENSSL_ia32cap) were told so in turns of their own (%d), which stand in tables of their own. `mlseal`'s lanes need none.", r.Settings.RunsHidden)
	}
}

func (d *document) floorOf(r *results) string {
	if r.Time {
		return ""
	}
	return ", which cannot be told when it is less than that of the Python that measures, about 15 MiB (there was no /usr/bin/time)"
}

func (d *document) bars(r *results) {
	if !slices.ContainsFunc(r.modes(), func(sha string) bool { return len(r.bars(sha)) > 0 }) {
		return
	}
	d.section("## What is to be reached")
	d.Line("On a machine of two processors with AVX-512 and without SHA instructions.")
	for _, sha := range r.modes() {
		list := r.bars(sha)
		if len(list) == 0 {
			continue
		}
		d.section("### With %s", r.mode(sha))
		d.table("what", "wanted", "measured", "")
		for _, b := range list {
			d.cells(b.what, b.want, b.value, string(draw.PassedIf(b.met)))
		}
	}
}

func (d *document) workload(r *results, w *workload) {
	d.section("## %s", w.Title)
	for _, sha := range r.modes() {
		if !w.has(sha) {
			continue
		}
		d.section("### %s: %s", w.Title, r.mode(sha))
		rate := "GB/s"
		if w.ID == "small" {
			rate = "files/s"
		}
		d.table("", "seconds", "fastest to slowest", rate, "CPU s", "peak MiB", "read", "written", "times mlseal's: seconds", "CPU s")
		for _, row := range w.Rows {
			switch {
			case row.counts(sha):
				d.row(w, row, sha)
			case row.Missing != "" && sha == plain:
				d.cells(row.Name, "not measured: "+row.Missing, "", "", "", "", "", "", "", "")
			}
		}
	}
}

func (d *document) row(w *workload, r row, sha string) {
	wall, cpu := r.Runs.wall(), r.Runs.cpu()
	least, most := r.Runs.span()
	rate := fmt.Sprintf("%.2f", float64(w.Bytes)/1e9/wall)
	if w.ID == "small" {
		rate = fmt.Sprintf("%.0f", float64(w.Files)/wall)
	}
	name, walls, cpus := r.Name, "", ""
	if r.Kind == ours {
		name = "**" + name + "**"
	}
	if own := w.find(r.Against, sha); own != nil {
		walls, cpus = fmt.Sprintf("%.2f", wall/own.Runs.wall()), fmt.Sprintf("%.2f", cpu/own.Runs.cpu())
	}
	multiple := func(n float64) string { return fmt.Sprintf("%.2fx", n/float64(w.Bytes)) }
	d.cells(name, seconds(wall), seconds(least)+" to "+seconds(most), rate, seconds(cpu), fmt.Sprintf("%.0f", r.Runs.peakMiB()), multiple(r.Runs.read()), multiple(r.Runs.written()), walls, cpus)
}

func (d *document) slope(r *results) {
	if len(r.Slope) == 0 {
		return
	}
	d.section("## Cost by size")
	d.Line("`mlseal hash` of trees of files of %s, in turns. The files of a tree are hard links to those of one GiB, and each is read: the cache of digests was off. The files are many, so that their "+
		"number does not change how they are hashed: what few large files take stands above.", size(r.Slope[0].Bytes/int64(r.Slope[0].Files)))
	for _, sha := range r.modes() {
		points := r.sizes(sha)
		if len(points) == 0 {
			continue
		}
		l := fit(points)
		d.section("### Cost by size: %s", r.mode(sha))
		d.table("", "files", "seconds", "fastest to slowest", "CPU s", "peak MiB", "seconds a GiB", "the line says")
		for _, p := range points {
			g := float64(p.Bytes) / gib
			least, most := p.Runs.span()
			d.cells(size(p.Bytes), fmt.Sprint(p.Files), seconds(p.Runs.wall()), seconds(least)+" to "+seconds(most), seconds(p.Runs.cpu()), fmt.Sprintf("%.0f", p.Runs.peakMiB()),
				fmt.Sprintf("%.3f", p.Runs.wall()/g), seconds(l.at(g)))
		}
		d.Line("\nThe line of least squares: %.3f s and %.3f s a GiB (%.2f GB/s). No size is further from it than %.1f %%.", l.start, l.slope, gib/1e9/l.slope, 100*l.off)
	}
}

func (d *document) engine(r *results) {
	if len(r.Engine) == 0 {
		return
	}
	d.section("## The engine")
	d.Line("Go benchmarks of `internal/hashing`, compared with the first column. Limit is what one core hashes of data in its cache; Files are files in the page cache, on all cores.")
	d.Line("`simple` is crypto/sha256 over one file a core, the other columns are the engine's ways ([hashing.md](hashing.md)).")
	for _, e := range r.Engine {
		d.section("### The engine: %s", r.mode(e.SHA))
		if e.Missing != "" {
			d.Line("Not compared: %s.", e.Missing)
			continue
		}
		d.Line("```\n%s\n```", e.Benchstat)
	}
}

func (d *document) profile(r *results) {
	if len(r.Profile) == 0 {
		return
	}
	d.section("## Where the time goes")
	d.Line("A CPU profile of hashing the tree in 16 files three times.")
	for _, p := range r.Profile {
		d.section("### Profile: %s", r.mode(p.SHA))
		d.Line("```\n%s\n```", p.Top)
	}
}

// commands lists what was run, and how fair it is.
func (d *document) commands(r *results) {
	d.section("## The commands")
	d.Line("In a directory with the trees, with MLSEAL_CACHE=off where nothing else is said. `bench.key` is a key on the curve P-256. Where a command has `out`, it was removed before and after each run.")
	for _, w := range r.Workloads {
		d.section("### Commands: %s", w.Title)
		for _, row := range w.Rows {
			switch {
			case row.Missing != "":
				d.Line("- %s: not measured: %s", row.Name, row.Missing)
			case row.SHA == hidden: // the same, with the variable that the head of the page names
			case row.Note != "":
				d.Line("- `%s`  \n  %s", row.Command, row.Note)
			default:
				d.Line("- `%s`", row.Command)
			}
		}
	}
	if len(r.Slope)+len(r.Engine)+len(r.Profile) == 0 {
		return
	}
	d.section("### Commands: the rest")
	for _, p := range r.sizes(plain) {
		d.Line("- `%s`", p.Command)
	}
	for _, e := range r.Engine {
		for _, c := range e.Commands {
			d.Line("- `%s`", c)
		}
	}
	for _, p := range r.Profile {
		d.Line("- `%s`", p.Command)
	}
}

// seconds has the digits that mean something.
func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.2f", s)
	}
	return fmt.Sprintf("%.1f", s)
}

func size(bytes int64) string {
	if bytes >= gib {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(bytes)/gib), ".0") + " GiB"
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
