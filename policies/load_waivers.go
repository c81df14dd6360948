package policies

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

func (l *loader) waivers(n *yaml.Node) {
	seen := map[string]bool{}
	for _, c := range l.list(n, "waivers") {
		f := l.mapping(c, "a waiver", "id", "requirement", "subject", "until", "reason", "by")
		w := waiver{
			id:          l.identifier(l.need(f, "id"), "id"),
			requirement: l.str(l.need(f, "requirement"), "requirement"),
			reason:      l.str(l.need(f, "reason"), "reason"),
			until:       l.instant(l.need(f, "until"), "until"),
		}
		digest := l.str(l.need(f, "subject"), "subject")
		if l.err == nil {
			w.by = l.by(f)
		}
		if l.err != nil {
			return
		}
		algorithm, err := parseDigest(digest)
		if err != nil {
			l.failf(f.at["subject"], "subject: %v", err)
			return
		}
		if !slices.Contains(l.policy.algorithms, algorithm) {
			l.failf(f.at["subject"], "subject is a %s, which digests.algorithms leaves out: it would never match", algorithm)
		}
		w.subject = map[string]string{algorithm: strings.TrimPrefix(digest, algorithm+":")}
		if seen[w.id] {
			l.failf(f.at["id"], "duplicate id %q", w.id)
		}
		seen[w.id] = true
		l.oneRequirement(f.at["requirement"], "requirement", w.requirement)
		l.policy.waivers = append(l.policy.waivers, w)
	}
}

// oneRequirement checks the id of a requirement.
func (l *loader) oneRequirement(n *yaml.Node, what, id string) {
	var known []string
	for _, r := range l.policy.require {
		known = append(known, r.id)
	}
	if !slices.Contains(known, id) {
		l.failf(n, "%s names %q, which is not the id of a requirement%s", what, id, suggest(id, known))
	}
}

func (l *loader) acceptWaivers(n *yaml.Node) {
	if n == nil || l.err != nil {
		return
	}
	f := l.mapping(n, "acceptWaivers", "by", "for", "maxDays")
	o := outsideWaivers{by: l.by(f), longest: MaxWaiver}
	ids := l.need(f, "for")
	o.requirements = l.names(ids, "acceptWaivers.for")
	l.requirementIDs(ids, "acceptWaivers.for", o.requirements, "")
	if d := f.at["maxDays"]; d != nil {
		days := l.integer(d, "acceptWaivers.maxDays", 1)
		if o.longest = time.Duration(days) * 24 * time.Hour; o.longest > MaxWaiver {
			l.failf(d, "acceptWaivers.maxDays is %d; it must be at most %d", days, MaxWaiver/(24*time.Hour))
		}
	}
	o.signers = l.take(o.by)
	l.policy.outside = &o
}
