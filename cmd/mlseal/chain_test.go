package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/internal/sigstoretest"
	"github.com/mlseal/mlseal/internal/testenv"
)

// chain is the demo's chain with a step more: a corpus, the base made of it, the fine-tune made of base and dialogues, and the quantised model made
// of the fine-tune and calibration data. Statements about it are signed anew for every case, each with a timestamp.
type chain struct {
	t      *testing.T
	dir    string
	tsa    string
	digest map[string]string // of the packages, without sha256:
}

// said is one statement before it is signed.
type said struct {
	about, kind, key string
	predicate        map[string]any
	bare             bool // without a timestamp
}

const chainBuilder = "https://builder.example/v1"

func newChain(t *testing.T) *chain {
	t.Helper()
	s := sigstoretest.New(t)
	c := &chain{t: t, dir: t.TempDir(), tsa: s.Timestamps.URL, digest: map[string]string{}}
	c.write("root.json", s.TrustedRoot())
	for _, who := range []string{"trainer", "evaluator", "office", "alice", "bob", "mallory"} {
		c.keys(who)
	}
	langid := filepath.Join(testenv.Root(t), "testdata", "langid")
	for name, from := range map[string]string{"base": "base", "tuned": "model", "dialogues": "dataset", "evalset": "evalset"} {
		c.pack(name, filepath.Join(langid, from))
	}
	for _, name := range []string{"corpus", "calibration", "quantised", "other"} {
		c.write(name+"/weights.txt", []byte("what is in "+name+"\n"))
		c.pack(name, c.path(name))
	}
	c.must("policy", "init", "--template", "prod-gate", "--owner", "ml@acme.example", "--expires", "365", "--output", c.path("prod.yaml"),
		"--signer", "trainer="+c.path("trainer.pub"), "--signer", "evaluator="+c.path("evaluator.pub"), "--signer", "data-office="+c.path("office.pub"),
		"--signer", "approvers.alice="+c.path("alice.pub"), "--signer", "approvers.bob="+c.path("bob.pub"),
		"--param", "builder="+chainBuilder, "--param", "suite=langid-territories-test")
	return c
}

func (c *chain) path(name string) string { return filepath.Join(c.dir, filepath.FromSlash(name)) }

func (c *chain) write(name string, data []byte) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(c.path(name)), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// keys writes a pair without a password, which costs no time.
func (c *chain) keys(who string) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
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

// run is the real command line, at a time some days ahead.
func (c *chain) run(ahead time.Duration, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, now: func() time.Time { return time.Now().Add(ahead) }, lookupEnv: func(string) (string, bool) { return "", false }}
	status = a.main(context.Background(), args)
	return status, out.String(), errs.String()
}

func (c *chain) must(args ...string) string {
	c.t.Helper()
	status, out, errs := c.run(0, args...)
	if status != statusDone {
		c.t.Fatalf("%v: status %d: %s%s", args, status, out, errs)
	}
	return strings.TrimSpace(out)
}

func (c *chain) pack(name, from string) {
	c.t.Helper()
	c.digest[name] = strings.TrimPrefix(c.must("pack", from, "oci:"+c.path("clean")+":"+name, "-o", "digest"), "sha256:")
}

func (c *chain) dependency(role, name string) any {
	return map[string]any{"name": role, "uri": "oci:store:" + name, "digest": map[string]any{"sha256": c.digest[name]}}
}

func (c *chain) provenance(kind string, dependencies ...any) map[string]any {
	return map[string]any{
		"buildDefinition": map[string]any{
			"buildType": "https://mlseal.dev/buildtypes/" + kind + "/v1",
			"externalParameters": map[string]any{"recipe": map[string]any{"uri": "file:train.py"}, "baseModel": "oci:store:base", "datasets": map[string]any{"train": []any{"x"}},
				"hyperparameters": map[string]any{"epochs": "2"}},
			"resolvedDependencies": dependencies,
		},
		"runDetails": map[string]any{"builder": map[string]any{"id": chainBuilder}},
	}
}

func chainSheet() map[string]any {
	return map[string]any{"name": "data", "version": "1", "source": []any{map[string]any{"uri": "https://data.example"}}, "records": map[string]any{"count": 7},
		"license": map[string]any{"declared": "Unicode-3.0", "concluded": "Unicode-3.0"}}
}

func (c *chain) evaluation(value string, passed bool) map[string]any {
	return map[string]any{
		"evaluator": map[string]any{"id": "https://evals.example"}, "harness": map[string]any{"name": "langid-evaluate", "version": "1"},
		"dataset": map[string]any{"name": "evalset", "digest": map[string]any{"sha256": c.digest["evalset"]}}, "sampleSize": 1037,
		"results": []any{map[string]any{"metric": "accuracy", "dataset": "langid-territories-test", "value": value, "passed": passed, "higherIsBetter": true}},
	}
}

