package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Outline is all that a policy says, for tools that show, compare or test policies. It decides nothing.
type Outline struct {
	Ref          PolicyRef
	Owner        string
	Expires      time.Time // zero: never
	Statements   []string  // accepted versions of in-toto's Statement
	Algorithms   []string  // accepted digests
	Denied       []string  // digests.deny, sorted
	TrustRoot    string    // sha256 of the trusted root; empty when the policy names none
	Log          string    // trust.transparencyLog; empty when it says nothing
	Timestamps   int       // trust.timestamps.atLeast
	Artifacts    []string  // match.artifactTypes
	Repositories []string  // match.repositories
	Signers      []SignerOutline
	Params       []ParamOutline
	Requirements []RuleOutline
	Edges        []EdgeOutline
	MaxDepth     int
	MaxNodes     int
	Order        []string
	Rego         []RegoOutline
	Waivers      []WaiverOutline
	// WaiversBy may sign waivers for the requirements WaiversFor, which end at most WaiversEnd ahead. They are empty when no waiver
	// counts that is not in the policy.
	WaiversBy, WaiversFor []string
	WaiversEnd            time.Duration
	Verdicts              []VerdictOutline
	// Revocable is set when the policy says who may revoke; Revokers are they.
	Revocable bool
	Revokers  []string
}

// VerdictOutline is an entry of acceptVerdicts.
type VerdictOutline struct {
	By, Policies, Resources, For []string // Policies is empty for the policy itself; Resources for the artifact's own address; For for everything
	Verifier                     string
	MaxAge                       time.Duration
}

// SignerOutline is a signer or a group.
type SignerOutline struct {
	Name     string
	Kind     string   // key, keyless, certificate, group
	Identity []string // keys by their sha256, or the identity in words; empty for a group
	Pattern  string   // of a keyless signer
	Any      bool     // whoever has a certificate of the authority
	Members  []string // of a group
	AtLeast  int
	Line     int
}

// ParamOutline is a parameter.
type ParamOutline struct {
	Name, Type, Value string
	Override          bool
}

// RuleOutline is a requirement, or an entry of accept or requireEach.
type RuleOutline struct {
	// Name is the requirement's id, or the place of the entry: lineage:dataset.requireEach[0].
	Name     string
	ID       string // of an entry it may be empty
	Label    string // the type as the policy writes it
	Types    []string
	By       []string // signers and groups as the policy writes them
	Signers  []string // the identities behind By
	Match    string
	MatchSet bool // the policy writes it
	MaxAge   time.Duration
	Where    []ConditionOutline
	Severity Severity
	NotBy    []string
	Message  string
	Fix      string
	Pinned   []string // of an entry of accept that is a list of digests
	Line     int
}

// ConditionOutline is a `where` expression.
type ConditionOutline struct {
	Text string
	Line int
}

// EdgeOutline is an edge of the lineage. Its requirement is called lineage:ID.
type EdgeOutline struct {
	ID, Role     string
	From         []string
	Min, Max     int
	Accept, Each []RuleOutline
	Denied       []string
	DeniedFrom   string // the parameter that Denied comes from
	DisjointFrom string
	Line         int
}

// RegoOutline is a Rego module: its package, and the sha256 of its text.
type RegoOutline struct{ Package, Digest string }

// WaiverOutline is a waiver in the policy.
type WaiverOutline struct {
	ID, Requirement, Subject, Reason string
	Until                            time.Time
	By                               []string
}

// Outline describes the policy. What it returns shares nothing with the policy.
func (p *Policy) Outline() Outline {
	o := Outline{
		Ref: p.ref, Owner: p.owner, Expires: p.expires, Statements: p.StatementTypes(), Algorithms: slices.Clone(p.algorithms), Denied: p.denied.sorted(),
		Log: string(p.witnesses.log), Timestamps: p.witnesses.timestamps,
		Artifacts: slices.Clone(p.applies.artifactTypes), Repositories: slices.Clone(p.applies.repositories),
		MaxDepth: p.maxDepth, MaxNodes: p.maxNodes, Order: slices.Clone(p.order), Revocable: p.revocable, Revokers: slices.Clone(p.revokers),
	}
	if p.trustRoot != nil {
		o.TrustRoot = fmt.Sprintf("sha256:%x", sha256.Sum256(p.trustRoot))
	}
	for _, name := range slices.Sorted(maps.Keys(p.signers)) {
		o.Signers = append(o.Signers, p.signers[name].outline(name))
	}
	for _, name := range slices.Sorted(maps.Keys(p.params)) {
		v := p.params[name]
		o.Params = append(o.Params, ParamOutline{name, string(v.kind), v.text, v.override})
	}
	for i := range p.require {
		o.Requirements = append(o.Requirements, p.require[i].outline())
	}
	for i := range p.edges {
		o.Edges = append(o.Edges, p.edges[i].outline())
	}
	for _, m := range p.rego {
		o.Rego = append(o.Rego, RegoOutline{m.name, m.digest})
	}
	for _, w := range p.waivers {
		o.Waivers = append(o.Waivers, WaiverOutline{w.id, w.requirement, strings.TrimSpace(digestKey(w.subject)), w.reason, w.until, slices.Clone(w.by)})
	}
	if w := p.outside; w != nil {
		o.WaiversBy, o.WaiversFor, o.WaiversEnd = slices.Clone(w.by), slices.Clone(w.requirements), w.longest
	}
	for _, s := range p.verdicts {
		o.Verdicts = append(o.Verdicts, VerdictOutline{slices.Clone(s.by), slices.Sorted(maps.Keys(s.policies)), slices.Clone(s.resources), slices.Clone(s.ids), s.verifier, s.maxAge})
	}
	return o
}

