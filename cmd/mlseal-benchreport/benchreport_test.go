package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const fixture = "testdata/results.json"

func load(t *testing.T, name string) *results {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.ReplaceAll(want, []byte("\r\n"), []byte("\n"))) {
		t.Errorf("%s is not what is made now (-update writes it anew):\n%s", name, got)
	}
}

func TestPage(t *testing.T) { golden(t, "testdata/results.md", page(load(t, fixture), "results")) }

func TestPlot(t *testing.T) {
	svg := plot(load(t, fixture))
	golden(t, "testdata/results.svg", svg)
	wellFormed(t, svg)
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDocs: the page in docs is the one that its results make.
func TestDocs(t *testing.T) {
	docs := filepath.Join("..", "..", "docs", "benchmarks")
	r := load(t, docs+".json")
	golden(t, docs+".md", page(r, "benchmarks"))
	golden(t, docs+".svg", plot(r))
}

func TestRunWritesBesideTheResults(t *testing.T) {
	data, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "some.json")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(name); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "some.md"))
	if err != nil || !bytes.Contains(text, []byte("](some.svg)")) {
		t.Errorf("some.md: %v:\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "some.svg")); err != nil {
		t.Error(err)
	}
	if err := run(filepath.Join(dir, "none.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("results that are not there: %v", err)
	}
}

func TestBars(t *testing.T) {
	r := load(t, fixture)
	for _, tc := range []struct {
		sha, what, value string
		met              bool
	}{
		{hidden, "to Go's crypto/sha256", "2.92x", true},
		{hidden, "lanes16", "0.43x", false},
		{plain, "sign, to model_signing", "2.17x", false},
		{plain, "fastest peer (sha256sum)", "5.45x", true},
		{hidden, "fastest peer (openssl dgst)", "0.91x", false},
		{plain, "peak memory: 1 GiB in 16 files (mlseal verify)", "123 MB", false},
		{plain, "peak memory: 1 GiB in one file (mlseal hash)", "51 MB", true},
		{plain, "straight line", "0.0 %", true},
		{hidden, "straight line", "25.6 %", false},
		{plain, "with the cache", "0.80 s", true},
	} {
		var found *bar
		for _, b := range r.bars(tc.sha) {
			if strings.Contains(b.what, tc.what) {
				found = &b
				break
			}
		}
		if found == nil {
			t.Errorf("%s: no bar %q in %v", tc.sha, tc.what, r.bars(tc.sha))
			continue
		}
		if found.value != tc.value || found.met != tc.met {
			t.Errorf("%s: %s: %s, met %t, want %s, %t", tc.sha, found.what, found.value, found.met, tc.value, tc.met)
		}
	}
	for _, b := range r.bars(plain) {
		if strings.Contains(b.what, "lanes16") {
			t.Errorf("a bar for machines without SHA instructions on one that has them: %v", b)
		}
	}
	r.SHAInstructions, r.CanHide = false, false
	if list := r.bars(plain); !strings.Contains(list[0].what, "Go's crypto/sha256") {
		t.Errorf("a machine without SHA instructions has not the bars for it: %v", list)
	}
}

// TestWithoutHiding: a machine without SHA instructions has one column, and no word of hiding.
func TestWithoutHiding(t *testing.T) {
	r := load(t, fixture)
	r.SHAInstructions, r.CanHide, r.Engine = false, false, r.Engine[:1]
	text, svg := page(r, "x"), plot(r)
	wellFormed(t, svg)
	for _, out := range [][]byte{text, svg} {
		if bytes.Contains(out, []byte("hidden")) {
			t.Errorf("something is said to be hidden:\n%s", out)
		}
	}
	if !bytes.Contains(svg, []byte(`viewBox="0 0 600 `)) {
		t.Error("the plot has another column")
	}
}

// TestParts: BENCH_ONLY leaves the rest empty.
func TestParts(t *testing.T) {
	r := load(t, fixture)
	r.Workloads, r.Slope, r.Engine = nil, nil, nil
	wellFormed(t, plot(r))
	if text := page(r, "x"); !bytes.Contains(text, []byte("## Where the time goes")) || bytes.Contains(text, []byte("## Cost by size")) {
		t.Errorf("%s", text)
	}
}

func TestParseRefuses(t *testing.T) {
	data, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, from, to, want string }{
		{"another schema", `"schema": 1`, `"schema": 2`, "schema 2"},
		{"neither runs nor a reason", `"missing": "it signs one file"`, `"missing": ""`, "either runs or the reason"},
		{"compared with nothing", `"against": "mlseal sign"`, `"against": "another"`, `"another", which is not there`},
	} {
		changed := bytes.Replace(data, []byte(tc.from), []byte(tc.to), 1)
		if bytes.Equal(changed, data) {
			t.Fatalf("%s: nothing to change", tc.name)
		}
		if _, err := parse(changed); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		walls []float64
		want  float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		var c costs
		for _, w := range tc.walls {
			c = append(c, cost{Wall: w})
		}
		if got := c.wall(); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.walls, got, tc.want)
		}
	}
}

func TestFit(t *testing.T) {
	at := func(g int64, s float64) point { return point{Bytes: g << 30, Runs: costs{{Wall: s}}} }
	l := fit([]point{at(1, 1.5), at(2, 2.5), at(4, 4.5)})
	if math.Abs(l.slope-1) > 1e-9 || math.Abs(l.start-0.5) > 1e-9 || l.off > 1e-9 {
		t.Errorf("a line: %+v", l)
	}
	if l := fit([]point{at(1, 1), at(2, 4), at(3, 1)}); math.Abs(l.off-1) > 1e-9 { // the line is 2 everywhere
		t.Errorf("no line: %+v", l)
	}
	if l := fit([]point{at(1, 1)}); l.slope != 0 || l.start != 1 {
		t.Errorf("one size: %+v", l)
	}
}

func TestTick(t *testing.T) {
	for most, want := range map[float64]float64{1: 0.5, 3.9: 1, 8: 2, 17: 5, 90: 50} {
		if got := tick(most); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v: %v, want %v", most, got, want)
		}
	}
}
