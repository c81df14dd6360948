package policytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/policies"
)

// Result is how a suite ended. The zero value has not passed.
type Result struct {
	Suite  string             `json:"suite"`
	Policy policies.PolicyRef `json:"policy"`
	Cases  []CaseResult       `json:"cases"`
	// Coverage is what the cases have seen failing; Mutants what the policy did not notice, nil when they were not made.
	Coverage *Coverage `json:"coverage,omitempty"`
	Mutants  *Survey   `json:"mutants,omitempty"`
}

// CaseResult is how a case ended.
type CaseResult struct {
	Name   string   `json:"name"`
	Line   int      `json:"line"`
	Passed bool     `json:"passed"`
	Expect string   `json:"expect"`
	Got    string   `json:"got"`              // the same for what was decided
	Detail string   `json:"detail,omitempty"` // of the requirement that the case is about
	Others []string `json:"others,omitempty"` // what failed besides
	// Decision is the policy's.
	Decision *policies.Decision `json:"-"`

	missed []string // parts that were not met
	about  string   // the requirement that the case sees failing
}

// Options say what is done besides the cases. What the suite itself asks for is done always.
type Options struct {
	Coverage bool
	Mutate   bool
}

// Passed reports whether everything is as the suite wants it.
func (r *Result) Passed() bool {
	if r == nil || len(r.Cases) == 0 || slices.ContainsFunc(r.Cases, func(c CaseResult) bool { return !c.Passed }) {
		return false
	}
	return (r.Coverage == nil || r.Coverage.Enough()) && (r.Mutants == nil || r.Mutants.Passed())
}

// runner asks one policy about one fixture.
type runner struct {
	suite   *Suite
	policy  *policies.Policy
	outline policies.Outline
	fixture *Fixture
	known   map[string]bool // identities of the policy
	groups  map[string]bool
	base    *policies.Decision
	counted map[string][]string // statements by the requirement for which they count in the fixture as it is
}

// Run asks the policy all cases. An error wraps ErrSuite: a case that cannot be asked is a mistake in the suite.
func Run(policy *policies.Policy, suite *Suite, fixture *Fixture, opts Options) (*Result, error) {
	if len(suite.Cases) == 0 {
		return nil, fmt.Errorf("%w: no cases", ErrSuite)
	}
	r := newRunner(policy, suite, fixture)
	result := &Result{Suite: suite.name, Policy: policy.Ref()}
	for _, c := range suite.Cases {
		one, err := r.run(c)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w: case %q: %w", suite.name, c.Line, ErrSuite, c.Name, err)
		}
		result.Cases = append(result.Cases, one)
	}
	if opts.Coverage || suite.Coverage != nil {
		result.Coverage = r.coverage(result.Cases)
	}
	if opts.Mutate || suite.Mutants != nil {
		survey, err := r.survey()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: mutants: %w", suite.name, ErrSuite, err)
		}
		result.Mutants = survey
	}
	return result, nil
}

func newRunner(policy *policies.Policy, suite *Suite, fixture *Fixture) *runner {
	r := &runner{suite: suite, policy: policy, outline: policy.Outline(), fixture: fixture, known: map[string]bool{}, groups: map[string]bool{}, counted: map[string][]string{}}
	for _, s := range r.outline.Signers {
		r.known[s.Name], r.groups[s.Name] = s.Kind != "group", s.Kind == "group"
	}
	r.base, _ = r.ask(fixture.Statements)
	byID := map[string]string{}
	for _, s := range fixture.Statements {
		byID[s.ID] = s.Name
	}
	for _, req := range r.base.Requirements {
		for _, seen := range req.Counted {
			r.counted[req.ID] = append(r.counted[req.ID], byID[seen.ID])
		}
	}
	return r
}

