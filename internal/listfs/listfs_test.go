package listfs

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

type opened struct {
	*strings.Reader
	Info
}

func (o opened) Stat() (fs.FileInfo, error) { return o.Info, nil }
func (opened) Close() error                 { return nil }
func (o opened) Size() int64                { return o.Bytes }

// listed is a file system in which each file holds its own path.
func listed(paths ...string) FS[string] {
	info := func(p string) Info { return Info{Path: p, Bytes: int64(len(p))} }
	return FS[string]{Files: paths, Info: info, OpenAs: func(p string) (fs.File, error) { return opened{strings.NewReader(p), info(p)}, nil }}
}

// TestFS: names that sort apart from what is below them are one directory each.
func TestFS(t *testing.T) {
	paths := []string{"a-b", "a.d/x", "a/b/c", "a/b/d", "a0", "z"}
	l := listed(paths...)
	if err := fstest.TestFS(l, paths...); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(listed()); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "a/b/c/d": fs.ErrNotExist, "../a": fs.ErrInvalid, "a/b/": fs.ErrInvalid} {
		if _, err := l.Open(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := l.Stat(name); !errors.Is(err, want) {
			t.Errorf("stat %s: %v, want %v", name, err, want)
		}
	}
}
