package hfcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/hubtest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/origin"
)

const commit = hubtest.Commit

// cache writes a snapshot as huggingface_hub does and returns its path.
func cache(t *testing.T) string {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "hub", "models--acme--llm")
	dir := filepath.Join(repo, "snapshots", commit)
	write(t, filepath.Join(repo, "refs", "main"), commit)
	blob(t, dir, "model.safetensors", hubtest.SHA256("weights"), "weights")
	blob(t, dir, "config.json", hubtest.GitOID("{}"), "{}")
	blob(t, dir, "sub/copy.bin", hubtest.SHA256("weights"), "weights")
	return dir
}

func write(t *testing.T, name, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(name)
	if err := os.Symlink(target, name); err != nil {
		t.Skip(err)
	}
}

// blob writes contents under the name etag and a link to them.
func blob(t *testing.T, dir, name, etag, data string) {
	t.Helper()
	write(t, filepath.Join(dir, "..", "..", "blobs", etag), data)
	link(t, strings.Repeat("../", strings.Count(name, "/")+2)+"blobs/"+etag, filepath.Join(dir, name))
}

func build(t *testing.T, dir string) (*manifest.Manifest, *Snapshot, error) {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	m, err := manifest.Build(t.Context(), s, manifest.Options{})
	return m, s, err
}

func TestBuild(t *testing.T) {
	dir := cache(t)
	write(t, filepath.Join(dir, "plain.txt"), "plain")
	m, s, err := build(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Source.String() != "acme/llm@"+commit {
		t.Error(s.Source)
	}
	if len(m.Files) != 4 || m.Size() != 7+2+7+5 {
		t.Errorf("%v", m.Files)
	}
	if names := s.Unchecked(m); len(names) != 1 || names[0] != "plain.txt" {
		t.Error(names)
	}
	// The same tree as one of plain files.
	plain := t.TempDir()
	for name, data := range map[string]string{"model.safetensors": "weights", "config.json": "{}", "sub/copy.bin": "weights", "plain.txt": "plain"} {
		write(t, filepath.Join(plain, name), data)
	}
	want, err := manifest.Build(t.Context(), os.DirFS(plain), manifest.Options{})
	if err != nil || want.DirHash() != m.DirHash() {
		t.Errorf("%v", err)
	}
	one, err := manifest.Build(t.Context(), s, manifest.Options{File: "model.safetensors"})
	if err != nil || one.Files[0].Digest.Encoded() != hubtest.SHA256("weights") {
		t.Errorf("one file: %v", err)
	}
}

// TestSharedBlobs follows a blob to the folder that all repositories of a cache share.
func TestSharedBlobs(t *testing.T) {
	dir := cache(t)
	xet := strings.Repeat("ab", 32)
	repo := filepath.Join(dir, "..", "..")
	etag := filepath.Join(repo, "blobs", hubtest.SHA256("weights"))
	write(t, filepath.Join(repo, "..", "blobs", "ab", xet), "weights")
	link(t, "../../blobs/ab/"+xet, etag)
	m, s, err := build(t, dir)
	if err != nil || len(m.Files) != 3 || len(s.Unchecked(m)) != 0 {
		t.Fatalf("%v", err)
	}
	write(t, filepath.Join(repo, "..", "blobs", "ab", xet), "wEights")
	if _, _, err := build(t, dir); !errors.Is(err, origin.ErrMismatch) {
		t.Error(err)
	}
	write(t, filepath.Join(repo, "..", "blobs", "ab", "other"), "weights")
	for _, target := range []string{"../../blobs/ab/other", "../../blobs/ab/" + xet + "0", "../../blobs/../secret", "../../../secret", "config", "/etc/hostname", "../../blobs/ab"} {
		link(t, target, etag)
		if _, _, err := build(t, dir); !errors.Is(err, ErrLink) {
			t.Errorf("%s: %v", target, err)
		}
	}
	// A link among the shared blobs leads nowhere further.
	link(t, "../../../secret", filepath.Join(repo, "..", "blobs", "ab", xet))
	write(t, filepath.Join(repo, "..", "..", "secret"), "weights")
	link(t, "../../blobs/ab/"+xet, etag)
	if _, _, err := build(t, dir); !errors.Is(err, ErrLink) {
		t.Errorf("a link as a shared blob: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		target string
		want   error
	}{
		"absolute":          {"/etc/hostname", ErrLink},
		"out of the cache":  {"../../../../../secret", ErrLink},
		"another snapshot":  {"../other/config.json", ErrLink},
		"another folder":    {"../../refs/main", ErrLink},
		"the folder blobs":  {"../../blobs", ErrLink},
		"below a blob":      {"../../blobs/sub/x", ErrLink},
		"dangling":          {"../../blobs/" + strings.Repeat("0", 64), ErrLink},
		"through the blobs": {"../../blobs/../refs/main", ErrLink},
		"itself":            {"bad.bin", ErrLink},
	} {
		dir := cache(t)
		write(t, filepath.Join(dir, "..", "..", "blobs", "sub", "x"), "x")
		link(t, tc.target, filepath.Join(dir, "bad.bin"))
		_, _, err := build(t, dir)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), "bad.bin") {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir := cache(t)
	blob(t, dir, "folder", "sub", "x")
	_ = os.Remove(filepath.Join(dir, "..", "..", "blobs", "sub"))
	write(t, filepath.Join(dir, "..", "..", "blobs", "sub", "x"), "x")
	if _, _, err := build(t, dir); !errors.Is(err, ErrLink) {
		t.Errorf("a directory as a blob: %v", err)
	}
}

func TestMismatch(t *testing.T) {
	for name, data := range map[string]string{hubtest.SHA256("weights"): "wEights", hubtest.GitOID("{}"): "[]"} {
		dir := cache(t)
		write(t, filepath.Join(dir, "..", "..", "blobs", name), data) // of the same size
		if _, _, err := build(t, dir); !errors.Is(err, origin.ErrMismatch) || manifest.IsRefusal(err) {
			t.Errorf("%s: %v", name, err)
		}
		write(t, filepath.Join(dir, "..", "..", "blobs", name), "")
		if _, _, err := build(t, dir); !errors.Is(err, origin.ErrMismatch) {
			t.Errorf("%s, empty: %v", name, err)
		}
	}
}

func TestRecognize(t *testing.T) {
	dir := cache(t)
	alias := filepath.Join(t.TempDir(), "alias")
	link(t, dir, alias)
	for _, path := range []string{dir, alias, dir + "/"} {
		if _, ok := Recognize(path); !ok {
			t.Errorf("%s is a snapshot", path)
		}
	}
	root := t.TempDir()
	for _, name := range []string{"models--a--b/snapshots/main", "models--a--b/other/" + commit, "model--a--b/snapshots/" + commit, "models--a--b/snapshots/" + commit} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, ok := Recognize(path); ok {
			t.Errorf("%s is no snapshot", name)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "models--a--b", "blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if s, ok := Recognize(filepath.Join(root, "models--a--b/snapshots", commit)); !ok || s.Repository != "a/b" || s.Kind != "model" {
		t.Errorf("%v, %t", s, ok)
	}
	if _, err := Open(root); err == nil {
		t.Error("opened what is no snapshot")
	}
}

func TestFS(t *testing.T) {
	s, err := Open(cache(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../x", "/x", "a/../b", ""} {
		if _, err := s.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := s.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
