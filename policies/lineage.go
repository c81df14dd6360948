package policies

import (
	"fmt"
	"slices"
	"strings"
)

// dependency is one entry of a provenance statement's resolvedDependencies.
type dependency struct {
	Subject                   // its name and its accepted digests; none when there is only a URI
	all     map[string]string // every digest that the entry has, for the deny lists
}

// dependencies reads the entries of one role, in the statement's order. The statement is signed
// by somebody who is trusted to say the truth, and still may have any shape.
//
// https://slsa.dev/spec/v1.0/provenance#BuildDefinition: resolvedDependencies is an array of
// ResourceDescriptor, each with name, uri, digest.
func (p *Policy) dependencies(statement map[string]any, role string) ([]dependency, error) {
	entries, err := resolvedDependencies(statement)
	if err != nil {
		return nil, err
	}
	var out []dependency
	for _, entry := range entries {
		if name, _ := entry["name"].(string); name == role {
			out = append(out, p.dependency(entry))
		}
	}
	return out, nil
}

// resolvedDependencies returns the entries of all roles. A missing list is an empty one; a list
// that cannot be read is an error, since what it hides cannot be checked.
func resolvedDependencies(statement map[string]any) ([]map[string]any, error) {
	var v any = statement
	for _, key := range []string{"predicate", "buildDefinition", "resolvedDependencies"} {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("what should hold %s is not an object", key)
		}
		v = object[key]
	}
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("resolvedDependencies is not a list")
	}
	out := make([]map[string]any, 0, len(list))
	for i, e := range list {
		entry, ok := e.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("resolvedDependencies[%d] is not an object", i)
		}
		if name, ok := entry["name"]; ok && name != nil {
			if _, ok := name.(string); !ok {
				return nil, fmt.Errorf("resolvedDependencies[%d].name is not a string", i)
			}
		}
		out = append(out, entry)
	}
	return out, nil
}

// dependency reads one entry. A digest that is not a string makes the whole set useless.
func (p *Policy) dependency(entry map[string]any) dependency {
	d := dependency{all: map[string]string{}}
	d.Name, _ = entry["name"].(string)
	set, _ := entry["digest"].(map[string]any)
	readable := true
	for algorithm, v := range set {
		value, ok := v.(string)
		readable = readable && ok
		d.all[algorithm] = value
	}
	if readable {
		d.Digests = p.accepted(d.all)
	}
	return d
}

// describe names a dependency for people.
func (d dependency) describe() string { return foreign(d.Name) + " " + short(d.Digests) }

// along reads the dependencies that an edge follows out of a statement: of provenance those of its role, of an
// evaluation its dataset, whatever that is called.
func (p *Policy) along(g *edge, it *Evidence) ([]dependency, error) {
	if it.PredicateType != evaluationType {
		return p.dependencies(it.Statement, g.role)
	}
	predicate, _ := it.Statement["predicate"].(map[string]any)
	switch entry := predicate["dataset"].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		d := p.dependency(entry)
		d.Name = g.role
		return []dependency{d}, nil
	}
	return nil, fmt.Errorf("dataset is not an object")
}

// walk is the way along one edge, from every artifact in the lineage at which it starts.
type walk struct {
	*lineage
	edge    *edge
	code    Code
	detail  string
	passed  []string // dependencies that hold, in words
	failed  int
	counted []*item
	near    []Seen
	found   []dependency // all of them
}

// rank orders failures: a denied digest is shown before all others, since the remedy for the others does not help then.
func rank(code Code) int {
	return 1 + slices.Index([]Code{LineageCycle, DigestDenied}, code)
}

// fail keeps the first of the gravest failures.
func (w *walk) fail(code Code, format string, args ...any) {
	w.failed++
	if w.code == "" || rank(code) > rank(w.code) {
		w.code, w.detail = code, fmt.Sprintf(format, args...)
	}
}

// edgePrefix begins what a decision calls an edge.
const edgePrefix = "lineage:"

// requirementID is what a decision calls the edge.
func (g *edge) requirementID() string { return edgePrefix + g.id }

// requirement is how the edge ended.
func (w *walk) requirement() Requirement {
	req := Requirement{ID: w.edge.requirementID(), Passed: w.code == "", Code: w.code, Detail: w.detail}
	switch {
	case req.Passed && len(w.passed) == 0:
		req.Detail = "no dependency of this role"
	case req.Passed:
		req.Detail = enumerate(w.passed)
	case w.failed > 1:
		req.Detail += fmt.Sprintf(" (and %d more)", w.failed-1)
	}
	slices.SortFunc(w.counted, compareItems)
	w.counted = slices.Compact(w.counted)
	for _, it := range w.counted {
		it.counted = true
	}
	req.Counted = seenAll(w.counted)
	slices.SortStableFunc(w.near, func(a, b Seen) int { return strings.Compare(a.ID, b.ID) })
	req.NearMisses = slices.CompactFunc(w.near, func(a, b Seen) bool { return a.ID == b.ID })
	return req
}

// statement checks the dependencies that one statement about an artifact lists. Each statement has to
// be complete: a second one does not fill the gaps of the first.
func (w *walk) statement(it *item, of int) {
	found, err := w.policy.along(w.edge, it.Evidence)
	g, what := w.edge, "provenance"
	if it.PredicateType != provenanceType {
		what = "evaluation"
	}
	switch {
	case err != nil:
		w.fail(LineageGap, "%s %s: %v", what, cut(it.ID), err)
	case len(found) < g.min:
		w.miss("%s.count", g.name())
		w.fail(LineageGap, "%s %s lists %d of role %s, at least %d wanted", what, cut(it.ID), len(found), g.role, g.min)
	case g.max > 0 && len(found) > g.max:
		w.miss("%s.count", g.name())
		w.fail(LineageAmbiguous, "%s %s lists %d of role %s, at most %d wanted", what, cut(it.ID), len(found), g.role, g.max)
	case len(found) > MaxDependencies:
		w.fail(LimitExceeded, "%s %s lists %d of role %s; at most %d are followed", what, cut(it.ID), len(found), g.role, MaxDependencies)
	default:
		w.counted = append(w.counted, it)
		for _, d := range found {
			w.dependency(d, it, of)
		}
	}
}

