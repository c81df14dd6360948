//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// hangs is how long a command may take before it counts as one that waits for something that never comes.
const hangs = 2 * time.Minute

// command is the real main as a process: TestMain put a program of this name into PATH.
func command(ctx context.Context, dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, "mlseal", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MLSEAL_PASSWORD=pw", "HOME="+dir, "DOCKER_CONFIG="+dir)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	return cmd, &stderr
}

// runProcess runs a command to its end.
func runProcess(t *testing.T, dir string, args ...string) (status int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd, errs := command(ctx, dir, args...)
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Errorf("%v: still at work after %v", args, hangs)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Errorf("%v: %v", args, err)
		return -1, errs.String()
	}
	return cmd.ProcessState.ExitCode(), errs.String()
}

// succeed runs a command that must end with status 0.
func succeed(t *testing.T, dir string, args ...string) {
	t.Helper()
	if status, errs := runProcess(t, dir, args...); status != statusDone {
		t.Errorf("%v: status %d: %s", args, status, errs)
	}
}

// hasCommand reports whether this mlseal has the command.
func hasCommand(t *testing.T, dir, name string) bool {
	t.Helper()
	status, _ := runProcess(t, dir, "help", name)
	return status == statusDone
}

// testFiles is a tree in memory.
type testFiles map[string][]byte

// randomFiles makes a tree of a few megabytes: half of it is in all trees of one source, and so in one blob.
func randomFiles(rng *rand.Rand, shared []byte) testFiles {
	files := testFiles{"shared.safetensors": shared, "config.json": []byte(`{"model_type":"llama"}`), "empty": nil}
	for _, name := range []string{"weights/a.bin", "weights/b.bin", "c.bin"} {
		files[name] = randomBytes(rng, 1+rng.IntN(700<<10))
	}
	return files
}

