package oci

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

func TestFetchPackageRefuses(t *testing.T) {
	two := func(a, b string) func(*ocispec.Manifest) {
		return func(im *ocispec.Manifest) { im.Layers = []ocispec.Descriptor{fileLayer(a, "1"), fileLayer(b, "2")} }
	}
	one := func(name string) func(*ocispec.Manifest) {
		return func(im *ocispec.Manifest) { im.Layers = []ocispec.Descriptor{fileLayer(name, "1")} }
	}
	layer := func(edit func(*ocispec.Descriptor)) func(*ocispec.Manifest) {
		return func(im *ocispec.Manifest) { edit(&im.Layers[0]) }
	}
	tests := map[string]func(*ocispec.Manifest){
		"artifact type":        func(im *ocispec.Manifest) { im.ArtifactType = "application/spdx+json" },
		"no artifact type":     func(im *ocispec.Manifest) { im.ArtifactType = "" },
		"config type":          func(im *ocispec.Manifest) { im.Config.MediaType = ocispec.MediaTypeImageConfig },
		"config digest":        func(im *ocispec.Manifest) { im.Config.Digest = "sha256:1" },
		"says it is an index":  func(im *ocispec.Manifest) { im.MediaType = ocispec.MediaTypeImageIndex },
		"schema version":       func(im *ocispec.Manifest) { im.SchemaVersion = 1 },
		"a referrer":           func(im *ocispec.Manifest) { im.Subject = &im.Config },
		"no layers":            func(im *ocispec.Manifest) { im.Layers = nil },
		"compressed raw layer": layer(func(d *ocispec.Descriptor) { d.MediaType = "application/vnd.cncf.model.weight.v1.raw+gzip" }),
		"unknown compression":  layer(func(d *ocispec.Descriptor) { d.MediaType = "application/vnd.cncf.model.weight.v1.tar+xz" }),
		"layer of another":     layer(func(d *ocispec.Descriptor) { d.MediaType = "application/vnd.kitops.modelkit.model.v1.raw" }),
		"unknown layer":        layer(func(d *ocispec.Descriptor) { d.MediaType = "application/vnd.cncf.model.other.v1.raw" }),
		"negative size":        layer(func(d *ocispec.Descriptor) { d.Size = -1 }),
		"sha512": layer(func(d *ocispec.Descriptor) {
			d.Digest = "sha512:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		}),
		"no digest":          layer(func(d *ocispec.Descriptor) { d.Digest = "" }),
		"no name":            layer(func(d *ocispec.Descriptor) { d.Annotations = nil }),
		"names disagree":     layer(func(d *ocispec.Descriptor) { d.Annotations[ocispec.AnnotationTitle] = "b.txt" }),
		"names of two times": layer(func(d *ocispec.Descriptor) { d.Annotations[annotationPathCNAI] = "b.txt" }),
		"empty name of old":  layer(func(d *ocispec.Descriptor) { d.Annotations = map[string]string{annotationPathCNAI: ""} }),
		"old parent":         layer(func(d *ocispec.Descriptor) { d.Annotations = map[string]string{annotationPathCNAI: "../x"} }),
		"empty title":        layer(func(d *ocispec.Descriptor) { d.Annotations[ocispec.AnnotationTitle] = "" }),
		"overflow": func(im *ocispec.Manifest) {
			two("a", "b")(im)
			im.Layers[0].Size, im.Layers[1].Size = 1<<62, 1<<62
		},
		"twice":           two("a.txt", "a.txt"),
		"file and folder": two("a", "a/b"),
		"parent":          one("../x"),
		"inner parent":    one("a/../../x"),
		"absolute":        one("/etc/x"),
		"backslash":       one(`a\..\..\b`),
		"NUL":             one("a\x00b"),
		"newline":         one("a\nb"),
		"dot":             one("."),
		"trailing slash":  one("a/"),
		"very long":       one(strings.Repeat("a", manifest.MaxNameLength+1)),
		"bidi":            one("a\u202egpj.exe"),
	}
	l := newLayout(t)
	for name, edit := range tests {
		desc := push(t, l, ocispec.MediaTypeImageManifest, marshal(t, hostile(edit)))
		if p, err := FetchPackage(t.Context(), l, desc); !errors.Is(err, ErrNotPackage) || p != nil {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	desc := push(t, l, ocispec.MediaTypeImageManifest, marshal(t, hostile(func(*ocispec.Manifest) {})))
	if _, err := FetchPackage(t.Context(), l, desc); err != nil {
		t.Errorf("the manifest that the others are made of: %v", err)
	}
	for _, only := range nameAnnotations { // one of the names is enough
		desc := push(t, l, ocispec.MediaTypeImageManifest, marshal(t, hostile(layer(func(d *ocispec.Descriptor) { d.Annotations = map[string]string{only: "a.txt"} }))))
		if p, err := FetchPackage(t.Context(), l, desc); err != nil || p.Tree.Files[0].Path != "a.txt" {
			t.Errorf("with %s only: %v", only, err)
		}
	}
}

// Texts that two readers could take for two manifests.
func TestAmbiguousImageManifests(t *testing.T) {
	good := string(marshal(t, hostile(func(*ocispec.Manifest) {})))
	if _, err := parsePackage([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty":               "",
		"two values":          good + "{}",
		"layers twice":        strings.Replace(good, `"layers":`, `"layers":[],"layers":`, 1),
		"Layers":              strings.Replace(good, `"layers":`, `"Layers":`, 1),
		"Digest in a layer":   strings.Replace(good, `"mediaType":"application/vnd.cncf.model.doc.v1.raw","digest"`, `"mediaType":"application/vnd.cncf.model.doc.v1.raw","Digest"`, 1),
		"index and manifest":  strings.Replace(good, `"layers":`, `"manifests":[],"layers":`, 1),
		"null layers":         strings.Replace(good, `"layers":[`, `"layers":null,"x":[`, 1),
		"a layer is a number": strings.Replace(good, `"layers":[`, `"layers":[7,`, 1),
		"not UTF-8":           strings.Replace(good, "a.txt", "a\xff.txt", 2),
		"an array":            "[" + good + "]",
		"null":                "null",
		"too large":           good + strings.Repeat(" ", MaxManifestBytes),
	} {
		if data == good {
			t.Fatalf("%s: the replacement did nothing", name)
		}
		if p, err := parsePackage([]byte(data)); !errors.Is(err, ErrNotPackage) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestFetchPackageChecksTheDescriptor(t *testing.T) {
	l := newLayout(t)
	desc := pack(t, l, sampleTree, PackOptions{Tag: "v1"})
	index := push(t, l, ocispec.MediaTypeImageIndex, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	huge, short, retyped := desc, desc, desc
	huge.Size = MaxManifestBytes + 1
	short.Size--
	retyped.MediaType = ocispec.MediaTypeImageIndex
	for name, tt := range map[string]struct {
		desc ocispec.Descriptor
		want error
	}{
		"an index": {index, ErrNotPackage}, "as an index": {retyped, ErrNotPackage}, "huge": {huge, ErrLimit},
		"other size": {short, ErrContent}, "missing": {describeBytes(ocispec.MediaTypeImageManifest, []byte("x")), ErrNotFound},
		"no digest": {ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest}, ErrContent},
	} {
		if _, err := FetchPackage(t.Context(), l, tt.desc); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	damage(t, l, desc.Digest, strings.Repeat(" ", int(desc.Size)))
	if _, err := FetchPackage(t.Context(), l, desc); !errors.Is(err, ErrContent) {
		t.Errorf("damaged: %v", err)
	}
}

// A registry that answers with other bytes, another type or another length is found out, and the
// failure is a denial, not an outage.
func TestRegistryAnswersWithOtherBytes(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	desc := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
	good, err := fetchBytes(t.Context(), target, desc, MaxManifestBytes)
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(" "), good[:len(good)-1]...)
	for name, send := range map[string]func(http.ResponseWriter){
		"other bytes": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", desc.MediaType)
			_, _ = w.Write(other)
		},
		"other type": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			_, _ = w.Write(good)
		},
		"other length": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", desc.MediaType)
			_, _ = w.Write(good[1:])
		},
		"other digest in the header": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", desc.MediaType)
			w.Header().Set("Docker-Content-Digest", someDigest)
			_, _ = w.Write(good)
		},
		"chunked and longer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", desc.MediaType)
			_, _ = w.Write(good)
			w.(http.Flusher).Flush()
			_, _ = w.Write(good)
		},
	} {
		r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method != http.MethodGet {
				return false
			}
			send(w)
			return true
		})
		if _, err := FetchPackage(t.Context(), target, desc); !errors.Is(err, ErrContent) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A response that breaks off is an outage.
	r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
		w.Header().Set("Content-Type", desc.MediaType)
		w.Header().Set("Content-Length", fmt.Sprint(len(good)))
		_, _ = w.Write(good[:10])
		return true
	})
	if _, err := FetchPackage(t.Context(), target, desc); !errors.Is(err, ErrUnavailable) {
		t.Errorf("broken off: %v", err)
	}
}