func approvalFor(environment, decision string) map[string]any {
	return map[string]any{"decision": decision, "environment": environment, "ticket": "REL-7"}
}

// good are twelve statements by five signers, in the order in which they are made.
func (c *chain) good() map[string]*said {
	return map[string]*said{
		"01-sheet-corpus":      {about: "corpus", kind: "dataset", key: "office", predicate: chainSheet()},
		"02-sheet-dialogues":   {about: "dialogues", kind: "dataset", key: "office", predicate: chainSheet()},
		"03-sheet-calibration": {about: "calibration", kind: "dataset", key: "office", predicate: chainSheet()},
		"04-sheet-evalset":     {about: "evalset", kind: "dataset", key: "office", predicate: chainSheet()},
		"05-pretrained":        {about: "base", kind: "slsa-provenance", key: "trainer", predicate: c.provenance("pretrain", c.dependency("dataset", "corpus"))},
		"06-fine-tuned": {about: "tuned", kind: "slsa-provenance", key: "trainer",
			predicate: c.provenance("fine-tune", c.dependency("baseModel", "base"), c.dependency("dataset", "dialogues"))},
		"07-tuned-measured": {about: "tuned", kind: "evaluation", key: "evaluator", predicate: c.evaluation("0.75", true)},
		"08-built": {about: "quantised", kind: "slsa-provenance", key: "trainer",
			predicate: c.provenance("quantize", c.dependency("baseModel", "tuned"), c.dependency("dataset", "calibration"))},
		"09-scan": {about: "quantised", kind: "artifact-scan", key: "evaluator", predicate: map[string]any{
			"scanner": map[string]any{"name": "scan", "version": "1"}, "finishedOn": "2026-11-19T10:00:00Z",
			"coverage": map[string]any{"total": 1, "scanned": 1}, "findings": []any{}}},
		"10-eval":  {about: "quantised", kind: "evaluation", key: "evaluator", predicate: c.evaluation("0.7435", true)},
		"11-alice": {about: "quantised", kind: "approval", key: "alice", predicate: approvalFor("prod", "approved")},
		"12-bob":   {about: "quantised", kind: "approval", key: "bob", predicate: approvalFor("prod", "approved")},
	}
}

// decide signs the statements, in the order of their names, into a copy of the clean store, and asks the gate.
func (c *chain) decide(ahead time.Duration, policy string, statements map[string]*said) (status int, codes map[string]string) {
	c.t.Helper()
	dir, err := os.MkdirTemp(c.dir, "case-")
	if err != nil {
		c.t.Fatal(err)
	}
	c.clone(filepath.Join(dir, "store"))
	names := []string{}
	for name := range statements {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := statements[name]
		predicate, err := json.Marshal(s.predicate)
		if err != nil {
			c.t.Fatal(err)
		}
		file := filepath.Join(dir, name+".json")
		if err := os.WriteFile(file, predicate, 0o600); err != nil {
			c.t.Fatal(err)
		}
		args := []string{"attest", "oci:" + filepath.Join(dir, "store") + ":" + s.about, "--type", s.kind, "--predicate", file, "--key", c.path(s.key + ".key")}
		if s.kind == "sign" {
			args = []string{"sign", "oci:" + filepath.Join(dir, "store") + ":" + s.about, "--key", c.path(s.key + ".key")}
		}
		if !s.bare {
			args = append(args, "--tsa-url", c.tsa)
		}
		c.must(args...)
	}
	status, out, errs := c.run(ahead, "verify", "oci:"+filepath.Join(dir, "store")+":quantised", "--policy", policy, "--trusted-root", c.path("root.json"), "-o", "json")
	var decision struct {
		Verdict      string
		Requirements []struct {
			ID, Code string
			Passed   bool
		}
	}
	if err := json.Unmarshal([]byte(out), &decision); err != nil {
		c.t.Fatalf("status %d: %v\n%s%s", status, err, out, errs)
	}
	codes = map[string]string{}
	for _, r := range decision.Requirements {
		if !r.Passed {
			codes[r.ID] = r.Code
		}
	}
	if (decision.Verdict == "ALLOWED") != (status == statusDone) {
		c.t.Errorf("verdict %q with status %d", decision.Verdict, status)
	}
	return status, codes
}

