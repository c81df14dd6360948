package jsonschema

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxPlaces bounds how many places an error tells of; the rest are counted.
const MaxPlaces = 50

// Error says where a value fails its schema, and how.
type Error struct {
	Places []string // at most MaxPlaces, in the order of the value's names
	More   int      // how many places are not among them
}

func (e *Error) Error() string {
	text := strings.Join(e.Places, "; ")
	if e.More > 0 {
		text += fmt.Sprintf("; and %d more", e.More)
	}
	return text
}

func (e *Error) add(place string) {
	if len(e.Places) == MaxPlaces {
		e.More++
		return
	}
	e.Places = append(e.Places, place)
}

// Validate holds a value to the schema. The value is what encoding/json makes of a text with UseNumber; how deep it is nested is bounded by
// whoever read it. The error is an *Error.
func (s *Schema) Validate(value any) error {
	c := check{failed: &Error{}}
	c.node(s.root, value, "")
	if len(c.failed.Places) > 0 {
		return c.failed
	}
	return nil
}

// check goes through a value and collects what fails.
type check struct{ failed *Error }

func (c check) fail(at, format string, args ...any) {
	c.failed.add("at '" + at + "': " + fmt.Sprintf(format, args...))
}

// alternative holds a value to a schema without saying that it fails.
func (c check) alternative(n *node, value any, at string) *Error {
	aside := check{failed: &Error{}}
	aside.node(n, value, at)
	return aside.failed
}

func (c check) satisfies(n *node, value any) bool {
	return len(c.alternative(n, value, "").Places) == 0
}

// node holds a value, which stands at a JSON pointer, to a schema.
func (c check) node(n *node, value any, at string) {
	if n.never {
		c.fail(at, "nothing may stand here")
		return
	}
	if n.target != nil {
		c.node(n.target, value, at)
	}
	if n.Type != "" && !isType(n.Type, value) {
		c.fail(at, "got %s, want %s", typeOf(value), n.Type)
		return // what else there is to say is about another type
	}
	c.enumerated(n, value, at)
	switch v := value.(type) {
	case string:
		c.text(n, v, at)
	case json.Number:
		c.number(n, v, at)
	case []any:
		c.array(n, v, at)
	case map[string]any:
		c.object(n, v, at)
	}
	c.combined(n, value, at)
}

// enumerated is Validation 6.1.2 and 6.1.3, for strings: nothing else is enumerated in our schemas.
func (c check) enumerated(n *node, value any, at string) {
	text, isText := value.(string)
	if n.Const != nil && (!isText || text != *n.Const) {
		c.fail(at, "value must be '%s'", *n.Const)
	}
	if n.Enum != nil && (!isText || !slices.Contains(n.Enum, text)) {
		c.fail(at, "value must be one of %s", quoted(n.Enum))
	}
}

// text is Validation 6.3: "The length of a string instance is defined as the number of its characters as defined by RFC 8259."
func (c check) text(n *node, v, at string) {
	if length := utf8.RuneCountInString(v); n.MinLength != nil && length < *n.MinLength {
		c.fail(at, "minLength: got %d, want %d", length, *n.MinLength)
	} else if n.MaxLength != nil && length > *n.MaxLength {
		c.fail(at, "maxLength: got %d, want %d", length, *n.MaxLength)
	}
	if n.pattern != nil && !n.pattern.MatchString(v) {
		c.fail(at, "'%s' does not match pattern '%s'", clipped(v), n.Pattern)
	}
}

// number is Validation 6.2.4.
func (c check) number(n *node, v json.Number, at string) {
	if n.Minimum == nil {
		return
	}
	if r, ok := rational(v); !ok || r.Cmp(new(big.Rat).SetInt64(*n.Minimum)) < 0 {
		c.fail(at, "minimum: got %s, want %d", clipped(v.String()), *n.Minimum)
	}
}

