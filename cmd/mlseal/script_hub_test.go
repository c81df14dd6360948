package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mlseal/mlseal/internal/hubtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// hubs are the hubs of the scripts, by where they work.
var (
	hubs     = map[string]*hubtest.Hub{}
	hubsLock sync.Mutex
)

// startHub serves the command hub:
//
//	hub serve KIND/ORG/NAME DIR   starts a hub on loopback, or adds to it; HF_ENDPOINT names it. *.safetensors are in git-lfs
//	hub cut|busy|page N           connections break off, requests are refused, lists have pages
//	hub contents PATH TEXT        other contents than the listed ones
//	hub token|gated KIND/ORG/NAME WORD
//	hub fetched N                 wants that the contents of N files were asked for since the last time, of each once
//	hub clean                     wants that no token went to the second host
func startHub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: hub VERB …")
	}
	h := hubOf(ts)
	if args[0] == "fetched" {
		if args[1] == "any" { // how many there were before a failure is up to the scheduler
			h.Fetched()
			return
		}
		wantFetched(ts, h.Fetched(), number(ts, args[1]))
		return
	}
	h.Change(func() {
		switch args[0] {
		case "serve":
			h.Repositories[args[1]] = &hubtest.Repository{Files: readAll(ts, args[2]), LFS: []string{"*.safetensors"}}
		case "cut":
			h.Cut = number(ts, args[1])
		case "busy":
			h.Busy = number(ts, args[1])
		case "page":
			h.PageSize = number(ts, args[1])
		case "contents":
			h.Contents = map[string]string{args[1]: args[2]}
		case "token":
			h.Repositories[args[1]].Token = args[2]
		case "gated":
			h.Repositories[args[1]].Gated = true
		case "clean":
			if h.Leaked() != 0 || h.Requests() == 0 {
				ts.Fatalf("%d tokens leaked in %d requests", h.Leaked(), h.Requests())
			}
		default:
			ts.Fatalf("hub: unknown verb %s", args[0])
		}
	})
}

func wantFetched(ts *testscript.TestScript, fetched map[string]int, want int) {
	for name, times := range fetched {
		if times != 1 {
			ts.Fatalf("%s was asked for %d times", name, times)
		}
	}
	if len(fetched) != want {
		ts.Fatalf("%d files were asked for, want %d: %v", len(fetched), want, fetched)
	}
}

func hubOf(ts *testscript.TestScript) *hubtest.Hub {
	hubsLock.Lock()
	defer hubsLock.Unlock()
	key := ts.Getenv("WORK")
	if hubs[key] == nil {
		h := hubtest.Start(ts.Defer)
		hubs[key] = h
		ts.Setenv("HF_ENDPOINT", h.URL)
	}
	return hubs[key]
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func readAll(ts *testscript.TestScript, dir string) map[string]string {
	files := map[string]string{}
	root := ts.MkAbs(dir)
	ts.Check(filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	}))
	return files
}

// TestHubToken looks for tokens where huggingface_hub does.
func TestHubToken(t *testing.T) {
	home := t.TempDir()
	stored := filepath.Join(home, ".cache", "huggingface", "token")
	if err := os.MkdirAll(filepath.Dir(stored), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stored, []byte("stored\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		want string
	}{
		"none":        {nil, ""},
		"variable":    {map[string]string{"HF_TOKEN": " abc\n", "HOME": home}, "abc"},
		"old":         {map[string]string{"HUGGING_FACE_HUB_TOKEN": "abc"}, "abc"},
		"file":        {map[string]string{"HOME": home}, "stored"},
		"HF_HOME":     {map[string]string{"HF_HOME": filepath.Dir(stored)}, "stored"},
		"path":        {map[string]string{"HF_TOKEN_PATH": stored}, "stored"},
		"other home":  {map[string]string{"HF_HOME": home, "HOME": home}, ""},
		"not wanted":  {map[string]string{"HF_TOKEN": "abc", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, ""},
		"white space": {map[string]string{"HF_TOKEN": "a b"}, "error"},
		"two lines":   {map[string]string{"HF_TOKEN": "a\r\nX-Evil: b"}, "error"},
	} {
		a := &app{lookupEnv: func(name string) (string, bool) { v, ok := tc.env[name]; return v, ok }}
		got, err := a.hubToken()
		if err != nil {
			if strings.Contains(err.Error(), "Evil") || exitStatus(err) != statusUsage {
				t.Errorf("%s: %v", name, err)
			}
			got = "error"
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
