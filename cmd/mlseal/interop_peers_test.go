//go:build interop

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// peersModel is a tree with a file of each kind, none of them empty, since palan cannot download a blob without bytes.
var peersModel = map[string]string{
	"config.json": `{"architectures":["T"]}`, "model.safetensors": safetensors(), "sub/part.bin": strings.Repeat("weights", 1000),
	"src/run.py": "print(1)\n", "README.md": "# x\n", "ünïcode 模.txt": "u",
}

// safetensors is a file of that format with one tensor.
func safetensors() string {
	header := `{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + strings.Repeat("\x00", 16)
}

// ggufFile is a file of that format, version 3, that names its architecture and has no tensors.
func ggufFile() string {
	text := func(b []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	b := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, 0), 1)
	b = binary.LittleEndian.AppendUint32(text(b, "general.architecture"), 8)
	return string(text(b, "llama"))
}

// tree writes files into dir and returns their dirHash.
func (l *lab) tree(dir string, files map[string]string) string {
	l.t.Helper()
	for name, text := range files {
		l.write(dir+"/"+name, text)
	}
	return l.dirHash(dir)
}

func (l *lab) dirHash(dir string) string {
	l.t.Helper()
	return strings.TrimPrefix(strings.TrimSpace(l.run(l.mlseal, "hash", dir, "-o", "digest")), "dirHash:")
}

// takes inspects, pulls, signs and verifies a package that a peer made, and wants the tree with this dirHash.
func (l *lab) takes(ref, dirHash string) {
	l.t.Helper()
	if out := l.run(l.mlseal, "inspect", ref); !strings.Contains(out, dirHash) {
		l.t.Errorf("inspect does not show the dirHash %s:\n%s", dirHash, out)
	}
	dest := "taken-" + digest.FromString(ref).Encoded()[:12]
	l.run(l.mlseal, "pull", ref, dest)
	if got := l.dirHash(dest); got != dirHash {
		l.t.Errorf("%s: pulled %s, want %s", ref, got, dirHash)
	}
	l.run(l.mlseal, "sign", ref, "--key", "mlseal.key")
	l.run(l.mlseal, "verify", ref, "--key", "mlseal.pub")
	l.fails(l.mlseal, "verify", ref, "--key", "stranger.pub")
}

// keys makes the keys that takes needs.
func (l *lab) keys() {
	l.t.Helper()
	l.run(l.mlseal, "keys", "generate")
	l.run(l.mlseal, "keys", "generate", "--output-key-prefix", "stranger")
}

// hasDigest wants what crane sees at ref to be the package that mlseal packed.
func (l *lab) hasDigest(ref, packed string) {
	l.t.Helper()
	if got := strings.TrimSpace(l.run(peer(l.t, "CRANE"), "digest", "--insecure", ref)); got != packed {
		l.t.Errorf("%s is %s, want %s", ref, got, packed)
	}
}

func TestInteropModctl(t *testing.T) {
	path := peer(t, "MODCTL")
	l := newLab(t)
	l.keys()
	addr := l.registry()
	modctl := func(args ...string) {
		t.Helper()
		l.run(path, append([]string{"--no-progress", "--storage-dir", filepath.Join(l.dir, "modctl"), "--log-dir", filepath.Join(l.dir, "modctl-log")}, args...)...)
	}
	dirHash := l.tree("model", peersModel)
	l.write("model/empty", "")
	ours := addr + "/team/ours:v1"
	packed := strings.TrimSpace(l.run(l.mlseal, "pack", "model", ours, "-o", "digest"))
	modctl("pull", "--plain-http", ours, "--extract-dir", "stored")
	modctl("pull", "--plain-http", ours, "--extract-from-remote", "--extract-dir", "streamed")
	l.same("model", "stored")
	l.same("model", "streamed")
	modctl("tag", ours, addr+"/modctl/again:v1")
	modctl("push", "--plain-http", addr+"/modctl/again:v1")
	l.hasDigest(addr+"/modctl/again:v1", packed)

	if err := os.Remove(filepath.Join(l.dir, "model", "empty")); err != nil {
		t.Fatal(err)
	}
	l.write("Modelfile", "NAME demo\nARCH transformer\nFORMAT safetensors\nCONFIG config.json\nMODEL *.safetensors\nMODEL sub/part.bin\nCODE src/run.py\nDOC README.md\nDOC *.txt\n")
	for _, raw := range []string{"true", "false"} {
		for _, remote := range []bool{true, false} {
			ref := fmt.Sprintf("%s/modctl/built:raw-%s-%t", addr, raw, remote)
			if remote {
				modctl("build", "--raw="+raw, "-t", ref, "-f", "Modelfile", "--output-remote", "--plain-http", "model")
			} else {
				modctl("build", "--raw="+raw, "-t", ref, "-f", "Modelfile", "model")
				modctl("push", "--plain-http", ref)
			}
			l.takes(ref, dirHash)
		}
	}
	// A file added to ours: the package has layers and names of both times.
	added := addr + "/team/ours:added" // in the repository of ours: modctl sends the new file and the manifest only
	l.write("NOTES.md", "# added\n")
	modctl("attach", "--plain-http", "--output-remote", "-s", ours, "-t", added, "NOTES.md")
	l.write("model/empty", "")
	l.write("model/NOTES.md", "# added\n")
	l.takes(added, l.dirHash("model"))

	t.Run("same size", func(t *testing.T) {
		l.run(l.mlseal, "pull", ours, "mended")
		for _, dir := range []string{"stored", "streamed", "mended"} {
			l.write(dir+"/sub/part.bin", strings.Repeat("other!!", 1000))
		}
		modctl("pull", "--plain-http", ours, "--extract-dir", "stored")
		modctl("pull", "--plain-http", ours, "--extract-from-remote", "--extract-dir", "streamed")
		l.run(l.mlseal, "pull", ours, "mended")
		for _, dir := range []string{"stored", "streamed"} {
			t.Logf("modctl (%s), a file of the same size with other bytes: mended: %t", dir, l.command("cmp", "model/sub/part.bin", dir+"/sub/part.bin").Run() == nil)
		}
		l.run("cmp", "model/sub/part.bin", "mended/sub/part.bin")
	})
	t.Run("out of the destination", func(t *testing.T) {
		l := &lab{t, l.dir, l.mlseal}
		l.escaping(addr + "/hostile/model:v1")
		// The name leaves "inside"; it stays in the laboratory.
		for name, pull := range map[string][]string{"stored": nil, "streamed": {"--extract-from-remote"}} {
			args := append([]string{"--storage-dir", filepath.Join(l.dir, "modctl"), "--log-dir", filepath.Join(l.dir, "modctl-log"), "pull", "--plain-http", addr + "/hostile/model:v1", "--extract-dir", "trap/" + name + "/inside"}, pull...)
			out, err := l.command(path, args...).CombinedOutput()
			_, escaped := os.Stat(filepath.Join(l.dir, "trap", name, "escaped"))
			t.Logf("modctl (%s): %v, wrote outside: %t\n%s", name, err, escaped == nil, out)
		}
	})
}

// escaping pushes a package whose one layer is named ../escaped to ref, and wants mlseal to refuse it.
func (l *lab) escaping(ref string) {
	l.t.Helper()
	layout, err := oci.CreateLayout(l.t.Context(), filepath.Join(l.dir, "hostile"))
	if err != nil {
		l.t.Fatal(err)
	}
	put := func(mediaType, text string) ocispec.Descriptor {
		desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
		if err := layout.Push(l.t.Context(), desc, strings.NewReader(text)); err != nil {
			l.t.Fatal(err)
		}
		return desc
	}
	layer := put("application/vnd.cncf.model.weight.v1.raw", "escaped")
	layer.Annotations = map[string]string{oci.AnnotationPath: "../escaped", ocispec.AnnotationTitle: "../escaped"}
	config := put(oci.MediaTypeConfig, `{"descriptor":{"name":"x"},"modelfs":{"type":"layers","diffIds":["`+layer.Digest.String()+`"]},"config":{}}`)
	data, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: oci.ArtifactType, Config: config, Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := layout.Tag(l.t.Context(), put(ocispec.MediaTypeImageManifest, string(data)), "v1"); err != nil {
		l.t.Fatal(err)
	}
	l.run(peer(l.t, "ORAS"), "cp", "--from-oci-layout", "--to-plain-http", "hostile:v1", ref)
	for _, ref := range []string{ref, "oci:hostile:v1"} {
		cmd := l.command(l.mlseal, "pull", ref, "trap/mlseal/inside")
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "not a plain relative path") {
			l.t.Errorf("%s: exit status %d: %s", ref, cmd.ProcessState.ExitCode(), out)
		}
		if _, err := os.Stat(filepath.Join(l.dir, "trap", "mlseal", "escaped")); err == nil {
			l.t.Errorf("%s: a file was written outside of the destination", ref)
		}
	}
}

func TestInteropPalan(t *testing.T) {
	palan := peer(t, "PALAN")
	l := newLab(t)
	l.keys()
	addr := l.referrersRegistry()
	dirHash := l.tree("model", peersModel)
	ours := addr + "/team/ours:v1"
	packed := strings.TrimSpace(l.run(l.mlseal, "pack", "model", ours, "-o", "digest"))
	l.run(l.mlseal, "sign", ours, "--key", "mlseal.key")
	l.run(palan, "pull", "--plain-http", "--quiet", ours, "-o", "pulled")
	l.same("model", "pulled")
	l.run(palan, "cp", "--plain-http", "--quiet", ours, addr+"/palan/copied:v1")
	l.hasDigest(addr+"/palan/copied:v1", packed)
	l.run(palan, "save", "--quiet", ours, "-o", "saved.tar")
	l.run(l.mlseal, "pull", "oci-archive:saved.tar", "saved")
	l.same("model", "saved")
	l.run(l.mlseal, "copy", ours, "oci-archive:ours.tar:v1")
	t.Setenv("PALAN_HOME", filepath.Join(l.dir, "palan-loaded"))
	l.run(palan, "load", "--quiet", "-i", "ours.tar")
	if out := l.run(palan, "ls"); !strings.Contains(out, packed[:len("sha256:")+12]) {
		t.Errorf("palan loaded another package than %s:\n%s", packed, out)
	}

	l.write("palan/config.json", peersModel["config.json"])
	l.write("palan/model.safetensors", peersModel["model.safetensors"])
	theirs := addr + "/palan/packed:v1"
	l.run(palan, "pack", "palan", "-t", theirs)
	l.run(palan, "push", "--plain-http", "--quiet", theirs)
	l.takes(theirs, l.dirHash("palan"))

	// It signs with our key file in cosign's older form, which stands beside ours and is no statement.
	l.run(palan, "sign", "--plain-http", "--quiet", "--key", "mlseal.key", ours)
	l.run(palan, "verify", "--plain-http", "--quiet", "--key", "mlseal.pub", ours)
	l.fails(palan, "verify", "--plain-http", "--quiet", "--key", "stranger.pub", ours)
	l.run(l.mlseal, "verify", ours, "--key", "mlseal.pub")
	if out := l.run(l.mlseal, "inspect", ours); !strings.Contains(out, "statements 1\n") || !strings.Contains(out, dirHash) {
		t.Errorf("inspect shows:\n%s", out)
	}
	t.Run("traps", func(t *testing.T) {
		l := &lab{t, l.dir, l.mlseal}
		l.write("pulled/sub/part.bin", strings.Repeat("other!!", 1000))
		out, err := l.command(palan, "pull", "--plain-http", "--quiet", ours, "-o", "pulled").CombinedOutput()
		t.Logf("palan, a file of the same size: %v, mended: %t\n%s", err, l.command("cmp", "model/sub/part.bin", "pulled/sub/part.bin").Run() == nil, out)
		l.escaping(addr + "/hostile/model:v1")
		out, err = l.command(palan, "pull", "--plain-http", "--quiet", addr+"/hostile/model:v1", "-o", "trap/palan/inside").CombinedOutput()
		_, escaped := os.Stat(filepath.Join(l.dir, "trap", "palan", "escaped"))
		t.Logf("palan: %v, wrote outside: %t\n%s", err, escaped == nil, out)
		l.write("empty/config.json", "")
		l.write("empty/model.safetensors", peersModel["model.safetensors"])
		l.run(l.mlseal, "pack", "empty", addr+"/team/empty:v1")
		out, err = l.command(palan, "pull", "--plain-http", "--quiet", addr+"/team/empty:v1", "-o", "empty-pulled").CombinedOutput()
		t.Logf("palan, a package with an empty file: %v\n%s", err, out)
	})
}

// runner is Docker Model Runner's daemon on a socket, without an engine.
type runner struct {
	*lab
	client *http.Client
	store  string
}

func (l *lab) modelRunner() *runner {
	l.t.Helper()
	dir, err := os.MkdirTemp("", "dmr") // a socket's path is short
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, value := range map[string]string{"DISABLE_SERVER_UPDATE": "1", "LLAMA_SERVER_PATH": "no-engine", "MODEL_RUNNER_LOG_DIR": "", "MODELS_PATH": "models"} {
		l.t.Setenv(name, filepath.Join(dir, value))
	}
	l.t.Setenv("DISABLE_SERVER_UPDATE", "1")
	socket := filepath.Join(dir, "s")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	l.t.Cleanup(client.CloseIdleConnections)
	l.serveUntil("MODEL_RUNNER", func() ([]byte, bool) { return get(client, "http://runner/models") }, "--socket", socket)
	return &runner{l, client, filepath.Join(dir, "models")}
}

// post wants success, which the runner says at the end of its answer when that is a stream.
func (r *runner) post(path, body, success string) {
	r.t.Helper()
	resp, err := r.client.Post("http://runner"+path, "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil || resp.StatusCode/100 != 2 || !strings.Contains(answer.String(), success) {
		r.t.Fatalf("%s %s: %d, %v\n%s", path, body, resp.StatusCode, err, &answer)
	}
}

// TestInteropModelRunner: Docker Model Runner pulls and pushes our packages, and we take those that it makes.
func TestInteropModelRunner(t *testing.T) {
	dmr := peer(t, "MODEL_RUNNER")
	l := newLab(t)
	l.keys()
	// It speaks http to a registry on this machine only when that is called localhost.
	addr := strings.Replace(l.registry(), "127.0.0.1", "localhost", 1)
	r := l.modelRunner()
	for name, files := range map[string]map[string]string{"gguf": {"model.gguf": ggufFile()}, "tree": peersModel} {
		l.tree(name, files)
		ref, again := addr+"/team/"+name+":v1", addr+"/runner/"+name+":v1"
		packed := strings.TrimSpace(l.run(l.mlseal, "pack", name, ref, "-o", "digest"))
		r.post("/models/create", `{"from":"`+ref+`"}`, "Model pulled successfully")
		if list, ok := get(r.client, "http://runner/models"); !ok || !strings.Contains(string(list), packed) {
			t.Errorf("it does not have %s: %s", packed, list)
		}
		for file, text := range files {
			blob, err := os.ReadFile(filepath.Join(r.store, "blobs", "sha256", digest.FromString(text).Encoded()))
			if err != nil || string(blob) != text {
				t.Errorf("%s: %v, other bytes", file, err)
			}
		}
		r.post("/models/"+ref+"/tag?"+url.Values{"repo": {addr + "/runner/" + name}, "tag": {"v1"}}.Encode(), "", "tagged")
		r.post("/models/"+again+"/push", "", "Model pushed successfully")
		l.hasDigest(again, packed)
	}

	l.write("LICENSE", "MIT")
	l.write("folder/README.md", "# x")
	l.write("folder/config.json", peersModel["config.json"])
	l.write("folder/model.safetensors", peersModel["model.safetensors"])
	abs := func(name string) string { return filepath.Join(l.dir, name) }
	for _, format := range []string{"docker", "cncf"} {
		ref := addr + "/runner/file-" + format + ":v1"
		l.run(dmr, "package", "--gguf", abs("gguf/model.gguf"), "--license", abs("LICENSE"), "--format", format, "--push", ref)
		l.takes(ref, l.tree("file", map[string]string{"model.gguf": ggufFile(), "LICENSE": "MIT"}))
		ref = addr + "/runner/folder-" + format + ":v1"
		l.run(dmr, "package", "--safetensors-dir", abs("folder"), "--format", format, "--push", ref)
		l.takes(ref, l.dirHash("folder"))
	}
}
