package policytest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/strictyaml"
	"github.com/mlseal/mlseal/policies"
)

// Mutation changes evidence.
type Mutation struct {
	Verb string
	Ref  string // a statement or a requirement; empty for add
	Line int

	as     []string
	shift  time.Duration
	to     time.Time
	source string
	digest string
	kind   string
	path   []step
	value  any
	code   policies.Code
	file   *Statement
}

// String is the mutation in short.
func (m Mutation) String() string {
	switch {
	case m.Verb == "add":
		return "add " + m.file.Name
	case m.Verb == "replace":
		return "replace " + m.Ref + " with " + m.file.Name
	case len(m.as) > 0:
		return m.Verb + " " + m.Ref + " as " + strings.Join(m.as, ", ")
	}
	return m.Verb + " " + m.Ref
}

// arguments of each verb.
var arguments = map[string][]string{
	"drop": nil, "duplicate": {"as"}, "resign": {"as"}, "timestamp": {"shift", "to", "source"}, "resubject": {"to"}, "retype": {"to"},
	"set": {"path", "to"}, "unset": {"path"}, "spoil": {"code"}, "add": nil, "replace": {"with"},
}

func (l *loader) mutation(n *strictyaml.Node) Mutation {
	verbs := slices.Sorted(maps.Keys(arguments))
	f := l.Mapping(n, "a mutation", append(verbs, "as", "shift", "to", "source", "path", "code", "with")...)
	m := Mutation{Line: n.Line}
	verb, ok := oneOf(f, verbs)
	if !ok {
		l.Failf(n, "a mutation has exactly one of %s", strings.Join(verbs, ", "))
	}
	for key, v := range f.At {
		if ok && key != verb && !slices.Contains(arguments[verb], key) {
			l.Failf(v, "%s does not take %s", verb, key)
		}
	}
	if l.Failed() {
		return m
	}
	m.Verb = verb
	if verb == "add" {
		m.file = l.file(f.At["add"], "add")
		return m
	}
	m.Ref = l.Str(f.At[verb], verb)
	l.details(f, &m)
	return m
}

// details reads what a verb takes.
func (l *loader) details(f strictyaml.Fields, m *Mutation) {
	if n := f.At["as"]; n != nil && n.Kind == strictyaml.SequenceNode {
		m.as = l.Names(n, "as")
	} else if n != nil {
		m.as = []string{l.Str(n, "as")}
	}
	switch m.Verb {
	case "resign":
		l.Need(f, "as")
	case "timestamp":
		l.time(f, m)
	case "resubject":
		m.digest = l.digest(f.At["to"])
	case "retype":
		m.kind = l.Str(f.At["to"], "to")
	case "set":
		m.path = l.path(l.Need(f, "path"))
		if to := l.Need(f, "to"); to != nil {
			m.value = l.value(to)
		}
	case "unset":
		m.path = l.path(l.Need(f, "path"))
	case "spoil":
		m.code = policies.SignatureInvalid
		if n := f.At["code"]; n != nil {
			if m.code = policies.Code(l.Str(n, "code")); !policies.IsCode(m.code) {
				l.Failf(n, "there is no code %q%s", m.code, strictyaml.Suggest(string(m.code), policies.Codes()))
			}
		}
	case "replace":
		if n := l.Need(f, "with"); n != nil {
			m.file = l.file(n, "with")
		}
	}
}

func (l *loader) time(f strictyaml.Fields, m *Mutation) {
	m.to, m.source = l.Instant(f.At["to"], "to"), l.Str(f.At["source"], "source")
	if n := f.At["shift"]; n != nil {
		text := l.Str(n, "shift")
		back := strings.HasPrefix(text, "-")
		plain := *n
		plain.Value = strings.TrimLeft(text, "+-")
		if m.shift = l.Age(&plain, "shift"); back {
			m.shift = -m.shift
		}
	}
	if f.At["shift"] != nil && f.At["to"] != nil || len(f.At) == 1 {
		l.Failf(f.Node, "timestamp needs shift or to, or source alone")
	}
}

func (l *loader) digest(n *strictyaml.Node) string {
	s := l.Str(n, "to")
	if _, value, ok := strings.Cut(s, ":"); n != nil && (!ok || value == "") {
		l.Failf(n, "to is %q; it is a digest such as sha256:…", s)
	}
	return s
}

// value is JSON for what YAML has.
func (l *loader) value(n *strictyaml.Node) any {
	switch n.Kind {
	case strictyaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = l.value(n.Content[i+1])
		}
		return out
	case strictyaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, l.value(c))
		}
		return out
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		if !json.Valid([]byte(n.Value)) {
			l.Failf(n, "%s is no number in JSON", n.Value)
		}
		return json.Number(n.Value)
	}
	return n.Value
}

// step is a key or an index in a path.
type step struct {
	key   string
	index int // with an empty key
}

// path reads keys with dots between them and indexes in brackets: predicate.results[0].value.
func (l *loader) path(n *strictyaml.Node) []step {
	text := l.Str(n, "path")
	var out []step
	for _, part := range strings.Split(text, ".") {
		key, rest, bracket := strings.Cut(part, "[")
		out = append(out, step{key: key})
		if bracket && rest == "" {
			rest = "["
		}
		for rest != "" {
			number, after, ok := strings.Cut(rest, "]")
			index, err := strconv.Atoi(number)
			if !ok || err != nil || index < 0 || after != "" && after[0] != '[' {
				l.Failf(n, "path is %q; write keys with dots and indexes in brackets: predicate.results[0].value", text)
				return nil
			}
			out = append(out, step{index: index})
			rest = strings.TrimPrefix(after, "[")
		}
		if key == "" && !l.Failed() && n != nil {
			l.Failf(n, "path is %q; a key in it is empty", text)
		}
	}
	return out
}

