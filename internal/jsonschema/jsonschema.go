// Package jsonschema holds JSON values to schemas of ours, written in the part of JSON Schema 2020-12 that they use. A schema
// with any other keyword does not compile, so that nothing in one is passed over in silence.
//
// The libraries for all of JSON Schema compile the specification's meta-schemas whenever a program starts, which was a fifth
// of what mlseal did before main. They stay in the tests, as the judge of this package.
//
// https://json-schema.org/draft/2020-12/json-schema-core and …/json-schema-validation
package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Schema is a compiled schema. It may be used by several goroutines.
type Schema struct{ root *node }

// Dialect is what $schema must be.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// node is a schema or a part of one.
type node struct {
	// Core 4.3.2: "Boolean Schemas". false fails whatever is held to it.
	never bool

	Schema      string           `json:"$schema"`
	ID          string           `json:"$id"`
	Title       string           `json:"title"`
	Description string           `json:"description"`
	Defs        map[string]*node `json:"$defs"`
	Ref         string           `json:"$ref"`

	Type              string              `json:"type"`
	Enum              []string            `json:"enum"`
	Const             *string             `json:"const"`
	Minimum           *int64              `json:"minimum"`
	MinLength         *int                `json:"minLength"`
	MaxLength         *int                `json:"maxLength"`
	Pattern           string              `json:"pattern"`
	MinItems          *int                `json:"minItems"`
	MinProperties     *int                `json:"minProperties"`
	Required          []string            `json:"required"`
	DependentRequired map[string][]string `json:"dependentRequired"`

	Properties           map[string]*node `json:"properties"`
	AdditionalProperties *node            `json:"additionalProperties"`
	Items                *node            `json:"items"`
	Contains             *node            `json:"contains"`
	AllOf                []*node          `json:"allOf"`
	AnyOf                []*node          `json:"anyOf"`
	If                   *node            `json:"if"`
	Then                 *node            `json:"then"`

	target  *node // of Ref
	pattern *regexp.Regexp
}

// UnmarshalJSON reads a boolean or an object that has no keyword but those of node.
func (n *node) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "true":
		return nil
	case "false":
		n.never = true
		return nil
	}
	type fields node // without this method
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode((*fields)(n))
}

// Compile reads a schema of the program's own.
func Compile(text []byte) (*Schema, error) {
	var root node
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("jsonschema: %w", err)
	}
	if hasNull(text) { // which encoding/json takes for a keyword that is not there
		return nil, errors.New("jsonschema: a keyword is null")
	}
	if root.Schema != Dialect {
		return nil, fmt.Errorf("jsonschema: $schema is %q, want %s", root.Schema, Dialect)
	}
	if err := root.prepare(root.Defs); err != nil {
		return nil, fmt.Errorf("jsonschema: %w", err)
	}
	return &Schema{&root}, nil
}

// hasNull reports whether a text that encoding/json has read holds the literal null.
func hasNull(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		if token == nil {
			return true
		}
	}
}

// prepare resolves references and compiles patterns, here and below.
func (n *node) prepare(defs map[string]*node) error {
	if n.Type != "" && !types[n.Type] {
		return fmt.Errorf("type %q", n.Type)
	}
	if n.Ref != "" {
		name, ok := strings.CutPrefix(n.Ref, "#/$defs/")
		if n.target = defs[name]; !ok || n.target == nil {
			return fmt.Errorf("$ref %q names none of $defs", n.Ref)
		}
		if n.target.Ref != "" {
			return fmt.Errorf("$ref %q leads to another one", n.Ref) // which may lead back
		}
	}
	if n.Pattern != "" {
		var err error
		if n.pattern, err = regexp.Compile(n.Pattern); err != nil {
			return err
		}
	}
	for _, part := range n.parts() {
		if err := part.prepare(defs); err != nil {
			return err
		}
	}
	return nil
}

var types = map[string]bool{"object": true, "array": true, "string": true, "number": true, "integer": true, "boolean": true, "null": true}

// parts are the schemas right below.
func (n *node) parts() []*node {
	parts := append(append([]*node{}, n.AllOf...), n.AnyOf...)
	for _, part := range []*node{n.AdditionalProperties, n.Items, n.Contains, n.If, n.Then} {
		if part != nil {
			parts = append(parts, part)
		}
	}
	for _, list := range []map[string]*node{n.Defs, n.Properties} {
		for _, part := range list {
			parts = append(parts, part)
		}
	}
	return parts
}
