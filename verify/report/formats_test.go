package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func junitXSD(t *testing.T) string { return filepath.Join(testenv.Schemas(t), "junit.xsd") }

func compileSchema(t *testing.T, path string) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("schema.json")
}

func validJSON(t *testing.T, schema *jsonschema.Schema, data []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// TestSchemas validates every report against the schema of its format: the project's own, OASIS's and Ant's.
func TestSchemas(t *testing.T) {
	own := compileSchema(t, filepath.Join(testenv.Root(t), "docs", "schemas", "report-v1.json"))
	sarif := compileSchema(t, filepath.Join(testenv.Schemas(t), "sarif-2.1.0.schema.json"))
	junit := loadXSD(t, junitXSD(t))
	checked := map[Format]int{}
	rendered(t, func(name string, _ Report, format Format, data []byte) {
		var err error
		switch format {
		case JSON:
			err = validJSON(t, own, data)
		case SARIF:
			err = validJSON(t, sarif, data)
		case JUnit:
			var n *node
			if n, err = readXML(data); err == nil {
				err = junit.validate(n)
			}
		default:
			return
		}
		checked[format]++
		if err != nil {
			t.Errorf("%s as %s: %v", name, format, err)
		}
	})
	if len(checked) != 3 || checked[JSON] != len(reports) {
		t.Errorf("checked %v", checked)
	}
}

// TestOwnSchemaIsStrict: a field that the schema does not know, at any depth, and a verdict that its own checks contradict are refused.
func TestOwnSchemaIsStrict(t *testing.T) {
	own := compileSchema(t, filepath.Join(testenv.Root(t), "docs", "schemas", "report-v1.json"))
	for _, c := range []struct{ report, old, new string }{
		{"denied", `"verdict": "DENIED"`, `"verdict": "DENIED", "more": 1`}, {"denied", `"verdict": "DENIED"`, `"verdict": "ALLOWED"`},
		{"denied", `"verdict": "DENIED"`, `"verdict": "denied"`}, {"denied", `"id": "eval-bar"`, `"id": "eval-bar", "severity": "x"`},
		{"denied", `"check": "content"`, `"check": "content", "x": 1`}, {"denied", `/report/v1"`, `/report/v2"`}, {"denied", `"kind": "gate"`, `"kind": "tree"`},
		{"denied", `"code": "EVIDENCE_TOO_OLD",`, ``}, {"denied", `"skipped": [`, `"skippd": [`}, {"denied", `"dirHash": "d`, `"dirHash": "D`},
		{"allowed", `"passed": true`, `"passed": false, "code": "X"`}, {"allowed", `"passed": true`, `"passed": true, "code": "REVOKED"`},
		{"waived", `"waiver": "W-1`, `"waivr": "W-1`}, {"waived", `"severity": "warn"`, `"severity": "warning"`}, {"waived", `"severity": "warn"`, `"severity": "block"`}, {"waived", `"default": "0.7"`, `"default": "0.7", "x": 1`},
		{"waived", `"role": "dataset"`, `"role": "dataset", "x": 1`}, {"waived", `"depth": 1`, `"depth": 1, "x": 1`}, {"waived", `"from": 0`, `"from": -1`}, {"waived", `"passed": false,
        "code": "LINEAGE_GAP"`, `"passed": false`}, {"waived", `"treeSuffices": true`, `"treeSuffices": 1`}, {"waived", `"repository": "`, `"repositry": "`},
		{"waived", `"passed": true,
      "detail": "WAIVED`, `"passed": false, "code": "X",
      "detail": "WAIVED`}, {"audited", `"audit": true`, `"audit": "yes"`},
		{"verified", `"status": "passed"`, `"status": "failed"`}, {"verified", `"bytes": 1500`, `"bytes": 1500, "x": 1`}, {"failed", `"path": "config.json"`, `"path": "config.json", "x": 1`},
	} {
		data, err := Render(reports[c.report], JSON, made)
		if err != nil {
			t.Fatal(err)
		}
		broken := strings.Replace(string(data), c.old, c.new, 1)
		if broken == string(data) {
			t.Fatalf("%s does not hold %s", c.report, c.old)
		}
		if validJSON(t, own, []byte(broken)) == nil {
			t.Errorf("%s: %s passes", c.report, c.new)
		}
	}
}

// TestNoIsCounted: every format for programs has a failure when the verdict is no yes, and none when it is one; and each of them
// lists what was not done.
func TestNoIsCounted(t *testing.T) {
	rendered(t, func(name string, r Report, format Format, data []byte) {
		s := r.summary()
		failures := -1
		switch format {
		case SARIF:
			var log sarifLog
			if err := json.Unmarshal(data, &log); err != nil {
				t.Fatal(err)
			}
			failures = 0
			for _, result := range log.Runs[0].Results {
				if result.Level == "error" {
					failures++
					if len(result.Suppressions) > 0 {
						t.Errorf("%s: a failure is suppressed: %v", name, result)
					}
				}
			}
		case JUnit:
			failures = strings.Count(string(data), "<failure ")
			if want := `failures="` + strconv.Itoa(failures) + `"`; !strings.Contains(string(data), want) {
				t.Errorf("%s: JUnit has %d failures and does not say so", name, failures)
			}
		case Markdown:
			failures = strings.Count(string(data), "| ❌ |")
		case JSON:
			if !strings.Contains(string(data), `"skipped": [`) {
				t.Errorf("%s: the JSON has no list of what was skipped", name)
			}
		}
		if failures >= 0 && (failures == 0) != s.good {
			t.Errorf("%s as %s: %d failures, and the verdict is %s", name, format, failures, s.verdict)
		}
	})
	d := &policies.Decision{Skipped: []policies.Skipped{{Check: "the check", Reason: "the reason"}}}
	tree := Tree{"m", &verify.TreeResult{Checks: []verify.Check{{Name: "the check", Detail: "the reason"}}, Ignored: []string{"the path"}, LeftOut: []string{"the git"}, IgnoredHere: []string{"the cache"}}}
	for _, format := range Formats {
		for _, r := range []Report{Gate{Decision: d}, tree} {
			data, err := Render(r, format, made)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"the check", "the reason"} {
				if !strings.Contains(string(data), want) {
					t.Errorf("%T as %s does not say that %q was not done:\n%s", r, format, want, data)
				}
			}
			for _, want := range []string{"the path", "the git", "the cache"} {
				if _, ok := r.(Tree); ok && format != Text && !strings.Contains(string(data), want) {
					t.Errorf("%s does not list %q as left out", format, want)
				}
			}
		}
	}
}

