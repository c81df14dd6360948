package review

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/policies"
)

// Effect is what a change does to what passes, as far as that can be said.
type Effect string

// Effects.
const (
	Weaker   Effect = "weaker"   // more passes
	Stronger Effect = "stronger" // less passes
	Other    Effect = "other"    // other things pass, or it cannot be said
)

// Change is one difference between two policies.
type Change struct {
	Where  string `json:"where"`
	Effect Effect `json:"effect"`
	What   string `json:"what"`
}

// Compare lists what the new policy says differently. It is empty for policies that say the same in other words or another order.
func Compare(old, new *policies.Policy) []Change {
	return compare(old.Outline(), new.Outline())
}

func compare(old, new policies.Outline) []Change {
	c := &comparer{old: old, new: new}
	c.document()
	c.signers()
	c.params()
	c.requirements()
	c.edges()
	c.waivers()
	return c.changes
}

type comparer struct {
	old, new policies.Outline
	changes  []Change
}

func (c *comparer) add(where string, effect Effect, format string, args ...any) {
	c.changes = append(c.changes, Change{where, effect, fmt.Sprintf(format, args...)})
}

// value notes a value that is another one.
func (c *comparer) value(where string, effect Effect, old, new any) {
	if a, b := fmt.Sprint(old), fmt.Sprint(new); a != b {
		c.add(where, effect, "%s is now %s", said(a), said(b))
	}
}

func said(s string) string {
	if s == "" || s == "[]" {
		return "nothing"
	}
	return s
}

// set notes what came to a list and what left it. More entries have the effect, fewer the opposite.
func (c *comparer) set(where string, more Effect, old, new []string) {
	for _, v := range new {
		if !slices.Contains(old, v) {
			c.add(where, more, "%s was added", v)
		}
	}
	for _, v := range old {
		if !slices.Contains(new, v) {
			c.add(where, opposite(more), "%s was removed", v)
		}
	}
}

func opposite(e Effect) Effect {
	switch e {
	case Weaker:
		return Stronger
	case Stronger:
		return Weaker
	}
	return Other
}

// by is Weaker when less, Stronger when more is demanded.
func by(more bool) Effect {
	if more {
		return Stronger
	}
	return Weaker
}

func (c *comparer) document() {
	o, n := c.old, c.new
	c.value("name", Other, o.Ref.Name, n.Ref.Name)
	c.value("version", Other, o.Ref.Version, n.Ref.Version)
	c.value("owner", Other, o.Owner, n.Owner)
	c.value("expires", by(n.Expires.Before(o.Expires) && !n.Expires.IsZero() || o.Expires.IsZero()), moment(o.Expires), moment(n.Expires))
	c.set("statements", Weaker, o.Statements, n.Statements)
	c.set("digests.algorithms", Other, o.Algorithms, n.Algorithms)
	c.set("digests.deny", Stronger, o.Denied, n.Denied)
	c.value("trust.root", Other, o.TrustRoot, n.TrustRoot)
	c.value("trust.transparencyLog", Other, o.Log, n.Log)
	c.value("trust.timestamps.atLeast", by(n.Timestamps > o.Timestamps), o.Timestamps, n.Timestamps)
	c.restriction("match.artifactTypes", o.Artifacts, n.Artifacts)
	c.restriction("match.repositories", o.Repositories, n.Repositories)
	c.value("lineage.maxDepth", by(n.MaxDepth < o.MaxDepth), o.MaxDepth, n.MaxDepth)
	c.value("lineage.maxNodes", by(n.MaxNodes < o.MaxNodes), o.MaxNodes, n.MaxNodes)
	order := Other
	switch {
	case len(o.Order) == 0:
		order = Stronger
	case len(n.Order) == 0:
		order = Weaker
	}
	c.value("lineage.order", order, strings.Join(o.Order, ", "), strings.Join(n.Order, ", "))
	pairs(o.Rego, n.Rego, func(m policies.RegoOutline) string { return "rego." + m.Package }, func(where string, o, n *policies.RegoOutline) {
		switch {
		case o == nil:
			c.add(where, Stronger, "was added")
		case n == nil:
			c.add(where, Weaker, "was removed")
		default:
			c.value(where, Other, o.Digest, n.Digest)
		}
	})
	c.value("revocations", Other, revocations(o), revocations(n))
}

