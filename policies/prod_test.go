package policies_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

// prodNow is the clock of the tests of policy-prod.yaml.
var prodNow = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

var prodModel = Subject{Name: "support-bot", Digests: map[string]string{"sha256": h("a"), "dirHash": h("d")},
	ArtifactType: "application/vnd.cncf.model.manifest.v1+json", Repository: "registry.acme.example/models/support-bot"}

const approval = "https://mlseal.dev/attestation/approval/v0.1"

func prodOptions() LoadOptions {
	return LoadOptions{Name: "p.yaml", ReadFile: func(name string) ([]byte, error) {
		switch name {
		case "./deny-datasets.txt":
			return []byte("sha256:" + h("o") + "\n"), nil
		case "./trusted_root.json":
			return []byte("{}"), nil
		case "./extra.rego":
			return []byte("package acme.extra\n\ndeny contains msg if {\n\tsome e in input.evidence\n\te.predicate.embargo == true\n\tmsg := sprintf(\"%s is under embargo\", [e.id])\n}\n"), nil
		}
		return publicKey(filepath.Base(name)), nil
	}}
}

func loadProd(t testing.TB) *Policy {
	t.Helper()
	data, err := os.ReadFile("testdata/policy-prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Load(data, prodOptions())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// prod is a statement with all that policy-prod.yaml wants beside a signature.
func prod(id, kind, signer string, old time.Duration, predicate string, changes ...change) Evidence {
	return statement(id, kind, predicate, append([]change{by(signer), func(ev *Evidence) {
		ev.Time, ev.TimeSource = prodNow.Add(-old), "Rekor"
		ev.Logs, ev.LogEntries, ev.Timestamps = 1, 1, 1
		ev.FoundWith = nil
	}}, changes...)...)
}

func of(digest string) change { return about(map[string]string{"sha256": h(digest)}) }

// prodProvenance is what the training workflow writes.
func prodProvenance(deps ...dep) string {
	definition := built("x", deps...).Statement["predicate"].(map[string]any)["buildDefinition"].(map[string]any)
	definition["buildType"] = "https://mlseal.dev/buildtypes/fine-tune/v1"
	definition["externalParameters"] = map[string]any{"recipe": "r", "baseModel": "b", "datasets": "d", "hyperparameters": map[string]any{}}
	text, err := json.Marshal(map[string]any{"buildDefinition": definition,
		"runDetails": map[string]any{"builder": map[string]any{"id": "https://github.com/acme/llm/.github/workflows/train.yml"}}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// prodEvidence is a chain of three steps: a corpus, the base model made of it, and the model made of the base and of a dataset.
func prodEvidence() map[string]Evidence {
	sheet := func(id, digest string) Evidence {
		return prod(id, dataset, "dataOffice", hours(200), `{"license":"MIT","isLive":false}`, of(digest))
	}
	all := []Evidence{
		prod("built", provenance, "trainer", hours(48), prodProvenance(dep{"baseModel", sha256of("b")}, dep{"dataset", sha256of("1")})),
		prod("scan", "https://mlseal.dev/attestation/artifact-scan/v0.1", "evaluator", hours(40), `{"coverage":{"total":3,"scanned":3},"findings":[{"severity":"low"}]}`),
		prod("eval", evaluation, "evaluator", hours(30), `{"dataset":{"name":"mmlu","digest":`+sha256of("e")+`},"results":[{"metric":"accuracy","dataset":"mmlu-redux","value":"0.712","passed":true}]}`),
		prod("alice", approval, "alice", hours(20), `{"decision":"approved","environment":"prod"}`),
		prod("bob", approval, "bob", hours(10), `{"decision":"approved","environment":"prod"}`),
		prod("base", "https://model_signing/signature/v1.0", "trainer", hours(300), `{}`, of("b")),
		prod("base-built", provenance, "trainer", hours(310), prodProvenance(dep{"dataset", sha256of("2")}), of("b")),
		sheet("sheet1", "1"), sheet("sheet2", "2"),
	}
	out := map[string]Evidence{}
	for _, ev := range all {
		out[strings.TrimPrefix(ev.ID, "sha256:")] = ev
	}
	return out
}

func listOf(evidence map[string]Evidence) []Evidence {
	var out []Evidence
	for _, ev := range evidence {
		out = append(out, ev)
	}
	return out
}

// The sample policy with every feature loads as it is, and each thing that is wrong with the evidence fails the requirement that is there
// for it.
func TestPolicyProd(t *testing.T) {
	p := loadProd(t)
	d := p.Evaluate(prodModel, listOf(prodEvidence()), prodNow)
	if d.Verdict != Allow || d.Err() != nil {
		t.Fatalf("%s", text(t, d))
	}
	if p.Previous() == "" || len(d.Lineage.Nodes) != 4 || len(d.Requirements) != 11 {
		t.Errorf("%s", text(t, d))
	}
	if got := fmt.Sprint(len(p.Wanted(prodModel, listOf(prodEvidence())))); got != "4" { // the base, its corpus, the dataset, the dataset of the evaluation
		t.Errorf("wanted %v", p.Wanted(prodModel, listOf(prodEvidence())))
	}
	change := func(id string, edit change) func(map[string]Evidence) {
		return func(all map[string]Evidence) {
			ev := all[id]
			edit(&ev)
			all[id] = ev
		}
	}
	replace := func(id, predicate string) func(map[string]Evidence) {
		return change(id, func(ev *Evidence) { ev.Statement = statement("x", "x", predicate).Statement })
	}
	drop := func(id string) func(map[string]Evidence) { return func(all map[string]Evidence) { delete(all, id) } }
	for name, c := range map[string]struct {
		edit func(map[string]Evidence)
		id   string
		code Code
	}{
		"wrong workflow":          {change("built", by("evaluator")), "built-by-us", SignerNotTrusted},
		"19 wrong builder":        {replace("built", strings.Replace(prodProvenance(dep{"baseModel", sha256of("b")}, dep{"dataset", sha256of("1")}), "train.yml", "evil.yml", 1)), "built-by-us", ConditionFalse},
		"34 unknown parameter":    {replace("built", strings.Replace(prodProvenance(), `"recipe"`, `"evil"`, 1)), "built-by-us", ConditionFalse},
		"23 not in the log":       {change("built", func(ev *Evidence) { ev.Logs = 0 }), "built-by-us", SignatureInvalid},
		"20 no trusted timestamp": {change("eval", func(ev *Evidence) { ev.Timestamps = 0 }), "eval-bar", SignatureInvalid},
		"39 old eval":             {change("eval", func(ev *Evidence) { ev.Time = prodNow.Add(-hours(31 * 24)) }), "eval-bar", EvidenceTooOld},
		"33 no results":           {replace("eval", `{"dataset":{"digest":`+sha256of("e")+`},"results":[]}`), "eval-bar", ConditionFalse},
		"a failing eval beside it": {func(all map[string]Evidence) {
			all["x"] = prod("x", evaluation, "evaluator", hours(29), `{"results":[{"metric":"accuracy","dataset":"mmlu-redux","value":"0.1","passed":false}]}`)
		}, "eval-bar", ConditionFalse},
		"a high finding":            {replace("scan", `{"coverage":{"total":3,"scanned":3},"findings":[{"severity":"high"}]}`), "clean-scan", ConditionFalse},
		"no scan":                   {drop("scan"), "clean-scan", TypeMissing},
		"one approver":              {drop("bob"), "two-humans", ThresholdNotMet},
		"15 one approver twice":     {change("bob", by("alice")), "two-humans", ThresholdNotMet},
		"40 approval for staging":   {replace("bob", `{"decision":"approved","environment":"staging"}`), "two-humans", ConditionFalse},
		"42 approver = trainer":     {change("alice", by("alice", "trainer")), "two-humans", DutyOverlap},
		"54 approved before built":  {change("alice", func(ev *Evidence) { ev.Time = prodNow.Add(-hours(50)) }), "lineage.order", OrderWrong},
		"46 the base is unsigned":   {drop("base"), "lineage:baseModel", LineageGap},
		"a dataset without a sheet": {drop("sheet1"), "lineage:dataset", LineageGap},
		"41 a sheet by the trainer": {change("sheet1", by("trainer")), "lineage:dataset", LineageGap},
		"a licence that is not":     {replace("sheet1", `{"license":"GPL-3.0","isLive":false}`), "lineage:dataset", ConditionFalse},
		"52 the corpus is denied":   {replace("base-built", prodProvenance(dep{"dataset", sha256of("o")})), "lineage:dataset", DigestDenied},
		"52 denied by digest":       {replace("base-built", prodProvenance(dep{"x", `{"sha256":"` + strings.Repeat("deadbeef", 8) + `"}`})), "digests.deny", DigestDenied},
		"53 contaminated":           {replace("eval", `{"dataset":{"digest":`+sha256of("1")+`},"results":[{"metric":"accuracy","dataset":"mmlu-redux","value":"0.712","passed":true}]}`), "lineage:evalDataset", DigestDenied},
		"rego":                      {replace("sheet2", `{"embargo":true}`), "rego:acme.extra", ConditionFalse},
		"the corpus is withdrawn": {func(all map[string]Evidence) {
			all["r"] = prod("r", revocation, "dataOffice", 0, `{"reason":"consent"}`, of("2"))
		}, "revocations", Revoked},
	} {
		t.Run(name, func(t *testing.T) {
			all := prodEvidence()
			c.edit(all)
			d := p.Evaluate(prodModel, listOf(all), prodNow)
			if r := requirement(t, d, c.id); r.Code != c.code || d.Verdict == Allow {
				t.Errorf("%s: %s", r.Code, r.Detail)
			}
		})
	}
	t.Run("an override", func(t *testing.T) {
		strict, err := p.WithParams(map[string]string{"minAccuracy": "0.8"})
		if err != nil {
			t.Fatal(err)
		}
		r := requirement(t, strict.Evaluate(prodModel, listOf(prodEvidence()), prodNow), "eval-bar")
		if r.Message != "no fresh evaluation clears accuracy >= 0.8" || len(r.Values) == 0 || !strings.Contains(strings.Join(r.Values, "\n"), `dec("0.712") >= dec("0.8") -> false`) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("first", func(t *testing.T) {
		data, err := os.ReadFile("testdata/policy-first.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Load(data, options()); err != nil {
			t.Error(err)
		}
	})
	for text, message := range map[string]string{"previous: x": `previous is "x"`, "previous: dirHash:" + h("a"): "write sha256:"} {
		loadFails(t, policyText(text+"\n"+oneRule), message)
	}
}

func BenchmarkPolicyProd(b *testing.B) {
	data, err := os.ReadFile("testdata/policy-prod.yaml")
	if err != nil {
		b.Fatal(err)
	}
	evidence := listOf(prodEvidence())
	for b.Loop() {
		p, err := Load(data, prodOptions())
		if err != nil {
			b.Fatal(err)
		}
		if d := p.Evaluate(prodModel, evidence, prodNow); d.Verdict != Allow {
			b.Fatal(d.Err())
		}
	}
}

func tenThousand() []Evidence {
	var out []Evidence
	for i := range 10_000 {
		out = append(out, statement(fmt.Sprintf("%06d", i), evaluation, `{"n":1}`, age(time.Duration(i)*time.Minute)))
	}
	return out
}

func BenchmarkTenThousandStatements(b *testing.B) {
	p, evidence := load(b, quoted(`predicate.n == 1`)), tenThousand()
	latest := load(b, strings.Replace(quoted(`predicate.n == 1`), "    by: [ci]", "    by: [ci]\n    match: latest", 1))
	for b.Loop() {
		if d := p.Evaluate(model, evidence, now); d.Verdict != Allow {
			b.Fatal(d.Err())
		}
		if d := latest.Evaluate(model, evidence, now); d.Verdict != Allow {
			b.Fatal(d.Err())
		}
	}
}

// lineage500 is a chain of seven models with 70 datasets each, and a data sheet for every one of them.
func lineage500() []Evidence {
	var out []Evidence
	n := 1000
	for i := range 7 {
		next := dep{"base", numbered(i + 1)}
		if i == 6 {
			next = dep{"base", sha256of("p")}
		}
		deps := []dep{next}
		for range 70 {
			n++
			deps = append(deps, dep{"dataset", numbered(n)})
			out = append(out, sheet(fmt.Sprintf("s%06d", n), "x", about(map[string]string{"sha256": number(n)})))
		}
		ev := built(fmt.Sprintf("p%d", i), deps...)
		if i > 0 {
			ev.Subjects = []map[string]string{{"sha256": number(i)}}
		}
		out = append(out, ev)
	}
	return out
}

func BenchmarkLineage500(b *testing.B) {
	p, evidence := load(b, recursive), lineage500()
	for b.Loop() {
		d := p.Evaluate(model, evidence, now)
		if d.Verdict != Allow || len(d.Lineage.Nodes) != 498 {
			b.Fatal(d.Err(), len(d.Lineage.Nodes))
		}
	}
}
