package policytest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/strictyaml"
	"github.com/mlseal/mlseal/policies"
)

// ErrSuite is wrapped by every error about a suite.
var ErrSuite = errors.New("invalid policy test")

// MaxCases is the number of cases that a suite may have.
const MaxCases = 10_000

// Suite is a parsed test file.
type Suite struct {
	Policy   string // file names as the suite writes them
	Fixtures string
	Now      time.Time
	Cases    []Case
	// Coverage is what has to be covered, in hundredths by kind; it is nil when the suite does not say.
	Coverage map[PartKind]int
	Mutants  *Mutants
	name     string
}

// Mutants says what the built-in mutants must come to.
type Mutants struct {
	Survivors int      // that are accepted
	Unneeded  []string // statements that no requirement needs
	Timeless  []string // statements and requirements whose age does not matter
	line      int
}

// Case is one question to the policy.
type Case struct {
	Name    string
	Line    int
	Mutate  []Mutation
	Expect  Expectation
	Now     time.Time // zero: the suite's
	Params  map[string]string
	Subject *policies.Subject // what differs from the fixture's; nil for nothing
}

// Expectation is what a case should come to.
type Expectation struct {
	// Kind is pass, deny, warn or waive.
	Kind string
	// ID of the requirement that fails, or of the waiver; empty for pass.
	ID   string
	Code policies.Code
}

// String is the expectation as a suite writes it.
func (e Expectation) String() string {
	switch {
	case e.Kind == "pass":
		return "pass"
	case e.Code != "":
		return e.Kind + " " + e.ID + " " + string(e.Code)
	}
	return e.Kind + " " + e.ID
}

// LoadOptions is what Load needs from outside the document.
type LoadOptions struct {
	// Name is the suite's file name, for messages.
	Name string
	// ReadFile reads a statement that a mutation adds, by the name that the suite writes.
	ReadFile func(name string) ([]byte, error)
}

type loader struct {
	*strictyaml.Reader
	opts  LoadOptions
	err   error
	cause error
}

// Load reads a suite. Every error wraps ErrSuite and has the place.
func Load(data []byte, opts LoadOptions) (*Suite, error) {
	l := &loader{opts: opts}
	l.Reader = &strictyaml.Reader{What: "policy test", Fail: func(line, column int, message string) {
		l.err = fmt.Errorf("%s:%d:%d: %w: %s", opts.Name, line, column, ErrSuite, message)
		if l.cause != nil {
			l.err = fmt.Errorf("%w: %w", l.err, l.cause)
		}
	}}
	s := &Suite{name: opts.Name}
	if root := l.Parse(data); !l.Failed() {
		l.document(root, s)
	}
	if l.err != nil {
		return nil, l.err
	}
	return s, nil
}

func (l *loader) document(root *strictyaml.Node, s *Suite) {
	f := l.Mapping(root, "the policy test", "policy", "now", "fixtures", "cases", "coverage", "mutants")
	s.Policy = l.Str(l.Need(f, "policy"), "policy")
	s.Now = l.Instant(l.Need(f, "now"), "now")
	s.Fixtures = l.Str(l.Need(f, "fixtures"), "fixtures")
	nodes := l.List(l.Need(f, "cases"), "cases")
	if len(nodes) > MaxCases {
		l.Failf(f.At["cases"], "%d cases; at most %d are read", len(nodes), MaxCases)
	}
	names := map[string]int{}
	for _, n := range nodes {
		if l.Failed() {
			return
		}
		c := l.testCase(n)
		if line, ok := names[c.Name]; ok {
			l.Failf(n, "a case of the name %q stands in line %d already", c.Name, line)
		}
		names[c.Name] = n.Line
		s.Cases = append(s.Cases, c)
	}
	l.coverage(f.At["coverage"], s)
	l.mutants(f.At["mutants"], s)
}

func (l *loader) testCase(n *strictyaml.Node) Case {
	f := l.Mapping(n, "a case", "name", "mutate", "expect", "now", "params", "subject")
	c := Case{Name: l.Str(l.Need(f, "name"), "name"), Line: n.Line, Now: l.Instant(f.At["now"], "now")}
	if e := l.Need(f, "expect"); e != nil {
		c.Expect = l.expectation(e)
	}
	for _, m := range l.List(f.At["mutate"], "mutate") {
		if !l.Failed() {
			c.Mutate = append(c.Mutate, l.mutation(m))
		}
	}
	if p := f.At["params"]; p != nil {
		c.Params = l.texts(p, "params")
	}
	if s := f.At["subject"]; s != nil {
		c.Subject = l.subject(s)
	}
	return c
}