// strangeDigest is nothing's digest.
func strangeDigest(algorithm string) string {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("something else")))
	if algorithm == "sha512" {
		return sum + sum
	}
	return sum
}

// apply changes one statement. It gives a statement that shares nothing changeable with the old one, or an error when nothing changes.
func (m Mutation) apply(s Statement) (Statement, error) {
	out := s.clone()
	if err := m.change(&out); err != nil {
		return s, err
	}
	if m.Verb != "duplicate" && reflect.DeepEqual(out, s.clone()) {
		return s, fmt.Errorf("%s changes nothing", m)
	}
	// Another bundle has another id, which no inventory lists.
	if strings.HasPrefix(out.ID, "sha256:") {
		out.ID = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(out.ID+m.Verb)))
	}
	return out, nil
}

func (m Mutation) change(s *Statement) error {
	switch m.Verb {
	case "duplicate":
		s.Name += "-again"
		s.ID += "-again"
		if len(m.as) > 0 {
			s.signAs(m.as)
		}
	case "resign":
		s.signAs(m.as)
	case "timestamp":
		return m.date(s)
	case "resubject":
		s.about(m.digest)
	case "retype":
		kind := m.kind
		if kind == "" {
			kind = s.PredicateType + "-other"
		}
		s.PredicateType = kind
		s.Statement["predicateType"] = kind
	case "set", "unset":
		return m.edit(s)
	case "spoil":
		s.Problem, s.ProblemDetail = m.code, "spoilt by the test"
		s.SignedBy = nil
	}
	return nil
}

// signAs takes the old signers' keys away: nothing of them is left.
func (s *Statement) signAs(names []string) {
	s.SignedBy, s.VerifiedWith, s.SignatureNote = slices.Clone(names), policies.VerifiedWith{}, ""
}

func (m Mutation) date(s *Statement) error {
	if s.Time.IsZero() && m.to.IsZero() {
		return fmt.Errorf("statement %s has no time", s.Name)
	}
	s.Time = s.Time.Add(m.shift)
	if !m.to.IsZero() {
		s.Time = m.to
	}
	if m.source != "" {
		s.TimeSource = m.source
	}
	if s.TimeSource == "" {
		s.TimeSource = "claimed"
	}
	return nil
}

// about makes all subjects the one of a digest, or each of them something else of the same kinds.
func (s *Statement) about(digest string) {
	algorithm, value, ok := strings.Cut(digest, ":")
	var sets []map[string]string
	for _, set := range s.Subjects {
		other := map[string]string{}
		for name := range set {
			other[name] = strangeDigest(name)
		}
		sets = append(sets, other)
	}
	if ok {
		sets = []map[string]string{{algorithm: value}}
	}
	s.Subjects = sets
	if s.Statement == nil {
		return
	}
	var list []any
	for _, set := range sets {
		digests := map[string]any{}
		for name, value := range set {
			digests[name] = value
		}
		list = append(list, map[string]any{"digest": digests})
	}
	s.Statement["subject"] = list
}

// edit sets or removes what a path leads to.
func (m Mutation) edit(s *Statement) error {
	var at any = s.Statement
	for _, p := range m.path[:len(m.path)-1] {
		next, err := p.of(at)
		if err != nil {
			return fmt.Errorf("statement %s: %w", s.Name, err)
		}
		at = next
	}
	last := m.path[len(m.path)-1]
	if _, err := last.of(at); err != nil && (m.Verb == "unset" || last.key == "") {
		return fmt.Errorf("statement %s: %w", s.Name, err)
	}
	switch at := at.(type) {
	case map[string]any:
		if at[last.key] = cloneJSON(m.value); m.Verb == "unset" {
			delete(at, last.key)
		}
	case []any:
		switch {
		case last.key != "":
			return fmt.Errorf("statement %s: %q is no key of a list", s.Name, last.key)
		case m.Verb == "unset":
			return fmt.Errorf("statement %s: unset takes a key away; set the list to what shall be in it", s.Name)
		}
		at[last.index] = cloneJSON(m.value)
	default:
		return fmt.Errorf("statement %s: %q is a key of nothing", s.Name, last.key)
	}
	return s.read()
}

func (p step) of(v any) (any, error) {
	if p.key == "" {
		list, _ := v.([]any)
		if p.index >= len(list) {
			return nil, fmt.Errorf("there is no [%d]", p.index)
		}
		return list[p.index], nil
	}
	object, _ := v.(map[string]any)
	value, ok := object[p.key]
	if !ok {
		return nil, fmt.Errorf("there is no %q", p.key)
	}
	return value, nil
}

func (s Statement) clone() Statement {
	s.SignedBy = slices.Clone(s.SignedBy)
	s.FoundWith = maps.Clone(s.FoundWith)
	sets := make([]map[string]string, len(s.Subjects))
	for i, set := range s.Subjects {
		sets[i] = maps.Clone(set)
	}
	s.Subjects = sets
	if s.Statement != nil {
		s.Statement = cloneJSON(s.Statement).(map[string]any)
	}
	return s
}

func cloneJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = cloneJSON(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = cloneJSON(value)
		}
		return out
	}
	return v
}
