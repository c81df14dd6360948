package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// standing is how far a statement gets towards counting for a rule, the closest last.
type standing int

const (
	unrelated    standing = iota // another type, or about something else and found elsewhere
	stranger                     // right type, but neither about the target nor by a signer of the rule
	unusable                     // it has a problem, and was found with the target
	otherSubject                 // right type and signer, found with the target, about something else
	otherSigner                  // right type and about the target, by nobody whom the rule names
	unvouched                    // all of it, without the log entry or the timestamps that the policy wants
	candidate                    // all of it; where and maxAge decide
)

// outcome is how a rule ended for one target.
type outcome struct {
	code    Code // empty: it holds
	detail  string
	counted []*item
	near    []Seen
	against bool     // a statement of the right type, subject and signer does not hold, and not for its age
	values  []string // of the condition that failed
}

// timed reports whether anything says when the statement was made.
func (ev *Evidence) timed() bool { return ev.TimeSource != "" && !ev.Time.IsZero() }

// made is when the statement was made at the latest, as far as both what vouches for its time and it itself say.
func (ev *Evidence) made() time.Time {
	if !ev.Claimed.IsZero() && ev.Claimed.Before(ev.Time) {
		return ev.Claimed
	}
	return ev.Time
}

// sifted is the evidence of one rule and target: what may count, and what came closest of all
// that does not.
type sifted struct {
	candidates []*item
	closest    *item // nil unless its standing says something about why nothing counts
	standing   standing
}

// check applies one rule to all that may be about the target.
func (e *evaluation) check(r *rule, t target) outcome {
	var o outcome
	s := e.sift(r, t, &o)
	deciding := s.candidates
	if r.match == matchLatest {
		deciding = e.latest(s.candidates)
		for _, it := range s.candidates {
			if !slices.Contains(deciding, it) {
				it.note(candidate, "", "a later statement decides")
			}
		}
	}
	var failed []Seen
	for _, it := range deciding {
		code, reason := e.judge(r, t, it)
		if code == "" {
			o.counted = append(o.counted, it)
			continue
		}
		it.note(candidate, code, reason)
		seen := it.seen(code, reason)
		seen.Values = e.explain(r, t, it, code)
		o.against = o.against || code != EvidenceTooOld
		failed = append(failed, seen)
	}
	o.code, o.detail = e.verdict(r, s, o.counted, failed)
	if o.code != "" {
		e.miss("%s", r.name)
	}
	if o.code == SignerNotTrusted || o.code == ThresholdNotMet {
		e.miss("%s.by", r.name)
	}
	if o.code != "" && len(failed) > 0 && failed[0].Code == o.code {
		o.values = failed[0].Values
	}
	o.near = append(o.near, failed...)
	slices.SortStableFunc(o.near, func(a, b Seen) int { return strings.Compare(a.ID, b.ID) })
	return o
}

// sift parts the candidates from those that come close, which it lists as near misses.
func (e *evaluation) sift(r *rule, t target, o *outcome) sifted {
	var out sifted
	for _, it := range e.around(t) {
		s := e.place(r, t, it)
		if s == candidate {
			out.candidates = append(out.candidates, it)
			continue
		}
		if s == unrelated {
			continue
		}
		code, reason := e.shortfall(it, s)
		it.note(s, code, reason)
		o.near = append(o.near, it.seen(code, reason))
		if s > out.standing && s != stranger {
			out.closest, out.standing = it, s
		}
	}
	return out
}

// place finds a statement's standing. Types are compared exactly: a suffix, a slash, another
// case or a NUL makes another type.
func (e *evaluation) place(r *rule, t target, it *item) standing {
	rightType := slices.Contains(r.types, it.PredicateType)
	if !rightType && it.Problem == "" {
		return unrelated
	}
	near := e.policy.about(it.FoundWith, t.Digests) || (len(it.FoundWith) == 0 && !t.dependency)
	if it.Problem != "" {
		if near && (rightType || it.PredicateType == "") {
			return unusable
		}
		return unrelated
	}
	about := e.policy.aboutAny(it.Subjects, t.Subject)
	trusted := slices.ContainsFunc(it.SignedBy, func(s string) bool { return slices.Contains(r.signers, s) })
	switch {
	case about && trusted && e.policy.unwitnessed(it.Evidence) != "":
		return unvouched
	case about && trusted:
		return candidate
	case about:
		return otherSigner
	case near && trusted:
		return otherSubject
	case near:
		return stranger
	}
	return unrelated
}

