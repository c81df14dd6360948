// Package review reads policies for people: Lint finds what is allowed and probably not meant, Explain says in plain words what a policy asks and
// what it does not, Compare says what is different between two. They decide nothing.
package review

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/policies"
)

// Predicate types of which lint knows what they are for.
const (
	provenance  = "https://slsa.dev/provenance/v1"
	evaluation  = "https://mlseal.dev/attestation/evaluation/v0.1"
	scan        = "https://mlseal.dev/attestation/artifact-scan/v0.1"
	approval    = "https://mlseal.dev/attestation/approval/v0.1"
	dataset     = "https://mlseal.dev/attestation/dataset/v0.1"
	evidenceSet = "https://mlseal.dev/attestation/evidence-set/v0.1"
)

// soon is how long before its end a policy is worth renewing.
const soon = 30 * 24 * time.Hour

// Warning is something in a policy that is probably not meant.
type Warning struct {
	Check   string `json:"check"` // a stable name
	Line    int    `json:"line"`  // counts from 1; 1 for what is missing in the whole document
	Message string `json:"message"`
}

// Checks are the names of all checks, with what each looks for.
var Checks = map[string]string{
	"expiry":              "a policy without an end, past it, or within 30 days of it",
	"version":             "a policy without a version: a rollback cannot be noticed",
	"owner":               "a policy without an owner: nobody to ask",
	"unused-signer":       "a signer whom nothing names",
	"type-only":           "an attestation without `where`: whatever it says, it passes",
	"no-max-age":          "an evaluation, scan or approval without maxAge: an old one passes for good",
	"match-any":           "match: any, which a failing statement beside a passing one does not stop",
	"unanchored":          "matches() without ^ and $, which finds its pattern anywhere",
	"negated-exists":      "!exists(), which an empty list fulfils",
	"pattern":             "a keyless signer by pattern, or whoever has a certificate of an authority",
	"own-approval":        "an approval by somebody who may also have made what is approved",
	"no-lineage":          "provenance whose dependencies nobody follows",
	"nothing-blocks-much": "most requirements warn only",
	"claimed-times":       "times that count, where nothing vouches for them",
	"unlimited-role":      "an edge that needs no dependency (count.min: 0)",
}

// Lint returns the warnings by line.
func Lint(p *policies.Policy, now time.Time) []Warning {
	l := &linter{Outline: p.Outline(), now: now}
	l.document()
	l.signers()
	for _, r := range l.Requirements {
		l.rule(r)
		l.approval(r)
	}
	for _, g := range l.Edges {
		for _, r := range slices.Concat(g.Accept, g.Each) {
			l.rule(r)
		}
		if g.Min == 0 && g.Max != 0 || g.Min == 0 && len(g.Accept)+len(g.Each) > 0 {
			l.warn("unlimited-role", g.Line, "a provenance without any %s passes (count.min: 0): leaving it out of the provenance goes unnoticed", g.Role)
		}
	}
	l.lineage()
	l.times()
	slices.SortStableFunc(l.warnings, func(a, b Warning) int { return a.Line - b.Line })
	return l.warnings
}

type linter struct {
	policies.Outline
	now      time.Time
	warnings []Warning
}

func (l *linter) warn(check string, line int, format string, args ...any) {
	l.warnings = append(l.warnings, Warning{check, max(line, 1), fmt.Sprintf(format, args...)})
}

func (l *linter) document() {
	switch left := l.Expires.Sub(l.now); {
	case l.Expires.IsZero():
		l.warn("expiry", 1, "the policy has no end (expires): who keeps an old one keeps it for good")
	case left <= 0:
		l.warn("expiry", 1, "the policy ended on %s and denies everything", l.Expires.Format(time.RFC3339))
	case left < soon:
		l.warn("expiry", 1, "the policy ends in %d days, on %s", left/(24*time.Hour), l.Expires.Format(time.RFC3339))
	}
	if l.Ref.Version == 0 {
		l.warn("version", 1, "the policy has no version: nobody can tell that an older one is used")
	}
	if l.Owner == "" {
		l.warn("owner", 1, "the policy has no owner: who is denied does not know whom to ask")
	}
	soft := 0
	for _, r := range l.Requirements {
		if r.Severity != policies.Block {
			soft++
		}
	}
	if soft*2 > len(l.Requirements) {
		l.warn("nothing-blocks-much", l.Requirements[0].Line, "%d of %d requirements only warn", soft, len(l.Requirements))
	}
}

// rules are all rules, of the artifact and of dependencies.
func (l *linter) rules() []policies.RuleOutline {
	out := slices.Clone(l.Requirements)
	for _, g := range l.Edges {
		out = append(append(out, g.Accept...), g.Each...)
	}
	return out
}

