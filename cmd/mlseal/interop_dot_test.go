//go:build interop

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
)

// TestInteropGraphviz: Graphviz reads the DOT form of every lineage, and shows a hostile name as it is written.
func TestInteropGraphviz(t *testing.T) {
	dot, err := exec.LookPath("dot")
	if err != nil {
		t.Skip("Graphviz is not here: this test did NOT run")
	}
	files, err := filepath.Glob(filepath.Join(testenv.Root(t), "verify", "report", "testdata", "lineage-*.dot"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no drawings (%v)", err)
	}
	for _, file := range files {
		var problems strings.Builder
		cmd := exec.Command(dot, "-Tsvg", file)
		cmd.Stderr = &problems
		svg, err := cmd.Output()
		if err != nil || strings.Contains(problems.String(), "syntax") {
			t.Errorf("%s: %v %s", file, err, problems.String())
			continue
		}
		const hostile = `</title></svg><script>alert(1)</script>"];x[label="\" &lt; \N \`
		if strings.HasSuffix(file, "hostile.dot") && !shows(t, svg, hostile) {
			t.Errorf("%s: the name is not shown as it is written:\n%s", file, svg)
		}
	}
}

// shows reports whether a text of the drawing ends so.
func shows(t *testing.T, svg []byte, end string) bool {
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	d.Entity = map[string]string{"nbsp": " "}
	found := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Errorf("the drawing is not well-formed: %v", err)
			return found
		}
		if text, ok := token.(xml.CharData); ok {
			found = found || strings.HasSuffix(strings.ReplaceAll(string(text), "\u00a0", " "), end)
		}
	}
}