// clone makes a layout of the same packages; blobs, which nobody changes, are linked.
func (c *chain) clone(to string) {
	c.t.Helper()
	from := c.path("clean")
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case strings.HasPrefix(rel, "blobs"):
			return os.Link(name, target)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// at finds a value inside a predicate to change it.
func at(predicate map[string]any, path ...string) map[string]any {
	for _, key := range path {
		predicate = predicate[key].(map[string]any)
	}
	return predicate
}

func (s *said) dependencies() []any {
	return at(s.predicate, "buildDefinition")["resolvedDependencies"].([]any)
}

// denials change the evidence in one thing each, and say which requirement fails for it and why.
func (c *chain) denials() []denial {
	day := 24 * time.Hour
	key := func(name, who string) func(map[string]*said) {
		return func(all map[string]*said) { all[name].key = who }
	}
	drop := func(name string) func(map[string]*said) { return func(all map[string]*said) { delete(all, name) } }
	about := func(name, what string) func(map[string]*said) {
		return func(all map[string]*said) { all[name].about = what }
	}
	edit := func(name string, change func(p map[string]any)) func(map[string]*said) {
		return func(all map[string]*said) { change(all[name].predicate) }
	}
	add := func(name string, s said) func(map[string]*said) { return func(all map[string]*said) { all[name] = &s } }
	builder := func(name string) func(map[string]*said) {
		return edit(name, func(p map[string]any) { at(p, "runDetails", "builder")["id"] = chainBuilder + ".evil" })
	}
	revoked := func(what string) func(map[string]*said) {
		return add("13-revocation", said{about: what, kind: "revocation", key: "office", predicate: map[string]any{"reason": "withdrawn", "severity": "high"}})
	}
	return []denial{
		{"no provenance", "built-by-us", "TYPE_MISSING", 0, drop("08-built")},
		{"provenance by a stranger", "built-by-us", "SIGNER_NOT_TRUSTED", 0, key("08-built", "mallory")},
		{"provenance by the evaluator", "built-by-us", "SIGNER_NOT_TRUSTED", 0, key("08-built", "evaluator")},
		{"provenance of another model", "built-by-us", "TYPE_MISSING", 0, about("08-built", "other")},
		{"another builder", "built-by-us", "CONDITION_FALSE", 0, builder("08-built")},
		{"a parameter that nobody knows", "built-by-us", "CONDITION_FALSE", 0, edit("08-built", func(p map[string]any) { at(p, "buildDefinition", "externalParameters")["preScript"] = "x" })},
		{"no base in the provenance", "lineage:baseModel", "LINEAGE_GAP", 0, func(all map[string]*said) { all["08-built"].dependencies()[0].(map[string]any)["name"] = "basemodel" }},
		{"a base by its name only", "lineage:baseModel", "LINEAGE_GAP", 0, func(all map[string]*said) { delete(all["08-built"].dependencies()[0].(map[string]any), "digest") }},
		{"two bases", "lineage:baseModel", "LINEAGE_AMBIGUOUS", 0, func(all map[string]*said) { all["08-built"].dependencies()[1].(map[string]any)["name"] = "baseModel" }},
		{"made from itself", "lineage:baseModel", "LINEAGE_CYCLE", 0, func(all map[string]*said) {
			all["06-fine-tuned"].dependencies()[0] = c.dependency("baseModel", "tuned")
		}},
		{"nobody tells of the fine-tune", "lineage:baseModel", "LINEAGE_GAP", 0, drop("06-fine-tuned")},
		{"the fine-tune by a stranger", "lineage:baseModel", "LINEAGE_GAP", 0, key("06-fine-tuned", "mallory")},
		{"the fine-tune by another builder", "lineage:baseModel", "CONDITION_FALSE", 0, builder("06-fine-tuned")},
		{"nobody tells of the base", "lineage:baseModel", "LINEAGE_GAP", 0, drop("05-pretrained")},
		{"the corpus of the base without a sheet", "lineage:earlier-dataset", "LINEAGE_GAP", 0, drop("01-sheet-corpus")},
		{"a sheet by the trainer", "lineage:earlier-dataset", "LINEAGE_GAP", 0, key("02-sheet-dialogues", "trainer")},
		{"a sheet of something else", "lineage:dataset", "LINEAGE_GAP", 0, about("03-sheet-calibration", "other")},
		{"a dataset of another licence", "lineage:earlier-dataset", "CONDITION_FALSE", 0, edit("02-sheet-dialogues", func(p map[string]any) { at(p, "license")["concluded"] = "CC-BY-NC-4.0" })},
		{"the corpus is withdrawn", "revocations", "REVOKED", 0, revoked("corpus")},
		{"the model is withdrawn", "revocations", "REVOKED", 0, revoked("quantised")},
		{"no scan", "clean-scan", "TYPE_MISSING", 0, drop("09-scan")},
		{"an old scan", "clean-scan", "EVIDENCE_TOO_OLD", 8 * day, nil},
		{"a critical finding", "clean-scan", "CONDITION_FALSE", 0, edit("09-scan", func(p map[string]any) {
			p["findings"] = []any{map[string]any{"id": "pickle", "severity": "critical", "path": "weights.txt"}}
		})},
		{"an evaluation by the trainer", "eval-bar", "SIGNER_NOT_TRUSTED", 0, key("10-eval", "trainer")},
		{"an evaluation of the fine-tune only", "eval-bar", "TYPE_MISSING", 0, drop("10-eval")},
		{"below the bar", "eval-bar", "CONDITION_FALSE", 0, edit("10-eval", func(p map[string]any) { p["results"].([]any)[0].(map[string]any)["value"] = "0.699" })},
		{"a failing evaluation beside it", "eval-bar", "CONDITION_FALSE", 0, add("10-eval-again", said{about: "quantised", kind: "evaluation", key: "evaluator", predicate: c.evaluation("0.74", false)})},
		{"an old evaluation", "eval-bar", "EVIDENCE_TOO_OLD", 31 * day, nil},
		{"measured on the calibration data", "lineage:not-trained-on", "DIGEST_DENIED", 0, edit("10-eval", func(p map[string]any) { at(p, "dataset", "digest")["sha256"] = c.digest["calibration"] })},
		{"measured on the corpus of the base", "lineage:not-trained-on-earlier", "DIGEST_DENIED", 0, edit("10-eval", func(p map[string]any) { at(p, "dataset", "digest")["sha256"] = c.digest["corpus"] })},
		{"one approver", "two-people", "THRESHOLD_NOT_MET", 0, drop("12-bob")},
		{"one approver twice", "two-people", "THRESHOLD_NOT_MET", 0, key("12-bob", "alice")},
		{"the approval of another model", "two-people", "THRESHOLD_NOT_MET", 0, about("12-bob", "tuned")},
		{"approved for staging", "two-people", "CONDITION_FALSE", 0, edit("11-alice", func(p map[string]any) { p["environment"] = "staging" })},
		{"taken back", "two-people", "CONDITION_FALSE", 0, add("14-alice-again", said{about: "quantised", kind: "approval", key: "alice", predicate: approvalFor("prod", "revoked")})},
		{"an approval without a timestamp", "two-people", "THRESHOLD_NOT_MET", 0, func(all map[string]*said) { all["12-bob"].bare = true }},
		{"the policy has ended", "policy", "POLICY_EXPIRED", 366 * day, nil},
	}
}

type denial struct {
	name, id, code string
	ahead          time.Duration
	change         func(map[string]*said)
}

// TestChain: twelve statements by five signers about a chain of three steps pass prod-gate, and every single change is denied for its own reason.
func TestChain(t *testing.T) {
	c := newChain(t)
	good := c.good()
	signers := map[string]bool{}
	for _, s := range good {
		signers[s.key] = true
	}
	if len(good) != 12 || len(signers) != 5 {
		t.Fatalf("%d statements by %d signers", len(good), len(signers))
	}
	if status, codes := c.decide(0, c.path("prod.yaml"), good); status != statusDone {
		t.Fatalf("status %d: %v", status, codes)
	}
	cases := c.denials()
	if len(cases) < 30 {
		t.Fatalf("%d changes", len(cases))
	}
	for _, d := range cases {
		t.Run(strings.ReplaceAll(d.name, " ", "-"), func(t *testing.T) {
			all := c.good()
			if d.change != nil {
				d.change(all)
			}
			if same := fmt.Sprint(flat(all)) == fmt.Sprint(flat(c.good())); same != (d.ahead > 0) {
				t.Fatal("the evidence is as it was")
			}
			status, codes := c.decide(d.ahead, c.path("prod.yaml"), all)
			if status != 1 || codes[d.id] != d.code {
				t.Errorf("status %d, %v; wanted %s %s", status, codes, d.id, d.code)
			}
		})
	}
	t.Run("a-denied-digest", func(t *testing.T) {
		text, err := os.ReadFile(c.path("prod.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		denied := strings.ReplaceAll(string(text), strings.Repeat("0", 64), c.digest["corpus"])
		c.write("denied.yaml", []byte(denied))
		if status, codes := c.decide(0, c.path("denied.yaml"), c.good()); status != 1 || codes["lineage:earlier-dataset"] != "DIGEST_DENIED" {
			t.Errorf("status %d, %v", status, codes)
		}
	})
	// Neither harms: what is harmless must not be denied.
	t.Run("a-stranger-revokes", func(t *testing.T) {
		all := c.good()
		all["13"] = &said{about: "corpus", kind: "revocation", key: "mallory", predicate: map[string]any{"reason": "x", "severity": "high"}}
		if status, codes := c.decide(0, c.path("prod.yaml"), all); status != statusDone {
			t.Errorf("status %d, %v", status, codes)
		}
	})
}

func flat(all map[string]*said) map[string]said {
	out := map[string]said{}
	for name, s := range all {
		out[name] = *s
	}
	return out
}
