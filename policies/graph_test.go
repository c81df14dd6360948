package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

const (
	revocation  = "https://mlseal.dev/attestation/revocation/v0.1"
	evidenceSet = "https://mlseal.dev/attestation/evidence-set/v0.1"
)

// recursive follows base models over their own provenance until one is pinned, and wants a data sheet for every dataset on the way.
var recursive = `require:
  - {id: built, attestation: slsa-provenance, by: [ci]}
lineage:
  edges:
    - from: [built, base-built]
      role: base
      count: {min: 1, max: 1}
      accept:
        - pinned: ['sha256:` + h("p") + `']
        - {id: base-built, attestation: slsa-provenance, by: [ci, data]}
    - from: [built, base-built]
      role: dataset
      count: {min: 0}
      denyDigests: ['sha256:` + h("o") + `']
      requireEach: [{attestation: dataset, by: [data]}]
`

// madeOf is provenance about something else than the model.
func madeOf(id, of string, deps ...dep) Evidence {
	ev := built(id, deps...)
	ev.Subjects, ev.FoundWith = []map[string]string{{"sha256": h(of)}}, map[string]string{"sha256": h(of)}
	return ev
}

// chain is the model, made from b, made from c, made from what is pinned.
func chain(deps ...dep) []Evidence {
	return []Evidence{built("1", dep{"base", sha256of("b")}), madeOf("2", "b", dep{"base", sha256of("c")}),
		madeOf("3", "c", append(deps, dep{"base", sha256of("p")})...)}
}

// number makes a digest of its own of each number.
func number(i int) string { return fmt.Sprintf("%064x", i+1) }

func numbered(i int) string { return `{"sha256":"` + number(i) + `"}` }

func TestRecursion(t *testing.T) {
	p := load(t, recursive)
	change := func(i int, ev Evidence) []Evidence {
		out := chain()
		out[i] = ev
		return out
	}
	for name, c := range map[string]struct {
		id       string
		code     Code
		detail   string
		evidence []Evidence
	}{
		"three steps":                {"lineage:base", "", "base sha256:626262626262…: slsa-provenance statement by ci; base", chain()},
		"46 no statement":            {"lineage:base", LineageGap, "base sha256:626262626262…: not one of the pinned", chain()[:1]},
		"46 by an untrusted signer":  {"lineage:base", LineageGap, "SIGNER_NOT_TRUSTED", change(2, signedBy(madeOf("3", "c", dep{"base", sha256of("p")}, dep{"x", ""}), "alice"))},
		"the chain ends unpinned":    {"lineage:base", LineageGap, "lists 0 of role base", change(2, madeOf("3", "c"))},
		"47 cycle A<->B":             {"lineage:base", LineageCycle, "descends from itself", change(1, madeOf("2", "b", dep{"base", sha256of("a")}))},
		"47 cycle by another name":   {"lineage:base", LineageCycle, "descends from itself", change(1, madeOf("2", "b", dep{"base", `{"dirHash":"` + h("d") + `"}`}))},
		"47 cycle further up":        {"lineage:base", LineageCycle, "", change(2, madeOf("3", "c", dep{"base", sha256of("b")}))},
		"47 made from itself":        {"lineage:base", LineageCycle, "", change(0, built("1", dep{"base", sha256of("a")}))},
		"48 two producers of b":      {"lineage:base", LineageAmbiguous, "say differently what base sha256:626262626262… was made from", append(chain(), madeOf("4", "b", dep{"base", sha256of("p")}))},
		"one producer, signed twice": {"lineage:base", "", "", append(chain(), signedBy(madeOf("4", "b", dep{"base", sha256of("c")}), "data"))},
		"52 denied three levels up":  {"lineage:dataset", DigestDenied, "dataset is on a deny list", chain(dep{"dataset", sha256of("o")})},
		"52 denied in another role":  {"lineage:dataset", DigestDenied, "descends over 3 steps from tool", chain(dep{"tool", sha256of("o")})},
		"a dataset without a sheet":  {"lineage:dataset", LineageGap, "", chain(dep{"dataset", sha256of("1")})},
		"a dataset with a sheet":     {"lineage:dataset", "", "", append(chain(dep{"dataset", sha256of("1")}), sheet("5", "1"))},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, c.id, c.code, c.evidence...)
			if r := requirement(t, d, c.id); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
		})
	}
}

