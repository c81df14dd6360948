//go:build unix

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestReferrersThatLie is case 44: what a referrer's annotations and artifactType say of a statement is not looked at when it is decided.
func TestReferrersThatLie(t *testing.T) {
	const key, dataset, evaluation = "dev.sigstore.bundle.predicateType", "https://mlseal.dev/attestation/dataset/v0.1", "https://mlseal.dev/attestation/evaluation/v0.1"
	predicates := map[string][]byte{}
	for kind, name := range map[string]string{dataset: "dataset.json", evaluation: "evaluation.json"} {
		data, err := os.ReadFile(filepath.Join(testenv.Root(t), "testdata", "langid", "predicates", name))
		if err != nil {
			t.Fatal(err)
		}
		predicates[kind] = data
	}
	for name, c := range map[string]struct {
		is  string
		lie func(*ocispec.Manifest)
		yes bool
	}{
		"44 an annotation says evaluation":          {dataset, func(im *ocispec.Manifest) { im.Annotations[key] = evaluation }, false},
		"44 an annotation says dataset":             {evaluation, func(im *ocispec.Manifest) { im.Annotations[key] = dataset }, true},
		"44 no annotation":                          {evaluation, func(im *ocispec.Manifest) { im.Annotations = nil }, true},
		"44 the artifactType says something else":   {evaluation, func(im *ocispec.Manifest) { im.ArtifactType = "application/vnd.example.sbom" }, true},
		"44 the artifactType names the wanted type": {dataset, func(im *ocispec.Manifest) { im.ArtifactType = evaluation }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			testFiles{"model/weights": []byte("w"), "p.json": predicates[c.is], "policy.yaml": []byte("apiVersion: mlseal.dev/policy/v1\nname: gate\nsigners: {k: {key: k.pub}}\n" +
				"require: [{id: evaluated, attestation: " + evaluation + ", by: [k]}]\n")}.write(t, dir)
			succeed(t, dir, "keys", "generate", "--output-key-prefix", "k")
			succeed(t, dir, "pack", "model", "oci:store:v1")
			succeed(t, dir, "attest", "oci:store:v1", "--type", c.is, "--predicate", "p.json", "--key", "k.key")
			rewriteReferrer(t, filepath.Join(dir, "store"), c.lie)
			want := statusNo
			if c.yes {
				want = statusDone
			}
			if status, errs := runProcess(t, dir, "verify", "oci:store:v1", "--policy", "policy.yaml"); status != want {
				t.Errorf("status %d, want %d: %s", status, want, errs)
			}
		})
	}
}

// rewriteReferrer changes the image manifest of the only statement in a layout, whose digest is then another.
func rewriteReferrer(t *testing.T, layout string, change func(*ocispec.Manifest)) {
	t.Helper()
	read := func(name string, to any) {
		data, err := os.ReadFile(filepath.Join(layout, name))
		if err == nil {
			err = json.Unmarshal(data, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, from any) []byte {
		data, err := json.Marshal(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(layout, name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var index ocispec.Index
	read("index.json", &index)
	changed := 0
	for i, desc := range index.Manifests {
		var im ocispec.Manifest
		read("blobs/sha256/"+desc.Digest.Encoded(), &im)
		if im.Subject == nil {
			continue
		}
		change(&im)
		data := write("changed", im)
		sum := sha256.Sum256(data)
		if err := os.Rename(filepath.Join(layout, "changed"), filepath.Join(layout, "blobs/sha256", hex.EncodeToString(sum[:]))); err != nil {
			t.Fatal(err)
		}
		index.Manifests[i] = ocispec.Descriptor{MediaType: desc.MediaType, Digest: digest.NewDigestFromBytes(digest.SHA256, sum[:]), Size: int64(len(data)),
			ArtifactType: im.ArtifactType, Annotations: im.Annotations}
		changed++
	}
	if changed != 1 {
		t.Fatalf("%d statements were changed, want 1", changed)
	}
	write("index.json", index)
}
