package oci

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

func packCar(t *testing.T, target Target, files map[string]string, opts CarOptions) ocispec.Descriptor {
	t.Helper()
	fsys := mapFS(files)
	desc, err := PackCar(t.Context(), target, fsys, build(t, fsys), opts)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

func TestCarRoundTrip(t *testing.T) {
	files := maps.Clone(sampleTree)
	files[long] = "long"
	onEveryTarget(t, func(t *testing.T, target Target) {
		raw := pack(t, target, files, PackOptions{Tag: "v1"})
		desc := packCar(t, target, files, CarOptions{Tag: "v1-car", Of: raw.Digest})
		if again := packCar(t, target, files, CarOptions{Tag: "v1-car", Of: raw.Digest}); again.Digest != desc.Digest {
			t.Errorf("another digest: %s", again.Digest)
		}
		if got, err := Resolve(t.Context(), target, Reference{Tag: "v1-car"}); err != nil || got.Digest != desc.Digest {
			t.Fatalf("%v: %v", err, got)
		}
		p := fetch(t, target, desc)
		if p.Type != TypeCar || p.Car == nil || p.Car.Of != raw.Digest || p.Car.Architecture != "amd64" {
			t.Errorf("%q %+v", p.Type, p.Car)
		}
		if want := fetch(t, target, raw).Tree.DirHash(); p.Tree.DirHash() != want {
			t.Errorf("dirHash %s, want %s", p.Tree.DirHash(), want)
		}
		if r, err := VerifyContent(t.Context(), target, p, ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("%v, %v", err, r)
		}
		dest := t.TempDir()
		if _, err := pullInto(t, target, p, dest); err != nil || !maps.Equal(tree(t, dest), files) {
			t.Fatalf("%v: %v", err, tree(t, dest))
		}
		checkSources(t, target, p, files)
		checkSources(t, target, fetch(t, target, raw), files)
		writeTree(t, dest, map[string]string{"src/run.py": strings.Repeat("x", len(files["src/run.py"]))})
		done, err := pullInto(t, target, p, dest)
		if err != nil || done["src/run.py"] != Replaced || done["config.json"] != Kept || !maps.Equal(tree(t, dest), files) {
			t.Errorf("%v: %v", err, done)
		}
		part := t.TempDir()
		if err := Pull(t.Context(), target, p, part, PullOptions{Only: []string{"src", "directory/**/*.json"}}); err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"src/run.py": files["src/run.py"], long: "long"}; !maps.Equal(tree(t, part), want) {
			t.Errorf("%v", tree(t, part))
		}
	})
}

// TestCarGolden holds the image's form, and that it says what container runtimes ask for.
func TestCarGolden(t *testing.T) {
	l := newLayout(t)
	desc := packCar(t, l, sampleTree, CarOptions{})
	if want := digest.Digest("sha256:3114c05206ebfb1aee9f8271bbc1e95d614affa10571a0a542e589c49f593018"); desc.Digest != want {
		t.Errorf("%s, want %s", desc.Digest, want)
	}
	p := fetch(t, l, desc)
	config, err := os.ReadFile(blobFile(t, l, p.Manifest.Config.Digest))
	want := `{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["` + p.Manifest.Layers[0].Digest.String() + `"]}}`
	if err != nil || string(config) != want {
		t.Errorf("%v: %s", err, config)
	}
	if arm := packCar(t, l, sampleTree, CarOptions{Architecture: "arm64"}); fetch(t, l, arm).Car.Architecture != "arm64" {
		t.Error("not for arm64")
	}
}

// TestCarsAreDeterministic packs what two machines have: other modes, times and orders of reading.
func TestCarsAreDeterministic(t *testing.T) {
	fsys := fstest.MapFS{}
	for name, data := range sampleTree {
		fsys[name] = &fstest.MapFile{Data: []byte(data), Mode: 0o600, ModTime: time.Unix(int64(len(name))<<20, 5)}
	}
	other, err := PackCar(t.Context(), newLayout(t), fsys, build(t, fsys), CarOptions{})
	if err != nil || other.Digest != packCar(t, newRegistry(t, true).open(t), sampleTree, CarOptions{}).Digest {
		t.Errorf("%v: another digest", err)
	}
}

