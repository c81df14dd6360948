package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/registrytest"
	"github.com/mlseal/mlseal/manifest"
)

// entry is an entry of an archive; a name that ends in "/" is a directory.
type layerEntry struct {
	name, data string
	head       func(*tar.Header)
}

func archiveOf(t *testing.T, entries ...layerEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.data))}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if e.head != nil {
			e.head(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 && h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(e.data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

// layerOfBytes pushes a layer; path is its annotation.
func layerOfBytes(t *testing.T, l Target, mediaType, path string, data []byte) ocispec.Descriptor {
	t.Helper()
	desc := push(t, l, mediaType, data)
	desc.MediaType = mediaType
	if path != "" {
		desc.Annotations = map[string]string{AnnotationPath: path}
	}
	return desc
}

// imageOf pushes an image manifest, and an empty config of that media type.
func imageOf(t *testing.T, l Target, artifactType, config string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	return imageWith(t, l, artifactType, push(t, l, config, []byte(`{}`)), layers...)
}

// imageWith pushes an image manifest.
func imageWith(t *testing.T, l Target, artifactType string, config ocispec.Descriptor, layers ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	return push(t, l, ocispec.MediaTypeImageManifest, marshal(t, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: config, Layers: layers,
	}))
}

const (
	kitConfig    = "application/vnd.kitops.modelkit.config.v1+json"
	kitManifest  = "application/vnd.kitops.modelkit.manifest.v1+json"
	kitLayer     = "application/vnd.kitops.modelkit."
	dockerConfig = "application/vnd.docker.ai.model.config.v0.1+json"
	dockerLayer  = "application/vnd.docker.ai."

	layerPrefixCNAI = "application/vnd.cnai.model."
)

// TestForeign reads, pulls and repairs packages in the forms of other tools.
func TestForeign(t *testing.T) {
	weights, config := "weights of a model", `{"model_type":"llama"}`
	for name, tc := range map[string]struct {
		format string
		kind   string
		image  func(t *testing.T, l Target) ocispec.Descriptor
		want   map[string]string
	}{
		"modctl tar": {FormatModelPack, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, ArtifactType, MediaTypeConfig,
				layerOfBytes(t, l, layerPrefix+"weight.v1.tar", "sub/model.safetensors", archiveOf(t, layerEntry{"sub/model.safetensors", weights, nil})),
				layerOfBytes(t, l, layerPrefix+"weight.config.v1.raw", "config.json", []byte(config)))
		}, map[string]string{"sub/model.safetensors": weights, "config.json": config}},
		"modctl before the CNCF": {FormatModelPack, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			raw := layerOfBytes(t, l, layerPrefixCNAI+"weight.config.v1.raw", "", []byte(config))
			raw.Annotations = map[string]string{annotationPathCNAI: "config.json"}
			return imageOf(t, l, artifactTypeCNAI, mediaTypeConfigCNAI, raw,
				layerOfBytes(t, l, layerPrefixCNAI+"weight.v1.tar", "", archiveOf(t, layerEntry{"sub/model.safetensors", weights, nil})),
				layerOfBytes(t, l, layerPrefix+"doc.v1.raw", "README.md", []byte("# x"))) // of the package that it was added to
		}, map[string]string{"sub/model.safetensors": weights, "config.json": config, "README.md": "# x"}},
		"ModelPack compressed": {FormatModelPack, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, ArtifactType, MediaTypeConfig,
				layerOfBytes(t, l, layerPrefix+"weight.v1.tar+gzip", "w", gzipped(t, archiveOf(t, layerEntry{"w", weights, nil}))),
				layerOfBytes(t, l, layerPrefix+"doc.v1.tar+zstd", "", zstdOf(t, archiveOf(t, layerEntry{"./", "", nil}, layerEntry{"./README.md", "# x", nil}))))
		}, map[string]string{"w": weights, "README.md": "# x"}},
		"ModelPack dataset": {FormatModelPack, TypeDataset, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, ArtifactType, MediaTypeConfig,
				layerOfBytes(t, l, layerPrefix+"dataset.v1.tar", "", archiveOf(t, layerEntry{"a.jsonl", "{}", nil}, layerEntry{"b/", "", nil}, layerEntry{"b/c.jsonl", "[]", nil})))
		}, map[string]string{"a.jsonl": "{}", "b/c.jsonl": "[]"}},
		"KitOps": {FormatKitOps, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, kitManifest, kitConfig,
				layerOfBytes(t, l, kitLayer+"model.v1.tar", "model", archiveOf(t, layerEntry{"model/", "", nil}, layerEntry{"model/w.bin", weights, nil}, layerEntry{"model/empty", "", nil})),
				layerOfBytes(t, l, kitLayer+"modelpart.v1.tar+gzip", "config.json", gzipped(t, archiveOf(t, layerEntry{"config.json", config, nil}))),
				layerOfBytes(t, l, kitLayer+"docs.v1.raw", "README.md", []byte("# x")),
				layerOfBytes(t, l, kitLayer+"code.v1.raw+gzip", "run.py", gzipped(t, []byte("print(1)"))),
				layerOfBytes(t, l, kitLayer+"dataset.v1.raw+zstd", "train.jsonl", zstdOf(t, []byte("{}"))))
		}, map[string]string{"model/w.bin": weights, "model/empty": "", "config.json": config, "README.md": "# x", "run.py": "print(1)", "train.jsonl": "{}"}},
		"KitOps of old": {FormatKitOps, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, "", kitConfig, layerOfBytes(t, l, kitLayer+"model.v1.tar+gzip", "", gzipped(t, archiveOf(t, layerEntry{"w.bin", weights, nil}))))
		}, map[string]string{"w.bin": weights}},
		"Docker": {FormatDocker, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, "", dockerConfig,
				layerOfBytes(t, l, dockerLayer+"gguf.v3", "", []byte("GGUF"+weights)), layerOfBytes(t, l, dockerLayer+"gguf.v3.mmproj", "", []byte("GGUF")),
				layerOfBytes(t, l, dockerLayer+"license", "", []byte("MIT")), layerOfBytes(t, l, dockerLayer+"license", "", []byte("BSD")),
				layerOfBytes(t, l, dockerLayer+"chat.template.jinja", "", []byte("{{ x }}")))
		}, map[string]string{"model.gguf": "GGUF" + weights, "model.mmproj": "GGUF", "LICENSE-1-of-2": "MIT", "LICENSE-2-of-2": "BSD", "template.jinja": "{{ x }}"}},
		"Docker safetensors": {FormatDocker, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, "", strings.Replace(dockerConfig, "0.1", "0.2", 1),
				layerOfBytes(t, l, dockerLayer+"safetensors", "", []byte("1")), layerOfBytes(t, l, dockerLayer+"safetensors", "", []byte("2")),
				layerOfBytes(t, l, dockerLayer+"vllm.config.tar", "", archiveOf(t, layerEntry{"config.json", config, nil})),
				layerOfBytes(t, l, dockerLayer+"dir.tar", "", archiveOf(t, layerEntry{"tok/", "", nil}, layerEntry{"tok/vocab.txt", "a", nil})))
		}, map[string]string{"model-00001-of-00002.safetensors": "1", "model-00002-of-00002.safetensors": "2", "config.json": config, "tok/vocab.txt": "a"}},
		"Docker directory": {FormatDocker, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, "", strings.Replace(dockerConfig, "0.1", "0.2", 1),
				layerOfBytes(t, l, dockerLayer+"model.file", "README.md", []byte("# x")),
				layerOfBytes(t, l, dockerLayer+"model.file", "tok/config.json", []byte(config)),
				layerOfBytes(t, l, dockerLayer+"safetensors", "text_encoder/model.safetensors", []byte(weights)))
		}, map[string]string{"README.md": "# x", "tok/config.json": config, "text_encoder/model.safetensors": weights}},
		"git's own files": {FormatModelPack, TypeModel, func(t *testing.T, l Target) ocispec.Descriptor {
			return imageOf(t, l, ArtifactType, MediaTypeConfig,
				layerOfBytes(t, l, layerPrefix+"weight.v1.tar", "", archiveOf(t, layerEntry{".gitattributes", "x", nil}, layerEntry{"w", weights, nil})))
		}, map[string]string{"w": weights}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			desc := tc.image(t, l)
			p, err := FetchPackage(t.Context(), l, desc)
			if err != nil {
				t.Fatal(err)
			}
			want, err := manifest.Build(t.Context(), mapFS(tc.want), manifest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if p.Format != tc.format || p.Type != tc.kind || p.Tree.DirHash() != want.DirHash() {
				t.Errorf("%s, %s, %v", p.Format, p.Type, p.Tree.Files)
			}
			opened, err := OpenPackage(t.Context(), l, desc)
			if err != nil {
				t.Fatal(err)
			}
			dest := filepath.Join(t.TempDir(), "out")
			pulled(t, l, opened, dest, tc.want)
			if opened.Tree.DirHash() != want.DirHash() {
				t.Error("the pull did not complete the package")
			}
			// A file of the same size with other bytes does not survive a second pull.
			for file, data := range tc.want {
				if data != "" {
					if err := os.WriteFile(filepath.Join(dest, file), []byte(strings.Repeat("!", len(data))), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			pulled(t, l, p, dest, tc.want)
			if report, err := VerifyContent(t.Context(), l, p, ContentOptions{}); err != nil || report.Err() != nil {
				t.Errorf("%v, %v", err, report.Err())
			}
			checkSources(t, l, p, tc.want)
			flipArchives(t, l, p, desc, tc.want)
		})
	}
}

// TestDockerFilesHaveNames refuses a generic file that does not say what it is called, and one that leaves the destination.
func TestDockerFilesHaveNames(t *testing.T) {
	for _, name := range []string{"", "../x", "/x", `a\b`} {
		l := newLayout(t)
		file := layerOfBytes(t, l, dockerLayer+"model.file", "", []byte("x"))
		file.Annotations = map[string]string{AnnotationPath: name}
		desc := imageOf(t, l, "", strings.Replace(dockerConfig, "0.1", "0.2", 1), file)
		if _, err := FetchPackage(t.Context(), l, desc); !errors.Is(err, ErrNotPackage) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// pulled pulls and wants exactly these files.
func pulled(t *testing.T, l Target, p *Package, dest string, want map[string]string) {
	t.Helper()
	if err := Pull(t.Context(), l, p, dest, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Build(t.Context(), os.DirFS(dest), manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	built, err := manifest.Build(t.Context(), mapFS(want), manifest.Options{})
	if err != nil || m.DirHash() != built.DirHash() {
		t.Errorf("other files: %v, %v", m.Files, err)
	}
}

// flipArchives changes a byte of each layer that must be read, at several places: nothing comes of it.
func flipArchives(t *testing.T, l *Layout, p *Package, desc ocispec.Descriptor, want map[string]string) {
	t.Helper()
	for i, layer := range p.Manifest.Layers {
		if !p.Layers[i].opaque() {
			continue
		}
		name, err := l.blobPath(layer.Digest)
		if err != nil {
			t.Fatal(err)
		}
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(name, 0o644)
		for _, at := range []int{0, len(good) / 3, len(good) / 2, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			for _, data := range [][]byte{bad, good[:at], append(bytes.Clone(good), 0)} {
				if err := os.WriteFile(name, data, 0o644); err != nil {
					t.Fatal(err)
				}
				opened, err := OpenPackage(t.Context(), l, desc)
				if err != nil {
					t.Fatal(err)
				}
				dest := t.TempDir()
				if err := Pull(t.Context(), l, opened, dest, PullOptions{}); !isAnyOf(err, ErrContent, ErrNotPackage) {
					t.Errorf("%s at %d: %v", layer.MediaType, at, err)
				}
				if left, _ := os.ReadDir(dest); len(left) != 0 {
					t.Errorf("%s at %d: %v was left", layer.MediaType, at, left)
				}
			}
		}
		if err := os.WriteFile(name, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func isAnyOf(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// TestHostileLayerArchives has what an archive must not hold: cases 45, 57, 58 and 60.
func TestHostileLayerArchives(t *testing.T) {
	of := func(flag byte, link string) func(*tar.Header) {
		return func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = flag, link, 0 }
	}
	raw := func(entries ...layerEntry) func(t *testing.T) []byte {
		return func(t *testing.T) []byte { return archiveOf(t, entries...) }
	}
	one := func(name string) func(t *testing.T) []byte { return raw(layerEntry{name, "x", nil}) }
	good := layerEntry{"good.txt", "good", nil}
	for name, data := range map[string]func(t *testing.T) []byte{
		"parent":              one("../x"),
		"inner parent":        one("a/../../x"),
		"parent behind a dot": one("./../x"),
		"absolute":            one("/etc/x"),
		"backslash":           one(`a\..\b`),
		"newline":             one("a\nb"),
		"bidi":                one("a\u202egpj.exe"),
		"very long":           one(strings.Repeat("a/", 2100) + "a"),
		"dot":                 one("a/./b"),
		"double slash":        one("a//b"),
		"empty":               one("./"[:2] + "/x"),
		"symlink":             raw(good, layerEntry{"l", "", of(tar.TypeSymlink, "good.txt")}),
		"symlink out":         raw(layerEntry{"l", "", of(tar.TypeSymlink, "/etc/passwd")}, good),
		"hard link":           raw(good, layerEntry{"l", "", of(tar.TypeLink, "good.txt")}),
		"device":              raw(good, layerEntry{"d", "", of(tar.TypeChar, "")}),
		"block device":        raw(good, layerEntry{"d", "", of(tar.TypeBlock, "")}),
		"pipe":                raw(good, layerEntry{"d", "", of(tar.TypeFifo, "")}),
		"twice":               raw(good, good),
		"twice with a dot":    raw(good, layerEntry{"./good.txt", "evil", nil}),
		"file and directory":  raw(good, layerEntry{"good.txt/", "", nil}),
		"file below a file":   raw(good, layerEntry{"good.txt/x", "x", nil}),
		"directory out":       raw(good, layerEntry{"../d/", "", nil}),
		"absolute directory":  raw(good, layerEntry{"/d/", "", nil}),
		"no file":             raw(layerEntry{"d/", "", nil}),
		"only git":            one(".git/config"),
		"sparse": raw(good, layerEntry{"s", "0123456789", func(h *tar.Header) {
			h.Format = tar.FormatPAX
			h.PAXRecords = map[string]string{"MLSEAL.x": "y"}
		}}),
		"behind the end": func(t *testing.T) []byte {
			return append(archiveOf(t, good), archiveOf(t, layerEntry{"evil.py", "evil", nil})...)
		},
		"cut off": func(t *testing.T) []byte { return archiveOf(t, good)[:514] },
		"no tar":  func(*testing.T) []byte { return []byte(strings.Repeat("no tar", 200)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			bytes := data(t)
			if name == "sparse" { // which Go reads and does not write
				bytes = sparseLayer(t)
			}
			for mediaType, layer := range map[string][]byte{"weight.v1.tar": bytes, "weight.v1.tar+gzip": gzipped(t, bytes)} {
				desc := imageOf(t, l, ArtifactType, MediaTypeConfig, layerOfBytes(t, l, layerPrefix+mediaType, "", layer))
				if p, err := FetchPackage(t.Context(), l, desc); !isAnyOf(err, ErrNotPackage, ErrContent) {
					t.Errorf("read: %v, %v", p, err)
				}
				p, err := OpenPackage(t.Context(), l, desc)
				if err != nil {
					t.Fatal(err)
				}
				outer := t.TempDir()
				dest := filepath.Join(outer, "a", "b", "out")
				if err := Pull(t.Context(), l, p, dest, PullOptions{}); !isAnyOf(err, ErrNotPackage, ErrContent) {
					t.Errorf("pull: %v", err)
				}
				var found []string
				_ = filepath.WalkDir(outer, func(name string, d os.DirEntry, _ error) error {
					if !d.IsDir() {
						found = append(found, name)
					}
					return nil
				})
				if len(found) != 0 {
					t.Errorf("left behind: %v", found)
				}
			}
		})
	}
}

// sparse is a file of 1 TiB with 10 bytes, as GNU tar --sparse writes it in its format 0.1.
func sparseLayer(t *testing.T) []byte {
	t.Helper()
	records := ""
	for _, record := range []string{"GNU.sparse.size=1099511627776", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,10", "GNU.sparse.name=s"} {
		n := len(record) + 3
		for len(fmt.Sprintf("%d %s\n", n, record)) != n {
			n++
		}
		records += fmt.Sprintf("%d %s\n", n, record)
	}
	head := archiveOf(t, layerEntry{"PaxHeaders/s", records, nil}, layerEntry{"s", "0123456789", nil})
	head[156] = tar.TypeXHeader
	for i := 148; i < 156; i++ {
		head[i] = ' '
	}
	sum := 0
	for _, b := range head[:512] {
		sum += int(b)
	}
	copy(head[148:], fmt.Sprintf("%06o\x00 ", sum))
	h, err := tar.NewReader(bytes.NewReader(head)).Next()
	if err != nil || h.Size != 1<<40 {
		t.Fatalf("not sparse: %v, %v", h, err)
	}
	return head
}

// TestTwins refuses names that are one file on some systems, also between two layers, before anything has its name.
func TestTwins(t *testing.T) {
	for name, names := range map[string][2]string{"case": {"A.txt", "a.txt"}, "directories": {"D/x", "d/y"}, "normalization": {"é", "e\u0301"}, "device": {"CON", "x"}, "twice": {"a", "a"}} {
		l := newLayout(t)
		desc := imageOf(t, l, ArtifactType, MediaTypeConfig,
			layerOfBytes(t, l, layerPrefix+"weight.v1.tar", "", archiveOf(t, layerEntry{names[0], "1", nil})),
			layerOfBytes(t, l, layerPrefix+"doc.v1.tar", "", archiveOf(t, layerEntry{names[1], "2", nil})))
		p, err := OpenPackage(t.Context(), l, desc)
		if err != nil {
			t.Fatal(err)
		}
		dest := t.TempDir()
		if err := Pull(t.Context(), l, p, dest, PullOptions{}); !isAnyOf(err, manifest.ErrName, ErrNotPackage) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dest); len(left) != 0 {
			t.Errorf("%s: %v was left", name, left)
		}
	}
}

// TestUnpackLimits lowers the limits to reach them: case 45.
func TestUnpackLimits(t *testing.T) {
	usual := usualUnpackLimits
	t.Cleanup(func() { usualUnpackLimits = usual })
	usualUnpackLimits = unpackLimits{entries: 10, names: 100, expansion: 5, least: 20_000}
	bomb := archiveOf(t, layerEntry{"zeros", strings.Repeat("\x00", 30_000), nil})
	var many []layerEntry
	for i := range 11 {
		many = append(many, layerEntry{fmt.Sprint(i), "", nil})
	}
	for name, tc := range map[string]struct {
		mediaType string
		data      []byte
		want      error
	}{
		"gzip bomb":     {"weight.v1.tar+gzip", gzipped(t, bomb), ErrLimit},
		"zstd bomb":     {"weight.v1.tar+zstd", zstdOf(t, bomb), ErrLimit},
		"not a bomb":    {"weight.v1.tar", bomb, nil},
		"entries":       {"weight.v1.tar", archiveOf(t, many...), ErrLimit},
		"directories":   {"weight.v1.tar", archiveOf(t, append(many[:10:10], layerEntry{"d/", "", nil})...), ErrLimit},
		"names":         {"weight.v1.tar", archiveOf(t, layerEntry{strings.Repeat("a", 101), "", nil}), ErrLimit},
		"just so":       {"weight.v1.tar+gzip", gzipped(t, archiveOf(t, many[:10]...)), nil},
		"zeros at last": {"weight.v1.tar+gzip", gzipped(t, append(archiveOf(t, many[0]), make([]byte, 30_000)...)), ErrLimit},
	} {
		l := newLayout(t)
		desc := imageOf(t, l, ArtifactType, MediaTypeConfig, layerOfBytes(t, l, layerPrefix+tc.mediaType, "", tc.data))
		if _, err := FetchPackage(t.Context(), l, desc); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if p, err := OpenPackage(t.Context(), l, desc); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := Pull(t.Context(), l, p, t.TempDir(), PullOptions{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: pull: %v", name, err)
		}
	}
}

// TestForeignFromRegistry reads an archive of a registry once.
func TestForeignFromRegistry(t *testing.T) {
	target := newRegistry(t, true).open(t)
	desc := imageOf(t, target, kitManifest, kitConfig, layerOfBytes(t, target, kitLayer+"model.v1.tar", "w", archiveOf(t, layerEntry{"w", "weights", nil})))
	p, err := OpenPackage(t.Context(), target, desc)
	if err != nil {
		t.Fatal(err)
	}
	pulled(t, target, p, filepath.Join(t.TempDir(), "out"), map[string]string{"w": "weights"})
}

// TestPullGoesOnBesideArchives goes on from what is left of a raw layer, and reads an archive anew.
func TestPullGoesOnBesideArchives(t *testing.T) {
	raw, archived := string(randomBytes(1<<20)), string(randomBytes(1<<19))
	g := &registrytest.Registry{}
	r := openAt(t, serve(t, g)+"/team/model")
	archive := archiveOf(t, layerEntry{"sub/b.bin", archived, nil})
	desc := imageOf(t, r, kitManifest, kitConfig, layerOfBytes(t, r, kitLayer+"model.v1.raw", "a.bin", []byte(raw)), layerOfBytes(t, r, kitLayer+"code.v1.tar", "sub", archive))
	open := func() *Package {
		p, err := OpenPackage(t.Context(), r, desc)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	temp := tempName(open().Layers[0].Files[0])
	dest, p := t.TempDir(), open()
	writeTree(t, dest, map[string]string{temp: raw[:600_000], pullPrefix + "killed": archived[:1000]})
	before := g.Sent()
	if err := Pull(t.Context(), r, p, dest, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if sent, want := g.Sent()-before, int64(len(raw)-600_000+len(archive)); sent != want {
		t.Errorf("%d bytes came, want %d", sent, want)
	}
	if got := tree(t, dest); len(got) != 2 || got["a.bin"] != raw || got["sub/b.bin"] != archived {
		t.Errorf("wrong files: %d", len(got))
	}

	// What an archive that breaks off for good leaves is the part of the raw layer.
	dest, p = t.TempDir(), open()
	writeTree(t, dest, map[string]string{temp: raw[:600_000]})
	g.Change(func(g *registrytest.Registry) {
		g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			no := strings.Contains(r.URL.Path, desc.Digest.String()) || strings.Contains(r.URL.Path, p.Manifest.Layers[1].Digest.String())
			if no {
				w.WriteHeader(http.StatusForbidden)
			}
			return no
		}
	})
	if err := Pull(t.Context(), r, p, dest, PullOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if got := tree(t, dest); len(got) != 1 || got[temp] != raw[:600_000] {
		t.Errorf("left behind: %d files", len(got))
	}
}

func FuzzArchive(f *testing.F) {
	t := &testing.T{}
	f.Add(archiveOf(t, layerEntry{"a", "x", nil}, layerEntry{"d/", "", nil}, layerEntry{"d/b", "y", nil}))
	f.Add(archiveOf(t, layerEntry{"../a", "x", nil}))
	f.Add(archiveOf(t, layerEntry{"a", "x", nil}, layerEntry{"l", "", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "a", 0 }}))
	f.Fuzz(func(t *testing.T, data []byte) {
		u := newUnpacker(nil, nil, discardFile)
		files, err := u.archive(bytes.NewReader(data))
		if err != nil {
			if !isAnyOf(err, ErrContent, ErrNotPackage, ErrLimit) {
				t.Fatal(err)
			}
			return
		}
		var total int64
		for _, file := range files {
			total += file.Size
			if manifest.CheckName(file.Path) != nil {
				t.Errorf("%q", file.Path)
			}
		}
		if total > int64(len(data)) {
			t.Errorf("%d bytes of files in %d", total, len(data))
		}
	})
}

// TestDescribe reads what the config of a package says, by either name of ModelPack.
func TestDescribe(t *testing.T) {
	l := newLayout(t)
	layer := layerOfBytes(t, l, layerPrefix+"weight.v1.raw", "w", []byte("weights"))
	said := `{"descriptor":{"name":"demo"},"config":{"architecture":"transformer","format":"safetensors","paramSize":"8b","precision":"bf16"}}`
	describe := func(artifactType, configType, config string) (Description, error) {
		t.Helper()
		p, err := FetchPackage(t.Context(), l, imageWith(t, l, artifactType, push(t, l, configType, []byte(config)), layer))
		if err != nil {
			t.Fatal(err)
		}
		return p.Describe(t.Context(), l)
	}
	for artifactType, config := range map[string]string{ArtifactType: MediaTypeConfig, artifactTypeCNAI: mediaTypeConfigCNAI} {
		if got, err := describe(artifactType, config, said); err != nil || got != (Description{"demo", "transformer", "safetensors", "8b", "bf16"}) {
			t.Errorf("%s: %+v, %v", config, got, err)
		}
		if _, err := describe(artifactType, config, `{"config":{"format":"a","format":"b"}}`); !errors.Is(err, ErrNotPackage) {
			t.Errorf("%s, a key twice: %v", config, err)
		}
	}
}
