//go:build unix

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hostileLayout writes a layout, without the code under test, with a package under the tag v1 that has these layers.
func hostileLayout(t *testing.T, dir string, layers ...ocispec.Descriptor) {
	t.Helper()
	files := testFiles{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	blob := func(mediaType string, data []byte) ocispec.Descriptor {
		sum := sha256.Sum256(data)
		files["blobs/sha256/"+hex.EncodeToString(sum[:])] = data
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.NewDigestFromBytes(digest.SHA256, sum[:]), Size: int64(len(data))}
	}
	im := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/vnd.cncf.model.manifest.v1+json"}
	im.SchemaVersion = 2
	im.Config = blob("application/vnd.cncf.model.config.v1+json", []byte("{}"))
	for _, layer := range layers {
		desc := blob(layer.MediaType, layer.Data)
		desc.Annotations = layer.Annotations
		im.Layers = append(im.Layers, desc)
	}
	text, err := json.Marshal(im)
	if err != nil {
		t.Fatal(err)
	}
	entry := blob(ocispec.MediaTypeImageManifest, text)
	entry.Annotations = map[string]string{ocispec.AnnotationRefName: "v1"}
	index := ocispec.Index{Manifests: []ocispec.Descriptor{entry}}
	index.SchemaVersion = 2
	if files["index.json"], err = json.Marshal(index); err != nil {
		t.Fatal(err)
	}
	files.write(t, dir)
}

// titled is a layer of one file.
func titled(name string) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: "application/vnd.cncf.model.doc.v1.raw", Data: []byte("hostile " + name),
		Annotations: map[string]string{"org.cncf.model.filepath": name, ocispec.AnnotationTitle: name},
	}
}

// refused wants the answer no from everything that unpacks, and nothing written outside the layout, which is the only file tree in dir.
func refused(t *testing.T, dir string) {
	t.Helper()
	before := readTree(t, dir)
	for _, args := range [][]string{{"pull", "oci:layout:v1", "deep/er/out"}, {"pull", "oci:layout:v1", "out"}} {
		if status, errs := runProcess(t, dir, args...); status != statusNo || errs == "" || strings.Count(errs, "\n") > 2 {
			t.Errorf("%v: status %d, want %d: %s", args, status, statusNo, errs)
		}
	}
	unchanged(t, before, readTree(t, dir))
}

// TestHostileLayerTitles is case 57: no such name is unpacked.
func TestHostileLayerTitles(t *testing.T) {
	for name, titles := range map[string][]string{
		"parent":             {"../x"},
		"inner parent":       {"a/../../x"},
		"absolute":           {"/etc/x"},
		"backslash":          {`a\..\b`},
		"NUL":                {"a\x00b"},
		"device":             {"CON"},
		"device extension":   {"sub/aux.py"},
		"very long":          {strings.Repeat("a", 5000)},
		"long element":       {"a/" + strings.Repeat("a", 256) + "/b"},
		"long name":          {strings.Repeat("a", 256)},
		"NFC and NFD":        {"caf\u00e9", "cafe\u0301"},
		"bidi override":      {"model\u202egpj.exe"},
		"case twins":         {"README.md", "readme.md"},
		"case twin folders":  {"A/x", "a/y"},
		"twice":              {"a", "a"},
		"a file as a folder": {"a", "a/b"},
		"escape":             {"a\x1b[2Jb"},
		"newline":            {"a\nALLOWED"},
		"empty":              {""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var layers []ocispec.Descriptor
			for _, title := range titles {
				layers = append(layers, titled(title))
			}
			hostileLayout(t, filepath.Join(dir, "layout"), layers...)
			refused(t, dir)
		})
	}
	dir := t.TempDir()
	hostileLayout(t, filepath.Join(dir, "layout"), titled("a/"+strings.Repeat("a", 255)))
	succeed(t, dir, "pull", "oci:layout:v1", "out") // what the others are made of
}

