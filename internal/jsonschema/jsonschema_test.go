package jsonschema

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	judge "github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaText makes a schema of keywords.
func schemaText(keywords string) string {
	return fmt.Sprintf(`{"$schema": "https://json-schema.org/draft/2020-12/schema", %s}`, keywords)
}

func compile(t testing.TB, keywords string) *Schema {
	t.Helper()
	s, err := Compile([]byte(schemaText(keywords)))
	if err != nil {
		t.Fatalf("%s: %v", keywords, err)
	}
	return s
}

func decode(t testing.TB, text string) any {
	t.Helper()
	value, err := Decode([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// judged asks another implementation whether a value satisfies a schema.
func judged(t testing.TB, keywords, value string) bool {
	t.Helper()
	doc, err := judge.UnmarshalJSON(strings.NewReader(schemaText(keywords)))
	if err != nil {
		t.Fatal(err)
	}
	c := judge.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%s: %v", keywords, err)
	}
	v, err := judge.UnmarshalJSON(strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v) == nil
}

// values stand for every type, and for what the schemas below tell apart.
var values = []string{
	`null`, `true`, `false`, `0`, `-0`, `0.0`, `1`, `1.0`, `1.5`, `-1`, `10e-1`, `1e2`, `5E-1`, `9223372036854775808`, `-1e300`, `1e-300`, `1.0000000000000000000001`, `""`, `"a"`, `"ab"`, `"abc"`, `"äöü"`, `"𝒳𝒳"`, `"x1"`,
	`[]`, `[1]`, `["a"]`, `["a", "b"]`, `["a", "a"]`, `[1, "a"]`, `[[]]`, `{}`, `{"a": 1}`, `{"a": "a"}`, `{"a": "ab", "b": 1}`, `{"b": 1}`, `{"b": "a"}`, `{"c": null}`, `{"a": {"a": "a"}}`, `{"a": ["a"]}`,
	`{"a/b": 1, "c~d": 2}`, `{"a": "x", "c": "y"}`,
}

// TestKeywords: each keyword admits and refuses what another implementation does, and a value that is refused has faults at places that are known.
func TestKeywords(t *testing.T) {
	for _, keywords := range []string{
		`"type": "object"`, `"type": "array"`, `"type": "string"`, `"type": "number"`, `"type": "integer"`, `"type": "boolean"`, `"type": "null"`, `"type": ["string", "integer"]`,
		`"enum": ["a", "x1"]`, `"enum": [1, null]`, `"const": "a"`, `"const": 1`, `"const": null`, `"minimum": 0`, `"minimum": 1`, `"maximum": 1`, `"exclusiveMinimum": 1`,
		`"minLength": 2`, `"maxLength": 2`, `"minLength": 1, "maxLength": 2`, `"pattern": "^[a-z]+$"`, `"pattern": "1"`,
		`"minItems": 1`, `"maxItems": 1`, `"uniqueItems": true`, `"items": {"type": "string"}`, `"items": false`, `"prefixItems": [{"type": "string"}], "items": {"type": "integer"}`,
		`"contains": {"type": "string"}`, `"contains": {"const": "a"}`, `"contains": {"const": "a"}, "minContains": 2`,
		`"minProperties": 1`, `"maxProperties": 1`, `"required": ["a"]`, `"required": ["a", "b"]`, `"dependentRequired": {"a": ["b"], "b": ["a"]}`, `"propertyNames": {"maxLength": 1}`,
		`"properties": {"a": {"type": "string"}}`, `"properties": {"a": true}, "additionalProperties": false`, `"properties": {"a": false}`, `"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": false`,
		`"additionalProperties": {"type": "string"}`, `"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}`,
		`"allOf": [{"minLength": 2}, {"maxLength": 2}]`, `"anyOf": [{"type": "string"}, {"required": ["a"]}]`, `"anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}]`,
		`"oneOf": [{"type": "string"}, {"minLength": 2}]`, `"not": {"type": "string"}`, `"not": {"$ref": "#/$defs/x"}, "$defs": {"x": {"type": "string"}}`,
		`"if": {"required": ["a"]}, "then": {"required": ["b"]}`, `"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": "array"}`, `"if": {"type": "string"}`, `"then": {"type": "string"}`,
		`"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}`, `"$ref": "#/$defs/x", "minLength": 2, "$defs": {"x": {"type": "string"}}`,
		`"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"properties": {"a": {"$ref": "#/$defs/y"}}, "type": "object"}, "y": {"const": "b"}}`,
		`"title": "t", "description": "d", "$id": "https://example.com/x"`,
	} {
		s := compile(t, keywords)
		for _, value := range values {
			err := s.Validate(decode(t, value))
			if want := judged(t, keywords, value); (err == nil) != want {
				t.Errorf("%s: %s: %v; the other implementation: %t", keywords, value, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "validating root") { // no place was found
				t.Errorf("%s: %s: %v", keywords, value, err)
			}
		}
	}
}

// TestFaults: every place of the value is named, the same way each time.
func TestFaults(t *testing.T) {
	s := compile(t, `"type": "object", "required": ["b", "c"], "additionalProperties": false, "properties": {
		"a/b": {"items": {"type": "string", "pattern": "^x"}}, "n": {"type": "integer", "minimum": 1}, "u": {"anyOf": [{"required": ["p"]}, {"required": ["q"]}]},
		"k": {"contains": {"required": ["p"]}}, "d": {"$ref": "#/$defs/d"}}, "if": {"required": ["w"]}, "then": {"required": ["v"]},
		"$defs": {"d": {"additionalProperties": {"type": "string"}}}`)
	const want = `at '': required: missing properties: ["b" "c"]; ` +
		`at '': required: missing properties: ["v"]; ` +
		`at '/a~1b/0': type: got "integer", want "string"; ` +
		`at '/a~1b/2': pattern: "ax" does not match regular expression "^x"; ` +
		`at '/d/y~0': type: got "null", want "string"; ` +
		`at '/k': contains: no item satisfies {"required":["p"]}; ` +
		`at '/n': minimum: 0 is less than 1; ` +
		`at '/u': anyOf: required: missing properties: ["p"]; or required: missing properties: ["q"]; ` +
		`at '/w': additionalProperties: no such field is known here; ` +
		`at '/z': additionalProperties: no such field is known here`
	for range 20 {
		err := s.Validate(decode(t, `{"z": 1, "w": 2, "a/b": [1, "xa", "ax"], "n": 0, "u": {}, "k": [{}], "d": {"x": "a", "y~": null}}`))
		if err == nil || err.Error() != want {
			t.Fatalf("got  %v\nwant %s", err, want)
		}
	}
}

// TestFaultsAreBounded: a value with many faults, or long ones, has a short error.
func TestFaultsAreBounded(t *testing.T) {
	s := compile(t, `"items": {"type": "string"}, "additionalProperties": {"type": "integer"}`)
	long := `"` + strings.Repeat("ä", 9999) + `\n"`
	for _, value := range []string{"[" + strings.Repeat("0,", 100_000) + "0]", `{"a": ` + long + `, "b": [` + strings.Repeat("0,", 9999) + `0]}`, `{` + long + `: ""}`} {
		err := s.Validate(decode(t, value))
		if err == nil || len(err.Error()) > maxFaults*(maxText+20) || strings.ContainsAny(err.Error(), "\n\uFFFD") {
			t.Errorf("%.200q", fmt.Sprint(err))
		}
	}
}

// TestLongNamesAreReadOnce: what has no fault takes no time for a place, and what was wanted is said of a long value too.
func TestLongNamesAreReadOnce(t *testing.T) {
	s := compile(t, `"required": ["x"], "additionalProperties": {"items": {"type": "string", "maxLength": 3}}`)
	name := strings.Repeat("k", 1<<20)
	value := decode(t, `{"`+name+`": ["`+strings.Repeat("é", 5000)+`"`+strings.Repeat(`,"a"`, 200_000)+`]}`)
	before := allocated()
	err := s.Validate(value)
	if used := allocated() - before; used > 64<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
	if text := fmt.Sprint(err); !strings.Contains(text, "more than 3; ") && !strings.HasSuffix(text, "more than 3") || !strings.Contains(text, "/kkk") || len(text) > 1000 {
		t.Errorf("%.2000s", text)
	}
}

// allocated is how many bytes this process has allocated so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestCompileRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"reference to nothing":      schemaText(`"$ref": "#/$defs/x"`),
		"reference elsewhere":       schemaText(`"$ref": "https://example.com/"`),
		"reference to the whole":    schemaText(`"properties": {"child": {"$ref": "#"}}`),
		"reference to a property":   schemaText(`"allOf": [{"$ref": "#/properties/b"}], "properties": {"b": true}`),
		"expression that is wrong":  schemaText(`"pattern": "("`),
		"no schema":                 `[]`,
		"not JSON":                  `{"$schema"`,
		"text in place of a schema": schemaText(`"items": "string"`),
	} {
		if _, err := Compile([]byte(text)); err == nil {
			t.Errorf("%s compiles", name)
		}
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]any{
		`0`: int64(0), `-0`: int64(0), `9223372036854775807`: int64(math.MaxInt64), `9223372036854775808`: float64(1 << 63), `1.0`: 1.0, `1e3`: 1000.0, `1.5`: 1.5,
		`1e999`: math.MaxFloat64, `-1e99999999999999999999`: -math.MaxFloat64, `1e-999`: math.SmallestNonzeroFloat64, `-1e-99999999999999999999`: -math.SmallestNonzeroFloat64, `0e-999`: 0.0, `0.000`: 0.0, `-2.00e-0`: -2.0,
		`1.00000000000000000001`: math.Nextafter(1, 2), `-9007199254740993.5`: -maxFraction, `120e-1`: 12.0, `125e-1`: 12.5,
	} {
		if got := decode(t, text); got != want {
			t.Errorf("%s is %T %v, want %T %v", text, got, got, want, want)
		}
	}
	for _, text := range []string{``, `{`, `1 2`, `{} x`, `[1,]`} {
		if v, err := Decode([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, v)
		}
	}
}

// FuzzValidate: whatever the value, both implementations agree, and nothing panics.
func FuzzValidate(f *testing.F) {
	const keywords = `"type": "object", "required": ["b"], "additionalProperties": false, "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"type": "integer", "minimum": 1},
		"c": {"items": {"$ref": "#/$defs/x"}, "contains": {"required": ["n"]}}, "e": {"enum": ["p", "q"]}}, "dependentRequired": {"a": ["c"]},
		"$defs": {"x": {"anyOf": [{"required": ["n"]}, {"required": ["u"]}], "properties": {"n": {"type": "string", "minLength": 1, "pattern": "^[a-z]"}}, "additionalProperties": {"type": "string"}}}`
	for _, seed := range append(values, `{"b": 1}`, `{"a": {"n": "x"}, "b": 2, "c": [{"n": "y"}], "e": "p"}`, `{"a": {"u": 1}, "b": 0, "c": [{}], "e": "r", "f": 1}`) {
		f.Add(seed)
	}
	s := compile(f, keywords)
	f.Fuzz(func(t *testing.T, text string) {
		value, err := Decode([]byte(text))
		if err != nil || strings.ContainsAny(text, "eE") && strings.ContainsAny(text, "0123456789") { // numbers whose exponent the judge expands
			return
		}
		got := s.Validate(value)
		if want := judged(t, keywords, text); (got == nil) != want {
			t.Errorf("%s: %v; the other implementation: %t", text, got, want)
		}
	})
}
