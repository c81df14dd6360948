package policies

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
)

// Bounds of what an evaluation looks at.
const (
	// MaxEvidence is the number of statements beyond which an artifact is denied unread: who
	// can attach that many can make any gate slow.
	MaxEvidence = 20_000
	// MaxDependencies is the number of dependencies of one role that are followed.
	MaxDependencies = 2_000
	// MaxClockSkew is how far in the future a statement may be dated.
	MaxClockSkew = 5 * time.Minute
)

// Ids of requirements that a decision adds by itself.
const (
	idPolicy   = "policy"
	idDenied   = "digests.deny"
	idEvidence = "evidence"
	idRevoked  = "revocations"
	idMatch    = "match"
	idOrder    = "lineage.order"
	idVerdicts = "verdicts"
)

// claimed is the TimeSource of a time that only the statement itself gives.
const claimed = "claimed"

// evaluation is one call of Evaluate.
type evaluation struct {
	policy    *Policy
	subject   Subject
	now       time.Time
	items     []*item // sorted by ID
	byID      map[string]*item
	related   map[string][]*item // by digest, as "algorithm:hex"
	satisfied map[string][]*item // by id of a requirement that passed
	known     *ancestry          // nil until it is asked for
	against   map[string]bool    // by id of a requirement or edge: trusted evidence speaks against it
	unknown   map[string]bool    // by id of a requirement: whose signature must not stand there is not known
	notes     []string
	missed    map[string]bool // parts of the policy that something did not meet; nil when nobody asks
	explained int             // failures whose values are shown
}

// item is one piece of evidence and what became of it.
type item struct {
	*Evidence
	trusted  bool // a signer of the policy signed it
	counted  bool
	standing standing // how close it came, over all rules; with code and reason
	code     Code
	reason   string
}

// target is what statements must be about: the artifact, or a dependency of it.
type target struct {
	Subject
	dependency bool
}

// Evaluate decides whether the policy allows the artifact. It needs nothing but its arguments:
// now is the clock that ages are measured against. The order of the evidence does not matter.
func (p *Policy) Evaluate(subject Subject, evidence []Evidence, now time.Time) *Decision {
	return p.evaluate(subject, evidence, now, nil)
}

func (p *Policy) evaluate(subject Subject, evidence []Evidence, now time.Time, missed map[string]bool) *Decision {
	if p == nil {
		p = &Policy{}
	}
	subject.Digests = maps.Clone(subject.Digests)
	d := &Decision{Policy: p.ref, Subject: subject, Time: now, Requirements: []Requirement{}, Skipped: []Skipped{}, Overrides: p.overrides, Ignored: []Seen{}}
	if err := p.Matches(subject); err != nil {
		d.notMatched = err
		d.Requirements = append(d.Requirements, Requirement{ID: idMatch, Code: SubjectMismatch, Detail: err.Error(), Fix: "ask the policy that is for this artifact"})
		d.skipAll(p, "the policy is not for this artifact")
		return d
	}
	if len(evidence) > MaxEvidence {
		d.Requirements = append(d.Requirements, Requirement{ID: idEvidence, Code: LimitExceeded,
			Detail: fmt.Sprintf("%d statements; at most %d are looked at", len(evidence), MaxEvidence)})
		d.skipAll(p, "there are more statements than are looked at")
		return d
	}
	e := p.newEvaluation(subject, evidence, now)
	e.missed = missed
	t := target{Subject: subject}
	for i := range p.require {
		d.Requirements = append(d.Requirements, e.requirement(&p.require[i], t))
	}
	e.duties(d.Requirements)
	e.waive(d.Requirements)
	rulings, no := e.rulings()
	e.standIn(rulings, d.Requirements)
	if len(p.order) > 0 {
		d.Requirements = append(d.Requirements, e.order(d.Requirements))
	}
	if len(p.edges) > 0 {
		edges, l := e.trace(subject)
		e.standIn(rulings, edges)
		d.Requirements, d.Lineage = append(d.Requirements, edges...), &l.graph.Graph
	}
	d.Requirements = append(d.Requirements, e.rego()...)
	// The deny list and revocations reach what the statements that counted say, hence last; they are shown first.
	d.Requirements = slices.Concat(e.expiry(), e.denied(), e.revoked(), no, d.Requirements)
	e.markListed(d.Lineage)
	d.Ignored = e.ignored()
	d.Notes = e.notes
	passed := !slices.ContainsFunc(d.Requirements, Requirement.Denies)
	if passed && len(p.require) > 0 {
		d.Verdict = Allow
	}
	return d
}

// newEvaluation sorts the evidence and keeps each bundle once: the same bundle found in two
// places is one statement, and must not count as two.
func (p *Policy) newEvaluation(subject Subject, evidence []Evidence, now time.Time) *evaluation {
	e := &evaluation{policy: p, subject: subject, now: now, byID: map[string]*item{}, related: map[string][]*item{}, satisfied: map[string][]*item{},
		against: map[string]bool{}, unknown: map[string]bool{}}
	for i := range evidence {
		ev := evidence[i]
		ev.SignedBy = slices.Compact(slices.Sorted(slices.Values(ev.SignedBy)))
		if ev.ID == "" && ev.Problem == "" {
			ev.Problem, ev.ProblemDetail = StatementUnusable, "it has no ID to be cited by"
		}
		trusted := ev.Problem == "" && slices.ContainsFunc(ev.SignedBy, p.isSigner)
		e.items = append(e.items, &item{Evidence: &ev, trusted: trusted})
	}
	slices.SortStableFunc(e.items, compareItems)
	e.items = slices.CompactFunc(e.items, func(a, b *item) bool { return a.ID == b.ID && a.ID != "" })
	for _, it := range e.items {
		e.byID[it.ID] = it
		for _, key := range it.digests() {
			e.related[key] = append(e.related[key], it)
		}
	}
	return e
}

