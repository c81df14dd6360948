// Package documents makes statements of the documents that come with a model or dataset: cards with the front matter that Hugging Face hubs
// read, and Croissant files. Both are named by digest; what policies can ask of them stands beside, under names that stay (docs/documents.md).
//
// What a document says is its author's word: a statement says who vouches for the document, not that it is true. The package reads no files.
package documents

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/strictyaml"
)

// Errors that callers branch on.
var (
	// ErrDocument says that a document cannot be read as what it is said to be.
	ErrDocument = errors.New("not a usable document")
	// ErrAsked says that something is missing, or contradictory, that whoever signs has to say.
	ErrAsked = errors.New("this must be said by a flag")
)

// Bounds of documents.
const (
	// MaxBytes is the size of the largest document.
	MaxBytes = 16 << 20
	// MaxList is how many entries of a list are taken; longer lists are refused.
	MaxList = 1000
	// MaxText is the length of the longest text that is taken, in bytes.
	MaxText = 4096
)

// Fields are what a document says, under the names that policies use: texts, and lists of texts or of maps.
type Fields map[string]any

// Card is what the front matter of a model or dataset card says.
type Card struct {
	Fields Fields // nil when the card has no front matter
	Name   string // pretty_name
	Splits []Split
}

// Split is a part of a dataset and the patterns of its files.
type Split struct {
	Name     string
	Patterns []string
}

// cardTexts and cardLists map keys of the front matter to the names of Fields. The hub takes a text for a list of one.
var (
	cardTexts = map[string]string{
		"license_name": "licenseName", "license_link": "licenseLink", "library_name": "libraryName", "pipeline_tag": "pipelineTag",
		"base_model_relation": "baseModelRelation", "pretty_name": "prettyName",
	}
	cardLists = map[string]string{
		"license": "licenses", "base_model": "baseModels", "datasets": "datasets", "tags": "tags", "language": "languages", "metrics": "metrics",
		"task_categories": "taskCategories", "source_datasets": "sourceDatasets", "size_categories": "sizeCategories",
	}
)

// cardReader reads a front matter. Unlike policies, cards have keys that nobody here knows: they are passed over.
type cardReader struct {
	yaml *strictyaml.Reader
	err  error
}

// ParseCard reads the front matter of a card: YAML between a first line --- and the next. The error wraps ErrDocument and names the line
// of the file.
func ParseCard(data []byte) (*Card, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("documents: %w: %d bytes, at most %d are read", ErrDocument, len(data), MaxBytes)
	}
	front, ok, err := frontMatter(data)
	if err != nil {
		return nil, fmt.Errorf("documents: %w: %w", ErrDocument, err)
	}
	card := &Card{}
	if !ok || len(bytes.TrimSpace(front)) == 0 {
		return card, nil
	}
	r := &cardReader{}
	r.yaml = &strictyaml.Reader{What: "card", Fail: func(line, column int, message string) {
		// The front matter begins in the second line of the file.
		r.err = fmt.Errorf("documents: %w: front matter %d:%d: %s", ErrDocument, line+1, column, message)
	}}
	if root := r.yaml.Parse(front); root != nil && r.err == nil {
		r.card(root, card)
	}
	if r.err != nil {
		return nil, r.err
	}
	return card, nil
}

// frontMatter cuts the YAML out of a card; ok is false when it has none.
func frontMatter(data []byte) (front []byte, ok bool, err error) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if !isFence(first) {
		return nil, false, nil
	}
	for at := 0; at < len(rest); {
		line, _, _ := bytes.Cut(rest[at:], []byte("\n"))
		if isFence(line) {
			return rest[:at], true, nil
		}
		at += len(line) + 1
	}
	return nil, false, errors.New("the front matter has no end: a line --- must follow it")
}

func isFence(line []byte) bool { return string(bytes.TrimRight(line, " \r")) == "---" }

func (r *cardReader) card(root *strictyaml.Node, card *Card) {
	if root.Kind != strictyaml.MappingNode {
		r.yaml.Failf(root, "a card's front matter is a mapping, not %s", strictyaml.KindOf(root))
		return
	}
	card.Fields = Fields{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, n := root.Content[i].Value, root.Content[i+1]
		switch {
		case cardTexts[key] != "":
			if text := r.text(n, key); text != "" {
				card.Fields[cardTexts[key]] = text
			}
		case cardLists[key] != "":
			if texts := r.texts(n, key); len(texts) > 0 {
				card.Fields[cardLists[key]] = texts
			}
		case key == "model-index":
			if results := r.modelIndex(n); len(results) > 0 {
				card.Fields["results"] = results
			}
		case key == "configs":
			card.Splits = r.configs(n)
		}
	}
	card.Name, _ = card.Fields["prettyName"].(string)
	card.Fields.single("licenses", "license")
	card.Fields.single("baseModels", "baseModel")
}

