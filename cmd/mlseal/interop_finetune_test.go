//go:build interop

package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
)

// What the library's fine-tune-slsa-l2, which asks for provenance, a signed base and data sheets, leaves to its eval-bar and two-person-approval: an
// evaluation and two people. Without eval-bar's maxAge: scikit-learn's file has no time. prod-gate has it all, and wants a timestamp authority too.
const (
	fineTuneSigners = `  evaluator: {key: evaluator.pub}
  alice: {key: alice.pub}
  bob: {key: bob.pub}
  approvers: {group: {of: [alice, bob], atLeast: 2, distinct: identity}}
`
	fineTuneRequires = `  - id: evaluated
    attestation: evaluation
    by: [evaluator]
    match: latest
    where: predicate.results.exists(r, r.metric == "accuracy" && dec(r.value) >= dec("0.70")) && predicate.results.all(r, r.passed == true)
    notSignedBySameIdentityAs: [built]
  - id: approved
    attestation: approval
    by: [approvers]
    where: ['predicate.decision == "approved"', 'predicate.environment == "prod"', 'size(predicate.reviewed) > 0']
    notSignedBySameIdentityAs: [built, evaluated]
`
	fineTuneBuilder = "https://builder.example/langid/v1"
	plantedToken    = "planted-in-argv-7f3a"
	plantedKey      = "planted-in-environment-91c2"
)

// fineTune is a fine-tune in a lab: its store, its keys, and what was trained.
type fineTune struct {
	*lab
	python, script, evalset string
}

// TestInteropFineTune goes from training data to a gate's decision with scikit-learn: a base is pretrained, a model is fine-tuned from it, evaluated and
// approved, and every statement is made by a command from what really happened.
func TestInteropFineTune(t *testing.T) {
	langid := filepath.Join(testenv.Root(t), "testdata", "langid")
	f := &fineTune{newLab(t), peer(t, "SKLEARN"), filepath.Join(langid, "finetune.py"), filepath.Join(langid, "evalset")}
	for name, from := range map[string]string{"slice/rows.jsonl": "validation.jsonl", "data/train.jsonl": "train.jsonl", "data/README.md": "README.md"} {
		text, err := os.ReadFile(filepath.Join(langid, "dataset", from))
		if err != nil {
			t.Fatal(err)
		}
		f.write(name, string(text))
	}
	f.policy()
	f.train()
	f.seal("pull", "oci:store:v1", "tuned")
	f.run(f.python, f.script, "evaluate", "--model", "tuned", "--data", f.evalset, "--out", "results.json")

	f.denied("evaluated TYPE_MISSING", "approved TYPE_MISSING")
	f.evaluate("trainer", "accuracy>=0.70")
	f.denied("evaluated SIGNER_NOT_TRUSTED", "approved TYPE_MISSING")
	f.evaluate("evaluator", "accuracy>=0.99")
	f.denied("evaluated CONDITION_FALSE", "approved TYPE_MISSING")
	f.evaluate("evaluator", "accuracy>=0.70")
	f.approve("alice")
	f.approve("trainer")
	f.denied("approved THRESHOLD_NOT_MET")
	f.approve("bob")
	if out := f.seal("verify", "oci:store:v1", "--policy", "policy.yaml"); !strings.Contains(out, "ALLOWED") {
		t.Errorf("it is not allowed:\n%s", out)
	}
	f.nothingPlanted()
	f.bills()
}

func (f *fineTune) seal(args ...string) string {
	f.t.Helper()
	return f.run(f.mlseal, args...)
}

// policy is the template with its roles filled, and with the requirements that it lacks.
func (f *fineTune) policy() {
	f.t.Helper()
	for _, who := range []string{"trainer", "base-office", "data-office", "evaluator", "alice", "bob"} {
		f.seal("keys", "generate", "--output-key-prefix", who)
	}
	f.seal("policy", "init", "--template", "fine-tune-slsa-l2", "--owner", "ml@acme.example", "--output", "policy.yaml",
		"--signer", "builder=trainer.pub", "--signer", "base-office=base-office.pub", "--signer", "data-office=data-office.pub", "--param", "builder="+fineTuneBuilder)
	text := f.read("policy.yaml")
	extended := text
	for before, more := range map[string]string{"require:\n": fineTuneSigners, "lineage:\n": fineTuneRequires} {
		if strings.Count(extended, "\n"+before) != 1 {
			f.t.Fatalf("the template has no single %q:\n%s", before, text)
		}
		extended = strings.Replace(extended, "\n"+before, "\n"+more+before, 1)
	}
	f.write("policy.yaml", extended)
	f.seal("policy", "lint", "policy.yaml")
}

