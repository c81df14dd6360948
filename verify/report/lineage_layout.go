package report

import (
	"fmt"
	"slices"

	"github.com/mlseal/mlseal/policies"
)

// Measures of the drawing, in pixels.
const (
	boxWidth, boxHeight = 250, 62
	rowGap              = 18 // between the boxes of a column; edges that go far run in it
	gutter              = 84 // between columns; edges run up and down in it
	margin              = 12
	laneGap             = 8
)

// drawing is a layered layout: a column for each number of steps from the artifact, so that edges lead to the right. The nodes that
// were reached through one node stand together, the first of them in its row.
type drawing struct {
	Width, Height int
	Boxes         []box
	Paths         []path
}

// box is where a node is drawn.
type box struct{ X, Y, column int }

// path is how an edge is drawn.
type path struct {
	D     string // of SVG's path
	Aside bool   // it leads to what was reached another way
}

// layOut places n nodes and the edges between them.
func layOut(n int, children [][]policies.Edge) *drawing {
	d := &drawing{Boxes: make([]box, n)}
	tree := d.columns(children)
	d.rows(tree)
	for from, list := range children {
		for _, e := range list {
			d.Paths = append(d.Paths, d.path(from, e.To, tree))
		}
	}
	d.Width += 2 * margin
	d.Height += 2 * margin
	return d
}

// span is the tree along which the nodes were reached first.
type span struct {
	parent []int // -1 for the artifact, and for what nothing leads to
	below  [][]int
	roots  []int
	// reached are all nodes, each behind its parent.
	reached []int
}

// columns goes breadth first from the artifact, and then from whatever that did not reach.
func (d *drawing) columns(children [][]policies.Edge) *span {
	t := &span{parent: make([]int, len(d.Boxes)), below: make([][]int, len(d.Boxes))}
	reached := make([]bool, len(d.Boxes))
	for root := range d.Boxes {
		if reached[root] {
			continue
		}
		reached[root], t.parent[root] = true, -1
		t.roots = append(t.roots, root)
		for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			t.reached = append(t.reached, at)
			for _, e := range children[at] {
				if reached[e.To] {
					continue
				}
				reached[e.To], t.parent[e.To] = true, at
				t.below[at] = append(t.below[at], e.To)
				d.Boxes[e.To].column = d.Boxes[at].column + 1
				queue = append(queue, e.To)
			}
		}
	}
	return t
}

// rows gives each node without nodes below it a row of its own, and every other the row of its first.
func (d *drawing) rows(t *span) {
	t.order()
	row := 0
	stack := reversed(t.roots)
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		stack = append(stack[:len(stack)-1], reversed(t.below[at])...)
		b := &d.Boxes[at]
		b.X, b.Y = margin+b.column*(boxWidth+gutter), margin+row*(boxHeight+rowGap)
		d.Width, d.Height = max(d.Width, b.X+boxWidth-margin), max(d.Height, b.Y+boxHeight-margin)
		if len(t.below[at]) == 0 {
			row++
		}
	}
	for _, b := range d.Boxes {
		d.Width = max(d.Width, b.X+boxWidth+gutter-margin) // an edge may lead around the last column
	}
}

// order puts what has little below it first, so that a node stands near what it was made from.
func (t *span) order() {
	size := make([]int, len(t.below))
	for _, at := range reversed(t.reached) { // whatever is below comes later
		size[at]++
		if t.parent[at] >= 0 {
			size[t.parent[at]] += size[at]
		}
	}
	for _, list := range t.below {
		slices.SortStableFunc(list, func(a, b int) int { return size[a] - size[b] })
	}
}

func reversed(list []int) []int {
	out := make([]int, 0, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		out = append(out, list[i])
	}
	return out
}

// path leads along gutters and, past columns, between rows: never through a box.
func (d *drawing) path(from, to int, t *span) path {
	a, b := d.Boxes[from], d.Boxes[to]
	lane := 16 + from%6*laneGap
	startX, endX := a.X+boxWidth, b.X
	first, last := startX+lane, endX-gutter+lane
	if b.column <= a.column { // back, or in one column: it ends at the right side
		endX = b.X + boxWidth
		last = endX + lane
	}
	if b.column < a.column {
		startX = a.X
		first = startX - gutter + lane
	}
	startY, endY := a.Y+boxHeight/2, b.Y+boxHeight/2
	if from == to {
		startY, endY = startY-10, endY+10
	}
	p := path{Aside: t.parent[to] != from}
	if p.Aside {
		endY += 14 // its arrow is not that of the edge in the tree
	}
	if first == last {
		p.D = fmt.Sprintf("M%d %dH%dV%dH%d", startX, startY, first, endY, endX)
		return p
	}
	p.D = fmt.Sprintf("M%d %dH%dV%dH%dV%dH%d", startX, startY, first, b.Y+boxHeight+rowGap/2, last, endY, endX)
	return p
}