func TestCarRefusals(t *testing.T) {
	l := newLayout(t)
	for name, files := range map[string]map[string]string{
		"a whiteout":        {"a.txt": "a", "b/.wh.a.txt": ""},
		"a whiteout above":  {".wh..wh..opq/a.txt": "a"},
		"git's files":       {"a.txt": "a", ".gitignore": "x"},
		"twins":             {"a.txt": "a", "A.txt": "b"},
		"a Windows' device": {"con": "a"},
	} {
		fsys := mapFS(files)
		m, err := manifest.Build(t.Context(), fsys, manifest.Options{IncludeGit: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := PackCar(t.Context(), l, fsys, m, CarOptions{}); !errors.Is(err, manifest.ErrName) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fsys := mapFS(sampleTree)
	for _, opts := range []CarOptions{{Tag: "a b"}, {Architecture: "AMD/64"}} {
		if _, err := PackCar(t.Context(), l, fsys, build(t, fsys), opts); err == nil {
			t.Errorf("%+v", opts)
		}
	}
	for _, target := range []Target{l, newRegistry(t, true).open(t)} {
		m := build(t, fsys)
		changed := mapFS(sampleTree)
		changed["README.md"] = &fstest.MapFile{Data: []byte(strings.Repeat("x", len(sampleTree["README.md"])))}
		if _, err := PackCar(t.Context(), target, changed, m, CarOptions{}); !errors.Is(err, manifest.ErrChanged) {
			t.Errorf("a file changed: %v", err)
		}
		delete(changed, "README.md")
		if _, err := PackCar(t.Context(), target, changed, m, CarOptions{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file is gone: %v", err)
		}
	}
	noLeftovers(t, l.dir)
}

// carImage writes an image with the given layers and returns its descriptor.
func carImage(t *testing.T, l *Layout, layers [][]byte, config func(*ocispec.Image), edit func(*ocispec.Manifest)) ocispec.Descriptor {
	t.Helper()
	im := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	c := ocispec.Image{Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, data := range layers {
		layer := push(t, l, ocispec.MediaTypeImageLayer, data)
		im.Layers = append(im.Layers, layer)
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, layer.Digest)
	}
	config(&c)
	im.Config = push(t, l, ocispec.MediaTypeImageConfig, marshal(t, c))
	edit(&im)
	return push(t, l, ocispec.MediaTypeImageManifest, marshal(t, im))
}

func asIs(*ocispec.Image)           {}
func asItIs(*ocispec.Manifest)      {}
func car(t *testing.T) []byte       { return writeTar(t, carForm, map[string]string{"a.txt": "a"}) }
func isNo(err error, is error) bool { return errors.Is(err, is) && !errors.Is(err, ErrUnavailable) }
func refuses(t *testing.T, l *Layout, desc ocispec.Descriptor, want error) {
	t.Helper()
	if p, err := FetchPackage(t.Context(), l, desc); !isNo(err, want) {
		t.Errorf("%v, %v", err, p)
	}
}

func TestHostileCars(t *testing.T) {
	l := newLayout(t)
	fetch(t, l, carImage(t, l, [][]byte{car(t)}, asIs, asItIs))
	for name, config := range map[string]func(*ocispec.Image){
		"a command":           func(c *ocispec.Image) { c.Config.Cmd = []string{"/models/run.sh"} },
		"an entry point":      func(c *ocispec.Image) { c.Config.Entrypoint = []string{"/models/run.sh"} },
		"an environment":      func(c *ocispec.Image) { c.Config.Env = []string{"LD_PRELOAD=/models/x.so"} },
		"a user":              func(c *ocispec.Image) { c.Config.User = "root" },
		"volumes":             func(c *ocispec.Image) { c.Config.Volumes = map[string]struct{}{"/models": {}} },
		"history":             func(c *ocispec.Image) { c.History = []ocispec.History{{Comment: "x"}} },
		"another system":      func(c *ocispec.Image) { c.OS = "windows" },
		"no architecture":     func(c *ocispec.Image) { c.Architecture = "" },
		"a wild architecture": func(c *ocispec.Image) { c.Architecture = "\x1b[31m" },
		"another layer":       func(c *ocispec.Image) { c.RootFS.DiffIDs = []digest.Digest{digest.FromString("x")} },
		"a hidden layer":      func(c *ocispec.Image) { c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromString("x")) },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, l, carImage(t, l, [][]byte{car(t)}, config, asItIs), ErrNotPackage) })
	}
	for name, edit := range map[string]func(*ocispec.Manifest){
		"a compressed layer": func(im *ocispec.Manifest) { im.Layers[0].MediaType = ocispec.MediaTypeImageLayerGzip },
		"a docker layer":     func(im *ocispec.Manifest) { im.Layers[0].MediaType = "application/vnd.docker.image.rootfs.diff.tar" },
		"a foreign layer": func(im *ocispec.Manifest) {
			im.Layers[0].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar"
		},
		"no layer":            func(im *ocispec.Manifest) { im.Layers = nil },
		"two layers":          func(im *ocispec.Manifest) { im.Layers = append(im.Layers, im.Layers[0]) },
		"a subject":           func(im *ocispec.Manifest) { im.Subject = &im.Config },
		"a negative size":     func(im *ocispec.Manifest) { im.Layers[0].Size = -1 },
		"sha512":              func(im *ocispec.Manifest) { im.Layers[0].Digest = digest.SHA512.FromString("x") },
		"an artifact's type":  func(im *ocispec.Manifest) { im.ArtifactType = "application/x" },
		"the package's type":  func(im *ocispec.Manifest) { im.ArtifactType = ArtifactType },
		"the package's layer": func(im *ocispec.Manifest) { im.Layers[0] = fileLayer("a.txt", "a") },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, l, carImage(t, l, [][]byte{car(t)}, asIs, edit), ErrNotPackage) })
	}
	for name, data := range map[string][]byte{
		"a whiteout":             handmade(t, plainDir("models/"), plainFile("models/.wh.a.txt", ""), plainFile("models/b.txt", "b")),
		"git's files":            handmade(t, plainDir("models/"), plainFile("models/.gitignore", "x"), plainFile("models/b.txt", "b")),
		"a directory for a file": handmade(t, plainDir("models/"), plainFile("models/a.txt", "a"), plainDir("models/a.txt/"), plainFile("models/a.txt/b", "b")),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, l, carImage(t, l, [][]byte{data}, asIs, asItIs), ErrNotPackage) })
	}
	for name, data := range hostileTars(t) {
		t.Run(name, func(t *testing.T) { refuses(t, l, carImage(t, l, [][]byte{data}, asIs, asItIs), ErrContent) })
	}
	t.Run("written in another way", func(t *testing.T) {
		im := fetch(t, l, carImage(t, l, [][]byte{car(t)}, asIs, asItIs)).Manifest
		refuses(t, l, push(t, l, ocispec.MediaTypeImageManifest, append(marshal(t, im), '\n')), ErrNotPackage)
	})
	t.Run("larger than it is", func(t *testing.T) {
		refuses(t, l, carImage(t, l, [][]byte{car(t)}, asIs, func(im *ocispec.Manifest) { im.Layers[0].Size = 1 << 40 }), ErrContent)
	})
	for name, annotations := range map[string]map[string]string{
		"a hint that is no digest": {AnnotationCarOf: "sha256:../../x"},
		"a hint of another kind":   {AnnotationCarOf: digest.SHA512.FromString("x").String()},
		"another annotation":       {"run.oci.handler": "wasm"},
		"one more annotation":      {AnnotationCarOf: digest.FromString("x").String(), "run.oci.handler": "wasm"},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, l, carImage(t, l, [][]byte{car(t)}, asIs, func(im *ocispec.Manifest) { im.Annotations = annotations }), ErrNotPackage)
		})
	}
	hinted := fetch(t, l, carImage(t, l, [][]byte{car(t)}, asIs, func(im *ocispec.Manifest) {
		im.Annotations = map[string]string{AnnotationCarOf: digest.FromString("x").String()}
	}))
	if hinted.Car.Of != digest.FromString("x") {
		t.Errorf("%q", hinted.Car.Of)
	}
}

// TestCarAltered: bytes of the layer that are not those of its digest.
func TestCarAltered(t *testing.T) {
	l := newLayout(t)
	desc := packCar(t, l, sampleTree, CarOptions{})
	p := fetch(t, l, desc)
	layer := p.Manifest.Layers[0]
	good, err := os.ReadFile(blobFile(t, l, layer.Digest))
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(good), "print(1)")
	bad := slices.Clone(good)
	bad[i+6] = '2'
	damage(t, l, layer.Digest, string(bad))
	refuses(t, l, desc, ErrContent)
	// After the package was read: nothing that is wrong gets a final name.
	dest := t.TempDir()
	if _, err := pullInto(t, l, p, dest); !errors.Is(err, ErrContent) || len(tree(t, dest)) > 0 {
		t.Errorf("%v", err)
	}
	if err := Pull(t.Context(), l, p, dest, PullOptions{Only: []string{"src/run.py"}}); !errors.Is(err, ErrContent) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(dest, "src", "run.py")); err == nil {
		t.Error("it was written")
	}
	noLeftovers(t, dest)
}
