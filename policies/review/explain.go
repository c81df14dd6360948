package review

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/policies"
)

// Section is a part of an explanation: a title and its points.
type Section struct {
	Title  string   `json:"title"`
	Points []string `json:"points"`
}

// Explain says in plain words what a policy asks, what it does not ask, and what has to be attested for it.
func Explain(p *policies.Policy) []Section {
	e := explainer{p.Outline()}
	sections := []Section{
		{"What it is", e.document()},
		{"Who is trusted, and for what", e.trust()},
		{"What must hold", e.requirements()},
		{"What the artifact was made from", e.lineage()},
		{"What is refused whatever is signed", e.refused()},
		{"What is let off", e.waivers()},
		{"What is not checked", e.unchecked()},
		{"What to attest", e.commands()},
	}
	return slices.DeleteFunc(sections, func(s Section) bool { return len(s.Points) == 0 })
}

type explainer struct{ policies.Outline }

func (e explainer) document() []string {
	out := []string{fmt.Sprintf("Policy %s%s.", e.Ref.Name, version(e.Ref.Version))}
	if e.Owner != "" {
		out = append(out, "Its owner is "+e.Owner+".")
	}
	if e.Expires.IsZero() {
		out = append(out, "It has no end.")
	} else {
		out = append(out, "From "+e.Expires.UTC().Format(time.RFC3339)+" on it denies everything.")
	}
	switch {
	case len(e.Repositories)+len(e.Artifacts) == 0:
		out = append(out, "It is for every artifact that it is asked about.")
	default:
		if len(e.Repositories) > 0 {
			out = append(out, "It is for artifacts in "+either(e.Repositories)+", and decides about no other.")
		}
		if len(e.Artifacts) > 0 {
			out = append(out, "It is for artifacts of type "+either(e.Artifacts)+", and decides about no other.")
		}
	}
	for _, p := range e.Params {
		changeable := "it is fixed"
		if p.Override {
			changeable = "whoever asks may give another value, which the decision shows"
		}
		out = append(out, fmt.Sprintf("Its parameter %s is %s; %s.", p.Name, p.Value, changeable))
	}
	return out
}

func version(v int) string {
	if v == 0 {
		return ", without a version"
	}
	return fmt.Sprintf(", version %d", v)
}

func either(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

func (e explainer) trust() []string {
	var out []string
	for _, s := range e.Signers {
		who := fmt.Sprintf("%s, with the key %s", s.Name, strings.Join(s.Identity, " or "))
		switch s.Kind {
		case "group":
			who = fmt.Sprintf("%s, at least %d different people of %s", s.Name, s.AtLeast, strings.Join(s.Members, ", "))
		case "keyless", "certificate":
			who = fmt.Sprintf("%s, who is %s", s.Name, strings.Join(s.Identity, ""))
		}
		if what := e.trustedFor(s.Name); len(what) > 0 {
			out = append(out, who+": for "+strings.Join(what, ", ")+".")
		} else {
			out = append(out, who+": for nothing by itself.")
		}
	}
	switch {
	case e.Log == "required":
		out = append(out, "Every signature must be in a trusted transparency log.")
	case e.Log == "forbidden":
		out = append(out, "No signature may be in a transparency log.")
	}
	if e.Timestamps > 0 {
		out = append(out, fmt.Sprintf("At least %d different authorities must vouch for the time of every signature.", e.Timestamps))
	}
	return out
}

// trustedFor lists the rules that name a signer, and groups of which it is a member.
func (e explainer) trustedFor(name string) []string {
	var out []string
	l := linter{Outline: e.Outline}
	for _, r := range l.rules() {
		if slices.Contains(r.By, name) {
			out = append(out, r.Name)
		}
	}
	for _, s := range e.Signers {
		if slices.Contains(s.Members, name) {
			out = append(out, "being one of "+s.Name)
		}
	}
	if slices.Contains(e.WaiversBy, name) {
		out = append(out, "waivers")
	}
	if slices.ContainsFunc(e.Verdicts, func(v policies.VerdictOutline) bool { return slices.Contains(v.By, name) }) {
		out = append(out, "verdicts of other gates")
	}
	if slices.Contains(e.Revokers, name) {
		out = append(out, "revocations")
	}
	return out
}

func (e explainer) requirements() []string {
	var out []string
	for _, r := range e.Requirements {
		text := r.ID + ": " + asked(r)
		switch r.Severity {
		case policies.Warn, policies.Info:
			text += " Where this fails it is only reported."
		}
		for _, other := range r.NotBy {
			text += " Nobody who signed for " + other + " may have signed it."
		}
		out = append(out, text)
	}
	if len(e.Order) > 0 {
		out = append(out, "These must have been made in this order, by times that somebody vouches for: "+strings.Join(e.Order, ", ")+".")
	}
	for _, m := range e.Rego {
		out = append(out, "The Rego package "+m.Package+" must have nothing to say against it.")
	}
	return out
}

// asked is a rule in words.
func asked(r policies.RuleOutline) string {
	if len(r.Pinned) > 0 {
		return "it is one of " + plural(len(r.Pinned), "pinned digest") + "."
	}
	what := r.Label + " statement"
	if len(r.Types) > 1 {
		what = "signature"
	}
	text := fmt.Sprintf("there is %s %s by %s.", article(what), what, either(r.By))
	switch r.Match {
	case "one":
		text = fmt.Sprintf("there is exactly one %s by %s.", what, either(r.By))
	case "any":
		text += " If there are several, one that holds is enough."
	case "latest":
		text += " If there are several, the newest counts."
	default:
		text += " If there are several, all must hold."
	}
	if r.MaxAge > 0 {
		text += " It is at most " + age(r.MaxAge) + " old."
	}
	for _, c := range r.Where {
		text += " It holds that " + c.Text + "."
	}
	return text
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an"
	}
	return "a"
}