func randomBytes(rng *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

func (files testFiles) write(t *testing.T, dir string) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkPulled fails for a file below dir that is not in files, or has other bytes than there. What is
// missing is an error only if all is wanted.
func (files testFiles) checkPulled(t *testing.T, dir string, all bool) {
	t.Helper()
	found := 0
	for name, data := range readTree(t, dir) {
		want, ok := files[name]
		switch {
		case strings.HasPrefix(name, ".mlseal-pull-") && !all:
		case !ok:
			t.Errorf("%s: no such file in the package: %s", dir, name)
		case !bytes.Equal(data, want):
			t.Errorf("%s: %s has its name and not its bytes: %d of %d", dir, name, len(data), len(want))
		default:
			found++
		}
	}
	if all && found != len(files) {
		t.Errorf("%s: %d of %d files are there", dir, found, len(files))
	}
}

// readTree reads all files below dir, which may be missing.
func readTree(t *testing.T, dir string) testFiles {
	t.Helper()
	files := testFiles{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

// unchanged fails when a file is new, another one or gone. An empty lock is what a layout leaves that could not be made.
func unchanged(t *testing.T, before, after testFiles) {
	t.Helper()
	for name, data := range after {
		old, ok := before[name]
		if (!ok || !bytes.Equal(old, data)) && (name != "fresh/.mlseal.lock" || len(data) > 0) {
			t.Errorf("%s is new or another one", name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
}

// temporary tells the names of files that a layout's writer has not finished.
var temporary = regexp.MustCompile(`(^|/)\.mlseal-[0-9]+$`)

// layoutState is what a layout was found to hold, all of it whole.
type layoutState struct {
	tags      map[string]string // to digests
	referrers map[string]bool   // digests
	temps     []string          // names of unfinished files
}

// checkLayout reads a layout, without the code that wrote it where that is possible, and fails unless every blob is what its name
// says, every manifest that index.json lists is there with all its blobs, and the lock is free.
func checkLayout(t *testing.T, dir string) layoutState {
	t.Helper()
	s := layoutState{tags: map[string]string{}, referrers: map[string]bool{}}
	files := readTree(t, dir)
	blobs := map[string][]byte{}
	for name, data := range files {
		encoded, isBlob := strings.CutPrefix(name, "blobs/sha256/")
		switch {
		case temporary.MatchString(name):
			s.temps = append(s.temps, name)
		case isBlob:
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != encoded {
				t.Errorf("%s: the blob %s has other bytes than its name says: %d", dir, encoded, len(data))
			}
			blobs["sha256:"+encoded] = data
		case name != "oci-layout" && name != "index.json" && name != ".mlseal.lock":
			t.Errorf("%s: what is %s?", dir, name)
		}
	}
	var version ocispec.ImageLayout
	if err := json.Unmarshal(files["oci-layout"], &version); err != nil || version.Version != "1.0.0" {
		t.Errorf("%s: oci-layout is %q", dir, files["oci-layout"])
	}
	var index ocispec.Index
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Errorf("%s: index.json is %q: %v", dir, files["index.json"], err)
	}
	for _, entry := range index.Manifests {
		var im ocispec.Manifest
		if err := json.Unmarshal(blobs[entry.Digest.String()], &im); err != nil {
			t.Errorf("%s: %s is listed: %v", dir, entry.Digest, err)
			continue
		}
		for _, part := range append(im.Layers, im.Config) {
			if data, ok := blobs[part.Digest.String()]; !ok || int64(len(data)) != part.Size {
				t.Errorf("%s: %s is listed, and its blob %s is not there", dir, entry.Digest, part.Digest)
			}
		}
		if tag := entry.Annotations[ocispec.AnnotationRefName]; tag != "" {
			s.tags[tag] = entry.Digest.String()
		}
		if im.Subject != nil {
			s.referrers[entry.Digest.String()] = true
		}
	}
	checkFree(t, filepath.Join(dir, ".mlseal.lock"))
	return s
}

// checkFree fails when somebody holds the lock on a file or directory that may be missing.
func checkFree(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("%s is locked: %v", name, err)
	}
}

// checkTarget resolves a tag through the package's own API and verifies all of it; it returns the digest, or "" where there
// is no such tag, and the digests of the bundles.
func checkTarget(t *testing.T, reference string) (found string, bundles map[string]bool) {
	t.Helper()
	bundles = map[string]bool{}
	ctx := context.Background()
	ref, err := oci.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	target, err := oci.Open(ctx, ref, oci.OpenOptions{})
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return "", bundles
	}
	desc, err := oci.Resolve(ctx, target, ref)
	if errors.Is(err, oci.ErrNotFound) {
		return "", bundles
	}
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return "", bundles
	}
	pkg, err := oci.FetchPackage(ctx, target, desc)
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return "", bundles
	}
	report, err := oci.VerifyContent(ctx, target, pkg, oci.ContentOptions{})
	if err != nil || report.Err() != nil {
		t.Errorf("%s: %v, %v", reference, err, report.Err())
	}
	all, err := oci.Bundles(ctx, target, desc)
	if err != nil {
		t.Errorf("%s: %v", reference, err)
	}
	for _, b := range all {
		if b.Err != nil {
			t.Errorf("%s: %v", reference, b.Err)
		}
		if _, err := attest.Parse(b.Bundle); b.Err == nil && err != nil {
			t.Errorf("%s: %v", reference, err)
		}
		bundles[b.Descriptor.Digest.String()] = true
	}
	return desc.Digest.String(), bundles
}

// serveRegistry serves a registry on loopback.
func serveRegistry(t *testing.T) (host string) {
	t.Helper()
	server := httptest.NewServer(testRegistry(true))
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "none.json"))
	return strings.TrimPrefix(server.URL, "http://")
}

// includes reports whether all of old is still in now.
func includes(now, old map[string]bool) bool {
	merged := maps.Clone(now)
	maps.Copy(merged, old)
	return len(merged) == len(now)
}