// TestLongLists: what strangers attach does not make the reports for CI long; the JSON has it all.
func TestLongLists(t *testing.T) {
	d := *reports["denied"].(Gate).Decision
	d.Requirements = slices.Clone(d.Requirements)
	for i := range 20_000 {
		s := policies.Seen{ID: "sha256:" + strings.Repeat(strconv.Itoa(i%10), 58) + strconv.Itoa(100_000+i), Code: policies.SignerNotTrusted, Reason: evil}
		d.Ignored = append(d.Ignored, s)
		d.Requirements[1].NearMisses = append(d.Requirements[1].NearMisses, policies.Seen{ID: "x" + s.ID, Reason: evil})
	}
	for _, format := range []Format{SARIF, JUnit, Markdown} {
		data, err := Render(Gate{Decision: &d}, format, made)
		if err != nil || len(data) > 256<<10 || !strings.Contains(string(data), " more") {
			t.Errorf("%s has %d bytes: %v", format, len(data), err)
		}
	}
	if data, err := Render(Gate{Decision: &d}, JSON, made); err != nil || strings.Count(string(data), `"reason"`) < 40_000 {
		t.Errorf("the JSON does not have all: %v", err)
	}
}

// TestEveryCodeHasAMeaning reads the codes from the source that defines them.
func TestEveryCodeHasAMeaning(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(testenv.Root(t), "policies", "decision.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes++
		if meanings[policies.Code(text)] == "" {
			t.Errorf("%s has no meaning", text)
		}
		return true
	})
	if codes == 0 || codes != len(meanings) {
		t.Errorf("%d codes and %d meanings", codes, len(meanings))
	}
}

