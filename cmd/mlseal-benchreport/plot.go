package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"

	"github.com/mlseal/mlseal/internal/draw"
)

// Measures of the plot, in pixels.
const (
	panelWidth = 600
	labelWidth = 226
	valueWidth = 70
	barRoom    = panelWidth - labelWidth - valueWidth - 20
	barStep    = 18
	barHeight  = 12
	headHeight = 84
	titleRoom  = 34
	groupGap   = 8
	curveRoom  = 220
)

var fills = map[string]string{ours: "#1f6feb", floor: "#c4ccd4", "": "#6e7781"}

func fill(kind string) string {
	if f, ok := fills[kind]; ok {
		return f
	}
	return fills[""]
}

// picture is a plot while it is drawn.
type picture struct{ draw.Lines }

func (p *picture) text(x, y float64, more, text string) {
	var escaped bytes.Buffer
	_ = xml.EscapeText(&escaped, []byte(text)) // a buffer takes everything
	p.Line(`<text x="%.1f" y="%.1f"%s>%s</text>`, x, y, more, escaped.String())
}

func (p *picture) rect(x, y, w, h float64, color string) {
	p.Line(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x, y, w, h, color)
}

func (p *picture) stroke(x1, y1, x2, y2 float64, more string) {
	p.Line(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"%s/>`, x1, y1, x2, y2, more)
}

const (
	small  = ` font-size="11" fill="#57606a"`
	bold   = ` font-size="14" font-weight="bold"`
	right  = ` text-anchor="end"`
	centre = ` text-anchor="middle"`
	thin   = ` stroke="#24292f" stroke-width="1"`
	faint  = ` stroke="#d0d7de" stroke-width="1"`
)

// plot draws each workload as bars, a column for each way of the SHA instructions, and the cost by size below.
func plot(r *results) []byte {
	var out bytes.Buffer
	p := &picture{draw.Lines{To: &out}}
	modes := r.modes()
	height := float64(headHeight)
	for i := range r.Workloads {
		height += panelHeight(&r.Workloads[i], modes)
	}
	if len(r.Slope) > 0 {
		height += curveRoom + titleRoom
	}
	width := panelWidth * len(modes)
	p.Line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" font-family="sans-serif" font-size="12" fill="#24292f" role="img" aria-labelledby="title">`, width, height)
	p.Line(`<title id="title">Seconds that mlseal and its peers take, by workload</title>`)
	p.rect(0, 0, float64(width), height, "#ffffff")
	p.head(r)
	y := float64(headHeight)
	for i := range r.Workloads {
		w := &r.Workloads[i]
		for column, sha := range modes {
			p.panel(r, w, sha, float64(column*panelWidth), y)
		}
		y += panelHeight(w, modes)
	}
	if len(r.Slope) > 0 {
		for column, sha := range modes {
			p.curve(r, sha, float64(column*panelWidth), y)
		}
	}
	p.Line("</svg>")
	return out.Bytes()
}

func (p *picture) head(r *results) {
	p.text(10, 24, bold, "Seconds of each command: the median, and the fastest and slowest run. Less is better.")
	p.text(10, 42, small, fmt.Sprintf("%s, %s, files in the page cache, %s. Others had %.0f %% of the processors meanwhile.", r.Machine.CPU, plural(r.Machine.Cores, "processor"), r.Date, 100*r.Others))
	x := 10.0
	for _, l := range []struct{ kind, text string }{{ours, "mlseal"}, {"", "peers"}, {floor, "for comparison: reading alone, Go's own SHA-256 in mlseal"}} {
		p.rect(x, 55, 12, 12, fill(l.kind))
		p.text(x+18, 65, "", l.text)
		x += 90
	}
}

// bars are the rows of a way that are drawn.
func drawn(w *workload, sha string) []row {
	var rows []row
	for _, r := range w.Rows {
		if r.counts(sha) && w.has(sha) {
			rows = append(rows, r)
		}
	}
	return rows
}

func panelHeight(w *workload, modes []string) float64 {
	most := 0.0
	for _, sha := range modes {
		h, group := float64(titleRoom), ""
		for i, r := range drawn(w, sha) {
			if i > 0 && r.Group != group {
				h += groupGap
			}
			h, group = h+barStep, r.Group
		}
		most = max(most, h)
	}
	return most + 16
}

// panel draws the bars of a workload. Its columns have the same scale.
func (p *picture) panel(r *results, w *workload, sha string, x, y float64) {
	rows := drawn(w, sha)
	if len(rows) == 0 {
		return
	}
	longest := 0.0
	for _, row := range w.Rows {
		if row.Missing == "" {
			_, slowest := row.Runs.span()
			longest = max(longest, slowest)
		}
	}
	scale := barRoom / longest
	p.text(x+10, y+18, bold, w.Title+", "+r.mode(sha))
	y += titleRoom
	left := x + labelWidth
	for i, row := range rows {
		if i > 0 && row.Group != rows[i-1].Group {
			p.stroke(x+10, y+groupGap/2-2, x+panelWidth-20, y+groupGap/2-2, faint)
			y += groupGap
		}
		least, most := row.Runs.span()
		wall := row.Runs.wall()
		middle := y + barHeight/2
		p.text(left-6, y+barHeight-2, right, row.Name)
		p.rect(left, y, max(1, wall*scale), barHeight, fill(row.Kind))
		p.stroke(left+least*scale, middle, left+most*scale, middle, thin)
		for _, end := range []float64{least, most} {
			p.stroke(left+end*scale, middle-3, left+end*scale, middle+3, thin)
		}
		p.text(left+most*scale+5, y+barHeight-2, "", seconds(wall))
		y += barStep
	}
}

// curve draws the cost by size, with the straight line through it.
func (p *picture) curve(r *results, sha string, x, y float64) {
	points := r.sizes(sha)
	if len(points) == 0 {
		return
	}
	l := fit(points)
	p.text(x+10, y+18, bold, fmt.Sprintf("mlseal hash by size, %s: %.3f s a GiB", r.mode(sha), l.slope))
	left, top, wide, high := x+60, y+titleRoom, float64(panelWidth-120), float64(curveRoom-50)
	widest, longest := 0.0, 0.0
	for _, q := range points {
		_, slowest := q.Runs.span()
		widest, longest = max(widest, float64(q.Bytes)/gib), max(longest, slowest)
	}
	step := tick(longest)
	longest = step * math.Ceil(longest/step)
	at := func(g, s float64) (float64, float64) { return left + g/widest*wide, top + high - s/longest*high }
	for n := 0; float64(n)*step <= longest*1.001; n++ {
		_, py := at(0, float64(n)*step)
		p.stroke(left, py, left+wide, py, faint)
		p.text(left-6, py+4, right+small, fmt.Sprintf("%g s", float64(n)*step))
	}
	begin := 0.0
	if l.start < 0 && l.slope > 0 {
		begin = -l.start / l.slope // where the line leaves the ground
	}
	x1, y1 := at(begin, l.at(begin))
	x2, y2 := at(widest, l.at(widest))
	p.stroke(x1, y1, x2, y2, fmt.Sprintf(` stroke="%s" stroke-width="1.5"`, fill(ours)))
	for _, q := range points {
		px, py := at(float64(q.Bytes)/gib, q.Runs.wall())
		p.Line(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, px, py, fill(ours))
		p.text(px, top+high+16, centre+small, size(q.Bytes))
	}
}

// tick is a round distance of which about four make most.
func tick(most float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(most/4)))
	for _, n := range []float64{1, 2, 5} {
		if most/4 <= n*unit {
			return n * unit
		}
	}
	return 10 * unit
}