// shortfall puts a standing below candidate into words.
func (e *evaluation) shortfall(it *item, s standing) (Code, string) {
	if s == unvouched {
		return SignatureInvalid, e.policy.unwitnessed(it.Evidence)
	}
	return it.shortfall(s)
}

// shortfall puts a standing into words that needs no policy.
func (it *item) shortfall(s standing) (Code, string) {
	switch s {
	case otherSigner:
		switch {
		case len(it.SignedBy) > 0:
			return SignerNotTrusted, "signed by " + strings.Join(it.SignedBy, ", ") + ", whom the requirement does not name"
		case it.SignatureNote != "":
			return SignerNotTrusted, foreign(it.SignatureNote)
		}
		return SignerNotTrusted, "not signed by a signer of the policy"
	case otherSubject, stranger:
		return SubjectMismatch, "about something else: " + describeSubjects(it.Subjects)
	}
	return it.Problem, foreign(it.ProblemDetail)
}

func describeSubjects(subjects []map[string]string) string {
	switch len(subjects) {
	case 0:
		return "it has no subject"
	case 1:
		return foreign(short(subjects[0]))
	}
	return fmt.Sprintf("%d subjects, none of them this one", len(subjects))
}

// note remembers the closest that a statement came to counting, for the list of those that
// counted nowhere.
func (it *item) note(s standing, code Code, reason string) {
	if s > it.standing {
		it.standing, it.code, it.reason = s, code, reason
	}
}

// judge asks maxAge and where about a candidate.
func (e *evaluation) judge(r *rule, t target, it *item) (Code, string) {
	if r.maxAge > 0 {
		age := e.now.Sub(it.made())
		switch {
		case !it.timed():
			e.miss("%s.maxAge", r.name)
			return EvidenceTooOld, "nothing says when the statement was made, and the limit is " + days(r.maxAge)
		case e.future(it):
			e.miss("%s.maxAge", r.name)
			return EvidenceTooOld, "dated in the future: " + it.Time.UTC().Format(time.RFC3339)
		case age > r.maxAge:
			e.miss("%s.maxAge", r.name)
			return EvidenceTooOld, fmt.Sprintf("%s old, the limit is %s", days(age), days(r.maxAge))
		}
	}
	for i, c := range r.where {
		if code, reason := c.holds(facts{it.Evidence, t.Subject, e.now, e.policy.params}); code != "" {
			e.miss("%s.where[%d]", r.name, i)
			return code, reason
		}
	}
	if it.PredicateType == evidenceSetType {
		return e.incomplete(it, t)
	}
	return "", ""
}

// explain shows the values in the condition that failed. It explains the first failures of a decision only: each takes another evaluation.
func (e *evaluation) explain(r *rule, t target, it *item, code Code) []string {
	if code != ConditionFalse && code != ConditionError || e.explained == maxExplained {
		return nil
	}
	f := facts{it.Evidence, t.Subject, e.now, e.policy.params}
	for _, c := range r.where {
		failed, _, cost := c.evaluate(f)
		if failed == "" {
			continue
		}
		if e.explained++; cost > explainCost {
			return nil
		}
		return c.traced.values(f.variables())
	}
	return nil
}

func (e *evaluation) future(it *item) bool { return it.Time.Sub(e.now) > MaxClockSkew }

// latest picks the candidates that decide: the newest, and the newest by what they say themselves, since an old statement can be
// timestamped again. A statement with no time, or dated in
// the future, cannot be put in order, so it neither wins nor drops out: it must hold as well.
func (e *evaluation) latest(candidates []*item) []*item {
	var deciding []*item
	var newest, made time.Time
	for _, it := range candidates {
		if !it.timed() || e.future(it) {
			continue
		}
		if it.Time.After(newest) {
			newest = it.Time
		}
		if it.made().After(made) {
			made = it.made()
		}
	}
	for _, it := range candidates {
		if !it.timed() || e.future(it) || it.Time.Equal(newest) || it.made().Equal(made) {
			deciding = append(deciding, it)
		}
	}
	return deciding
}

// days shows a duration in the units that policies are written in.
func days(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}
