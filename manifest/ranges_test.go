package manifest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestBuildRanges: the shards of ranges are those that Build gives, also where a file is cut into several pieces.
func TestBuildRanges(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": strings.Repeat("a", rangeAtOnce+12345), "b": "bee", "empty": ""})
	const size = 1 << 20
	opts := Options{Serialization: Serialization{ShardSize: size}}
	whole := build(t, rootFS(t, dir), opts)
	var total, read int64
	opts.Total = func(n int64) { total = n }
	opts.Progress, opts.Concurrency = func(n int) { read += int64(n) }, 1
	got, err := BuildRanges(context.Background(), rootFS(t, dir), opts, func(files []File) ([]Range, error) {
		if len(files) != 3 || files[0] != (File{Path: "a", Size: rangeAtOnce + 12345}) {
			t.Errorf("told of %v", files)
		}
		return []Range{{"a", size, files[0].Size}, {"b", 0, 3}, {"empty", 0, 0}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := whole.Resources()[1:]; !slices.Equal(got.Resources, want) || got.Files != nil {
		t.Errorf("got %v, want %v", got.Resources, want)
	}
	if want := int64(rangeAtOnce + 12345 - size + 3); total != want || read != want {
		t.Errorf("told of %d bytes, read %d, want %d", total, read, want)
	}
	files, err := BuildRanges(context.Background(), rootFS(t, dir), Options{}, func([]File) ([]Range, error) { return []Range{{"b", 0, 0}, {"empty", 0, 0}}, nil })
	if err != nil || !slices.Equal(files.Files, whole.Files[1:]) {
		t.Errorf("got %v, %v", files, err)
	}
}

// TestBuildRangesRemembers: parts fill the cache as a whole does.
func TestBuildRangesRemembers(t *testing.T) {
	fsys, d := fstest.MapFS{"a": {Data: []byte("x")}, "b": {Data: []byte("y")}}, &fakeDigests{}
	_, err := BuildRanges(context.Background(), fsys, Options{Digests: d}, func([]File) ([]Range, error) { return []Range{{"b", 0, 0}}, nil })
	if err != nil || d.done != 1 || !slices.Equal(d.remembered, []string{"b"}) {
		t.Errorf("%v, done %d times, remembered %v", err, d.done, d.remembered)
	}
}

func TestBuildRangesRefuses(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: make([]byte, 25)}}
	refusal := errors.New("no")
	for name, tc := range map[string]struct {
		shard int64
		r     Range
	}{
		"no such file": {10, Range{"b", 0, 10}}, "without shards": {0, Range{"a", 0, 10}}, "start": {10, Range{"a", 5, 10}}, "end": {10, Range{"a", 0, 15}},
		"behind": {10, Range{"a", 0, 30}}, "before": {10, Range{"a", -10, 10}}, "backwards": {10, Range{"a", 20, 10}},
	} {
		_, err := BuildRanges(context.Background(), fsys, Options{Serialization: Serialization{ShardSize: tc.shard}}, func([]File) ([]Range, error) { return []Range{tc.r}, nil })
		if err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if _, err := BuildRanges(context.Background(), fsys, Options{}, func([]File) ([]Range, error) { return nil, refusal }); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
	if _, err := BuildRanges(context.Background(), fsys, Options{Serialization: Serialization{Hash: "md5"}}, nil); !errors.Is(err, ErrSerialization) {
		t.Errorf("%v", err)
	}
}

// TestBuildRangesOfWhatChanges writes to a file between the walk and the reading, also where it is not read.
func TestBuildRangesOfWhatChanges(t *testing.T) {
	for name, data := range map[string]string{"the same size": strings.Repeat("b", 30), "longer": strings.Repeat("a", 31), "shorter": strings.Repeat("a", 5)} {
		for _, r := range []Range{{"a", 0, 10}, {"a", 20, 30}} {
			dir := t.TempDir()
			write(t, dir, map[string]string{"a": strings.Repeat("a", 30)})
			path := filepath.Join(dir, "a")
			if err := os.Chtimes(path, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			_, err := BuildRanges(context.Background(), rootFS(t, dir), Options{Serialization: Serialization{ShardSize: 10}}, func([]File) ([]Range, error) {
				return []Range{r}, os.WriteFile(path, []byte(data), 0o644)
			})
			if !errors.Is(err, ErrChanged) {
				t.Errorf("%s, %v: %v", name, r, err)
			}
			written := false
			_, err = BuildRanges(context.Background(), rootFS(t, dir), Options{Serialization: Serialization{ShardSize: 10}, Progress: func(int) {
				if !written {
					written = true
					_ = os.WriteFile(path, bytes.ToUpper([]byte(data)), 0o644)
				}
			}}, func(files []File) ([]Range, error) { return []Range{{"a", 0, min(10, files[0].Size)}}, nil })
			if !errors.Is(err, ErrChanged) {
				t.Errorf("while it is read, %s, %v: %v", name, r, err)
			}
		}
	}
}

// TestAssemble makes of what Build found the same manifest, and refuses what no tree gives.
func TestAssemble(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: []byte("twelve bytes")}, "b": {Data: []byte("bee")}, "empty": {}}
	for _, s := range []Serialization{{}, {Hash: BLAKE3}, {ShardSize: 5}, {ShardSize: 5, Hash: BLAKE2b}, {ShardSize: 100}} {
		m := build(t, fsys, Options{Serialization: s})
		var resources []Resource
		if !s.NamesFiles() {
			resources = m.Resources()
		}
		files := slices.Clone(m.Files)
		slices.Reverse(files)
		got, err := Assemble(s, files, resources)
		if err != nil || got.OMSRoot() != m.OMSRoot() || got.DirHash() != m.DirHash() {
			t.Errorf("%v: %v, %v", s, got, err)
		}
		if s.ShardSize == 0 {
			continue
		}
		for i := range files {
			files[i].Digest = ""
		}
		got, err = Assemble(s, files, resources)
		if err != nil || got.OMSRoot() != m.OMSRoot() {
			t.Fatalf("%v: %v, %v", s, got, err)
		}
		want := ""
		if s.ShardSize == 100 {
			want = m.DirHash()
		}
		if got.DirHash() != want || got.HasDirHash() != (want != "") {
			t.Errorf("%v: dirHash %q, want %q", s, got.DirHash(), want)
		}
	}
	sum := digest.FromString("bee")
	file := File{Path: "b", Size: 3, Digest: sum}
	blake := build(t, fsys, Options{Serialization: Serialization{Hash: BLAKE3}}).Resources()[1]
	five := Serialization{ShardSize: 2}
	shard := func(start, end int64) Resource { return Resource{"b", start, end, sum} }
	for name, tc := range map[string]struct {
		s         Serialization
		files     []File
		resources []Resource
	}{
		"hash":               {Serialization{Hash: "md5"}, []File{file}, nil},
		"twice":              {Serialization{}, []File{file, file}, nil},
		"no digest":          {Serialization{}, []File{{Path: "b", Size: 3}}, nil},
		"name":               {Serialization{}, []File{{Path: "../b", Digest: sum}}, nil},
		"size":               {Serialization{}, []File{{Path: "b", Size: -1, Digest: sum}}, nil},
		"beside":             {Serialization{}, []File{file}, []Resource{{"b", 0, 0, sum}}},
		"algorithm":          {Serialization{Hash: BLAKE3}, []File{file}, []Resource{{"b", 0, 0, sum}}},
		"none":               {Serialization{Hash: BLAKE3}, []File{file}, nil},
		"no file":            {Serialization{Hash: BLAKE3}, nil, []Resource{blake}},
		"a shard of a whole": {Serialization{Hash: BLAKE3}, []File{file}, []Resource{{"b", 0, 3, blake.Digest}}},
		"end missing":        {five, []File{file}, []Resource{shard(0, 2)}},
		"begin missing":      {five, []File{file}, []Resource{shard(2, 3)}},
		"too long":           {five, []File{file}, []Resource{shard(0, 2), shard(2, 4)}},
		"overlap":            {five, []File{file}, []Resource{shard(0, 2), shard(1, 3)}},
		"no such file":       {five, []File{{Path: "a"}}, []Resource{shard(0, 2)}},
		"no shards":          {five, []File{file}, nil},
		"another digest":     {Serialization{ShardSize: 3}, []File{{Path: "b", Size: 3, Digest: digest.FromString("x")}}, []Resource{shard(0, 3)}},
		"upper case":         {Serialization{ShardSize: 3}, []File{file}, []Resource{{"b", 0, 3, digest.Digest("sha256:" + strings.ToUpper(sum.Encoded()))}}},
	} {
		if _, err := Assemble(tc.s, tc.files, tc.resources); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}
