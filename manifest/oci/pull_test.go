package oci

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// pullInto pulls and returns what was done with each file.
func pullInto(t *testing.T, target Target, p *Package, dest string) (map[string]Action, error) {
	t.Helper()
	done := map[string]Action{}
	err := Pull(t.Context(), target, p, dest, PullOptions{Progress: func(e PullEvent) {
		if e.Path != "" {
			done[e.Path] = e.Action
		}
	}})
	return done, err
}

func TestPullRoundTrip(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		p := fetch(t, target, pack(t, target, sampleTree, PackOptions{Tag: "v1"}))
		dest := filepath.Join(t.TempDir(), "a", "out")
		done, err := pullInto(t, target, p, dest)
		if err != nil || !maps.Equal(tree(t, dest), sampleTree) {
			t.Fatalf("%v: %v", err, tree(t, dest))
		}
		for name := range sampleTree {
			if done[name] != Wrote {
				t.Errorf("%s: %q", name, done[name])
			}
		}
		if diff, err := p.Tree.Compare(t.Context(), os.DirFS(dest), manifest.Options{}); err != nil || diff.Err() != nil {
			t.Errorf("%v, %v", err, diff.Err())
		}
		// Again: what is right is kept, also when only its time changed; what is not is replaced.
		info, _ := os.Stat(filepath.Join(dest, "config.json"))
		writeTree(t, dest, map[string]string{"config.json": strings.Repeat("x", len(sampleTree["config.json"])), "README.md": "short"})
		if err := errors.Join(os.Chtimes(filepath.Join(dest, "config.json"), info.ModTime(), info.ModTime()), os.Remove(filepath.Join(dest, "src", "run.py"))); err != nil {
			t.Fatal(err)
		}
		done, err = pullInto(t, target, p, dest)
		if err != nil || !maps.Equal(tree(t, dest), sampleTree) {
			t.Fatalf("%v: %v", err, tree(t, dest))
		}
		for name := range sampleTree {
			want := map[string]Action{"config.json": Replaced, "README.md": Replaced, "src/run.py": Wrote}[name]
			if want == "" {
				want = Kept
			}
			if done[name] != want {
				t.Errorf("%s: %q, want %q", name, done[name], want)
			}
		}
	})
}

// badBlobs answers for one blob with other bytes.
func TestPullLeavesNoBadFile(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, l *Layout, f manifest.File){
		"altered": func(t *testing.T, l *Layout, f manifest.File) {
			damage(t, l, f.Digest, strings.Repeat("x", int(f.Size)))
		},
		"truncated": func(t *testing.T, l *Layout, f manifest.File) { damage(t, l, f.Digest, "x") },
		"missing": func(t *testing.T, l *Layout, f manifest.File) {
			if err := os.Remove(blobFile(t, l, f.Digest)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			p := fetch(t, l, pack(t, l, sampleTree, PackOptions{Tag: "v1"}))
			for _, f := range p.Tree.Files {
				if f.Path == "README.md" {
					spoil(t, l, f)
				}
			}
			dest := t.TempDir()
			writeTree(t, dest, map[string]string{"README.md": "mine"})
			_, err := pullInto(t, l, p, dest)
			if !errors.Is(err, ErrContent) && !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "README.md") {
				t.Errorf("%v", err)
			}
			got := tree(t, dest)
			if got["README.md"] != "mine" {
				t.Errorf("README.md is %q", got["README.md"])
			}
			for name, data := range got {
				if name != "README.md" && sampleTree[name] != data {
					t.Errorf("left behind: %s %q", name, data)
				}
			}
		})
	}
}

func TestPullVerifiesWhatARegistrySends(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	p := fetch(t, target, pack(t, target, map[string]string{"a.txt": "hello"}, PackOptions{Tag: "v1"}))
	for name, body := range map[string]string{"altered": "HELLO", "short": "hell", "long": "hello and more"} {
		r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/blobs/") {
				return false
			}
			w.(http.Flusher).Flush() // no Content-Length: only the reader can notice
			_, _ = w.Write([]byte(body))
			return true
		})
		dest := t.TempDir()
		if _, err := pullInto(t, target, p, dest); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
		if got := tree(t, dest); len(got) != 0 {
			t.Errorf("%s: left behind %v", name, got)
		}
	}
}

