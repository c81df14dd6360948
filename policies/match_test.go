package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

const evaluated = "require:\n  - {id: r, attestation: evaluation, by: [ci], message: not good enough, fix: evaluate it again}\n"

// Cases 1 to 7 and 9 of the adversarial list: which subject is the artifact.
func TestSubject(t *testing.T) {
	sha512 := strings.Repeat("b", 128)
	both := Subject{Name: "model", Digests: map[string]string{"sha256": h("a"), "sha512": sha512}}
	treeSuffices := model
	treeSuffices.TreeSuffices = true
	type set = map[string]string
	for name, c := range map[string]struct {
		artifact Subject
		subjects []set
		code     Code
	}{
		"sha256":                        {model, []set{{"sha256": h("a")}}, ""},
		"dirHash":                       {model, []set{{"dirHash": h("d")}}, ""},
		"one of many":                   {model, []set{{"sha256": h("x")}, {"sha256": h("y")}, {"sha256": h("a")}}, ""},
		"a thousand, ours last":         {model, append(slices.Repeat([]set{{"sha256": h("x")}}, 999), set{"sha256": h("a")}), ""},
		"another digest":                {model, []set{{"sha256": h("x")}}, SubjectMismatch},
		"sha1 only":                     {Subject{Digests: set{"sha256": h("a"), "sha1": h("c")[:40]}}, []set{{"sha1": h("c")[:40]}}, SubjectMismatch},
		"md5 only":                      {Subject{Digests: set{"md5": "ab"}}, []set{{"md5": "ab"}}, SubjectMismatch},
		"gitCommit":                     {Subject{Digests: set{"sha256": h("a"), "sha1": h("c")[:40]}}, []set{{"gitCommit": h("c")[:40]}}, SubjectMismatch},
		"gitCommit of sha256 length":    {model, []set{{"gitCommit": h("a")}}, SubjectMismatch},
		"sha256 wrong, sha512 right":    {both, []set{{"sha256": h("x"), "sha512": sha512}}, SubjectMismatch},
		"sha256 right, sha512 wrong":    {both, []set{{"sha256": h("a"), "sha512": h("x") + h("x")}}, SubjectMismatch},
		"both right":                    {both, []set{{"sha256": h("a"), "sha512": sha512}}, ""},
		"sha512 alone":                  {both, []set{{"sha512": sha512}}, ""},
		"sha512 that we do not know":    {model, []set{{"sha256": h("a"), "sha512": sha512}}, ""},
		"only sha512, not known":        {model, []set{{"sha512": sha512}}, SubjectMismatch},
		"sha512 malformed":              {model, []set{{"sha256": h("a"), "sha512": "b"}}, SubjectMismatch},
		"right beside SHA256":           {model, []set{{"sha256": h("a"), "SHA256": h("x")}}, SubjectMismatch},
		"right beside sha-256":          {model, []set{{"sha256": h("a"), "sha-256": h("x")}}, SubjectMismatch},
		"SHA256":                        {model, []set{{"SHA256": h("a")}}, SubjectMismatch},
		"sha-256":                       {model, []set{{"sha-256": h("a")}}, SubjectMismatch},
		"dirhash":                       {model, []set{{"dirhash": h("d")}}, SubjectMismatch},
		"right beside sha1":             {model, []set{{"sha256": h("a"), "sha1": "whatever"}}, ""},
		"upper case":                    {Subject{Digests: set{"sha256": strings.Repeat("AB", 32)}}, []set{{"sha256": strings.Repeat("AB", 32)}}, SubjectMismatch},
		"short":                         {Subject{Digests: set{"sha256": h("a")[:62]}}, []set{{"sha256": h("a")[:62]}}, SubjectMismatch},
		"with its prefix":               {model, []set{{"sha256": "sha256:" + h("a")}}, SubjectMismatch},
		"a space behind":                {model, []set{{"sha256": h("a") + " "}}, SubjectMismatch},
		"sha256 of the tree":            {model, []set{{"sha256": h("d")}}, SubjectMismatch},
		"no subjects":                   {model, nil, SubjectMismatch},
		"no digest":                     {model, []set{{}}, SubjectMismatch},
		"nil digest":                    {model, []set{nil}, SubjectMismatch},
		"empty digest":                  {Subject{Digests: set{"sha256": ""}}, []set{{"sha256": ""}}, SubjectMismatch},
		"artifact without digests":      {Subject{}, []set{{"sha256": h("a")}}, SubjectMismatch},
		"neither has digests":           {Subject{}, []set{{}}, SubjectMismatch},
		"the other wrong, in one set":   {model, []set{{"sha256": h("a"), "dirHash": h("x")}}, SubjectMismatch},
		"the other wrong, in two sets":  {model, []set{{"sha256": h("a")}, {"dirHash": h("x")}}, ""},
		"our tree, another package":     {model, []set{{"sha256": h("x")}, {"dirHash": h("d")}}, SubjectMismatch},
		"our tree, the other way round": {model, []set{{"dirHash": h("d")}, {"sha256": h("x")}}, SubjectMismatch},
		"our tree, another sha512":      {model, []set{{"sha512": sha512}, {"dirHash": h("d")}}, SubjectMismatch},
		"our tree, sha512 in its set":   {model, []set{{"sha512": sha512, "dirHash": h("d")}}, SubjectMismatch},
		"our tree, another SHA-256":     {model, []set{{"SHA-256": h("x")}, {"dirHash": h("d")}}, SubjectMismatch},
		"our tree and our package":      {model, []set{{"sha256": h("x")}, {"dirHash": h("d")}, {"sha256": h("a")}}, ""},
		"our tree, another gitCommit":   {model, []set{{"gitCommit": h("x")}, {"dirHash": h("d")}}, ""},
		"a directory of a package":      {Subject{Digests: set{"dirHash": h("d")}}, []set{{"sha256": h("x")}, {"dirHash": h("d")}}, ""},
		"our tree suffices":             {treeSuffices, []set{{"sha256": h("x")}, {"dirHash": h("d")}}, ""},
		"our tree suffices, another":    {treeSuffices, []set{{"sha256": h("x")}, {"dirHash": h("e")}}, SubjectMismatch},
		"our tree suffices, one set":    {treeSuffices, []set{{"sha256": h("x"), "dirHash": h("d")}}, SubjectMismatch},
		"a name that looks like a hash": {model, []set{{"name": h("a")}}, SubjectMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			ev := statement("1", evaluation, `{}`, about(c.subjects...))
			ev.FoundWith = nil // it was given by itself
			d := load(t, evaluated).Evaluate(c.artifact, []Evidence{ev}, now)
			if r := requirement(t, d, "r"); r.Code != c.code || (d.Verdict == Allow) != (c.code == "") {
				t.Errorf("%v with %q, want %q", d.Verdict, r.Code, c.code)
			}
		})
	}
}

