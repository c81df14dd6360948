package policytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/policies"
)

// stranger signs in the name of nobody: no policy can have a signer of this name.
const stranger = "(a stranger)"

// Survey is what the built-in mutants came to.
type Survey struct {
	Mutants   int        `json:"mutants"`
	Survivors []Survivor `json:"survivors"`
	Accepted  int        `json:"accepted"` // survivors that the suite lets live
	// Notes are no survivors, and worth knowing.
	Notes []string `json:"notes,omitempty"`
}

// Survivor is a change of the evidence that the policy did not notice.
type Survivor struct {
	Statement string `json:"statement"`
	Mutant    string `json:"mutant"`
	Detail    string `json:"detail"`
}

// Passed reports whether no more mutants survived than the suite accepts. A survey of nothing has not passed.
func (s *Survey) Passed() bool { return s.Mutants > 0 && len(s.Survivors) <= s.Accepted }

// ageless are the types of statements that state what once was done, or what something is: they stay true.
var ageless = []string{
	"https://slsa.dev/provenance/v1", "https://sigstore.dev/cosign/sign/v1", "https://model_signing/signature/v1.0",
	"https://mlseal.dev/attestation/dataset/v0.1",
}

// surveyor makes the mutants of a fixture.
type surveyor struct {
	*runner
	*Survey
	settings Mutants
}

// survey changes one statement after the other. The fixture must pass as it is: otherwise every mutant would be noticed.
func (r *runner) survey() (*Survey, error) {
	s := surveyor{runner: r, Survey: &Survey{Survivors: []Survivor{}}}
	if r.suite.Mutants != nil {
		s.settings = *r.suite.Mutants
	}
	s.Accepted = s.settings.Survivors
	if r.base.Verdict != policies.Allow {
		return nil, fmt.Errorf("the fixture does not pass as it is: %s", describe(r.base))
	}
	if len(r.fixture.Statements) == 0 {
		return nil, fmt.Errorf("the fixture has no statements")
	}
	for _, name := range s.settings.Unneeded {
		if _, err := r.named(r.fixture.Statements, name); err != nil {
			return nil, fmt.Errorf("unneeded: %w", err)
		}
	}
	timeless, err := s.timeless()
	if err != nil {
		return nil, err
	}
	for _, st := range r.fixture.Statements {
		if s.needed(st) {
			s.changes(st, slices.Contains(timeless, st.Name))
		}
	}
	return s.Survey, nil
}

// timeless are the names of the statements that the suite says do not age.
func (s surveyor) timeless() ([]string, error) {
	var out []string
	for _, ref := range s.settings.Timeless {
		names, err := s.named(s.fixture.Statements, ref)
		if err != nil {
			return nil, fmt.Errorf("timeless: %w", err)
		}
		out = append(out, names...)
	}
	return out, nil
}

// needed makes the mutant without the statement.
func (s surveyor) needed(st Statement) bool {
	without := slices.DeleteFunc(slices.Clone(s.fixture.Statements), func(o Statement) bool { return o.Name == st.Name })
	s.Mutants++
	listed := s.listed(st.Name)
	noticed := s.noticed(without)
	switch {
	case noticed && listed:
		s.Survivors = append(s.Survivors, Survivor{st.Name, "drop", "it is listed under unneeded, and a requirement needs it: take it off the list"})
	case !noticed && !listed:
		s.Survivors = append(s.Survivors, Survivor{st.Name, "drop", "no requirement needs it: require it, take it out of the fixture, or list it under mutants.unneeded"})
	case !noticed:
		s.Notes = append(s.Notes, st.Name+" is not needed by any requirement, as the suite says")
	}
	return noticed
}

func (s surveyor) listed(name string) bool {
	return slices.ContainsFunc(s.settings.Unneeded, func(ref string) bool {
		names, _ := s.named(s.fixture.Statements, ref)
		return slices.Contains(names, name)
	})
}

// noticed reports whether the policy decides otherwise than about the fixture: it denies, or something fails that passed.
func (s surveyor) noticed(statements []Statement) bool {
	d, _ := s.ask(statements)
	if d.Verdict != policies.Allow {
		return true
	}
	for _, was := range s.base.Requirements {
		if is := find(d, was.ID); was.Passed && (is == nil || !is.Passed || is.Waiver != was.Waiver) {
			return true
		}
	}
	return false
}

func find(d *policies.Decision, id string) *policies.Requirement {
	for i := range d.Requirements {
		if d.Requirements[i].ID == id {
			return &d.Requirements[i]
		}
	}
	return nil
}

