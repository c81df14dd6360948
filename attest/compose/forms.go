package compose

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/spdx"
)

// approval: what a person decided, for which environment, until when, and which statements that person had seen.
func approval(facts Facts) *Form {
	against := func(a Answers) bool { d := a.first("decision"); return d != "" && d != "approved" }
	f := &Form{Name: "approval", About: "what you decided about an artifact", facts: facts}
	f.Questions = []Question{
		{Name: "decision", key: "decision", About: "what you decided", Choices: []string{"approved", "rejected", "revoked"}},
		{Name: "environment", key: "environment", About: "where it holds, such as prod"},
		{Name: "scope", key: "scope", About: "a part of that environment", Optional: true},
		{Name: "reason", key: "reason", About: "why; a decision against it needs a reason", Optional: true, need: against},
		{Name: "ticket", key: "ticket", About: "the ticket or request that it belongs to", Optional: true},
		timeQuestion("not-before", "notBefore", "when it begins to hold", facts.Now),
		timeQuestion("not-after", "notAfter", "when it ceases to hold", facts.Now),
		{Name: "valid-for", About: "how long it holds from now or --not-before on, such as 30d or 720h", Optional: true, check: checked(duration)},
		f.reviewed(),
	}
	f.build = f.buildApproval
	return f
}

// reviewed asks for the statements that were read.
func (f *Form) reviewed() Question {
	q := Question{Name: "reviewed", Repeated: true, check: func(s string) error { _, err := f.chosen(s); return err },
		About: "the statements that you have read: all, none, or digests"}
	if len(f.facts.Statements) == 0 {
		q.Optional = true
		return q
	}
	q.About = "the statements that you have read: all, none, or their numbers as in 1,3"
	for i, s := range f.facts.Statements {
		q.Show = append(q.Show, fmt.Sprintf("%3d  %s  %s  %s", i+1, s.short(), s.PredicateType, s.SignedBy))
	}
	return q
}

func (s Statement) short() string { return strings.TrimPrefix(s.Digest, "sha256:")[:12] }

var digestPrefix = lazyregexp.New(`^(sha256:)?[0-9a-f]{12,64}$`)

