package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// duties fails the requirements whose signers also signed for one that other people must have signed for. The first
// requirements are the policy's, in its order.
func (e *evaluation) duties(requirements []Requirement) {
	for i, r := range e.policy.require {
		detail, unknown := e.overlap(r)
		if q := &requirements[i]; q.Passed && detail != "" {
			e.miss("%s.notSignedBySameIdentityAs", r.id)
			q.Passed, q.Code, q.Detail = false, DutyOverlap, detail
			q.Message, q.Fix = r.message.fill(e.policy.params), r.fix
			e.unknown[r.id] = unknown
			delete(e.satisfied, r.id)
		}
	}
}

// overlap says who signed for the requirement and for one that other people must have signed for. Of one that was not met nobody knows
// who signed it: unknown says that there is no other reason.
func (e *evaluation) overlap(r rule) (detail string, unknown bool) {
	for _, other := range r.notBy {
		theirs := e.satisfied[other]
		if name, ok := e.policy.samePerson(e.satisfied[r.id], theirs); ok {
			return fmt.Sprintf("signed by %s, who signed for %s as well", name, other), false
		}
		if len(theirs) == 0 && detail == "" {
			detail, unknown = fmt.Sprintf("requirement %s failed, so that it is not known whose signature must not stand here", other), true
		}
	}
	return detail, unknown
}

// samePerson finds somebody who signed one of each, as far as names, keys and certificates tell people apart.
func (p *Policy) samePerson(mine, theirs []*item) (string, bool) {
	all := slices.Concat(mine, theirs)
	names := slices.DeleteFunc(signersOf(all), func(name string) bool { return !p.isSigner(name) })
	one, called := p.sameness(names, all)
	known := map[trait]bool{}
	for _, it := range theirs {
		for _, t := range p.traitsOf(it, called) {
			known[one.of(t)] = true
		}
	}
	for _, it := range mine {
		for _, t := range p.traitsOf(it, called) {
			if known[one.of(t)] {
				return strings.Join(it.SignedBy, ", "), true
			}
		}
	}
	return "", false
}

// traitsOf is all that tells who signed a statement.
func (p *Policy) traitsOf(it *item, called map[trait]bool) []trait {
	out := it.VerifiedWith.traits(called)
	for _, name := range it.SignedBy {
		if p.isSigner(name) {
			out = append(out, trait{"signer", name})
		}
	}
	return out
}

// order compares the verified times of requirements: everything that counted for one must not be older than what counted for those
// before it. Equal times are in order. What a statement claims of itself is no time to order by.
func (e *evaluation) order(requirements []Requirement) Requirement {
	out := Requirement{ID: idOrder, Passed: true, Detail: strings.Join(e.policy.order, " before ")}
	var newest time.Time
	var before string
	for _, id := range e.policy.order {
		if slices.ContainsFunc(requirements, func(r Requirement) bool { return r.ID == id && (r.Waiver != "" || r.AcceptedFrom != "") }) {
			continue // nothing counted that could be out of order
		}
		items := slices.Clone(e.satisfied[id])
		if len(items) == 0 {
			out.deny(OrderWrong, fmt.Sprintf("requirement %s failed, so that there is nothing to put in order", id), nil)
			return out
		}
		slices.SortFunc(items, func(a, b *item) int { return cmp.Or(a.Time.Compare(b.Time), compareItems(a, b)) })
		for _, it := range items {
			switch {
			case !it.timed() || it.TimeSource == claimed:
				out.deny(OrderWrong, fmt.Sprintf("nobody but itself says when statement %s of %s was made", cut(it.ID), id), it)
				return out
			case it.Time.Before(newest):
				out.deny(OrderWrong, fmt.Sprintf("statement %s of %s is of %s, before what counted for %s (%s)",
					cut(it.ID), id, it.Time.UTC().Format(time.RFC3339), before, newest.UTC().Format(time.RFC3339)), it)
				return out
			}
		}
		newest, before = items[len(items)-1].Time, id
	}
	return out
}

// separate fails the edges that have a dependency in common with the edge from which they must be disjoint.
func (l *lineage) separate() {
	for _, w := range l.walks {
		for _, other := range l.walks {
			if w.edge.disjoint == other.edge.id {
				w.separateFrom(other)
			}
		}
	}
}

// separateFrom compares all accepted digests. Two digest sets without a common algorithm cannot be told apart, which is not the
// same as being different.
func (w *walk) separateFrom(other *walk) {
	list := digestList{}
	for _, d := range other.found {
		for _, digest := range spellings(d.all) {
			list[digest] = true
		}
	}
	for _, d := range w.found {
		if digest, ok := list.denies(d.all); ok {
			w.miss("%s.disjointFrom", w.edge.name())
			w.fail(DigestDenied, "%s is a dependency of %s as well: %s", d.describe(), other.edge.id, cut(digest))
			continue
		}
		for _, o := range other.found {
			if !haveKindInCommon(d.Digests, o.Digests) {
				w.fail(LineageGap, "%s and %s of %s have no kind of digest in common, so that they cannot be told apart", d.describe(), o.describe(), other.edge.id)
				break
			}
		}
	}
}

// haveKindInCommon reports whether two digest sets have an algorithm in common.
func haveKindInCommon(a, b map[string]string) bool {
	for algorithm := range a {
		if _, ok := b[algorithm]; ok {
			return true
		}
	}
	return false
}
