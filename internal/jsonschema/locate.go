package jsonschema

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
)

// maxFaults is how many places are listed.
const maxFaults = 20

// maxText bounds what is said of one place, in bytes.
const maxText = 400

// locator finds the places where a value fails. It goes down the schema and the value side by side; what a schema says about one
// value itself, and not about what is below it, is asked of the library.
type locator struct {
	root  *jsonschema.Schema
	local sync.Map // *jsonschema.Schema to *jsonschema.Resolved: without what concerns the values below
}

// faults lists where a value, which stands at a place, fails a schema.
func (l *locator) faults(s *jsonschema.Schema, value any, at string) Error {
	var found Error
	add := func(more Error) { found = append(found, more[:min(len(more), maxFaults-len(found))]...) }
	if target := l.target(s.Ref); target != nil {
		add(l.faults(target, value, at))
	}
	add(l.own(s, value, at))
	for _, part := range s.AllOf {
		add(l.faults(part, value, at))
	}
	add(l.alternatives(s.AnyOf, value, at))
	if branch := l.branch(s, value); branch != nil {
		add(l.faults(branch, value, at))
	}
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			add(l.property(s, name, v[name], at+"/"+escapePointer(name)))
		}
	case []any:
		add(l.items(s, v, at))
	}
	return found
}

// own is what a schema says about a value itself.
func (l *locator) own(s *jsonschema.Schema, value any, at string) Error {
	resolved, ok := l.local.Load(s)
	if !ok {
		alone, err := l.withoutParts(s).Resolve(nil)
		if err != nil {
			return Error{{at, shorten(err.Error())}}
		}
		resolved, _ = l.local.LoadOrStore(s, alone)
	}
	err := resolved.(*jsonschema.Resolved).Validate(value)
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "validating root: ")
	text = strings.ReplaceAll(text, "<invalid reflect.Value>", "null")
	if strings.HasPrefix(text, "minimum: ") { // which is said in fractions
		text = strings.NewReplacer("/1 is", " is", ".000000", "").Replace(text)
	}
	return Error{{at, shorten(text)}}
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

// target is what a reference means; nil when it is none or not one into the definitions of the schema.
func (l *locator) target(ref string) *jsonschema.Schema {
	name, _ := strings.CutPrefix(ref, "#/$defs/")
	return l.root.Defs[name]
}

// alternatives are the faults of all of anyOf, unless one has none.
func (l *locator) alternatives(anyOf []*jsonschema.Schema, value any, at string) Error {
	var texts []string
	for _, s := range anyOf {
		faults := l.faults(s, value, at)
		if len(faults) == 0 {
			return nil
		}
		for i := range faults {
			if faults[i].Pointer == at {
				texts = append(texts, faults[i].What)
			} else {
				texts = append(texts, faults[i].String())
			}
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return Error{{at, shorten("anyOf: " + strings.Join(texts, "; or "))}}
}

// branch is what `if` makes of a schema for a value.
func (l *locator) branch(s *jsonschema.Schema, value any) *jsonschema.Schema {
	switch {
	case s.If == nil:
		return nil
	case len(l.faults(s.If, value, "")) == 0:
		return s.Then
	}
	return s.Else
}

// property lists the faults of one property of an object.
func (l *locator) property(s *jsonschema.Schema, name string, value any, at string) Error {
	if p, ok := s.Properties[name]; ok {
		return l.faults(p, value, at)
	}
	switch {
	case !followsAdditional(s):
		return nil
	case reflect.DeepEqual(s.AdditionalProperties, &jsonschema.Schema{Not: &jsonschema.Schema{}}): // how the library reads false
		return Error{{at, "additionalProperties: no such field is known here"}}
	}
	return l.faults(s.AdditionalProperties, value, at)
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
func (l *locator) items(s *jsonschema.Schema, items []any, at string) Error {
	var found Error
	if s.Items != nil && s.PrefixItems == nil {
		for i, item := range items {
			if found = append(found, l.faults(s.Items, item, fmt.Sprintf("%s/%d", at, i))...); len(found) >= maxFaults {
				return found
			}
		}
	}
	if !followsContains(s) {
		return found
	}
	for _, item := range items {
		if len(l.faults(s.Contains, item, at)) == 0 {
			return found
		}
	}
	text, err := json.Marshal(s.Contains)
	if err != nil {
		text = []byte(s.Contains.String())
	}
	return append(found, Fault{at, shorten("contains: no item satisfies " + string(text))})
}

// escapePointer is a reference token of a JSON Pointer (RFC 6901, section 3).
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// shorten makes one line of a text and cuts what is too long of it.
func shorten(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}