// Names that CheckName takes, but that are unfit on one system or another.
func TestPullRefusesNames(t *testing.T) {
	for name, paths := range map[string][]string{
		"device":             {"CON"},
		"device lower":       {"nul"},
		"device extension":   {"aux.py"},
		"device directory":   {"com1/x"},
		"device superscript": {"LPT².txt"},
		"case twins":         {"README.md", "readme.md"},
		"directory twins":    {"A/x", "a/y"},
		"file and directory": {"A", "a/y"},
		"NFC twins":          {"caf\u00e9", "cafe\u0301"},
		"fold and NFD":       {"\u00c9", "e\u0301"},
		"order of marks":     {"\u03b1\u0345\u0301", "\u03b1\u0301\u0345"},
		"sharp s":            {"stra\u00dfe", "STRASSE"},
		"trailing dot":       {"a.", "a"},
		"trailing blank":     {"a/b ", "a/b"},
		"kelvin":             {"\u212a", "k"},
	} {
		l := newLayout(t)
		im := hostile(func(im *ocispec.Manifest) {
			im.Layers = nil
			for _, p := range paths {
				push(t, l, "text/plain", []byte(p))
				im.Layers = append(im.Layers, fileLayer(p, p))
			}
		})
		p := fetch(t, l, push(t, l, ocispec.MediaTypeImageManifest, marshal(t, im)))
		dest := filepath.Join(t.TempDir(), "out")
		if _, err := pullInto(t, l, p, dest); !errors.Is(err, manifest.ErrName) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dest); err == nil {
			t.Errorf("%s: the destination was made", name)
		}
	}
	for _, name := range []string{"console.log", "a.con", "COM", "com10", "a/ b", "..a", "a..b", "nul-model.bin"} {
		if err := checkNames(&manifest.Manifest{Files: []manifest.File{{Path: name}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A tree that came by another way than FetchPackage is checked too.
	bad := &Package{Tree: &manifest.Manifest{Files: []manifest.File{{Path: "../x"}}}}
	if err := Pull(t.Context(), newLayout(t), bad, t.TempDir(), PullOptions{}); !errors.Is(err, manifest.ErrName) {
		t.Errorf("%v", err)
	}
}

func TestPullRefusesWhatStandsInTheWay(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, sampleTree, PackOptions{Tag: "v1"}))
	outside := t.TempDir()
	link := func(to, name string) func(string) error {
		return func(dest string) error { return os.Symlink(to, filepath.Join(dest, name)) }
	}
	for name, tt := range map[string]struct {
		make func(dest string) error
		want error
	}{
		"parent is a link":        {link(outside, "src"), manifest.ErrSymlink},
		"parent is a link inside": {link(".", "src"), manifest.ErrSymlink},
		"file is a link":          {link(filepath.Join(outside, "x"), "README.md"), manifest.ErrSymlink},
		"some other link":         {link(outside, "other"), manifest.ErrSymlink},
		"directory for a file":    {func(dest string) error { return os.Mkdir(filepath.Join(dest, "README.md"), 0o777) }, fs.ErrExist},
		"file for a directory":    {func(dest string) error { return os.WriteFile(filepath.Join(dest, "src"), nil, 0o666) }, ErrExtra},
		"extra file":              {func(dest string) error { return os.WriteFile(filepath.Join(dest, "evil.py"), nil, 0o666) }, ErrExtra},
	} {
		dest := t.TempDir()
		if err := tt.make(dest); err != nil {
			t.Fatal(err)
		}
		if done, err := pullInto(t, l, p, dest); !errors.Is(err, tt.want) || len(done) > 0 {
			t.Errorf("%s: %v, %v", name, err, done)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("written outside: %v", entries)
	}
	// The link may come after checkDest looked.
	dest := t.TempDir()
	root, err := os.OpenRoot(dest)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	if err := os.Symlink(".", filepath.Join(dest, "src")); err != nil {
		t.Fatal(err)
	}
	pl := &puller{target: l, root: root}
	if err := pl.makeParents("src/run.py"); !errors.Is(err, manifest.ErrSymlink) {
		t.Errorf("%v", err)
	}
}

func TestPullNamesExtraFiles(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, sampleTree, PackOptions{Tag: "v1"}))
	dest := t.TempDir()
	writeTree(t, dest, map[string]string{"evil.py": "", "src/more.py": ""})
	_, err := pullInto(t, l, p, dest)
	if !errors.Is(err, ErrExtra) || !strings.Contains(err.Error(), "evil.py, src/more.py") {
		t.Errorf("%v", err)
	}
	if got := slices.Sorted(maps.Keys(tree(t, dest))); len(got) != 2 {
		t.Errorf("written before the refusal: %v", got)
	}
	// What no tree counts is no extra file: the repository's own files, and leftovers of a killed pull.
	dest = t.TempDir()
	writeTree(t, dest, map[string]string{".git/HEAD": "x", ".gitignore": "x", pullPrefix + "ABC": "half"})
	if _, err := pullInto(t, l, p, dest); err != nil {
		t.Error(err)
	}
	got := tree(t, dest)
	if _, ok := got[pullPrefix+"ABC"]; ok || got[".git/HEAD"] != "x" {
		t.Errorf("%v", slices.Sorted(maps.Keys(got)))
	}
}

