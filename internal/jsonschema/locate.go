package jsonschema

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
)

// maxFaults is how many places are listed.
const maxFaults = 20

// Bounds, in bytes: what is said of one place, and each part of its pointer.
const (
	maxText  = 400
	maxToken = 100
)

// locator finds the places where a value fails. It goes down the schema and the value side by side; what a schema says about one
// value itself, and not about what is below it, is asked of the library.
type locator struct {
	root  *jsonschema.Schema
	local sync.Map // *jsonschema.Schema to *jsonschema.Resolved: without what concerns the values below
}

// faults lists where a value fails a schema. The places are below the value.
func (l *locator) faults(s *jsonschema.Schema, value any) Error {
	var found Error
	add := func(more Error) { found = append(found, more[:min(len(more), maxFaults-len(found))]...) }
	if target := l.target(s.Ref); target != nil {
		add(l.faults(target, value))
	}
	add(l.own(s, value))
	for _, part := range s.AllOf {
		add(l.faults(part, value))
	}
	add(l.alternatives(s.AnyOf, value))
	if branch := l.branch(s, value); branch != nil {
		add(l.faults(branch, value))
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			add(l.property(s, name, v[name]).below(name))
		}
	case []any:
		add(l.items(s, v))
	}
	return found
}

// below puts the places under a name. A text that is long for a place is cut.
func (e Error) below(name string) Error {
	if len(e) == 0 {
		return nil
	}
	token := "/" + escapePointer(shorten(name, maxToken))
	for i := range e {
		e[i].Pointer = token + e[i].Pointer
	}
	return e
}

// own is what a schema says about a value itself.
func (l *locator) own(s *jsonschema.Schema, value any) Error {
	resolved, ok := l.local.Load(s)
	if !ok {
		alone, err := l.withoutParts(s).Resolve(nil)
		if err != nil {
			return Error{{"", shorten(err.Error(), maxText)}}
		}
		resolved, _ = l.local.LoadOrStore(s, alone)
	}
	err := resolved.(*jsonschema.Resolved).Validate(value)
	if err == nil {
		return nil
	}
	return Error{{"", shorten(inWords(err.Error()), maxText)}}
}

// inWords says what the library says, without the Go syntax in it.
func inWords(text string) string {
	text = strings.TrimPrefix(text, "validating root: ")
	switch keyword, _, _ := strings.Cut(text, ":"); keyword {
	case "type": // the value is what Decode made of it
		if i := strings.LastIndex(text, ` has type "`); i >= 0 {
			text = "type: got" + strings.TrimPrefix(text[i:], " has type")
		}
	case "minimum": // in fractions
		text = strings.NewReplacer("/1 is", " is", ".000000", "").Replace(text)
	}
	return strings.ReplaceAll(text, "<invalid reflect.Value>", "null")
}

// withoutParts copies a schema without the keywords that faults follows.
func (l *locator) withoutParts(s *jsonschema.Schema) *jsonschema.Schema {
	c := s.CloneSchemas()
	c.ID, c.Schema, c.AllOf, c.AnyOf, c.If, c.Then, c.Else = "", "", nil, nil, nil, nil, nil
	if l.target(s.Ref) != nil {
		c.Ref = ""
	}
	for name := range c.Properties {
		c.Properties[name] = &jsonschema.Schema{}
	}
	if followsAdditional(s) {
		c.AdditionalProperties = nil
	}
	if s.PrefixItems == nil {
		c.Items = nil
	}
	if followsContains(s) {
		c.Contains = nil
	}
	if c.Defs = nil; s != l.root { // what is left may refer to them
		c.Defs = l.root.CloneSchemas().Defs
	}
	return c
}

// defs is what references begin with.
const defs = "#/$defs/"

// target is what a reference means; nil when it is none.
func (l *locator) target(ref string) *jsonschema.Schema {
	return l.root.Defs[strings.TrimPrefix(ref, defs)]
}

// alternatives are the faults of all of anyOf, unless one has none.
func (l *locator) alternatives(anyOf []*jsonschema.Schema, value any) Error {
	var texts []string
	for _, s := range anyOf {
		faults := l.faults(s, value)
		if len(faults) == 0 {
			return nil
		}
		for i := range faults {
			if faults[i].Pointer == "" {
				texts = append(texts, faults[i].What)
			} else {
				texts = append(texts, faults[i].String())
			}
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return Error{{"", shorten("anyOf: "+strings.Join(texts, "; or "), maxText)}}
}

// branch is what `if` makes of a schema for a value.
func (l *locator) branch(s *jsonschema.Schema, value any) *jsonschema.Schema {
	switch {
	case s.If == nil:
		return nil
	case len(l.faults(s.If, value)) == 0:
		return s.Then
	}
	return s.Else
}

// property lists the faults of one property of an object.
func (l *locator) property(s *jsonschema.Schema, name string, value any) Error {
	if p, ok := s.Properties[name]; ok {
		return l.faults(p, value)
	}
	switch {
	case !followsAdditional(s):
		return nil
	case reflect.DeepEqual(s.AdditionalProperties, &jsonschema.Schema{Not: &jsonschema.Schema{}}): // how the library reads false
		return Error{{"", "additionalProperties: no such field is known here"}}
	}
	return l.faults(s.AdditionalProperties, value)
}

// followsAdditional reports whether the properties that are not named are looked at one by one.
func followsAdditional(s *jsonschema.Schema) bool {
	return s.AdditionalProperties != nil && s.PatternProperties == nil
}

// followsContains reports whether it is enough to find one item.
func followsContains(s *jsonschema.Schema) bool {
	return s.Contains != nil && s.MinContains == nil && s.MaxContains == nil
}

// items lists the faults of an array's items.
func (l *locator) items(s *jsonschema.Schema, items []any) Error {
	var found Error
	if s.Items != nil && s.PrefixItems == nil {
		for i, item := range items {
			if found = append(found, l.faults(s.Items, item).below(strconv.Itoa(i))...); len(found) >= maxFaults {
				return found
			}
		}
	}
	if !followsContains(s) {
		return found
	}
	for _, item := range items {
		if len(l.faults(s.Contains, item)) == 0 {
			return found
		}
	}
	text, err := json.Marshal(s.Contains)
	if err != nil {
		text = []byte(s.Contains.String())
	}
	return append(found, Fault{"", shorten("contains: no item satisfies "+string(text), maxText)})
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// escapePointer is a reference token of a JSON Pointer (RFC 6901, section 3).
func escapePointer(name string) string { return pointerEscapes.Replace(name) }

// shorten makes one line of a text and leaves out the middle of one that is longer than most bytes: what was wanted stands at the end.
func shorten(text string, most int) string {
	if len(text) > most {
		head, tail := most/2, len(text)-most/2
		for !utf8.RuneStart(text[head]) {
			head--
		}
		for !utf8.RuneStart(text[tail]) {
			tail++
		}
		text = text[:head] + "..." + text[tail:]
	}
	return strings.ReplaceAll(text, "\n", "; ")
}
