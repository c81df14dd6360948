package policies

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Trace is Evaluate, and the parts of the policy that something did not meet, sorted: they show which parts a test has seen
// saying no. Parts are named by the requirement or the entry (RuleOutline.Name) to which they belong:
//
//	eval-bar                        the requirement as a whole, and lineage:dataset the edge
//	eval-bar.where[0]               a condition that was false or an error
//	eval-bar.maxAge                 too old, from the future, or without a time
//	eval-bar.by                     nobody whom it names signed, or too few of a group
//	eval-bar.notSignedBySameIdentityAs
//	lineage:dataset.count           too few or too many
//	lineage:dataset.accept[1]       an entry that did not hold for a dependency
//	lineage:dataset.denyDigests
//	lineage:dataset.disjointFrom
//
// and, as requirements, digests.deny, lineage.order, match, policy and revocations.
func (p *Policy) Trace(subject Subject, evidence []Evidence, now time.Time) (*Decision, []string) {
	missed := map[string]bool{}
	d := p.evaluate(subject, evidence, now, missed)
	for _, r := range d.Requirements {
		if !r.Passed {
			missed[r.ID] = true
		}
	}
	return d, slices.Sorted(maps.Keys(missed))
}

// miss notes that something did not meet a part, when anybody wants to know.
func (e *evaluation) miss(format string, args ...any) {
	if e.missed != nil {
		e.missed[fmt.Sprintf(format, args...)] = true
	}
}