func TestAlgorithms(t *testing.T) {
	p := load(t, "digests: {algorithms: [sha512]}\n"+evaluated)
	want(t, p, "r", SubjectMismatch, statement("1", evaluation, `{}`))
	want(t, p, "r", "", statement("1", evaluation, `{}`, about(map[string]string{"dirHash": h("d")})))
}

// Case 26: the type is compared exactly.
func TestPredicateType(t *testing.T) {
	want(t, load(t, evaluated), "r", "", statement("1", evaluation, `{}`))
	for _, other := range []string{
		"", provenance, "evaluation", evaluation + "/", evaluation + "-x", evaluation + ".1", evaluation + "\x00", evaluation + " ",
		strings.ToUpper(evaluation), strings.Replace(evaluation, "https", "http", 1), strings.Replace(evaluation, "mlseal", "Mlseal", 1),
		evaluation[:len(evaluation)-1], evaluation + "?", evaluation + "#",
	} {
		t.Run(fmt.Sprintf("%q", other), func(t *testing.T) {
			d := want(t, load(t, evaluated), "r", TypeMissing, statement("1", other, `{}`))
			if len(d.Ignored) != 1 || d.Ignored[0].Code != "" || d.Ignored[0].Reason != "no requirement asks for this type" {
				t.Errorf("not counted: %+v", d.Ignored)
			}
		})
	}
}

