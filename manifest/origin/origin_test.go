package origin

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"github.com/mlseal/mlseal/internal/hubtest"
)

func TestReader(t *testing.T) {
	for _, text := range []string{hubtest.SHA256("weights"), hubtest.GitOID("weights")} {
		oid, ok := ParseOID(text)
		if !ok {
			t.Fatal(text)
		}
		for data, want := range map[string]error{"weights": nil, "wEights": ErrMismatch, "weight": ErrMismatch, "weightsx": ErrMismatch, "": ErrMismatch} {
			for _, r := range []io.Reader{strings.NewReader(data), iotest.OneByteReader(strings.NewReader(data)), iotest.DataErrReader(strings.NewReader(data))} {
				got, err := io.ReadAll(oid.Reader(r, 7))
				if !errors.Is(err, want) || len(got) > 7 {
					t.Errorf("%s: %q: %q, %v", oid.Algorithm(), data, got, err)
				}
			}
		}
	}
	// git's name of the empty blob, as `git hash-object` writes it.
	oid, _ := ParseOID("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
	if _, err := io.ReadAll(oid.Reader(strings.NewReader(""), 0)); err != nil {
		t.Error(err)
	}
}

func TestParseOID(t *testing.T) {
	for _, text := range []string{"", "abc", strings.Repeat("A", 64), strings.Repeat("g", 40), strings.Repeat("a", 41)} {
		if _, ok := ParseOID(text); ok {
			t.Errorf("%q is no digest", text)
		}
	}
}

const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestPointers(t *testing.T) {
	inner := fstest.MapFS{
		"a.bin": {Data: []byte(pointer)}, "short": {Data: []byte("version")}, "empty": {},
		"text.md": {Data: []byte("version https://git-lfs.github.com/spec/v1 is a format\n")}, "large": {Data: []byte(pointer + strings.Repeat("x", 2000))},
	}
	var names []string
	fsys := Pointers(inner, func(name string) error { names = append(names, name); return ErrPointer })
	for name := range inner {
		data, err := fs.ReadFile(fsys, name)
		if name == "a.bin" {
			if !errors.Is(err, ErrPointer) {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || string(data) != string(inner[name].Data) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if len(names) != 1 {
		t.Error(names)
	}
}
