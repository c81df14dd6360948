package policies

import "slices"

// Dependency is something about which statements may be needed.
type Dependency struct {
	Role    string
	Digests map[string]string
	Depth   int // statements between it and the artifact
}

// Wanted lists the dependencies about which a decision needs statements, as far as the evidence leads, nearest first and each once. A caller looks
// for statements about those that it has not looked for, adds them to the evidence and asks again, until there is nothing
// new. It serves to search; Evaluate decides.
//
// Wanted follows the roles of the edges out of statements whose signers the edges' rules name, as deep as lineage.maxDepth.
// When the policy denies digests or says who may revoke, it also follows all roles out of the provenance of all of its
// signers, MaxLineageDepth deep. At most MaxDependencies are listed, those of the edges first.
func (p *Policy) Wanted(artifact Subject, evidence []Evidence) []Dependency {
	out, _ := p.WantedAll(artifact, evidence)
	return out
}

// WantedAll is Wanted, and reports whether that is enough. When it is not, deny lists and revocations would miss what lies behind
// the things that are not listed, so that a caller has to deny. What only edges follow need not be whole: what nothing
// vouches for is denied by them.
func (p *Policy) WantedAll(artifact Subject, evidence []Evidence) (wanted []Dependency, enough bool) {
	if p == nil || len(evidence) > MaxEvidence {
		return nil, true
	}
	s := &search{evaluation: p.newEvaluation(artifact, evidence, zeroTime), seen: map[string]bool{}}
	s.run(p.edges, false)
	if p.reachesAll() {
		s.run(p.edges, true)
	}
	return s.out, !s.cut
}

// reachesAll reports whether the policy asks about everything that an artifact descends from.
func (p *Policy) reachesAll() bool {
	return len(p.denied) > 0 || p.revocable || slices.ContainsFunc(p.edges, func(g edge) bool { return len(g.deny) > 0 })
}

type search struct {
	*evaluation
	seen map[string]bool
	out  []Dependency
	cut  bool // something was left out that deny lists and revocations reach
}

// run walks breadth first; with all it follows every role, MaxLineageDepth deep.
func (s *search) run(edges []edge, all bool) {
	read := map[*item]bool{}
	next := []Dependency{{Digests: s.subject.Digests}}
	visited := map[string]bool{}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		if !all && at.Depth >= s.policy.maxDepth {
			continue
		}
		for _, it := range s.about(at.Digests) {
			if !it.trusted || read[it] {
				continue
			}
			if all && at.Depth >= MaxLineageDepth {
				s.cut = s.cut || len(s.leads(edges, it, at.Depth, all)) > 0
				continue
			}
			read[it] = true
			for _, d := range s.leads(edges, it, at.Depth, all) {
				key := digestKey(d.Digests)
				if len(d.Digests) == 0 || visited[key] {
					continue
				}
				visited[key] = true
				found := Dependency{Role: d.Name, Digests: d.Digests, Depth: at.Depth + 1}
				next = append(next, found)
				switch {
				case s.seen[key]:
				case len(s.out) < MaxDependencies:
					s.seen[key] = true
					s.out = append(s.out, found)
				default:
					s.cut = s.cut || all
				}
			}
		}
	}
}

// about finds the statements about a digest set, each once and in a fixed order.
func (s *search) about(digests map[string]string) []*item {
	var out []*item
	for algorithm, value := range digests {
		for _, it := range s.related[algorithm+":"+value] {
			if it.PredicateType == provenanceType || it.PredicateType == evaluationType {
				if s.policy.relatedTo(it.Subjects, digests) {
					out = append(out, it)
				}
			}
		}
	}
	sortItems(out)
	return slices.Compact(out)
}

// leads are the dependencies in a statement that are followed.
func (s *search) leads(edges []edge, it *item, depth int, all bool) []dependency {
	if all {
		var out []dependency
		entries, _ := resolvedDependencies(it.Statement)
		for _, entry := range entries {
			out = append(out, s.policy.dependency(entry))
		}
		return out
	}
	var out []dependency
	for i := range edges {
		if !s.policy.startsAt(&edges[i], it, depth) {
			continue
		}
		found, _ := s.policy.along(&edges[i], it.Evidence)
		if len(found) <= MaxDependencies { // more are denied without a look
			out = append(out, found...)
		}
	}
	return out
}

// startsAt reports whether an edge may start at a statement: for the artifact at those of a requirement, further up at those of a
// rule on dependencies.
func (p *Policy) startsAt(g *edge, it *item, depth int) bool {
	return slices.ContainsFunc(p.rules(), func(r *rule) bool {
		return g.follows(r.id) && r.required == (depth == 0) && slices.Contains(r.types, it.PredicateType) &&
			slices.ContainsFunc(it.SignedBy, func(name string) bool { return slices.Contains(r.signers, name) })
	})
}