// dependency checks one dependency: denied, pinned or vouched for, and all that each must have. One that was
// reached along this edge before is not checked again.
func (w *walk) dependency(d dependency, it *item, of int) {
	w.found = append(w.found, d)
	if digest, ok := w.deniedHere(d.all); ok {
		w.fail(DigestDenied, "%s is on a deny list: %s", foreign(d.Name), cut(digest))
		w.graph.deny(d, it, of, DigestDenied)
		return
	}
	if len(d.Digests) == 0 {
		w.fail(LineageGap, "%s has no digest that is accepted, so that nothing can vouch for it", foreign(d.Name))
		w.graph.deny(d, it, of, LineageGap)
		return
	}
	node, err := w.graph.reach(d, it, of)
	if err != nil {
		w.fail(LimitExceeded, "%s: %v", d.describe(), err)
		return
	}
	if !w.first(node) {
		return
	}
	code, detail := w.vouched(d, node)
	if code == "" {
		w.passed = append(w.passed, d.describe()+": "+detail)
		w.graph.settle(node, "", detail)
		return
	}
	w.fail(code, "%s: %s", d.describe(), detail)
	w.graph.settle(node, code, detail)
}

// deniedHere looks a digest set up in the lists that hold for the edge.
func (w *walk) deniedHere(set map[string]string) (string, bool) {
	if digest, ok := w.policy.denied.denies(set); ok {
		return digest, true
	}
	digest, ok := w.edge.deny.denies(set)
	if ok {
		w.miss("%s.denyDigests", w.edge.name())
	}
	return digest, ok
}

// vouched asks accept and requireEach about a dependency, and says who vouches for it. What vouches for it with provenance is
// followed in turn.
func (w *walk) vouched(d dependency, node int) (Code, string) {
	before := len(w.counted)
	code, detail := w.accept(d, node)
	vouchers := []string{detail}
	for i := range w.edge.each {
		if code == "" {
			code, detail = w.rule(&w.edge.each[i], d, node)
			vouchers = append(vouchers, detail)
		}
	}
	switch {
	case code == "":
		for _, it := range w.counted[before:] {
			if digest, ok := w.edge.deny.deniesAny(it.Subjects); ok {
				w.miss("%s.denyDigests", w.edge.name())
				return DigestDenied, fmt.Sprintf("%s is on a deny list, and statement %s names it as what it is about", cut(digest), cut(it.ID))
			}
		}
	case closeness(code) == 2, code == LineageGap:
		return code, detail
	default:
		// That nobody who is trusted says anything about it is a gap, whatever the inner reason.
		return LineageGap, string(code) + ": " + detail
	}
	if len(w.edge.accept)+len(w.edge.each) == 0 {
		vouchers = append(vouchers, "compared with "+w.edge.disjoint)
	}
	vouchers = slices.DeleteFunc(vouchers, func(s string) bool { return s == "" })
	return "", strings.Join(slices.Compact(vouchers), " and ")
}

// accept looks for one alternative that holds, and says which. When none does, the reason is that of
// the first one that came closest.
func (w *walk) accept(d dependency, node int) (Code, string) {
	var code Code
	var detail string
	for i, a := range w.edge.accept {
		c, why := LineageGap, "not one of the pinned digests"
		if a.rule != nil {
			c, why = w.rule(a.rule, d, node)
		} else if a.pinned.has(d.Digests) {
			c, why = "", "pinned"
		}
		if c == "" {
			return "", why
		}
		w.miss("%s", w.edge.entry("accept", i))
		if code == "" || closeness(c) > closeness(code) {
			code, detail = c, why
		}
	}
	return code, detail
}

// rule asks one rule about a dependency. When it holds, the detail says who vouches.
func (w *walk) rule(r *rule, d dependency, node int) (Code, string) {
	o := w.check(r, target{Subject: d.Subject, dependency: true})
	w.against[w.edge.requirementID()] = w.against[w.edge.requirementID()] || o.against
	w.near = append(w.near, o.near...)
	if o.code == "" {
		w.counted = append(w.counted, o.counted...)
		w.graph.vouch(node, o.counted)
		w.follow(r, o.counted, node)
		return "", r.vouchers(o.counted)
	}
	for _, it := range o.counted { // they hold, and do not suffice
		it.note(candidate, o.code, o.detail)
	}
	return o.code, o.detail
}

// vouchers says which statements hold and which of the rule's signers made them.
func (r *rule) vouchers(counted []*item) string {
	by := slices.DeleteFunc(signersOf(counted), func(s string) bool { return !slices.Contains(r.signers, s) })
	what := r.label + " statement"
	if len(counted) > 1 {
		what = plural(len(counted), what)
	}
	return what + " by " + strings.Join(by, ", ")
}

// closeness is 2 when there was a statement by a trusted signer about the dependency, which
// said something else; 1 when there was some statement; 0 when there was none.
func closeness(code Code) int {
	switch code {
	case ConditionFalse, ConditionError, EvidenceTooOld, ThresholdNotMet, LineageAmbiguous:
		return 2
	case TypeMissing, LineageGap:
		return 0
	}
	return 1
}

// enumerate shows the first of many.
func enumerate(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(names[:most], "; "), len(names)-most)
}
