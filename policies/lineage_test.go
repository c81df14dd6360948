package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

// lineagePolicy wants one base model that is pinned or signed, and datasets with a data sheet.
var lineagePolicy = `digests: {deny: ['sha256:` + h("o") + `']}
require:
  - {id: built, attestation: slsa-provenance, by: [ci]}
lineage:
  edges:
    - from: built
      role: base
      count: {max: 1}
      accept:
        - pinned: ['sha256:` + h("p") + `']
        - {signature: {by: [alice]}, where: 'subject.name == "base"'}
        - {attestation: evaluation, by: [two]}
    - from: built
      role: dataset
      denyDigests: ['dirHash:` + h("g") + `']
      requireEach:
        - {attestation: dataset, by: [data], maxAge: 30d, where: 'predicate.license in ["MIT"]'}
`

type dep struct{ name, digest string }

// built is the model's provenance; a digest is a JSON object, or empty for an entry with only a URI.
func built(id string, deps ...dep) Evidence {
	var list []string
	for _, d := range deps {
		entry := fmt.Sprintf(`{"name":%q,"uri":"https://example.com/%s"`, d.name, d.name)
		if d.digest != "" {
			entry += `,"digest":` + d.digest
		}
		list = append(list, entry+"}")
	}
	return statement(id, provenance, `{"buildDefinition":{"resolvedDependencies":[`+strings.Join(list, ",")+`]}}`)
}

func sha256of(s string) string { return `{"sha256":"` + h(s) + `"}` }

func sheet(id, of string, changes ...change) Evidence {
	return statement(id, dataset, `{"license":"MIT"}`, append([]change{by("data"), elsewhere,
		about(map[string]string{"sha256": h(of)})}, changes...)...)
}

func lineageEvidence() []Evidence {
	return []Evidence{
		built("p", dep{"base", sha256of("p")}, dep{"dataset", sha256of("1")}, dep{"dataset", sha256of("2")}, dep{"tool", ""}),
		sheet("d1", "1"), sheet("d2", "2"),
	}
}

