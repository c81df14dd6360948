package policies

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// chainedVerdict begins the word in verifiedLevels with which a summary says that its own decision rests on somebody else's.
const chainedVerdict = "MLSEAL_ACCEPTED_VERDICT/"

// ChainedVerdict is the word with which a summary of a decision by the named policy says that it rests on somebody else's verdict. No policy
// accepts such a summary: two gates that accept each other's would keep one look at the evidence fresh for good.
func ChainedVerdict(policy string) string { return chainedVerdict + url.PathEscape(policy) }

// ParamsAnnotation is the annotation of policy in a summary that lists the parameters that were given other values than the document's: the
// policy's digest does not say that. No policy accepts such a summary.
const ParamsAnnotation = "mlseal.dev/params"

// verdictSource is an entry of acceptVerdicts: whose verdicts stand for evidence that is missing here.
type verdictSource struct {
	by, signers []string
	verifier    string     // verifier.id, exactly
	policies    digestList // of which one must have decided; nil for this very policy
	resources   []string   // that resourceUri may be; nil for the artifact's own address
	maxAge      time.Duration
	ids         []string // of requirements; nil for all, and all edges
}

// covers reports whether a verdict may stand for the requirement or edge.
func (s *verdictSource) covers(id string) bool { return s.ids == nil || slices.Contains(s.ids, id) }

// ruling is what one source said of the artifact.
type ruling struct {
	source *verdictSource
	passed []*item // that make it stand; none when it does not
	detail string
	near   []Seen
}

// rulings asks all sources. The requirement denies, and is there only when a source's last word is no.
func (e *evaluation) rulings() ([]ruling, []Requirement) {
	var all []ruling
	var no []Requirement
	for i := range e.policy.verdicts {
		r, failed := e.ruling(&e.policy.verdicts[i])
		all = append(all, r)
		for _, f := range failed {
			f.it.counted = true
			no = append(no, Requirement{ID: idVerdicts, Code: VerdictFailed, Counted: seenAll([]*item{f.it}),
				Detail: fmt.Sprintf("%s says FAILED, VSA %s by %s%s, and nothing that it said later is accepted", foreign(f.verifier), cut(f.it.ID), strings.Join(f.it.SignedBy, ", "), e.old(f.latest)),
				Fix:    "see why it failed there; a later PASSED of the same verifier takes its place"})
		}
	}
	return all, no[:min(len(no), 1)]
}

// ruling sorts what a source said: the latest word is what counts. failed is its last no, if that is it.
func (e *evaluation) ruling(s *verdictSource) (r ruling, failed []summary) {
	r.source = s
	var passed []summary
	for _, it := range e.items {
		if it.PredicateType != verdictType {
			continue
		}
		v, code, reason := e.fits(s, it)
		switch {
		case reason != "":
			e.refuseVerdict(&r, it, code, reason)
		case v.result == resultFailed:
			failed = append(failed, v)
		default:
			passed = append(passed, v)
		}
	}
	slices.SortStableFunc(failed, func(a, b summary) int { return b.latest.Compare(a.latest) })
	var last []summary
	for _, v := range passed {
		if len(failed) > 0 && !v.earliest.After(failed[0].latest) {
			e.refuseVerdict(&r, v.it, VerdictFailed, "PASSED, and FAILED later or at the same time")
			continue
		}
		r.passed, last = append(r.passed, v.it), append(last, v)
	}
	if missing := e.policy.missing(s.by, r.passed); len(r.passed) == 0 || missing != "" {
		for _, it := range r.passed {
			e.refuseVerdict(&r, it, ThresholdNotMet, missing)
		}
		r.passed = nil
		return r, failed
	}
	newest := slices.MaxFunc(last, func(a, b summary) int { return a.earliest.Compare(b.earliest) })
	r.detail = fmt.Sprintf("accepted from %s, VSA %s by %s%s", foreign(s.verifier), cut(newest.it.ID), strings.Join(signersOf(r.passed), ", "), e.old(newest.earliest))
	return r, nil
}

func (e *evaluation) old(t time.Time) string {
	return fmt.Sprintf(", %s old", days(max(0, e.now.Sub(t))))
}

// refuseVerdict remembers why a summary is not accepted.
func (e *evaluation) refuseVerdict(r *ruling, it *item, code Code, reason string) {
	if it.Problem == "" && code != SubjectMismatch && code != SignerNotTrusted {
		it.note(candidate, code, reason)
	}
	r.near = append(r.near, it.seen(code, "a verdict that is not accepted: "+reason))
}

