package record

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/encoding/protojson"

	slsa1 "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain makes this binary a command to be recorded: it does what its first argument says.
func TestMain(m *testing.M) {
	if do, ok := commands[os.Getenv("RECORD_TEST_DO")]; ok {
		os.Exit(do())
	}
	os.Exit(m.Run())
}

var commands = map[string]func() int{
	"make":    func() int { return write("out/model.bin", "weights") },
	"nothing": func() int { return 0 },
	"empty":   func() int { return write("out/model.bin", "") },
	"fail":    func() int { _ = write("out/model.bin", "weights"); return 7 },
	"grow":    func() int { _ = write("data/more.txt", "x"); return write("out/model.bin", "weights") },
	// The same size and times as before.
	"forge": func() int {
		info, err := os.Stat("data/a.txt")
		if err != nil {
			return 1
		}
		_ = write("data/a.txt", "evil")
		_ = os.Chtimes("data/a.txt", info.ModTime(), info.ModTime())
		return write("out/model.bin", "weights")
	},
	"same": func() int { _ = write("data/a.txt", "good"); return write("out/model.bin", "weights") },
}

func write(name, text string) int {
	if os.MkdirAll(filepath.Dir(name), 0o755) != nil || os.WriteFile(name, []byte(text), 0o644) != nil {
		return 99
	}
	return 0
}

func openPath(path string) (Tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Tree{}, err
	}
	if !info.IsDir() {
		return Tree{FS: os.DirFS(filepath.Dir(path)), File: filepath.Base(path)}, nil
	}
	return Tree{FS: os.DirFS(path)}, nil
}

