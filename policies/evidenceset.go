package policies

import (
	"cmp"
	"fmt"
	"strings"
)

// An evidence set (https://mlseal.dev/attestation/evidence-set/v0.1) is a signed inventory of statements: whoever hides one of
// them from the gate is found out.

// listedStatement is an entry of an evidence set.
type listedStatement struct{ predicateType, id string }

// incomplete says which statements of an evidence set are missing. With `complete: true`, what the set leaves out and is
// older than it is noted.
func (e *evaluation) incomplete(it *item, t target) (Code, string) {
	predicate, _ := it.Statement["predicate"].(map[string]any)
	entries, err := readEvidenceSet(predicate)
	if err != nil {
		return StatementUnusable, err.Error()
	}
	listed := map[string]bool{}
	for _, entry := range entries {
		listed[entry.id] = true
		found := e.byID[entry.id]
		switch {
		case found == nil:
			return TypeMissing, fmt.Sprintf("the set lists the statement %s of type %s, which is not among the evidence", entry.id, cmp.Or(foreign(entry.predicateType), "?"))
		case found.Problem != "":
			return found.Problem, fmt.Sprintf("the statement %s of the set cannot be used: %s", cut(entry.id), foreign(found.ProblemDetail))
		case found.PredicateType != entry.predicateType:
			return TypeMissing, fmt.Sprintf("the set lists %s as %s, but its type is %s", cut(entry.id), foreign(entry.predicateType), foreign(found.PredicateType))
		}
	}
	if predicate["complete"] == true {
		e.noteUnlisted(it, t, listed)
	}
	return "", ""
}

func (e *evaluation) noteUnlisted(set *item, t target, listed map[string]bool) {
	for _, it := range e.around(t) {
		if it.PredicateType == evidenceSetType {
			continue // inventories list statements, not one another: no second one would be like the first
		}
		if it.trusted && !listed[it.ID] && it.timed() && set.timed() && it.Time.Before(set.Time) && e.policy.aboutAny(it.Subjects, t.Subject) {
			e.notes = append(e.notes, fmt.Sprintf("statement %s of type %s is not in the evidence set %s, which says that it is complete",
				cut(it.ID), foreign(it.PredicateType), cut(set.ID)))
		}
	}
}

// readEvidenceSet reads attestations[]{predicateType, digest}. A list that cannot be read, or is empty, is no inventory.
func readEvidenceSet(predicate map[string]any) ([]listedStatement, error) {
	list, ok := predicate["attestations"].([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("it has no list of attestations")
	}
	var out []listedStatement
	for i, v := range list {
		entry, _ := v.(map[string]any)
		predicateType, _ := entry["predicateType"].(string)
		digest, _ := entry["digest"].(string) // "sha256:<hex>", or a DigestSet
		if set, ok := entry["digest"].(map[string]any); ok {
			value, _ := set["sha256"].(string)
			digest = "sha256:" + value
		}
		if !isHex("sha256", strings.TrimPrefix(digest, "sha256:")) || predicateType == "" {
			return nil, fmt.Errorf("attestations[%d] has no predicateType or no sha256 digest", i)
		}
		out = append(out, listedStatement{predicateType, "sha256:" + strings.TrimPrefix(digest, "sha256:")})
	}
	return out, nil
}