func signedBy(ev Evidence, name string) Evidence {
	ev.SignedBy = []string{name}
	return ev
}

var timeZero time.Time

func hours(n int) time.Duration { return time.Duration(n) * time.Hour }

// Cases 47 and 48: the bounds, and what two steps have in common.
func TestLineageBounds(t *testing.T) {
	pinned := dep{"base", sha256of("p")}
	straight := func(depth int) []Evidence { // the model at depth 0, what is pinned at depth
		out := []Evidence{built("0000", dep{"base", numbered(1)})}
		for i := 1; i < depth; i++ {
			next := dep{"base", numbered(i + 1)}
			if i == depth-1 {
				next = pinned
			}
			ev := madeOf(fmt.Sprintf("%04d", i), "x", next)
			ev.Subjects = []map[string]string{{"sha256": number(i)}}
			out = append(out, ev)
		}
		return out
	}
	p := load(t, recursive)
	want(t, p, "lineage:base", "", straight(8)...)
	d := want(t, p, "lineage:base", LimitExceeded, straight(9)...)
	if r := requirement(t, d, "lineage:base"); !strings.Contains(r.Detail, "more than 8 statements behind the artifact") {
		t.Error(r.Detail)
	}
	want(t, load(t, strings.Replace(recursive, "  edges:", "  maxDepth: 9\n  edges:", 1)), "lineage:base", "", straight(9)...)

	wide := func(n int) []Evidence {
		deps, out := []dep{pinned}, []Evidence{}
		for i := range n - 1 {
			deps = append(deps, dep{"dataset", numbered(i)})
			out = append(out, sheet(fmt.Sprintf("s%04d", i), "x", about(map[string]string{"sha256": number(i)})))
		}
		return append(out, built("p", deps...))
	}
	want(t, p, "lineage:dataset", "", wide(500)...)
	d = want(t, p, "lineage:dataset", LimitExceeded, wide(501)...)
	if r := requirement(t, d, "lineage:dataset"); !strings.Contains(r.Detail, "more than 500 things") {
		t.Error(r.Detail)
	}
	want(t, load(t, strings.Replace(recursive, "  edges:", "  maxNodes: 501\n  edges:", 1)), "lineage:dataset", "", wide(501)...)
}

// Case 48: a diamond with equal digests is visited once.
func TestDiamond(t *testing.T) {
	p := load(t, strings.Replace(recursive, "count: {min: 1, max: 1}", "count: {min: 1}", 1))
	evidence := []Evidence{
		built("1", dep{"base", sha256of("b")}, dep{"base", sha256of("c")}),
		madeOf("2", "b", dep{"base", sha256of("e")}), madeOf("3", "c", dep{"base", sha256of("e")}),
		madeOf("4", "e", dep{"base", sha256of("p")}, dep{"dataset", sha256of("1")}), sheet("5", "1"),
	}
	d := want(t, p, "lineage:base", "", evidence...)
	if n := len(d.Lineage.Nodes); n != 6 { // the model, b, c, e, what is pinned, the dataset
		t.Errorf("%d nodes: %+v", n, d.Lineage.Nodes)
	}
	if n := len(d.Lineage.Edges); n != 6 {
		t.Errorf("%d edges: %+v", n, d.Lineage.Edges)
	}
	if d.Lineage.Nodes[0].Depth != 0 || d.Lineage.Nodes[0].Name != "model" || len(d.Lineage.Nodes[0].Statements) != 1 {
		t.Errorf("the artifact is %+v", d.Lineage.Nodes[0])
	}
	depths := []int{}
	for _, n := range d.Lineage.Nodes {
		depths = append(depths, n.Depth)
		if !n.Passed || n.Detail == "" && n.Depth > 0 {
			t.Errorf("%+v", n)
		}
	}
	if !slices.Equal(depths, []int{0, 1, 1, 2, 3, 3}) {
		t.Errorf("depths %v", depths)
	}
	d = p.Evaluate(model, evidence[:4], now)
	failed := 0
	for _, n := range d.Lineage.Nodes {
		if !n.Passed {
			failed++
			if n.Name != "dataset" || n.Code != LineageGap {
				t.Errorf("%+v", n)
			}
		}
	}
	if failed != 1 {
		t.Errorf("%d nodes failed", failed)
	}
}

