package policies_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

const (
	provenance = "https://slsa.dev/provenance/v1"
	evaluation = "https://mlseal.dev/attestation/evaluation/v0.1"
	dataset    = "https://mlseal.dev/attestation/dataset/v0.1"
	cosignSign = "https://sigstore.dev/cosign/sign/v1"
)

// now is the clock of all tests.
var now = time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)

// hexes of artifacts: h("a") is the sha256 of the model in most tests.
func h(s string) string { return strings.Repeat(fmt.Sprintf("%x", s[0]), 32) }

var model = Subject{Name: "model", Digests: map[string]string{"sha256": h("a"), "dirHash": h("d")}}

// publicKey is the key of a name, always the same one.
func publicKey(name string) []byte {
	seed := bytes.Repeat([]byte{0}, ed25519.SeedSize)
	copy(seed, name)
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// options read NAME.pub for every name but the ones that tests need to be broken, and an authority from every NAME.pem.
func options() LoadOptions {
	return LoadOptions{Name: "p.yaml", ReadFile: readKey, PredicateType: shortType}
}

func readKey(name string) ([]byte, error) {
	switch name {
	case "deny.txt":
		return []byte("# withdrawn datasets\nsha256:" + h("o") + " # one\n\nsha256:" + h("q") + "\n"), nil
	case "nothing.txt":
		return []byte("# none\n"), nil
	case "wrong.txt":
		return []byte("sha256:abc\n"), nil
	}
	if strings.HasSuffix(name, ".pem") {
		return issue("root", "root", 1, true), nil
	}
	switch base := strings.TrimSuffix(strings.TrimPrefix(name, "./"), ".pub"); base {
	case "missing":
		return nil, fs.ErrNotExist
	case "empty":
		return nil, nil
	case "text":
		return []byte("no key here\n"), nil
	case "private":
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), nil
	case "garbage":
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}), nil
	case "two":
		return append(publicKey("t1"), publicKey("t2")...), nil
	case "huge":
		return bytes.Repeat([]byte("#"), MaxKeyBytes+1), nil
	case "ci-again":
		return append([]byte("the key of ci, with a note above it\n"), publicKey("ci")...), nil
	default:
		return publicKey(base), nil
	}
}

func shortType(short string) (string, bool) {
	uri, ok := map[string]string{"slsa-provenance": provenance, "evaluation": evaluation, "dataset": dataset}[short]
	return uri, ok
}

// policy is a document with a header and the signers ci, eve, alice, bob, carol and the group two.
func policyText(body string) string {
	return `apiVersion: mlseal.dev/policy/v1
name: test
signers:
  ci: {key: ./ci.pub}
  data: {key: ./data.pub}
  alice: {keys: [alice.pub, alice2.pub]}
  bob: {key: bob.pub}
  carol: {key: carol.pub}
  two: {group: {of: [alice, bob, carol], atLeast: 2, distinct: identity}}
` + strings.TrimLeft(body, "\n")
}

func load(t testing.TB, body string) *Policy {
	t.Helper()
	p, err := Load([]byte(policyText(body)), options())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// evidence is a statement about the model by ci, made an hour ago.
type change func(*Evidence)

func statement(id, predicateType, predicate string, changes ...change) Evidence {
	ev := Evidence{
		ID: "sha256:" + id, Origin: id + ".json", PredicateType: predicateType,
		Subjects: []map[string]string{{"sha256": h("a")}}, SignedBy: []string{"ci"},
		FoundWith: model.Digests, Time: now.Add(-time.Hour), TimeSource: "claimed",
	}
	dec := json.NewDecoder(strings.NewReader(`{"predicate":` + predicate + `}`))
	dec.UseNumber()
	if err := dec.Decode(&ev.Statement); err != nil {
		panic(err)
	}
	for _, c := range changes {
		c(&ev)
	}
	return ev
}

func by(names ...string) change { return func(ev *Evidence) { ev.SignedBy = names } }

func age(d time.Duration) change { return func(ev *Evidence) { ev.Time = now.Add(-d) } }

func untimed(ev *Evidence) { ev.Time, ev.TimeSource = time.Time{}, "" }

func about(sets ...map[string]string) change { return func(ev *Evidence) { ev.Subjects = sets } }

func elsewhere(ev *Evidence) { ev.FoundWith = map[string]string{"sha256": h("z")} }

func broken(code Code) change {
	return func(ev *Evidence) { ev.Problem, ev.ProblemDetail = code, "why" }
}

// want evaluates in both orders and compares one requirement's code; an empty code means that
// the whole policy allows.
func want(t *testing.T, p *Policy, id string, code Code, evidence ...Evidence) *Decision {
	t.Helper()
	d := p.Evaluate(model, evidence, now)
	backwards := slices.Clone(evidence)
	slices.Reverse(backwards)
	if a, b := text(t, d), text(t, p.Evaluate(model, backwards, now)); a != b {
		t.Errorf("the order of the evidence changes the decision:\n%s\n%s", a, b)
	}
	r := requirement(t, d, id)
	if r.Code != code || r.Passed != (code == "") {
		t.Errorf("%s: passed %v, code %q (%s), want code %q", id, r.Passed, r.Code, r.Detail, code)
	}
	if (d.Verdict == Allow) != (d.Err() == nil) || (code != "" && d.Verdict == Allow) {
		t.Errorf("verdict %v with %v", d.Verdict, d.Err())
	}
	if code == "" && d.Verdict != Allow {
		t.Errorf("not allowed: %v", d.Err())
	}
	if r.Detail == "" {
		t.Errorf("%s explains nothing", id)
	}
	return d
}

func requirement(t *testing.T, d *Decision, id string) Requirement {
	t.Helper()
	for _, r := range d.Requirements {
		if r.ID == id {
			return r
		}
	}
	t.Fatalf("no requirement %s in %s", id, text(t, d))
	return Requirement{}
}

func text(t *testing.T, d *Decision) string {
	t.Helper()
	b, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return d.Verdict.String() + string(b)
}
