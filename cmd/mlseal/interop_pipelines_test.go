//go:build interop

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
	"go.yaml.in/yaml/v3"
)

// hostile is text that runs something wherever a shell reads it as a part of its script, without quotes and within either kind, and that names a
// directory.
const hostile = "$(touch pwned) `touch pwned` ';touch pwned;' \";touch pwned;\" ;touch pwned; ${IFS} *"

// pipeline is a project on a platform: its sources, the keys of trainer and evaluator, a registry, and the commands that the platform has.
type pipeline struct {
	*lab
	registryAddr string
	bin          string
	keys         map[string]string
}

// newPipeline makes the project from testdata/langid. What trains and measures are short scripts: numpy is not needed for what is tested.
func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	p := &pipeline{lab: newLab(t), keys: map[string]string{}}
	t.Cleanup(p.notPwned)
	p.registryAddr = p.registry()
	for _, name := range []string{"base", "dataset", "evalset"} {
		if err := os.CopyFS(filepath.Join(p.dir, "project", name), os.DirFS("../../testdata/langid/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	p.write("project/train.py", "import os, pathlib, shutil, sys\nassert 'MLSEAL_PASSWORD' not in os.environ\nassert not [n for n in os.environ if n.startswith('IN_')]\n"+
		"shutil.copytree(pathlib.Path(__file__).parent / 'base', 'out', dirs_exist_ok=True)\npathlib.Path('out/notes.txt').write_text('trained ' + repr(sys.argv[1:]))\n")
	p.write("project/evaluate.py", "import json, pathlib, sys\nmodel, data, results = sys.argv[1:]\nassert (pathlib.Path(model) / 'notes.txt').read_text().startswith('trained ')\n"+
		"n = sum(1 for _ in open(pathlib.Path(data) / 'test.jsonl', 'rb'))\npathlib.Path(results).write_text(json.dumps({'epoch': 3.0, 'eval_accuracy': 0.7435, 'eval_loss': 0.9, 'eval_runtime': 1.0, 'eval_samples': n, 'eval_samples_per_second': 9.0, 'eval_steps_per_second': 1.0}))\n")
	for _, name := range []string{"trainer", "evaluator"} {
		p.run(p.mlseal, "keys", "generate", "--output-key-prefix", name)
		key, err := os.ReadFile(filepath.Join(p.dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		p.keys[name] = string(key)
	}
	p.bin = filepath.Join(p.dir, "bin")
	// go stands for the build: it notes what it was asked for and puts the binary under test there.
	p.write("bin/go", fmt.Sprintf(`#!/bin/sh
printf '%%s\n' "$@" >> %q
out="$GOBIN/mlseal"
while [ $# -gt 0 ]; do
  if [ "$1" = -o ]; then out=$2; fi
  shift
done
mkdir -p "$(dirname "$out")"
cp %q "$out"
`, filepath.Join(p.dir, "go.log"), p.mlseal))
	p.write("bin/docker", "#!/bin/sh\ntest \"$(cat)\" = the-token\n")
	for _, name := range []string{"go", "docker"} {
		if err := os.Chmod(filepath.Join(p.bin, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(python, filepath.Join(p.bin, "python")); err != nil {
		t.Fatal(err)
	}
	return p
}

// measured is what the gate asks beside the provenance: an evaluation by another signer.
const measured = `
  - id: measured
    attestation: evaluation
    by: [evaluator]
    notSignedBySameIdentityAs: [built]
    where:
      - predicate.results.exists(r, r.metric == "accuracy" && dec(r.value) >= dec("0.70"))
      - predicate.results.all(r, r.passed == true)
`

// policy writes the gate: built there and in that run, and what more is asked.
func (p *pipeline) policy(name, builder, invocation, more string) {
	p.t.Helper()
	for _, key := range []string{"trainer.pub", "evaluator.pub"} {
		pub, err := os.ReadFile(filepath.Join(p.dir, key))
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(filepath.Join(filepath.Dir(name), key), string(pub))
	}
	p.write(name, fmt.Sprintf(`apiVersion: mlseal.dev/policy/v1
name: gate
version: 1
expires: 2100-01-01T00:00:00Z
owner: ml@acme.example
signers:
  trainer: {key: trainer.pub}
  evaluator: {key: evaluator.pub}
require:
  - id: built
    attestation: slsa-provenance
    by: [trainer]
    match: one
    where:
      - predicate.runDetails.builder.id == %q
      - predicate.runDetails.metadata.invocationId == %q
      - predicate.buildDefinition.externalParameters.hyperparameters.size() > 0
%s`, builder, invocation, more))
}

// shell runs a script as a platform does: as a file, in the project, with nothing of the test's own environment.
func (p *pipeline) shell(dir string, environ map[string]string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	if found, err := lookPath(argv[0], environ["PATH"]); err == nil {
		cmd.Path, cmd.Err = found, nil
	}
	cmd.Dir = dir
	cmd.Env = []string{}
	for name, value := range environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// lookPath finds a command on a PATH that is not the test's.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			return filepath.Join(dir, name), nil
		}
	}
	return "", exec.ErrNotFound
}

// environ is what every process has.
func (p *pipeline) environ(more ...map[string]string) map[string]string {
	out := map[string]string{"PATH": p.bin + ":" + os.Getenv("PATH"), "HOME": p.dir, "NO_COLOR": "1"}
	for _, m := range more {
		for name, value := range m {
			out[name] = value
		}
	}
	return out
}

// notPwned fails when anything made the file that hostile text would make.
func (p *pipeline) notPwned() {
	p.t.Helper()
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "pwned" {
			p.t.Errorf("%s: an input was executed", path)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// denied wants the gate to refuse what another platform or run would have made.
func (p *pipeline) denied(ref, builder string) {
	p.t.Helper()
	p.policy("other/policy.yaml", builder+"/other", "another run", measured)
	if out := p.fails(p.mlseal, "verify", ref, "--policy", "other/policy.yaml"); !strings.Contains(out, "DENIED") {
		p.t.Errorf("no decision:\n%s", out)
	}
}

// decode reads one of the files of docs/pipelines.
func decode(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../docs/pipelines", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestInteropPipelinesSchemas holds the files to the schemas that each platform publishes, and wants each schema to refuse a fault.
func TestInteropPipelinesSchemas(t *testing.T) {
	docs := "../../docs/pipelines/"
	python := peer(t, "PIPELINES")
	schema := func(name string, more ...string) []string {
		return append([]string{filepath.Join(filepath.Dir(python), "check-jsonschema"), "--builtin-schema", "vendor." + name}, more...)
	}
	for _, tc := range []struct {
		file, good, bad string
		command         []string
	}{
		{"github/action.yml", "using: composite", "using: composit", schema("github-actions")},
		{"github/example.yml", "runs-on:", "run-on:", schema("github-workflows")},
		{"github/example.yml", "needs.train.outputs.digest", "needs.train.outputs.digets", []string{peer(t, "ACTIONLINT"), "-no-color"}},
		{"gitlab/mlseal.gitlab-ci.yml", "dotenv: mlseal.env", "dotenv: {file: mlseal.env}", schema("gitlab-ci", "--data-transform", "gitlab-ci")},
		{"gitlab/.gitlab-ci.yml", "action: access", "action: acces", schema("gitlab-ci", "--data-transform", "gitlab-ci")},
		{"kubernetes/job.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem", []string{peer(t, "KUBERNETES_VALIDATE"), "--strict"}},
	} {
		text, err := os.ReadFile(docs + tc.file)
		if err != nil {
			t.Fatal(err)
		}
		// Hidden jobs are not looked at: they are shown.
		text = bytes.ReplaceAll(text, []byte("\n.mlseal-"), []byte("\nmlseal-"))
		if !bytes.Contains(text, []byte(tc.good)) {
			t.Fatalf("%s has no %q to break", tc.file, tc.good)
		}
		if out, err := checked(t, text, tc.command); err != nil {
			t.Errorf("%s: %v\n%s", tc.file, err, out)
		}
		if out, err := checked(t, bytes.ReplaceAll(text, []byte(tc.good), []byte(tc.bad)), tc.command); err == nil {
			t.Errorf("%s with %q passes %s\n%s", tc.file, tc.bad, filepath.Base(tc.command[0]), out)
		}
	}
	var workflow map[string]any
	decode(t, "argo/workflow.yaml", &workflow)
	text, err := json.Marshal(workflow)
	if err != nil {
		t.Fatal(err)
	}
	check := func(text []byte) ([]byte, error) {
		cmd := exec.Command(python, "../../.ci/argo/check.py")
		cmd.Stdin = bytes.NewReader(text)
		return cmd.CombinedOutput()
	}
	if out, err := check(text); err != nil {
		t.Errorf("argo: %v\n%s", err, out)
	}
	if out, err := check(bytes.Replace(text, []byte(`"depends"`), []byte(`"dependz"`), 1)); err == nil {
		t.Errorf("argo: a field that there is not passes\n%s", out)
	}
}

// checked runs a validator on a file with this text.
func checked(t *testing.T, text []byte, command []string) ([]byte, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file.yml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return exec.Command(command[0], append(command[1:len(command):len(command)], file)...).CombinedOutput()
}

// step is one of a GitHub job or composite action.
type step struct {
	ID, Name, If, Shell, Uses, Run string
	Env, With                      map[string]string
}

var githubExpression = regexp.MustCompile(`\$\{\{\s*([^}]*?)\s*\}\}`)

// gitHub is a runner: what stands in expressions, and the environment of all steps.
type gitHub struct {
	*pipeline
	values map[string]string
	env    map[string]string
}

// expand puts values in the place of expressions, as the runner does in env and with.
func (g *gitHub) expand(text string) string {
	return githubExpression.ReplaceAllStringFunc(text, func(expression string) string {
		name := githubExpression.FindStringSubmatch(expression)[1]
		value, ok := g.values[name]
		if !ok {
			g.t.Fatalf("%s: the test knows no value of it", expression)
		}
		return value
	})
}

// step runs a step's script and returns its outputs.
func (g *gitHub) step(s step) (map[string]string, string, error) {
	g.t.Helper()
	if strings.Contains(s.Run, "${{") {
		g.t.Fatalf("step %s: an expression in a script", s.Name)
	}
	g.write("run.sh", s.Run)
	g.write("output", "")
	g.write("path", "")
	env := g.environ(g.env, map[string]string{"GITHUB_OUTPUT": filepath.Join(g.dir, "output"), "GITHUB_PATH": filepath.Join(g.dir, "path")})
	env["PATH"] = g.env["PATH"]
	for name, value := range s.Env {
		env[name] = g.expand(value)
	}
	out, err := g.shell(filepath.Join(g.dir, "project"), env, "bash", "--noprofile", "--norc", "-eo", "pipefail", filepath.Join(g.dir, "run.sh"))
	outputs := map[string]string{}
	for line := range strings.Lines(g.read("output")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		outputs[name] = value
	}
	for line := range strings.Lines(g.read("path")) {
		g.env["PATH"] = strings.TrimSpace(line) + ":" + g.env["PATH"]
	}
	return outputs, out, err
}

func (p *pipeline) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// action runs docs/pipelines/github/action.yml with these inputs.
func (g *gitHub) action(with map[string]string) (string, string, error) {
	g.t.Helper()
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct{ Steps []step }
	}
	decode(g.t, "github/action.yml", &action)
	for name, input := range action.Inputs {
		g.values["inputs."+name] = input.Default
	}
	for name, value := range with {
		if _, ok := action.Inputs[name]; !ok {
			g.t.Fatalf("the action has no input %s", name)
		}
		g.values["inputs."+name] = value
	}
	var digest, log string
	for _, s := range action.Runs.Steps {
		switch s.If {
		case "":
		case "${{ inputs.mlseal == '' }}":
			if with["mlseal"] != "" {
				continue
			}
		case "${{ inputs.command != '' }}":
			if with["command"] == "" {
				continue
			}
		default:
			g.t.Fatalf("the test cannot decide %s", s.If)
		}
		outputs, out, err := g.step(s)
		log += out
		if err != nil {
			return "", log, err
		}
		if s.ID == "record" {
			digest = outputs["digest"]
		}
	}
	return digest, log, nil
}

// newGitHub is a runner of GitHub's in a run of the workflow model.yml.
func newGitHub(t *testing.T) *gitHub {
	t.Helper()
	p := newPipeline(t)
	return &gitHub{p, map[string]string{"github.token": "the-token", "github.actor": "alice",
		"secrets.EVALUATOR_KEY": p.keys["evaluator"], "secrets.EVALUATOR_PASSWORD": "pw"},
		map[string]string{"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/bot", "GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "2",
			"GITHUB_WORKFLOW_REF": "acme/bot/.github/workflows/model.yml@refs/heads/main", "RUNNER_ENVIRONMENT": "github-hosted", "RUNNER_TEMP": t.TempDir(),
			"PATH": p.bin + ":" + os.Getenv("PATH"), "TRAINER_KEY": p.keys["trainer"], "GITHUB_ACTION_PATH": filepath.Join(testenv.Root(t), "docs", "pipelines", "github")}}
}

const (
	gitHubBuilder = "https://github.com/acme/bot/.github/workflows/model.yml"
	gitHubRun     = "https://github.com/acme/bot/actions/runs/77/attempts/2"
)

// TestInteropPipelinesGitHub runs every script of the example workflow, in its order, with the action between them.
func TestInteropPipelinesGitHub(t *testing.T) {
	g := newGitHub(t)
	var workflow struct {
		Jobs struct{ Train, Evaluate, Gate struct{ Steps []step } }
	}
	decode(t, "github/example.yml", &workflow)
	model := g.registryAddr + "/acme/bot/model:0123"
	g.values["env.MODEL"] = model
	g.env["MODEL"] = model
	path := g.env["PATH"]
	for _, job := range [][]step{workflow.Jobs.Train.Steps, workflow.Jobs.Evaluate.Steps, workflow.Jobs.Gate.Steps} {
		g.env["PATH"] = path // each job has a machine of its own
		for _, s := range job {
			switch {
			case strings.HasPrefix(s.Uses, "mlseal/mlseal/docs/pipelines/github@") && s.With == nil:
				if _, out, err := g.action(nil); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			case strings.HasPrefix(s.Uses, "mlseal/mlseal/docs/pipelines/github@"):
				if s.With["keyless"] != "true" {
					t.Error("the example is not keyless")
				}
				// There is no identity here to sign with, and so a key.
				with := map[string]string{"key": "env://TRAINER_KEY"}
				for name, value := range s.With {
					if name != "keyless" {
						with[name] = g.expand(value)
					}
				}
				g.env["MLSEAL_PASSWORD"] = "pw"
				digest, out, err := g.action(with)
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				delete(g.env, "MLSEAL_PASSWORD")
				g.values["needs.train.outputs.digest"] = digest
				g.policy("project/policy.yaml", gitHubBuilder, gitHubRun, measured)
			case s.Uses != "":
			default:
				if _, out, err := g.step(s); err != nil {
					t.Fatalf("%s: %v\n%s", s.Name, err, out)
				}
			}
		}
	}
	if got := g.read("go.log"); strings.Count(got, "build\n-C\n") != 3 {
		t.Errorf("go was asked for %q", got)
	}
	g.denied(model, gitHubBuilder)
}

// TestInteropPipelinesGitHubHostile gives the action inputs that a script with expressions in it would run.
func TestInteropPipelinesGitHubHostile(t *testing.T) {
	g := newGitHub(t)
	g.env["MLSEAL_PASSWORD"] = "pw"
	if err := os.Rename(filepath.Join(g.dir, "project", "dataset"), filepath.Join(g.dir, "project", hostile)); err != nil {
		t.Fatal(err)
	}
	with := func(more map[string]string) map[string]string {
		out := map[string]string{"step": "fine-tune", "materials": "baseModel=./base\n\r\n\ndataset=./" + hostile + "\r\n", "product": "./out " + hostile, "bundle": "statement " + hostile + ".json",
			"params": "note=" + hostile + "\nepochs=3", "key": "env://TRAINER_KEY", "version": hostile,
			"command": "python train.py\nmv out 'out '" + shellQuote(hostile)}
		for name, value := range more {
			out[name] = value
		}
		return out
	}
	digest, out, err := g.action(with(nil))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := strings.TrimSpace(g.run(g.mlseal, "hash", "project/out "+hostile, "-o", "digest"))
	if digest != "dirHash:"+want && digest != want {
		t.Errorf("digest %q, want %q", digest, want)
	}
	if got := g.read("go.log"); !strings.Contains(got, "@"+hostile+"\n") {
		t.Errorf("go was asked for %q", got)
	}
	g.policy("policy.yaml", gitHubBuilder, gitHubRun, "")
	g.run(g.mlseal, "verify", "project/out "+hostile, "--policy", "policy.yaml", "--attestations", "project/statement "+hostile+".json")
	// Each input that is refused is refused as one argument; and the command's first failure is the step's.
	for name, more := range map[string]map[string]string{
		"step": {"step": hostile}, "materials": {"materials": "dataset=" + hostile + "/none"}, "push": {"push": hostile, "bundle": ""}, "key": {"key": hostile}, "flag": {"step": "fine-tune --help"},
		"mlseal": {"mlseal": hostile}, "command": {"command": "false\ntouch pwned"}, "pipe": {"command": "false | cat\ntouch pwned"}, "both": {"keyless": "true"},
	} {
		if digest, out, err := g.action(with(more)); err == nil || digest != "" {
			t.Errorf("%s: it succeeded with %q\n%s", name, digest, out)
		}
	}
}

// TestInteropPipelinesGitHubInstall tries each way in which the action comes by a binary.
func TestInteropPipelinesGitHubInstall(t *testing.T) {
	g := newGitHub(t)
	binary, err := os.ReadFile(g.mlseal)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(binary) }))
	defer server.Close()
	g.write("authority.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	g.env["CURL_CA_BUNDLE"] = filepath.Join(g.dir, "authority.pem")
	good := fmt.Sprintf("%x", sha256.Sum256(binary))
	installed := filepath.Join(g.env["RUNNER_TEMP"], "mlseal-bin", "mlseal")
	for name, with := range map[string]map[string]string{
		"no digest":      {"url": server.URL},
		"no url":         {"sha256": good},
		"another digest": {"url": server.URL, "sha256": strings.Repeat("0", 64)},
		"http":           {"url": strings.Replace(server.URL, "https", "http", 1), "sha256": good},
		"hostile":        {"url": hostile, "sha256": hostile},
		"hostile url":    {"url": server.URL + "/" + hostile + "\n--help", "sha256": strings.Repeat("0", 64)},
	} {
		if _, out, err := g.action(with); err == nil {
			t.Errorf("%s: it succeeded\n%s", name, out)
		}
		if _, err := os.Stat(installed); err == nil {
			t.Errorf("%s: something was installed", name)
		}
	}
	g.notPwned()
	if _, out, err := g.action(map[string]string{"url": server.URL, "sha256": good}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := g.shell(g.dir, g.environ(g.env), "mlseal", "version"); err != nil {
		t.Errorf("it is not on PATH: %v\n%s", err, out)
	}
	// And built by Go itself, from the commit that the action stands in.
	if err := os.Remove(installed); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"GOCACHE", "GOPATH", "GOPROXY", "GOSUMDB", "GOFLAGS"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		g.env[name] = strings.TrimSpace(string(value))
	}
	g.env["PATH"] = os.Getenv("PATH")
	if _, out, err := g.action(nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := g.shell(g.dir, g.environ(g.env), "mlseal", "version"); err != nil {
		t.Errorf("what was built does not run: %v\n%s", err, out)
	}
}

// shellQuote makes one word of text.
func shellQuote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// gitLabJob is what is read of a job.
type gitLabJob struct {
	Extends      string
	Variables    map[string]string
	BeforeScript []string `yaml:"before_script"`
	Script       []string
	Artifacts    struct {
		Reports struct{ Dotenv string }
	}
}

// gitLabJobs are those of the templates and of the example that includes them, with what they extend.
func gitLabJobs(t *testing.T) map[string]gitLabJob {
	t.Helper()
	jobs := map[string]gitLabJob{}
	var templates, example map[string]yaml.Node
	decode(t, "gitlab/mlseal.gitlab-ci.yml", &templates)
	decode(t, "gitlab/.gitlab-ci.yml", &example)
	for _, file := range []map[string]yaml.Node{templates, example} {
		for name, node := range file {
			var job gitLabJob
			switch name {
			case "include", "stages", "default":
				continue
			case "variables":
				if err := node.Decode(&job.Variables); err != nil {
					t.Fatal(err)
				}
			default:
				if err := node.Decode(&job); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			jobs[name] = job
		}
	}
	return jobs
}

// resolved is a job with what it extends: variables are merged, all else is replaced.
func resolved(jobs map[string]gitLabJob, name string) gitLabJob {
	job := jobs[name]
	base := gitLabJob{Variables: jobs["variables"].Variables}
	if job.Extends != "" {
		base = resolved(jobs, job.Extends)
	}
	variables := map[string]string{}
	for _, m := range []map[string]string{base.Variables, job.Variables} {
		for name, value := range m {
			variables[name] = value
		}
	}
	job.Variables = variables
	if job.BeforeScript == nil {
		job.BeforeScript = base.BeforeScript
	}
	if job.Script == nil {
		job.Script = base.Script
	}
	if job.Artifacts.Reports.Dotenv == "" {
		job.Artifacts = base.Artifacts
	}
	return job
}

var gitLabReference = regexp.MustCompile(`\$([A-Za-z_][A-Za-z0-9_]*)`)

// gitLab runs a job's script in a shell, as the runner does: one script, on its standard input's end, with variables that are expanded in each other.
func (p *pipeline) gitLab(shell string, job gitLabJob, predefined map[string]string) (string, error) {
	p.t.Helper()
	env := p.environ(predefined, job.Variables)
	for range 3 {
		for name := range job.Variables {
			env[name] = gitLabReference.ReplaceAllStringFunc(env[name], func(reference string) string { return env[reference[1:]] })
		}
	}
	script := "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\n" + strings.Join(append(append([]string{}, job.BeforeScript...), job.Script...), "\n") + "\n"
	return p.shell(filepath.Join(p.dir, "project"), env, shell, "-c", ": | eval "+shellQuote(script))
}

// TestInteropPipelinesGitLab runs the example's jobs in bash and in the system's sh, and the templates with hostile variables.
func TestInteropPipelinesGitLab(t *testing.T) {
	const builder, run = "https://gitlab.example/acme/bot//.gitlab-ci.yml", "https://gitlab.example/acme/bot/-/jobs/12"
	jobs := gitLabJobs(t)
	for _, shell := range []string{"bash", "sh"} {
		t.Run(shell, func(t *testing.T) {
			p := newPipeline(t)
			project := filepath.Join(p.dir, "project")
			predefined := func(signer string) map[string]string {
				return map[string]string{"CI": "true", "GITLAB_CI": "true", "CI_PROJECT_PATH": "acme/bot", "CI_PROJECT_URL": "https://gitlab.example/acme/bot", "CI_JOB_URL": run, "CI_PROJECT_DIR": project,
					"CI_REGISTRY_IMAGE": p.registryAddr + "/acme/bot", "CI_COMMIT_SHA": "0123", "SIGNING_KEY": p.keys[signer], "MLSEAL_PASSWORD": "pw", "MLSEAL_DIGEST": ""}
			}
			p.policy("project/policy.yaml", builder, run, measured)
			var digest string
			for _, name := range []string{"train", "evaluate", "gate"} {
				env := predefined(map[string]string{"train": "trainer", "evaluate": "evaluator"}[name])
				env["MLSEAL_DIGEST"] = digest
				job := resolved(jobs, name)
				if out, err := p.gitLab(shell, job, env); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, out)
				}
				if name == "train" {
					digest = strings.TrimPrefix(strings.TrimSpace(p.read("project/"+job.Artifacts.Reports.Dotenv)), "MLSEAL_DIGEST=")
				}
			}
			p.denied(p.registryAddr+"/acme/bot/model@"+digest, builder)

			if err := os.Rename(filepath.Join(project, "dataset"), filepath.Join(project, hostile)); err != nil {
				t.Fatal(err)
			}
			job := resolved(jobs, ".mlseal-record")
			job.Variables = map[string]string{"RECORD_STEP": "fine-tune", "RECORD_MATERIALS": "baseModel=./base\n\ndataset=./" + hostile + "\nMATERIALS", "RECORD_PRODUCT": "./out " + hostile,
				"RECORD_BUNDLE": "statement " + hostile + ".json", "RECORD_PUSH": "", "RECORD_PARAMS": "note=" + hostile, "RECORD_SIGNER": "env://SIGNING_KEY", "MLSEAL_COMMAND": "", "MLSEAL_VERSION": hostile,
				"RECORD_COMMAND": "python train.py\nmv out 'out '" + shellQuote(hostile)}
			if out, err := p.gitLab(shell, job, predefined("trainer")); err == nil || !strings.Contains(out, "MATERIALS") {
				t.Errorf("a line that is like the script's is no material: %v\n%s", err, out)
			}
			job.Variables["RECORD_MATERIALS"] = strings.TrimSuffix(job.Variables["RECORD_MATERIALS"], "\nMATERIALS")
			if out, err := p.gitLab(shell, job, predefined("trainer")); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			gate := resolved(jobs, ".mlseal-gate")
			gate.Variables["GATE_REF"], gate.Variables["GATE_ATTESTATIONS"] = "out "+hostile, "statement "+hostile+".json"
			if out, err := p.gitLab(shell, gate, predefined("")); err == nil || !strings.Contains(out, "DENIED") {
				t.Errorf("nobody measured it, and: %v\n%s", err, out)
			}
			p.policy("project/policy.yaml", builder, run, "")
			if out, err := p.gitLab(shell, gate, predefined("")); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for name, value := range map[string]string{"RECORD_STEP": hostile, "RECORD_SIGNER": hostile, "MLSEAL_COMMAND": hostile, "RECORD_COMMAND": "false\ntouch pwned"} {
				job := resolved(map[string]gitLabJob{".mlseal-record": job}, ".mlseal-record")
				job.Variables[name] = value
				if out, err := p.gitLab(shell, job, predefined("trainer")); err == nil {
					t.Errorf("%s: it succeeded\n%s", name, out)
				}
			}
		})
	}
}

// pod is what is read of a pod's specification, or of a template of Argo's.
type pod struct {
	Name            string
	SecurityContext struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	InitContainers []container `yaml:"initContainers"`
	Containers     []container
	Container      *container
	Volumes        []podVolume
	DAG            struct {
		Tasks []struct {
			Name, Template, Depends string
			Arguments               parameters
		}
	}
	Inputs, Outputs parameters
}

type parameters struct {
	Parameters []struct {
		Name, Value string
		ValueFrom   struct{ Path string } `yaml:"valueFrom"`
	}
}

type podVolume struct {
	Name     string
	EmptyDir *struct{} `yaml:"emptyDir"`
}

type container struct {
	Name       string
	WorkingDir string `yaml:"workingDir"`
	Command    []string
	Args       []string
	Env        []struct {
		Name, Value string
		ValueFrom   struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	SecurityContext struct {
		AllowPrivilegeEscalation *bool                   `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool                    `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string } `yaml:"capabilities"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

// cluster runs pods: volumes are directories, and paths below a mount point are put into them.
type cluster struct {
	*pipeline
	fields     map[string]string // what the downward API and Secrets give
	outputs    map[string][]byte // of Argo's tasks
	substitute func(string) string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	p := newPipeline(t)
	c := &cluster{pipeline: p, outputs: map[string][]byte{}, substitute: func(text string) string { return text }, fields: map[string]string{"metadata.name": "model-x1", "metadata.namespace": "ml", "spec.serviceAccountName": "trainer", "spec.nodeName": "node-7",
		"mlseal-trainer/password": "pw", "mlseal-evaluator/password": "pw"}}
	p.write("volumes/key/trainer.key", p.keys["trainer"])
	if err := os.Rename(filepath.Join(p.dir, "project"), filepath.Join(p.dir, "volumes", "data")); err != nil {
		t.Fatal(err)
	}
	p.write("volumes/trainer-key/signing.key", p.keys["trainer"])
	p.write("volumes/evaluator-key/signing.key", p.keys["evaluator"])
	p.write("volumes/registry/config.json", "{}")
	p.policy("volumes/gate/policy.yaml", kubernetesBuilder, kubernetesPod, measured)
	return c
}

const (
	kubernetesBuilder = "https://mlseal.dev/builders/kubernetes/v1"
	kubernetesPod     = "kubernetes:ml/model-x1"
)

// kubernetesReference is what a kubelet expands in command and arguments.
var kubernetesReference = regexp.MustCompile(`\$\([A-Za-z_][A-Za-z0-9_]*\)`)

// runPod runs the containers of a pod one after the other.
func (c *cluster) runPod(name string, p pod) (string, error) {
	c.t.Helper()
	if p.Container != nil {
		p.Containers = []container{*p.Container}
	}
	places := map[string]string{}
	for _, v := range p.Volumes {
		places[v.Name] = filepath.Join(c.dir, "volumes", v.Name)
		if v.EmptyDir != nil {
			dir, err := os.MkdirTemp(c.dir, v.Name)
			if err != nil {
				c.t.Fatal(err)
			}
			places[v.Name] = dir
		}
	}
	var log string
	for _, one := range append(append([]container{}, p.InitContainers...), p.Containers...) {
		out, err := c.runContainer(one, places)
		log += out
		if err != nil {
			return log, fmt.Errorf("%s: %s: %w", name, one.Name, err)
		}
	}
	for _, output := range p.Outputs.Parameters {
		for _, m := range p.Container.VolumeMounts {
			if below, ok := strings.CutPrefix(output.ValueFrom.Path, m.MountPath+"/"); ok {
				text, err := os.ReadFile(filepath.Join(places[m.Name], below))
				if err != nil {
					c.t.Fatal(err)
				}
				c.outputs[name+".outputs.parameters."+output.Name] = text
			}
		}
	}
	return log, nil
}

// runContainer runs command and arguments as they are: there is no shell in a kubelet.
func (c *cluster) runContainer(one container, places map[string]string) (string, error) {
	c.t.Helper()
	if s := one.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || strings.Join(s.Capabilities.Drop, ",") != "ALL" {
		c.t.Errorf("container %s may more than it must", one.Name)
	}
	local := func(text string) string {
		text = c.substitute(strings.ReplaceAll(text, "registry.example/team/model", c.registryAddr+"/team/model"))
		for _, m := range one.VolumeMounts {
			place, ok := places[m.Name]
			if !ok {
				c.t.Fatalf("container %s: there is no volume %s", one.Name, m.Name)
			}
			mounted := regexp.MustCompile(`(^|=)` + regexp.QuoteMeta(m.MountPath) + `(/|$)`)
			if mounted.MatchString(text) {
				return mounted.ReplaceAllString(text, "${1}"+place+"${2}")
			}
		}
		return text
	}
	env := c.environ(map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1", "HOSTNAME": "another"})
	for _, e := range one.Env {
		value := local(e.Value)
		for _, from := range []string{e.ValueFrom.FieldRef.FieldPath, e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key} {
			if from != "" && from != "/" {
				var ok bool
				if value, ok = c.fields[from]; !ok {
					c.t.Fatalf("container %s: the test knows no %s", one.Name, from)
				}
			}
		}
		env[e.Name] = value
	}
	var argv []string
	for _, arg := range append(append([]string{}, one.Command...), one.Args...) {
		argv = append(argv, kubernetesReference.ReplaceAllStringFunc(local(arg), func(reference string) string {
			if value, ok := env[reference[2:len(reference)-1]]; ok {
				return value
			}
			return reference
		}))
	}
	dir := c.dir
	if one.WorkingDir != "" {
		dir = local(one.WorkingDir)
	}
	return c.shell(dir, env, argv...)
}

// TestInteropPipelinesKubernetes runs the Job's containers, and lets the gate decide about what they pushed.
func TestInteropPipelinesKubernetes(t *testing.T) {
	c := newCluster(t)
	var job struct {
		Spec struct{ Template struct{ Spec pod } }
	}
	decode(t, "kubernetes/job.yaml", &job)
	spec := job.Spec.Template.Spec
	if !spec.SecurityContext.RunAsNonRoot || spec.SecurityContext.SeccompProfile.Type != "RuntimeDefault" {
		t.Error("the pod is not restricted")
	}
	if out, err := c.runPod("job", spec); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ref := c.registryAddr + "/team/model:model-x1"
	c.policy("policy.yaml", kubernetesBuilder, kubernetesPod, `
  - id: details
    attestation: slsa-provenance
    by: [trainer]
    where:
      - predicate.buildDefinition.internalParameters.mlseal_ci.serviceAccount == "trainer"
      - predicate.buildDefinition.internalParameters.mlseal_ci.node == "node-7"
`)
	c.run(c.mlseal, "verify", ref, "--policy", "policy.yaml")
	c.denied(ref, kubernetesBuilder)

	main := &spec.Containers[0]
	for i, arg := range main.Args {
		main.Args[i] = strings.NewReplacer("epochs=3", "epochs="+hostile, "model:$(POD_NAME)", "model:v2").Replace(arg)
	}
	if out, err := c.runPod("job", spec); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.run(c.mlseal, "verify", c.registryAddr+"/team/model:v2", "--policy", "policy.yaml")
}

// TestInteropPipelinesArgo runs the Workflow's tasks in the order of its graph, with and without hostile parameters.
func TestInteropPipelinesArgo(t *testing.T) {
	var workflow struct {
		Spec struct {
			Arguments       parameters
			Volumes         []podVolume
			Templates       []pod
			SecurityContext struct {
				RunAsNonRoot bool `yaml:"runAsNonRoot"`
			} `yaml:"securityContext"`
		}
	}
	decode(t, "argo/workflow.yaml", &workflow)
	if !workflow.Spec.SecurityContext.RunAsNonRoot {
		t.Error("the pods are not restricted")
	}
	templates := map[string]pod{}
	for _, template := range workflow.Spec.Templates {
		template.Volumes = append(template.Volumes, workflow.Spec.Volumes...)
		templates[template.Name] = template
	}
	// run gives parameters their values as the controller does; between is called after the recording.
	runs := 0
	run := func(c *cluster, given map[string]string, between func(ref string)) (string, error) {
		var log string
		runs++
		done := map[string]bool{"": true}
		values := map[string]string{"{{workflow.uid}}": fmt.Sprintf("run-%d", runs)}
		for _, p := range workflow.Spec.Arguments.Parameters {
			value, ok := given[p.Name]
			if !ok {
				value = strings.ReplaceAll(p.Value, "registry.example/team/model", c.registryAddr+"/team/model")
			}
			values["{{workflow.parameters."+p.Name+"}}"] = value
		}
		for _, task := range templates["main"].DAG.Tasks {
			if !done[task.Depends] {
				t.Fatalf("task %s comes before %s", task.Name, task.Depends)
			}
			inputs := map[string]string{}
			for _, argument := range task.Arguments.Parameters {
				for _, input := range templates[task.Template].Inputs.Parameters {
					if input.Name == argument.Name {
						inputs["{{inputs.parameters."+input.Name+"}}"] = replaceTags(t, c.jsonpath(argument.Value), values)
					}
				}
			}
			c.substitute = func(text string) string { return replaceTags(t, text, inputs) }
			out, err := c.runPod("tasks."+task.Name, templates[task.Template])
			log += out
			if err != nil {
				return log, err
			}
			done[task.Name] = true
			if task.Name == "record" && between != nil {
				between(inputs["{{inputs.parameters.ref}}"])
			}
		}
		return log, nil
	}
	c := newCluster(t)
	if out, err := run(c, nil, nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.denied(c.registryAddr+"/team/model:run-1", kubernetesBuilder)
	if out, err := run(c, map[string]string{"epochs": hostile}, nil); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := run(c, map[string]string{"threshold": "accuracy>=0.9", "epochs": "4"}, nil); err == nil || !strings.HasPrefix(err.Error(), "tasks.gate:") || !strings.Contains(out, "✓ built") || !strings.Contains(out, "✗ measured  CONDITION_FALSE") {
		t.Errorf("a model below the threshold: %v\n%s", err, out)
	}
	// Whoever moves the tag meanwhile changes nothing: the tasks go on from the digest.
	moved := func(ref string) { c.run(c.mlseal, "pack", "volumes/data/base", ref) }
	if out, err := run(c, map[string]string{"epochs": "5"}, moved); err != nil {
		t.Errorf("the tag was moved: %v\n%s", err, out)
	}
	for name, value := range map[string]string{"repository": hostile, "threshold": hostile} {
		if out, err := run(c, map[string]string{name: value}, nil); err == nil {
			t.Errorf("%s: it succeeded\n%s", name, out)
		}
	}
}

// replaceTags puts values in the place of Argo's tags. All are replaced at once: a value with a tag in it stays as it is.
func replaceTags(t *testing.T, text string, values map[string]string) string {
	t.Helper()
	return argoTag.ReplaceAllStringFunc(text, func(tag string) string {
		value, ok := values[tag]
		if !ok {
			t.Fatalf("nothing gives %s", tag)
		}
		return value
	})
}

var (
	argoTag      = regexp.MustCompile(`\{\{[^}]*\}\}`)
	argoJSONPath = regexp.MustCompile(`\{\{=jsonpath\(([^,]+), '\$\.subjects\[0\]\.digest\.sha256'\)\}\}`)
)

// jsonpath evaluates the one expression that the Workflow has.
func (c *cluster) jsonpath(text string) string {
	return argoJSONPath.ReplaceAllStringFunc(text, func(tag string) string {
		var report recordReport
		if err := json.Unmarshal(c.outputs[argoJSONPath.FindStringSubmatch(tag)[1]], &report); err != nil || len(report.Subjects) == 0 {
			c.t.Fatalf("%s: %v", tag, err)
		}
		return report.Subjects[0].Digest["sha256"]
	})
}
