package evaluation

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
)

var update = flag.Bool("update", false, "write the golden predicates anew")

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// options are enough for every format.
func options() Options {
	return Options{
		Evaluator: Named{Name: "https://example.test/evaluators"},
		Dataset:   resource{Name: "held-out", Digest: attest.DigestSet{"dirHash": strings.Repeat("d", 64)}},
		Report:    resource{Name: "report", Digest: attest.DigestSet{"sha256": strings.Repeat("e", 64)}},
	}
}

// TestFixtures reads files that the tools themselves wrote, and compares the predicates with golden ones.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		if ext := filepath.Ext(name); ext != ".json" && ext != ".eval" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			report, err := Parse(fixture(t, name), "")
			if err != nil {
				t.Fatal(err)
			}
			seen[report.Format] = true
			if forced, err := Parse(fixture(t, name), report.Format); err != nil || forced.Format != report.Format {
				t.Errorf("with its format named: %v", err)
			}
			o := options()
			if report.Harness.Version == "" {
				o.Harness.Version = "1.0"
			}
			made, err := report.Predicate(o)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := json.Indent(&out, made.Predicate, "", "  "); err != nil {
				t.Fatal(err)
			}
			out.WriteString("\n" + strings.Join(made.Notes, "\n") + "\n")
			golden := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || !bytes.Equal(want, out.Bytes()) {
				t.Errorf("made\n%s, want\n%s (%v)", out.Bytes(), want, err)
			}
		})
	}
	for _, name := range Formats() {
		if !seen[name] {
			t.Errorf("no file of %s", name)
		}
	}
}

// TestFixtureDigits: every value of a predicate stands in the file with the same digits, or with an exponent.
func TestFixtureDigits(t *testing.T) {
	for file, values := range map[string][]string{
		"lm-eval.json":                {"0.1889822365046136"},
		"mlflow-describe.json":        {"0.30000000000000004", "0.00001"},
		"sklearn-report.json":         {"1.0", "0.949874686716792"},
		"eval_results.json":           {"0.6926985383033752"},
		"inspect.eval":                {"0.33333333333333337"},
		"trainer_state.json":          {"0.6926985383033752"},
		"sklearn-cross-validate.json": {"-0.19654961958838385"},
	} {
		report, err := Parse(fixture(t, file), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range values {
			found := false
			for _, m := range report.Metrics {
				found = found || m.Value == want || m.Stderr == want
			}
			if !found {
				t.Errorf("%s: no value %s", file, want)
			}
		}
	}
}

func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"0.10": "0.10", "1": "1", "-0.0": "-0.0", "1e-3": "0.001", "1e-05": "0.00001", "1E5": "100000", "1.50e1": "15.0", "-2.5e-2": "-0.025",
		"12.345e+2": "1234.5", "0e0": "0", "0.10e0": "0.10", "0.001e3": "1", "123e-2": "1.23", "1.5e39": "15" + strings.Repeat("0", 38),
		"0.30000000000000004": "0.30000000000000004", "0e-3": "0.000",
	} {
		if got, err := Decimal(text); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "NaN", "Infinity", "1e400", "1e-41", "1e99999999999", "0x10", "1_0", ".5", "5.", "+1", "1e", strings.Repeat("9", 41), "0." + strings.Repeat("1", 41)} {
		if got, err := Decimal(text); err == nil {
			t.Errorf("%q gave %s", text, got)
		}
	}
}

const lmEvalText = `{"results":{"arc":{"alias":"arc","acc,none":%,"acc_stderr,none":"N/A","odd,strict-match":0.5}},"versions":{"arc":1},"config":{},"n-shot":{"arc":0},"lm_eval_version":"0.4.9"}`

func lmEvalWith(acc string) []byte { return []byte(strings.Replace(lmEvalText, "%", acc, 1)) }

