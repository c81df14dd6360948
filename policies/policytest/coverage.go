package policytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/policies"
)

// PartKind is a kind of parts of a policy.
type PartKind string

// The kinds of parts.
const (
	Requirements PartKind = "requirements" // and edges of the lineage
	Conditions   PartKind = "conditions"   // where
	Checks       PartKind = "checks"       // everything else that can say no
)

var partKinds = []PartKind{Requirements, Conditions, Checks}

// Coverage is what the cases have seen saying no.
type Coverage struct {
	Parts  []Part           `json:"parts"`
	Wanted map[PartKind]int `json:"wanted"` // in hundredths
}

// Part is something in a policy that can say no.
type Part struct {
	Name  string   `json:"name"`
	Kind  PartKind `json:"kind"`
	What  string   `json:"what,omitempty"` // for people: the condition
	Line  int      `json:"line,omitempty"` // in the policy
	Cases []string `json:"cases,omitempty"`

	owner string // the requirement that fails with it
}

// Count gives the parts of a kind that are covered, and all of them.
func (c *Coverage) Count(kind PartKind) (covered, all int) {
	for _, p := range c.Parts {
		if p.Kind == kind {
			all++
			if len(p.Cases) > 0 {
				covered++
			}
		}
	}
	return covered, all
}

// EnoughOf reports whether as many parts of the kind are covered as is wanted.
func (c *Coverage) EnoughOf(kind PartKind) bool {
	covered, all := c.Count(kind)
	return covered*100 >= c.Wanted[kind]*all
}

// Enough reports whether all kinds are covered as is wanted.
func (c *Coverage) Enough() bool {
	return !slices.ContainsFunc(partKinds, func(k PartKind) bool { return !c.EnoughOf(k) })
}

// Missing are the parts that no case has seen saying no.
func (c *Coverage) Missing(kind PartKind) []Part {
	var out []Part
	for _, p := range c.Parts {
		if p.Kind == kind && len(p.Cases) == 0 {
			out = append(out, p)
		}
	}
	return out
}

// coverage goes by the cases that hold and expect something to fail. What fails on the side is not covered: nobody looked at it.
func (r *runner) coverage(cases []CaseResult) *Coverage {
	c := &Coverage{Parts: parts(r.outline), Wanted: r.suite.Coverage}
	if c.Wanted == nil {
		c.Wanted = map[PartKind]int{Requirements: 100}
	}
	for i := range c.Parts {
		p := &c.Parts[i]
		for _, one := range cases {
			if one.Passed && one.covers(*p) {
				p.Cases = append(p.Cases, one.Name)
			}
		}
	}
	return c
}

func (c CaseResult) covers(p Part) bool {
	if c.about == "" || c.about != p.owner {
		return false
	}
	if waiver, ok := strings.CutPrefix(p.Name, "waiver:"); ok {
		return slices.ContainsFunc(c.Decision.Requirements, func(req policies.Requirement) bool { return req.Waiver == waiver })
	}
	return slices.Contains(c.missed, p.Name)
}

// parts lists all that can say no in a policy.
func parts(o policies.Outline) []Part {
	var out []Part
	add := func(kind PartKind, owner, name, what string, line int) {
		out = append(out, Part{Name: name, Kind: kind, What: what, Line: line, owner: owner})
	}
	for _, r := range o.Requirements {
		add(Requirements, r.ID, r.Name, r.Label, r.Line)
		out = append(out, ruleParts(r, r.ID)...)
		if len(r.NotBy) > 0 {
			add(Checks, r.ID, r.Name+".notSignedBySameIdentityAs", "", r.Line)
		}
	}
	for _, g := range o.Edges {
		owner := "lineage:" + g.ID
		add(Requirements, owner, owner, "dependencies of role "+g.Role, g.Line)
		if g.Min > 0 || g.Max > 0 {
			add(Checks, owner, owner+".count", "", g.Line)
		}
		for _, r := range g.Accept {
			add(Checks, owner, r.Name, entryName(r), r.Line)
			out = append(out, ruleParts(r, owner)...)
		}
		for _, r := range g.Each {
			add(Checks, owner, r.Name, entryName(r), r.Line)
			out = append(out, ruleParts(r, owner)...)
		}
		if len(g.Denied) > 0 {
			add(Checks, owner, owner+".denyDigests", "", g.Line)
		}
		if g.DisjointFrom != "" {
			add(Checks, owner, owner+".disjointFrom", g.DisjointFrom, g.Line)
		}
	}
	for _, whole := range []struct {
		there bool
		name  string
	}{
		{len(o.Denied) > 0, "digests.deny"}, {len(o.Order) > 0, "lineage.order"}, {len(o.Artifacts)+len(o.Repositories) > 0, "match"},
		{!o.Expires.IsZero(), "policy"}, {o.Revocable, "revocations"},
	} {
		if whole.there {
			add(Checks, whole.name, whole.name, "", 0)
		}
	}
	for _, m := range o.Rego {
		add(Checks, "rego:"+m.Package, "rego:"+m.Package, "", 0)
	}
	for _, w := range o.Waivers {
		add(Checks, w.Requirement, "waiver:"+w.ID, "waives "+w.Requirement, 0)
	}
	return out
}

func entryName(r policies.RuleOutline) string {
	if len(r.Pinned) > 0 {
		return "pinned"
	}
	return r.Label
}

func ruleParts(r policies.RuleOutline, owner string) []Part {
	var out []Part
	if len(r.By) > 0 {
		out = append(out, Part{Name: r.Name + ".by", Kind: Checks, Line: r.Line, owner: owner})
	}
	if r.MaxAge > 0 {
		out = append(out, Part{Name: r.Name + ".maxAge", Kind: Checks, Line: r.Line, owner: owner})
	}
	for i, c := range r.Where {
		out = append(out, Part{Name: fmt.Sprintf("%s.where[%d]", r.Name, i), Kind: Conditions, What: c.Text, Line: c.Line, owner: owner})
	}
	return out
}