func TestVerifyContent(t *testing.T) {
	l := newLayout(t)
	p := fetch(t, l, pack(t, l, sampleTree, PackOptions{Tag: "v1"}))
	if r, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	digests := map[string]manifest.File{}
	for _, f := range p.Tree.Files {
		digests[f.Path] = f
	}
	if err := os.Remove(blobFile(t, l, digests["README.md"].Digest)); err != nil {
		t.Fatal(err)
	}
	damage(t, l, digests["config.json"].Digest, strings.Repeat("x", int(digests["config.json"].Size)))
	damage(t, l, digests["src/run.py"].Digest, "p")
	damage(t, l, p.Manifest.Config.Digest, strings.Repeat("x", int(p.Manifest.Config.Size)))
	r, err := VerifyContent(t.Context(), l, p, ContentOptions{Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Missing) != 1 || r.Missing[0].Path != "README.md" || r.Missing[0].Digest != digests["README.md"].Digest ||
		len(r.WrongSize) != 1 || r.WrongSize[0].Path != "src/run.py" ||
		len(r.Altered) != 2 || r.Altered[0].Path != "" || r.Altered[1].Path != "config.json" {
		t.Errorf("%+v", r)
	}
	if err := r.Err(); !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), "README.md") || !strings.Contains(err.Error(), "3 more") {
		t.Errorf("%v", err)
	}
}

