package oci

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// checkSources reads parts of all files of a package.
func checkSources(t *testing.T, target Target, p *Package, files map[string]string) {
	t.Helper()
	sources, err := p.Sources(target)
	if err != nil || len(sources) != len(p.Tree.Files) {
		t.Fatalf("%d sources of %d files, %v", len(sources), len(p.Tree.Files), err)
	}
	for _, f := range p.Tree.Files {
		s, text := sources[f.Path], files[f.Path]
		_, archived := p.opaqueLayers()[f.Path]
		cheap := asLayout(target) != nil && !archived
		if s == nil || s.Size() != int64(len(text)) || s.File() != f || cheap != s.Cheap() {
			t.Fatalf("%s: %+v", f.Path, s)
		}
		for i := range 4 {
			from := rand.IntN(len(text) + 1)
			to := from + rand.IntN(len(text)-from+1)
			if i == 0 {
				from, to = 0, len(text)
			}
			rc, err := s.Range(t.Context(), int64(from), int64(to-from))
			if err != nil {
				t.Fatalf("%s: %v", f.Path, err)
			}
			got := make([]byte, to-from)
			if _, err := io.ReadFull(rc, got); err != nil || string(got) != text[from:to] {
				t.Errorf("%s: bytes %d to %d: %q, %v", f.Path, from, to, got, err)
			}
			_ = rc.Close()
		}
		if _, err := s.Range(t.Context(), 1, s.Size()); !errors.Is(err, ErrContent) {
			t.Errorf("%s: behind its end: %v", f.Path, err)
		}
	}
}

// TestSourceLies: what a registry answers with instead of a part is no part, and a tar in which a file has another name is refused.
func TestSourceLies(t *testing.T) {
	l := newLayout(t)
	files, p := sharded(t, l)
	for _, layer := range p.tars {
		data, err := fetchBytes(t.Context(), l, layer.desc, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		damage(t, l, layer.desc.Digest, strings.ReplaceAll(string(data), "train/05/00005.json", "train/05/0000X.json"))
	}
	sources, err := p.Sources(l)
	if err != nil {
		t.Fatal(err)
	}
	name := "train/05/00005.json"
	if _, err := sources[name].Range(t.Context(), 0, int64(len(files[name]))); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}

	r := newRegistry(t, true)
	target := r.open(t)
	p = fetch(t, target, pack(t, target, map[string]string{"w": "weights"}, PackOptions{Tag: "v1"}))
	if sources, err = p.Sources(target); err != nil {
		t.Fatal(err)
	}
	r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, digest.FromString("weights").String()) {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if _, err := sources["w"].Range(t.Context(), 1, 3); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
