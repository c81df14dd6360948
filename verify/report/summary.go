package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// outcome is how a check ended. The zero value is that nothing was checked. Each format has one switch over it.
type outcome int

const (
	skipped outcome = iota
	passed
	failed
	waived // it would have failed, and a waiver lets it pass
	warned // it failed, and does not deny
)

// check is a requirement of a gate or a check of a tree, as the formats for programs show it.
type check struct {
	id      string
	outcome outcome
	code    string // why it failed: a policies.Code, or FAILED for a check of a tree
	level   policies.Severity
	detail  string   // what was found; of a skipped check, why it was not done
	message string   // the policy author's words
	fix     string   // what to do
	waiver  string   // the id of the waiver
	lines   []string // what was seen, escaped, a line each
}

// text is the check's outcome in words.
func (c check) text() string {
	switch c.outcome {
	case failed:
		return c.code + ": " + c.detail
	case warned:
		return string(c.level) + ": " + c.code + ": " + c.detail
	case skipped:
		return "not done: " + c.detail
	}
	return c.detail
}

// summary is what all formats for programs and for CI are made of. The texts in it are as they were found: each format
// escapes them in its own way.
type summary struct {
	kind    string // "gate" or "tree"
	scope   string // what the checks belong to: the policy's name, or the kind of signature
	verdict string
	good    bool
	name    string // of the artifact
	facts   []fact // what the verdict is about
	time    time.Time
	checks  []check
	params  []string // the parameters that were given other values, a line each
	notes   []string
	ignored []string // the statements that no check has shown, escaped, a line each
}

// fact is one thing about the whole.
type fact struct{ name, value string }

// codeFailed is the code of a check that has none of its own.
const codeFailed = "FAILED"

// closed makes sure that a verdict which is a no shows in the checks: programs count failures, and must not find none.
func (s summary) closed() summary {
	if s.good || s.count(failed) > 0 {
		return s
	}
	s.checks = append(s.checks, check{id: "verdict", outcome: failed, code: codeFailed, detail: "nothing was found to be as it must be"})
	return s
}

func (s summary) count(o outcome) int {
	n := 0
	for _, c := range s.checks {
		if c.outcome == o {
			n++
		}
	}
	return n
}

func (g Gate) summary() summary {
	d := g.Decision
	s := summary{kind: "gate", scope: d.Policy.Name, verdict: g.verdict(), good: d.Err() == nil, name: d.Subject.Name, time: d.Time, params: overrides(d), notes: d.Notes}
	if g.audits() {
		s.verdict += audited
		s.notes = append([]string{noteAudit}, s.notes...)
	}
	for _, alg := range []string{"sha256", "dirHash"} {
		if value, ok := d.Subject.Digests[alg]; ok {
			s.facts = append(s.facts, fact{alg, value})
		}
	}
	for _, f := range []fact{{"type", d.Subject.ArtifactType}, {"repository", d.Subject.Repository}} {
		if f.value != "" {
			s.facts = append(s.facts, f)
		}
	}
	policy := d.Policy.Name
	if d.Policy.Version > 0 {
		policy += fmt.Sprintf(" v%d", d.Policy.Version)
	}
	s.facts = append(s.facts, fact{"policy", policy}, fact{"policy digest", d.Policy.Digest})
	for _, r := range d.Requirements {
		s.checks = append(s.checks, requirementCheck(r))
	}
	for _, n := range d.Skipped {
		s.checks = append(s.checks, check{id: n.Check, detail: n.Reason})
	}
	unshown := g.unshown()
	for i, seen := range unshown {
		if i == maxListed {
			s.ignored = append(s.ignored, fmt.Sprintf("… and %d more; the JSON report has them all", len(unshown)-i))
			break
		}
		s.ignored = append(s.ignored, seenLine(seen))
	}
	return s.closed()
}

func requirementCheck(r policies.Requirement) check {
	c := check{id: r.ID, outcome: passed, detail: r.Detail, level: r.Severity}
	switch {
	case r.Passed && r.Waiver == "":
		return c
	case r.Passed:
		c.outcome, c.waiver = waived, r.Waiver
		return c
	case r.Denies():
		c.outcome = failed
	default:
		c.outcome = warned
	}
	c.code, c.message, c.fix = string(r.Code), r.Message, nextStep(r)
	if c.code == "" {
		c.code = codeFailed
	}
	for _, v := range r.Values {
		c.lines = append(c.lines, "condition "+escape.Line(v))
	}
	for i, s := range r.NearMisses {
		if i == maxNamed {
			c.lines = append(c.lines, fmt.Sprintf("… and %d more", len(r.NearMisses)-i))
			break
		}
		c.lines = append(c.lines, "seen "+seenLine(s))
	}
	return c
}

func (t Tree) summary() summary {
	r := t.Result
	s := summary{kind: "tree", scope: "signature", verdict: "FAILED", good: t.passed(), name: t.Path}
	if s.good {
		s.verdict = "VERIFIED"
	}
	for _, f := range []fact{{"format", r.Format}, {"dirHash", r.DirHash}, {"signer", r.Signer}, {"issuer", r.Issuer}} {
		if f.value != "" {
			s.facts = append(s.facts, f)
		}
	}
	for _, c := range r.Checks {
		s.checks = append(s.checks, t.check(c))
	}
	for _, n := range t.skipped() {
		if n.Check == checkLeftOut {
			s.checks = append(s.checks, check{id: n.Check, detail: n.Reason})
		}
	}
	return s.closed()
}

func (t Tree) check(c verify.Check) check {
	out := check{id: c.Name, detail: c.Detail}
	switch c.Status {
	case verify.Passed:
		out.outcome = passed
	case verify.Failed:
		out.outcome, out.code = failed, codeFailed
		if c.Name == "files" {
			out.lines = t.differences()
		}
	}
	return out
}

// checkLeftOut is the check that paths were left out of.
const checkLeftOut = "left out"

// skipped lists the checks that were not done, and the paths whose contents were not looked at.
func (t Tree) skipped() []policies.Skipped {
	out := []policies.Skipped{}
	for _, c := range t.Result.Checks {
		if c.Status == verify.NotDone {
			out = append(out, policies.Skipped{Check: c.Name, Reason: c.Detail})
		}
	}
	for _, l := range []struct {
		why   string
		paths []string
	}{{"no part of a tree", t.Result.LeftOut}, {"by the signer's choice", t.Result.Ignored}, {"by the verifier's choice", t.Result.IgnoredHere}} {
		for i, path := range l.paths {
			if i == maxNamed {
				out = append(out, policies.Skipped{Check: checkLeftOut, Reason: fmt.Sprintf("… and %d more, %s", len(l.paths)-i, l.why)})
				break
			}
			out = append(out, policies.Skipped{Check: checkLeftOut, Reason: path + ", " + l.why})
		}
	}
	return out
}

// report is a check with all that belongs to it, escaped, a line each: what was found, the policy author's words, what was
// seen, and what to do.
func (c check) report() []string {
	lines := []string{escape.Line(c.text())}
	if c.message != "" {
		lines = append(lines, escape.Line(c.message))
	}
	lines = append(lines, c.lines...)
	if (c.outcome == failed || c.outcome == warned) && c.fix != "" {
		lines = append(lines, escape.Line("fix: "+c.fix))
	}
	return lines
}

// nameText is a text for a place that holds names: one line, without blanks around it, and not empty.
func nameText(s string) string {
	if s = strings.TrimSpace(escape.Line(s)); s == "" {
		return "-"
	}
	return s
}