func TestPredicate(t *testing.T) {
	tests := map[string]struct {
		acc    string
		change func(*Options)
		err    string // of ErrAsked
		want   []string
		failed int
	}{
		"cleared":                      {"0.90", bar("acc>=0.9"), "", []string{`"value":"0.90","comparator":">=","threshold":"0.9","passed":true,"higherIsBetter":true`}, 0},
		"exactly, where floats differ": {"0.30000000000000004", bar("acc>0.3"), "", []string{`"passed":true`}, 0},
		"equal is not above":           {"0.9", bar("acc>0.90"), "", []string{`"passed":false`}, 1},
		"not cleared is signed":        {"0.8", bar("acc>=9e-1"), "", []string{`"threshold":"0.9","passed":false`}, 1},
		"as the file has it":           {"0.9", bar("acc,none >= 0.9"), "", []string{`"passed":true`}, 0},
		"with the dataset":             {"0.9", bar("arc:acc>=0.9"), "", []string{`"passed":true`}, 0},
		"no such metric":               {"0.9", bar("accuracy>=0.9"), "no metric is called accuracy; there are arc:acc, arc:odd,strict-match", nil, 0},
		"two for one":                  {"0.9", bar("acc>=0.9", "arc:acc>=0.8"), "two thresholds", nil, 0},
		"the wrong way round":          {"0.9", bar("acc<=0.9"), "wrong way round", nil, 0},
		"NaN asked for":                {"NaN", bar("acc>=0.9"), `arc:acc: it is not a number: "NaN"`, nil, 0},
		"nothing is left":              {"-Infinity", func(*Options) {}, "no metric is left", nil, 0},
		"pattern":                      {"0.9", func(o *Options) { o.Metrics = []string{"ac*"} }, "", []string{`"passed":false`}, 0},
		"pattern of nothing":           {"0.9", func(o *Options) { o.Metrics = []string{"f1*"} }, "no metric fits f1*", nil, 0},
		"bad pattern":                  {"0.9", func(o *Options) { o.Metrics = []string{"["} }, "no pattern", nil, 0},
		"direction asked":              {"0.9", func(o *Options) { o.Metrics = []string{"odd*"} }, "better when higher or lower", nil, 0},
		"direction said":               {"0.9", func(o *Options) { o.Metrics, o.Lower = []string{"odd*"}, []string{"odd*"} }, "", []string{`"metric":"odd,strict-match"`, `"higherIsBetter":false`}, 0},
		"direction said twice":         {"0.9", func(o *Options) { o.Higher, o.Lower = []string{"odd*"}, []string{"odd*"} }, "and when lower", nil, 0},
		"direction by the threshold":   {"0.9", bar("odd,strict-match<1"), "", []string{`"higherIsBetter":false`}, 0},
		"other version":                {"0.9", func(o *Options) { o.Harness.Version = "0.1" }, "0.4.9 in the file", nil, 0},
		"other tool":                   {"0.9", func(o *Options) { o.Harness.Name = "mine" }, "lm-evaluation-harness in the file", nil, 0},
		"seed and size":                {"0.9", func(o *Options) { o.Seed, o.SampleSize = "-7", "10" }, "", []string{`"seed":-7`, `"sampleSize":10`}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			report, err := Parse(lmEvalWith(test.acc), "")
			if err != nil {
				t.Fatal(err)
			}
			o := options()
			test.change(&o)
			made, err := report.Predicate(o)
			if test.err != "" {
				if !errors.Is(err, ErrAsked) || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("%v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(made.Predicate), want) {
					t.Errorf("%s\nlacks %s", made.Predicate, want)
				}
			}
			if len(made.Failed) != test.failed {
				t.Errorf("failed: %q", made.Failed)
			}
		})
	}
}

func bar(texts ...string) func(*Options) {
	return func(o *Options) {
		for _, text := range texts {
			t, err := ParseThreshold(text)
			if err != nil {
				panic(err)
			}
			o.Thresholds = append(o.Thresholds, t)
		}
	}
}

