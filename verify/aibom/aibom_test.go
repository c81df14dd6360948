package aibom

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
	"github.com/opencontainers/go-digest"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// hexOf is a sha256 that belongs to a name.
func hexOf(name string) string { return digest.FromString(name).Encoded() }

func setOf(name string) map[string]string { return map[string]string{"sha256": hexOf(name)} }

// stmt is a statement that a policy's signer made.
func stmt(id, predicateType, predicate string) policies.Evidence {
	e := policies.Evidence{ID: "sha256:" + hexOf(id), PredicateType: predicateType, SignedBy: []string{"signer-" + id}, Time: now.Add(-time.Hour)}
	d := json.NewDecoder(strings.NewReader(`{"predicate":` + predicate + `}`))
	d.UseNumber()
	if err := d.Decode(&e.Statement); err != nil {
		panic(err)
	}
	return e
}

func use(e policies.Evidence, role string, to int, uri, name string) policies.Use {
	entry := map[string]any{"uri": uri}
	if name != "" {
		entry["name"] = name
	}
	return policies.Use{Role: role, To: to, Entry: entry, Statement: e.ID, Type: e.PredicateType}
}

func bare() Artifact {
	tree, err := manifest.New([]manifest.File{{Path: "model.safetensors", Size: 7, Digest: digest.FromString("w")}, {Path: "README.md", Size: 3, Digest: digest.FromString("r")}})
	if err != nil {
		panic(err)
	}
	return Artifact{Name: "bot", Digests: map[string]string{"sha256": hexOf("model"), "dirHash": tree.DirHash()}, Tree: tree,
		PURL: OCIPURL("registry.example:5000/Models/bot", "sha256:"+hexOf("model")), Contents: Contents{Architecture: "transformer", Format: "safetensors", Precision: "bf16"}}
}

const fineTune = `{"buildDefinition":{"buildType":"https://example.test/train","externalParameters":{"hyperparameters":{"epochs":"2","lr":0.10}},"resolvedDependencies":[]},
	"runDetails":{"builder":{"id":"https://builder.example"},"metadata":{"finishedOn":"2026-11-20T10:00:00.5Z"}}}`

// quoted is a string as JSON.
func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

func dataSheet(name, licence, pii string) string {
	return fmt.Sprintf(`{"name":%s,"version":"1.2","source":[{"uri":"https://data.example/%s","digest":{"sha256":%s},"retrievedOn":"2026-11-01T00:00:00Z"},{"uri":"a drawer"}],
	"records":{"count":7},"splits":[{"name":"train","digest":{"sha256":"ab"}}],"license":{"declared":%s,"concluded":"CC0-1.0"},"sensitive":{"pii":%s,"method":"masking"},
	"filters":[{"name":"dedup","version":"2"}],"classification":"internal"}`, quoted(name), url.PathEscape(name), quoted(hexOf("source")), quoted(licence), quoted(pii))
}

// full is an artifact about which everything is known that a document has a place for: a fine-tune of a model that was made of a corpus, with
// datasets that share a source, licences in all forms, and texts that strangers chose.
func full() (Artifact, Options) {
	const evil = "</script>\u202e\u001b[31m\u009b\ufeff\"\\n"
	built, base := stmt("built", attest.ProvenancePredicateType, fineTune), stmt("base", attest.ProvenancePredicateType, fineTune)
	eval := stmt("eval", attest.EvaluationPredicateType, fmt.Sprintf(`{"evaluator":{"id":"x"},"harness":{"name":"h","version":"1"},"dataset":{"name":"evalset","digest":{"sha256":%s}},
		"results":[{"metric":"accuracy","dataset":"test","value":"0.7000000000000000000001","passed":true,"higherIsBetter":true},{"metric":%s,"dataset":"hard","value":"-0.50","passed":false,"higherIsBetter":true}]}`, quoted(hexOf("evalset")), quoted(evil)))
	review := stmt("review", attest.LicenseReviewPredicateType, `{"declared":"our own terms","concluded":"Apache-2.0 OR LicenseRef-terms"}`)
	none := stmt("none", attest.LicenseReviewPredicateType, `{"declared":"NOASSERTION","concluded":"NONE"}`)
	train := stmt("train", attest.DatasetPredicateType, dataSheet(evil, "CC-BY-4.0", "redacted"))
	corpus := stmt("corpus", attest.DatasetPredicateType, dataSheet("corpus", "see the file", "present"))
	made := stmt("made", attest.ProvenancePredicateType, fineTune)
	accounts := []policies.Account{
		{Digests: setOf("model"), Statements: []policies.Evidence{built, eval, review}, Uses: []policies.Use{
			use(built, "baseModel", 1, "hf://org/base@0123456789ABCDEF0123456789abcdef01234567", "baseModel"), use(built, "dataset", 2, "https://data.example/train.jsonl", "dataset"), use(built, "code", 5, "https://code.example", "code"),
			use(built, "dataset", -1, "not a URI "+evil, "dataset"), use(built, "baseModel", 0, "urn:itself", "baseModel"), use(eval, "", 3, "", "evalset")}},
		{Role: "baseModel", Digests: setOf("base"), Statements: []policies.Evidence{base, none}, Uses: []policies.Use{use(base, "dataset", 4, "pkg:pypi/corpus@1", "dataset"), use(base, "baseModel", 1, "", "baseModel")}},
		{Role: "dataset", Digests: setOf("train"), Statements: []policies.Evidence{made, train}, Uses: []policies.Use{use(made, "dataset", 4, "", "dataset")}},
		{Digests: setOf("evalset")},
		{Role: "dataset", Digests: map[string]string{"dirHash": hexOf("corpus")}, Statements: []policies.Evidence{corpus}},
		{Role: "code", Digests: setOf("code")},
	}
	return bare(), Options{Accounts: accounts, Policy: &policies.PolicyRef{Name: "gate", Version: 3, Digest: "sha256:" + hexOf("policy")}, Version: "1.2.3", Now: now}
}

