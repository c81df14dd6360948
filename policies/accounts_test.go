package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

// accountsPolicy lets ci say what things are made of, alice what the model measures, and data what datasets are.
const accountsPolicy = `
require:
  - {id: built, attestation: slsa-provenance, by: [ci]}
  - {id: measured, attestation: evaluation, by: [alice], match: latest, maxAge: 1d, where: 'predicate.good == true'}
lineage:
  maxDepth: 3
  edges:
    - from: [built, base]
      role: base
      accept:
        - {id: base, attestation: slsa-provenance, by: [ci]}
    - from: base
      role: dataset
      id: earlier
      requireEach:
        - {attestation: dataset, by: [data], where: 'predicate.license == "MIT"'}
    - from: measured
      role: evalDataset
      accept:
        - {attestation: dataset, by: [bob]}
`

// told is the accounts as lines: role and digest, what is said of it, and what was used.
func told(t *testing.T, p *Policy, evidence ...Evidence) (string, bool) {
	t.Helper()
	accounts, whole := p.Accounts(model, evidence, now)
	var lines []string
	for _, a := range accounts {
		line := a.Role + " " + a.Digests["sha256"][:1] + ":"
		for _, e := range a.Statements {
			line += " " + strings.TrimPrefix(e.ID, "sha256:")
		}
		for _, u := range a.Uses {
			line += fmt.Sprintf(" %s>%d", u.Role, u.To)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n"), whole
}

func aboutOnly(e Evidence, what string) Evidence {
	e.Subjects = []map[string]string{{"sha256": h(what)}}
	return e
}

func measurement(id, on string, changes ...change) Evidence {
	return statement(id, evaluation, `{"good":false,"dataset":{"name":"x","digest":`+sha256of(on)+`}}`, append([]change{by("alice")}, changes...)...)
}

func TestAccounts(t *testing.T) {
	p := load(t, accountsPolicy)
	good := []Evidence{
		built("p1", dep{"base", sha256of("1")}, dep{"dataset", sha256of("2")}, dep{"code", ""}),
		aboutOnly(built("p2", dep{"base", sha256of("3")}, dep{"dataset", sha256of("4")}), "1"),
		measurement("m1", "5", age(time.Hour)),
		sheet("s2", "2"), sheet("s4", "4"), sheet("s5", "5", by("bob")),
	}
	// The sheet of 2 counts for nobody: no edge leads from the model's own provenance to datasets. A false condition leaves nothing out.
	got, whole := told(t, p, good...)
	want := "6: m1 p1 >1 base>2 dataset>3 code>-1\n3: s5\nbase 3: p2 base>4 dataset>5\ndataset 3:\nbase 3:\ndataset 3: s4"
	if got != want || !whole {
		t.Errorf("%t\n%s", whole, got)
	}
	slices.Reverse(good)
	if again, _ := told(t, p, good...); again != got {
		t.Errorf("the order of the evidence matters:\n%s", again)
	}
}

// TestAccountsTrustNobodyElse: what signers are not named for, and what is about something else, leaves no trace.
func TestAccountsTrustNobodyElse(t *testing.T) {
	p := load(t, accountsPolicy)
	base := []Evidence{built("p1", dep{"base", sha256of("1")})}
	alone, _ := told(t, p, base...)
	if alone != "6: p1 base>1\nbase 3:" {
		t.Fatal(alone)
	}
	for name, e := range map[string]Evidence{
		"a stranger's evaluation":           measurement("m", "5", by()),
		"the builder's evaluation":          measurement("m", "5", by("ci")),
		"an evaluation of another model":    aboutOnly(measurement("m", "5"), "7"),
		"an evaluation with a problem":      measurement("m", "5", func(e *Evidence) { e.Problem = StatementUnusable }),
		"another type":                      measurement("m", "5", func(e *Evidence) { e.PredicateType += "/" }),
		"a dataset sheet about the model":   aboutOnly(sheet("s", "1"), "a"),
		"a sheet by the wrong role's name":  sheet("s", "1", by("bob")),
		"provenance of the base by another": aboutOnly(built("p2", dep{"base", sha256of("3")}), "1"),
	} {
		if name == "provenance of the base by another" {
			e.SignedBy = []string{"alice"}
		}
		if got, _ := told(t, p, append(slices.Clone(base), e)...); got != alone {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

func TestAccountsLatest(t *testing.T) {
	p := load(t, accountsPolicy)
	if got, _ := told(t, p, measurement("old", "5", age(3*time.Hour)), measurement("new", "5", age(time.Hour))); got != "6: new >1\n3:" {
		t.Error(got)
	}
}

func TestAccountsEnd(t *testing.T) {
	p := load(t, accountsPolicy)
	// A circle ends at the artifact, whose digest it names.
	got, whole := told(t, p, built("p1", dep{"base", sha256of("1")}), aboutOnly(built("p2", dep{"base", sha256of("a")}, dep{"base", sha256of("1")}), "1"))
	if got != "6: p1 base>1\nbase 3: p2 base>0 base>1" || !whole {
		t.Errorf("%t\n%s", whole, got)
	}
	// Four generations behind each other are more than lineage.maxDepth.
	got, whole = told(t, p, built("p1", dep{"base", sha256of("1")}), aboutOnly(built("p2", dep{"base", sha256of("2")}), "1"), aboutOnly(built("p3", dep{"base", sha256of("3")}), "2"), aboutOnly(built("p4", dep{"base", sha256of("4")}), "3"))
	if !strings.HasSuffix(got, "p4 base>-1") || whole {
		t.Errorf("%t\n%s", whole, got)
	}
	if accounts, whole := (*Policy)(nil).Accounts(model, nil, now); len(accounts) != 1 || whole {
		t.Error("a nil policy tells something")
	}
	if accounts, whole := p.Accounts(model, make([]Evidence, MaxEvidence+1), now); len(accounts) != 1 || whole {
		t.Error("too much evidence is looked at")
	}
	if _, whole := told(t, p, statement("p", provenance, `{"buildDefinition":{"resolvedDependencies":"x"}}`)); whole {
		t.Error("a list that cannot be read is taken for an empty one")
	}
}

// TestAccountsHeedLater: a rule that speaks about a thing by a longer way counts too.
func TestAccountsHeedLater(t *testing.T) {
	p := load(t, accountsPolicy)
	got, _ := told(t, p, built("p1", dep{"dataset", sha256of("4")}, dep{"base", sha256of("1")}), aboutOnly(built("p2", dep{"dataset", sha256of("4")}), "1"), sheet("s4", "4"))
	if got != "6: p1 dataset>1 base>2\ndataset 3: s4\nbase 3: p2 dataset>1" {
		t.Error(got)
	}
}