// single adds the only entry of a list under a name of its own. With more than one entry there is no such key, so that a policy which
// asks for the one is not answered by the first of two.
func (f Fields) single(list, one string) {
	if all, ok := f[list].([]any); ok && len(all) == 1 {
		f[one] = all[0]
	}
}

// text is a scalar as it stands in the file; empty for null.
func (r *cardReader) text(n *strictyaml.Node, what string) string {
	switch {
	case n.Kind != strictyaml.ScalarNode:
		r.yaml.Failf(n, "%s is a text, not %s", what, strictyaml.KindOf(n))
	case n.ShortTag() == "!!null":
	case len(n.Value) > MaxText:
		r.yaml.Failf(n, "%s has %d bytes; at most %d are taken", what, len(n.Value), MaxText)
	default:
		return n.Value
	}
	return ""
}

// texts are the entries of a list, or a text as a list of one.
func (r *cardReader) texts(n *strictyaml.Node, what string) []any {
	if n.Kind != strictyaml.SequenceNode {
		if text := r.text(n, what); text != "" {
			return []any{text}
		}
		return nil
	}
	var all []any
	for _, c := range r.list(n, what) {
		if text := r.text(c, "an entry of "+what); text != "" {
			all = append(all, text)
		}
	}
	return all
}

func (r *cardReader) list(n *strictyaml.Node, what string) []*strictyaml.Node {
	if n == nil || n.Kind != strictyaml.SequenceNode {
		return nil
	}
	if len(n.Content) > MaxList {
		r.yaml.Failf(n, "%s has %d entries; at most %d are taken", what, len(n.Content), MaxList)
		return nil
	}
	return n.Content
}

// at follows keys; nil when something on the way is not there.
func at(n *strictyaml.Node, keys ...string) *strictyaml.Node {
next:
	for _, key := range keys {
		if n != nil && n.Kind == strictyaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					n = n.Content[i+1]
					continue next
				}
			}
		}
		return nil
	}
	return n
}

func (r *cardReader) optional(n *strictyaml.Node, what string) string {
	if n == nil {
		return ""
	}
	return r.text(n, what)
}

// modelIndex lists the results that a card claims, each metric with its task and dataset. Values keep their text.
func (r *cardReader) modelIndex(n *strictyaml.Node) (results []any) {
	for _, model := range r.list(n, "model-index") {
		for _, result := range r.list(at(model, "results"), "results") {
			for _, metric := range r.list(at(result, "metrics"), "metrics") {
				if len(results) == MaxList {
					r.yaml.Failf(metric, "more than %d results", MaxList)
					return nil
				}
				one := map[string]any{}
				for name, text := range map[string]string{
					"task": r.optional(at(result, "task", "type"), "a task's type"), "dataset": r.optional(at(result, "dataset", "name"), "a dataset's name"),
					"metric": r.optional(at(metric, "type"), "a metric's type"), "value": r.value(at(metric, "value")),
				} {
					if text != "" {
						one[name] = text
					}
				}
				results = append(results, one)
			}
		}
	}
	return results
}

// value is a metric's value where it is a scalar; cards have lists and mappings there too.
func (r *cardReader) value(n *strictyaml.Node) string {
	if n == nil || n.Kind != strictyaml.ScalarNode {
		return ""
	}
	return r.text(n, "a metric's value")
}

// configs are the splits of a dataset card, where it has one configuration: the splits of several overlap.
func (r *cardReader) configs(n *strictyaml.Node) (splits []Split) {
	configs := r.list(n, "configs")
	if len(configs) != 1 {
		return nil
	}
	for _, file := range r.list(at(configs[0], "data_files"), "data_files") {
		split := Split{Name: r.optional(at(file, "split"), "a split's name")}
		if paths := at(file, "path"); paths != nil {
			for _, text := range r.texts(paths, "path") {
				split.Patterns = append(split.Patterns, strings.TrimPrefix(text.(string), "./"))
			}
		}
		if split.Name != "" && len(split.Patterns) > 0 {
			splits = append(splits, split)
		}
	}
	return splits
}
