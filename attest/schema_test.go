package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	judge "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mlseal/mlseal/internal/jsonschema"
	"github.com/mlseal/mlseal/internal/testenv"
)

// object is a part of a schema or of an example.
type object = map[string]any

func readObject(t *testing.T, text []byte) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// schemaWalk goes through a schema and an example of it side by side.
type schemaWalk struct {
	root object // the schema
	// each is called for every object of the schema that the example has a value for, with the way to that value.
	each func(schema object, way []any)
}

func (w *schemaWalk) walk(schema object, value any, way []any) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = w.root["$defs"].(object)[strings.TrimPrefix(ref, "#/$defs/")].(object)
	}
	w.each(schema, way)
	if then, ok := schema["then"].(object); ok { // which the examples are made for
		w.walk(then, value, way)
	}
	switch v := value.(type) {
	case object:
		properties, _ := schema["properties"].(object)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if child, ok := v[name]; ok {
				w.walk(properties[name].(object), child, append(slices.Clone(way), name))
			}
		}
	case []any:
		if items, ok := schema["items"].(object); ok && len(v) > 0 {
			w.walk(items, v[0], append(slices.Clone(way), 0))
		}
	}
}

// at follows a way into an example.
func at(value any, way []any) any {
	for _, step := range way {
		switch s := step.(type) {
		case string:
			value = value.(object)[s]
		case int:
			value = value.([]any)[s]
		}
	}
	return value
}

// TestSchemas: every type with a schema has an $id, an example that has each of its fields and satisfies it, and fails without any one that is
// required; and the page about predicates has a section that names each field.
func TestSchemas(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "predicates.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, common, _ := strings.Cut(string(page), "\nBelow, ")
	common, _, _ = strings.Cut(common, "\n## ")
	if len(SchemaNames()) != len(schemas) {
		t.Fatalf("%d of %d schemas have a short name", len(SchemaNames()), len(schemas))
	}
	for _, name := range SchemaNames() {
		uri, _ := PredicateType(name)
		text, err := os.ReadFile(filepath.Join("testdata", "predicates", name+".json"))
		if err != nil {
			t.Errorf("%s: there is no example: %v", name, err)
			continue
		}
		if err := CheckPredicate(uri, text); err != nil {
			t.Errorf("%s: the example: %v", name, err)
		}
		schemaText, ok := Schema(name)
		if byURI, _ := Schema(uri); !ok || string(byURI) != string(schemaText) {
			t.Errorf("%s: the schema is not the same by its URI", name)
		}
		schema := readObject(t, schemaText)
		if id, _ := schema["$id"].(string); !strings.HasPrefix(id, "https://mlseal.dev/") || schema["title"] == "" {
			t.Errorf("%s: $id %q, title %v", name, id, schema["title"])
		}
		_, section, found := strings.Cut(string(page), "\n## "+name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found {
			t.Errorf("%s: docs/predicates.md has no section about it", name)
		}
		fields, required := 0, 0
		walk := schemaWalk{root: schema}
		walk.each = func(part object, way []any) {
			properties, _ := part["properties"].(object)
			value, _ := at(readObject(t, text), way).(object)
			for field := range properties {
				fields++
				about := section
				if properties["downloadLocation"] != nil { // a resource, which all sections have in common
					about += common
				}
				if !strings.Contains(about, "`"+field+"`") && !strings.Contains(about, "."+field+"`") {
					t.Errorf("%s: docs/predicates.md does not name %v %s", name, way, field)
				}
			}
			list, _ := part["required"].([]any)
			for _, field := range list {
				if value == nil || value[field.(string)] == nil {
					continue
				}
				required++
				changed := readObject(t, text)
				delete(at(changed, way).(object), field.(string))
				without, _ := json.Marshal(changed)
				if err := CheckPredicate(uri, without); !errors.Is(err, ErrPredicate) {
					t.Errorf("%s without %v %s: %v", name, way, field, err)
				}
			}
		}
		walk.walk(schema, readObject(t, text), nil)
		if missing := unshown(schema, readObject(t, text)); len(missing) > 0 {
			t.Errorf("%s: the example lacks %v", name, missing)
		}
		if fields < 4 || required < 1 {
			t.Errorf("%s: only %d fields and %d required ones were looked at", name, fields, required)
		}
	}
}

// unshown are the properties of a schema's top, and of the objects right below it, that an example does not have.
func unshown(schema, example object) (missing []string) {
	properties, _ := schema["properties"].(object)
	for name, p := range properties {
		value, ok := example[name]
		if !ok {
			missing = append(missing, name)
			continue
		}
		below, isObject := value.(object)
		if inner, ok := p.(object)["properties"].(object); ok && isObject {
			for field := range inner {
				if _, ok := below[field]; !ok {
					missing = append(missing, fmt.Sprintf("%s.%s", name, field))
				}
			}
		}
	}
	return missing
}

func TestCheckOwn(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, predicate string
		held, ok        bool
	}{
		"ours":                      {WaiverPredicateType, `{"id":"1","requirement":"r","until":"2027-01-01T00:00:00Z","reason":"r"}`, true, true},
		"ours, and wrong":           {WaiverPredicateType, `{"id":"1"}`, true, false},
		"another's":                 {"https://example.test/x", `{"id":1}`, false, true},
		"provenance of others":      {ProvenancePredicateType, `{"buildDefinition":{"buildType":"https://actions.example/v1","externalParameters":{}},"runDetails":{"builder":{"id":"x"}}}`, false, true},
		"provenance of ours":        {ProvenancePredicateType, `{"buildDefinition":{"buildType":"https://mlseal.dev/buildtypes/fine-tune/v1","externalParameters":{}},"runDetails":{"builder":{"id":"x"}}}`, true, false},
		"provenance of an import":   {ProvenancePredicateType, `{"buildDefinition":{"buildType":"https://mlseal.dev/buildtypes/import/v1","externalParameters":{"source":"hf://a/b","revision":"main"},"resolvedDependencies":[{"name":"source","uri":"x","digest":{"gitCommit":"ab"}}]},"runDetails":{"builder":{"id":"x"}}}`, true, true},
		"an import from nowhere":    {ProvenancePredicateType, `{"buildDefinition":{"buildType":"https://mlseal.dev/buildtypes/import/v1","externalParameters":{"revision":"main"},"resolvedDependencies":[]},"runDetails":{"builder":{"id":"x"}}}`, true, false},
		"provenance without a type": {ProvenancePredicateType, `{"buildDefinition":{"buildType":7}}`, true, false},
	} {
		held, err := CheckOwn(&Statement{PredicateType: tc.kind, Predicate: []byte(tc.predicate)})
		if held != tc.held || (err == nil) != tc.ok {
			t.Errorf("%s: held %t, %v", name, held, err)
		}
	}
}