// restriction is a list of what is allowed, of which none allows all.
func (c *comparer) restriction(where string, old, new []string) {
	switch {
	case len(old) == 0 && len(new) > 0:
		c.add(where, Stronger, "only %s", strings.Join(new, ", "))
	case len(old) > 0 && len(new) == 0:
		c.add(where, Weaker, "no longer only %s", strings.Join(old, ", "))
	default:
		c.set(where, Weaker, old, new)
	}
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func revocations(o policies.Outline) string {
	if !o.Revocable {
		return "by every signer"
	}
	return "by " + strings.Join(o.Revokers, ", ")
}

// pairs walks over two lists by name.
func pairs[T any](old, new []T, name func(T) string, visit func(name string, old, new *T)) {
	index := map[string][2]*T{}
	for i := range old {
		index[name(old[i])] = [2]*T{&old[i], nil}
	}
	for i := range new {
		p := index[name(new[i])]
		p[1] = &new[i]
		index[name(new[i])] = p
	}
	for _, n := range slices.Sorted(maps.Keys(index)) {
		visit(n, index[n][0], index[n][1])
	}
}

func (c *comparer) signers() {
	pairs(c.old.Signers, c.new.Signers, func(s policies.SignerOutline) string { return s.Name }, func(name string, o, n *policies.SignerOutline) {
		where := "signers." + name
		switch {
		case o == nil:
			c.add(where, Other, "a new signer: %s", identity(*n))
		case n == nil:
			c.add(where, Other, "was removed: %s", identity(*o))
		case o.Kind != n.Kind:
			c.add(where, Other, "%s is now %s", identity(*o), identity(*n))
		case o.Kind == "group":
			c.set(where, Weaker, o.Members, n.Members)
			c.value(where+".atLeast", by(n.AtLeast > o.AtLeast), o.AtLeast, n.AtLeast)
		case o.Kind == "key":
			c.set(where, Weaker, o.Identity, n.Identity)
		default:
			c.value(where, Other, identity(*o), identity(*n))
		}
	})
}

func identity(s policies.SignerOutline) string {
	if s.Kind == "group" {
		return fmt.Sprintf("%d of %s", s.AtLeast, strings.Join(s.Members, ", "))
	}
	return s.Kind + " " + strings.Join(s.Identity, ", ")
}

func (c *comparer) params() {
	pairs(c.old.Params, c.new.Params, func(p policies.ParamOutline) string { return p.Name }, func(name string, o, n *policies.ParamOutline) {
		where := "params." + name
		switch {
		case o == nil:
			c.add(where, Other, "a new parameter: %s", n.Value)
		case n == nil:
			c.add(where, Other, "was removed: %s", o.Value)
		default:
			c.value(where+".type", Other, o.Type, n.Type)
			c.value(where, Other, o.Value, n.Value)
			c.value(where+".override", by(o.Override), o.Override, n.Override)
		}
	})
}

func (c *comparer) requirements() {
	pairs(c.old.Requirements, c.new.Requirements, func(r policies.RuleOutline) string { return r.ID }, func(id string, o, n *policies.RuleOutline) {
		switch {
		case o == nil:
			c.add(id, blocks(*n, Stronger), "a new requirement: %s", asked(*n))
		case n == nil:
			c.add(id, blocks(*o, Weaker), "was removed: %s", asked(*o))
		default:
			c.rule(id, *o, *n)
		}
	})
}

// blocks is the effect of a requirement's coming or going: one that only warns changes nothing that passes.
func blocks(r policies.RuleOutline, e Effect) Effect {
	if r.Severity == policies.Block || r.Severity == "" {
		return e
	}
	return Other
}

func (c *comparer) rule(where string, o, n policies.RuleOutline) {
	c.value(where+".type", Other, strings.Join(o.Types, ", "), strings.Join(n.Types, ", "))
	c.set(where+".by", Weaker, o.By, n.By)
	c.value(where+".match", matchEffect(o.Match, n.Match), o.Match, n.Match)
	if o.Match == n.Match && o.MatchSet != n.MatchSet { // several producers of one artifact are denied unless it is written
		c.value(where+".match", by(!n.MatchSet), written(o), written(n))
	}
	c.value(where+".maxAge", by(o.MaxAge == 0 || n.MaxAge != 0 && n.MaxAge < o.MaxAge), limit(o.MaxAge), limit(n.MaxAge))
	c.set(where+".where", Stronger, texts(o.Where), texts(n.Where))
	c.set(where+".pinned", Weaker, o.Pinned, n.Pinned)
	c.set(where+".notSignedBySameIdentityAs", Stronger, o.NotBy, n.NotBy)
	severity := Other
	if (o.Severity == policies.Block) != (n.Severity == policies.Block) {
		severity = by(n.Severity == policies.Block)
	}
	c.value(where+".severity", severity, o.Severity, n.Severity)
	c.value(where+".message", Other, o.Message, n.Message)
	c.value(where+".fix", Other, o.Fix, n.Fix)
}

func limit(d time.Duration) string {
	if d == 0 {
		return "no limit"
	}
	return age(d)
}

// matchEffect: any asks for the least, one for the most; all and latest cannot be compared otherwise.
func matchEffect(old, new string) Effect {
	switch {
	case new == "any" || old == "one":
		return Weaker
	case old == "any" || new == "one":
		return Stronger
	case old == "all":
		return Weaker // to latest
	}
	return Stronger // from latest to all
}

func texts(where []policies.ConditionOutline) []string {
	var out []string
	for _, w := range where {
		out = append(out, w.Text)
	}
	return out
}

func (c *comparer) edges() {
	pairs(c.old.Edges, c.new.Edges, func(g policies.EdgeOutline) string { return "lineage:" + g.ID }, func(where string, o, n *policies.EdgeOutline) {
		switch {
		case o == nil:
			c.add(where, Stronger, "a new edge from %s", strings.Join(n.From, ", "))
		case n == nil:
			c.add(where, Weaker, "was removed")
		default:
			c.edge(where, *o, *n)
		}
	})
}

func (c *comparer) edge(where string, o, n policies.EdgeOutline) {
	c.value(where+".role", Other, o.Role, n.Role)
	c.set(where+".from", Stronger, o.From, n.From)
	c.value(where+".count.min", by(n.Min > o.Min), o.Min, n.Min)
	c.value(where+".count.max", by(o.Max == 0 || n.Max != 0 && n.Max < o.Max), maximum(o.Max), maximum(n.Max))
	c.restriction(where+".accept", entries(o.Accept), entries(n.Accept))
	c.set(where+".requireEach", Stronger, entries(o.Each), entries(n.Each))
	c.set(where+".denyDigests", Stronger, o.Denied, n.Denied)
	c.value(where+".disjointFrom", by(o.DisjointFrom == ""), o.DisjointFrom, n.DisjointFrom)
}

func maximum(n int) string {
	if n == 0 {
		return "no limit"
	}
	return fmt.Sprint(n)
}

// written is the match of a rule. Where it is not written, several producers of one artifact are denied.
func written(r policies.RuleOutline) string {
	if r.MatchSet {
		return r.Match
	}
	return ""
}

// entries are the entries of accept or requireEach in words.
func entries(rules []policies.RuleOutline) []string {
	var out []string
	for _, r := range rules {
		var words []string
		for _, w := range []struct{ what, text string }{
			{"", r.ID}, {"pinned", strings.Join(r.Pinned, ", ")}, {"", strings.Join(r.Types, " or ")}, {"by", strings.Join(r.By, " or ")}, {"match", written(r)},
			{"maxAge", limit(r.MaxAge)}, {"where", strings.Join(texts(r.Where), " and ")},
		} {
			if w.text != "" && w.text != "no limit" {
				words = append(words, strings.TrimSpace(w.what+" "+w.text))
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func (c *comparer) waivers() {
	words := func(o policies.Outline) []string {
		var out []string
		for _, w := range o.Waivers {
			out = append(out, fmt.Sprintf("%s of %s for %s until %s by %s: %s", w.ID, w.Requirement, w.Subject, moment(w.Until), strings.Join(w.By, ", "), w.Reason))
		}
		return out
	}
	c.set("waivers", Weaker, words(c.old), words(c.new))
	c.set("acceptVerdicts", Weaker, verdicts(c.old), verdicts(c.new))
	c.set("acceptWaivers.by", Weaker, c.old.WaiversBy, c.new.WaiversBy)
	c.set("acceptWaivers.for", Weaker, c.old.WaiversFor, c.new.WaiversFor)
	c.value("acceptWaivers.maxDays", by(c.new.WaiversEnd < c.old.WaiversEnd), age(c.old.WaiversEnd), age(c.new.WaiversEnd))
}
