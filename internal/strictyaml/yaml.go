// Package strictyaml reads YAML in which two readers could not see two different things: one document, no anchors, aliases, merge keys,
// tags, directives or tabs, no key twice, no key that nobody reads, no yes and no without quotes. Errors have a line and a column.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document.
const (
	// MaxBytes is the size of the largest document that is read.
	MaxBytes = 1 << 20
	// MaxDepth is the deepest nesting; the policy language needs eight levels.
	MaxDepth = 32
)

// Node is a value in a document, with its place.
type Node = yaml.Node

// Kinds of nodes.
const (
	SequenceNode = yaml.SequenceNode
	MappingNode  = yaml.MappingNode
	ScalarNode   = yaml.ScalarNode
)

// Reader reads one document. Its methods carry on after an error and return zero values, so that what calls them reads like the
// language; only the first error is told.
type Reader struct {
	// What the document is, for messages: "policy".
	What string
	// Fail is told the first error. Lines and columns count from 1.
	Fail   func(line, column int, message string)
	failed bool
}

// Failed reports whether there was an error.
func (r *Reader) Failed() bool { return r.failed }

// Parse returns the root of the only document in data. Everything that lets two YAML readers
// see two different policies is refused here, before any key has a meaning.
func (r *Reader) Parse(data []byte) *Node {
	if r.checkText(data); r.failed {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		r.FailAt(1, 1, "the file holds no %s document", r.What)
		return nil
	} else if err != nil {
		r.failSyntax(err)
		return nil
	}
	// Decode stops behind the first document. A second one would be text that nobody reads.
	if err := dec.Decode(&second); err == nil {
		r.Failf(&second, "a second YAML document; a %s file holds exactly one", r.What)
		return nil
	} else if !errors.Is(err, io.EOF) {
		r.failSyntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.FailAt(1, 1, "the file holds no %s document", r.What)
		return nil
	}
	r.checkNode(doc.Content[0], 1)
	return doc.Content[0]
}

// checkText refuses what the YAML reader would accept or repair without a word.
func (r *Reader) checkText(data []byte) {
	switch {
	case len(data) > MaxBytes:
		r.FailAt(1, 1, "the %s has %d bytes; at most %d are read", r.What, len(data), MaxBytes)
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		r.FailAt(1, 1, "the file starts with a byte order mark; save it without one")
	case !utf8.Valid(data):
		at := 0
		for c, n := utf8.DecodeRune(data); c != utf8.RuneError || n != 1; c, n = utf8.DecodeRune(data[at:]) {
			at += n
		}
		r.failOffset(data, at, "not UTF-8")
	case bytes.IndexByte(data, '\t') >= 0:
		r.failOffset(data, bytes.IndexByte(data, '\t'), "a tab; indent and separate with spaces")
	case indexAmbiguous(data) >= 0:
		at := indexAmbiguous(data)
		c, _ := utf8.DecodeRune(data[at:])
		r.failOffset(data, at, fmt.Sprintf("the character %U; some YAML readers or screens take it for the end of a line, or turn the text around", c))
	case bytes.HasPrefix(data, []byte("%")):
		r.FailAt(1, 1, "a YAML directive; a %s has none", r.What)
	case bytes.Contains(data, []byte("\n%")):
		r.failOffset(data, bytes.Index(data, []byte("\n%"))+1, "a YAML directive; a "+r.What+" has none")
	}
}

// IsAmbiguous reports characters that break a line for some YAML readers and for others not (YAML 1.2,
// section 5.4: U+0085, U+2028 and U+2029 broke lines in YAML 1.1), so that a comment may end in them,
// and those that make a screen show another text than the one that is read.
func IsAmbiguous(r rune) bool {
	return r == '\u0085' || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// indexAmbiguous returns the place of the first ambiguous character or carriage return without a line feed, or -1.
func indexAmbiguous(data []byte) int {
	at := bytes.IndexFunc(data, IsAmbiguous)
	for i, c := range data {
		if c == '\r' && !bytes.HasPrefix(data[i+1:], []byte("\n")) && (at < 0 || i < at) {
			return i
		}
	}
	return at
}

// checkNode walks the raw tree once and refuses anchors, aliases, tags, merge keys, duplicate
// keys, deep nesting and control characters, wherever they stand.
func (r *Reader) checkNode(n *Node, depth int) {
	switch {
	case r.failed:
		return
	case depth > MaxDepth:
		r.Failf(n, "nested deeper than %d levels", MaxDepth)
	case n.Kind == yaml.AliasNode:
		r.Failf(n, "an alias (*%s); write the value out, so that the %s can be read from top to bottom", n.Value, r.What)
	case n.Anchor != "":
		r.Failf(n, "an anchor (&%s); write the value out, so that the %s can be read from top to bottom", n.Anchor, r.What)
	case n.Style&yaml.TaggedStyle != 0:
		r.Failf(n, "a YAML tag (%s); a %s has none", n.Tag, r.What)
	case n.Tag == "!!merge":
		r.Failf(n, "a merge key (<<); write the keys out, so that the %s can be read from top to bottom", r.What)
	case strings.ContainsFunc(n.Value, func(r rune) bool { return r != '\n' && unicode.IsControl(r) || IsAmbiguous(r) }):
		r.Failf(n, "a control character in %q", n.Value)
	case n.Kind == yaml.ScalarNode && n.Style == 0 && isOldBool(n.Value):
		r.Failf(n, "%s is a boolean to some YAML readers and a string to others; put it in quotes", n.Value)
	}
	seen := map[string]int{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && !r.failed {
			r.checkKey(c, seen)
		}
		r.checkNode(c, depth+1)
	}
}

func (r *Reader) checkKey(key *Node, seen map[string]int) {
	if key.Kind != yaml.ScalarNode {
		return // checkNode or the mapping's own check names it
	}
	if line, ok := seen[key.Value]; ok {
		r.Failf(key, "duplicate key %q; it stands in line %d already", key.Value, line)
	}
	seen[key.Value] = key.Line
}

// isOldBool reports the words that YAML 1.1 reads as booleans and YAML 1.2 as strings.
func isOldBool(s string) bool {
	return slices.Contains([]string{"y", "yes", "on", "n", "no", "off"}, strings.ToLower(s))
}

var yamlLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^yaml: (?:line (\d+): )?`) })

// failSyntax takes the line out of the YAML reader's message; it has no column.
func (r *Reader) failSyntax(err error) {
	line := 1
	if m := yamlLine().FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1])
	}
	r.FailAt(line, 1, "not YAML: %s", yamlLine().ReplaceAllString(err.Error(), ""))
}

func (r *Reader) failOffset(data []byte, at int, message string) {
	before := data[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	r.FailAt(line, column, "%s", message)
}

// Failf tells an error at a node.
func (r *Reader) Failf(n *Node, format string, args ...any) {
	r.FailAt(max(n.Line, 1), max(n.Column, 1), format, args...)
}

// FailAt tells an error. Only the first is told: later ones are often its consequences.
func (r *Reader) FailAt(line, column int, format string, args ...any) {
	if !r.failed {
		r.failed = true
		r.Fail(line, column, fmt.Sprintf(format, args...))
	}
}