// texts reads a mapping of names to strings.
func (l *loader) texts(n *strictyaml.Node, what string) map[string]string {
	out := map[string]string{}
	if n.Kind != strictyaml.MappingNode || len(n.Content) == 0 {
		l.Failf(n, "%s must be a mapping of at least one name to a string, not %s", what, strictyaml.KindOf(n))
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = l.Str(n.Content[i+1], what+"."+n.Content[i].Value)
	}
	return out
}

func (l *loader) subject(n *strictyaml.Node) *policies.Subject {
	f := l.Mapping(n, "subject", "repository", "artifactType", "sha256", "sha512", "dirHash")
	s := &policies.Subject{Repository: l.Str(f.At["repository"], "repository"), ArtifactType: l.Str(f.At["artifactType"], "artifactType")}
	for _, algorithm := range []string{"sha256", "sha512", "dirHash"} {
		if d := f.At[algorithm]; d != nil {
			if s.Digests == nil {
				s.Digests = map[string]string{}
			}
			s.Digests[algorithm] = l.Str(d, algorithm)
		}
	}
	if len(f.At) == 0 {
		l.Failf(n, "subject is empty")
	}
	return s
}

// expectation reads pass, or a mapping of one of deny, warn and waive.
func (l *loader) expectation(n *strictyaml.Node) Expectation {
	if n.Kind == strictyaml.ScalarNode {
		if l.Str(n, "expect") != "pass" {
			l.Failf(n, "expect is %s; it is pass, or a mapping with deny, warn or waive", strictyaml.KindOf(n))
		}
		return Expectation{Kind: "pass"}
	}
	f := l.Mapping(n, "expect", "deny", "warn", "waive", "code")
	e := Expectation{Code: policies.Code(l.Str(f.At["code"], "code"))}
	for _, kind := range []string{"deny", "warn", "waive"} {
		if id := f.At[kind]; id != nil {
			if e.Kind != "" {
				l.Failf(id, "expect has %s and %s; it needs one of them", e.Kind, kind)
			}
			e.Kind, e.ID = kind, l.Str(id, kind)
		}
	}
	switch {
	case e.Kind == "":
		l.Failf(n, "expect needs one of deny, warn and waive")
	case e.Kind == "waive" && e.Code != "":
		l.Failf(f.At["code"], "what is waived has no code")
	case e.Code != "" && !policies.IsCode(e.Code):
		l.Failf(f.At["code"], "there is no code %q%s", e.Code, strictyaml.Suggest(string(e.Code), policies.Codes()))
	}
	return e
}

var percentText = lazyregexp.New(`^(\d{1,3})%$`)

func (l *loader) coverage(n *strictyaml.Node, s *Suite) {
	if n == nil || l.Failed() {
		return
	}
	f := l.Mapping(n, "coverage", string(Requirements), string(Conditions), string(Checks))
	if len(f.At) == 0 {
		l.Failf(n, "coverage is empty")
	}
	s.Coverage = map[PartKind]int{}
	for name, v := range f.At {
		m := percentText.FindStringSubmatch(v.Value)
		if m == nil {
			l.Failf(v, "coverage.%s must be a percentage such as 100%%", name)
			return
		}
		percent, _ := strconv.Atoi(m[1])
		if percent > 100 || percent == 0 {
			l.Failf(v, "coverage.%s is %d%%; it is between 1%% and 100%%", name, percent)
		}
		s.Coverage[PartKind(name)] = percent
	}
}

func (l *loader) mutants(n *strictyaml.Node, s *Suite) {
	if n == nil || l.Failed() {
		return
	}
	f := l.Mapping(n, "mutants", "builtin", "survivors", "unneeded", "timeless")
	m := &Mutants{line: n.Line}
	if b := l.Need(f, "builtin"); b != nil {
		l.Yes(b, "mutants.builtin")
	}
	if v := f.At["survivors"]; v != nil {
		m.Survivors = l.Integer(v, "mutants.survivors", 0)
	}
	m.Unneeded = l.Names(f.At["unneeded"], "mutants.unneeded")
	m.Timeless = l.Names(f.At["timeless"], "mutants.timeless")
	s.Mutants = m
}

// file reads a statement that a mutation names.
func (l *loader) file(n *strictyaml.Node, what string) *Statement {
	name := l.Str(n, what)
	if l.Failed() {
		return nil
	}
	data, err := l.opts.ReadFile(name)
	if err != nil {
		l.cause = err
		l.Failf(n, "%s: cannot be read", what)
		return nil
	}
	s, err := ParseStatement(name, data)
	if err != nil {
		l.cause = err
		l.Failf(n, "%s: no statement of a fixture", what)
		return nil
	}
	return &s
}

// oneOf returns the only key of a mutation that is a verb.
func oneOf(f strictyaml.Fields, verbs []string) (string, bool) {
	var found []string
	for key := range f.At {
		if slices.Contains(verbs, key) {
			found = append(found, key)
		}
	}
	return strings.Join(found, " and "), len(found) == 1
}
