package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
)

// storedIn adds an artifact by its name, with what is attached to it.
func storedIn(t *testing.T, d *verify.Descent, name string, found ...verify.Found) {
	t.Helper()
	if err := d.Add("store:"+name, hexOf(name), found); err != nil {
		t.Fatal(err)
	}
}

// paths writes what descends from a thing, and how.
func paths(d *verify.Descent, name string, trusted bool) string {
	var all []string
	for _, a := range d.Of("sha256:"+hexOf(name)["sha256"], trusted) {
		text := strings.Join(a.Names, "+")
		for _, step := range a.Path {
			text += "<" + step.Role
		}
		all = append(all, strings.ReplaceAll(text, "store:", ""))
	}
	return strings.Join(all, " ")
}

func TestDescent(t *testing.T) {
	trusted := madeFrom(t, "c", "b")
	d := &verify.Descent{Trusted: func(f verify.Found) bool { return string(f.Data) == string(trusted.Data) }}
	storedIn(t, d, "d", madeFrom(t, "d", "c", "a")) // the short way is shown
	storedIn(t, d, "c", trusted, note(t, "c"))
	storedIn(t, d, "b", madeFrom(t, "b", "a"))
	storedIn(t, d, "a", madeFrom(t, "a", "d")) // a circle ends
	storedIn(t, d, "other", verify.Found{Origin: "an SBOM", Err: verify.ErrOther}, verify.Found{Origin: "rubbish", Data: []byte("rubbish")})
	for name, want := range map[string][2]string{
		"a":       {"b<a c<b<a d<a", ""},
		"b":       {"a<d<c<b c<b d<c<b", "c<b"},
		"d":       {"a<d b<a<d c<b<a<d", ""},
		"other":   {"", ""},
		"unknown": {"", ""},
	} {
		if got := paths(d, name, false); got != want[0] {
			t.Errorf("%s: %q, want %q", name, got, want[0])
		}
		if got := paths(d, name, true); got != want[1] {
			t.Errorf("%s, by who is trusted: %q, want %q", name, got, want[1])
		}
	}
	if d.Stored() != 5 || strings.Join(d.Unread(), " ") != "rubbish" || strings.Join(d.Named("sha256:"+hexOf("a")["sha256"]), " ") != "store:a" {
		t.Errorf("%d artifacts, unread %v", d.Stored(), d.Unread())
	}
}

// TestDescentJoinsNames: a package is known by its tree too, another package of that tree is the same thing, and a digest in capitals or
// under another spelling of its algorithm hides nothing.
func TestDescentJoinsNames(t *testing.T) {
	tree := strings.Repeat("ab", 32)
	d := &verify.Descent{}
	for _, name := range []string{"one", "two"} {
		if err := d.Add(name, map[string]string{"sha256": hexOf(name)["sha256"], "dirHash": tree}, nil); err != nil {
			t.Fatal(err)
		}
	}
	uses := func(by, algorithm, value string) {
		storedIn(t, d, by, unsignedBundle(t, by, attest.ProvenancePredicateType, map[string]any{"buildDefinition": map[string]any{
			"resolvedDependencies": []any{map[string]any{"name": "data", "digest": map[string]string{algorithm: value}}}}}))
	}
	uses("p", "dirHash", strings.ToUpper(tree))
	uses("q", "SHA-256", hexOf("two")["sha256"])
	uses("r", "sha512", hexOf("two")["sha256"])
	for _, digest := range []string{"sha256:" + hexOf("one")["sha256"], "dirHash:" + tree} {
		if names := d.Named(digest); strings.Join(names, " ") != "one two" {
			t.Errorf("%s is %v", digest, names)
		}
		found := d.Of(digest, false)
		if len(found) != 2 || found[0].Names[0] != "store:p" || found[1].Names[0] != "store:q" {
			t.Errorf("of %s: %+v", digest, found)
		}
	}
}

func TestDescentIsBounded(t *testing.T) {
	d := &verify.Descent{}
	if err := d.Add("x", hexOf("x"), []verify.Found{{Incomplete: true, Err: verify.ErrLimit}}); !errors.Is(err, verify.ErrLimit) {
		t.Errorf("more than can be listed: %v", err)
	}
	verify.BoundDescent(t, 3)
	if err := d.Add("x", hexOf("x"), []verify.Found{madeFrom(t, "m", "a", "b", "c")}); err != nil {
		t.Error(err)
	}
	if err := d.Add("x", hexOf("x"), []verify.Found{madeFrom(t, "n", "a")}); !errors.Is(err, verify.ErrLimit) {
		t.Errorf("more edges than are remembered: %v", err)
	}
}

// TestAncestryKnowsWhatIsAbout: carried statements belong to what they name, not to what they are carried with, in whatever order they come; the artifact
// closes a circle; what is about something else is followed and not linked.
func TestAncestryKnowsWhatIsAbout(t *testing.T) {
	s := shelf{}
	s.put("base", madeFrom(t, "base", "model"), madeFrom(t, "tune", "late")) // base carries what is said about tune
	found := []verify.Found{madeFrom(t, "corpus", "crawl"), madeFrom(t, "stranger", "stray"), madeFrom(t, "model", "tune", "base", "corpus")}
	model := map[string]string{"sha256": hexOf("model")["sha256"], "dirHash": strings.Repeat("ab", 32)} // base calls it by one of them
	a, err := verify.UnverifiedAncestry(t.Context(), s, model, found, nil)
	if err != nil {
		t.Fatal(err)
	}
	name := func(i int) string {
		if i == 0 {
			return "model"
		}
		return a.Ancestors[i-1].Role
	}
	var links []string
	for _, l := range a.Links {
		links = append(links, name(l.From)+">"+name(l.To))
	}
	if got := strings.Join(links, " "); got != "model>tune model>base model>corpus base>model tune>late corpus>crawl" {
		t.Errorf("links: %s", got)
	}
	if len(a.Ancestors) != 6 || a.About != 1 {
		t.Errorf("ancestors %v, %d statements about the model", a.Ancestors, a.About)
	}
}