// plan records a command of this binary in a directory with a base model, data and a configuration.
func testPlan(t *testing.T, do string) Plan {
	t.Helper()
	t.Chdir(t.TempDir())
	write("base.gguf", "base")
	write("data/a.txt", "good")
	write("config.yaml", "epochs: 3\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes("data/a.txt", old, old); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	environ := append(os.Environ(), "RECORD_TEST_DO="+do, "EPOCHS=3", "MY_TOKEN=tok-4711-abcdef", "RECORD_NOTE=it is tok-4711-abcdef")
	p := Plan{Step: "fine-tune", Command: &Command{Args: []string{self, "--token", "tok-4711-abcdef"}, Env: environ}, Products: []Product{{"out", "out"}},
		Byproducts: []Artifact{{Role: "log", Name: "train.log", Reference: "train.log"}, {Role: "config", Name: "config.yaml", Reference: "config.yaml"}},
		Parameters: map[string]string{"epochs": "3", "apiKey": "k3y"}, ConfigPath: "config.yaml", Environ: environ, Variables: []string{"EPOCHS", "MY_*", "RECORD_NOTE"}, Version: "0.0.0",
		Root: fstest.MapFS{}, Now: time.Now, Open: openPath}
	for _, m := range []Artifact{{Role: RoleBaseModel, Reference: "base.gguf"}, {Role: RoleDataset, Reference: "data"}, {Role: RoleConfig, Reference: "config.yaml"}} {
		tree, err := openPath(m.Reference)
		if err != nil {
			t.Fatal(err)
		}
		p.Materials = append(p.Materials, Material{Artifact: m, Tree: tree})
	}
	if err := p.Command.Find(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRun(t *testing.T) {
	rec, err := Run(context.Background(), testPlan(t, "make"))
	if err != nil {
		t.Fatal(err)
	}
	predicate, err := rec.Predicate()
	if err != nil {
		t.Fatalf("%v\n%s", err, predicate)
	}
	if strings.Contains(string(predicate), "4711") || strings.Contains(string(predicate), "k3y") {
		t.Errorf("a secret:\n%s", predicate)
	}
	data, err := manifest.Build(context.Background(), os.DirFS("data"), manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := rec.Materials[1].Digest["dirHash"]; got != data.DirHash() {
		t.Errorf("dataset: %s, want %s", got, data.DirHash())
	}
	if rec.Materials[1].Split != "train" || rec.Environment["EPOCHS"] != "3" || rec.Environment["MY_TOKEN"] != masked || rec.Environment["HOME"] != "" {
		t.Errorf("%+v", rec)
	}
	if len(rec.Notes) != 1 || !strings.Contains(rec.Notes[0], "train.log") || len(rec.Byproducts) != 1 {
		t.Errorf("notes %q, byproducts %v", rec.Notes, rec.Byproducts)
	}
	if s := rec.Subjects(); len(s) != 1 || len(s[0].Digest) != 1 || s[0].Digest["dirHash"] == "" {
		t.Errorf("subjects: %v", s)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tc := range []struct {
		do   string
		want error
		make bool // the product is there before
	}{
		{"nothing", ErrProduct, false},
		{"nothing", ErrProduct, true},
		{"empty", ErrProduct, false},
		{"grow", manifest.ErrChanged, false},
		{"forge", manifest.ErrChanged, false},
		{"same", nil, false},
		{"make", nil, true},
	} {
		t.Run(tc.do, func(t *testing.T) {
			p := testPlan(t, tc.do)
			if tc.make {
				write("out/model.bin", "earlier")
			}
			if _, err := Run(context.Background(), p); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	var failed *CommandError
	if _, err := Run(context.Background(), testPlan(t, "fail")); !errors.As(err, &failed) || failed.Status != 7 {
		t.Errorf("error %v", err)
	}
	p := testPlan(t, "make")
	p.Materials[0].Digest, p.Materials[0].URI = attest.DigestSet{"sha256": strings.Repeat("0a", 32)}, "oci:x"
	p.Materials[0].Tree, p.Materials[0].Again = Tree{}, func(context.Context) error { return manifest.ErrChanged }
	if _, err := Run(context.Background(), p); !errors.Is(err, manifest.ErrChanged) {
		t.Errorf("a tag that moved: %v", err)
	}
}

// TestStatesAreReliedOnWhenOld makes sure that a file which was just written is read again, and one that was left alone is not.
func TestStatesAreReliedOnWhenOld(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	write(name, "x")
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for wait, want := range map[time.Duration]bool{0: false, racyWindow + time.Second: true} {
		s := states{files: map[state]digest.Digest{}}
		s.Remember(info, time.Now().Add(wait), "sha256:x")
		if s.Lookup(info) != "" {
			t.Error("it was asked before it was sealed")
		}
		s.sealed = true
		if _, known := stateOf(info); (s.Lookup(info) != "") != (want && known) {
			t.Errorf("after %v: %q", wait, s.Lookup(info))
		}
		// The same size and modification time: the change time tells.
		write(name, "y")
		if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if forged, err := os.Stat(name); err != nil || s.Lookup(forged) != "" {
			t.Errorf("after %v: another file is taken for it: %v", wait, err)
		}
		if info, err = os.Stat(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatCannotBeSignedIsNotRun(t *testing.T) {
	p := testPlan(t, "make")
	p.BuilderID = strings.Repeat("x", 5000)
	if _, err := Run(context.Background(), p); !errors.Is(err, attest.ErrPredicate) {
		t.Errorf("error %v", err)
	}
	p.BuilderID, p.Command.Args = "", append(p.Command.Args, slices.Repeat([]string{strings.Repeat("y", 1000)}, 3000)...)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, p); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat("out"); err == nil {
		t.Error("the command was run")
	}
	if got := shortened(p.Command.Args); len(got) > 300 || !strings.Contains(got[len(got)-1], "more arguments") {
		t.Errorf("%d arguments", len(got))
	}
}

func TestCannotBeStarted(t *testing.T) {
	t.Chdir(t.TempDir())
	write("text.txt", "no program")
	for name, want := range map[string]int{"./text.txt": StatusNotExecutable, "./none": StatusNotFound, "no-such-command-anywhere": StatusNotFound} {
		var failed *CommandError
		if err := (&Command{Args: []string{name}}).Find(); !errors.As(err, &failed) || failed.Status != want && !isWindows {
			t.Errorf("%s: %v, want status %d", name, err, want)
		}
	}
}

func TestCheckStep(t *testing.T) {
	base, data := RoleBaseModel, RoleDataset
	for _, tc := range []struct {
		step  string
		roles []string
		ok    bool
	}{
		{"fine-tune", []string{base, data}, true}, {"fine-tune", []string{data}, false}, {"fine-tune", []string{base, base, data}, false}, {"fine-tune", []string{base}, false},
		{"pretrain", []string{data, RoleTokenizer}, true}, {"pretrain", []string{base, data}, false},
		{"quantize", []string{base}, true}, {"quantize", nil, false}, {"convert", []string{base, RoleCode}, true}, {"distill", []string{base, base, data}, true},
		{"merge", []string{base}, false}, {"merge", []string{base, base}, true}, {"merge", []string{base, RoleAdapter}, true}, {"merge", []string{RoleAdapter, RoleAdapter}, false},
		{"dataset-transform", []string{data}, true}, {"dataset-transform", nil, false}, {"dataset-transform", []string{data, RoleSource}, false},
		{"dataset-ingest", nil, true}, {"dataset-ingest", []string{RoleSource}, true}, {"train", []string{base, data}, false}, {"fine-tune", []string{base, data, "teacher"}, false},
	} {
		if err := CheckStep(tc.step, tc.roles); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrStep) {
			t.Errorf("%s %v: %v", tc.step, tc.roles, err)
		}
	}
}

// goldenRecord has something of everything.
func goldenRecord(step string) *Record {
	hex := strings.Repeat("0a", 32)
	rec := &Record{Step: step, Command: []string{"python", "train.py", "--token", masked}, Directory: "train", Parameters: map[string]string{"epochs": "3"}, Recipe: Recipe{"git+https://host/llm@refs/heads/main", "train.py"},
		Products:    []Artifact{{Name: "out", Digest: attest.DigestSet{"dirHash": hex}}},
		Byproducts:  []Artifact{{Role: "metrics", Name: "metrics.json", MediaType: "application/json", Digest: attest.DigestSet{"sha256": hex}}},
		Environment: map[string]string{"EPOCHS": "3"}, Host: map[string]string{"os": "linux"}, Accelerator: "8xNVIDIA H100", Signals: []string{"SIGUSR1"},
		Code:    &Code{URI: "git+https://host/llm@refs/heads/main", Commit: "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d", Modified: 2, Untracked: 1},
		Builder: Builder{LocalBuilder, "urn:uuid:0", map[string]string{"platform": "test"}}, Version: "0.0.0", Started: time.Unix(1e9, 0).UTC(), Finished: time.Unix(1e9+5, 5e8).UTC(),
		Packages: &Packages{Python: "3.12.1", List: []Package{{Name: "torch", Version: "2.9"}}}}
	add := func(a Artifact) { rec.Materials = append(rec.Materials, a) }
	if step != "pretrain" && step != "dataset-transform" && step != "dataset-ingest" {
		add(Artifact{Role: RoleBaseModel, Reference: "oci:store:base", URI: "oci:store@sha256:" + hex, Digest: attest.DigestSet{"sha256": hex, "dirHash": hex}})
	}
	if step == "merge" {
		add(Artifact{Role: RoleBaseModel, Reference: "oci:store:other", URI: "oci:store@sha256:" + hex, Digest: attest.DigestSet{"sha256": hex, "dirHash": hex}})
	}
	if step == "dataset-ingest" {
		add(Artifact{Role: RoleSource, Reference: "file:dump.csv", URI: "file:dump.csv", Digest: attest.DigestSet{"dirHash": hex}, Files: []manifest.File{{Path: "dump.csv", Digest: "sha256:0b"}}, single: true})
	} else {
		add(Artifact{Role: RoleDataset, Split: steps[step].split, Reference: "file:data", URI: "file:data", Digest: attest.DigestSet{"dirHash": hex}})
	}
	rec.SetEnvironment("env.cdx.json", []byte("{}"))
	return rec
}

// TestProvenanceOfEveryStep holds each to the schema, to in-toto's own types, and to what it was.
func TestProvenanceOfEveryStep(t *testing.T) {
	for _, step := range Steps() {
		got, err := goldenRecord(step).Predicate()
		if err != nil {
			t.Errorf("%s: %v", step, err)
			continue
		}
		var p slsa1.Provenance
		if err := protojson.Unmarshal(got, &p); err != nil {
			t.Errorf("%s: in-toto: %v", step, err)
		} else if err := p.Validate(); err != nil {
			t.Errorf("%s: in-toto: %v", step, err)
		}
		statement, err := attest.NewStatement(goldenRecord(step).Subjects(), attest.ProvenancePredicateType, got)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := statement.Marshal()
		var s intoto.Statement
		if err := protojson.Unmarshal(text, &s); err != nil {
			t.Errorf("%s: in-toto: %v", step, err)
		} else if err := s.Validate(); err != nil {
			t.Errorf("%s: in-toto: %v", step, err)
		}
		golden(t, step+".provenance.json", got)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(name, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not\n%s", name, got)
	}
}

func TestPathsOfThisMachineStayHere(t *testing.T) {
	t.Chdir(t.TempDir())
	for in, want := range map[string]string{"data": "data", "./a/b": "a/b", "../x/y": "y", "/srv/models/m": "m", ".": filepath.Base(mustAbs(t)), "a/../b": "b"} {
		if got := PathName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func mustAbs(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBelow(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write("a/b/f", "x")
	if err := os.Symlink("a", "link"); err != nil {
		t.Skip(err)
	}
	for _, tc := range []struct {
		dir, name, rel string
		ok             bool
	}{
		{"a", "a/b", "b", true}, {"a", "a", ".", true}, {"a", "a/none/yet", "none/yet", true}, {"a", "link/b", "b", true}, {"link", "a/b/f", "b/f", true}, {"a", "ab", "", false}, {"a/b", "a", "", false}, {"a", ".", "", false}, {"a", "a/../..x", "", false},
	} {
		if rel, ok := Below(tc.dir, tc.name); ok != tc.ok || ok && rel != tc.rel {
			t.Errorf("%s in %s: %q %t", tc.name, tc.dir, rel, ok)
		}
	}
}

func TestBuilder(t *testing.T) {
	root := fstest.MapFS{namespaceFile: {Data: []byte("training\n")}}
	for _, tc := range []struct {
		name, id, invocation string
		environ              []string
		detail               string
	}{
		{"local", LocalBuilder, "urn:uuid:", nil, ""},
		{"GitHub", "https://github.com/acme/llm/.github/workflows/train.yml", "https://github.com/acme/llm/actions/runs/123/attempts/2",
			[]string{"GITHUB_ACTIONS=true", "GITHUB_SERVER_URL=https://github.com", "GITHUB_REPOSITORY=acme/llm", "GITHUB_WORKFLOW_REF=acme/llm/.github/workflows/train.yml@refs/heads/main", "GITHUB_RUN_ID=123", "GITHUB_RUN_ATTEMPT=2", "RUNNER_ENVIRONMENT=github-hosted", "KUBERNETES_SERVICE_HOST=10.0.0.1"}, "workflowRef"},
		{"GitHub, one's own runner", "https://github.com/acme/llm/.github/workflows/train.yml#self-hosted", "https://github.com/acme/llm/actions/runs/123/attempts/1",
			[]string{"GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=acme/llm", "GITHUB_WORKFLOW_REF=acme/llm/.github/workflows/train.yml@x", "GITHUB_RUN_ID=123", "RUNNER_ENVIRONMENT=self-hosted"}, "runnerEnvironment"},
		{"GitLab", "https://gitlab.example/acme/llm//.gitlab-ci.yml", "https://gitlab.example/acme/llm/-/jobs/9",
			[]string{"GITLAB_CI=true", "CI_SERVER_URL=https://gitlab.example", "CI_PROJECT_PATH=acme/llm", "CI_JOB_ID=9", "CI_COMMIT_SHA=7fd1"}, "commit"},
		{"Kubernetes", KubernetesBuilder, "kubernetes:training/job-1", []string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "HOSTNAME=job-1"}, "namespace"},
	} {
		b := detectBuilder(parseEnviron(tc.environ), root)
		if b.ID != tc.id || !strings.HasPrefix(b.Invocation, tc.invocation) || tc.detail != "" && b.Details[tc.detail] == "" {
			t.Errorf("%s: %+v", tc.name, b)
		}
	}
}

func TestAccelerators(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	cpu := fstest.MapFS{"proc/cpuinfo": file("processor\t: 0\nmodel name\t: Some CPU @ 2GHz\n"), "proc/meminfo": file("MemTotal:       1024 kB\n"), "proc/sys/kernel/osrelease": file("6.1.0\n"),
		"etc/os-release": file("NAME=x\nPRETTY_NAME=\"Some Linux 1\"\n"), "proc/driver/nvidia/version": file("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar\n")}
	nvidia := fstest.MapFS{"proc/cpuinfo": file(""), "proc/driver/nvidia/gpus/0000:01:00.0/information": file("Model: \t\t NVIDIA H100 80GB HBM3\nGPU UUID: \t GPU-1\n"),
		"proc/driver/nvidia/gpus/0000:02:00.0/information": file("Model: \t\t NVIDIA H100 80GB HBM3\n"), "proc/driver/nvidia/gpus/0000:03:00.0/information": file("Model: \t\t NVIDIA A100\n")}
	amd := fstest.MapFS{"sys/class/kfd/kfd/topology/nodes/0/properties": file("cpu_cores_count 64\nsimd_count 0\n"),
		"sys/class/kfd/kfd/topology/nodes/1/properties": file("simd_count 1216\ngfx_target_version 90402\n")}
	for want, root := range map[string]fs.FS{"cpu": cpu, "1xNVIDIA A100 + 2xNVIDIA H100 80GB HBM3": nvidia, "1xAMD gfx942": amd, "": fstest.MapFS{}} {
		if got := accelerators(root); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	facts := hostFacts(cpu)
	for name, want := range map[string]string{"cpu": "Some CPU @ 2GHz", "memory": "1024 kB", "kernel": "6.1.0", "distribution": "Some Linux 1", "nvidiaDriver": "550.54.15"} {
		if facts[name] != want {
			t.Errorf("%s: %q, want %q", name, facts[name], want)
		}
	}
}

// venv is a virtual environment.
func venv() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"pyvenv.cfg": file("home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.1\n"),
		"lib/python3.12/site-packages/torch-2.9.0.dist-info/METADATA":    file("Metadata-Version: 2.4\nName: torch\nVersion: 2.9.0+cu128\nLicense-Expression: BSD-3-Clause\n\nName: not this\n"),
		"lib/python3.12/site-packages/torch-2.9.0.dist-info/RECORD":      file("torch/__init__.py,sha256=abc,1\n"),
		"lib/python3.12/site-packages/Flash_Attn-1.0.dist-info/METADATA": file("Name: Flash_Attn\nVersion: 1.0\nLicense: MIT\n  more of it\nClassifier: License :: OSI Approved :: MIT License\n"),
		"lib/python3.12/site-packages/old.egg-info/PKG-INFO":             file("Name: old\nVersion: 0.1\nClassifier: License :: OSI Approved :: Apache Software License\n"),
		"lib/python3.12/site-packages/older.egg-info":                    file("Name: older\nVersion: 0\nLicense: UNKNOWN \x1b[31m\n"),
		"lib/python3.12/site-packages/broken.dist-info/other":            file("x"),
		"lib/python3.12/site-packages/torch/__init__.py":                 file("raise SystemExit('never run')"),
		"lib64/python3.12/site-packages/old.egg-info/PKG-INFO":           file("Name: old\nVersion: 0.1\nClassifier: License :: OSI Approved :: Apache Software License\n"),
	}
}

func TestPackages(t *testing.T) {
	p, err := readPackages(context.Background(), venv())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range p.List {
		names = append(names, d.Name+" "+d.Version+" "+d.License)
	}
	want := []string{"Flash_Attn 1.0 MIT", "old 0.1 Apache Software License", "older 0 UNKNOWN  [31m", "torch 2.9.0+cu128 BSD-3-Clause"}
	if !slices.Equal(names, want) || p.Python != "3.12.1" || p.System {
		t.Errorf("%q, want %q; %+v", names, want, p)
	}
	document, err := p.CycloneDX()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "environment.cdx.json", document)
	if none, err := readPackages(context.Background(), fstest.MapFS{}); none != nil || err != nil {
		t.Errorf("%v %v", none, err)
	}
}

func TestCycloneDXSatisfiesItsSchema(t *testing.T) {
	dir := testenv.Schemas(t)
	c := jsonschema.NewCompiler()
	for _, name := range []string{"cyclonedx-bom-1.7.schema.json", "cyclonedx-spdx.schema.json", "cyclonedx-jsf-0.82.schema.json", "cyclonedx-cryptography-defs.schema.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := doc.(map[string]any)["$id"].(string)
		if err := c.AddResource(id, doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.7.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPackages(context.Background(), venv())
	if err != nil {
		t.Fatal(err)
	}
	p.List = append(p.List, p.List[0]) // two of one name and version
	p.System = true
	document, err := p.CycloneDX()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
}

func TestEnvironmentDir(t *testing.T) {
	dir := t.TempDir()
	inVenv, active := filepath.Join(dir, "v"), filepath.Join(dir, "active")
	write(filepath.Join(inVenv, "pyvenv.cfg"), "")
	write(filepath.Join(inVenv, "bin", "python"), "")
	write(filepath.Join(active, "pyvenv.cfg"), "")
	for _, tc := range []struct {
		command string
		v       variables
		want    string
	}{
		{filepath.Join(inVenv, "bin", "python"), variables{"VIRTUAL_ENV": active}, inVenv}, {"/usr/bin/env", variables{"VIRTUAL_ENV": active}, active},
		{"/usr/bin/env", variables{"CONDA_PREFIX": active}, active}, {"/usr/bin/env", variables{"VIRTUAL_ENV": filepath.Join(dir, "gone")}, ""}, {"/usr/bin/env", nil, ""},
	} {
		if got := environmentDir(tc.command, tc.v); got != tc.want {
			t.Errorf("%s %v: %q, want %q", tc.command, tc.v, got, tc.want)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, file := range venv() {
		f.Add(string(file.Data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := parseMetadata(text)
		p := Packages{List: []Package{d}}
		document, err := p.CycloneDX()
		if err != nil || !json.Valid(document) {
			t.Errorf("%v: %q", err, document)
		}
		if len([]rune(d.License)) > maxFieldRunes+1 {
			t.Errorf("%q", d.License)
		}
	})
}

func TestGitURI(t *testing.T) {
	for in, want := range map[string]string{
		"https://me:tok@host/acme/llm.git":        "git+https://host/acme/llm.git",
		"https://tok@host/acme/llm.git?token=x#y": "git+https://host/acme/llm.git",
		"git@github.com:acme/llm.git":             "git+ssh://github.com/acme/llm.git",
		"ssh://git@host:22/acme/llm.git":          "git+ssh://host:22/acme/llm.git",
		"/srv/secret place/llm.git":               "git+file:llm.git",
		"../llm":                                  "git+file:llm",
		"file:///srv/llm":                         "git+file:llm",
		"":                                        "",
		"https://%zz":                             "",
		"ext::sh -c touch% ran":                   "",
		"me:tok@host/acme/llm.git":                "",
		"git@host:acme/my llm.git":                "git+ssh://host/acme/my%20llm.git",
	} {
		if got := gitURI(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
