package policies

import (
	"maps"
	"slices"
	"time"
)

// Account is what the policy's signers say about an artifact, or about something that it was made from.
type Account struct {
	Role    string // in which it was used; empty for the artifact
	Digests map[string]string
	Depth   int // statements between it and the artifact
	// Statements were signed by somebody whom a rule of the policy names for their type, each once and in the order of their IDs. With
	// `match: latest` they are the latest ones. What the conditions of the policy make of them does not matter: a poor result is known too.
	Statements []Evidence
	Uses       []Use
}

// Use says that something was used to make or to measure what an account is about.
type Use struct {
	Role      string         // what provenance calls it, or the role of the edge that starts at an evaluation
	To        int            // its account; -1 when it has no digest that the policy accepts
	Entry     map[string]any // the ResourceDescriptor of the statement
	Statement string         // Evidence.ID
	Type      string         // predicate type of the statement
}

// Accounts tells what the policy's signers say about the artifact and its lineage. The first account is the artifact's. Of what provenance
// names, every role is listed, and statements about it count by the rules of the edges of that role. It decides nothing. whole is false when
// there is more than lineage.maxDepth and lineage.maxNodes allow, or more evidence than is looked at.
func (p *Policy) Accounts(artifact Subject, evidence []Evidence, now time.Time) (accounts []Account, whole bool) {
	artifact.Digests = maps.Clone(artifact.Digests)
	first := Account{Digests: artifact.Digests}
	if p == nil || p.Matches(artifact) != nil || len(evidence) > MaxEvidence {
		return []Account{first}, false
	}
	t := &telling{evaluation: p.newEvaluation(artifact, evidence, now), index: map[string]int{}, rules: []map[*rule]bool{nil}, accounts: []Account{first}, whole: true}
	for t.queue = []int{0}; len(t.queue) > 0; {
		at := t.queue[0]
		t.queue = t.queue[1:]
		t.tell(at)
	}
	return t.accounts, t.whole
}

// telling is Accounts at work, nearest first.
type telling struct {
	*evaluation
	accounts []Account
	rules    []map[*rule]bool // that speak about an account
	index    map[string]int   // account by its digests
	queue    []int
	whole    bool
}

// tell collects the statements about an account and makes accounts of what they name.
func (t *telling) tell(at int) {
	about := target{Subject: t.subject}
	var rules []*rule
	if at == 0 {
		for i := range t.policy.require {
			rules = append(rules, &t.policy.require[i])
		}
	} else {
		about = target{Subject: Subject{Digests: t.accounts[at].Digests}, dependency: true}
		for _, r := range t.policy.rules() {
			if t.rules[at][r] {
				rules = append(rules, r)
			}
		}
	}
	t.accounts[at].Statements, t.accounts[at].Uses = nil, nil // it may be told for the second time, with more rules
	said := map[*item][]*rule{}
	for _, r := range rules {
		for _, it := range t.said(r, about) {
			said[it] = append(said[it], r)
		}
	}
	items := slices.Collect(maps.Keys(said))
	sortItems(items)
	for _, it := range items {
		t.accounts[at].Statements = append(t.accounts[at].Statements, *it.Evidence)
		t.uses(at, it, said[it])
	}
}

// said are the statements about the target that count by who signed them.
func (t *telling) said(r *rule, about target) []*item {
	var out []*item
	for _, it := range t.around(about) {
		if t.place(r, about, it) == candidate {
			out = append(out, it)
		}
	}
	if r.match == matchLatest {
		out = t.latest(out)
	}
	return out
}

// uses follows what a statement names. An evaluation names the dataset that it measured on, whose role the edge says that starts there.
func (t *telling) uses(at int, it *item, by []*rule) {
	switch it.PredicateType {
	case provenanceType:
		entries, err := resolvedDependencies(it.Statement)
		if err != nil || len(entries) > MaxDependencies {
			t.whole = false
			return
		}
		for _, entry := range entries {
			role, _ := entry["name"].(string)
			t.use(at, it, role, entry, t.edgeRules(func(g *edge) bool { return g.role == role && startsAtAny(g, by) }))
		}
	case evaluationType:
		predicate, _ := it.Statement["predicate"].(map[string]any)
		if entry, ok := predicate["dataset"].(map[string]any); ok {
			t.use(at, it, "", entry, t.edgeRules(func(g *edge) bool { return startsAtAny(g, by) }))
		}
	}
}

func startsAtAny(g *edge, rules []*rule) bool {
	return slices.ContainsFunc(rules, func(r *rule) bool { return g.follows(r.id) })
}

// edgeRules are the rules of some edges.
func (t *telling) edgeRules(some func(*edge) bool) map[*rule]bool {
	out := map[*rule]bool{}
	for i := range t.policy.edges {
		if g := &t.policy.edges[i]; some(g) {
			for _, r := range g.rules() {
				out[r] = true
			}
		}
	}
	return out
}

// use makes or finds the account of what an entry names.
func (t *telling) use(at int, it *item, role string, entry map[string]any, rules map[*rule]bool) {
	d := t.policy.dependency(entry)
	u := Use{Role: role, To: -1, Entry: entry, Statement: it.ID, Type: it.PredicateType}
	if len(d.Digests) > 0 {
		u.To = t.find(d.Digests, role, t.accounts[at].Depth+1)
	}
	if u.To > 0 {
		t.heed(u.To, rules)
	}
	t.accounts[at].Uses = append(t.accounts[at].Uses, u)
}

// heed lets rules speak about an account, and has it told, or told anew, when there are more than before.
func (t *telling) heed(to int, rules map[*rule]bool) {
	before := len(t.rules[to])
	if maps.Copy(t.rules[to], rules); len(t.rules[to]) > before && !slices.Contains(t.queue, to) {
		t.queue = append(t.queue, to)
	}
}

// find is the account of a digest set, -1 when there are too many of them. The artifact is known by each of its digests.
func (t *telling) find(digests map[string]string, role string, depth int) int {
	for algorithm, value := range digests {
		if t.subject.Digests[algorithm] == value {
			return 0
		}
	}
	key := digestKey(digests)
	if to, known := t.index[key]; known {
		return to
	}
	if depth > t.policy.maxDepth || len(t.index) >= t.policy.maxNodes {
		t.whole = false
		return -1
	}
	to := len(t.accounts)
	t.index[key] = to
	t.accounts = append(t.accounts, Account{Role: role, Digests: digests, Depth: depth})
	t.rules = append(t.rules, map[*rule]bool{})
	return to
}
