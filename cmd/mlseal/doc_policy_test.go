package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicyTestingDocument: the lines that docs/policy-testing.md shows are those of the example, which policy_test.txtar runs.
func TestPolicyTestingDocument(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	script, err := os.ReadFile(filepath.Join("testdata", "script", "policy_test.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	text, shown := read("policy-testing.md"), 0
	for _, block := range []struct{ start, source string }{
		{"```yaml\n", read("policy-testing/policy_test.yaml")},
		{"--coverage --mutate\nPASSED", strings.ReplaceAll(string(script), "example/", "")},
	} {
		_, rest, found := strings.Cut(text, block.start)
		if !found {
			t.Fatalf("no block that starts with %q", block.start)
		}
		body, _, _ := strings.Cut(rest, "```")
		for line := range strings.Lines(body) {
			if line = strings.TrimSpace(line); line == "" || line == "…" {
				continue
			}
			if shown++; !strings.Contains(block.source, line) {
				t.Errorf("the document shows %q, which is not so", line)
			}
		}
	}
	if shown < 12 {
		t.Errorf("only %d lines were compared", shown)
	}
}