// documents are the two forms of a document, by the ends of the names of their files.
func documents(t testing.TB, artifact Artifact, o Options) (map[string][]byte, *Document) {
	t.Helper()
	d := New(artifact, o)
	cyclone, err := d.CycloneDX()
	if err != nil {
		t.Fatal(err)
	}
	spdx, err := d.SPDX()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"cdx": cyclone, "spdx": spdx}, d
}

// schemas are the official ones.
func schemas(t testing.TB) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseRegexpEngine(compilePattern)
	for url, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.7.schema.json": "cyclonedx-bom-1.7", "http://cyclonedx.org/schema/spdx.schema.json": "cyclonedx-spdx",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "cyclonedx-jsf-0.82", "http://cyclonedx.org/schema/cryptography-defs.schema.json": "cyclonedx-cryptography-defs"} {
		addSchema(t, c, url, filepath.Join(testenv.Schemas(t), file+".schema.json"))
	}
	addSchema(t, c, "spdx", filepath.Join("testdata", "spdx-3.0.1", "schema.json"))
	return map[string]*jsonschema.Schema{"cdx": c.MustCompile("http://cyclonedx.org/schema/bom-1.7.schema.json"), "spdx": c.MustCompile("spdx")}
}

// compilePattern knows the one pattern of SPDX's schema that Go's regular expressions cannot say.
func compilePattern(pattern string) (jsonschema.Regexp, error) {
	if pattern == `^(?!_:).+:.+` {
		return notBlank{regexp.MustCompile(`^.+:.+`)}, nil
	}
	return regexp.Compile(pattern)
}

type notBlank struct{ *regexp.Regexp }

func (n notBlank) MatchString(s string) bool {
	return !strings.HasPrefix(s, "_:") && n.Regexp.MatchString(s)
}

