package oci

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestSelect(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"config.json", "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
		"data/a.jsonl", "data/b/c.jsonl", "data/b/d/e.jsonl", "database.txt", "x/data/z.jsonl"} {
		files[name] = name
	}
	tree := build(t, mapFS(files))
	for pattern, want := range map[string]string{
		"config.json":          "config.json",
		"./config.json":        "config.json",
		"model-0000[12]*":      "model-00001-of-00003.safetensors model-00002-of-00003.safetensors",
		"data":                 "data/a.jsonl data/b/c.jsonl data/b/d/e.jsonl",
		"data/":                "data/a.jsonl data/b/c.jsonl data/b/d/e.jsonl",
		"data/*":               "data/a.jsonl data/b/c.jsonl data/b/d/e.jsonl",
		"data/*.jsonl":         "data/a.jsonl",
		"data/b":               "data/b/c.jsonl data/b/d/e.jsonl",
		"*.json":               "config.json",
		"**/*.json":            "config.json",
		"**/data":              "data/a.jsonl data/b/c.jsonl data/b/d/e.jsonl x/data/z.jsonl",
		"**/b/**/e.jsonl":      "data/b/d/e.jsonl",
		"data/**/c.jsonl":      "data/b/c.jsonl",
		"*/data/**":            "x/data/z.jsonl",
		"**/**/**/**/z.json?":  "x/data/z.jsonl",
		"model-00003-*.[a-z]*": "model-00003-of-00003.safetensors",
	} {
		part, err := Select(tree, []string{pattern})
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
			continue
		}
		var got []string
		for _, f := range part.Files {
			got = append(got, f.Path)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", pattern, got, want)
		}
	}
	if all, err := Select(tree, []string{"**"}); err != nil || all.DirHash() != tree.DirHash() {
		t.Errorf("**: %v, %v", all, err)
	}
	if all, err := Select(tree, nil); err != nil || all != tree {
		t.Errorf("no pattern: %v, %v", all, err)
	}
	for _, pattern := range []string{"", "/", "nothing", "data/x", "config.json/x", "[", "a/[", "/config.json", "../config.json", "data//a.jsonl", "data/./a.jsonl", "DATA", "onfig.json"} {
		if part, err := Select(tree, []string{"config.json", pattern}); !errors.Is(err, ErrPattern) {
			t.Errorf("%q: %v, %v", pattern, part, err)
		}
	}
	if _, err := Select(tree, []string{"nothing"}); err == nil || !strings.Contains(err.Error(), "config.json") || !strings.Contains(err.Error(), "4 more") {
		t.Errorf("no path is named: %v", err)
	}
}

func TestPullOnly(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		p := fetch(t, target, pack(t, target, sampleTree, PackOptions{Tag: "v1"}))
		dest := t.TempDir()
		pullOnly := func(patterns ...string) error {
			return Pull(t.Context(), target, p, dest, PullOptions{Only: patterns})
		}
		if err := pullOnly("config.json", "src"); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"config.json": sampleTree["config.json"], "src/run.py": sampleTree["src/run.py"]}
		if got := tree(t, dest); !maps.Equal(got, want) {
			t.Fatalf("%v", got)
		}
		// What is there is not looked at unless it is chosen.
		writeTree(t, dest, map[string]string{"config.json": "other", "src/run.py": "bad"})
		if err := pullOnly("src/*", "*.md"); err != nil {
			t.Fatal(err)
		}
		want["config.json"], want["README.md"] = "other", sampleTree["README.md"]
		if got := tree(t, dest); !maps.Equal(got, want) {
			t.Fatalf("%v", got)
		}
		// Nothing matches: nothing is written, and no directory made.
		if err := Pull(t.Context(), target, p, filepath.Join(dest, "new"), PullOptions{Only: []string{"nothing"}}); !errors.Is(err, ErrPattern) {
			t.Errorf("%v", err)
		}
		if _, err := os.Lstat(filepath.Join(dest, "new")); err == nil {
			t.Error("a directory was made")
		}
		writeTree(t, dest, map[string]string{"src/foreign": "x"})
		if err := pullOnly("tokenizer.json"); !errors.Is(err, ErrExtra) {
			t.Errorf("a foreign file: %v", err)
		}
		if _, err := os.Lstat(filepath.Join(dest, "tokenizer.json")); err == nil {
			t.Error("it was written")
		}
		// All of it repairs the rest.
		if err := os.Remove(filepath.Join(dest, "src", "foreign")); err != nil {
			t.Fatal(err)
		}
		if _, err := pullInto(t, target, p, dest); err != nil || !maps.Equal(tree(t, dest), sampleTree) {
			t.Errorf("%v: %v", err, tree(t, dest))
		}
	})
}

// TestOnlyReadsTheChosen looks at what is fetched.
func TestOnlyReadsTheChosen(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	p := fetch(t, target, pack(t, target, sampleTree, PackOptions{Tag: "v1"}))
	var mu sync.Mutex
	var asked []string
	r.answerWith(func(_ http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:])
		return false
	})
	if err := Pull(t.Context(), target, p, t.TempDir(), PullOptions{Only: []string{"README.md"}}); err != nil {
		t.Fatal(err)
	}
	var readme string
	for _, f := range p.Tree.Files {
		if f.Path == "README.md" {
			readme = f.Digest.String()
		}
	}
	if !slices.Equal(asked, []string{readme}) {
		t.Errorf("%v", asked)
	}
}

func TestVerifyContentOnly(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, sampleTree, PackOptions{}))
	for _, f := range p.Tree.Files {
		if f.Path == "README.md" {
			damage(t, l, f.Digest, strings.Repeat("x", int(f.Size)))
		}
	}
	read := 0
	r, err := VerifyContent(t.Context(), l, p, ContentOptions{Only: []string{"src"}, Concurrency: 1, Progress: func(n int) { read += n }})
	if err != nil || r.Err() != nil || read != len(sampleTree["src/run.py"])+int(p.Manifest.Config.Size) {
		t.Errorf("%v, %v, %d bytes", err, r, read)
	}
	if r, err := VerifyContent(t.Context(), l, p, ContentOptions{Only: []string{"*.md"}}); err != nil || !errors.Is(r.Err(), ErrContent) {
		t.Errorf("%v, %v", err, r)
	}
	if _, err := VerifyContent(t.Context(), l, p, ContentOptions{Only: []string{"nothing"}}); !errors.Is(err, ErrPattern) {
		t.Errorf("%v", err)
	}
}
