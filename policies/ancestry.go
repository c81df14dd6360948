package policies

import (
	"cmp"
	"fmt"
)

// MaxAncestry is the number of dependencies that are compared with deny lists and revocations.
const MaxAncestry = 100_000

// ancestor is something that the artifact descends from, by the word of provenance that any signer of the policy signed, in
// whatever role. It is what deny lists and revocations reach; nothing is ever allowed by it.
type ancestor struct {
	dependency
	by    *item // the provenance that lists it
	depth int
}

// ancestry is everything that the artifact descends from.
type ancestry struct {
	all  []ancestor
	code Code  // why it is not complete; with err and by
	err  error // nil when it is complete
	by   *item // the statement at which it ends, if it is one
}

// hit is something on a deny list.
type hit struct {
	digest, detail string
	by             *item // the statement that says so; nil for the artifact's own digests
}

// ancestry walks breadth first through all provenance of the policy's signers, each dependency once.
func (e *evaluation) ancestry() *ancestry {
	if e.known != nil {
		return e.known
	}
	a := &ancestry{}
	e.known = a
	seen := map[string]bool{digestKey(e.subject.Digests): true}
	read := map[*item]bool{}
	next := []ancestor{{dependency: dependency{Subject: e.subject, all: e.subject.Digests}}}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		for _, it := range e.provenanceOf(at) {
			if read[it] {
				continue
			}
			read[it] = true
			entries, err := resolvedDependencies(it.Statement)
			if err != nil && a.err == nil {
				a.code, a.by, a.err = StatementUnusable, it, fmt.Errorf("provenance %s cannot be read: %w", cut(it.ID), err)
			}
			for _, entry := range entries {
				d := ancestor{e.policy.dependency(entry), it, at.depth + 1}
				key := digestKey(d.all)
				if key == "" || seen[key] {
					continue
				}
				if len(a.all) == MaxAncestry {
					a.code, a.by, a.err = LimitExceeded, nil, fmt.Errorf("the artifact descends from more than %d things", MaxAncestry)
					return a
				}
				seen[key] = true
				a.all = append(a.all, d)
				next = append(next, d)
			}
		}
	}
	return a
}

// provenanceOf finds the provenance that some signer of the policy signed about something.
func (e *evaluation) provenanceOf(at ancestor) []*item {
	var out []*item
	known := map[*item]bool{}
	for algorithm, value := range at.all {
		for _, it := range e.related[algorithm+":"+value] {
			if it.trusted && it.PredicateType == provenanceType && !known[it] && e.policy.relatedTo(it.Subjects, at.all) {
				known[it] = true
				out = append(out, it)
			}
		}
	}
	sortItems(out)
	return out
}

// denies returns the nearest ancestor that is on the list.
func (a *ancestry) denies(list digestList) (hit, bool) {
	for _, d := range a.all {
		digest, ok := list.denies(d.all)
		if !ok {
			continue
		}
		name := cmp.Or(foreign(d.Name), "something without a name")
		how := "the artifact was made from %s, which is on the list: %s (provenance %s)"
		if d.depth > 1 {
			how = fmt.Sprintf("the artifact descends over %d steps from ", d.depth) + "%s, which is on the list: %s (provenance %s)"
		}
		return hit{digest, fmt.Sprintf(how, name, cut(digest), cut(d.by.ID)), d.by}, true
	}
	return hit{}, false
}

// listed looks for the artifact on a list, for everything that it descends from, and for every name that a statement which
// counted gives one of them.
func (e *evaluation) listed(list digestList) (hit, bool) {
	if digest, ok := list.denies(e.subject.Digests); ok {
		return hit{digest, "the artifact is on the list: " + cut(digest), nil}, true
	}
	if h, ok := e.ancestry().denies(list); ok {
		return h, true
	}
	for _, it := range e.items {
		// A package and the tree in it are two names of one thing: who denied the one meant the other.
		if !it.counted {
			continue
		}
		if digest, ok := list.deniesAny(it.Subjects); ok {
			return hit{digest, fmt.Sprintf("%s is on the list, and statement %s names it as what it is about", cut(digest), cut(it.ID)), it}, true
		}
	}
	return hit{}, false
}

// denied looks the artifact up in the deny list.
func (e *evaluation) denied() []Requirement {
	if len(e.policy.denied) == 0 {
		return nil
	}
	r := Requirement{ID: idDenied, Passed: true, Detail: "not on the list of " + plural(len(e.policy.denied), "denied digest")}
	if h, ok := e.listed(e.policy.denied); ok {
		r.deny(DigestDenied, h.detail, h.by)
	} else if a := e.ancestry(); a.err != nil { // what it hides may be on the list
		r.deny(a.code, fmt.Sprintf("not everything can be compared with the list: %v", a.err), a.by)
	}
	return []Requirement{r}
}

// deny fails a requirement because of a statement, which may be nil.
func (r *Requirement) deny(code Code, detail string, by *item) {
	r.Passed, r.Code, r.Detail = false, code, detail
	if by != nil {
		by.counted = true
		r.Counted = seenAll([]*item{by})
	}
}

// markListed shows in the graph what is on the deny list or was withdrawn, however it was vouched for.
func (e *evaluation) markListed(g *Graph) {
	if g == nil {
		return
	}
	withdrawn := e.revocations().list
	for i := range g.Nodes {
		n := &g.Nodes[i]
		_, denied := e.policy.denied.denies(n.Digests)
		_, revoked := withdrawn.denies(n.Digests)
		switch {
		case revoked && n.Code != DigestDenied:
			n.Passed, n.Code, n.Detail = false, Revoked, "withdrawn"
		case denied:
			n.Passed, n.Code, n.Detail = false, DigestDenied, "on the deny list"
		}
	}
}