// TestFingerprints: the same failure of another version of the artifact is the same alert, another requirement is another.
func TestFingerprints(t *testing.T) {
	print := func(change func(*policies.Decision)) []string {
		d := *reports["denied"].(Gate).Decision
		d.Requirements = slices.Clone(d.Requirements)
		change(&d)
		var out []string
		for _, r := range (Gate{Decision: &d}).summary().sarif("").Runs[0].Results {
			out = append(out, r.Fingerprints["primaryLocationLineHash"])
		}
		return out
	}
	as := print(func(*policies.Decision) {})
	for what, change := range map[string]func(*policies.Decision){
		"digest":  func(d *policies.Decision) { d.Subject.Digests = map[string]string{"sha256": strings.Repeat("0", 64)} },
		"reason":  func(d *policies.Decision) { d.Requirements[1].Code = policies.TypeMissing },
		"version": func(d *policies.Decision) { d.Policy.Version++ },
	} {
		if got := print(change); !slices.Equal(got, as) {
			t.Errorf("another %s makes another alert: %v, %v", what, got, as)
		}
	}
	for what, change := range map[string]func(*policies.Decision){
		"artifact":    func(d *policies.Decision) { d.Subject.Name += "x" },
		"requirement": func(d *policies.Decision) { d.Requirements[1].ID += "x" },
		"policy":      func(d *policies.Decision) { d.Policy.Name += "x" },
	} {
		if got := print(change); slices.Equal(got, as) {
			t.Errorf("another %s is the same alert", what)
		}
	}
	twice := print(func(d *policies.Decision) { d.Requirements = append(d.Requirements, d.Requirements[1]) })
	if len(twice) != 2 || twice[0] == twice[1] {
		t.Errorf("two failures are one alert: %v", twice)
	}
}

// inertText is all that inert may write: letters, digits, a few signs that mean nothing, and character references.
var inertText = regexp.MustCompile(`^<code>([\pL\pN\pM\p{Zs}\p{So}\p{Sk}\p{Sm}\p{Sc}\p{Pd}\p{Pi}\p{Pf}\p{Po}\p{Ps}\p{Pe}\p{Pc}\p{Co}\p{Cn}]|&#[0-9]+;)*</code>$`)

func checkMarkdownText(t *testing.T, s string) {
	t.Helper()
	out := inert(s)
	inner := strings.TrimSuffix(strings.TrimPrefix(out, "<code>"), "</code>")
	bare := regexp.MustCompile(`&#[0-9]+;`).ReplaceAllString(inner, "")
	if !inertText.MatchString(out) || strings.ContainsAny(bare, "&<>\"'`*_~[]\\|!:@#.${}^\n\r") {
		t.Errorf("inert(%q) is %q", s, out)
	}
}

// FuzzFormats: whatever stands in a decision, the formats are well-formed and hold nothing that is obeyed.
func FuzzFormats(f *testing.F) {
	f.Add("model", "detail", "TYPE_MISSING")
	f.Add(evil, evil, "X")
	f.Add("\xff\xfe", "]]>\u0085\U000e0041", "a\"b")
	f.Add("", " ::error::x", "")
	f.Add("##[group]x\\", "\\|\u2028", "_")
	f.Fuzz(func(t *testing.T, name, text, code string) {
		seen := policies.Seen{ID: text, PredicateType: text, Signers: []string{text}, Origin: text, TimeSource: text, Reason: text}
		d := &policies.Decision{Policy: policies.PolicyRef{Name: name, Digest: text}, Subject: policies.Subject{Name: name, Digests: map[string]string{"dirHash": text}},
			Overrides: []policies.Override{{Name: name, Value: text, Default: code}}, Lineage: &policies.Graph{Nodes: []policies.Node{{Name: name, Digests: map[string]string{"dirHash": text}}}},
			Requirements: []policies.Requirement{{ID: name, Passed: true, Waiver: text, Detail: text}, {ID: name, Severity: policies.Warn, Code: policies.Code(code), Detail: text, Values: []string{text}, NearMisses: []policies.Seen{seen}}, {ID: name, Code: policies.Code(code), Detail: text, Message: text, Fix: text, NearMisses: []policies.Seen{seen}}, {ID: name, Passed: true, Detail: text}},
			Skipped:      []policies.Skipped{{Check: name, Reason: text}}, Notes: []string{text}, Ignored: []policies.Seen{seen}}
		tree := &verify.TreeResult{Checks: []verify.Check{{Name: name, Status: verify.Failed, Detail: text}}, Signer: text, Ignored: []string{name}}
		for _, r := range []Report{Gate{Decision: d}, Tree{name, tree}} {
			for _, format := range Formats {
				data, err := Render(r, format, made)
				if err != nil {
					t.Fatalf("%s: %v", format, err)
				}
				checkInert(t, string(format), data)
				switch format {
				case JSON, SARIF:
					if !json.Valid(data) {
						t.Errorf("%s is not JSON: %s", format, data)
					}
				case JUnit:
					if err := xml.Unmarshal(data, new(struct{})); err != nil {
						t.Errorf("%v:\n%s", err, data)
					}
					if n, err := readXML(data); err != nil || len(n.kids) != 1 || bytes.ContainsRune(data, '\ufffd') && !strings.Contains(name+text+code, "\ufffd") {
						t.Errorf("%v:\n%s", err, data)
					}
				}
			}
		}
		checkMarkdownText(t, text)
	})
}
