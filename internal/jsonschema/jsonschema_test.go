package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	judge "github.com/santhosh-tekuri/jsonschema/v6"
)

// decoded is what Validate takes.
func decoded(t testing.TB, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// schemaText makes a schema of keywords.
func schemaText(keywords string) string {
	return fmt.Sprintf(`{"$schema": %q, %s}`, Dialect, keywords)
}

// judged compiles a schema with the library for all of JSON Schema.
func judged(t testing.TB, text string) *judge.Schema {
	t.Helper()
	doc, err := judge.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := judge.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// values stand for every type, and for what the schemas below tell apart.
var values = []string{
	`null`, `true`, `false`, `0`, `-0`, `0.0`, `1`, `1.0`, `1.5`, `-1`, `10e-1`, `1e2`, `5E-1`, `""`, `"a"`, `"ab"`, `"abc"`, `"äöü"`, `"𝒳𝒳"`, `"x1"`, `[]`, `[1]`, `["a"]`, `["a", "b"]`, `[1, "a"]`, `[[]]`,
	`{}`, `{"a": 1}`, `{"a": "a"}`, `{"a": "ab", "b": 1}`, `{"b": 1}`, `{"b": "a"}`, `{"c": null}`, `{"a": {"a": "a"}}`, `{"a": ["a"]}`, `{"a/b": 1, "c~d": 2}`, `{"a": "x", "c": "y"}`,
}

// TestKeywords: each keyword admits and refuses the values that the library does.
func TestKeywords(t *testing.T) {
	for _, keywords := range []string{
		`"type": "object"`, `"type": "array"`, `"type": "string"`, `"type": "number"`, `"type": "integer"`, `"type": "boolean"`, `"type": "null"`,
		`"enum": ["a", "x1"]`, `"const": "a"`, `"minimum": 0`, `"minimum": 1`, `"minimum": -1`,
		`"minLength": 2`, `"maxLength": 2`, `"minLength": 1, "maxLength": 2`, `"pattern": "^[a-z]+$"`, `"pattern": "1"`,
		`"minItems": 1`, `"items": {"type": "string"}`, `"items": false`, `"contains": {"type": "string"}`, `"contains": {"const": "a"}`,
		`"minProperties": 1`, `"minProperties": 2`, `"required": ["a"]`, `"required": ["a", "b"]`, `"dependentRequired": {"a": ["b"], "b": ["a"]}`,
		`"properties": {"a": {"type": "string"}}`, `"properties": {"a": true}, "additionalProperties": false`, `"properties": {"a": false}`,
		`"additionalProperties": {"type": "string"}`, `"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}`,
		`"allOf": [{"minLength": 2}, {"maxLength": 2}]`, `"anyOf": [{"type": "string"}, {"required": ["a"]}]`, `"anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}]`,
		`"if": {"required": ["a"]}, "then": {"required": ["b"]}`, `"if": {"type": "string"}, "then": {"minLength": 2}`, `"if": {"type": "string"}`, `"then": {"type": "string"}`,
		`"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}`, `"$ref": "#/$defs/x", "minLength": 2, "$defs": {"x": {"type": "string"}}`,
		`"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"properties": {"a": {"$ref": "#/$defs/y"}}, "type": "object"}, "y": {"const": "a"}}`,
		`"title": "t", "description": "d", "$id": "https://example.com/x"`,
	} {
		text := schemaText(keywords)
		ours, err := Compile([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", keywords, err)
			continue
		}
		theirs := judged(t, text)
		for _, v := range values {
			value := decoded(t, v)
			if got, want := ours.Validate(value), theirs.Validate(value); (got == nil) != (want == nil) {
				t.Errorf("%s: %s: %v, the library: %v", keywords, v, got, want)
			}
		}
	}
}

// TestCompileRefuses: a schema that says more than is understood is not half obeyed.
func TestCompileRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown keyword":           schemaText(`"maximum": 3`),
		"unknown keyword below":     schemaText(`"properties": {"a": {"items": {"format": "uri"}}}`),
		"keyword in other letters":  schemaText(`"Type": "string"`),
		"several types":             schemaText(`"type": ["string", "null"]`),
		"no such type":              schemaText(`"type": "text"`),
		"constant that is no text":  schemaText(`"const": 1`),
		"constant null":             schemaText(`"const": null`),
		"enumeration of numbers":    schemaText(`"enum": [1]`),
		"fraction as minimum":       schemaText(`"minimum": 0.5`),
		"reference to nothing":      schemaText(`"$ref": "#/$defs/x"`),
		"reference elsewhere":       schemaText(`"$ref": "https://example.com/"`),
		"reference to a reference":  schemaText(`"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}`),
		"expression that is wrong":  schemaText(`"pattern": "("`),
		"other dialect":             `{"$schema": "http://json-schema.org/draft-07/schema#"}`,
		"no dialect":                `{}`,
		"no schema":                 `[]`,
		"not JSON":                  `{"$schema"`,
		"text in place of a schema": schemaText(`"items": "string"`),
	} {
		if _, err := Compile([]byte(text)); err == nil {
			t.Errorf("%s compiles", name)
		}
	}
}

func TestErrorSaysWhere(t *testing.T) {
	s, err := Compile([]byte(schemaText(`"type": "object", "required": ["b", "c"], "additionalProperties": false, "properties": {
		"a/b": {"items": {"type": "string", "pattern": "^x"}}, "n": {"type": "integer", "minimum": 1}, "u": {"anyOf": [{"required": ["p"]}, {"required": ["q"]}]}}`)))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Validate(decoded(t, `{"a/b": ["x", 3, "y"], "n": 0, "u": {}, "z": 1, "y": 2}`))
	const want = `at '': missing properties 'b', 'c'; at '/a~1b/1': got number, want string; at '/a~1b/2': 'y' does not match pattern '^x'; ` +
		`at '/n': minimum: got 0, want 1; at '/u': missing properties 'p'; at '/u': missing properties 'q'; at '': additional properties 'y', 'z' not allowed`
	if got == nil || got.Error() != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
}

// TestHostileValues: what a stranger writes makes no long errors and no long calculations.
func TestHostileValues(t *testing.T) {
	s, err := Compile([]byte(schemaText(`"properties": {"l": {"items": {"pattern": "^x$"}}, "n": {"type": "integer"}, "m": {"minimum": 1}}, "additionalProperties": false`)))
	if err != nil {
		t.Fatal(err)
	}
	long := `"` + strings.Repeat("ä", 1000) + `"`
	var names bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&names, `, "%d%s`, i, long[1:]+`: 1`)
	}
	for _, text := range []string{
		`{"l": [` + strings.Repeat(long+`, `, 1000) + `"x"]}`,
		`{"l": []` + names.String() + `}`,
		`{"n": 1e999999999}`, `{"n": 1e-999999999}`, `{"n": 1` + strings.Repeat("0", 100_000) + `}`, `{"m": 1e999999999999999999999}`, `{"m": -1e999999999}`,
	} {
		err := s.Validate(decoded(t, text))
		var failed *Error
		if !errors.As(err, &failed) {
			t.Errorf("%.40s…: %v", text, err)
		} else if len(failed.Places) > MaxPlaces || len(err.Error()) > 20_000 {
			t.Errorf("%.40s…: %d places, %d bytes", text, len(failed.Places), len(err.Error()))
		}
	}
	err = s.Validate(decoded(t, `{"l": [`+strings.Repeat(`"y", `, 99)+`"y"]}`))
	if err == nil || !strings.HasSuffix(err.Error(), "; and 50 more") {
		t.Errorf("100 places: %v", err)
	}
}