func TestSignature(t *testing.T) {
	p := load(t, "require:\n  - {id: r, signature: {by: [ci]}}\n")
	want(t, p, "r", "", statement("1", cosignSign, `{}`))
	want(t, p, "r", "", statement("1", "https://model_signing/signature/v1.0", `{}`))
	want(t, p, "r", TypeMissing, statement("1", evaluation, `{}`))
	want(t, p, "r", SignerNotTrusted, statement("1", cosignSign, `{}`, by("alice")))
}

// The code of a requirement that nothing meets, from the statement that came closest.
func TestFailureCode(t *testing.T) {
	p := load(t, quoted(`predicate.ok == true`))
	stranger := statement("1", evaluation, `{"ok":true}`, by())
	stranger.SignatureNote = "signed with a key that the policy does not know"
	other := statement("2", evaluation, `{"ok":true}`, about(map[string]string{"sha256": h("x")}))
	unreadable := statement("3", "", `{}`, by(), about(), broken(ParseAmbiguous))
	otherType := statement("4", dataset, `{}`)
	isFalse := statement("5", evaluation, `{"ok":false}`)
	for name, c := range map[string]struct {
		code     Code
		near     int
		evidence []Evidence
	}{
		"nothing":                      {TypeMissing, 0, nil},
		"another type":                 {TypeMissing, 0, []Evidence{otherType}},
		"a zero Evidence":              {StatementUnusable, 1, []Evidence{{}}},
		"no ID":                        {StatementUnusable, 1, []Evidence{{PredicateType: evaluation, Subjects: isFalse.Subjects, SignedBy: []string{"ci"}}}},
		"unreadable":                   {ParseAmbiguous, 1, []Evidence{unreadable, otherType}},
		"unreadable, elsewhere":        {TypeMissing, 0, []Evidence{statement("3", "", `{}`, broken(LimitExceeded), elsewhere)}},
		"unreadable, of another type":  {TypeMissing, 0, []Evidence{statement("3", dataset, `{}`, broken(LimitExceeded))}},
		"bad signature, else right":    {SignatureInvalid, 1, []Evidence{statement("3", evaluation, `{"ok":true}`, broken(SignatureInvalid))}},
		"another subject":              {SubjectMismatch, 2, []Evidence{unreadable, other}},
		"another subject, elsewhere":   {TypeMissing, 0, []Evidence{statement("2", evaluation, `{}`, about(nil), elsewhere)}},
		"another subject and signer":   {TypeMissing, 1, []Evidence{statement("2", evaluation, `{}`, about(nil), by("alice"))}},
		"another signer":               {SignerNotTrusted, 3, []Evidence{unreadable, other, stranger}},
		"a signer of the policy":       {SignerNotTrusted, 1, []Evidence{statement("1", evaluation, `{"ok":true}`, by("alice"))}},
		"a group's name":               {SignerNotTrusted, 1, []Evidence{statement("1", evaluation, `{"ok":true}`, by("two"))}},
		"a name in another case":       {SignerNotTrusted, 1, []Evidence{statement("1", evaluation, `{"ok":true}`, by("CI"))}},
		"a name that nobody has":       {SignerNotTrusted, 1, []Evidence{statement("1", evaluation, `{"ok":true}`, by("mallory"))}},
		"the condition is false":       {ConditionFalse, 4, []Evidence{unreadable, other, stranger, isFalse}},
		"the condition is an error":    {ConditionError, 1, []Evidence{statement("5", evaluation, `{}`)}},
		"a statement without contents": {ConditionError, 1, []Evidence{{ID: "sha256:1", PredicateType: evaluation, Subjects: isFalse.Subjects, SignedBy: []string{"ci"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, "r", c.code, c.evidence...)
			if r := requirement(t, d, "r"); len(r.NearMisses) != c.near {
				t.Errorf("%d near misses, want %d: %+v", len(r.NearMisses), c.near, r.NearMisses)
			}
			if len(d.Ignored) != len(c.evidence) {
				t.Errorf("%d of %d statements are listed as not counted", len(d.Ignored), len(c.evidence))
			}
			for _, s := range d.Ignored {
				if s.Reason == "" {
					t.Errorf("%s is not explained", s.ID)
				}
			}
		})
	}
}

func TestMaxAge(t *testing.T) {
	p := load(t, "require:\n  - {id: r, attestation: evaluation, by: [ci], maxAge: 1d12h}\n")
	for name, c := range map[string]struct {
		change change
		code   Code
		detail string
	}{
		"fresh":                {age(time.Hour), "", ""},
		"at the limit":         {age(36 * time.Hour), "", ""},
		"beyond it":            {age(36*time.Hour + 1), EvidenceTooOld, "36h old, the limit is 36h"},
		"last year":            {age(365 * 24 * time.Hour), EvidenceTooOld, "365d old, the limit is 36h"},
		"no time":              {untimed, EvidenceTooOld, "nothing says when"},
		"a time of no source":  {func(ev *Evidence) { ev.TimeSource = "" }, EvidenceTooOld, "nothing says when"},
		"a source of no time":  {func(ev *Evidence) { ev.Time = time.Time{} }, EvidenceTooOld, "nothing says when"},
		"a clock that is fast": {age(-MaxClockSkew), "", ""},
		"the future":           {age(-MaxClockSkew - time.Second), EvidenceTooOld, "dated in the future: 2026-11-18T12:05:01Z"},
		"far in the future":    {func(ev *Evidence) { ev.Time = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, EvidenceTooOld, "dated in the future"},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, p, "r", c.code, statement("1", evaluation, `{}`, c.change))
			if r := requirement(t, d, "r"); !strings.Contains(r.Detail, c.detail) {
				t.Errorf("detail %q, want %q", r.Detail, c.detail)
			}
		})
	}
}