// changes makes all other mutants of a statement.
func (s surveyor) changes(st Statement, timeless bool) {
	s.duplicate(st)
	s.standIns(st)
	s.try(st, "re-sign as a stranger", "whoever signs it, it counts", func(c *Statement) { c.signAs([]string{stranger}) })
	for _, name := range s.outsiders(st) {
		s.try(st, "re-sign as "+name, "no rule names this signer for the type, and it counts", func(c *Statement) { c.signAs([]string{name}) })
	}
	s.try(st, "re-subject", "it counts though it is about something else", func(c *Statement) { c.about("") })
	s.try(st, "retype", "it counts though it is of another type", func(c *Statement) { c.PredicateType += "-other" })
	if timeless || slices.Contains(ageless, st.PredicateType) && !s.dated(st) {
		return
	}
	old := max(10*365*24*time.Hour, s.longestAge()+24*time.Hour)
	s.try(st, "replay", "it counts though it is "+days(old)+" old: give the requirement a maxAge, or list it under mutants.timeless", func(c *Statement) { s.date(c, -old) })
	s.try(st, "future-date", "it counts though it is dated a year ahead: give the requirement a maxAge, or list it under mutants.timeless",
		func(c *Statement) { s.date(c, 365*24*time.Hour) })
}

func days(d time.Duration) string { return fmt.Sprintf("%d days", d/(24*time.Hour)) }

func (s surveyor) date(c *Statement, from time.Duration) {
	c.Time = s.suite.Now.Add(from)
	if c.TimeSource == "" {
		c.TimeSource = "claimed"
	}
}

// try changes one statement and notes when nobody notices.
func (s surveyor) try(st Statement, mutant, detail string, change func(*Statement)) {
	s.Mutants++
	statements := slices.Clone(s.fixture.Statements)
	i := slices.IndexFunc(statements, func(o Statement) bool { return o.Name == st.Name })
	statements[i] = st.clone()
	change(&statements[i])
	if !s.noticed(statements) {
		s.Survivors = append(s.Survivors, Survivor{st.Name, mutant, detail})
	}
}

// duplicate says where a signer may not say the same twice.
func (s surveyor) duplicate(st Statement) {
	s.Mutants++
	again := st.clone()
	again.Name, again.ID = st.Name+"-again", st.ID+"-again"
	d, _ := s.ask(append(slices.Clone(s.fixture.Statements), again))
	if d.Verdict != policies.Allow {
		s.Notes = append(s.Notes, fmt.Sprintf("%s twice is denied: %s", st.Name, describe(d)))
	}
}

// standIns puts the statement in the place of each other one that counts beside it.
func (s surveyor) standIns(st Statement) {
	for _, other := range s.fixture.Statements {
		if other.Name == st.Name || other.PredicateType != st.PredicateType || !s.together(st.Name, other.Name) || !s.replaced(other, nil) {
			continue
		}
		s.Mutants++
		again := st.clone()
		again.Name, again.ID = other.Name, other.ID
		if !s.replaced(other, &again) {
			s.Survivors = append(s.Survivors, Survivor{other.Name, "stand-in", "one signer counts for two: " + st.Name + " again does as well"})
		}
	}
}

// replaced reports whether the policy notices that a statement is gone, with another in its place or none.
func (s surveyor) replaced(st Statement, by *Statement) bool {
	var out []Statement
	for _, o := range s.fixture.Statements {
		switch {
		case o.Name != st.Name:
			out = append(out, o)
		case by != nil:
			out = append(out, *by)
		}
	}
	return s.noticed(out)
}

// together reports whether two statements count for one requirement.
func (s surveyor) together(a, b string) bool {
	for _, names := range s.counted {
		if slices.Contains(names, a) && slices.Contains(names, b) {
			return true
		}
	}
	return false
}

// outsiders are the signers of the policy whom no rule names for the statement's type.
func (s surveyor) outsiders(st Statement) []string {
	var out []string
	for _, signer := range s.outline.Signers {
		named := slices.ContainsFunc(s.rulesFor(st), func(r policies.RuleOutline) bool { return slices.Contains(r.Signers, signer.Name) })
		if signer.Kind != "group" && !named && !s.elsewhere(st, signer.Name) {
			out = append(out, signer.Name)
		}
	}
	return out
}

// elsewhere reports whether a signer may make statements of what is no rule: waivers and revocations.
func (s surveyor) elsewhere(st Statement, name string) bool {
	o := s.outline
	switch {
	case strings.HasSuffix(st.PredicateType, "/waiver/v0.1"):
		return slices.ContainsFunc(o.WaiversBy, func(by string) bool { return by == name || slices.Contains(s.membersOf(by), name) })
	case strings.HasSuffix(st.PredicateType, "/revocation/v0.1"):
		return !o.Revocable || slices.Contains(o.Revokers, name)
	}
	return false
}

func (s surveyor) membersOf(group string) []string {
	for _, signer := range s.outline.Signers {
		if signer.Name == group {
			return signer.Members
		}
	}
	return nil
}

func (s surveyor) rulesFor(st Statement) []policies.RuleOutline {
	return slices.DeleteFunc(s.rules(), func(r policies.RuleOutline) bool { return !slices.Contains(r.Types, st.PredicateType) })
}

// dated reports whether a rule looks at when such a statement was made.
func (s surveyor) dated(st Statement) bool {
	return slices.ContainsFunc(s.rulesFor(st), func(r policies.RuleOutline) bool {
		return r.MaxAge > 0 && slices.Contains(s.counted[r.ID], st.Name)
	})
}