func (l *linter) signers() {
	used := map[string]bool{}
	use := func(names []string) {
		for _, name := range names {
			used[name] = true
		}
	}
	for _, r := range l.rules() {
		use(r.By)
	}
	use(l.WaiversBy)
	use(l.Revokers)
	for _, v := range l.Verdicts {
		use(v.By)
	}
	for _, w := range l.Waivers {
		use(w.By)
	}
	for _, s := range l.Signers {
		if s.Kind == "group" && used[s.Name] {
			use(s.Members)
		}
	}
	for _, s := range l.Signers {
		switch {
		case !used[s.Name]:
			l.warn("unused-signer", s.Line, "nothing names the signer %s; it still counts where any signer of the policy does, as for revocations", s.Name)
		case s.Pattern != "":
			l.warn("pattern", s.Line, "%s is whoever the pattern matches: %s", s.Name, s.Pattern)
		case s.Any:
			l.warn("pattern", s.Line, "%s is whoever has a certificate of the authority (anySubject)", s.Name)
		}
	}
}

var (
	matchesCall   = lazyregexp.New(`\.matches\(\s*r?(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')\s*\)`)
	negatedExists = lazyregexp.New(`![\s(]*[A-Za-z_][\w.\[\]"']*\.exists\(`)
)

// bare are the types of which a statement says enough by being there.
var bare = []string{evidenceSet}

func (l *linter) rule(r policies.RuleOutline) {
	isAttestation := len(r.Types) == 1
	if isAttestation && len(r.Where) == 0 && !slices.Contains(bare, r.Types[0]) {
		l.warn("type-only", r.Line, "%s asks for a %s and not for what it says: one that says no passes", r.Name, r.Label)
	}
	if isAttestation && r.MaxAge == 0 && slices.Contains([]string{evaluation, scan, approval}, r.Types[0]) {
		l.warn("no-max-age", r.Line, "%s has no maxAge: a statement (%s) of last year passes", r.Name, r.Label)
	}
	if r.Match == "any" {
		l.warn("match-any", r.Line, "%s has match: any: one statement that holds hides all that do not", r.Name)
	}
	for _, c := range r.Where {
		l.condition(r, c)
	}
}

func (l *linter) condition(r policies.RuleOutline, c policies.ConditionOutline) {
	for _, m := range matchesCall.FindAllStringSubmatch(c.Text, -1) {
		if pattern := m[1] + m[2]; !strings.HasPrefix(pattern, "^") || !strings.HasSuffix(pattern, "$") {
			l.warn("unanchored", c.Line, "%s: matches(%q) finds the pattern anywhere in the text: write ^ and $", r.Name, pattern)
		}
	}
	if negatedExists.MatchString(c.Text) {
		l.warn("negated-exists", c.Line, "%s: !….exists(…) is true of an empty list: ask for size() > 0 too", r.Name)
	}
}

// approval warns when those who approve may have made what they approve.
func (l *linter) approval(r policies.RuleOutline) {
	if !slices.Contains(r.Types, approval) {
		return
	}
	for _, other := range l.Requirements {
		if other.ID == r.ID || slices.Contains(r.NotBy, other.ID) || slices.Contains(other.Types, approval) {
			continue
		}
		for _, name := range r.Signers {
			if slices.Contains(other.Signers, name) {
				l.warn("own-approval", r.Line, "%s may sign for %s and for %s: write notSignedBySameIdentityAs: [%s]", name, other.ID, r.ID, other.ID)
				break
			}
		}
	}
}

// lineage warns of provenance that no edge starts at.
func (l *linter) lineage() {
	for _, r := range l.Requirements {
		if !slices.Contains(r.Types, provenance) {
			continue
		}
		if !slices.ContainsFunc(l.Edges, func(g policies.EdgeOutline) bool { return slices.Contains(g.From, r.ID) }) {
			l.warn("no-lineage", r.Line, "no edge of the lineage starts at %s: nobody looks at what the artifact was made from", r.ID)
		}
	}
}

// times warns when ages or an order count and every statement may say itself when it was made.
func (l *linter) times() {
	if l.Timestamps > 0 || l.Log == "required" || !slices.ContainsFunc(l.Signers, func(s policies.SignerOutline) bool { return s.Kind == "key" || s.Kind == "certificate" }) {
		return
	}
	for _, r := range l.rules() {
		if r.MaxAge > 0 && slices.ContainsFunc(r.Signers, l.unwitnessed) {
			l.warn("claimed-times", r.Line, "%s has a maxAge, and the time may be the signer's own claim: demand trust.timestamps or keyless signers", r.Name)
		}
	}
	if len(l.Order) > 0 {
		l.warn("claimed-times", 1, "lineage.order needs times that somebody vouches for, and signatures of keys have none without trust.timestamps: such statements are always denied")
	}
}

// unwitnessed reports whether a signer's statements may have no time but their own.
func (l *linter) unwitnessed(name string) bool {
	return slices.ContainsFunc(l.Signers, func(s policies.SignerOutline) bool { return s.Name == name && s.Kind != "keyless" && s.Kind != "group" })
}