func TestPullCancelled(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, map[string]string{"a.bin": strings.Repeat("x", 8<<20)}, PackOptions{Tag: "v1"}))
	ctx, cancel := context.WithCancel(t.Context())
	dest := t.TempDir()
	err := Pull(ctx, l, p, dest, PullOptions{Progress: func(PullEvent) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := tree(t, dest); len(got) > 0 {
		t.Errorf("left behind: %v", slices.Collect(maps.Keys(got)))
	}
}

func TestPullsWaitForEachOther(t *testing.T) {
	dest := t.TempDir()
	unlock, _, err := lockDir(t.Context(), dest)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := lockDir(ctx, dest); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// Git's files at the top level are part of no tree, in a package neither.
func TestGitLayersAreLeftOut(t *testing.T) {
	l := newLayout(t)
	push(t, l, MediaTypeConfig, []byte(`{}`))
	im := hostile(func(im *ocispec.Manifest) {
		for _, name := range []string{".gitignore", ".gitattributes", ".git/hooks/post-checkout", ".github/x.yml", "sub/.gitignore", "b.txt"} {
			im.Layers = append(im.Layers, fileLayer(name, name))
		}
		for _, layer := range im.Layers[1:] {
			push(t, l, layer.MediaType, []byte(layer.Annotations[AnnotationPath]))
		}
		push(t, l, "text/plain", []byte("a"))
	})
	p := fetch(t, l, push(t, l, ocispec.MediaTypeImageManifest, marshal(t, im)))
	files := map[string]string{"a.txt": "a", "b.txt": "b.txt", "sub/.gitignore": "sub/.gitignore"}
	if want := build(t, mapFS(files)).DirHash(); p.Tree.DirHash() != want {
		t.Errorf("dirHash %s of %v, want %s", p.Tree.DirHash(), p.Tree.Files, want)
	}
	if want := []string{".git/hooks/post-checkout", ".gitattributes", ".github/x.yml", ".gitignore"}; !slices.Equal(p.LeftOut, want) {
		t.Errorf("left out %v, want %v", p.LeftOut, want)
	}
	dest := t.TempDir()
	writeTree(t, dest, map[string]string{".git/HEAD": "mine", ".gitignore": "mine"})
	if _, err := pullInto(t, l, p, dest); err != nil {
		t.Fatal(err)
	}
	files[".git/HEAD"], files[".gitignore"] = "mine", "mine"
	if got := tree(t, dest); !maps.Equal(got, files) {
		t.Errorf("pulled %v", got)
	}
	damage(t, l, im.Layers[3].Digest, ".git/hooks/post-CHECKOUT")
	if report, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || len(report.Altered) != 1 || report.Altered[0].Path != ".git/hooks/post-checkout" {
		t.Errorf("content %+v, %v", report, err)
	}

	only := hostile(func(im *ocispec.Manifest) { im.Layers = []ocispec.Descriptor{fileLayer(".git/config", "x")} })
	if p, err := FetchPackage(t.Context(), l, push(t, l, ocispec.MediaTypeImageManifest, marshal(t, only))); !errors.Is(err, ErrNotPackage) || p != nil {
		t.Errorf("nothing else: %v, %v", p, err)
	}
}

// TestPullLeavesNothingBegun: what an interrupted pull left of a file goes when the file is there, or comes out of an archive.
func TestPullLeavesNothingBegun(t *testing.T) {
	l := newLayout(t)
	shards, dataset := sharded(t, l)
	raw := fetch(t, l, pack(t, l, sampleTree, PackOptions{}))
	car := fetch(t, l, packCar(t, l, sampleTree, CarOptions{}))
	for name, c := range map[string]struct {
		p     *Package
		files map[string]string
		there bool
	}{
		"files, there":  {raw, sampleTree, true},
		"files":         {raw, sampleTree, false},
		"car, there":    {car, sampleTree, true},
		"car":           {car, sampleTree, false},
		"shards, there": {dataset, shards, true},
		"shards":        {dataset, shards, false},
	} {
		dest := t.TempDir()
		if c.there {
			writeTree(t, dest, c.files)
		}
		for _, f := range c.p.Tree.Files {
			writeTree(t, dest, map[string]string{tempName(f): "begun"})
		}
		if _, err := pullInto(t, l, c.p, dest); err != nil || !maps.Equal(tree(t, dest), c.files) {
			t.Errorf("%s: %v: %d files, want %d", name, err, len(tree(t, dest)), len(c.files))
		}
	}
}

// No error has a second line, whatever stands in the directory.
func TestErrorsAreOneLine(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, sampleTree, PackOptions{}))
	dest := t.TempDir()
	for i := range 7 {
		writeTree(t, dest, map[string]string{strings.Repeat("x", i) + "\nhint: all is well": "x"})
		if _, err := pullInto(t, l, p, dest); !errors.Is(err, ErrExtra) || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%v", err)
		}
	}
	r := newRegistry(t, true)
	target := r.open(t)
	r.answerWith(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"no\nhint: \u001b[31mrun this"}]}`))
		return true
	})
	rc, err := target.Fetch(t.Context(), p.Descriptor)
	if !errors.Is(err, ErrUnavailable) || strings.ContainsAny(err.Error(), "\n\x1b") || !strings.Contains(err.Error(), "run this") {
		t.Errorf("%v, %q", rc, err)
	}
}
