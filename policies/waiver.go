package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxWaiver is how far ahead of now a waiver may end.
const MaxWaiver = 90 * 24 * time.Hour

// waiver lets one artifact pass without one requirement for a time. Those in the policy stand by the policy's own authority; others
// are statements of type https://mlseal.dev/attestation/waiver/v0.1 about the artifact: {id, requirement, until, reason}.
type waiver struct {
	id, requirement, reason string
	subject                 map[string]string // nil for a statement, which is about the artifact
	until                   time.Time
	by                      []string
	items                   []*item // the statements; nil for one in the policy
	flaw                    string  // why it does not count; empty when it may
}

// outsideWaivers says which statements count as waivers.
type outsideWaivers struct {
	by, signers  []string
	requirements []string
	longest      time.Duration
}

// waive applies the waivers to the requirements that failed. What does not apply is noted.
func (e *evaluation) waive(requirements []Requirement) {
	for _, w := range slices.Concat(e.policy.waivers, e.signedWaivers()) {
		i := slices.IndexFunc(requirements, func(r Requirement) bool { return r.ID == w.requirement })
		if i < 0 || requirements[i].Passed {
			for _, it := range w.items {
				it.note(candidate, "", "a waiver of what needs none")
			}
			continue
		}
		if code, why := e.unfit(w); why != "" {
			e.refuse(w, code, why)
			continue
		}
		r := &requirements[i]
		r.Passed, r.Waiver = true, w.id
		r.Detail = fmt.Sprintf("WAIVED by %s until %s (%s); %s: %s", w.id, w.until.UTC().Format("2006-01-02"), foreign(w.reason), r.Code, r.Detail)
		r.Code, r.Message, r.Fix = "", "", ""
		for _, it := range w.items {
			it.counted = true
			r.Counted = append(r.Counted, it.seen("", ""))
		}
	}
}

// refuse prints a waiver that does not count, once, in the notes and with the statements that it consists of.
func (e *evaluation) refuse(w waiver, code Code, why string) {
	text := why
	if code != "" {
		text = string(code) + ": " + why
	}
	e.notes = append(e.notes, fmt.Sprintf("waiver %s of %s is ignored: %s", foreign(w.id), foreign(w.requirement), text))
	for _, it := range w.items {
		it.note(candidate, code, "a waiver that is ignored: "+why)
	}
}

// unfit says why a waiver does not count. One that nobody can date, for want of a clock, does not.
func (e *evaluation) unfit(w waiver) (Code, string) {
	longest := MaxWaiver
	if w.subject == nil && e.policy.outside != nil {
		longest = e.policy.outside.longest
	}
	end := w.until.UTC().Format(time.RFC3339)
	switch {
	case w.subject != nil && !e.policy.about(w.subject, e.subject.Digests):
		return SubjectMismatch, "it is for " + short(w.subject)
	case w.flaw != "":
		return "", w.flaw
	case e.now.IsZero():
		return WaiverExpired, "it ends on " + end + " and no clock was given"
	case !e.now.Before(w.until):
		return WaiverExpired, "it ended on " + end
	case w.until.Sub(e.now) > longest:
		return WaiverExpired, fmt.Sprintf("it ends on %s; the limit is %s ahead", end, days(longest))
	}
	if r := e.policy.ruleByID(w.requirement); e.policy.waivesItself(w, r) {
		return DutyOverlap, "who signs for a requirement cannot waive it"
	}
	return "", ""
}

// waivesItself reports whether the waiver is by somebody who may sign for the requirement, under this name or another.
func (p *Policy) waivesItself(w waiver, r *rule) bool {
	var who []string
	for _, name := range w.by {
		if s := p.signers[name]; s.isGroup() && w.items == nil {
			who = append(who, s.members...)
		} else {
			who = append(who, name)
		}
	}
	names := slices.DeleteFunc(slices.Concat(who, r.signers), func(name string) bool { return !p.isSigner(name) })
	one, called := p.sameness(names, w.items)
	theirs := map[trait]bool{}
	for _, name := range r.signers {
		theirs[one.of(trait{"signer", name})] = true
	}
	if slices.ContainsFunc(who, func(name string) bool { return theirs[one.of(trait{"signer", name})] }) {
		return true
	}
	return slices.ContainsFunc(w.items, func(it *item) bool {
		return slices.ContainsFunc(p.traitsOf(it, called), func(t trait) bool { return theirs[one.of(t)] })
	})
}

// signedWaivers reads the statements that are waivers. Those with one id and requirement are one: it ends when the first
// of them does, and enough signers must have made them.
func (e *evaluation) signedWaivers() []waiver {
	var out []waiver
	for _, it := range e.items {
		if it.PredicateType != waiverType || !it.trusted || !e.policy.aboutAny(it.Subjects, e.subject) {
			continue
		}
		if why := e.policy.unwitnessed(it.Evidence); why != "" {
			it.note(unvouched, SignatureInvalid, why)
			e.notes = append(e.notes, fmt.Sprintf("the waiver %s is ignored: %s", cut(it.ID), why))
			continue
		}
		w := readWaiver(it)
		i := slices.IndexFunc(out, func(o waiver) bool { return o.id == w.id && o.requirement == w.requirement })
		if i < 0 {
			out = append(out, w)
			continue
		}
		out[i].items = append(out[i].items, it)
		out[i].by = signersOf(out[i].items)
		out[i].flaw = cmp.Or(out[i].flaw, w.flaw)
		if w.until.Before(out[i].until) {
			out[i].until = w.until
		}
	}
	for i := range out {
		out[i].flaw = cmp.Or(out[i].flaw, e.policy.unaccepted(out[i]))
	}
	slices.SortFunc(out, func(a, b waiver) int {
		return cmp.Or(strings.Compare(a.id, b.id), strings.Compare(a.requirement, b.requirement))
	})
	return out
}

func readWaiver(it *item) waiver {
	w := waiver{items: []*item{it}, by: it.SignedBy}
	predicate, _ := it.Statement["predicate"].(map[string]any)
	for key, to := range map[string]*string{"id": &w.id, "requirement": &w.requirement, "reason": &w.reason} {
		*to, _ = predicate[key].(string)
	}
	text, _ := predicate["until"].(string)
	until, err := time.Parse(time.RFC3339, text)
	w.until = until
	switch {
	case !idText.MatchString(w.id) || w.reason == "":
		w.flaw = "it has no id or no reason"
	case err != nil:
		w.flaw = "it has no end"
	}
	return w
}

// unaccepted says why the policy does not take a waiver from outside.
func (p *Policy) unaccepted(w waiver) string {
	switch o := p.outside; {
	case o == nil:
		return "the policy has no acceptWaivers"
	case !slices.Contains(o.requirements, w.requirement):
		return "acceptWaivers does not name this requirement"
	default:
		items := slices.DeleteFunc(slices.Clone(w.items), func(it *item) bool {
			return !slices.ContainsFunc(it.SignedBy, func(name string) bool { return slices.Contains(o.signers, name) })
		})
		if len(items) == 0 {
			return "not signed by whom acceptWaivers names"
		}
		return p.missing(o.by, items)
	}
}
