package policies

import (
	"fmt"
	"slices"
	"strings"
)

// verdict chooses the one code that a rule ends with, and its detail. The order is from the
// statement that came closest to nothing at all, since the first is what has to be mended:
//
//  1. a candidate (right type, subject and signer) failed maxAge or where: its code; with
//     `match: any` only when no candidate held;
//  2. `match: one`, and several candidates: LINEAGE_AMBIGUOUS;
//  3. all held, but a group has too few signers: THRESHOLD_NOT_MET;
//  4. no candidate, a statement that lacks a log entry or timestamps: SIGNATURE_INVALID; by somebody else: SIGNER_NOT_TRUSTED;
//  5. one by the right signer that came with the artifact, about something else: SUBJECT_MISMATCH;
//  6. one that cannot be used and came with the artifact: its own code;
//  7. none of these: TYPE_MISSING.
func (e *evaluation) verdict(r *rule, s sifted, counted []*item, failed []Seen) (Code, string) {
	switch {
	case len(s.candidates) == 0 && s.closest == nil:
		return TypeMissing, fmt.Sprintf("no %s statement by %s", r.label, strings.Join(r.by, " or "))
	case len(s.candidates) == 0:
		code, reason := e.shortfall(s.closest, s.standing)
		return code, fmt.Sprintf("%s statement %s: %s", r.label, cut(s.closest.ID), reason)
	case len(failed) > 0 && (r.match != matchAny || len(counted) == 0):
		return failed[0].Code, fmt.Sprintf("%s statement %s: %s", r.label, cut(failed[0].ID), failed[0].Reason)
	case r.match == matchOne && len(s.candidates) > 1:
		return LineageAmbiguous, fmt.Sprintf("%d %s statements where exactly one is wanted", len(s.candidates), r.label)
	}
	if missing := e.policy.missing(r.by, counted); missing != "" {
		return ThresholdNotMet, missing
	}
	return "", fmt.Sprintf("%s by %s%s", plural(len(counted), r.label+" statement"), strings.Join(signersOf(counted), ", "), when(counted))
}

// missing is empty when one of the names in by is fulfilled: a signer by one statement, a group
// by enough different members. One member with many statements is one member.
func (p *Policy) missing(by []string, counted []*item) string {
	present := signersOf(counted)
	var short []string
	for _, name := range by {
		s := p.signers[name]
		if !s.isGroup() {
			if slices.Contains(present, name) {
				return ""
			}
			continue
		}
		var have []string
		for _, m := range s.members {
			if slices.Contains(present, m) {
				have = append(have, m)
			}
		}
		n := p.people(have, counted)
		if n >= s.atLeast {
			return ""
		}
		who := strings.Join(have, ", ")
		if n < len(have) {
			who += "; several are one key or one name"
		}
		short = append(short, fmt.Sprintf("%d of %d signers of %s (%s)", n, s.atLeast, name, who))
	}
	return strings.Join(short, "; ")
}

// signersOf are the different signers of the statements, sorted.
func signersOf(items []*item) []string {
	var out []string
	for _, it := range items {
		out = append(out, it.SignedBy...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// when says how old a single statement is, as far as anything says.
func when(items []*item) string {
	if len(items) != 1 || !items[0].timed() {
		return ""
	}
	return fmt.Sprintf(", %s (%s)", items[0].Time.UTC().Format("2006-01-02 15:04 UTC"), foreign(items[0].TimeSource))
}