// fits reads a summary, and says why it is not one that the source may give.
func (e *evaluation) fits(s *verdictSource, it *item) (v summary, code Code, reason string) {
	if it.Problem != "" {
		return v, it.Problem, foreign(it.ProblemDetail)
	}
	if !e.policy.aboutAny(it.Subjects, e.subject) {
		code, reason = it.shortfall(otherSubject)
		return v, code, reason
	}
	if !slices.ContainsFunc(it.SignedBy, func(name string) bool { return slices.Contains(s.signers, name) }) {
		code, reason = it.shortfall(otherSigner)
		return v, code, reason
	}
	if lacks := e.policy.unwitnessed(it.Evidence); lacks != "" {
		return v, SignatureInvalid, lacks
	}
	v, err := readSummary(it)
	if err != nil {
		return v, StatementUnusable, err.Error()
	}
	if code, reason = e.agrees(s, v); code == "" {
		code, reason = e.inTime(s, v)
	}
	return v, code, reason
}

// agrees compares what a summary is about with what the source's verdicts must be about. A no counts wherever the artifact came from.
func (e *evaluation) agrees(s *verdictSource, v summary) (Code, string) {
	own := "sha256:" + v.policy
	switch {
	case v.verifier != s.verifier:
		return VerdictNotAccepted, "its verifier is " + foreign(v.verifier) + ", not " + s.verifier
	case s.policies == nil && own != e.policy.ref.Digest:
		return VerdictNotAccepted, "another policy decided: " + cut(own) + ", not this one, " + cut(e.policy.ref.Digest)
	case s.policies != nil && !s.policies[own]:
		return VerdictNotAccepted, "another policy decided: " + cut(own)
	case v.result == resultFailed:
		return "", ""
	case v.overridden:
		return VerdictNotAccepted, "its policy decided with other parameters than its own"
	case v.chained:
		return VerdictNotAccepted, "it rests on a verdict of somebody else itself"
	case !slices.ContainsFunc(e.addresses(s), func(want string) bool { return v.resource == want }):
		return SubjectMismatch, "its resourceUri is " + foreign(v.resource) + ", which is not where this artifact comes from"
	}
	return "", ""
}

// addresses are what resourceUri may be: what the policy lists, with the artifact's digest behind it or not, or what mlseal itself calls
// the artifact.
func (e *evaluation) addresses(s *verdictSource) []string {
	at := ""
	if sha := e.subject.Digests["sha256"]; sha != "" {
		at = "@sha256:" + sha
	}
	var out []string
	for _, uri := range s.resources {
		out = append(out, uri, uri+at)
	}
	switch {
	case s.resources != nil || at == "":
	case e.subject.Repository != "":
		out = []string{"oci://" + e.subject.Repository + at}
	default:
		out = []string{"oci:" + url.PathEscape(e.subject.Name) + at}
	}
	return out
}

// inTime checks maxAge. A no that nobody can put in order is in time.
func (e *evaluation) inTime(s *verdictSource, v summary) (Code, string) {
	age := e.now.Sub(v.earliest)
	if v.result == resultFailed {
		age = e.now.Sub(v.latest)
	}
	switch {
	case v.result != resultFailed && v.latest.Sub(e.now) > MaxClockSkew:
		return EvidenceTooOld, "dated in the future: " + v.latest.UTC().Format(time.RFC3339)
	case age > s.maxAge:
		return EvidenceTooOld, fmt.Sprintf("%s old, the limit is %s", days(age), days(s.maxAge))
	}
	return "", ""
}

// standIn lets what was accepted stand for requirements that failed for want of evidence. What trusted evidence speaks against stays as
// it is. Summaries that were not accepted are shown beside what still fails.
func (e *evaluation) standIn(rulings []ruling, requirements []Requirement) {
	for i := range requirements {
		q := &requirements[i]
		for _, r := range rulings {
			if q.Passed || !r.source.covers(q.ID) {
				continue
			}
			if len(r.passed) == 0 || !e.isMissing(*q) {
				q.NearMisses = append(q.NearMisses, r.near...)
				continue
			}
			q.Passed, q.AcceptedFrom = true, r.source.verifier
			q.Detail = fmt.Sprintf("%s; %s: %s", r.detail, q.Code, q.Detail)
			q.Code, q.Message, q.Fix, q.Values = "", "", "", nil
			for _, it := range r.passed {
				it.counted = true
				q.Counted = append(q.Counted, it.seen("", ""))
			}
		}
	}
}

// isMissing reports whether a requirement or an edge failed since something is not there, and not since something is.
func (e *evaluation) isMissing(q Requirement) bool {
	if e.against[q.ID] {
		return false
	}
	if strings.HasPrefix(q.ID, edgePrefix) {
		return slices.Contains([]Code{LineageGap, EvidenceTooOld, ThresholdNotMet}, q.Code)
	}
	switch q.Code {
	case LineageAmbiguous:
		return false
	case DutyOverlap:
		return e.unknown[q.ID]
	}
	return true
}
