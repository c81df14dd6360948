//go:build interop

package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fullPeers are those that only `make interop-full` builds.
var fullPeers = []string{"COSIGN2", "COSIGN3", "FULCIO", "TIMESTAMP_SERVER", "REKOR2", "TRANSIT", "KIT", "MODCTL"}

// otherPeers are those that not every package registry serves, if any, with the names of their commands: those on PATH serve too.
var otherPeers = map[string]string{"MODCTL": "modctl", "PALAN": "palan", "ZOT": "zot", "MODEL_RUNNER": "dmr"}

// peer is the command that .ci/interop installed or that the environment names. A peer that `make interop` needs fails when it is
// missing; the others are skipped, by name: .ci/interop repeats what "did NOT run".
func peer(t *testing.T, name string) string {
	t.Helper()
	if path := os.Getenv("MLSEAL_PEER_" + name); path != "" {
		return path
	}
	var remedies []string
	if slices.Contains(fullPeers, name) {
		remedies = append(remedies, "make interop-full builds it")
	}
	if command, ok := otherPeers[name]; ok {
		if path, err := exec.LookPath(command); err == nil {
			return path
		}
		remedies = append(remedies, fmt.Sprintf("put %s on PATH or name it with MLSEAL_PEER_%s", command, name))
	}
	if remedies == nil {
		t.Fatalf("peer %s is missing: run .ci/interop", name)
	}
	t.Skipf("peer %s is not here: %s; %s did NOT run", name, strings.Join(remedies, ", or "), t.Name())
	return ""
}

// lab is a folder with mlseal's binary, where commands run.
type lab struct {
	t      *testing.T
	dir    string
	mlseal string
}

// newLab builds mlseal, with the flags that are given.
func newLab(t *testing.T, flags ...string) *lab {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "mlseal")
	if out, err := exec.Command("go", append(append([]string{"build", "-o", bin}, flags...), ".")...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return &lab{t, dir, bin}
}

func (l *lab) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), "MLSEAL_PASSWORD=pw", "COSIGN_PASSWORD=pw", "HOME="+l.dir, "NO_COLOR=1", "TUF_ROOT="+filepath.Join(l.dir, "tuf"))
	return cmd
}

