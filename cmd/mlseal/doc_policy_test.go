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

// TestPolicyLibraryDocument: the commands that docs/policy-library.md gives for these policies are run by policy_library.txtar, with other names of files.
func TestPolicyLibraryDocument(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "policy-library.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join("testdata", "script", "policy_library.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{}
	for line := range strings.Lines(string(script)) {
		run[skeleton(line)] = true
	}
	for _, name := range []string{"starter-signed", "starter-provenance", "hf-import", "two-person-approval", "prod-gate", "airgap"} {
		_, section, found := strings.Cut(string(page), "\n## "+name+"\n")
		_, section, open := strings.Cut(section, "```sh\n")
		section, _, closed := strings.Cut(section, "```")
		if !found || !open || !closed {
			t.Fatalf("%s has no commands", name)
		}
		for line := range strings.Lines(section) {
			line, _, _ = strings.Cut(line, "    # ")
			if !run[skeleton(line)] {
				t.Errorf("%s: the script does not run %s", name, line)
			}
		}
	}
}

// skeleton is a command without the names of its files, and without what the script writes otherwise.
func skeleton(line string) string {
	words := strings.Fields(line)
	for i, word := range words {
		switch {
		case i > 0 && words[i-1] == "--predicate", i > 0 && words[i-1] == "--policy" && strings.HasSuffix(word, ".yaml"):
			words[i] = "FILE"
		case strings.HasPrefix(word, "oci-archive:"):
			words[i] = "ARCHIVE"
		case strings.HasPrefix(word, "hf://"):
			words[i] = "HUB"
		case strings.HasPrefix(word, "oci:"):
			words[i] = "REF"
		default:
			words[i] = strings.TrimPrefix(word, "$")
		}
	}
	return strings.Join(words, " ")
}