// train pretrains and fine-tunes, and answers for the dataset between.
func (f *fineTune) train() {
	f.t.Helper()
	f.seal("attest", "record", "--step", "pretrain", "--material", "dataset=slice", "--product", "base", "--push", "oci:store:base", "--key", "base-office.key",
		"--builder-id", fineTuneBuilder, "--param", "epochs=10", "--", f.python, f.script, "pretrain", "--data", "slice", "--out", "base", "--epochs", "10")
	f.seal("pack", "data", "oci:store:data", "--type", "dataset")
	f.seal("attest", "dataset", "oci:store:data", "--card", "data/README.md", "--split", "train=train.jsonl", "--dataset-version", "1.0.0", "--license", "Unicode-3.0", "--license-concluded", "Unicode-3.0",
		"--source", "pkg:pypi/babel@2.18.0", "--records", fmt.Sprint(strings.Count(f.read("data/train.jsonl"), "\n")), "--key", "data-office.key")

	f.seal("pull", "oci:store:base", "start")
	cmd := f.command(f.mlseal, "attest", "record", "--step", "fine-tune", "--material", "baseModel=oci:store:base", "--material", "dataset=oci:store:data", "--product", "out",
		"--push", "oci:store:v1", "--param", "epochs=12", "--param", "alpha=0.00001", "--env", "TRACKER_*", "--builder-id", fineTuneBuilder, "--key", "trainer.key", "--report", "report.json",
		"--", f.python, f.script, "finetune", "--base", "start", "--data", "data", "--out", "out", "--epochs", "12", "--token", plantedToken)
	cmd.Env = append(cmd.Env, "TRACKER_API_KEY="+plantedKey, "TRACKER_PROJECT=langid")
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("the fine-tune is not recorded: %v\n%s", err, out)
	}
}

// evaluate replaces the signer's earlier evaluation: scikit-learn's file has no time, so that none would be the latest.
func (f *fineTune) evaluate(who, threshold string) {
	f.t.Helper()
	f.seal("attest", "evaluation", "oci:store:v1", "--results", "results.json", "--dataset", f.evalset, "--evaluator", "https://evaluator.example", "--harness", "@1.9.1",
		"--threshold", threshold, "--replace", "--key", who+".key")
}

func (f *fineTune) approve(who string) {
	f.t.Helper()
	f.seal("attest", "approval", "oci:store:v1", "--decision", "approved", "--environment", "prod", "--valid-for", "30d", "--reviewed", "all", "--policy", "policy.yaml", "--key", who+".key")
}

var failedRequirement = regexp.MustCompile(`(?m)^ *✗ (\S+) +(\w+)`)

// denied wants the gate to say no, with exit status 1, for exactly these requirements and codes.
func (f *fineTune) denied(want ...string) {
	f.t.Helper()
	out, err := f.command(f.mlseal, "verify", "oci:store:v1", "--policy", "policy.yaml").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		f.t.Fatalf("want %v to be denied, and verify ends with %v\n%s", want, err, out)
	}
	var got []string
	for _, m := range failedRequirement.FindAllStringSubmatch(string(out), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	if !slices.Equal(got, want) {
		f.t.Errorf("denied for %v, want %v\n%s", got, want, out)
	}
}

// nothingPlanted looks into every blob of the store for the secrets that the fine-tune was started with, also behind base64.
func (f *fineTune) nothingPlanted() {
	f.t.Helper()
	blobs, err := filepath.Glob(filepath.Join(f.dir, "store", "blobs", "sha256", "*"))
	if err != nil || len(blobs) == 0 {
		f.t.Fatalf("no blobs (%v)", err)
	}
	masked := false
	for _, blob := range append(blobs, filepath.Join(f.dir, "report.json"), filepath.Join(f.dir, "fine-tune.environment.cdx.json")) {
		text, err := os.ReadFile(blob)
		if err != nil {
			f.t.Fatal(err)
		}
		texts := []string{string(text)}
		for _, run := range base64Run.FindAllString(string(text), -1) {
			if decoded, err := base64.StdEncoding.DecodeString(run); err == nil {
				texts = append(texts, string(decoded))
			}
		}
		for _, text := range texts {
			for _, secret := range []string{plantedToken, plantedKey} {
				if strings.Contains(text, secret) {
					f.t.Errorf("%s has the secret %s", filepath.Base(blob), secret)
				}
			}
			masked = masked || strings.Contains(text, `"--token"`) && strings.Contains(text, `"TRACKER_API_KEY"`) && strings.Contains(text, "***")
		}
	}
	if !masked {
		f.t.Error("no blob has the masked command line and environment: this test does not see the provenance")
	}
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)

// bills writes a bill of materials in both formats and looks for the base model, the dataset and the accuracy.
func (f *fineTune) bills() {
	f.t.Helper()
	accuracy := regexp.MustCompile(`"accuracy": (0\.\d+)`).FindStringSubmatch(f.read("results.json"))
	if accuracy == nil {
		f.t.Fatal("no accuracy among the results")
	}
	for _, format := range []string{"cyclonedx", "spdx"} {
		bill := f.seal("aibom", "oci:store:v1", "--policy", "policy.yaml", "-o", format)
		for what, want := range map[string]string{"base model": f.digest("oci:store:base"), "dataset": f.digest("oci:store:data"), "accuracy": `"` + accuracy[1] + `"`} {
			if !strings.Contains(bill, want) {
				f.t.Errorf("%s has no %s %s:\n%s", format, what, want, bill)
			}
		}
	}
}

func (f *fineTune) read(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// digest is the hex digits of the digest of a package's image manifest.
func (f *fineTune) digest(ref string) string {
	f.t.Helper()
	m := regexp.MustCompile(`sha256:([0-9a-f]{64})`).FindStringSubmatch(f.seal("inspect", ref))
	if m == nil {
		f.t.Fatalf("%s has no digest", ref)
	}
	return m[1]
}
