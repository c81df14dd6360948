package oci

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// swapping is a layout in which something happens to a blob when its first bytes are read.
type swapping struct {
	*Layout
	swap func(name string) error
}

func (s swapping) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	rc, err := s.Layout.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	name, err := s.blobPath(desc.Digest)
	return &swapper{rc, func() error { return s.swap(name) }}, err
}

type swapper struct {
	io.ReadCloser
	swap func() error
}

func (s *swapper) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p[:min(len(p), 1<<16)])
	if s.swap != nil {
		if err := s.swap(); err != nil {
			return n, err
		}
		s.swap = nil
	}
	return n, err
}

// What was verified a moment ago proves nothing: a pull hashes the bytes that it writes (adversarial case 59).
func TestSwappedBlobs(t *testing.T) {
	good, evil := strings.Repeat("good", 1<<16), strings.Repeat("evil", 1<<16)
	inPlace := func(name string) error {
		if err := os.Chmod(name, 0o644); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		_, err = f.WriteString(evil)
		return err
	}
	byName := func(name string) error {
		if err := os.WriteFile(name+".new", []byte(evil), 0o644); err != nil {
			return err
		}
		return os.Rename(name+".new", name)
	}
	for name, tt := range map[string]struct {
		before, during func(string) error
		want           string
	}{
		"in place, after it was verified":  {before: inPlace},
		"by name, after it was verified":   {before: byName},
		"in place, while it is read":       {during: inPlace},
		"by name, while it is read":        {during: byName, want: good}, // the open file is the verified one
		"nothing":                          {want: good},
		"both, and the second is too late": {before: byName, during: byName},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			p := fetch(t, l, pack(t, l, map[string]string{"model.bin": good}, PackOptions{Tag: "v1"}))
			if r, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || r.Err() != nil {
				t.Fatalf("%v, %v", err, r.Err())
			}
			if tt.before != nil {
				if err := tt.before(blobFile(t, l, p.Tree.Files[0].Digest)); err != nil {
					t.Fatal(err)
				}
			}
			during := tt.during
			if during == nil {
				during = func(string) error { return nil }
			}
			dest := filepath.Join(t.TempDir(), "out")
			err := Pull(t.Context(), swapping{l, during}, p, dest, PullOptions{})
			if got := tree(t, dest)["model.bin"]; got != tt.want {
				t.Errorf("model.bin has %d bytes, %.8q", len(got), got)
			}
			if (tt.want == "") != errors.Is(err, ErrContent) {
				t.Errorf("%v", err)
			}
		})
	}
}
