package library_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	. "github.com/mlseal/mlseal/policies/library"
	"github.com/mlseal/mlseal/policies/policytest"
	"github.com/mlseal/mlseal/policies/review"
)

// all are the templates that there must be.
var all = strings.Fields(`airgap dataset-intake eu-ai-act-evidence eval-bar eval-no-contamination fine-tune-slsa-l2 fine-tune-slsa-l3 hf-import
licence-allow prod-gate safetensors-only starter-provenance starter-signed two-person-approval`)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// given are the parameters without a default, as the fixtures have them.
var given = map[string]string{
	"builder": "https://builder.example/v1", "suite": "held-out", "recipe": "git+https://git.example/llm@refs/heads/main",
	"sources": "hf://acme/llm,hf://datasets/acme/corpus",
}

// answers fill in a template: with keyless identities where it takes them, or with keys.
func answers(t Template, keys bool) Options {
	o := Options{Owner: "ml-platform@acme.example", Expires: now.AddDate(1, 0, 0), Params: map[string]string{}}
	for _, r := range t.Roles {
		members := []string{""}
		if r.AtLeast > 0 {
			members = []string{"alice", "bob", "carol"}[:max(2, r.AtLeast)]
		}
		for _, m := range members {
			s := Signer{Role: r.Name, Member: m}
			if who := r.Name + m; r.Kind == "key" || keys && r.Kind == "" {
				s.Key = who + ".pub"
			} else {
				s.Issuer, s.Subject = "https://issuer.example", "https://acme.example/"+who
			}
			o.Signers = append(o.Signers, s)
		}
	}
	for _, p := range t.Params {
		if p.Default == "" {
			o.Params[p.Name] = given[p.Name]
		}
	}
	return o
}

// publicKey is the key of a file name.
func publicKey(name string) []byte {
	seed := sha256.Sum256([]byte(name))
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(seed[:]).Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func load(t Template, text []byte) (*policies.Policy, error) {
	return policies.Load(text, policies.LoadOptions{Name: t.Name + ".yaml", PredicateType: attest.PredicateType, ReadFile: func(name string) ([]byte, error) {
		if text, ok := t.Files()[filepath.Base(name)]; ok {
			return text, nil
		}
		return publicKey(name), nil
	}})
}

func filled(tb testing.TB, t Template, keys bool) *policies.Policy {
	tb.Helper()
	text, err := t.Fill(answers(t, keys))
	if err != nil {
		tb.Fatal(err)
	}
	p, err := load(t, text)
	if err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
	return p
}

func TestTemplates(t *testing.T) {
	var names []string
	for _, template := range Templates() {
		names = append(names, template.Name)
		if strings.Contains(template.Summary, "\n") || len(template.Summary) < 20 || len(template.Roles) == 0 {
			t.Errorf("%s: summary %q, roles %v", template.Name, template.Summary, template.Roles)
		}
	}
	if !slices.Equal(names, all) {
		t.Errorf("the library holds %v", names)
	}
	if _, err := Find("prod"); !errors.Is(err, ErrTemplate) {
		t.Error(err)
	}
}

// TestUnfilled: nothing of the library decides before somebody said whom to trust.
func TestUnfilled(t *testing.T) {
	for _, name := range all {
		text, err := os.ReadFile(name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		template, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := load(template, text); p != nil || !errors.Is(err, policies.ErrPolicy) {
			t.Errorf("%s loads as it stands: %v", name, err)
		}
		// Not for want of an end and an owner only: signers without an identity do not load either.
		half := strings.NewReplacer("expires: EXPIRES", "expires: 2027-11-20T12:00:00Z", "owner: OWNER", "owner: x", "default: GIVEN", `default: ["x"]`).Replace(string(text))
		half = strings.ReplaceAll(half, `{type: string, default: ["x"]`, `{type: string, default: "x"`)
		if p, err := load(template, []byte(half)); p != nil || !errors.Is(err, policies.ErrPolicy) || !strings.Contains(err.Error(), "signers.") {
			t.Errorf("%s loads without signers: %v", name, err)
		}
		if n := strings.Count(half, ": ROLE") + strings.Count(half, ": GROUP "); n != len(template.Roles) {
			t.Errorf("%s has %d roles, and %d are understood", name, n, len(template.Roles))
		}
		if n := strings.Count(string(text), "{type: "); n != len(template.Params) {
			t.Errorf("%s has %d parameters, and %d are understood", name, n, len(template.Params))
		}
	}
}

// TestLibrary runs the tests of every policy: all cases hold, all of the policy has been seen saying no, and no mutant survives.
func TestLibrary(t *testing.T) {
	for _, name := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			result := run(t, filled(t, template, false), name)
			report := &strings.Builder{}
			if err := result.Text(report, policytest.Style{}); err != nil {
				t.Fatal(err)
			}
			if !result.Passed() {
				t.Errorf("%s", report)
			}
			for _, kind := range []policytest.PartKind{policytest.Requirements, policytest.Conditions, policytest.Checks} {
				if covered, parts := result.Coverage.Count(kind); covered != parts || result.Coverage.Wanted[kind] != 100 {
					t.Errorf("%s: %d of %d covered, %d%% wanted", kind, covered, parts, result.Coverage.Wanted[kind])
				}
			}
			if m := result.Mutants; m == nil || m.Mutants < 5 || len(m.Survivors) > 0 || m.Accepted > 0 {
				t.Errorf("mutants: %+v", m)
			}
			t.Logf("%d cases, %d parts, %d mutants", len(result.Cases), len(result.Coverage.Parts), result.Mutants.Mutants)
		})
	}
}