// Decide asks a policy about the fixture. now is the clock.
func (f *Fixture) Decide(policy *policies.Policy, now time.Time) *policies.Decision {
	known := map[string]bool{}
	for _, s := range policy.Signers() {
		known[s.Name] = true
	}
	var evidence []policies.Evidence
	for _, s := range f.Statements {
		evidence = append(evidence, s.evidence(known))
	}
	return policy.Evaluate(f.Subject, evidence, now)
}

// ask asks about the fixture's artifact at the suite's time.
func (r *runner) ask(statements []Statement) (*policies.Decision, []string) {
	return r.policy.Trace(r.fixture.Subject, r.evidence(statements), r.suite.Now)
}

func (r *runner) evidence(statements []Statement) []policies.Evidence {
	var out []policies.Evidence
	for _, s := range statements {
		out = append(out, s.evidence(r.known))
	}
	return out
}

func (r *runner) run(c Case) (CaseResult, error) {
	out := CaseResult{Name: c.Name, Line: c.Line, Expect: c.Expect.String()}
	if err := r.answerable(c.Expect); err != nil {
		return out, err
	}
	statements, err := r.mutated(c.Mutate)
	if err != nil {
		return out, err
	}
	policy := r.policy
	if len(c.Params) > 0 {
		if policy, err = policy.WithParams(c.Params); err != nil {
			return out, err
		}
	}
	now := r.suite.Now
	if !c.Now.IsZero() {
		now = c.Now
	}
	out.Decision, out.missed = policy.Trace(r.subject(c), r.evidence(statements), now)
	out.judge(c.Expect)
	return out, nil
}

// subject is the fixture's artifact with what the case changes.
func (r *runner) subject(c Case) policies.Subject {
	s := r.fixture.Subject
	if c.Subject == nil {
		return s
	}
	if c.Subject.Repository != "" {
		s.Repository = c.Subject.Repository
	}
	if c.Subject.ArtifactType != "" {
		s.ArtifactType = c.Subject.ArtifactType
	}
	s.Digests = maps.Clone(s.Digests)
	maps.Copy(s.Digests, c.Subject.Digests)
	return s
}

// answerable refuses an expectation that no decision of the policy could meet, for a misspelt id.
func (r *runner) answerable(e Expectation) error {
	ids := []string{"digests.deny", "evidence", "match", "policy", "revocations", "lineage.order"}
	for _, req := range r.outline.Requirements {
		ids = append(ids, req.ID)
	}
	for _, g := range r.outline.Edges {
		ids = append(ids, "lineage:"+g.ID)
	}
	for _, m := range r.outline.Rego {
		ids = append(ids, "rego:"+m.Package)
	}
	if (e.Kind == "deny" || e.Kind == "warn") && !slices.Contains(ids, e.ID) {
		return fmt.Errorf("the policy has no requirement %q; it has %s", e.ID, strings.Join(ids[6:], ", "))
	}
	return nil
}

// judge compares the decision with what was expected.
func (c *CaseResult) judge(e Expectation) {
	d := c.Decision
	allowed := d.Verdict == policies.Allow
	var about *policies.Requirement
	for i, req := range d.Requirements {
		switch {
		case e.Kind == "waive" && req.Waiver == e.ID, e.Kind != "waive" && req.ID == e.ID && !req.Passed:
			about = &d.Requirements[i]
		case !req.Passed:
			c.Others = append(c.Others, strings.TrimSpace(req.ID+" "+string(req.Code)))
		}
	}
	c.Got = describe(d)
	if about != nil {
		c.Detail, c.about = about.Detail, about.ID
	}
	switch e.Kind {
	case "pass":
		c.Passed = allowed
	case "deny":
		c.Passed = !allowed && about != nil && about.Denies() && (e.Code == "" || about.Code == e.Code)
	case "warn":
		c.Passed = allowed && about != nil && (e.Code == "" || about.Code == e.Code)
	case "waive":
		c.Passed = allowed && about != nil
	}
}