// FuzzValidate compares with the library, whatever the schema and the value.
func FuzzValidate(f *testing.F) {
	for _, keywords := range []string{`"type": "integer", "minimum": 1`, `"items": {"enum": ["a"]}`, `"anyOf": [{"const": "a"}, {"minProperties": 2}]`, `"contains": {"pattern": "a"}`} {
		for _, v := range values {
			f.Add(schemaText(keywords), v)
		}
	}
	f.Fuzz(func(t *testing.T, schema, text string) {
		ours, err := Compile([]byte(schema))
		if err != nil {
			return
		}
		doc, err := judge.UnmarshalJSON(strings.NewReader(schema))
		if err != nil {
			return
		}
		c := judge.NewCompiler()
		if c.AddResource("schema.json", doc) != nil {
			return
		}
		theirs, err := c.Compile("schema.json")
		if err != nil {
			return // as of a length below zero
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var value any
		if d.Decode(&value) != nil || strings.ContainsAny(text, "eE") && strings.ContainsAny(text, "0123456789") || len(text) > MaxNumberText {
			return // of numbers, those in bounds
		}
		if got, want := ours.Validate(value), theirs.Validate(value); (got == nil) != (want == nil) {
			t.Errorf("%s: %s: %v, the library: %v", schema, text, got, want)
		}
	})
}