func run(t *testing.T, p *policies.Policy, name string) *policytest.Result {
	t.Helper()
	result, err := ask(t, p, name, false)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// ask runs the test of a policy, or its cases only. The error is that it cannot be run.
func ask(t *testing.T, p *policies.Policy, name string, cases bool) (*policytest.Result, error) {
	t.Helper()
	file := filepath.Join("testdata", name+"_test.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	suite, err := policytest.Load(text, policytest.LoadOptions{Name: file, ReadFile: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join("testdata", name)) }})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range statements(t, name) {
		if files[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	fixture, err := policytest.ParseFixture(files)
	if err != nil {
		t.Fatal(err)
	}
	if cases {
		suite.Coverage, suite.Mutants = nil, nil
	}
	return policytest.Run(p, suite, fixture, policytest.Options{Coverage: !cases, Mutate: !cases})
}

func statements(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: no statements: %v", folder, err)
	}
	return found
}

// TestFixturesAreReal: mlseal attest would sign every predicate in the fixtures.
func TestFixturesAreReal(t *testing.T) {
	checked := 0
	for _, name := range append(slices.Clone(all), "airgap-more", "eval-no-contamination-more", "fine-tune-slsa-l3-more", "prod-gate-more") {
		for _, file := range statements(t, name) {
			if filepath.Base(file) == policytest.SubjectFile {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s struct {
				Statement struct {
					PredicateType string
					Predicate     json.RawMessage
				}
			}
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			if err := attest.CheckPredicate(s.Statement.PredicateType, s.Statement.Predicate); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			checked++
		}
	}
	if checked < 40 {
		t.Errorf("only %d predicates were looked at", checked)
	}
}

// warned are the warnings of lint about the filled-in policies; docs/policy-library.md says why each of them stays.
var warned = map[string][]string{
	"starter-provenance": {"no-lineage"},
	"hf-import":          {"no-lineage"},
	"airgap":             {"claimed-times", "no-lineage"},
	"prod-gate":          {"unlimited-role"},
}

// warnedKeys are those that come with keys in the place of keyless identities.
var warnedKeys = map[string]string{
	"dataset-intake": "claimed-times", "eu-ai-act-evidence": "claimed-times", "eval-bar": "claimed-times", "eval-no-contamination": "claimed-times",
	"safetensors-only": "claimed-times", "two-person-approval": "claimed-times",
}

func TestLint(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "policy-library.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, template := range Templates() {
		_, section, found := strings.Cut(string(page), "\n## "+template.Name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found {
			t.Errorf("docs/policy-library.md has no section %s", template.Name)
		}
		for _, r := range template.Roles {
			if !strings.Contains(section, "`"+r.Name+"`") {
				t.Errorf("docs/policy-library.md: %s: the role %s is not there", template.Name, r.Name)
			}
		}
		for _, p := range template.Params {
			if !strings.Contains(section, "`"+p.Name+"`") {
				t.Errorf("docs/policy-library.md: %s: the parameter %s is not there", template.Name, p.Name)
			}
		}
		for _, keys := range []bool{false, true} {
			want := slices.Clone(warned[template.Name])
			if check := warnedKeys[template.Name]; keys && check != "" {
				want = append(want, check)
			}
			got := map[string]bool{}
			for _, w := range review.Lint(filled(t, template, keys), now) {
				got[w.Check] = true
				if !slices.Contains(want, w.Check) {
					t.Errorf("%s: %s: %s", template.Name, w.Check, w.Message)
				}
			}
			for _, check := range want {
				if !got[check] {
					t.Errorf("%s: no warning %s; take it off the list", template.Name, check)
				}
				if !strings.Contains(section, "`"+check+"`") {
					t.Errorf("docs/policy-library.md: %s: the warning %s is not explained", template.Name, check)
				}
			}
		}
	}
}

func TestFill(t *testing.T) {
	template, err := Find("two-person-approval")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		"no end":                  func(o *Options) { o.Expires = time.Time{} },
		"--signer builder=… (who": func(o *Options) { o.Signers = o.Signers[1:] },
		"approvers.NAME=… for 1":  func(o *Options) { o.Signers = o.Signers[:2] },
		`no role "trainer"`:       func(o *Options) { o.Signers[0].Role = "trainer" },
		"which is one":            func(o *Options) { o.Signers = append(o.Signers, o.Signers[0]) },
		"is a group of people":    func(o *Options) { o.Signers[1].Member = "" },
		"is one signer":           func(o *Options) { o.Signers[0].Member = "x" },
		"two signers are called":  func(o *Options) { o.Signers[1].Member = "bob" },
		"cannot be called":        func(o *Options) { o.Signers[1].Member = "a: b" },
		"called approvers":        func(o *Options) { o.Signers[1].Member = "approvers" },
		`no parameter "env"`:      func(o *Options) { o.Params = map[string]string{"env": "x"} },
	} {
		o := answers(template, false)
		change(&o)
		if text, err := template.Fill(o); text != nil || !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := template.Fill(Options{Expires: now}); err == nil || !strings.Contains(err.Error(), "builder=") || !strings.Contains(err.Error(), "approvers.NAME") {
		t.Errorf("all that is missing is named at once: %v", err)
	}
	kinds := map[string]bool{"airgap": false, "fine-tune-slsa-l3": true}
	for name, keys := range kinds {
		template, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		o := answers(template, false)
		i := slices.IndexFunc(o.Signers, func(s Signer) bool { return s.Role == "builder" })
		o.Signers[i] = Signer{Role: "builder", Issuer: "https://i.example", Subject: "x"}
		if keys {
			o.Signers[i] = Signer{Role: "builder", Key: "x.pub"}
		}
		if _, err := template.Fill(o); !errors.Is(err, ErrTemplate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileAnswers: whatever is answered is a value, and never a part of the document.
func TestHostileAnswers(t *testing.T) {
	template, err := Find("eval-bar")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{`x"}`, "a: b # c", "x\ny: z", "${x}", "{{ x }}", `\`, "{type: string, default: GIVEN}   # x", "'", "é"} {
		o := answers(template, false)
		o.Params["suite"], o.Params["minSamples"] = value, "7"
		o.Owner, o.Name, o.Repositories = "O'X", "gate", []string{"registry.example/models/**"}
		text, err := template.Fill(o)
		if err != nil {
			t.Fatal(err)
		}
		p, err := load(template, text)
		if strings.Contains(value, "\n") {
			if err == nil {
				t.Errorf("%q is taken", value)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		if o := p.Outline(); o.Ref.Name != "gate" || o.Owner != "O'X" || len(o.Requirements) != 1 || len(o.Repositories) != 1 || fmt.Sprint(len(o.Signers)) != "1" {
			t.Errorf("%q: %+v", value, o)
		}
	}
	for name, value := range map[string]string{"minSamples": "7, override: true}", "bar": "0.7x"} {
		o := answers(template, false)
		o.Params[name] = value
		text, err := template.Fill(o)
		if err == nil {
			_, err = load(template, text)
		}
		if err == nil {
			t.Errorf("%s: %q is taken", name, value)
		}
	}
}

// guardLine is a line of a filled-in policy that is there to say no: a condition, or a limit that can be left out.
var guardLine = regexp.MustCompile(`(?m)^( +(?:- |where: ))((?:'|"|size\(|predicate\.|params\.).*)$|^ +(?:maxAge|notSignedBySameIdentityAs|order|denyDigests|count|match): .*\n|^revocations: .*\n|^ +(?:transparencyLog|timestamps): .*\n`)

// TestGuardsAreTested: without any one of its guards a policy fails its own test, so that nothing in it is there for show.
func TestGuardsAreTested(t *testing.T) {
	for _, template := range Templates() {
		t.Run(template.Name, func(t *testing.T) {
			t.Parallel()
			text, err := template.Fill(answers(template, false))
			if err != nil {
				t.Fatal(err)
			}
			guards := 0
			for _, at := range guardLine.FindAllSubmatchIndex(text, -1) {
				without := string(text[:at[0]]) + string(text[at[1]:])
				if at[2] >= 0 { // a condition that always holds in its place
					without = string(text[:at[3]]) + `statement.predicateType != ""` + string(text[at[5]:])
				}
				p, err := load(template, []byte(strings.Replace(without, "trust:\nrequire:", "require:", 1)))
				if err != nil {
					t.Fatal(err)
				}
				guards++
				if result, err := ask(t, p, template.Name, true); err == nil && result.Passed() {
					t.Errorf("nobody misses %s", text[at[0]:at[1]])
				}
			}
			if guards == 0 && template.Name != "starter-signed" {
				t.Error("no guard was found")
			}
		})
	}
}
