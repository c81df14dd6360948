//go:build interop

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// signedLab has a model, signed and attested in oci:store:v1, whose digest it returns.
func signedLab(t *testing.T) (*lab, string) {
	t.Helper()
	l := newLab(t)
	l.model()
	l.write("note.json", `{"note":"x"}`)
	l.run(l.mlseal, "keys", "generate")
	packed := strings.TrimSpace(l.run(l.mlseal, "pack", "model", "oci:store:v1", "-o", "digest"))
	l.run(l.mlseal, "sign", "oci:store:v1", "--key", "mlseal.key")
	l.run(l.mlseal, "attest", "oci:store:v1", "--type", "https://example.test/note/v1", "--predicate", "note.json", "--key", "mlseal.key")
	return l, packed
}

// output wants success and returns what was printed to stdout only.
func (l *lab) output(name string, args ...string) []byte {
	l.t.Helper()
	cmd := l.command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// same wants two trees with the same files and bytes; what git keeps at the top is no part of a package.
func (l *lab) same(a, b string) {
	l.t.Helper()
	l.run("diff", "-r", "-x", ".gitignore", a, b)
}

// bundlesOf are the Sigstore bundles that oras lists as referrers of REF, with the flags that say where REF is.
func (l *lab) bundlesOf(oras string, args ...string) int {
	l.t.Helper()
	var list struct {
		Referrers []ocispec.Descriptor `json:"referrers"`
	}
	out := l.output(oras, append([]string{"discover", "--format", "json", "--artifact-type", "application/vnd.dev.sigstore.bundle.v0.3+json"}, args...)...)
	if err := json.Unmarshal(out, &list); err != nil {
		l.t.Fatalf("%v in %s", err, out)
	}
	return len(list.Referrers)
}

// registries are one without the referrers API, one with it, and zot, whose test is skipped when it is not here.
var registries = map[string]func(*lab) string{"distribution": (*lab).registry, "go-containerregistry": (*lab).referrersRegistry, "zot": (*lab).zot}

// TestInteropRegistries exchanges packages with oras and crane by way of each registry.
func TestInteropRegistries(t *testing.T) {
	for name, start := range registries {
		t.Run(name, func(t *testing.T) {
			if name == "zot" {
				peer(t, "ZOT")
			}
			l, packed := signedLab(t)
			addr := start(l)
			l.run(l.mlseal, "push", "oci:store:v1", addr+"/team/model:v1")
			l.verified(addr + "/team/model:v1")
			for what, exchange := range map[string]func(*lab, string, string){
				"oras takes": (*lab).orasTakes, "oras copies": (*lab).orasCopies, "oras pushes": (*lab).orasPushes,
				"crane takes": (*lab).craneTakes, "crane copies": (*lab).craneCopies, "mlseal copies": (*lab).mlsealCopies,
			} {
				t.Run(what, func(t *testing.T) { exchange(&lab{t, l.dir, l.mlseal}, addr, packed) })
			}
		})
	}
}

// verified wants both statements on ref, and refuses it to a stranger's key.
func (l *lab) verified(ref string) {
	l.t.Helper()
	if _, err := os.Stat(filepath.Join(l.dir, "stranger.pub")); err != nil {
		l.run(l.mlseal, "keys", "generate", "--output-key-prefix", "stranger")
	}
	l.run(l.mlseal, "verify", ref, "--key", "mlseal.pub")
	l.fails(l.mlseal, "verify", ref, "--key", "stranger.pub")
	if out := l.run(l.mlseal, "inspect", ref); !strings.Contains(out, "statements 2\n") {
		l.t.Errorf("%s has not both statements:\n%s", ref, out)
	}
}

func (l *lab) orasTakes(addr, packed string) {
	oras, ref := peer(l.t, "ORAS"), addr+"/team/model:v1"
	l.run(oras, "pull", "--plain-http", ref, "-o", "oras-pulled")
	l.same("model", "oras-pulled")
	if got := digest.FromBytes(l.output(oras, "manifest", "fetch", "--plain-http", ref)); got.String() != packed {
		l.t.Errorf("the manifest that oras fetches is %s, want %s", got, packed)
	}
	if n := l.bundlesOf(oras, "--plain-http", ref); n != 2 {
		l.t.Errorf("oras discovers %d bundles, want 2", n)
	}
}

func (l *lab) orasCopies(addr, packed string) {
	oras, ref := peer(l.t, "ORAS"), addr+"/oras/model:v1"
	l.run(oras, "cp", "-r", "--from-plain-http", "--to-plain-http", addr+"/team/model:v1", ref)
	l.verified(ref)
	if got := strings.TrimSpace(l.run(oras, "resolve", "--plain-http", ref)); got != packed {
		l.t.Errorf("the copy is %s, want %s", got, packed)
	}
	l.run(l.mlseal, "pull", ref, "oras-copied")
	l.same("model", "oras-copied")
	// What oras attaches goes along, and is no statement.
	l.write("notes.txt", "attached by oras")
	l.run(oras, "attach", "--plain-http", "--artifact-type", "application/vnd.example.notes", ref, "notes.txt:text/plain")
	l.run(l.mlseal, "copy", ref, addr+"/oras/again:v1")
	l.verified(addr + "/oras/again:v1")
	if out := l.run(l.mlseal, "inspect", addr+"/oras/again:v1"); !strings.Contains(out, "application/vnd.example.notes") {
		l.t.Errorf("what oras attached was left behind:\n%s", out)
	}
}

// orasPushes: a ModelPack that oras makes is a package, and another artifact is copied.
func (l *lab) orasPushes(addr, _ string) {
	oras, ref := peer(l.t, "ORAS"), addr+"/oras/pushed:v1"
	const weight = ":application/vnd.cncf.model.weight.v1.raw"
	l.write("made/config.json", `{"architectures":["T"]}`)
	l.write("made/sub/model.safetensors", "weights")
	l.write("config", "{}")
	push := l.command(oras, "push", "--plain-http", "--artifact-type", "application/vnd.cncf.model.manifest.v1+json",
		"--config", "../config:application/vnd.cncf.model.config.v1+json", ref, "config.json:application/vnd.cncf.model.weight.config.v1.raw", "sub/model.safetensors"+weight)
	push.Dir = filepath.Join(l.dir, "made")
	if out, err := push.CombinedOutput(); err != nil {
		l.t.Fatalf("oras push: %v\n%s", err, out)
	}
	l.run(l.mlseal, "pull", ref, "made-pulled")
	l.run("diff", "-r", "made", "made-pulled")
	dirHash := strings.TrimPrefix(strings.TrimSpace(l.run(l.mlseal, "hash", "made", "-o", "digest")), "dirHash:")
	if out := l.run(l.mlseal, "inspect", ref); !strings.Contains(out, dirHash) {
		l.t.Errorf("inspect does not show the dirHash %s:\n%s", dirHash, out)
	}
	l.run(l.mlseal, "sign", ref, "--key", "mlseal.key")
	l.run(l.mlseal, "verify", ref, "--key", "mlseal.pub")

	other := addr + "/oras/other:v1"
	l.run(oras, "push", "--plain-http", other, "note.json:application/json")
	if out := l.fails(l.mlseal, "inspect", other); !strings.Contains(out, "not a model or dataset package") {
		l.t.Errorf("another artifact is not refused as such:\n%s", out)
	}
	l.run(l.mlseal, "copy", other, "oci:other:v1")
	l.run(oras, "pull", "--oci-layout", "other:v1", "-o", "other-pulled")
	l.run("cmp", "note.json", "other-pulled/note.json")
}

func (l *lab) craneTakes(addr, packed string) {
	crane, ref := peer(l.t, "CRANE"), addr+"/team/model:v1"
	if got := strings.TrimSpace(l.run(crane, "digest", "--insecure", ref)); got != packed {
		l.t.Errorf("crane's digest is %s, want %s", got, packed)
	}
	manifest := l.output(crane, "manifest", "--insecure", ref)
	if got := digest.FromBytes(manifest); got.String() != packed {
		l.t.Errorf("crane's manifest is %s, want %s", got, packed)
	}
	var im ocispec.Manifest
	if err := json.Unmarshal(manifest, &im); err != nil || len(im.Layers) != 7 {
		l.t.Fatalf("%d layers, want 7: %v", len(im.Layers), err)
	}
	for _, layer := range im.Layers {
		got := l.output(crane, "blob", "--insecure", addr+"/team/model@"+layer.Digest.String())
		want, err := os.ReadFile(filepath.Join(l.dir, "model", filepath.FromSlash(layer.Annotations[ocispec.AnnotationTitle])))
		if err != nil || !bytes.Equal(got, want) {
			l.t.Errorf("%s: %v, other bytes: %q", layer.Annotations[ocispec.AnnotationTitle], err, got)
		}
	}
	l.run(crane, "validate", "--insecure", "--remote", ref)
	// One raw layer is exported as it is.
	one := addr + "/team/one:v1"
	l.write("one/model.safetensors", "weights")
	l.run(l.mlseal, "pack", "one", one)
	l.run(crane, "export", "--insecure", one, "exported")
	l.run("cmp", "one/model.safetensors", "exported")
}

func (l *lab) craneCopies(addr, packed string) {
	crane, from := peer(l.t, "CRANE"), addr+"/team/model:v1"
	l.run(crane, "copy", "--insecure", from, addr+"/crane/copied:v1")
	l.run(crane, "pull", "--insecure", "--format", "oci", from, "crane-layout")
	l.run(crane, "push", "--insecure", "crane-layout", addr+"/crane/pushed:v1")
	for dest, ref := range map[string]string{"crane-copied": addr + "/crane/copied:v1", "crane-pushed": addr + "/crane/pushed:v1", "crane-pulled": "oci:crane-layout"} {
		// crane leaves behind what is attached.
		if out := l.fails(l.mlseal, "verify", ref, "--key", "mlseal.pub"); !strings.Contains(out, "TYPE_MISSING") {
			l.t.Errorf("%s is refused for another reason:\n%s", ref, out)
		}
		if got := strings.TrimSpace(l.run(l.mlseal, "inspect", ref)); !strings.Contains(got, packed) {
			l.t.Errorf("%s is not %s:\n%s", ref, packed, got)
		}
		l.run(l.mlseal, "pull", ref, dest)
		l.same("model", dest)
	}
	l.run(l.mlseal, "sign", addr+"/crane/copied:v1", "--key", "mlseal.key")
	l.run(l.mlseal, "verify", addr+"/crane/copied:v1", "--key", "mlseal.pub")
}

func (l *lab) mlsealCopies(addr, packed string) {
	oras, ref := peer(l.t, "ORAS"), addr+"/prod/model:v1"
	if out := l.run(l.mlseal, "copy", addr+"/team/model:v1", ref); !strings.Contains(out, packed) {
		l.t.Errorf("the copy is not %s:\n%s", packed, out)
	}
	l.verified(ref)
	l.run(l.mlseal, "copy", ref, "oci:back:v1")
	l.verified("oci:back:v1")
	l.run(l.mlseal, "pull", ref, "mlseal-pulled")
	l.same("model", "mlseal-pulled")
	l.run(l.mlseal, "attest", ref, "--type", "https://example.test/note/v1", "--predicate", "note.json", "--key", "mlseal.key", "--replace")
	if n := l.bundlesOf(oras, "--plain-http", ref); n != 2 {
		l.t.Errorf("oras discovers %d bundles after one was replaced, want 2", n)
	}
	l.verified(ref)
}

// TestInteropOrasLayouts: oras reads our layouts and archives, and we read those that it writes.
func TestInteropOrasLayouts(t *testing.T) {
	l, packed := signedLab(t)
	oras := peer(t, "ORAS")
	l.run(l.mlseal, "copy", "oci:store:v1", "oci-archive:ours.tar:v1")
	for _, layout := range []string{"store", "ours.tar"} {
		ref := layout + ":v1"
		if n := l.bundlesOf(oras, "--oci-layout", ref); n != 2 {
			t.Errorf("oras discovers %d bundles in %s, want 2", n, layout)
		}
		if got := digest.FromBytes(l.output(oras, "manifest", "fetch", "--oci-layout", ref)); got.String() != packed {
			t.Errorf("the manifest in %s is %s, want %s", layout, got, packed)
		}
		out := "out-" + layout
		l.run(oras, "pull", "--oci-layout", ref, "-o", out)
		l.same("model", out)
		l.run(oras, "cp", "-r", "--from-oci-layout", ref, "--to-oci-layout", "copy-of-"+layout+":v1")
		l.verified("oci:copy-of-" + layout + ":v1")
	}
	registry := l.registry()
	l.run(oras, "restore", "--plain-http", "--input", "ours.tar", registry+"/restored/model:v1")
	l.verified(registry + "/restored/model:v1")
	l.run(oras, "backup", "--plain-http", "--include-referrers", "--output", "theirs.tar", registry+"/restored/model:v1")
	l.run(oras, "backup", "--plain-http", "--include-referrers", "--output", "theirs", registry+"/restored/model:v1")
	l.verified("oci-archive:theirs.tar:v1")
	l.verified("oci:theirs:v1")
	l.run(l.mlseal, "pull", "oci-archive:theirs.tar:v1", "restored")
	l.same("model", "restored")
	l.run(l.mlseal, "push", "oci-archive:theirs.tar:v1", registry+"/pushed/model:v1")
	l.verified(registry + "/pushed/model:v1")
}