func TestParseThreshold(t *testing.T) {
	for _, text := range []string{"", "acc", "acc>=", ">=1", "acc>=x", "acc=>1", "acc>=NaN", "acc=1", "acc>=1e99"} {
		if got, err := ParseThreshold(text); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, format, want string }{
		"empty":              {"", "", "not JSON"},
		"cut off":            {`{"results":`, "", "not JSON"},
		"no format":          {`{"a":1}`, "", "none of lm-eval, inspect, helm"},
		"other format":       {string(lmEvalWith("1")), "helm", "not the structure of a result file of helm"},
		"twice":              {`{"eval_loss":1,"eval_loss":2}`, "", "twice"},
		"text behind":        {`{"eval_loss":1} {}`, "", "behind"},
		"deep":               {strings.Repeat("[", 100), "", "deeper"},
		"not UTF-8":          {"{\"\xff\":1}", "", "UTF-8"},
		"many":               {"[" + strings.Repeat("1,", MaxValues) + "1]", "", "more than"},
		"unfinished":         {`{"version":2,"status":"error","eval":{"task":"t"}}`, "", `status is "error"`},
		"invalidated":        {`{"version":2,"status":"success","invalidated":true,"eval":{"task":"t"}}`, "", "invalidated"},
		"no scores":          {`{"version":2,"status":"success","eval":{"task":"t"}}`, "", "no metrics"},
		"running":            {`{"info":{"run_id":"a","status":"RUNNING"},"data":{}}`, "", "RUNNING"},
		"training only":      {`{"global_step":1,"log_history":[{"loss":1},null]}`, "", "no evaluation"},
		"zip of other":       {"PK\x03\x04", "", "zip"},
		"zip without header": {zipped("a.json", "{}"), "", "without header.json"},
		"bomb":               {zipped("header.json", strings.Repeat(" ", maxHeaderBytes+1)), "", "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text), test.format)
			if !errors.Is(err, ErrReport) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
	if _, err := Parse(make([]byte, MaxReportBytes+1), ""); !errors.Is(err, ErrReport) {
		t.Errorf("too large: %v", err)
	}
}

func zipped(name, text string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write([]byte(text))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.String()
}

// TestClassNames: keys that a statement could not have stay apart in a result file.
func TestClassNames(t *testing.T) {
	report, err := Parse([]byte(`{"-1":{"f1-score":0.25,"support":2},"1":{"f1-score":0.75,"support":2},"weighted avg":{"f1-score":0.5,"support":4.0},"accuracy":0.5}`), "")
	if err != nil || len(report.Metrics) != 4 || report.SampleSize != "4" {
		t.Fatalf("%+v, %v", report, err)
	}
}

// TestNotNumbersInStrings: NaN in a text is a text.
func TestNotNumbersInStrings(t *testing.T) {
	text := `{"a":"NaN \" Infinity \\","b":[NaN,-Infinity,Infinity]}`
	want := `{"a":"NaN \" Infinity \\","b":["NaN","-Infinity","Infinity"]}`
	if got := string(quoteNotNumbers([]byte(text))); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func runFixture(t testing.TB) (meta []byte, metrics map[string][]byte) {
	return fixture(t, "mlflow-run/meta.yaml"), map[string][]byte{
		"accuracy": fixture(t, "mlflow-run/metrics/accuracy"), "log_loss": fixture(t, "mlflow-run/metrics/log_loss"), "val/f1_score": fixture(t, "mlflow-run/metrics/val/f1_score"),
	}
}

func TestParseMLflowRun(t *testing.T) {
	meta, metrics := runFixture(t)
	metrics["order"] = []byte("5 0.1 2\n9 0.9 1\n6 0.3 2\n6 0.2 2\n")
	report, err := ParseMLflowRun(meta, metrics)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range report.Metrics {
		got = append(got, m.Name+"="+m.Value)
	}
	if want := "accuracy=0.30000000000000004 log_loss=0.00001 order=0.3 val/f1_score=0.875"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	if report.FinishedOn != "2026-11-22T21:13:16.916Z" {
		t.Error(report.FinishedOn)
	}
	for name, change := range map[string]func(){
		"running": func() { meta = bytes.Replace(meta, []byte("status: 3"), []byte("status: 1"), 1) },
		"rubbish": func() { metrics["order"] = []byte("rubbish") },
		"empty":   func() { metrics["order"] = nil },
		"no time": func() { metrics["order"] = []byte("x 0.1 0") },
		"none":    func() { metrics = nil },
		"alias":   func() { meta = []byte("a: &x 1\nstatus: *x\n") },
	} {
		meta, metrics = runFixture(t)
		change()
		if _, err := ParseMLflowRun(meta, metrics); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	meta, _ = runFixture(t)
	if report, err := ParseMLflowRun(meta, map[string][]byte{"loss": []byte("1 nan 0\n")}); err != nil || report.Metrics[0].Unknown == "" {
		t.Errorf("nan: %+v, %v", report, err)
	}
}

func FuzzMLflowRun(f *testing.F) {
	meta, metrics := runFixture(f)
	f.Add(meta, metrics["accuracy"])
	f.Fuzz(func(t *testing.T, meta, metric []byte) {
		report, err := ParseMLflowRun(meta, map[string][]byte{"accuracy": metric})
		if err != nil {
			if !errors.Is(err, ErrReport) {
				t.Errorf("not ErrReport: %v", err)
			}
			return
		}
		o := options()
		o.Harness.Version = "1"
		if _, err := report.Predicate(o); err != nil && !errors.Is(err, ErrAsked) {
			t.Error(err)
		}
	})
}

// A fuzz target for each format: what is read makes a predicate that holds its schema, or an error that says why not.
func fuzzFormat(f *testing.F, name string, seeds ...string) {
	for _, seed := range seeds {
		f.Add(fixture(f, seed))
	}
	f.Add(lmEvalWith("NaN"))
	f.Add([]byte(`{"eval_loss":1e-3,"log_history":[null]}`))
	f.Add([]byte(`[{"name":{"name":"f1","perturbation":{"name":"x"}},"count":1,"mean":0.10}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := Parse(data, name)
		if err != nil {
			if !errors.Is(err, ErrReport) {
				t.Errorf("not ErrReport: %v", err)
			}
			return
		}
		o := options()
		if report.Harness.Version == "" {
			o.Harness.Version = "1"
		}
		made, err := report.Predicate(o)
		if err != nil {
			if !errors.Is(err, ErrAsked) && !errors.Is(err, attest.ErrPredicate) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		if err := attest.CheckPredicate(attest.EvaluationPredicateType, made.Predicate); err != nil {
			t.Error(err)
		}
	})
}

func FuzzLMEval(f *testing.F)  { fuzzFormat(f, "lm-eval", "lm-eval.json") }
func FuzzInspect(f *testing.F) { fuzzFormat(f, "inspect", "inspect.json", "inspect.eval") }
func FuzzHELM(f *testing.F)    { fuzzFormat(f, "helm", "helm-stats.json") }
func FuzzMLflow(f *testing.F)  { fuzzFormat(f, "mlflow", "mlflow-describe.json", "mlflow-rest.json") }
func FuzzTrainer(f *testing.F) {
	fuzzFormat(f, "trainer", "eval_results.json", "all_results.json", "trainer_state.json")
}
func FuzzSklearn(f *testing.F) {
	fuzzFormat(f, "sklearn", "sklearn-report.json", "sklearn-cross-validate.json", "sklearn-grid-search.json")
}