// run wants success and returns what was printed.
func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	out, err := l.command(name, args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fails wants any other exit status than 0.
func (l *lab) fails(name string, args ...string) string {
	l.t.Helper()
	out, err := l.command(name, args...).CombinedOutput()
	if err == nil {
		l.t.Fatalf("%s %s succeeded and must not\n%s", filepath.Base(name), strings.Join(args, " "), out)
	}
	return string(out)
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	path := filepath.Join(l.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// model writes a tree with what file names can be: nested, spaces, unicode, dotfiles, empty.
func (l *lab) model() {
	for name, text := range map[string]string{
		"model/config.json": `{"architectures":["T"]}`, "model/model.safetensors": "w", "model/model/layer 1.bin": "x",
		"model/ünïcode 模型.txt": "u", "model/.hidden": "dot", "model/empty": "", "model/a/b/c/d.txt": "deep", "model/.gitignore": "left out",
	} {
		l.write(name, text)
	}
}

// registry starts distribution's registry on a free port of loopback; it has no referrers API.
func (l *lab) registry() string {
	l.t.Helper()
	addr := "127.0.0.1:" + l.freePorts(1)[0]
	l.write("registry.yml", fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: %s}\n", l.dir, addr))
	l.serve("REGISTRY", "http://"+addr+"/v2/", "registry.yml")
	return addr
}

// freePorts are ports of loopback that nobody listens on.
func (l *lab) freePorts(n int) []string {
	l.t.Helper()
	var ports []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.t.Fatal(err)
		}
		defer listener.Close()
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			l.t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// serve runs a peer's serve command until the test ends, and returns what its address answers once it does.
func (l *lab) serve(name, ready string, args ...string) []byte {
	l.t.Helper()
	return l.serveUntil(name, func() ([]byte, bool) { return get(http.DefaultClient, ready) }, args...)
}

// serveUntil is serve with another way to ask whether the server is ready.
func (l *lab) serveUntil(name string, ready func() ([]byte, bool), args ...string) []byte {
	l.t.Helper()
	return l.start(name, ready, append([]string{"serve"}, args...)...)
}

// start runs a peer that serves until the test ends, and returns what ready returns once it does.
func (l *lab) start(name string, ready func() ([]byte, bool), args ...string) []byte {
	l.t.Helper()
	cmd := l.command(peer(l.t, name), args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop := func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	l.t.Cleanup(stop)
	for range 150 {
		if answer, ok := ready(); ok {
			return answer
		}
		select {
		case <-ended:
			l.t.Fatalf("%s ended:\n%s", name, log.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	stop()
	l.t.Fatalf("%s did not start:\n%s", name, log.String())
	return nil
}

// get asks once; any status but 200 is no answer.
func get(client *http.Client, address string) ([]byte, bool) {
	resp, err := client.Get(address)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return body, err == nil && resp.StatusCode == http.StatusOK
}

// zot starts zot on a free port of loopback; it has the referrers API, and mounts blobs when it keeps each once.
func (l *lab) zot() string {
	l.t.Helper()
	port := l.freePorts(1)[0]
	l.write("zot.json", fmt.Sprintf(`{"distSpecVersion":"1.1.1","storage":{"rootDirectory":%q,"gc":false,"dedupe":true},"http":{"address":"127.0.0.1","port":%q},"log":{"level":"error"}}`, l.dir+"/zot", port))
	l.serve("ZOT", "http://127.0.0.1:"+port+"/v2/", "zot.json")
	return "127.0.0.1:" + port
}

// referrersRegistry is go-containerregistry's, with the referrers API.
func (l *lab) referrersRegistry() string {
	server := httptest.NewServer(testRegistry(true))
	l.t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// plainKeys makes a PEM key pair, which is what the Python package reads.
func (l *lab) plainKeys(curve string) {
	l.run("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", "plain.key")
	l.run("openssl", "ec", "-in", "plain.key", "-pubout", "-out", "plain.pub")
}

// certificates makes an authority, ca.pem, and a certificate of it with its key, leaf.pem and leaf.key.
func (l *lab) certificates() {
	l.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test-ca", "-days", "2")
	l.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "leaf.key")
	l.run("openssl", "req", "-new", "-key", "leaf.key", "-subj", "/CN=test-leaf", "-out", "leaf.csr")
	l.write("leaf.cnf", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n")
	l.run("openssl", "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "leaf.cnf", "-days", "1", "-out", "leaf.pem")
}

func TestInteropModelSigning(t *testing.T) {
	python := peer(t, "MODEL_SIGNING")
	for _, curve := range []string{"prime256v1", "secp384r1", "secp521r1"} {
		t.Run(curve, func(t *testing.T) {
			l := newLab(t)
			l.model()
			l.plainKeys(curve)
			l.run(l.mlseal, "sign", "model", "--key", "plain.key", "--signature", "ours.sig")
			l.run(python, "verify", "key", "--signature", "ours.sig", "--public_key", "plain.pub", "model")
			l.run(python, "sign", "key", "--signature", "theirs.sig", "--private_key", "plain.key", "model")
			l.run(l.mlseal, "verify", "model", "--signature", "theirs.sig", "--key", "plain.pub")
			l.write("model/evil.py", "x")
			l.fails(python, "verify", "key", "--signature", "ours.sig", "--public_key", "plain.pub", "model")
			if out := l.fails(l.mlseal, "verify", "model", "--signature", "theirs.sig", "--key", "plain.pub"); !strings.Contains(out, "evil.py") {
				t.Errorf("the extra file is not named:\n%s", out)
			}
		})
	}
	t.Run("cosign-format key", func(t *testing.T) {
		l := newLab(t)
		l.model()
		l.run(l.mlseal, "keys", "generate")
		l.run(l.mlseal, "sign", "model", "--key", "mlseal.key", "--signature", "model/model.sig")
		l.run(python, "verify", "key", "--signature", "model/model.sig", "--public_key", "mlseal.pub", "model")
	})
	t.Run("certificate chain", func(t *testing.T) {
		l := newLab(t)
		l.model()
		l.certificates()
		l.run(l.mlseal, "sign", "model", "--key", "leaf.key", "--certificate", "leaf.pem", "--certificate-chain", "ca.pem", "--signature", "ours.sig")
		l.run(l.mlseal, "verify", "model", "--signature", "ours.sig", "--certificate-chain", "ca.pem")
		l.run(python, "verify", "certificate", "--signature", "ours.sig", "--certificate_chain", "ca.pem", "model")
		l.run(python, "sign", "certificate", "--signature", "theirs.sig", "--private_key", "leaf.key", "--signing_certificate", "leaf.pem", "--certificate_chain", "ca.pem", "model")
		l.run(l.mlseal, "verify", "model", "--signature", "theirs.sig", "--certificate-chain", "ca.pem")
		l.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=test-ca", "-days", "2")
		l.fails(l.mlseal, "verify", "model", "--signature", "ours.sig", "--certificate-chain", "other.pem")
		l.fails(python, "verify", "certificate", "--signature", "ours.sig", "--certificate_chain", "other.pem", "model")
		l.fails(l.mlseal, "verify", "model", "--signature", "theirs.sig", "--certificate-chain", "other.pem")
	})
	t.Run("bare file", func(t *testing.T) {
		l := newLab(t)
		l.model()
		l.plainKeys("prime256v1")
		l.run(python, "sign", "key", "--signature", "theirs.sig", "--private_key", "plain.key", "model/config.json")
		l.run(l.mlseal, "verify", "model/config.json", "--signature", "theirs.sig", "--key", "plain.pub")
	})
}

// TestInteropOlderModelSigning: earlier releases of the reference verify ours. What they signed stands among the vectors: here they sign
// nothing, since they fetch Sigstore's roots even for a key. 0.3.1 ends with status 0 whatever it found, so its words are read.
func TestInteropOlderModelSigning(t *testing.T) {
	for _, name := range []string{"MODEL_SIGNING_1_0", "MODEL_SIGNING_0_3"} {
		t.Run(name, func(t *testing.T) {
			python := peer(t, name)
			l := newLab(t)
			l.model()
			l.certificates()
			// They look for the files of git that they leave out in the working directory, not in the model.
			git := []string{"--ignore-paths", "model/.gitignore", "model"}
			verified := func(args []string) bool {
				out, _ := l.command(python, args...).CombinedOutput()
				if strings.Contains(string(out), "Verification succeeded") == strings.Contains(string(out), "Verification failed") {
					t.Fatalf("it says neither yes nor no: %s", out)
				}
				return strings.Contains(string(out), "Verification succeeded")
			}
			byKey := append([]string{"verify", "key", "--signature", "key.sig", "--public_key", "plain.pub"}, git...)
			byCertificate := append([]string{"verify", "certificate", "--signature", "certified.sig", "--certificate_chain", "ca.pem"}, git...)
			for _, curve := range []string{"prime256v1", "secp384r1", "secp521r1"} {
				l.plainKeys(curve)
				l.run(l.mlseal, "sign", "model", "--key", "plain.key", "--signature", "key.sig")
				if !verified(byKey) {
					t.Errorf("a signature with %s is refused", curve)
				}
			}
			l.run(l.mlseal, "sign", "model", "--key", "leaf.key", "--certificate", "leaf.pem", "--signature", "certified.sig")
			// 0.3.1 verifies no certificate at all: it asks its library for what that never had.
			if works := name != "MODEL_SIGNING_0_3"; verified(byCertificate) != works {
				t.Errorf("a signature with a certificate is verified: %t", !works)
			}
			l.write("model/a/b/c/d.txt", "changed")
			if verified(byKey) || verified(byCertificate) {
				t.Error("a changed file passes")
			}
		})
	}
}

func TestInteropOras(t *testing.T) {
	l := newLab(t)
	oras := peer(t, "ORAS")
	l.model()
	l.run(l.mlseal, "keys", "generate")
	digest := strings.TrimSpace(l.run(l.mlseal, "pack", "model", "oci:store:v1", "-o", "digest"))
	l.run(l.mlseal, "sign", "oci:store:v1", "--key", "mlseal.key")

	l.run(oras, "pull", "--oci-layout", "store:v1", "-o", "pulled")
	l.run("diff", "-r", "-x", ".gitignore", "model", "pulled")
	if out := l.run(oras, "discover", "--oci-layout", "store:v1", "--format", "json"); !strings.Contains(out, "vnd.dev.sigstore.bundle.v0.3+json") {
		t.Errorf("oras discovers no bundle:\n%s", out)
	}
	for name, start := range registries {
		t.Run(name, func(t *testing.T) {
			l := &lab{t, l.dir, l.mlseal}
			addr := start(l)
			ref := addr + "/team/model:v1"
			l.run(oras, "cp", "-r", "--from-oci-layout", "store:v1", "--to-plain-http", ref)
			l.run(l.mlseal, "verify", ref, "--key", "mlseal.pub")
			if got := l.run(oras, "resolve", "--plain-http", ref); strings.TrimSpace(got) != digest {
				t.Errorf("the digest is %s, want %s", got, digest)
			}
			// and the other way: what mlseal pushed, oras carries into a layout
			pushed := addr + "/team/pushed:v1"
			if got := strings.TrimSpace(l.run(l.mlseal, "pack", "model", pushed, "-o", "digest")); got != digest {
				t.Errorf("packed into a registry the digest is %s, want %s", got, digest)
			}
			l.run(l.mlseal, "sign", pushed, "--key", "mlseal.key")
			layout := "back-" + hex.EncodeToString([]byte(name))
			l.run(oras, "cp", "-r", "--from-plain-http", pushed, "--to-oci-layout", layout+":v1")
			l.run(l.mlseal, "verify", "oci:"+layout+":v1", "--key", "mlseal.pub")
			l.run(l.mlseal, "pull", "oci:"+layout+":v1", layout+"-out")
			l.run("diff", "-r", "-x", ".gitignore", "model", layout+"-out")
		})
	}
}

// cosignFlags make cosign verify our bundles with a public key.
func (l *lab) cosignFlags(cosign, name, public string) []string {
	l.t.Helper()
	flags := []string{"--key", public, "--insecure-ignore-tlog=true", "--allow-http-registry"}
	if name == "COSIGN2" {
		l.run(cosign, "trusted-root", "create", "--out", "root.json")
		flags = append(flags, "--new-bundle-format", "--trusted-root", "root.json")
	}
	return flags
}

// TestInteropCosign: both command lines read our key files and verify our statements, and we verify theirs.
func TestInteropCosign(t *testing.T) {
	for _, name := range []string{"COSIGN2", "COSIGN3"} {
		t.Run(name, func(t *testing.T) {
			cosign := peer(t, name)
			l := newLab(t)
			l.model()
			l.run(l.mlseal, "keys", "generate")
			public, err := os.ReadFile(filepath.Join(l.dir, "mlseal.pub"))
			if err != nil {
				t.Fatal(err)
			}
			if got := l.run(cosign, "public-key", "--key", "mlseal.key"); !strings.Contains(got, strings.TrimSpace(string(public))) {
				t.Errorf("cosign reads another public key from our file:\n%s", got)
			}
			ref := l.referrersRegistry() + "/team/model"
			digest := strings.TrimSpace(l.run(l.mlseal, "pack", "model", ref+":v1", "-o", "digest"))
			at := ref + "@" + digest
			const note = "https://example.test/note/v1"
			l.write("note.json", `{"note":"x"}`)
			l.run(l.mlseal, "sign", at, "--key", "mlseal.key")
			l.run(l.mlseal, "attest", at, "--type", note, "--predicate", "note.json", "--key", "mlseal.key")

			verify := l.cosignFlags(cosign, name, "mlseal.pub")
			attest := []string{"attest", "--key", "mlseal.key", "--yes", "--allow-http-registry", "--type", note + "/theirs", "--predicate", "note.json"}
			if name == "COSIGN2" {
				attest = append(attest, "--new-bundle-format", "--tlog-upload=false")
			} else {
				l.run(cosign, "signing-config", "create", "--out", "sc.json")
				attest = append(attest, "--signing-config", "sc.json")
			}
			l.run(cosign, append(append([]string{"verify-attestation", "--type", note}, verify...), at)...)
			l.run(cosign, append(append([]string{"verify"}, verify...), at)...)
			l.run(l.mlseal, "keys", "generate", "--output-key-prefix", "stranger")
			wrong := append([]string(nil), verify...)
			wrong[1] = "stranger.pub"
			l.fails(cosign, append(append([]string{"verify-attestation", "--type", note}, wrong...), at)...)

			l.run(cosign, append(attest, at)...)
			policy := "apiVersion: mlseal.dev/policy/v1\nname: theirs\nsigners: {us: {key: mlseal.pub}}\nrequire: [{id: note, attestation: \"" + note + "/theirs\", by: [us], where: 'predicate.note == \"x\"'}]\n"
			l.write("policy.yaml", policy)
			// cosign attest writes Statement v0.1, which a policy must accept by name.
			if out := l.fails(l.mlseal, "verify", at, "--policy", "policy.yaml"); !strings.Contains(out, "Statement/v0.1") {
				t.Errorf("the denial does not name the statement's version:\n%s", out)
			}
			l.write("policy.yaml", policy+"statements: [v1, v0.1]\n")
			l.run(l.mlseal, "verify", at, "--policy", "policy.yaml")

			// cosign's own key files sign here
			l.run(cosign, "generate-key-pair", "--output-key-prefix", "theirs")
			l.run(l.mlseal, "sign", "model", "--key", "theirs.key")
			l.run(l.mlseal, "verify", "model", "--signature", "model.sig", "--key", "theirs.pub")
		})
	}
}

// TestInteropCosignLayout: cosign verifies our statements in a layout on disk, and we verify the layout that it saves. (cosign 2.6.5 looks
// there for its own older form only, and does not write the bundles that it saves.)
func TestInteropCosignLayout(t *testing.T) {
	cosign := peer(t, "COSIGN3")
	l := newLab(t)
	l.model()
	l.run(l.mlseal, "keys", "generate")
	l.run(l.mlseal, "keys", "generate", "--output-key-prefix", "stranger")
	const note = "https://example.test/note/v1"
	l.write("note.json", `{"note":"x"}`)
	l.run(l.mlseal, "pack", "model", "oci:store:v1")
	l.run(l.mlseal, "sign", "oci:store:v1", "--key", "mlseal.key")
	l.run(l.mlseal, "attest", "oci:store:v1", "--type", note, "--predicate", "note.json", "--key", "mlseal.key")
	flags := []string{"--insecure-ignore-tlog=true", "--local-image", "store"}
	l.run(cosign, append([]string{"verify", "--key", "mlseal.pub"}, flags...)...)
	l.run(cosign, append([]string{"verify-attestation", "--type", note, "--key", "mlseal.pub"}, flags...)...)
	l.fails(cosign, append([]string{"verify", "--key", "stranger.pub"}, flags...)...)
	l.fails(cosign, append([]string{"verify-attestation", "--type", note + "/other", "--key", "mlseal.pub"}, flags...)...)

	ref := l.registry() + "/team/model:v1"
	l.run(l.mlseal, "push", "oci:store:v1", ref)
	l.run(cosign, "save", "--allow-http-registry", "--dir", "saved", ref)
	l.run(l.mlseal, "verify", "oci:saved", "--key", "mlseal.pub")
	l.fails(l.mlseal, "verify", "oci:saved", "--key", "stranger.pub")
	if out := l.run(l.mlseal, "inspect", "oci:saved"); !strings.Contains(out, "statements 2") {
		t.Errorf("not both statements were saved:\n%s", out)
	}
}