func (c check) array(n *node, v []any, at string) {
	if n.MinItems != nil && len(v) < *n.MinItems {
		c.fail(at, "minItems: got %d, want %d", len(v), *n.MinItems)
	}
	if n.Items != nil {
		for i, item := range v {
			c.node(n.Items, item, at+"/"+strconv.Itoa(i))
		}
	}
	// Core 10.3.1.3: "An array instance is valid against "contains" if at least one of its elements is valid against the given schema".
	if n.Contains != nil && !slices.ContainsFunc(v, func(item any) bool { return c.satisfies(n.Contains, item) }) {
		c.fail(at, "no item is what the schema wants one to be%s", wanted(n.Contains))
	}
}

// wanted says what a contained item must be, where the schema says it by a name.
func wanted(n *node) string {
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		if value := n.Properties[name].Const; value != nil {
			return fmt.Sprintf(" (%s: %s, with %s)", name, *value, quoted(n.Required))
		}
	}
	return ""
}

func (c check) object(n *node, v map[string]any, at string) {
	if n.MinProperties != nil && len(v) < *n.MinProperties {
		c.fail(at, "minProperties: got %d, want %d", len(v), *n.MinProperties)
	}
	if absent := missing(n.Required, v); len(absent) > 0 {
		c.fail(at, "missing properties %s", quoted(absent))
	}
	// Validation 6.5.4: "if a property name is present in the instance, then every item in the associated array must also be".
	for _, name := range slices.Sorted(maps.Keys(n.DependentRequired)) {
		if _, present := v[name]; present {
			if absent := missing(n.DependentRequired[name], v); len(absent) > 0 {
				c.fail(at, "properties %s required, if '%s' exists", quoted(absent), name)
			}
		}
	}
	var additional []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		below, isNamed := n.Properties[name]
		switch {
		case isNamed:
			c.node(below, v[name], at+"/"+pointer(name))
		case n.AdditionalProperties == nil:
		case n.AdditionalProperties.never:
			additional = append(additional, name)
		default:
			c.node(n.AdditionalProperties, v[name], at+"/"+pointer(name))
		}
	}
	if len(additional) > 0 {
		c.fail(at, "additional properties %s not allowed", quoted(additional))
	}
}

// combined is Core 10.2.
func (c check) combined(n *node, value any, at string) {
	for _, part := range n.AllOf {
		c.node(part, value, at)
	}
	if n.AnyOf != nil {
		var all []string
		for _, part := range n.AnyOf {
			failed := c.alternative(part, value, at)
			if len(failed.Places) == 0 {
				all = nil
				break
			}
			all = append(all, failed.Error())
		}
		for _, text := range all {
			c.failed.add(text)
		}
	}
	if n.If != nil && n.Then != nil && c.satisfies(n.If, value) {
		c.node(n.Then, value, at)
	}
}

func missing(names []string, v map[string]any) (absent []string) {
	for _, name := range names {
		if _, present := v[name]; !present {
			absent = append(absent, name)
		}
	}
	return absent
}

// quoted lists names, at most MaxPlaces of them.
func quoted(names []string) string {
	shown := names[:min(len(names), MaxPlaces)]
	text := make([]string, len(shown))
	for i, name := range shown {
		text[i] = "'" + clipped(name) + "'"
	}
	if more := len(names) - len(shown); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(text, ", "), more)
	}
	return strings.Join(text, ", ")
}

// clipped keeps what a stranger wrote from filling the screen.
func clipped(text string) string {
	const most = 100 // characters
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// pointer escapes a name as RFC 6901 section 3 says.
func pointer(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

func isType(name string, value any) bool {
	got := typeOf(value)
	if name == "integer" && got == "number" {
		// Core 4.2.3: "1.0" is an integer too.
		r, ok := rational(value.(json.Number))
		return ok && r.IsInt()
	}
	return got == name
}

func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return fmt.Sprintf("%T", value)
}

// MaxNumberText bounds a number that is calculated with, and MaxExponent its power of ten: written out, 1e999999999 fills the memory.
const (
	MaxNumberText = 400
	MaxExponent   = 400
)

// rational is a number's value; false when it is out of bounds.
func rational(v json.Number) (*big.Rat, bool) {
	text := v.String()
	if _, exponent, found := strings.Cut(strings.ToLower(text), "e"); found {
		if n, err := strconv.Atoi(exponent); err != nil || n > MaxExponent || n < -MaxExponent {
			return nil, false
		}
	}
	if len(text) > MaxNumberText {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}
