package oci

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/mlseal/mlseal/manifest"
)

// far is a tree whose files cannot be looked into: it counts how often each is read, and one of them may be cut off.
type far struct {
	fstest.MapFS
	mu    sync.Mutex
	reads map[string]int
	cut   string
}

func (f *far) Open(name string) (fs.File, error) {
	file, err := f.MapFS.Open(name)
	if info, statErr := f.MapFS.Stat(name); err != nil || statErr != nil || info.IsDir() {
		return file, err
	}
	return &farFile{File: file, fs: f, name: name}, nil
}

type farFile struct {
	fs.File
	fs   *far
	name string
	open bool
}

var errCut = errors.New("the connection ended")

func (f *farFile) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	if !f.open {
		f.fs.reads[f.name]++
	}
	f.open = true
	f.fs.mu.Unlock()
	n, err := f.File.Read(p[:min(len(p), 10)])
	if err == io.EOF && f.name == f.fs.cut {
		err = errCut
	}
	return n, err
}

// TestReadOnce packs files that are far away: each is read once, the package is the one that they always give.
func TestReadOnce(t *testing.T) {
	files := map[string]string{"big.safetensors": tensorHeader + strings.Repeat("x", 3<<20), "config.json": "not a header", "sub/config.json": `{"model_type":"llama"}`,
		"other.gguf": "GGU", "empty.onnx": ""}
	for name, data := range sampleTree {
		files["sample/"+name] = data
	}
	sizes := map[string]string{}
	for name, data := range files {
		sizes[name] = strings.Repeat("-", len(data))
	}
	opts := PackOptions{Tag: "v1", ReadOnce: true}
	want := pack(t, newLayout(t), files, PackOptions{})
	once := func(t *testing.T, f *far, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for name := range files {
			if f.reads[name] != 1 {
				t.Errorf("%s was read %d times", name, f.reads[name])
			}
		}
	}
	onEveryTarget(t, func(t *testing.T, target Target) {
		pack(t, target, sizes, PackOptions{}) // blobs of the same sizes
		for range 2 {                         // and the same blobs
			f := &far{MapFS: mapFS(files), reads: map[string]int{}}
			packed, err := Pack(t.Context(), target, f, opts)
			once(t, f, err)
			if packed.Descriptor.Digest != want.Digest {
				t.Error("another package than of files at hand")
			}
			if r, err := VerifyContent(t.Context(), target, fetch(t, target, packed.Descriptor), ContentOptions{}); err != nil || r.Err() != nil {
				t.Error(err, r.Err())
			}
		}
	})
	t.Run("nowhere", func(t *testing.T) {
		f := &far{MapFS: mapFS(files), reads: map[string]int{}}
		v, err := NewVirtual(t.Context(), f, opts)
		once(t, f, err)
		if v.Packed().Descriptor.Digest != want.Digest {
			t.Error("another package than of files at hand")
		}
	})
	t.Run("cut off", func(t *testing.T) {
		for name := range files {
			l := newLayout(t)
			f := &far{MapFS: mapFS(files), reads: map[string]int{}, cut: name}
			if _, err := Pack(t.Context(), l, f, PackOptions{Tag: "v1", ReadOnce: true, Build: manifest.Options{Concurrency: 1}}); !errors.Is(err, errCut) {
				t.Errorf("%s: %v", name, err)
			}
			for left := range tree(t, l.dir) {
				if strings.HasPrefix(left, "blobs/") {
					t.Errorf("%s: left behind: %s", name, left)
				}
			}
		}
	})
}
