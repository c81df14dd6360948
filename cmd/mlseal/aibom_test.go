package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/verify/aibom"
)

// fixedKeys writes a pair that is the same in every run, and whose signatures are.
func (c *chain) fixedKeys(who string) {
	c.t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, who)
	key := ed25519.NewKeyFromSeed(seed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(who+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	c.write(who+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

// newLangid is the demo: the language identifier, its base and its dataset, with the statements of three parties, and the policy of the demo.
func newLangid(t *testing.T) *chain {
	t.Helper()
	c := &chain{t: t, dir: t.TempDir(), digest: map[string]string{}}
	root := filepath.Join(testenv.Root(t), "testdata")
	for _, who := range []string{"data-office", "trainer", "evaluator", "mallory"} {
		c.fixedKeys(who)
	}
	c.copyFile(filepath.Join(root, "demo", "policy.yaml"), "policy.yaml")
	c.pack("base", filepath.Join(root, "langid", "base"))
	c.pack("model", filepath.Join(root, "langid", "model"))
	c.digest["data"] = strings.TrimPrefix(c.must("pack", filepath.Join(root, "langid", "dataset"), "oci:"+c.path("clean")+":data", "--type", "dataset", "-o", "digest"), "sha256:")
	text, err := os.ReadFile(filepath.Join(root, "langid", "predicates", "provenance.json.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	c.write("provenance.json", []byte(strings.NewReplacer("@BASE_DIGEST@", c.digest["base"], "@BASE_REF@", "oci:store:base", "@DATASET_DIGEST@", c.digest["data"], "@DATASET_REF@", "oci:store:data").Replace(string(text))))
	for _, name := range []string{"dataset.json", "evaluation.json"} {
		c.copyFile(filepath.Join(root, "langid", "predicates", name), name)
	}
	c.attest("data", "dataset", "dataset.json", "data-office")
	c.must("sign", "oci:"+c.path("clean")+":base", "--key", c.path("trainer.key"))
	c.attest("model", "slsa-provenance", "provenance.json", "trainer")
	return c
}

func (c *chain) copyFile(from, name string) {
	c.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(name, data)
}

func (c *chain) attest(tag, kind, predicate, who string) {
	c.t.Helper()
	c.must("attest", "oci:"+c.path("clean")+":"+tag, "--type", kind, "--predicate", c.path(predicate), "--key", c.path(who+".key"))
}

// TestAIBOMGolden: the bills of materials of the real model are what they were. verify/aibom holds such documents to the official schemas.
func TestAIBOMGolden(t *testing.T) {
	c := newLangid(t)
	c.attest("model", "evaluation", "evaluation.json", "evaluator")
	for form, end := range map[string]string{bomCycloneDX: "cdx", bomSPDX: "spdx"} {
		got := []byte(c.must("aibom", "oci:"+c.path("clean")+":model", "--policy", c.path("policy.yaml"), "-o", form) + "\n")
		file := filepath.Join("testdata", "aibom", "langid."+end+".json")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what it was (%v); -update writes it anew:\n%s", file, err, got)
		}
	}
}

// TestAIBOMUntrusted: what somebody says whom the policy does not name for it leaves no trace in the documents.
func TestAIBOMUntrusted(t *testing.T) {
	for _, form := range []string{bomCycloneDX, bomSPDX} {
		c := newLangid(t)
		make := func(model string) string {
			return c.must("aibom", "oci:"+c.path("clean")+":"+model, "--policy", c.path("policy.yaml"), "-o", form)
		}
		before := make("model")
		c.attest("model", "evaluation", "evaluation.json", "mallory")
		c.attest("model", "evaluation", "evaluation.json", "trainer")
		c.attest("model", "evaluation", "evaluation.json", "data-office")
		c.attest("base", "dataset", "dataset.json", "data-office")
		if after := make("model"); after != before {
			t.Errorf("%s: untrusted statements show:\n%s", form, after)
		}
		c.attest("model", "evaluation", "evaluation.json", "evaluator")
		if after := make("model"); !strings.Contains(after, "0.7435") {
			t.Errorf("%s: the evaluator's statement does not show:\n%s", form, after)
		}
	}
}

// TestAIBOMTooLarge: a document that no statement can hold is not signed.
func TestAIBOMTooLarge(t *testing.T) {
	a := &app{}
	err := a.publishBOM(context.Background(), aibom.Artifact{}, nil, make([]byte, attest.MaxPredicateBytes+1), &signingKey{}, aibomFlags{})
	if !errors.Is(err, errTooLarge) || !strings.Contains(err.Error(), "--out") {
		t.Error(err)
	}
}