// TestSchemasLikeAnotherImplementation: an example that is changed in any one place satisfies its schema exactly when another implementation
// of JSON Schema says so, which reads the same schema.
func TestSchemasLikeAnotherImplementation(t *testing.T) {
	for _, name := range SchemaNames() {
		text, err := os.ReadFile(filepath.Join("testdata", "predicates", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		uri, _ := PredicateType(name)
		ours, err := compiled(schemas[uri])
		if err != nil {
			t.Fatal(err)
		}
		theirs := judgeOf(t, name)
		admitted, refused := 0, 0
		compare := func(way []any, changed any) {
			text, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			value, err := jsonschema.Decode(text)
			if err != nil {
				t.Fatal(err)
			}
			other, err := judge.UnmarshalJSON(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			got, want := ours.Validate(value), theirs.Validate(other)
			switch {
			case (got == nil) != (want == nil):
				t.Errorf("%s changed at %v: %v, the other: %v", name, way, got, want)
			case got == nil:
				admitted++
			default:
				refused++
				checkPlace(t, got, way)
			}
		}
		eachPlace(readObject(t, text), nil, func(way []any) {
			for _, other := range []any{nil, true, "", "a", "-0.50", "sha256", "high", strings.Repeat("x", 4097), "2026-01-02T03:04:05Z", json.Number("0"), json.Number("1.0"), json.Number("-7"), json.Number("1.5"),
				json.Number("1e400"), []any{}, []any{"a"}, object{}, object{"a": "b"}, object{"sha256": "00"}} {
				changed := readObject(t, text)
				set(changed, way, other)
				compare(way, changed)
			}
			changed := readObject(t, text)
			above := way[:len(way)-1]
			if fields, ok := at(changed, above).(object); ok {
				delete(fields, way[len(way)-1].(string))
				compare(above, changed)
				fields["unknown"] = "a"
				compare(above, changed)
			}
		})
		if admitted < 10 || refused < 10 {
			t.Errorf("%s: %d changed examples were admitted and %d refused", name, admitted, refused)
		}
	}
}

// checkPlace: the faults stand on the way to what was changed, or below it.
func checkPlace(t *testing.T, err error, way []any) {
	t.Helper()
	changed := ""
	for _, step := range way {
		changed += fmt.Sprintf("/%v", step)
	}
	faults, ok := err.(jsonschema.Error)
	if !ok || len(faults) == 0 {
		t.Errorf("changed at %s: %v", changed, err)
	}
	for _, f := range faults {
		if !strings.HasPrefix(f.Pointer+"/", changed+"/") && !strings.HasPrefix(changed+"/", f.Pointer+"/") || strings.Contains(f.What, "validating root") {
			t.Errorf("changed at %s: %s", changed, f)
		}
	}
}

func judgeOf(t *testing.T, name string) *judge.Schema {
	t.Helper()
	text, _ := Schema(name)
	doc, err := judge.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := judge.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// eachPlace calls do with the way to every value below one.
func eachPlace(value any, way []any, do func(way []any)) {
	if len(way) > 0 {
		do(way)
	}
	switch v := value.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			eachPlace(v[name], append(slices.Clone(way), name), do)
		}
	case []any:
		for i, item := range v {
			eachPlace(item, append(slices.Clone(way), i), do)
		}
	}
}

// set changes the value at a way.
func set(value any, way []any, to any) {
	last := way[len(way)-1]
	switch parent := at(value, way[:len(way)-1]).(type) {
	case object:
		parent[last.(string)] = to
	case []any:
		parent[last.(int)] = to
	}
}
