package report

import (
	"fmt"
	"io"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// Tree reports the verification of a directory or file against an OMS bundle.
type Tree struct {
	Path   string
	Result *verify.TreeResult
}

func (t Tree) passed() bool {
	ok := false
	for _, c := range t.Result.Checks {
		if c.Status == verify.Failed {
			return false
		}
		ok = ok || c.Name == "files" && c.Status == verify.Passed
	}
	return ok
}

// maxNamed is how many files or statements of a kind are named; the JSON form has them all.
const maxNamed = 20

// Text implements Report.
func (t Tree) Text(w io.Writer, style Style) error {
	p := &draw.Lines{To: w}
	if t.passed() {
		tree := ""
		if t.Result.DirHash != "" {
			tree = "  dirHash:" + t.Result.DirHash
		}
		p.Line("%s  %s  %d files, %s%s", style.verdict(true, "VERIFIED"), escape.Line(t.Path), t.Result.Files, progress.Bytes(t.Result.Bytes), tree)
	} else {
		p.Line("%s  %s", style.verdict(false, "FAILED"), escape.Line(t.Path))
	}
	for _, c := range t.Result.Checks {
		p.Line("  %s %-17s %s", style.mark(c.Status), escape.Line(c.Name), statusPrefix(c)+escape.Line(c.Detail))
	}
	for _, line := range t.differences() {
		p.Line("      %s", line)
	}
	return p.Err
}

func statusPrefix(c verify.Check) string {
	if c.Status == verify.NotDone {
		return "not done: "
	}
	return ""
}

// differences names the files that are not as they were signed, escaped, a line each.
func (t Tree) differences() []string {
	d := t.Result.Diff
	if d == nil || d.Equal() {
		return nil
	}
	var lines []string
	for i, c := range d.Changed {
		if i == maxNamed {
			lines = append(lines, fmt.Sprintf("… and %d more", len(d.Changed)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("changed  %s  signed %s, found %s", escape.Line(c.Path), short(c.Want.String()), short(c.Got.String())))
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"missing", d.Missing}, {"extra", d.Extra}} {
		for i, name := range list.names {
			if i == maxNamed {
				lines = append(lines, fmt.Sprintf("… and %d more", len(list.names)-i))
				break
			}
			lines = append(lines, fmt.Sprintf("%-7s  %s", list.what, escape.Line(name)))
		}
	}
	return lines
}

// JSON implements Report.
func (t Tree) JSON() any {
	return struct {
		Schema  string `json:"schema"`
		Kind    string `json:"kind"`
		Verdict string `json:"verdict"`
		Path    string `json:"path"`
		*verify.TreeResult
		Skipped []policies.Skipped `json:"skipped"`
	}{Schema, "tree", t.summary().verdict, t.Path, t.Result, t.skipped()}
}
