package review

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/policies"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func shortType(short string) (string, bool) {
	uri, ok := map[string]string{"slsa-provenance": provenance, "evaluation": evaluation, "dataset": dataset, "approval": approval, "scan": scan}[short]
	return uri, ok
}

func load(t testing.TB, text string) *policies.Policy {
	t.Helper()
	p, err := policies.Load([]byte(text), policies.LoadOptions{Name: "p.yaml", PredicateType: shortType})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func example(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/policy-testing/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestLint breaks a policy without warnings in one place after the other.
func TestLint(t *testing.T) {
	text := example(t)
	if w := Lint(load(t, text), now); len(w) != 0 {
		t.Fatalf("the example has warnings: %+v", w)
	}
	const where = `    where: predicate.decision == "approved" && predicate.environment == "prod"` + "\n"
	seen := map[string]bool{}
	for _, c := range []struct {
		old, new string
		check    string
		line     int
	}{
		{"expires: 2027-06-30T00:00:00Z\n", "", "expiry", 1},
		{"2027-06-30", "2026-12-19", "expiry", 1},
		{"2027-06-30", "2026-11-20", "expiry", 1},
		{"version: 1\n", "", "version", 1},
		{"owner: ml-platform@acme.example\n", "", "owner", 1},
		{"of: [alice, bob, carol]", "of: [alice, bob]", "unused-signer", 12},
		{where, "", "type-only", 29},
		{"    maxAge: 30d\n", "", "no-max-age", 20},
		{"    maxAge: 14d\n", "", "no-max-age", 29},
		{"match: latest", "match: any", "match-any", 20},
		{where, `    where: predicate.decision.matches("approved")` + "\n", "unanchored", 33},
		{where, `    where: predicate.decision.matches(r'^approved')` + "\n", "unanchored", 33},
		{where, `    where: predicate.decision.matches(r'approved$')` + "\n", "unanchored", 33},
		{where, `    where: "!predicate.findings.exists(f, f.high == true)"` + "\n", "negated-exists", 33},
		{where, `    where: "!(predicate.a.findings.exists(f, f.high == true))"` + "\n", "negated-exists", 33},
		{"subject: carol@acme.example", "pattern: '[a-z]+@carol.example'", "pattern", 12},
		{"by: [evaluator]", "by: [alice]", "own-approval", 29},
		{text[strings.Index(text, "lineage:"):], "", "no-lineage", 15},
		{"  - id: built-by-us\n", "  - id: built-by-us\n    severity: warn\n", "", 0},
		{"      role: dataset\n", "      role: dataset\n      count: {min: 0}\n", "unlimited-role", 37},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatal(c.old)
		}
		seen[c.check] = true
		w := Lint(load(t, strings.Replace(text, c.old, c.new, 1)), now)
		found := slices.ContainsFunc(w, func(w Warning) bool { return w.Check == c.check && w.Line == c.line && w.Message != "" })
		if !found && c.check != "" || c.check == "" && len(w) > 0 {
			t.Errorf("%q for %q: %+v, want %s in line %d", c.new, c.old, w, c.check, c.line)
		}
	}
	soft := strings.NewReplacer("  - id: built-by-us\n", "  - id: built-by-us\n    severity: warn\n", "  - id: eval-bar\n", "  - id: eval-bar\n    severity: info\n").Replace(text)
	if w := Lint(load(t, soft), now); len(w) != 1 || w[0].Check != "nothing-blocks-much" {
		t.Errorf("%+v", w)
	}
	seen["nothing-blocks-much"], seen["claimed-times"] = true, true // the second needs a key, in the script of the command
	for check := range Checks {
		if !seen[check] {
			t.Errorf("no test sees %s", check)
		}
	}
	for _, w := range []string{`.matches("^a$")`, `.matches('^a$')`} {
		if w := Lint(load(t, strings.Replace(text, where, "    where: predicate.decision"+w+"\n", 1)), now); len(w) != 0 {
			t.Errorf("%+v", w)
		}
	}
}

// TestClaimedTimes builds the outline itself, since a key is a file.
func TestClaimedTimes(t *testing.T) {
	l := &linter{Outline: load(t, example(t)).Outline()}
	for i := range l.Signers {
		if l.Signers[i].Name == "evaluator" {
			l.Signers[i].Kind = "key"
		}
	}
	if l.times(); len(l.warnings) != 1 || l.warnings[0].Check != "claimed-times" || l.warnings[0].Line != 20 {
		t.Errorf("%+v", l.warnings)
	}
	l.warnings, l.Order = nil, []string{"built-by-us", "eval-bar"}
	if l.times(); len(l.warnings) != 2 {
		t.Errorf("%+v", l.warnings)
	}
	l.warnings, l.Timestamps = nil, 1
	if l.times(); len(l.warnings) != 0 {
		t.Errorf("%+v", l.warnings)
	}
}

// TestCompareSeesEverything changes every field of an outline and wants a difference.
func TestCompareSeesEverything(t *testing.T) {
	full := func() policies.Outline {
		var o policies.Outline
		fill(reflect.ValueOf(&o).Elem())
		return o
	}
	if c := compare(full(), full()); len(c) != 0 {
		t.Fatalf("equal, and different: %+v", c)
	}
	// What follows from other fields, and places.
	derived := []string{"Line", "Name", "ID", "Signers", "Label", "Match", "Digest", "DeniedFrom"}
	// What only some kinds of signers have, and what entries of edges do not have.
	elsewhere := []string{".Signers.Identity", ".Signers.Pattern", ".Signers.Any", "Severity", "NotBy", "Message", "Fix"}
	changed := 0
	var walk func(path []int, t reflect.Type, name string)
	check := func(path []int, name string) {
		o := full()
		fresh(at(reflect.ValueOf(&o).Elem(), path))
		changed++
		if len(compare(full(), o)) == 0 {
			t.Errorf("%s is another one, and nobody notices", name)
		}
	}
	walk = func(path []int, typ reflect.Type, name string) {
		switch {
		case slices.Contains(elsewhere, name), strings.HasPrefix(name, ".Edges.") && slices.ContainsFunc(elsewhere, func(s string) bool { return strings.HasSuffix(name, "."+s) }):
		case typ == reflect.TypeFor[time.Time]() || typ.Kind() != reflect.Struct && (typ.Kind() != reflect.Slice || typ.Elem().Kind() != reflect.Struct):
			check(path, name)
		case typ.Kind() == reflect.Slice:
			walk(append(slices.Clone(path), 0), typ.Elem(), name)
		default:
			for i := range typ.NumField() {
				f := typ.Field(i)
				if name != "" && slices.Contains(derived, f.Name) && !(name == ".Rego" && f.Name == "Digest") || f.Name == "Digest" && name == ".Ref" {
					continue
				}
				walk(append(slices.Clone(path), i), f.Type, name+"."+f.Name)
			}
		}
	}
	walk(nil, reflect.TypeFor[policies.Outline](), "")
	if changed < 60 {
		t.Errorf("only %d fields were changed", changed)
	}
}

// at follows fields and first entries.
func at(v reflect.Value, path []int) reflect.Value {
	for _, i := range path {
		if v.Kind() == reflect.Slice {
			v = v.Index(i)
		} else {
			v = v.Field(i)
		}
	}
	return v
}

// fill gives every field a value and every list an entry.
func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(now))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.CanInt():
		v.SetInt(int64(48 * time.Hour))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	}
	if v.Type() == reflect.TypeFor[policies.SignerOutline]() {
		v.FieldByName("Kind").SetString("group") // whose members and number count
	}
}