// compareItems orders by ID. The rest only matters when a caller hands in two different things
// under one ID; then the one that counts for less comes first and is kept.
func compareItems(a, b *item) int {
	return cmp.Or(
		strings.Compare(a.ID, b.ID),
		-strings.Compare(string(a.Problem), string(b.Problem)),
		slices.Compare(a.SignedBy, b.SignedBy),
		a.VerifiedWith.compare(b.VerifiedWith),
		strings.Compare(a.Origin, b.Origin),
		strings.Compare(a.PredicateType, b.PredicateType),
		a.Time.Compare(b.Time))
}

// digests are all digests that the evidence has to do with, each once.
func (it *item) digests() []string {
	var out []string
	for _, set := range append([]map[string]string{it.FoundWith}, it.Subjects...) {
		for algorithm, value := range set {
			out = append(out, algorithm+":"+value)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// around lists what may be about the target. For the artifact that is everything: it was
// collected for it. For a dependency it is what names one of its digests.
func (e *evaluation) around(t target) []*item {
	if !t.dependency {
		return e.items
	}
	var out []*item
	for algorithm, value := range t.Digests {
		out = append(out, e.related[algorithm+":"+value]...)
	}
	sortItems(out)
	return slices.Compact(out)
}

func sortItems(items []*item) { slices.SortFunc(items, compareItems) }

// zeroTime is the clock of those who have none.
var zeroTime time.Time

func lower(s string) string { return strings.ToLower(s) }

func (e *evaluation) requirement(r *rule, t target) Requirement {
	o := e.check(r, t)
	e.against[r.id] = o.against
	req := Requirement{ID: r.id, Passed: o.code == "", Code: o.code, Detail: o.detail, Counted: seenAll(o.counted), NearMisses: o.near, Values: o.values}
	if r.severity != Block {
		req.Severity = r.severity
	}
	if !req.Passed {
		req.Message, req.Fix = r.message.fill(e.policy.params), r.fix
	} else {
		e.satisfied[r.id] = o.counted
	}
	for _, it := range o.counted {
		it.counted = true
	}
	return req
}

func (e *evaluation) expiry() []Requirement {
	p := e.policy
	if p.expires.IsZero() {
		return nil
	}
	r := Requirement{ID: idPolicy, Passed: true, Detail: "valid until " + p.expires.Format(time.RFC3339)}
	switch {
	case e.now.IsZero():
		r.Passed, r.Code, r.Detail = false, PolicyExpired, "the policy has an end and no clock was given"
	case !e.now.Before(p.expires):
		r.Passed, r.Code, r.Detail = false, PolicyExpired, "the policy ended on "+p.expires.Format(time.RFC3339)
	}
	return []Requirement{r}
}

// isSigner reports whether name is an identity of the policy.
func (p *Policy) isSigner(name string) bool {
	s, ok := p.signers[name]
	return ok && !s.isGroup()
}

// ignored lists what counted nowhere and says for each why.
func (e *evaluation) ignored() []Seen {
	asked := map[string]bool{revocationType: true, waiverType: true}
	asked[verdictType] = len(e.policy.verdicts) > 0
	for _, r := range e.policy.rules() {
		for _, t := range r.types {
			asked[t] = true
		}
	}
	out := []Seen{}
	for _, it := range e.items {
		switch {
		case it.counted:
			continue
		case it.reason != "":
		case it.Problem != "":
			it.code, it.reason = it.Problem, it.ProblemDetail
		case it.trusted && it.PredicateType == revocationType && !e.policy.mayRevoke(it.SignedBy):
			it.code, it.reason = SignerNotTrusted, "its signer may not revoke"
		case !asked[it.PredicateType]:
			it.reason = "no requirement asks for this type"
		default:
			it.code, it.reason = SubjectMismatch, "about neither the artifact nor a dependency that is followed"
		}
		// What a stranger's statement says, its type and its subject, is nothing that is known.
		if it.Problem == "" && !it.trusted && it.code != SignerNotTrusted {
			_, who := it.shortfall(otherSigner)
			it.code, it.reason = SignerNotTrusted, who+"; "+it.reason
		}
		out = append(out, it.seen(it.code, it.reason))
	}
	return out
}

// rules are all rules of the policy, those about dependencies included.
func (p *Policy) rules() []*rule {
	var out []*rule
	for i := range p.require {
		out = append(out, &p.require[i])
	}
	for i := range p.edges {
		out = append(out, p.edges[i].rules()...)
	}
	return out
}

// seen is the evidence as a decision shows it. The time that a statement claims is only shown when its
// signature binds it to somebody.
func (it *item) seen(code Code, reason string) Seen {
	s := Seen{ID: it.ID, PredicateType: it.PredicateType, Signers: it.SignedBy, Origin: it.Origin, Code: code, Reason: reason}
	if it.timed() && (it.trusted || it.TimeSource != claimed) {
		s.Time, s.TimeSource = it.Time, it.TimeSource
	}
	return s
}

func seenAll(items []*item) []Seen {
	var out []Seen
	for _, it := range items {
		out = append(out, it.seen("", ""))
	}
	return out
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// foreign shows a text out of a statement: cut, and without what a terminal would obey.
func foreign(s string) string {
	const most = 120
	if runes := []rune(s); len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return escape.Line(s)
}