func age(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return plural(int(d/(24*time.Hour)), "day")
	}
	return strings.TrimSuffix(d.String(), "0s")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func (e explainer) lineage() []string {
	var out []string
	for _, g := range e.Edges {
		count := fmt.Sprintf("at least %d", g.Min)
		if g.Max > 0 {
			count = fmt.Sprintf("%d to %d", g.Min, g.Max)
		}
		out = append(out, fmt.Sprintf("Of role %s, the statements of %s name %s.", g.Role, either(g.From), count))
		for i, r := range g.Accept {
			start := "Each " + g.Role + " is acceptable when "
			if i > 0 {
				start = "Or when "
			}
			out = append(out, start+asked(r))
		}
		for _, r := range g.Each {
			out = append(out, "Of each "+g.Role+" it is asked that "+asked(r))
		}
		if len(g.Denied) > 0 {
			out = append(out, fmt.Sprintf("No %s, nor anything that the artifact descends from, is one of %s.", g.Role, plural(len(g.Denied), "denied digest")))
		}
		if g.DisjointFrom != "" {
			out = append(out, fmt.Sprintf("No %s is a dependency of %s too.", g.Role, g.DisjointFrom))
		}
	}
	if len(out) > 0 {
		out = append(out, fmt.Sprintf("At most %d steps back and %d things are followed; more is denied.", e.MaxDepth, e.MaxNodes))
	}
	return out
}

func (e explainer) refused() []string {
	var out []string
	if len(e.Denied) > 0 {
		out = append(out, "What is, or descends from, one of "+plural(len(e.Denied), "denied digest")+".")
	}
	if e.Revocable {
		out = append(out, "What "+either(e.Revokers)+" revoked, and what was made from it.")
	} else {
		out = append(out, "What any signer of the policy revoked, and what was made from it.")
	}
	return out
}

func (e explainer) waivers() []string {
	var out []string
	for _, w := range e.Waivers {
		out = append(out, fmt.Sprintf("%s lets %s pass without %s until %s: %s.", w.ID, w.Subject, w.Requirement, w.Until.UTC().Format(time.RFC3339), w.Reason))
	}
	if len(e.WaiversBy) > 0 {
		out = append(out, fmt.Sprintf("%s may sign waivers of %s for at most %s.", either(e.WaiversBy), either(e.WaiversFor), age(e.WaiversEnd)))
	}
	for _, line := range verdicts(e.Outline) {
		out = append(out, line+".")
	}
	return out
}

// silence is what a policy may say nothing about.
var silence = []struct{ types, text string }{
	{provenance, "how it was built: no provenance is required"},
	{dataset, "the datasets: no dataset statement is required"},
	{evaluation, "how good it is: no evaluation is required"},
	{scan, "what is in its files: no scan is required"},
	{approval, "whether anybody approved it"},
	{"https://mlseal.dev/attestation/license-review/v0.1", "its licence: no licence review is required"},
	{"https://cyclonedx.org/bom", "known vulnerabilities and components: neither an SBOM nor a vulnerability report is required"},
	{evidenceSet, "whether statements were withheld: no inventory (evidence-set) is required"},
}

func (e explainer) unchecked() []string {
	l := linter{Outline: e.Outline}
	var out []string
	asks := func(kind string) bool {
		return slices.ContainsFunc(l.rules(), func(r policies.RuleOutline) bool { return slices.Contains(r.Types, kind) })
	}
	for _, s := range silence {
		if !asks(s.types) {
			out = append(out, "It says nothing about "+s.text+".")
		}
	}
	if len(e.Edges) == 0 {
		out = append(out, "It follows no lineage: what the artifact was made from is compared with deny lists and revocations only.")
	}
	for _, r := range l.rules() {
		if len(r.Types) == 1 && len(r.Where) == 0 {
			out = append(out, fmt.Sprintf("Of %s only the signature counts, not what the statement says.", r.Name))
		}
	}
	return append(out, "No policy checks what signers do not say: it is as good as they are.")
}

// commands are those that make what is required.
func (e explainer) commands() []string {
	var out []string
	for _, r := range e.Requirements {
		out = append(out, r.ID+": "+e.command(r, "REF"))
	}
	for _, g := range e.Edges {
		for _, r := range slices.Concat(g.Accept, g.Each) {
			if len(r.Pinned) == 0 {
				out = append(out, r.Name+": "+e.command(r, "DEPENDENCY"))
			}
		}
	}
	return out
}

func (e explainer) command(r policies.RuleOutline, ref string) string {
	with := "--key KEY"
	if !slices.ContainsFunc(e.Signers, func(s policies.SignerOutline) bool { return slices.Contains(r.Signers, s.Name) && s.Kind != "keyless" }) {
		with = "--keyless"
	}
	with += "    # by " + either(r.By)
	if len(r.Types) > 1 {
		return "mlseal sign " + ref + " " + with
	}
	return "mlseal attest " + ref + " --type " + r.Label + " --predicate FILE " + with
}