// fresh gives a field another value.
func fresh(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(now.Add(time.Hour)))
	case v.Kind() == reflect.Slice:
		v.Index(0).SetString("y")
	case v.Kind() == reflect.String:
		v.SetString("y")
	case v.CanInt():
		v.SetInt(v.Int() * 2)
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	}
}

// TestCompare looks at the effects.
func TestCompare(t *testing.T) {
	text := example(t)
	edge := text[strings.Index(text, "lineage:"):]
	for _, c := range []struct {
		old, new, want string
		forth, back    Effect
	}{
		{"maxAge: 30d", "maxAge: 60d", "eval-bar.maxAge", Weaker, Stronger},
		{"    maxAge: 30d\n", "", "eval-bar.maxAge", Weaker, Stronger},
		{"atLeast: 2", "atLeast: 1", "signers.approvers.atLeast", Weaker, Stronger},
		{"of: [alice, bob, carol]", "of: [alice, bob]", "signers.approvers", Stronger, Weaker},
		{"match: latest", "match: any", "eval-bar.match", Weaker, Stronger},
		{"match: latest", "match: all", "eval-bar.match", Stronger, Weaker},
		{"match: latest", "match: one", "eval-bar.match", Stronger, Weaker},
		{"      - predicate.results.all(r, r.passed)\n", "", "eval-bar.where", Weaker, Stronger},
		{"by: [evaluator]", "by: [evaluator, trainer]", "eval-bar.by", Weaker, Stronger},
		{"    notSignedBySameIdentityAs: [built-by-us]\n", "", "two-humans.notSignedBySameIdentityAs", Weaker, Stronger},
		{"  - id: eval-bar\n", "  - id: eval-bar\n    severity: warn\n", "eval-bar.severity", Weaker, Stronger},
		{edge, "", "lineage:dataset", Weaker, Stronger},
		{"      role: dataset\n", "      role: dataset\n      count: {min: 0, max: 2}\n", "lineage:dataset.count.min", Weaker, Stronger},
		{"      role: dataset\n", "      role: dataset\n      count: {max: 2}\n", "lineage:dataset.count.max", Stronger, Weaker},
		{"expires: 2027-06-30T00:00:00Z\n", "", "expires", Weaker, Stronger},
		{"2027-06-30", "2028-06-30", "expires", Weaker, Stronger},
		{"owner:", "match: {repositories: [r.example/x]}\nowner:", "match.repositories", Stronger, Weaker},
		{"owner:", "digests: {deny: [\"sha256:" + strings.Repeat("a", 64) + "\"]}\nowner:", "digests.deny", Stronger, Weaker},
		{"owner:", "statements: [v1, v0.1]\nowner:", "statements", Weaker, Stronger},
		{"owner:", "acceptVerdicts: [{by: [trainer], verifier: 'https://gate.example', policy: this, maxAge: 1d}]\nowner:", "acceptVerdicts", Weaker, Stronger},
		{"carol@acme.example", "mallory@acme.example", "signers.carol", Other, Other},
		{"message: no fresh", "message: no new", "eval-bar.message", Other, Other},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatal(c.old)
		}
		old, new := load(t, text), load(t, strings.Replace(text, c.old, c.new, 1))
		for _, way := range []struct {
			a, b *policies.Policy
			want Effect
		}{{old, new, c.forth}, {new, old, c.back}} {
			changes := Compare(way.a, way.b)
			if !slices.ContainsFunc(changes, func(ch Change) bool { return ch.Where == c.want && ch.Effect == way.want }) {
				t.Errorf("%q for %q: %+v, want %s %s", c.new, c.old, changes, way.want, c.want)
			}
		}
	}
	if c := Compare(load(t, text), load(t, "# a remark\n"+text)); len(c) != 0 {
		t.Errorf("a remark is a difference: %+v", c)
	}
}