func (s signer) outline(name string) SignerOutline {
	o := SignerOutline{Name: name, Kind: "key", Members: slices.Clone(s.members), AtLeast: s.atLeast, Line: s.line}
	for _, key := range s.keys {
		if block, _ := pem.Decode(key); block != nil {
			o.Identity = append(o.Identity, fmt.Sprintf("sha256:%x", sha256.Sum256(block.Bytes)))
		}
	}
	switch {
	case s.isGroup():
		o.Kind = "group"
	case s.keyless != nil && s.keyless.Pattern != "":
		o.Kind, o.Pattern = "keyless", s.keyless.Pattern
		o.Identity = []string{"whoever is called " + s.keyless.Pattern + " by " + s.keyless.Issuer}
	case s.keyless != nil:
		o.Kind, o.Identity = "keyless", []string{s.keyless.Subject + " by " + s.keyless.Issuer}
	case s.certificate != nil:
		o.Kind, o.Any, o.Identity = "certificate", s.certificate.AnySubject, []string{s.certificate.describe()}
	}
	return o
}

// describe names the owner of a certificate and the authority by its sha256.
func (c *Certificate) describe() string {
	sum := sha256.Sum256(c.Authority)
	of := " of the authority sha256:" + hex.EncodeToString(sum[:])
	switch {
	case c.Subject != "":
		return c.Subject + of
	case c.SAN != "":
		return c.SAN + of
	}
	return "whoever has a certificate" + of
}

func (r *rule) outline() RuleOutline {
	o := RuleOutline{
		Name: r.name, ID: r.id, Label: r.label, Types: slices.Clone(r.types), By: slices.Clone(r.by), Signers: slices.Clone(r.signers),
		Match: string(r.match), MatchSet: r.matchSet, MaxAge: r.maxAge, Severity: r.severity, NotBy: slices.Clone(r.notBy),
		Message: string(r.message), Fix: r.fix, Line: r.line,
	}
	for _, c := range r.where {
		o.Where = append(o.Where, ConditionOutline{c.text, c.line})
	}
	return o
}

func (g *edge) outline() EdgeOutline {
	o := EdgeOutline{
		ID: g.id, Role: g.role, From: slices.Clone(g.from), Min: g.min, Max: g.max, Denied: g.deny.sorted(), DeniedFrom: g.denyFrom,
		DisjointFrom: g.disjoint, Line: g.line,
	}
	for i, a := range g.accept {
		if a.rule != nil {
			o.Accept = append(o.Accept, a.rule.outline())
		} else {
			o.Accept = append(o.Accept, RuleOutline{Name: g.entry("accept", i), Pinned: a.pinned.sorted(), Line: g.line})
		}
	}
	for i := range g.each {
		o.Each = append(o.Each, g.each[i].outline())
	}
	return o
}

// name is the id of the edge's requirement.
func (g *edge) name() string { return "lineage:" + g.id }

// entry names an entry of accept or requireEach.
func (g *edge) entry(list string, i int) string { return fmt.Sprintf("%s.%s[%d]", g.name(), list, i) }

// nameRules gives every rule the name by which tools call it.
func (p *Policy) nameRules() {
	for i := range p.require {
		p.require[i].name = p.require[i].id
	}
	for i := range p.edges {
		g := &p.edges[i]
		for j, a := range g.accept {
			if a.rule != nil {
				a.rule.name = g.entry("accept", j)
			}
		}
		for j := range g.each {
			g.each[j].name = g.entry("requireEach", j)
		}
	}
}

func (d digestList) sorted() []string { return slices.Sorted(maps.Keys(d)) }
