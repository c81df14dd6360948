package policies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a policy document.
const (
	// MaxPolicyBytes is the size of the largest policy that is read.
	MaxPolicyBytes = 1 << 20
	// MaxPolicyDepth is the deepest nesting; the language itself needs eight levels.
	MaxPolicyDepth = 32
)

// parse returns the root of the only document in data. Everything that lets two YAML readers
// see two different policies is refused here, before any key has a meaning.
func (l *loader) parse(data []byte) *yaml.Node {
	if l.checkText(data); l.err != nil {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		l.failAt(1, 1, "the file holds no policy document")
		return nil
	} else if err != nil {
		l.failSyntax(err)
		return nil
	}
	// Decode stops behind the first document. A second one would be policy that nobody applies.
	if err := dec.Decode(&second); err == nil {
		l.failf(&second, "a second YAML document; a policy file holds exactly one")
		return nil
	} else if !errors.Is(err, io.EOF) {
		l.failSyntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		l.failAt(1, 1, "the file holds no policy document")
		return nil
	}
	l.checkNode(doc.Content[0], 1)
	return doc.Content[0]
}

// checkText refuses what the YAML reader would accept or repair without a word.
func (l *loader) checkText(data []byte) {
	switch {
	case len(data) > MaxPolicyBytes:
		l.failAt(1, 1, "the policy has %d bytes; at most %d are read", len(data), MaxPolicyBytes)
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		l.failAt(1, 1, "the file starts with a byte order mark; save it without one")
	case !utf8.Valid(data):
		at := 0
		for r, n := utf8.DecodeRune(data); r != utf8.RuneError || n != 1; r, n = utf8.DecodeRune(data[at:]) {
			at += n
		}
		l.failOffset(data, at, "not UTF-8")
	case bytes.IndexByte(data, '\t') >= 0:
		l.failOffset(data, bytes.IndexByte(data, '\t'), "a tab; indent and separate with spaces")
	case indexAmbiguous(data) >= 0:
		at := indexAmbiguous(data)
		r, _ := utf8.DecodeRune(data[at:])
		l.failOffset(data, at, fmt.Sprintf("the character %U; some YAML readers or screens take it for the end of a line, or turn the text around", r))
	case bytes.HasPrefix(data, []byte("%")):
		l.failAt(1, 1, "a YAML directive; a policy has none")
	case bytes.Contains(data, []byte("\n%")):
		l.failOffset(data, bytes.Index(data, []byte("\n%"))+1, "a YAML directive; a policy has none")
	}
}

// isAmbiguous reports characters that break a line for some YAML readers and for others not (YAML 1.2,
// section 5.4: U+0085, U+2028 and U+2029 broke lines in YAML 1.1), so that a comment may end in them,
// and those that make a screen show another text than the one that is read.
func isAmbiguous(r rune) bool {
	return r == '\u0085' || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// indexAmbiguous returns the place of the first ambiguous character or carriage return without a line feed, or -1.
func indexAmbiguous(data []byte) int {
	at := bytes.IndexFunc(data, isAmbiguous)
	for i, c := range data {
		if c == '\r' && !bytes.HasPrefix(data[i+1:], []byte("\n")) && (at < 0 || i < at) {
			return i
		}
	}
	return at
}

// checkNode walks the raw tree once and refuses anchors, aliases, tags, merge keys, duplicate
// keys, deep nesting and control characters, wherever they stand.
func (l *loader) checkNode(n *yaml.Node, depth int) {
	switch {
	case l.err != nil:
		return
	case depth > MaxPolicyDepth:
		l.failf(n, "nested deeper than %d levels", MaxPolicyDepth)
	case n.Kind == yaml.AliasNode:
		l.failf(n, "an alias (*%s); write the value out, so that the policy can be read from top to bottom", n.Value)
	case n.Anchor != "":
		l.failf(n, "an anchor (&%s); write the value out, so that the policy can be read from top to bottom", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		l.failf(n, "a YAML tag (%s); a policy has none", n.Tag)
	case n.Tag == "!!merge":
		l.failf(n, "a merge key (<<); write the keys out, so that the policy can be read from top to bottom")
	case strings.ContainsFunc(n.Value, func(r rune) bool { return r != '\n' && unicode.IsControl(r) || isAmbiguous(r) }):
		l.failf(n, "a control character in %q", n.Value)
	case n.Kind == yaml.ScalarNode && n.Style == 0 && isOldBool(n.Value):
		l.failf(n, "%s is a boolean to some YAML readers and a string to others; put it in quotes", n.Value)
	}
	seen := map[string]int{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && l.err == nil {
			l.checkKey(c, seen)
		}
		l.checkNode(c, depth+1)
	}
}

func (l *loader) checkKey(key *yaml.Node, seen map[string]int) {
	if key.Kind != yaml.ScalarNode {
		return // checkNode or the mapping's own check names it
	}
	if line, ok := seen[key.Value]; ok {
		l.failf(key, "duplicate key %q; it stands in line %d already", key.Value, line)
	}
	seen[key.Value] = key.Line
}

// isOldBool reports the words that YAML 1.1 reads as booleans and YAML 1.2 as strings.
func isOldBool(s string) bool {
	return slices.Contains([]string{"y", "yes", "on", "n", "no", "off"}, strings.ToLower(s))
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// failSyntax takes the line out of the YAML reader's message; it has no column.
func (l *loader) failSyntax(err error) {
	line := 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1])
	}
	l.failAt(line, 1, "not YAML: %s", yamlLine.ReplaceAllString(err.Error(), ""))
}

func (l *loader) failOffset(data []byte, at int, message string) {
	before := data[:at]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	l.failAt(line, column, "%s", message)
}

func (l *loader) failf(n *yaml.Node, format string, args ...any) {
	l.failAt(max(n.Line, 1), max(n.Column, 1), format, args...)
}

// failAt keeps the first error: later ones are often its consequences.
func (l *loader) failAt(line, column int, format string, args ...any) {
	if l.err == nil {
		l.err = &LoadError{File: l.opts.Name, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
	}
}
