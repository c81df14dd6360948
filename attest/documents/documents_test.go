package documents

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	reference "github.com/in-toto/attestation/go/predicates/reference/v0"
	"github.com/mlseal/mlseal/attest"
	"google.golang.org/protobuf/encoding/protojson"
)

const cardText = `---
license: apache-2.0
base_model:
- org/base
datasets: org/corpus
language: [en, "no"]
pipeline_tag: text-classification
library_name: transformers
tags: [safe, 42]
unknown_key: {anything: [goes]}
model-index:
- name: bot
  results:
  - task: {type: text-classification}
    dataset: {name: Held out, type: held-out}
    metrics:
    - {type: accuracy, value: 0.910}
    - {type: confusion, value: [1, 2]}
---
# A card

---
not: front matter
`

func TestParseCard(t *testing.T) {
	card, err := ParseCard([]byte(cardText))
	if err != nil {
		t.Fatal(err)
	}
	want := Fields{
		"license": "apache-2.0", "licenses": []any{"apache-2.0"}, "baseModel": "org/base", "baseModels": []any{"org/base"}, "datasets": []any{"org/corpus"},
		"languages": []any{"en", "no"}, "pipelineTag": "text-classification", "libraryName": "transformers", "tags": []any{"safe", "42"},
		"results": []any{
			map[string]any{"task": "text-classification", "dataset": "Held out", "metric": "accuracy", "value": "0.910"},
			map[string]any{"task": "text-classification", "dataset": "Held out", "metric": "confusion"},
		},
	}
	if !reflect.DeepEqual(card.Fields, want) {
		t.Errorf("%v, want %v", card.Fields, want)
	}
}

func TestParseCardForms(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want Fields
		err  string
	}{
		"no front matter":    {"# Title\n", nil, ""},
		"empty":              {"", nil, ""},
		"empty front matter": {"---\n---\n", nil, ""},
		"CRLF":               {"---\r\nlicense: mit\r\n---\r\n", Fields{"license": "mit", "licenses": []any{"mit"}}, ""},
		"two licenses":       {"---\nlicense: [mit, apache-2.0]\n---\n", Fields{"licenses": []any{"mit", "apache-2.0"}}, ""},
		"null":               {"---\nlicense: null\nbase_model: []\n---\n", Fields{}, ""},
		"number":             {"---\nlicense_name: 1.10\n---\n", Fields{"licenseName": "1.10"}, ""},
		"no end":             {"---\nlicense: mit\n", nil, "no end"},
		"alias":              {"---\na: &x mit\nlicense: *x\n---\n", nil, "front matter 2:"},
		"Norwegian":          {"---\nlanguage: no\n---\n", nil, "put it in quotes"},
		"twice":              {"---\nlicense: mit\nlicense: gpl\n---\n", nil, "front matter 3:1: duplicate key"},
		"tab":                {"---\nlicense:\tmit\n---\n", nil, "tab"},
		"list":               {"---\n- a\n---\n", nil, "is a mapping"},
		"mapping":            {"---\nlicense: {a: b}\n---\n", nil, "license is a text"},
		"long list":          {"---\ntags: [" + strings.Repeat("a,", MaxList+1) + "]\n---\n", nil, "at most"},
		"long text":          {"---\nlicense: " + strings.Repeat("a", MaxText+1) + "\n---\n", nil, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			card, err := ParseCard([]byte(test.text))
			if test.err != "" {
				if !errors.Is(err, ErrDocument) || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %s", err, test.err)
				}
			} else if err != nil || !reflect.DeepEqual(card.Fields, test.want) {
				t.Errorf("%+v, %v, want %v", card, err, test.want)
			}
		})
	}
}

