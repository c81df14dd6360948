// Package starter writes a first policy: the document, a test of it, and a fixture with which the test passes, covers the whole policy
// and leaves no mutant alive. It does no I/O but the questions that Ask is given a reader and a writer for.
package starter

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/policytest"
)

// ErrAnswer is wrapped by every error about what was asked for.
var ErrAnswer = errors.New("cannot begin a policy")

// Signer is who signs.
type Signer struct {
	Name            string
	Key             string // a file, as the policy shall name it; or
	Issuer, Subject string
}

// Options are the answers to the three questions.
type Options struct {
	Name         string   // of the policy
	Signers      []Signer // who signs
	Requires     []string // what there must be; see Kinds
	Repositories []string // where it applies; empty for everywhere
	Expires      time.Time
	Now          time.Time
}

// kind is something that can be required.
type kind struct {
	name, predicateType string
	rule                string // with %s for the signers
	predicate           string
	cases               string
}

// kinds in the order in which they stand in the policy.
var kinds = []kind{
	{"signed", "https://sigstore.dev/cosign/sign/v1", "  - {id: signed, signature: {by: [%s]}}\n", `{}`, ""},
	{"provenance", "https://slsa.dev/provenance/v1", `  - id: provenance
    attestation: slsa-provenance
    by: [%s]
    where: predicate.runDetails.builder.id != ""     # say which: == "https://…"
    message: nobody says how this was built
`, `{"buildDefinition":{"buildType":"https://mlseal.dev/buildtypes/fine-tune/v1","externalParameters":{},"resolvedDependencies":[]},` +
		`"runDetails":{"builder":{"id":"https://builder.example/fine-tune"}}}`,
		`  - name: built by nobody
    mutate: [{set: provenance, path: predicate.runDetails.builder.id, to: ''}]
    expect: {deny: provenance, code: CONDITION_FALSE}
`},
	{"evaluation", "https://mlseal.dev/attestation/evaluation/v0.1", `  - id: evaluation
    attestation: evaluation
    by: [%s]
    match: latest
    maxAge: 30d
    where: predicate.results.all(r, r.passed == true)
    message: no fresh evaluation that passed
    fix: run the evaluation again
`, `{"results":[{"metric":"accuracy","dataset":"held-out","value":"0.91","passed":true}]}`,
		`  - {name: an evaluation that failed, mutate: [{set: evaluation, path: "predicate.results[0].passed", to: false}], expect: {deny: evaluation, code: CONDITION_FALSE}}
  - {name: an old evaluation, mutate: [{timestamp: evaluation, shift: -31d}], expect: {deny: evaluation, code: EVIDENCE_TOO_OLD}}
`},
}

// Kinds are what a first policy can require.
func Kinds() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return out
}

var nameText = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// ParseSigner reads NAME=FILE or NAME=ISSUER,SUBJECT. An issuer is a URL.
func ParseSigner(text string) (Signer, error) {
	name, who, ok := strings.Cut(text, "=")
	if !ok || !nameText.MatchString(name) || who == "" {
		return Signer{}, fmt.Errorf("%w: signer %q: write NAME=FILE for a key, or NAME=ISSUER,SUBJECT for an identity", ErrAnswer, text)
	}
	if !strings.Contains(who, "://") {
		return Signer{Name: name, Key: who}, nil
	}
	issuer, subject, ok := strings.Cut(who, ",")
	if !ok || subject == "" {
		return Signer{}, fmt.Errorf("%w: signer %q: an issuer alone would trust all of its accounts: write NAME=ISSUER,SUBJECT", ErrAnswer, text)
	}
	return Signer{Name: name, Issuer: issuer, Subject: subject}, nil
}

// check looks at the answers by themselves; whether keys can be read says policies.Load.
func (o Options) check() error {
	var names []string
	for _, s := range o.Signers {
		if slices.Contains(names, s.Name) {
			return fmt.Errorf("%w: two signers are called %s", ErrAnswer, s.Name)
		}
		names = append(names, s.Name)
	}
	for _, r := range o.Requires {
		if !slices.Contains(Kinds(), r) {
			return fmt.Errorf("%w: %q cannot be required here; choose of %s", ErrAnswer, r, strings.Join(Kinds(), ", "))
		}
	}
	switch {
	case !nameText.MatchString(o.Name):
		return fmt.Errorf("%w: the policy cannot be called %q: letters, digits, dots, dashes and underscores", ErrAnswer, o.Name)
	case len(names) == 0:
		return fmt.Errorf("%w: nobody signs", ErrAnswer)
	case len(o.Requires) == 0:
		return fmt.Errorf("%w: nothing is required", ErrAnswer)
	case !o.Expires.After(o.Now):
		return fmt.Errorf("%w: it would have expired already", ErrAnswer)
	}
	return nil
}