// match says that several producers are meant.
func TestSeveralProducersAllowed(t *testing.T) {
	p := load(t, strings.NewReplacer("by: [ci, data]}", "by: [ci, data], match: all}").Replace(recursive))
	want(t, p, "lineage:base", "", append(chain(), madeOf("4", "b", dep{"base", sha256of("p")}))...)
	want(t, p, "lineage:base", LineageGap, append(chain(), madeOf("4", "b", dep{"base", sha256of("x")}))...)
}

// Wanted leads to everything that a decision needs, one generation at a time, and no further than the policy follows.
func TestWanted(t *testing.T) {
	digestsOf := func(ds []Dependency) string {
		var out []string
		for _, d := range ds {
			out = append(out, fmt.Sprintf("%s%d:%s", d.Role, d.Depth, d.Digests["sha256"][:2]))
		}
		return strings.Join(out, " ")
	}
	plain := strings.Replace(recursive, "      denyDigests: ['sha256:"+h("o")+"']\n", "", 1)
	p, all := load(t, plain), chain(dep{"dataset", sha256of("1")}, dep{"tool", sha256of("2")})
	for i, want := range []string{"", "base1:62", "base1:62 base2:63", "base1:62 base2:63 base3:70 dataset3:31"} {
		if got := digestsOf(p.Wanted(model, all[:i])); got != want {
			t.Errorf("with %d statements: %s, want %s", i, got, want)
		}
	}
	if got := digestsOf(load(t, recursive).Wanted(model, all)); got != "base1:62 base2:63 base3:70 dataset3:31 tool3:32" {
		t.Errorf("with a deny list: %s", got)
	}
	shallow := load(t, strings.Replace(plain, "  edges:", "  maxDepth: 1\n  edges:", 1))
	if got := digestsOf(shallow.Wanted(model, all)); got != "base1:62" {
		t.Errorf("to a depth of 1: %s", got)
	}
	for name, edit := range map[string]func(*Evidence){
		"another type":           func(ev *Evidence) { ev.PredicateType = evaluation },
		"about something else":   func(ev *Evidence) { ev.Subjects = []map[string]string{{"sha256": h("z")}} },
		"signed by nobody":       func(ev *Evidence) { ev.SignedBy = nil },
		"signed in another role": func(ev *Evidence) { ev.SignedBy = []string{"data"} },
		"unusable":               func(ev *Evidence) { ev.Problem = SignatureInvalid },
	} {
		ev := chain()[0]
		edit(&ev)
		if got := p.Wanted(model, []Evidence{ev}); len(got) != 0 {
			t.Errorf("%s: wanted %v", name, got)
		}
	}
}