// chosen reads which statements an answer names: all, none, or numbers and digests with commas between them.
func (f *Form) chosen(text string) (digests []string, err error) {
	switch text {
	case "none":
		return nil, nil
	case "all":
		for _, s := range f.facts.Statements {
			digests = append(digests, s.Digest)
		}
		return digests, nil
	}
	for _, name := range strings.Split(text, ",") {
		digest, err := f.find(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		digests = append(digests, digest)
	}
	return digests, nil
}

func (f *Form) find(name string) (string, error) {
	if n, err := strconv.Atoi(name); err == nil && len(name) < 12 {
		if n < 1 || n > len(f.facts.Statements) {
			return "", fmt.Errorf("there is no statement %d, they are 1 to %d", n, len(f.facts.Statements))
		}
		return f.facts.Statements[n-1].Digest, nil
	}
	if !digestPrefix.MatchString(name) {
		return "", fmt.Errorf("%q is neither all, none, a number nor a digest of at least 12 digits", name)
	}
	found := ""
	for _, s := range f.facts.Statements {
		if !strings.HasPrefix(s.Digest, "sha256:"+strings.TrimPrefix(name, "sha256:")) || s.Digest == found {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("%s names several statements", name)
		}
		found = s.Digest
	}
	if found == "" {
		return "", fmt.Errorf("no statement %s is there: mlseal inspect -o json lists the digests, --attestations names more", name)
	}
	return found, nil
}

func (f *Form) buildApproval(a Answers, p map[string]any) error {
	var reviewed []map[string]string
	seen := map[string]bool{}
	for _, text := range a["reviewed"] {
		digests, err := f.chosen(text)
		if err != nil {
			return fmt.Errorf("--reviewed %s: %w: %w", text, ErrAnswer, err)
		}
		for _, d := range digests {
			if !seen[d] {
				seen[d] = true
				reviewed = append(reviewed, digestSet(d))
			}
		}
	}
	if len(reviewed) > 0 {
		p["reviewed"] = reviewed
	}
	return f.period(a, p)
}

// period holds the times to their order, and reckons the end of --valid-for.
func (f *Form) period(a Answers, p map[string]any) error {
	from := f.facts.Now
	if text := a.first("not-before"); text != "" {
		from, _ = parseTime(text, f.facts.Now) // which was checked
	}
	if text := a.first("valid-for"); text != "" {
		if a.first("not-after") != "" {
			return fmt.Errorf("--valid-for: %w: --not-after says it already", ErrAnswer)
		}
		d, err := duration(text)
		if err != nil {
			return fmt.Errorf("--valid-for: %w: %w", ErrAnswer, err)
		}
		p["notAfter"] = stamp(from.Add(d))
		return nil
	}
	if text := a.first("not-after"); text != "" {
		if end, _ := parseTime(text, f.facts.Now); !end.After(from) {
			return fmt.Errorf("--not-after %s: %w: it is over before it begins, at %s", text, ErrAnswer, stamp(from))
		}
	}
	return nil
}

// licenseReview: under which license something may be used, by the word of whoever reviewed it.
func licenseReview(facts Facts) *Form {
	f := &Form{Name: "license-review", About: "what a review of an artifact's licenses concluded", facts: facts}
	f.Questions = []Question{
		{Name: "declared", key: "declared", About: "the license as the artifact or its source states it, in its words", Optional: true, Asked: true},
		{Name: "concluded", key: "concluded", About: "the license that the review concludes, as an SPDX expression", check: spdx.Check},
		{Name: "inherited", key: "inherited", About: "a license that comes from elsewhere: FROM=LICENSE, or FROM=LICENSE;OBLIGATION;…; FROM is a URI, a digest sha256:… or URI@sha256:…",
			Optional: true, Repeated: true, check: checked(inherited), value: func(s string) (any, error) { return inherited(s) }},
		{Name: "use-restriction", key: "useRestrictions", About: "a use that the license forbids or limits", Optional: true, Repeated: true},
		{Name: "reviewer", key: "reviewer", About: "who reviewed it", Optional: true, Asked: true},
	}
	return f
}

// inherited reads FROM=LICENSE;OBLIGATION;… The last "=" ends FROM, since a URI may hold one and no license does.
func inherited(text string) (map[string]any, error) {
	head, rest, more := strings.Cut(text, ";")
	i := strings.LastIndex(head, "=")
	if i < 1 {
		return nil, errors.New("write FROM=LICENSE")
	}
	license := strings.TrimSpace(head[i+1:])
	if err := spdx.Check(license); err != nil {
		return nil, err
	}
	from, err := resource(strings.TrimSpace(head[:i]))
	if err != nil {
		return nil, err
	}
	entry := map[string]any{"from": from, "license": license}
	if more {
		var obligations []string
		for _, o := range strings.Split(rest, ";") {
			if o = strings.TrimSpace(o); o == "" {
				return nil, errors.New("an obligation is empty")
			}
			obligations = append(obligations, o)
		}
		entry["obligations"] = obligations
	}
	return entry, nil
}

var sha256Digest = lazyregexp.New(`^sha256:[0-9a-f]{64}$`)

// resource reads a URI, a digest, or both as URI@sha256:….
func resource(text string) (Resource, error) {
	uri, digest := text, ""
	if at := strings.LastIndex(text, "@sha256:"); at >= 0 {
		uri, digest = text[:at], text[at+1:]
	} else if strings.HasPrefix(text, "sha256:") {
		uri, digest = "", text
	}
	r := Resource{URI: uri}
	if digest != "" {
		if !sha256Digest.MatchString(digest) {
			return r, fmt.Errorf("%s is no sha256 digest", digest)
		}
		r.Digest = digestSet(digest)
	}
	if r.URI == "" && r.Digest == nil {
		return r, errors.New("it names nothing")
	}
	return r, nil
}

// evidenceSet: an inventory of what is there. Earlier inventories are no part of it, or no second one would be like the first.
func evidenceSet(facts Facts) *Form {
	f := &Form{Name: "evidence-set", About: "an inventory of the statements about an artifact, so that one that is withheld is missed", facts: facts}
	f.Questions = []Question{{Name: "complete", About: "whether it lists every statement that there is: true or false", Choices: []string{"true", "false"}, Default: "true", Optional: true}}
	f.build = func(a Answers, p map[string]any) error {
		p["complete"] = a.first("complete") == "true"
		var entries []map[string]any
		for _, s := range f.Listed() {
			entry := map[string]any{"predicateType": s.PredicateType, "digest": digestSet(s.Digest)}
			if s.MediaType != "" {
				entry["mediaType"] = s.MediaType
			}
			entries = append(entries, entry)
		}
		if len(entries) == 0 {
			return fmt.Errorf("evidence-set: %w: there is no statement to list", ErrAnswer)
		}
		p["attestations"] = entries
		return nil
	}
	return f
}

// Listed are the statements that an inventory lists, in the order of their digests.
func (f *Form) Listed() []Statement {
	var listed []Statement
	for _, s := range f.facts.Statements {
		if s.PredicateType != attest.EvidenceSetPredicateType {
			listed = append(listed, s)
		}
	}
	slices.SortFunc(listed, func(a, b Statement) int { return strings.Compare(a.Digest, b.Digest) })
	return slices.CompactFunc(listed, func(a, b Statement) bool { return a.Digest == b.Digest })
}

// revocation: that an artifact must not be used any more.
func revocation(facts Facts) *Form {
	resolve := facts.Resolve
	if resolve == nil {
		resolve = resource
	}
	return &Form{Name: "revocation", About: "that an artifact, and all that was made from it, must not be used any more", facts: facts, Questions: []Question{
		{Name: "reason", key: "reason", About: "why it must not be used"},
		{Name: "severity", key: "severity", About: "how bad it is", Choices: []string{"low", "medium", "high", "critical"}},
		timeQuestion("effective-on", "effectiveOn", "when it begins to hold", facts.Now),
		{Name: "replacement", key: "replacement", About: "the artifact to use instead: a PATH, a REF, or sha256:…", Optional: true,
			value: func(s string) (any, error) {
				named := resolve
				if sha256Digest.MatchString(s) {
					named = resource
				}
				r, err := named(s)
				if err == nil && r.is(facts.Artifact) {
					err = fmt.Errorf("%w: it is the artifact itself that is revoked", ErrAnswer)
				}
				return r, err
			}},
	}}
}

// is reports whether a digest of the resource is one of these.
func (r Resource) is(digests map[string]string) bool {
	for algorithm, hex := range r.Digest {
		if hex != "" && digests[algorithm] == hex {
			return true
		}
	}
	return false
}

// requirementID is what policies call their requirements.
var requirementID = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// waiver: that one requirement of a policy does not count for a while.
func waiver(facts Facts) *Form {
	until := timeQuestion("until", "until", "when the requirement counts again", facts.Now)
	until.Optional = false
	parse := until.check
	until.check = func(s string) error {
		if err := parse(s); err != nil {
			return err
		}
		if t, _ := parseTime(s, facts.Now); !t.After(facts.Now) {
			return errors.New("it is past")
		}
		return nil
	}
	return &Form{Name: "waiver", About: "that one requirement of a policy does not count for an artifact until a date", facts: facts, Questions: []Question{
		{Name: "id", key: "id", About: "the waiver's own number, as the policy names it"},
		{Name: "requirement", key: "requirement", About: "the id of the policy's requirement", check: func(s string) error {
			if !requirementID.MatchString(s) {
				return errors.New("no policy can have a requirement with this id: letters, digits, ., _ and -, at most 100")
			}
			return nil
		}},
		until,
		{Name: "reason", key: "reason", About: "why"},
	}}
}

// timeQuestion asks for a time, which is optional.
func timeQuestion(name, key, about string, now time.Time) Question {
	return Question{Name: name, key: key, About: about + ": an RFC 3339 time, a date (midnight UTC), now, or from now as in 30d", Optional: true,
		check: func(s string) error { _, err := parseTime(s, now); return err },
		value: func(s string) (any, error) { t, err := parseTime(s, now); return stamp(t), err }}
}

// checked makes a check of a parser.
func checked[T any](parse func(string) (T, error)) func(string) error {
	return func(s string) error { _, err := parse(s); return err }
}

func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	d, err := duration(text)
	if err != nil {
		return time.Time{}, errors.New("write a time as 2027-01-31T12:00:00Z, a date as 2027-01-31, now, or a time from now as 30d")
	}
	return now.Add(d), nil
}

var age = lazyregexp.New(`^(?:([0-9]{1,4})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?$`)

// duration reads days, hours and minutes as policies do: 30d, 720h, 1d12h.
func duration(text string) (time.Duration, error) {
	var d time.Duration
	if m := age.FindStringSubmatch(text); m != nil {
		for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute} {
			n, _ := strconv.Atoi(m[i+1]) // "" is 0
			d += time.Duration(n) * unit
		}
	}
	if d <= 0 {
		return 0, errors.New("write days, hours and minutes such as 30d, 720h or 45m")
	}
	return d, nil
}