// TestTarLayers is case 58: an archive holds files and directories, each once and below the destination, and is what its media type
// says; image layers are not opened at all.
func TestTarLayers(t *testing.T) {
	const modelTar = "application/vnd.cncf.model.weight.v1.tar"
	for name, headers := range map[string][]tar.Header{
		"symbolic link":     {{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
		"hard link":         {{Name: "x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"device":            {{Name: "x", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"twice":             {{Name: "x", Typeflag: tar.TypeReg}, {Name: "x", Typeflag: tar.TypeReg}},
		"above":             {{Name: "../x", Typeflag: tar.TypeReg}},
		"absolute":          {{Name: "/tmp/x", Typeflag: tar.TypeReg}},
		"long":              {{Name: "a/" + strings.Repeat("a", 256), Typeflag: tar.TypeReg}},
		"file in a file":    {{Name: "x", Typeflag: tar.TypeReg}, {Name: "x/y", Typeflag: tar.TypeReg}},
		"file in directory": {{Name: "x/", Typeflag: tar.TypeDir}, {Name: "x", Typeflag: tar.TypeReg}},
		"nothing":           {},
	} {
		for _, mediaType := range []string{modelTar, modelTar + "+gzip", ocispec.MediaTypeImageLayer} {
			t.Run(name+" "+mediaType, func(t *testing.T) {
				dir := t.TempDir()
				tarLayout(t, dir, mediaType, strings.HasSuffix(mediaType, "gzip"), headers)
				refused(t, dir)
			})
		}
	}
	file := []tar.Header{{Name: "x", Typeflag: tar.TypeReg}}
	for name, tc := range map[string]struct {
		mediaType string
		zipped    bool
	}{"image layer": {ocispec.MediaTypeImageLayer, false}, "not gzip": {modelTar + "+gzip", false}, "not tar": {modelTar, true}, "raw tar": {modelTar + ".raw", false}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tarLayout(t, dir, tc.mediaType, tc.zipped, file)
			refused(t, dir)
		})
	}
	for _, zipped := range []bool{false, true} { // what the others are made of
		dir := t.TempDir()
		tarLayout(t, dir, modelTar+map[bool]string{true: "+gzip"}[zipped], zipped, file)
		succeed(t, dir, "pull", "oci:layout:v1", "out")
	}
}

// tarLayout makes dir/layout of a package with one archive.
func tarLayout(t *testing.T, dir, mediaType string, zipped bool, headers []tar.Header) {
	t.Helper()
	var text bytes.Buffer
	var to io.WriteCloser = nopCloser{&text}
	if zipped {
		to = gzip.NewWriter(&text)
	}
	w := tar.NewWriter(to)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
	layer := titled("model.tar")
	layer.MediaType, layer.Data = mediaType, text.Bytes()
	hostileLayout(t, filepath.Join(dir, "layout"), layer)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// sparse makes a file that says it has 1 TB and takes no room.
func sparse(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 40); err != nil {
		t.Skipf("no sparse files here (%v): this test did NOT run", err)
	}
}

// TestSparseTerabyte is case 60. Whatever has a format has a limit, which is looked at before a byte is read, and a blob has the size that
// its descriptor says. A file of a model has neither: there are models of a terabyte. It is hashed in constant memory, at the
// speed of the disk, until somebody has enough.
func TestSparseTerabyte(t *testing.T) {
	dir := t.TempDir()
	testFiles{"tree/config.json": []byte("{}"), "p.json": []byte("{}")}.write(t, dir)
	sparse(t, filepath.Join(dir, "huge"))
	succeed(t, dir, "keys", "generate", "--output-key-prefix", "k")
	succeed(t, dir, "sign", "tree", "--key", "k.key", "--signature", "tree.sig")
	for _, args := range [][]string{
		{"verify", "tree", "--key", "k.pub", "--signature", "huge"},
		{"verify", "tree", "--key", "huge", "--signature", "tree.sig"},
		{"verify", "tree", "--policy", "huge"},
		{"attest", "tree", "--type", "https://example.com/note/v1", "--predicate", "huge", "--key", "k.key", "--bundle", "b"},
		{"sign", "tree", "--key", "huge", "--signature", "b"},
		{"keys", "public", "--key", "huge"},
	} {
		if status, errs := runProcess(t, dir, args...); status != statusNo && status != statusUsage || !strings.Contains(errs, "at most") && !strings.Contains(errs, "too large") {
			t.Errorf("%v: status %d: %s", args, status, errs)
		}
	}
	for _, name := range []string{"index.json", "oci-layout", "blob", "manifest", "config"} {
		layout := filepath.Join(dir, "layout-"+name)
		hostileLayout(t, layout, titled("a"))
		switch name {
		case "index.json", "oci-layout":
			sparse(t, filepath.Join(layout, name))
		default:
			sparse(t, filepath.Join(layout, "blobs", "sha256", blobNamed(t, layout, name)))
		}
		commands := [][]string{{"verify", "oci:" + layout + ":v1", "--key", "k.pub"}, {"pull", "oci:" + layout + ":v1", "out-" + name}}
		if name == "config" {
			commands = commands[:1] // no file of the tree
		}
		for _, args := range commands {
			if status, errs := runProcess(t, dir, args...); status != statusNo {
				t.Errorf("%s: %v: status %d: %s", name, args, status, errs)
			}
		}
	}
}

// blobNamed is the name of a blob of hostileLayout.
func blobNamed(t *testing.T, layout, what string) string {
	t.Helper()
	for name, data := range readTree(t, filepath.Join(layout, "blobs", "sha256")) {
		switch {
		case what == "blob" && string(data) == "hostile a", what == "config" && string(data) == "{}", what == "manifest" && strings.Contains(string(data), "schemaVersion"):
			return name
		}
	}
	t.Fatalf("no %s", what)
	return ""
}

// TestInterrupted: a command that would hash for half an hour stops when it is told to, and leaves nothing.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	sparse(t, filepath.Join(dir, "tree", "weights"))
	succeed(t, dir, "keys", "generate", "--output-key-prefix", "k")
	allowed := map[string]bool{"store/oci-layout": true, "store/index.json": true, "store/.mlseal.lock": true}
	for _, args := range [][]string{
		{"hash", "tree"},
		{"pack", "tree", "oci:out/store:v1"},
		{"sign", "tree", "--key", "k.key", "--signature", "out/model.sig"},
	} {
		state, stderr := interrupt(t, dir, 300*time.Millisecond, args...)
		if state.ExitCode() != statusNotDecided {
			t.Errorf("%v: %v, want exit status %d: %s", args, state, statusNotDecided, stderr)
		}
		for name := range readTree(t, filepath.Join(dir, "out")) {
			if !allowed[name] {
				t.Errorf("%v: left behind: %s", args, name)
			}
		}
	}
}

// interrupt sends an interrupt after a delay, and a later one to a process that did not listen yet: that dies of it.
func interrupt(t *testing.T, dir string, delay time.Duration, args ...string) (*os.ProcessState, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	cmd, stderr := command(ctx, dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(delay)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGINT && delay < hangs/4 {
		return interrupt(t, dir, 2*delay, args...)
	}
	return cmd.ProcessState, stderr.String()
}