func TestVerifyContentInARegistry(t *testing.T) {
	r := newRegistry(t, true)
	target := r.open(t)
	p := fetch(t, target, pack(t, target, sampleTree, PackOptions{Tag: "v1"}))
	if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || r.Err() != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	layer := p.Manifest.Layers[len(p.Manifest.Layers)-1]
	answer := func(status int, body string) {
		r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, layer.Digest.String()) {
				return false
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		})
	}
	answer(200, strings.Repeat("x", int(layer.Size)))
	if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || len(r.Altered) != 1 || r.Altered[0].Path != "data/train.jsonl" {
		t.Errorf("altered: %+v, %v", r, err)
	}
	answer(200, "x")
	if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || !errors.Is(r.Err(), ErrContent) {
		t.Errorf("truncated: %+v, %v", r, err)
	}
	answer(404, "")
	if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || len(r.Missing) != 1 {
		t.Errorf("missing: %+v, %v", r, err)
	}
	answer(403, "")
	if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); !errors.Is(err, ErrUnavailable) || r != nil {
		t.Errorf("refused: %+v, %v", r, err)
	}
}

func FuzzParsePackage(f *testing.F) {
	im := hostile(func(im *ocispec.Manifest) { im.Layers = append(im.Layers, fileLayer("b/c.txt", "2")) })
	f.Add(marshal(&testing.T{}, im))
	f.Add([]byte(`{"schemaVersion":2,"layers":[{}]}`))
	for _, format := range formats {
		im.Config.MediaType, im.ArtifactType = format.configs[0], format.artifactTypes[len(format.artifactTypes)-1]
		for _, mediaType := range []string{"vnd.cncf.model.doc.v1.tar+zstd", "vnd.cnai.model.doc.v1.raw", "vnd.kitops.modelkit.docs.v1.raw", "vnd.kitops.modelkit.model.v1.tar+gzip", "vnd.docker.ai.license", "vnd.docker.ai.model.file", "vnd.docker.ai.dir.tar"} {
			im.Layers[0].MediaType = "application/" + mediaType
			f.Add(marshal(&testing.T{}, im))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePackage(data)
		if err != nil {
			if !errors.Is(err, ErrNotPackage) {
				t.Fatalf("%v has no class", err)
			}
			return
		}
		if len(p.Unread()) > 0 {
			if p.Tree != nil {
				t.Fatal("a tree of files that nobody has read")
			}
			return
		}
		if len(p.Tree.Files)+len(p.LeftOut) != len(p.Manifest.Layers) {
			t.Fatalf("%d files of %d layers", len(p.Tree.Files), len(p.Manifest.Layers))
		}
		for _, file := range p.Tree.Files {
			if manifest.CheckName(file.Path) != nil || file.Size < 0 || file.Digest.Validate() != nil {
				t.Fatalf("%+v", file)
			}
		}
	})
}