// A revocation counts for the artifact and for all that it descends from.
func TestRevocation(t *testing.T) {
	revoke := func(of, predicate string, changes ...change) Evidence {
		return statement("r", revocation, predicate, append([]change{by("data"), elsewhere, about(map[string]string{"sha256": h(of)})}, changes...)...)
	}
	anybody, office := load(t, recursive), load(t, "revocations: {by: [data]}\n"+recursive)
	for name, c := range map[string]struct {
		code   Code
		detail string
		ev     Evidence
	}{
		"the artifact":             {Revoked, `withdrawn by data: poisoned (revocation sha256:r): the artifact is on the list`, revoke("a", `{"reason":"poisoned"}`)},
		"the base":                 {Revoked, "made from base", revoke("b", `{}`)},
		"the base's base":          {Revoked, "descends over 2 steps from base", revoke("c", `{}`)},
		"what is pinned":           {Revoked, "descends over 3 steps from base", revoke("p", `{}`)},
		"in a role nobody follows": {Revoked, "descends over 3 steps from tool", revoke("2", `{}`)},
		"effective":                {Revoked, "", revoke("b", `{"effectiveOn":"2026-11-18T12:00:00Z"}`)},
		"effective, unreadable":    {Revoked, "", revoke("b", `{"effectiveOn":"next week"}`)},
		"not yet effective":        {"", "", revoke("b", `{"effectiveOn":"2026-11-18T12:00:01Z"}`)},
		"another spelling":         {Revoked, "", revoke("b", `{}`, about(map[string]string{"SHA-256": strings.ToUpper(h("b"))}))},
		"of the tree":              {Revoked, "", revoke("b", `{}`, about(map[string]string{"dirHash": h("d")}))},
		"something else":           {"", "", revoke("z", `{}`)},
		"by nobody":                {"", "", revoke("a", `{}`, by())},
		"by a stranger":            {"", "", revoke("a", `{}`, by("mallory"))},
		"with a problem":           {"", "", revoke("a", `{}`, broken(SignatureInvalid))},
	} {
		t.Run(name, func(t *testing.T) {
			evidence := append(chain(dep{"tool", sha256of("2")}), c.ev)
			d := want(t, office, "revocations", c.code, evidence...)
			if r := requirement(t, d, "revocations"); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
			marked := slices.ContainsFunc(d.Lineage.Nodes, func(n Node) bool { return n.Code == Revoked && !n.Passed })
			if onTheWay := strings.Contains(name, "base") || name == "the artifact"; onTheWay && !marked || c.code == "" && marked {
				t.Errorf("the graph shows what was withdrawn: %v", marked)
			}
			if d := anybody.Evaluate(model, evidence, now); (d.Verdict == Allow) != (c.code == "") {
				t.Errorf("a policy that does not speak of revocations: %v", d.Err())
			}
		})
	}
	t.Run("by another signer", func(t *testing.T) {
		ev := revoke("a", `{}`, by("carol"))
		d := want(t, office, "revocations", "", append(chain(), ev)...)
		if len(d.Ignored) != 1 || d.Ignored[0].Reason != "its signer may not revoke" {
			t.Errorf("ignored %+v", d.Ignored)
		}
		want(t, anybody, "revocations", Revoked, append(chain(), ev)...)
	})
	// A revocation of something unrelated that is to come must not give the artifact its names.
	t.Run("two of something else", func(t *testing.T) {
		second := revoke("z", `{}`)
		second.ID = "sha256:q"
		want(t, office, "revocations", "", append(chain(), revoke("z", `{"effectiveOn":"2030-01-01T00:00:00Z"}`), second)...)
	})
}