func croissantFixture(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "croissant.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseCroissant(t *testing.T) {
	c, err := ParseCroissant(croissantFixture(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := "9d9c1d1ad8b3a3b4b0bf9e9a6a3c3d1f0d8b6f9d6d1c6c7e0a1b2c3d4e5f6071"
	want := Fields{
		"name": "sums", "version": "1.0.0", "url": "https://example.com/sums", "conformsTo": "http://mlcommons.org/croissant/1.0",
		"license": "https://creativecommons.org/licenses/by/4.0/", "licenses": []any{"https://creativecommons.org/licenses/by/4.0/"},
		"recordSets":   []any{"sums"},
		"distribution": []any{map[string]any{"name": "test.jsonl", "contentUrl": "https://example.com/sums/test.jsonl", "sha256": sum}},
	}
	if !reflect.DeepEqual(c.Fields, want) {
		t.Errorf("%v, want %v", c.Fields, want)
	}
}

func TestParseCroissantRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":        `{`,
		"twice":          `{"name":"a","name":"b"}`,
		"no conformsTo":  `{"@type":"sc:Dataset","name":"a"}`,
		"no dataset":     `{"@type":"sc:Person","conformsTo":"http://mlcommons.org/croissant/1.0"}`,
		"bad digest":     `{"@type":"sc:Dataset","conformsTo":"http://mlcommons.org/croissant/1.1","distribution":[{"@type":"cr:FileObject","sha256":"xyz"}]}`,
		"deep":           strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		"long text":      `{"@type":"sc:Dataset","conformsTo":"http://mlcommons.org/croissant/1.1","name":"` + strings.Repeat("a", MaxText+1) + `"}`,
		"RAI is no form": `{"@type":"sc:Dataset","conformsTo":"http://mlcommons.org/croissant/RAI/1.0"}`,
	} {
		if c, err := ParseCroissant([]byte(text)); !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func document(t *testing.T, role, name, text string) Document {
	t.Helper()
	d := Document{Role: role, Location: "./" + name, ResourceDescriptor: attest.ResourceDescriptor{Name: name, Digest: attest.DigestSet{"sha256": strings.Repeat("a", 64)}}}
	if _, err := d.Describe([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestReference: in-toto's own types read the predicate, and its descriptors pass their own check.
func TestReference(t *testing.T) {
	all := []Document{document(t, ModelCard, "README.md", cardText), document(t, CroissantRole, "croissant.json", string(croissantFixture(t))), document(t, "notes", "notes.bin", "\x00")}
	predicate, err := Reference("https://example.com/docs", all)
	if err != nil {
		t.Fatal(err)
	}
	var theirs reference.Reference
	if err := protojson.Unmarshal(predicate, &theirs); err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, r := range theirs.References {
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
		if r.DownloadLocation == "" {
			t.Error("no downloadLocation")
		}
		types = append(types, r.MediaType)
	}
	if want := []string{"text/markdown", "application/ld+json", "application/octet-stream"}; !reflect.DeepEqual(types, want) {
		t.Errorf("%q, want %q", types, want)
	}
	all[0].Location = ""
	if _, err := Reference("https://example.com/docs", all); !errors.Is(err, ErrAsked) {
		t.Errorf("without a location: %v", err)
	}
	if _, err := Reference("docs", nil); !errors.Is(err, ErrAsked) {
		t.Errorf("an attester that is no URI: %v", err)
	}
	bad := Document{Role: "Model Card"}
	if _, err := bad.Describe(nil); !errors.Is(err, ErrAsked) {
		t.Errorf("a role of two words: %v", err)
	}
}

func datasetOptions(t *testing.T) DatasetOptions {
	t.Helper()
	c, err := ParseCroissant(croissantFixture(t))
	if err != nil {
		t.Fatal(err)
	}
	return DatasetOptions{
		Records: -1, Croissant: c, TreeDigest: func([]File) (string, error) { return strings.Repeat("d", 64), nil },
		Files: []File{{"README.md", strings.Repeat("1", 64), -1}, {"a-0.jsonl", strings.Repeat("2", 64), 2}, {"a-1.jsonl", strings.Repeat("3", 64), 3}, {"b.jsonl", strings.Repeat("4", 64), 4}},
	}
}

func TestDataset(t *testing.T) {
	o := datasetOptions(t)
	o.Card = &Card{Splits: []Split{{"train", []string{"a-*.jsonl"}}, {"test", []string{"b.jsonl"}}, {"gone", []string{"c"}}}}
	predicate, err := Dataset(o)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"sums","version":"1.0.0","source":[{"uri":"https://example.com/sums/test.jsonl","digest":{"sha256":"9d9c1d1ad8b3a3b4b0bf9e9a6a3c3d1f0d8b6f9d6d1c6c7e0a1b2c3d4e5f6071"}}],` +
		`"records":{"count":9},"splits":[{"name":"train","digest":{"dirHash":"` + strings.Repeat("d", 64) + `"},"records":5},{"name":"test","digest":{"sha256":"` + strings.Repeat("4", 64) + `"},"records":4}],` +
		`"license":{"declared":"https://creativecommons.org/licenses/by/4.0/"}}`
	if string(predicate) != want {
		t.Errorf("%s\nwant\n%s", predicate, want)
	}
}

// TestDatasetAsks: what nobody said is asked for, never made up.
func TestDatasetAsks(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*DatasetOptions)
		target error
		want   string
	}{
		"nothing":        {func(o *DatasetOptions) { o.Croissant = nil }, ErrAsked, "--name"},
		"version":        {func(o *DatasetOptions) { o.Croissant.Version = "" }, ErrAsked, "--dataset-version"},
		"license":        {func(o *DatasetOptions) { o.Croissant.Licenses = nil }, ErrAsked, "--license"},
		"two licenses":   {func(o *DatasetOptions) { o.Card = &Card{Fields: Fields{"licenses": []any{"mit"}}} }, ErrAsked, " and mit"},
		"source":         {func(o *DatasetOptions) { o.Croissant.Files, o.Croissant.URL = nil, "" }, ErrAsked, "--source"},
		"records":        {func(o *DatasetOptions) { o.Files[1].Records = -1 }, ErrAsked, "--records"},
		"split of none":  {func(o *DatasetOptions) { o.Splits = []Split{{"x", []string{"no"}}} }, ErrAsked, "no file"},
		"another digest": {func(o *DatasetOptions) { o.Croissant.Files[0].ContentURL = "b.jsonl" }, ErrDocument, "b.jsonl has sha256:9d"},
	} {
		t.Run(name, func(t *testing.T) {
			o := datasetOptions(t)
			test.change(&o)
			if _, err := Dataset(o); !errors.Is(err, test.target) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

func TestCountRecords(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1\n": 1, "{}\n\n{}": 2, "{\n}\n": -1, "{} {}\n": -1, strings.Repeat("1", MaxRecordBytes+1): -1} {
		if n, err := CountRecords(context.Background(), strings.NewReader(text)); err != nil || n != want {
			t.Errorf("%.20q: %d, %v, want %d", text, n, err, want)
		}
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := CountRecords(done, strings.NewReader("1\n")); err == nil {
		t.Error("counted on when cancelled")
	}
}

func FuzzCard(f *testing.F) {
	f.Add([]byte(cardText))
	f.Add([]byte("---\nconfigs:\n- data_files:\n  - {split: train, path: [a, b]}\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := Document{Role: ModelCard, Location: "./README.md", ResourceDescriptor: attest.ResourceDescriptor{Name: "README.md", Digest: attest.DigestSet{"sha256": strings.Repeat("a", 64)}}}
		fuzzDocument(t, d, data)
	})
}

func FuzzCroissant(f *testing.F) {
	f.Add(croissantFixture(f))
	f.Add([]byte(`{"@type":["sc:Dataset"],"conformsTo":[{"@id":"http://mlcommons.org/croissant/1.1"}],"license":["a",{"url":"b"}],"recordSet":{"@id":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := Document{Role: CroissantRole, Location: "./croissant.json", ResourceDescriptor: attest.ResourceDescriptor{Name: "croissant.json", Digest: attest.DigestSet{"sha256": strings.Repeat("a", 64)}}}
		fuzzDocument(t, d, data)
	})
}

// fuzzDocument: what is read makes a predicate that in-toto's types read, or an error that says why not.
func fuzzDocument(t *testing.T, d Document, data []byte) {
	if _, err := d.Describe(data); err != nil {
		if !errors.Is(err, ErrDocument) {
			t.Errorf("not ErrDocument: %v", err)
		}
		return
	}
	predicate, err := Reference("https://example.com/docs", []Document{d})
	if err != nil {
		t.Fatal(err)
	}
	var theirs reference.Reference
	if err := protojson.Unmarshal(predicate, &theirs); err != nil {
		t.Errorf("%v: %s", err, predicate)
	}
	if !json.Valid(predicate) {
		t.Error("not JSON")
	}
}