func TestLineage(t *testing.T) {
	signedBase := statement("b", cosignSign, `{}`, by("alice"), elsewhere, about(map[string]string{"sha256": h("b")}))
	withBase := func(digest string, more ...Evidence) []Evidence {
		return append([]Evidence{built("p", dep{"base", digest}, dep{"dataset", sha256of("1")}), sheet("d1", "1")}, more...)
	}
	withSets := func(deps []dep, more ...Evidence) []Evidence {
		return append([]Evidence{built("p", append([]dep{{"base", sha256of("p")}}, deps...)...)}, more...)
	}
	one := []dep{{"dataset", sha256of("1")}}
	for name, c := range map[string]struct {
		id       string
		code     Code
		detail   string
		evidence []Evidence
	}{
		"holds":                       {"lineage:dataset", "", "dataset sha256:313131313131…: dataset statement by data; dataset sha256:323232323232…: dataset statement by data", lineageEvidence()},
		"pinned":                      {"lineage:base", "", "base sha256:707070707070…: pinned", withBase(sha256of("p"))},
		"pinned, other algorithm":     {"lineage:base", LineageGap, "", withBase(`{"dirHash":"` + h("p") + `"}`)},
		"pinned, upper case":          {"lineage:base", LineageGap, "no digest that is accepted", withBase(strings.Replace(sha256of("p"), "70", "7F", 1))},
		"pinned beside SHA256":        {"lineage:base", LineageGap, "no digest that is accepted", withBase(`{"sha256":"` + h("p") + `","SHA256":"x"}`)},
		"signed":                      {"lineage:base", "", "base sha256:626262626262…: signature statement by alice", withBase(sha256of("b"), signedBase)},
		"signed for another":          {"lineage:base", LineageGap, "", withBase(sha256of("c"), signedBase)},
		"signed by another":           {"lineage:base", LineageGap, "SIGNER_NOT_TRUSTED", withBase(sha256of("b"), statement("b", cosignSign, `{}`, by("bob"), elsewhere, about(map[string]string{"sha256": h("b")})))},
		"signed, other sha512":        {"lineage:base", LineageGap, "", withBase(`{"sha256":"`+h("b")+`","sha512":"`+h("1")+h("1")+`"}`, statement("b", cosignSign, `{}`, by("alice"), about(map[string]string{"sha256": h("b"), "sha512": h("2") + h("2")})))},
		"half of the approvals":       {"lineage:base", ThresholdNotMet, "1 of 2 signers of two (bob)", withBase(sha256of("b"), statement("b", evaluation, `{}`, by("bob"), about(map[string]string{"sha256": h("b")})))},
		"all of the approvals":        {"lineage:base", "", ": evaluation statement by bob, carol", withBase(sha256of("b"), statement("b", evaluation, `{}`, by("bob", "carol", "data"), about(map[string]string{"sha256": h("b")})))},
		"nobody vouches":              {"lineage:base", LineageGap, "base sha256:626262626262…: not one of the pinned digests", withBase(sha256of("b"))},
		"50 two where one is allowed": {"lineage:base", LineageAmbiguous, "lists 2 of role base, at most 1", []Evidence{built("p", dep{"base", sha256of("p")}, dep{"base", sha256of("p")}, one[0]), sheet("d1", "1")}},
		"50 none of the role":         {"lineage:base", LineageGap, "lists 0 of role base, at least 1", []Evidence{built("p", one[0]), sheet("d1", "1")}},
		"50 other spelling":           {"lineage:base", LineageGap, "lists 0 of role base", []Evidence{built("p", dep{"Base", sha256of("p")}, one[0]), sheet("d1", "1")}},
		"51 no dependencies":          {"lineage:dataset", LineageGap, "lists 0", []Evidence{statement("p", provenance, `{"buildDefinition":{}}`)}},
		"49 uri only":                 {"lineage:dataset", LineageGap, "dataset has no digest that is accepted", withSets([]dep{{"dataset", ""}})},
		"49 sha1 only":                {"lineage:dataset", LineageGap, "has no digest that is accepted", withSets([]dep{{"dataset", `{"sha1":"ab"}`}})},
		"a digest that is no text":    {"lineage:dataset", LineageGap, "has no digest that is accepted", withSets([]dep{{"dataset", `{"sha256":"` + h("1") + `","sha512":5}`}}, sheet("d1", "1"))},
		"another digest is no text":   {"lineage:dataset", LineageGap, "has no digest that is accepted", withSets([]dep{{"dataset", `{"sha256":"` + h("1") + `","sha1":5}`}}, sheet("d1", "1"))},
		"no statement":                {"lineage:dataset", LineageGap, "TYPE_MISSING", withSets(one)},
		"one of two":                  {"lineage:dataset", LineageGap, "dataset sha256:323232323232…: TYPE_MISSING", withSets([]dep{one[0], {"dataset", sha256of("2")}}, sheet("d1", "1"))},
		"by another signer":           {"lineage:dataset", LineageGap, "SIGNER_NOT_TRUSTED", withSets(one, sheet("d1", "1", by("ci")))},
		"unreadable":                  {"lineage:dataset", LineageGap, "PARSE_AMBIGUOUS", withSets(one, sheet("d1", "1", broken(ParseAmbiguous), func(ev *Evidence) { ev.FoundWith = map[string]string{"sha256": h("1")} }))},
		"about the model":             {"lineage:dataset", LineageGap, "TYPE_MISSING", withSets(one, sheet("d1", "a"))},
		"about another, by itself":    {"lineage:dataset", LineageGap, "TYPE_MISSING", withSets(one, sheet("d1", "a", func(ev *Evidence) { ev.FoundWith = nil }))},
		"the condition is false":      {"lineage:dataset", ConditionFalse, "is false", withSets(one, statement("d", dataset, `{"license":"GPL"}`, by("data"), about(map[string]string{"sha256": h("1")})))},
		"the condition fails":         {"lineage:dataset", ConditionError, "no such key: license", withSets(one, statement("d", dataset, `{}`, by("data"), about(map[string]string{"sha256": h("1")})))},
		"too old":                     {"lineage:dataset", EvidenceTooOld, "the limit is 30d", withSets(one, sheet("d1", "1", age(31*24*time.Hour)))},
		"denied by the edge":          {"lineage:dataset", DigestDenied, "dataset is on a deny list: dirHash:676767676767…", withSets([]dep{{"dataset", `{"dirHash":"` + h("g") + `"}`}})},
		"denied beside a good one":    {"lineage:dataset", DigestDenied, "dirHash", withSets([]dep{{"dataset", `{"sha256":"` + h("1") + `","dirHash":"` + h("g") + `"}`}}, sheet("d1", "1"))},
		"denied behind a gap":         {"lineage:dataset", DigestDenied, "(and 1 more)", withSets([]dep{{"dataset", ""}, {"dataset", `{"dirHash":"` + h("g") + `"}`}})},
		"denied under another name":   {"lineage:dataset", DigestDenied, "statement sha256:d1 names it", withSets(one, sheet("d1", "1", about(map[string]string{"sha256": h("1")}, map[string]string{"dirHash": h("g")})))},
		"denied for the edge only":    {"lineage:base", LineageGap, "", withBase(`{"dirHash":"` + h("g") + `"}`)},
		"denied for all":              {"lineage:dataset", DigestDenied, "", withSets([]dep{{"dataset", sha256of("o")}}, sheet("d1", "o"))},
		"denied for all, listed":      {"digests.deny", DigestDenied, "made from dataset", withSets([]dep{{"dataset", sha256of("o")}}, sheet("d1", "o"))},
		"denied, another role":        {"digests.deny", DigestDenied, "made from tool", withSets([]dep{one[0], {"tool", sha256of("o")}}, sheet("d1", "1"))},
		"denied, other spelling":      {"digests.deny", DigestDenied, "made from tool", withSets([]dep{one[0], {"tool", `{"SHA-256":"` + strings.ToUpper(h("o")) + `"}`}}, sheet("d1", "1"))},
		"no provenance":               {"lineage:base", LineageGap, "requirement built failed", []Evidence{sheet("d1", "1")}},
		"provenance by another":       {"lineage:base", LineageGap, "requirement built failed", []Evidence{statement("p", provenance, `{}`, by("alice"))}},
		"provenance of another":       {"lineage:base", LineageGap, "requirement built failed", []Evidence{statement("p", provenance, `{}`, about(map[string]string{"sha256": h("x")}))}},
		"48 two producers":            {"lineage:base", LineageAmbiguous, "2 provenance statements say differently what the artifact was made from", append(lineageEvidence(), built("q", one[0]))},
		"not a list":                  {"lineage:base", LineageGap, "resolvedDependencies is not a list", []Evidence{statement("p", provenance, `{"buildDefinition":{"resolvedDependencies":{}}}`)}},
		"an entry is no object":       {"lineage:base", LineageGap, "resolvedDependencies[0] is not an object", []Evidence{statement("p", provenance, `{"buildDefinition":{"resolvedDependencies":["base"]}}`)}},
		"a name is no string":         {"lineage:base", LineageGap, "resolvedDependencies[0].name is not a string", []Evidence{statement("p", provenance, `{"buildDefinition":{"resolvedDependencies":[{"name":["base"]}]}}`)}},
		"too many":                    {"lineage:dataset", LimitExceeded, "at most 2000 are followed", withSets(slices.Repeat(one, MaxDependencies+1), sheet("d1", "1"))},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, load(t, lineagePolicy), c.id, c.code, c.evidence...)
			if r := requirement(t, d, c.id); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
		})
	}
}