// describe is a decision in the words of an expectation.
func describe(d *policies.Decision) string {
	var words []string
	for _, req := range d.Requirements {
		switch {
		case req.Denies():
			words = append(words, "deny "+req.ID+" "+string(req.Code))
		case !req.Passed:
			words = append(words, "warn "+req.ID+" "+string(req.Code))
		case req.Waiver != "":
			words = append(words, "waive "+req.Waiver)
		}
	}
	if d.Verdict == policies.Allow {
		words = append([]string{"pass"}, words...)
	}
	return strings.Join(words, ", ")
}

// mutated applies mutations to the fixture, one after the other.
func (r *runner) mutated(mutations []Mutation) ([]Statement, error) {
	statements := slices.Clone(r.fixture.Statements)
	for _, m := range mutations {
		var err error
		if statements, err = r.mutate(statements, m); err != nil {
			return nil, fmt.Errorf("%s (line %d): %w", m, m.Line, err)
		}
	}
	return statements, nil
}

func (r *runner) mutate(statements []Statement, m Mutation) ([]Statement, error) {
	for _, name := range m.as {
		if r.groups[name] {
			return nil, fmt.Errorf("%s is a group; its members sign", name)
		}
	}
	if m.Verb == "add" {
		return adding(statements, *m.file)
	}
	names, err := r.named(statements, m.Ref)
	if err != nil {
		return nil, err
	}
	if m.Verb == "replace" && len(names) != 1 {
		return nil, fmt.Errorf("%s means %d statements (%s); replace one", m.Ref, len(names), strings.Join(names, ", "))
	}
	var out []Statement
	for _, s := range statements {
		if !slices.Contains(names, s.Name) {
			out = append(out, s)
			continue
		}
		switch m.Verb {
		case "drop", "replace":
			continue
		case "duplicate":
			out = append(out, s)
		}
		changed, err := m.apply(s)
		if err != nil {
			return nil, err
		}
		if out, err = adding(out, changed); err != nil {
			return nil, err
		}
	}
	if m.Verb == "replace" {
		return adding(out, *m.file)
	}
	return out, nil
}

// adding refuses a statement that a decision would take for another one.
func adding(statements []Statement, s Statement) ([]Statement, error) {
	if slices.ContainsFunc(statements, func(o Statement) bool { return o.Name == s.Name || o.ID == s.ID }) {
		return nil, fmt.Errorf("there is a statement %s, or one of its id %s, already", s.Name, s.ID)
	}
	return append(statements, s), nil
}

// named finds the statements that a name means: one of that name, or those that counted for a requirement.
func (r *runner) named(statements []Statement, ref string) ([]string, error) {
	present := func(name string) bool {
		return slices.ContainsFunc(statements, func(s Statement) bool { return s.Name == ref || s.Name == name })
	}
	isStatement := slices.ContainsFunc(statements, func(s Statement) bool { return s.Name == ref })
	counted, isRequirement := r.counted[ref]
	switch {
	case isStatement && isRequirement && !slices.Equal(counted, []string{ref}):
		return nil, fmt.Errorf("%s is a statement and a requirement, for which %s count; rename one of them", ref, strings.Join(counted, ", "))
	case isStatement:
		return []string{ref}, nil
	case isRequirement && !slices.ContainsFunc(counted, func(name string) bool { return !present(name) }):
		return counted, nil
	case isRequirement:
		return nil, fmt.Errorf("the statements of %s (%s) are not all there any more", ref, strings.Join(counted, ", "))
	}
	return nil, fmt.Errorf("there is no statement %q, and none that counts for a requirement of that id", ref)
}

// longestAge is how far any rule looks back.
func (r *runner) longestAge() time.Duration {
	var longest time.Duration
	for _, rule := range r.rules() {
		longest = max(longest, rule.MaxAge)
	}
	return longest
}

// rules are the requirements and the entries of edges.
func (r *runner) rules() []policies.RuleOutline {
	out := slices.Clone(r.outline.Requirements)
	for _, g := range r.outline.Edges {
		out = append(append(out, g.Accept...), g.Each...)
	}
	return out
}