// Case 36: want evaluates every list in both orders; the IDs stand for file names.
func TestMatch(t *testing.T) {
	good := func(id string, changes ...change) Evidence {
		return statement(id, evaluation, `{"ok":true}`, changes...)
	}
	bad := func(id string, changes ...change) Evidence {
		return statement(id, evaluation, `{"ok":false}`, changes...)
	}
	old, older, future := age(2*time.Hour), age(3*time.Hour), age(-time.Hour)
	other := good("9", about(map[string]string{"sha256": h("x")}))
	for name, c := range map[string]struct {
		evidence              []Evidence
		all, any, one, latest Code
	}{
		"one good":               {[]Evidence{good("1")}, "", "", "", ""},
		"one bad":                {[]Evidence{bad("1")}, ConditionFalse, ConditionFalse, ConditionFalse, ConditionFalse},
		"two good":               {[]Evidence{good("1"), good("2", old)}, "", "", LineageAmbiguous, ""},
		"good, newer bad":        {[]Evidence{good("1", old), bad("2")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"good, newer bad, names": {[]Evidence{good("2", old), bad("1")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"bad, newer good":        {[]Evidence{bad("1", old), good("2")}, ConditionFalse, "", ConditionFalse, ""},
		"bad, newer good, names": {[]Evidence{bad("2", old), good("1")}, ConditionFalse, "", ConditionFalse, ""},
		"bad, two newer good":    {[]Evidence{bad("1", older), good("2", old), good("3")}, ConditionFalse, "", ConditionFalse, ""},
		"same time":              {[]Evidence{bad("1"), good("2")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"same time, both good":   {[]Evidence{good("1"), good("2"), bad("3", old)}, ConditionFalse, "", ConditionFalse, ""},
		"good without time":      {[]Evidence{good("1", untimed), bad("2")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"bad without time":       {[]Evidence{bad("1", untimed), good("2")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"no times":               {[]Evidence{bad("1", untimed), good("2", untimed)}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"no times, good":         {[]Evidence{good("1", untimed), good("2", untimed)}, "", "", LineageAmbiguous, ""},
		"good from the future":   {[]Evidence{good("1", future), bad("2")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"bad from the future":    {[]Evidence{bad("1", future), good("2")}, ConditionFalse, "", ConditionFalse, ConditionFalse},
		"bad by another signer":  {[]Evidence{good("1", old), bad("2", by("alice"))}, "", "", "", ""},
		"bad and unreadable":     {[]Evidence{good("1", old), bad("2", broken(ParseAmbiguous))}, "", "", "", ""},
		"about something else":   {[]Evidence{good("1"), other}, "", "", "", ""},
		"one bundle, two places": {[]Evidence{good("1"), good("1", func(ev *Evidence) { ev.Origin = "elsewhere" })}, "", "", "", ""},
		"one ID, one unusable":   {[]Evidence{good("1"), good("1", broken(ParseAmbiguous))}, ParseAmbiguous, ParseAmbiguous, ParseAmbiguous, ParseAmbiguous},
	} {
		for mode, code := range map[string]Code{"all": c.all, "any": c.any, "one": c.one, "latest": c.latest, "": c.all} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				body := quoted(`predicate.ok == true`)
				if mode != "" {
					body += "    match: " + mode + "\n"
				}
				want(t, load(t, body), "r", code, c.evidence...)
			})
		}
	}
}

// Cases 14 to 16: groups count people.
func TestThreshold(t *testing.T) {
	sign := func(id string, names ...string) Evidence { return statement(id, cosignSign, `{}`, by(names...)) }
	for name, c := range map[string]struct {
		by       string
		code     Code
		evidence []Evidence
	}{
		"two people":                {"two", "", []Evidence{sign("1", "alice"), sign("2", "bob")}},
		"two people, one statement": {"two", "", []Evidence{sign("1", "alice", "bob")}},
		"three people":              {"two", "", []Evidence{sign("1", "alice"), sign("2", "bob"), sign("3", "carol")}},
		"one person":                {"two", ThresholdNotMet, []Evidence{sign("1", "alice")}},
		"one person twice":          {"two", ThresholdNotMet, []Evidence{sign("1", "alice"), sign("2", "alice")}},
		"one name twice":            {"two", ThresholdNotMet, []Evidence{sign("1", "alice", "alice")}},
		"one and a stranger":        {"two", ThresholdNotMet, []Evidence{sign("1", "alice"), sign("2", "ci")}},
		"one and the group's name":  {"two", ThresholdNotMet, []Evidence{sign("1", "alice", "two")}},
		"one beside a stranger":     {"two", ThresholdNotMet, []Evidence{sign("1", "alice", "ci", "mallory")}},
		"strangers":                 {"two", SignerNotTrusted, []Evidence{sign("1", "ci"), sign("2", "data")}},
		"the group or ci, by ci":    {"two, ci", "", []Evidence{sign("1", "ci")}},
		"the group or ci, by one":   {"two, ci", ThresholdNotMet, []Evidence{sign("1", "alice")}},
		"the group or ci, by two":   {"ci, two", "", []Evidence{sign("1", "carol"), sign("2", "bob")}},
		"a member alone":            {"two, alice", "", []Evidence{sign("1", "alice")}},
		"another member alone":      {"two, alice", ThresholdNotMet, []Evidence{sign("1", "bob")}},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, load(t, "require:\n  - {id: r, signature: {by: ["+c.by+"]}}\n"), "r", c.code, c.evidence...)
		})
	}
	t.Run("only those that hold count", func(t *testing.T) {
		approve := func(id, signer, decision string) Evidence {
			return statement(id, evaluation, `{"decision":"`+decision+`"}`, by(signer))
		}
		body := "require:\n  - {id: r, attestation: evaluation, by: [two], match: any, where: 'predicate.decision == \"approved\"'}\n"
		want(t, load(t, body), "r", ThresholdNotMet, approve("1", "alice", "approved"), approve("2", "bob", "rejected"))
		want(t, load(t, body), "r", "", approve("1", "alice", "approved"), approve("2", "bob", "rejected"), approve("3", "carol", "approved"))
		d := want(t, load(t, strings.Replace(body, "any", "all", 1)), "r", ConditionFalse,
			approve("1", "alice", "approved"), approve("2", "bob", "rejected"), approve("3", "carol", "approved"))
		if r := requirement(t, d, "r"); len(r.Counted) != 2 || len(r.NearMisses) != 1 {
			t.Errorf("counted %v, near %v", r.Counted, r.NearMisses)
		}
	})
}