func TestLineageCounts(t *testing.T) {
	d := want(t, load(t, lineagePolicy), "lineage:dataset", "", lineageEvidence()...)
	r := requirement(t, d, "lineage:dataset")
	if len(r.Counted) != 3 || len(d.Ignored) != 0 {
		t.Errorf("counted %v, ignored %v", r.Counted, d.Ignored)
	}
	// What held for a group that is too small was seen, and did not count.
	d = load(t, lineagePolicy).Evaluate(model, append(lineageEvidence()[1:], built("p", dep{"base", sha256of("b")}, dep{"dataset", sha256of("1")}),
		statement("b", evaluation, `{}`, by("bob"), about(map[string]string{"sha256": h("b")}))), now)
	if len(d.Ignored) != 2 || d.Ignored[0].ID != "sha256:b" || d.Ignored[0].Code != ThresholdNotMet || d.Ignored[1].Code != SubjectMismatch {
		t.Errorf("ignored %+v", d.Ignored)
	}
}

func TestLineageMinZero(t *testing.T) {
	p := load(t, strings.Replace(lineagePolicy, "count: {max: 1}", "count: {min: 0}", 1))
	d := want(t, p, "lineage:base", "", built("p", dep{"dataset", sha256of("1")}), sheet("d1", "1"))
	if r := requirement(t, d, "lineage:base"); r.Detail != "no dependency of this role" {
		t.Error(r.Detail)
	}
	want(t, p, "lineage:base", "", built("p", slices.Repeat([]dep{{"base", sha256of("p")}}, 5)[0], dep{"dataset", sha256of("1")}), sheet("d1", "1"))
}

func TestLineageAcceptAndRequireEach(t *testing.T) {
	p := load(t, strings.Replace(lineagePolicy, "      requireEach:", "      accept: [{pinned: ['sha256:"+h("1")+"']}]\n      requireEach:", 1))
	want(t, p, "lineage:dataset", "", built("p", dep{"base", sha256of("p")}, dep{"dataset", sha256of("1")}), sheet("d1", "1"))
	want(t, p, "lineage:dataset", LineageGap, built("p", dep{"base", sha256of("p")}, dep{"dataset", sha256of("1")}))
	want(t, p, "lineage:dataset", LineageGap, built("p", dep{"base", sha256of("p")}, dep{"dataset", sha256of("2")}), sheet("d1", "2"))
}