func addSchema(t testing.TB, c *jsonschema.Compiler, url, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = c.AddResource(url, doc)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func validate(t testing.TB, schema *jsonschema.Schema, data []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

// TestGolden: the documents are what they were, satisfy the official schemas, and hold nothing that a terminal obeys.
func TestGolden(t *testing.T) {
	official := schemas(t)
	artifact, options := full()
	data := bare()
	data.Dataset, data.Contents, data.PURL = true, Contents{}, ""
	sheeted := Options{Version: "1.2.3", Now: now, Accounts: []policies.Account{{Statements: []policies.Evidence{stmt("sheet", attest.DatasetPredicateType, dataSheet("corpus", "MIT", "none"))}}}}
	for name, in := range map[string]struct {
		artifact Artifact
		options  Options
	}{"full": {artifact, options}, "bare": {bare(), Options{Version: "1.2.3", Now: now}}, "dataset": {data, sheeted}} {
		forms, _ := documents(t, in.artifact, in.options)
		for form, got := range forms {
			file := filepath.Join("testdata", name+"."+form+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not what it was (%v); -update writes it anew:\n%s", file, err, got)
			}
			if err := validate(t, official[form], got); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if strings.ContainsAny(string(got), "\u202e\u001b\u009b\ufeff") {
				t.Errorf("%s: it holds what a terminal obeys", file)
			}
			if !Is(got) || Is([]byte(`{"weights": 1}`)) || Is([]byte("\x00\x01")) {
				t.Errorf("%s is told apart wrongly", file)
			}
		}
	}
}

// TestSchemasRefuse: the schemas are strict where a mistake would show.
func TestSchemasRefuse(t *testing.T) {
	official := schemas(t)
	artifact, options := full()
	forms, _ := documents(t, artifact, options)
	for _, c := range []struct{ form, old, new string }{
		{"cdx", `"machine-learning-model"`, `"model"`}, {"cdx", `"slice"`, `"dataset"`}, {"cdx", `"declared"`, `"said"`},
		{"spdx", `"ai_metric"`, `"ai_metrics"`}, {"spdx", `"trainedOn"`, `"trainedWith"`}, {"spdx", `"noAssertion"`, `"anything"`}, {"spdx", `"hasDeclaredLicense"`, `"license"`}} {
		changed := bytes.ReplaceAll(forms[c.form], []byte(c.old), []byte(c.new))
		if bytes.Equal(changed, forms[c.form]) {
			t.Errorf("%s: no %s", c.form, c.old)
		} else if validate(t, official[c.form], changed) == nil {
			t.Errorf("%s: %s instead of %s is valid", c.form, c.new, c.old)
		}
	}
}

// TestNothingUnknown: of an artifact about which nobody said anything, only what its bytes say is written.
func TestNothingUnknown(t *testing.T) {
	for name, o := range map[string]Options{"nobody": {Now: now}, "nothing": {Now: now, Accounts: []policies.Account{{Digests: setOf("model")}}}} {
		forms, d := documents(t, bare(), o)
		for form, got := range forms {
			for _, word := range []string{"icense", "etric", "atasets", "ancestors", "hyperparameter", "trainedOn", "testedOn", "descendantOf", "supplie", "author", "timestamp", "version\": \"\""} {
				// The names of files and of the format's own version are none of these.
				if text := strings.ReplaceAll(string(got), `"LICENSE"`, ""); strings.Contains(text, word) {
					t.Errorf("%s %s: it says something of %q:\n%s", name, form, word, got)
				}
			}
		}
		if len(d.Statements)+len(d.Notes) > 0 {
			t.Errorf("%s: %v %v", name, d.Statements, d.Notes)
		}
	}
}

// TestUnfitStatements: what is not as the schema of its type says leaves no trace but a note, nor does what only it leads to.
func TestUnfitStatements(t *testing.T) {
	long := strings.Repeat("A", 10<<20)
	for name, e := range map[string]policies.Evidence{
		"a long text":     stmt("long", attest.DatasetPredicateType, strings.Replace(dataSheet("SECRET", "MIT", "none"), "a drawer", long, 1)),
		"another shape":   stmt("shape", attest.EvaluationPredicateType, `{"results":[{"metric":"SECRET","value":0.7}]}`),
		"no predicate":    {ID: "sha256:1", PredicateType: attest.LicenseReviewPredicateType, SignedBy: []string{"x\x1b[31m"}, Statement: map[string]any{}},
		"a wrong decimal": stmt("decimal", attest.EvaluationPredicateType, strings.ReplaceAll(`{"evaluator":{"id":"x"},"harness":{"name":"h","version":"1"},"dataset":{"uri":"SECRET:x"},"results":[{"metric":"SECRET","dataset":"t","value":"1e9","passed":true,"higherIsBetter":true}]}`, "\n", "")),
		"other roles":     stmt("roles", attest.ProvenancePredicateType, `{"buildDefinition":[]}`),
	} {
		o := Options{Now: now, Accounts: []policies.Account{{Digests: setOf("model"), Statements: []policies.Evidence{e}, Uses: []policies.Use{use(e, "dataset", 1, "urn:SECRET", "SECRET"), use(e, "baseModel", -1, "urn:SECRET", "")}},
			{Digests: setOf("SECRET"), Statements: []policies.Evidence{stmt("behind", attest.LicenseReviewPredicateType, `{"concluded":"SECRET"}`)}}}}
		forms, d := documents(t, bare(), o)
		without, _ := documents(t, bare(), Options{Now: now})
		for form, got := range forms {
			if !bytes.Equal(got, without[form]) {
				t.Errorf("%s: %s is not that of nothing:\n%.2000s", name, form, got)
			}
		}
		if len(d.Notes) != 1 || len(d.Notes[0]) > 4096 || strings.ContainsRune(d.Notes[0], '\x1b') {
			t.Errorf("%s: %d notes, %.300q", name, len(d.Notes), d.Notes)
		}
	}
}

// TestSameInputSameBytes: the order in which statements are found, and the signatures on them, change nothing but their IDs.
func TestSameInputSameBytes(t *testing.T) {
	artifact, options := full()
	first, _ := documents(t, artifact, options)
	for i := range options.Accounts {
		slices.Reverse(options.Accounts[i].Statements)
	}
	again, _ := documents(t, artifact, options)
	for form := range first {
		if !bytes.Equal(first[form], again[form]) {
			t.Errorf("%s depends on the order:\n%s", form, again[form])
		}
	}
	options.Time = now.Add(time.Hour)
	later, _ := documents(t, artifact, options)
	if !bytes.Contains(later["spdx"], []byte(`"created": "2026-11-22T13:00:00Z"`)) || !bytes.Contains(later["cdx"], []byte(`"timestamp": "2026-11-22T13:00:00Z"`)) {
		t.Error("the time that was given is not the document's")
	}
	if serial(t, first["cdx"]) == serial(t, later["cdx"]) {
		t.Error("two documents have one serial number")
	}
}

func serial(t *testing.T, data []byte) (out string) {
	t.Helper()
	var bom struct{ SerialNumber string }
	if err := json.Unmarshal(data, &bom); err != nil || bom.SerialNumber == "" {
		t.Fatal(err)
	}
	return bom.SerialNumber
}

// TestBounds: of many files none is listed, and of many things the nearest.
func TestBounds(t *testing.T) {
	official := schemas(t)
	var files []manifest.File
	for i := range MaxFiles + 1 {
		files = append(files, manifest.File{Path: fmt.Sprintf("f%05d", i), Digest: digest.FromString("x")})
	}
	artifact := bare()
	artifact.Tree, _ = manifest.New(files)
	e := stmt("built", attest.ProvenancePredicateType, fineTune)
	account := policies.Account{Statements: []policies.Evidence{e}}
	for i := range MaxThings + 5 {
		account.Uses = append(account.Uses, use(e, "dataset", -1, fmt.Sprintf("urn:data:%d", i), ""))
	}
	forms, d := documents(t, artifact, Options{Now: now, Accounts: []policies.Account{account}})
	for form, got := range forms {
		if bytes.Contains(got, []byte("f00001")) || !bytes.Contains(got, []byte("1001")) {
			t.Errorf("%s lists files, or does not say how many there are", form)
		}
		if !bytes.Contains(got, []byte(`urn:data:999"`)) || bytes.Contains(got, []byte(`urn:data:1000"`)) {
			t.Errorf("%s does not end with thing %d", form, MaxThings)
		}
		if err := validate(t, official[form], got); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
	if len(d.Notes) != 1 {
		t.Errorf("%q", d.Notes)
	}
}

func TestIsExpression(t *testing.T) {
	for text, want := range map[string]bool{"MIT": true, "Apache-2.0 WITH LLVM-exception": true, "LicenseRef-a.b-1": true, "": false, "our own terms": false, "NONE": false, "NOASSERTION": false, "MIT OR NONE": false} {
		if isExpression(text) != want {
			t.Errorf("%.40q: %t", text, !want)
		}
	}
}

func TestURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"hf://org/name@" + strings.Repeat("AB12", 10): "pkg:huggingface/org/name@" + strings.Repeat("ab12", 10), "hf://org/name@main": "", "hf://org/name@" + strings.Repeat("g", 40): "",
		"hf://name@" + strings.Repeat("a", 40): "", "hf://datasets/org/name@" + strings.Repeat("a", 40): "", "hf://org/name": "", "hf://name@abc": "", "hf://datasets/org/name@abc": "", "hf://org/name@refs/pr/1": "",
		"pkg:pypi/babel@2.18.0": "pkg:pypi/babel@2.18.0", "pkg:": "", "pkg:a b/c": "", "https://example.test": "", "hf://org/na me@abc": "", "hf://org/name@": "",
	} {
		if got := purl(uri); got != want {
			t.Errorf("%q: %q", uri, got)
		}
	}
	for uri, want := range map[string]bool{"https://a.example/x?y#z": true, "oci:store@sha256:ab": true, "urn:x:y": true, "": false, "a drawer": false, "https://": false, "x y:z": false, "é:a": false, "javascript:\"x\"": false, "/path": false} {
		if isURI(uri) != want {
			t.Errorf("%q: %t", uri, !want)
		}
	}
	if got := OCIPURL("registry.example:5000/Models/bot", "sha256:ab"); got != "pkg:oci/bot@sha256%3Aab?repository_url=registry.example%3A5000%2Fmodels%2Fbot" {
		t.Error(got)
	}
}