// Files are a policy, its test and the fixture, by name. The policy's name is base.yaml.
func Files(base string, o Options) (map[string][]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	out := map[string][]byte{
		base + ".yaml":      []byte(o.policy()),
		base + "_test.yaml": []byte(o.suite(base)),
	}
	fixture, err := o.fixture().Files()
	for name, data := range fixture {
		out[path.Join(base+"_fixture", name)] = data
	}
	return out, err
}

// required are the kinds that are asked for, in their order.
func (o Options) required() []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !slices.Contains(o.Requires, k.name) })
}

// quoted is a YAML string in double quotes. JSON's strings are YAML's.
func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func (o Options) policy() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: %s\nname: %s\nversion: 1\nexpires: %s\n", policies.APIVersion, quoted(o.Name), o.Expires.UTC().Format(time.RFC3339))
	if len(o.Repositories) > 0 {
		b.WriteString("match:\n  repositories:\n")
		for _, r := range o.Repositories {
			fmt.Fprintf(&b, "    - %s\n", quoted(r))
		}
	}
	b.WriteString("signers:\n")
	var names []string
	for _, s := range o.Signers {
		names = append(names, quoted(s.Name))
		if s.Key != "" {
			fmt.Fprintf(&b, "  %s: {key: %s}\n", quoted(s.Name), quoted(s.Key))
		} else {
			fmt.Fprintf(&b, "  %s: {keyless: {issuer: %s, subject: %s}}\n", quoted(s.Name), quoted(s.Issuer), quoted(s.Subject))
		}
	}
	b.WriteString("require:\n")
	for _, k := range o.required() {
		fmt.Fprintf(&b, k.rule, strings.Join(names, ", "))
	}
	return b.String()
}

func (o Options) suite(base string) string {
	var b strings.Builder
	file := path.Base(base)
	fmt.Fprintf(&b, "policy: %s\nnow: %s\nfixtures: %s\ncases:\n", quoted(file+".yaml"), o.Now.UTC().Format(time.RFC3339), quoted(file+"_fixture"))
	b.WriteString("  - {name: good passes, expect: pass}\n")
	for _, k := range o.required() {
		fmt.Fprintf(&b, "  - {name: no %s, mutate: [{drop: %s}], expect: {deny: %s, code: TYPE_MISSING}}\n", k.name, k.name, k.name)
		fmt.Fprintf(&b, "  - {name: %s by a stranger, mutate: [{resign: %s, as: mallory}], expect: {deny: %s, code: SIGNER_NOT_TRUSTED}}\n", k.name, k.name, k.name)
		b.WriteString(k.cases)
	}
	fmt.Fprintf(&b, "  - {name: the policy has ended, now: %s, expect: {deny: policy, code: POLICY_EXPIRED}}\n", o.Expires.UTC().Format(time.RFC3339))
	if len(o.Repositories) > 0 {
		b.WriteString("  - {name: another repository, subject: {repository: elsewhere.invalid/x}, expect: {deny: match}}\n")
	}
	b.WriteString("coverage: {requirements: 100%, conditions: 100%, checks: 100%}\nmutants: {builtin: true, survivors: 0}\n")
	return b.String()
}

// fixture is what would pass: an artifact with one statement of each kind, made an hour ago.
func (o Options) fixture() *policytest.Fixture {
	digest := strings.Repeat("a", 64)
	f := &policytest.Fixture{Subject: policies.Subject{Name: "example", Digests: map[string]string{"sha256": digest, "dirHash": strings.Repeat("d", 64)}}}
	if len(o.Repositories) > 0 {
		f.Subject.Repository = strings.ReplaceAll(strings.ReplaceAll(o.Repositories[0], "**", "example"), "*", "example")
	}
	for _, k := range o.required() {
		var predicate map[string]any
		_ = json.Unmarshal([]byte(k.predicate), &predicate) // a constant, which the tests read
		f.Statements = append(f.Statements, policytest.Statement{Name: k.name, Evidence: policies.Evidence{
			ID: k.name, PredicateType: k.predicateType, SignedBy: []string{o.Signers[0].Name}, Time: o.Now.Add(-time.Hour), TimeSource: "claimed",
			Subjects: []map[string]string{{"sha256": digest}},
			Statement: map[string]any{
				"_type": "https://in-toto.io/Statement/v1", "subject": []any{map[string]any{"digest": map[string]any{"sha256": digest}}},
				"predicateType": k.predicateType, "predicate": predicate,
			},
		}})
	}
	return f
}