func TestExplain(t *testing.T) {
	var text, markdown bytes.Buffer
	sections := Explain(load(t, example(t)))
	if err := Text(&text, sections); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"two-humans: there is a https://mlseal.dev/attestation/approval/v0.1 statement by approvers.", "It is at most 14 days old.",
		"Nobody who signed for built-by-us may have signed it.", "approvers, at least 2 different people of alice, bob, carol: for two-humans.",
		"It says nothing about what is in its files", "mlseal attest REF --type evaluation --predicate FILE --keyless    # by evaluator",
		"Of each dataset it is asked that there is a dataset statement by office.",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "nothing about how good it is") {
		t.Error("an evaluation is required")
	}
	bare := strings.Replace(example(t), `    where: predicate.decision == "approved" && predicate.environment == "prod"`+"\n", "", 1)
	bare = bare[:strings.Index(bare, "lineage:")]
	got := fmt.Sprint(Explain(load(t, bare)))
	for _, want := range []string{"Of two-humans only the signature counts", "It follows no lineage", "nothing about the datasets"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	accepting := fmt.Sprint(Explain(load(t, strings.Replace(example(t), "owner:", "acceptVerdicts: [{by: [trainer], verifier: 'https://gate.example', policy: this, maxAge: 3d}]\nowner:", 1))))
	if want := "PASSED by https://gate.example, signed by trainer, of this policy, for the artifact's own address, at most 3 days old, stands for every requirement and edge"; !strings.Contains(accepting, want) {
		t.Errorf("no %q in %s", want, accepting)
	}
	hostile := []Section{{"t", []string{"a <script> [x](y) `c` \x1b[31m *b* | _e_"}}}
	if err := Markdown(&markdown, "n", hostile); err != nil {
		t.Fatal(err)
	}
	if s := markdown.String(); strings.ContainsAny(s, "<>\x1b[]`*|_") || !strings.Contains(s, "&#60;script&#62; &#91;x&#93;(y) &#96;c&#96;") {
		t.Error(s)
	}
	if len(slices.Sorted(maps.Keys(Checks))) < 10 {
		t.Error("too few checks")
	}
}
