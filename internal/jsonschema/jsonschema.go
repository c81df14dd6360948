// Package jsonschema holds JSON values to JSON Schemas of draft 2020-12, and says at which places they fail. What a keyword means is
// github.com/google/jsonschema-go's matter, which decides alone whether a value satisfies a schema; that library stops at the first fault and
// names the schema's place, not the value's, so that faults are located here.
package jsonschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema is a compiled schema. It may be used by several goroutines at once.
type Schema struct {
	resolved *jsonschema.Resolved
	locator  locator
}

// Compile reads a schema, whose references name its definitions: "#/$defs/NAME".
func Compile(text []byte) (*Schema, error) {
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("jsonschema: %w", err)
	}
	if err := checkReferences(tree); err != nil {
		return nil, fmt.Errorf("jsonschema: %w", err)
	}
	root := &jsonschema.Schema{}
	if err := json.Unmarshal(text, root); err != nil {
		return nil, fmt.Errorf("jsonschema: %w", err)
	}
	resolved, err := root.Resolve(nil)
	if err != nil {
		return nil, fmt.Errorf("jsonschema: %w", err)
	}
	return &Schema{resolved, locator{root: root}}, nil
}

// checkReferences refuses references that faults are not located behind.
func checkReferences(tree any) error {
	switch v := tree.(type) {
	case []any:
		for _, item := range v {
			if err := checkReferences(item); err != nil {
				return err
			}
		}
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !strings.HasPrefix(ref, defs) {
			return fmt.Errorf("the reference %q is none to a definition", ref)
		}
		for _, value := range v {
			if err := checkReferences(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// Error lists the places where a value fails its schema.
type Error []Fault

// Fault is one place.
type Fault struct {
	Pointer string // JSON Pointer (RFC 6901) of what is wrong in the value; long names in it are cut
	What    string
}

// Error implements error: all places on one line.
func (e Error) Error() string {
	texts := make([]string, len(e))
	for i, f := range e {
		texts[i] = f.String()
	}
	return strings.Join(texts, "; ")
}

func (f Fault) String() string { return fmt.Sprintf("at '%s': %s", f.Pointer, f.What) }

// Validate returns an Error unless the value, which is what Decode returns, satisfies the schema.
func (s *Schema) Validate(value any) error {
	err := s.resolved.Validate(value)
	if err == nil {
		return nil
	}
	if faults := s.locator.faults(s.locator.root, value); len(faults) > 0 {
		return faults
	}
	return Error{{"", shorten(err.Error(), maxText)}}
}

// Decode reads one JSON value. Numbers become what a schema can tell apart: an int64 where it holds the number, else a float64 next to it that
// is whole exactly when the number is.
func Decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("jsonschema: there is something behind the value")
	}
	return withNumbers(value), nil
}

// withNumbers replaces each json.Number, which the library takes for a string (google/jsonschema-go#80), below a value.
func withNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		return number(v)
	case []any:
		for i := range v {
			v[i] = withNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = withNumbers(v[key])
		}
	}
	return value
}

func number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	f, _ := n.Float64() // one that is too large is an infinity
	f = min(max(f, -math.MaxFloat64), math.MaxFloat64)
	if f != math.Trunc(f) || isWhole(string(n)) {
		return f
	}
	if f = math.Nextafter(f, math.Copysign(math.Inf(1), f)); f != math.Trunc(f) {
		return f
	}
	return math.Copysign(maxFraction, f)
}

// maxFraction is the largest float64 that is not whole.
const maxFraction = 1<<52 - 0.5

// isWhole reports whether a JSON number (RFC 8259, section 6) has no fraction, whatever its size: the digits behind the point, without zeros at
// the end, are no more than the exponent moves.
func isWhole(text string) bool {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	before, after, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits := strings.TrimRight(before+after, "0")
	if strings.Trim(digits, "0") == "" {
		return true
	}
	moved, err := strconv.Atoi(exponent)
	if err != nil && exponent != "" { // out of range
		return !strings.HasPrefix(exponent, "-")
	}
	return len(digits)-len(before) <= moved
}
