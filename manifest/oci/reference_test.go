package oci

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const someDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

func TestParseReference(t *testing.T) {
	tests := map[string]Reference{
		"oci:store":                  {Layout: "store"},
		"oci:./a/b:v1":               {Layout: "./a/b", Tag: "v1"},
		"oci:/abs/store:v1.0-rc_1":   {Layout: "/abs/store", Tag: "v1.0-rc_1"},
		"oci:a:b:c":                  {Layout: "a:b", Tag: "c"},
		"oci:a:b/c":                  {Layout: "a:b/c"},
		"oci:a:b/":                   {Layout: "a:b/"},
		`oci:C:\models`:              {Layout: `C:\models`},
		"oci:store@" + someDigest:    {Layout: "store", Digest: someDigest},
		"oci:store:v1@" + someDigest: {Layout: "store", Tag: "v1", Digest: someDigest},
		"oci:user@host/store:v1":     {Layout: "user@host/store", Tag: "v1"},
		"oci:user@host:v1":           {Layout: "user@host", Tag: "v1"},
		"oci-archive:file.tar":       {Archive: "file.tar"},
		"oci-archive:a:b/file.tar:v1@" + someDigest: {Archive: "a:b/file.tar", Tag: "v1", Digest: someDigest},
		"registry.example/team/model":               {Repository: "registry.example/team/model"},
		"registry.example/model:v1":                 {Repository: "registry.example/model", Tag: "v1"},
		"localhost/model:v1":                        {Repository: "localhost/model", Tag: "v1"},
		"localhost:5000/m:v1":                       {Repository: "localhost:5000/m", Tag: "v1"},
		"host:5000/m@" + someDigest:                 {Repository: "host:5000/m", Digest: someDigest},
		"127.0.0.1:5000/m:v1@" + someDigest:         {Repository: "127.0.0.1:5000/m", Tag: "v1", Digest: someDigest},
		"[::1]:5000/m:v1":                           {Repository: "[::1]:5000/m", Tag: "v1"},
		"registry.example:8443/a/b.c/d__e-f:latest": {Repository: "registry.example:8443/a/b.c/d__e-f", Tag: "latest"},
	}
	for s, want := range tests {
		got, err := ParseReference(s)
		if err != nil || got != want {
			t.Errorf("ParseReference(%q) = %+v, %v, want %+v", s, got, err, want)
		}
		if got.String() != s {
			t.Errorf("String of %q is %q", s, got)
		}
		if !IsReference(s) {
			t.Errorf("IsReference(%q) is false", s)
		}
	}
	if s := (Reference{Layout: "a:b"}).String(); parse(t, s).Tag != "" {
		t.Errorf("%q: the directory's end became a tag", s)
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	tests := map[string]string{
		"":                    "no registry",
		"model":               "no registry",
		"team/model":          "no registry",
		"team/model:v1":       "no registry in front",
		"oci:":                "names no directory",
		"oci::v1":             "names no directory",
		"oci:store:":          "not a tag",
		"oci:store:-x":        "not a tag",
		"oci:s\x00":           "control characters",
		"oci:s\nFAKE":         "control characters",
		"oci:s\xff":           "control characters",
		"oci:store@sha256:12": "not a sha256 digest",
		"oci:store@sha256:" + strings.Repeat("G", 64):    "not a sha256 digest",
		"oci:store@sha512:" + strings.Repeat("a", 128):   "not a sha256 digest",
		"registry.example/m@md5:12":                      "not a sha256 digest",
		"registry.example/Model":                         "invalid",
		"registry.example/../x":                          "invalid",
		"registry.example/":                              "invalid",
		"registry.example/m:":                            "not a tag",
		"registry.example/m:a:b":                         "not a tag",
		"registry.example/m:" + strings.Repeat("x", 129): "not a tag",
		"host:port/m":                                    "no registry",
		"oci-archive:":                                   "names no directory",
		"oci-archive:f.tar:":                             "not a tag",
		"oci-archive:f.tar@sha256:12":                    "not a sha256 digest",
		"hf://org/repo@main":                             "not supported by this version",
		strings.Repeat("a/", 10000):                      "20000 bytes",
	}
	for s, want := range tests {
		got, err := ParseReference(s)
		if !errors.Is(err, ErrReference) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hint") || strings.ContainsAny(err.Error(), "\n\r") || got != (Reference{}) {
			t.Errorf("ParseReference(%.60q) = %+v, %v, want %q", s, got, err, want)
		}
	}
}

func TestIsReference(t *testing.T) {
	for _, s := range []string{"model", "model.gguf", "./model", "../a.b/c", "/a/b", "team/model", ".hidden/x", `C:\x`, "C:/x", "a:b/c", "", "/", "registry.example/"} {
		if IsReference(s) {
			t.Errorf("IsReference(%q) is true", s)
		}
	}
	for _, s := range []string{"oci-archive:x.tar", "hf://a/b"} {
		if !IsReference(s) {
			t.Errorf("IsReference(%q) is false: ParseReference could not explain it", s)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"oci-archive:a.tar:b", "oci:a:b", "oci:a@" + someDigest, "h.x/a:b@" + someDigest, "[::1]:1/a", "oci:user@host:x/", "a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			if !errors.Is(err, ErrReference) || ref != (Reference{}) {
				t.Fatalf("%q: %+v, %v", s, ref, err)
			}
			return
		}
		if named := len(slices.DeleteFunc([]string{ref.Layout, ref.Archive, ref.Repository}, func(s string) bool { return s == "" })); named != 1 {
			t.Fatalf("%q: %+v names %d places", s, ref, named)
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q: %+v, again %+v, %v", s, ref, again, err)
		}
		if !IsReference(s) {
			t.Fatalf("%q is read, but is no reference", s)
		}
	})
}