// Case 37: a registry that hides the failing evaluation is found out by the inventory.
func TestEvidenceSet(t *testing.T) {
	p := load(t, `require:
  - {id: eval, attestation: evaluation, by: [ci], where: 'predicate.ok == true'}
  - {id: complete, attestation: evidence-set, by: [data]}
`)
	good := statement(h("1"), evaluation, `{"ok":true}`)
	failing := statement(h("2"), evaluation, `{"ok":false}`)
	entry := func(id, kind string) string {
		return `{"predicateType":"` + kind + `","digest":{"sha256":"` + h(id) + `"},"mediaType":"application/json"}`
	}
	set := func(complete string, entries ...string) Evidence {
		return statement("set", evidenceSet, `{"attestations":[`+strings.Join(entries, ",")+`]`+complete+`}`, by("data"), age(0))
	}
	both := set("", entry("1", evaluation), entry("2", evaluation))
	for name, c := range map[string]struct {
		id       string
		code     Code
		detail   string
		evidence []Evidence
	}{
		"all there":            {"complete", "", "", []Evidence{good, set("", entry("1", evaluation))}},
		"as a string":          {"complete", "", "", []Evidence{good, set("", `{"predicateType":"`+evaluation+`","digest":"sha256:`+h("1")+`"}`)}},
		"37 one hidden":        {"complete", TypeMissing, "lists the statement sha256:" + h("2") + " of type " + evaluation, []Evidence{good, both}},
		"one failing":          {"eval", ConditionFalse, "", []Evidence{good, failing, both}},
		"of another type":      {"complete", TypeMissing, "but its type is " + evaluation, []Evidence{good, set("", entry("1", dataset))}},
		"one cannot be used":   {"complete", ParseAmbiguous, "cannot be used", []Evidence{good, statement(h("3"), dataset, `{}`, broken(ParseAmbiguous)), set("", entry("1", evaluation), entry("3", dataset))}},
		"an empty list":        {"complete", StatementUnusable, "no list of attestations", []Evidence{good, set("")}},
		"an entry with sha1":   {"complete", StatementUnusable, "attestations[0] has no predicateType or no sha256", []Evidence{good, set("", `{"predicateType":"x","digest":{"sha1":"ab"}}`)}},
		"by somebody else":     {"complete", SignerNotTrusted, "", []Evidence{good, func() Evidence { s := set("", entry("1", evaluation)); s.SignedBy = []string{"ci"}; return s }()}},
		"the set is not there": {"complete", TypeMissing, "no evidence-set statement", []Evidence{good}},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, c.id, c.code, c.evidence...)
			if r := requirement(t, d, c.id); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
		})
	}
	t.Run("what a complete set leaves out is noted", func(t *testing.T) {
		other := statement(h("4"), dataset, `{}`)
		d := want(t, p, "complete", "", good, other, set(`,"complete":true`, entry("1", evaluation)))
		if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "sha256:343434343434… of type "+dataset+" is not in the evidence set") {
			t.Errorf("notes %q", d.Notes)
		}
		earlier := statement("earlier", evidenceSet, `{"attestations":[`+entry("1", evaluation)+`]}`, by("data"))
		if d := want(t, p, "complete", "", good, earlier, set(`,"complete":true`, entry("1", evaluation))); len(d.Notes) != 0 {
			t.Errorf("an earlier inventory is noted: %q", d.Notes)
		}
		d = want(t, p, "complete", "", good, other, set("", entry("1", evaluation)))
		if len(d.Notes) != 0 {
			t.Errorf("notes %q", d.Notes)
		}
	})
}

// Case 40: an approval for one place is none for another, and one that was withdrawn later is none.
func TestApprovals(t *testing.T) {
	p := load(t, `require:
  - id: approved
    attestation: https://mlseal.dev/attestation/approval/v0.1
    by: [ci]
    match: latest
    where: ['predicate.decision == "approved"', 'predicate.environment == "prod"']
`)
	approve := func(id, decision, environment string, changes ...change) Evidence {
		return statement(id, "https://mlseal.dev/attestation/approval/v0.1", `{"decision":"`+decision+`","environment":"`+environment+`"}`, changes...)
	}
	want(t, p, "approved", "", approve("1", "approved", "prod"))
	want(t, p, "approved", ConditionFalse, approve("1", "approved", "staging"))
	want(t, p, "approved", ConditionFalse, approve("1", "approved", "prod", age(hours(2))), approve("2", "revoked", "prod"))
	want(t, p, "approved", "", approve("1", "approved", "prod"), approve("2", "revoked", "prod", age(hours(2))))
}
