package policies

import (
	"time"

	"github.com/mlseal/mlseal/internal/strictyaml"
	"go.yaml.in/yaml/v3"
)

// Bounds of a policy document.
const (
	// MaxPolicyBytes is the size of the largest policy that is read.
	MaxPolicyBytes = strictyaml.MaxBytes
	// MaxPolicyDepth is the deepest nesting; the language itself needs eight levels.
	MaxPolicyDepth = strictyaml.MaxDepth
)

// newLoader reads with strictyaml and keeps the error that it tells.
func newLoader(opts LoadOptions) *loader {
	l := &loader{opts: opts, policy: &Policy{}, keys: map[string]string{}, who: map[Identity]string{}, ids: map[string]bool{}}
	l.yaml = &strictyaml.Reader{What: "policy", Fail: func(line, column int, message string) {
		l.err = &LoadError{File: opts.Name, Line: line, Column: column, Message: message}
	}}
	return l
}

// fields is a mapping whose keys are all known.
type fields struct {
	node *yaml.Node
	what string // what the mapping describes, for messages
	at   map[string]*yaml.Node
}

func (l *loader) mapping(n *yaml.Node, what string, known ...string) fields {
	f := l.yaml.Mapping(n, what, known...)
	return fields{f.Node, f.What, f.At}
}

func (l *loader) need(f fields, key string) *yaml.Node {
	return l.yaml.Need(strictyaml.Fields{Node: f.node, What: f.what, At: f.at}, key)
}

func (l *loader) failf(n *yaml.Node, format string, args ...any) { l.yaml.Failf(n, format, args...) }

func (l *loader) str(n *yaml.Node, what string) string { return l.yaml.Str(n, what) }

func (l *loader) integer(n *yaml.Node, what string, min int) int { return l.yaml.Integer(n, what, min) }

func (l *loader) yes(n *yaml.Node, what string) bool { return l.yaml.Yes(n, what) }

func (l *loader) list(n *yaml.Node, what string) []*yaml.Node { return l.yaml.List(n, what) }

func (l *loader) names(n *yaml.Node, what string) []string { return l.yaml.Names(n, what) }

func (l *loader) instant(n *yaml.Node, what string) time.Time { return l.yaml.Instant(n, what) }

func (l *loader) age(n *yaml.Node, what string) time.Duration { return l.yaml.Age(n, what) }

var plainInteger = strictyaml.PlainInteger

func isAmbiguous(r rune) bool { return strictyaml.IsAmbiguous(r) }

func kindOf(n *yaml.Node) string { return strictyaml.KindOf(n) }

func quoteHint(n *yaml.Node) string { return strictyaml.QuoteHint(n) }

func suggest(key string, known []string) string { return strictyaml.Suggest(key, known) }
