package verify_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// The artifact that the gate is asked about.
var (
	ours    = hex.EncodeToString(sum("our image manifest"))
	oursDir = hex.EncodeToString(sum("our tree"))
	other   = hex.EncodeToString(sum("another image manifest"))
	ours512 = strings.Repeat("ab", 64) // the artifact's sha512
	now     = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
)

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

const kind = "https://mlseal.dev/attestation/evaluation/v0.1"

// person is somebody with a key.
type person struct {
	key    *signer.Key
	public []byte
}

func newPerson(t testing.TB) person {
	t.Helper()
	private, public, err := signer.Generate("", nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return person{key, public}
}

// sign signs any payload, well-formed or not: hostile statements must reach the check that they are meant for.
func (p person) sign(t testing.TB, payload string) []byte {
	t.Helper()
	b, err := p.key.SignBundle(context.Background(), attest.PayloadType, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func payload(subjects, predicateType, predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[` + subjects + `],"predicateType":"` + predicateType + `","predicate":` + predicate + `}`
}

func digests(pairs ...string) string {
	set := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	text, _ := json.Marshal(map[string]any{"name": "model", "digest": set})
	return string(text)
}

// loadPolicy loads a policy whose key files are the people's names.
func loadPolicy(t testing.TB, text string, people map[string]person) (*policies.Policy, error) {
	t.Helper()
	return policies.Load([]byte(text), policies.LoadOptions{
		Name: "policy.yaml", PredicateType: attest.PredicateType,
		ReadFile: func(name string) ([]byte, error) {
			p, ok := people[strings.TrimSuffix(name, ".pub")]
			if !ok {
				return nil, fmt.Errorf("%s: no such key", name)
			}
			return p.public, nil
		},
	})
}

const gatePolicy = `apiVersion: mlseal.dev/policy/v1
name: test-gate
signers:
  evaluator: {key: evaluator.pub}
require:
  - id: eval
    attestation: evaluation
    by: [evaluator]
    where: %s
`

// decide asks the gate about our artifact with what was attached to it.
func decide(t testing.TB, policy *policies.Policy, source verify.Source, bundles ...[]byte) *policies.Decision {
	t.Helper()
	artifact := map[string]string{"sha256": ours, "sha512": ours512, "dirHash": oursDir}
	var found []verify.Found
	for i, b := range bundles {
		found = append(found, verify.Found{Origin: fmt.Sprint("referrer ", i), Data: b, With: artifact})
	}
	v := verify.Verifier{Trust: trust.New(nil), Source: source, Now: now}
	target := verify.Target{Subject: policies.Subject{Name: "model", Digests: artifact}, Content: verify.Check{Name: "content", Status: verify.Passed}}
	d, err := v.Verify(context.Background(), target, found, policy)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// code is the reason of the first requirement that failed; empty when the artifact is allowed.
func code(d *policies.Decision) policies.Code {
	for _, r := range d.Requirements {
		if !r.Passed {
			return r.Code
		}
	}
	if d.Verdict != policies.Allow {
		return "DENIED WITHOUT A REASON"
	}
	return ""
}

const accuracy = `'predicate.results.exists(r, r.metric == "accuracy" && dec(r.value) >= dec("0.70"))'`

var goodEvaluation = `{"results":[{"metric":"accuracy","value":"0.71","passed":true}]}`

// TestAdversarial runs the numbered cases of the design's list through the whole gate with real signatures.
// A case that is denied must be denied for its own reason; each has a twin (00) that passes.
func TestAdversarial(t *testing.T) {
	evaluator, mallory := newPerson(t), newPerson(t)
	people := map[string]person{"evaluator": evaluator}
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), people)
	if err != nil {
		t.Fatal(err)
	}
	good := payload(digests("sha256", ours), kind, goodEvaluation)
	subjects := func(n int, last string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = digests("sha256", hex.EncodeToString(sum(fmt.Sprint(i))))
		}
		list[n-1] = last
		return strings.Join(list, ",")
	}
	foreignKeyID := bytes.Replace(mallory.sign(t, good), []byte(`"sig":`), []byte(`"keyid":"`+evaluator.key.Hint()+`","sig":`), 1)
	foreignHint := bytes.Replace(mallory.sign(t, good), []byte(mallory.key.Hint()), []byte(evaluator.key.Hint()), 1)
	signedGarbage := evaluator.sign(t, "signed, but not JSON")
	otherType := func(uri string) []byte {
		return evaluator.sign(t, payload(digests("sha256", ours), uri, goodEvaluation))
	}
	evaluation := func(predicate string) []byte {
		return evaluator.sign(t, payload(digests("sha256", ours), kind, predicate))
	}
	deep := strings.Repeat("[", 10000) + strings.Repeat("]", 10000)

	for _, tc := range []struct {
		name   string
		bundle []byte
		want   policies.Code
	}{
		{"00 a good statement", evaluator.sign(t, good), ""},
		{"00 by dirHash alone", evaluator.sign(t, payload(digests("dirHash", oursDir), kind, goodEvaluation)), ""},
		{"00 by sha512 alone", evaluator.sign(t, payload(digests("sha512", ours512), kind, goodEvaluation)), ""},
		{"01 about another digest", evaluator.sign(t, payload(`{"name":"another","digest":{"sha256":"`+other+`"}}`, kind, goodEvaluation)), policies.SubjectMismatch},
		{"02 right name, wrong digest", evaluator.sign(t, payload(digests("sha256", other), kind, goodEvaluation)), policies.SubjectMismatch},
		{"02 wrong image manifest, right tree", evaluator.sign(t, payload(digests("sha256", other)+","+digests("dirHash", oursDir), kind, goodEvaluation)), policies.SubjectMismatch},
		{"03 right digest as sha1 and md5 only", evaluator.sign(t, payload(digests("sha1", ours[:40], "md5", ours[:32]), kind, goodEvaluation)), policies.SubjectMismatch},
		{"04 sha256 wrong, sha512 right", evaluator.sign(t, payload(digests("sha256", other, "sha512", ours512), kind, goodEvaluation)), policies.SubjectMismatch},
		{"05 SHA256 beside sha256", evaluator.sign(t, payload(digests("sha256", ours, "SHA256", other), kind, goodEvaluation)), policies.ParseAmbiguous},
		{"05 sha-256", evaluator.sign(t, payload(digests("sha-256", ours), kind, goodEvaluation)), policies.ParseAmbiguous},
		{"06 upper-case", evaluator.sign(t, payload(digests("sha256", strings.ToUpper(ours)), kind, goodEvaluation)), policies.StatementUnusable},
		{"06 short", evaluator.sign(t, payload(digests("sha256", ours[:32]), kind, goodEvaluation)), policies.StatementUnusable},
		{"06 prefixed", evaluator.sign(t, payload(digests("sha256", "sha256:"+ours), kind, goodEvaluation)), policies.StatementUnusable},
		{"07 no subject", evaluator.sign(t, payload("", kind, goodEvaluation)), policies.StatementUnusable},
		{"07 subject without digest", evaluator.sign(t, payload(`{"name":"model"}`, kind, goodEvaluation)), policies.StatementUnusable},
		{"08 1000 subjects, ours last", evaluator.sign(t, payload(subjects(1000, digests("sha256", ours)), kind, goodEvaluation)), ""},
		{"08 1000000 subjects", evaluator.sign(t, payload(strings.Repeat(`{"digest":{"sha256":"`+other+`"}},`, 999999)+digests("sha256", ours), kind, goodEvaluation)), policies.LimitExceeded},
		{"09 gitCommit that equals a digest", evaluator.sign(t, payload(digests("gitCommit", ours), kind, goodEvaluation)), policies.SubjectMismatch},
		{"13 unknown key", mallory.sign(t, good), policies.SignerNotTrusted},
		{"13 keyid of a trusted key", foreignKeyID, policies.SignerNotTrusted},
		{"13 hint of a trusted key", foreignHint, policies.SignatureInvalid},
		{"26 another type only", otherType("https://mlseal.dev/attestation/dataset/v0.1"), policies.TypeMissing},
		{"26 type with a suffix", otherType(kind + ".evil"), policies.TypeMissing},
		{"26 trailing slash", otherType(kind + "/"), policies.TypeMissing},
		{"26 other case", otherType("https://mlseal.dev/attestation/Evaluation/v0.1"), policies.TypeMissing},
		{"26 NUL byte", otherType(kind + `\u0000`), policies.StatementUnusable},
		{"27 predicate_type", evaluator.sign(t, strings.Replace(good, `"predicateType"`, `"predicate_type"`, 1)), policies.ParseAmbiguous},
		{"28 duplicate predicateType", evaluator.sign(t, strings.Replace(good, `"predicate":`, `"predicateType":"https://example.test/x","predicate":`, 1)), policies.ParseAmbiguous},
		{"28 duplicate subject", evaluator.sign(t, strings.Replace(good, `"predicate":`, `"subject":[`+digests("sha256", other)+`],"predicate":`, 1)), policies.ParseAmbiguous},
		{"28 nested duplicate digest", evaluator.sign(t, payload(`{"digest":{"sha256":"`+ours+`"},"digest":{"sha256":"`+other+`"}}`, kind, goodEvaluation)), policies.ParseAmbiguous},
		{"28 PREDICATETYPE beside it", evaluator.sign(t, strings.Replace(good, `"predicate":`, `"PREDICATETYPE":"https://example.test/x","predicate":`, 1)), policies.ParseAmbiguous},
		{"29 second document", evaluator.sign(t, good+good), policies.ParseAmbiguous},
		{"29 bad UTF-8", evaluator.sign(t, strings.Replace(good, "accuracy", "accuracy\xff", 1)), policies.ParseAmbiguous},
		{"29 byte order mark", evaluator.sign(t, "\xef\xbb\xbf"+good), policies.ParseAmbiguous},
		{"29 depth 10000", evaluator.sign(t, strings.Replace(good, `"results"`, `"x":`+deep+`,"results"`, 1)), policies.LimitExceeded},
		{"29 200 MB", bytes.Replace(evaluator.sign(t, good), []byte(`"payload":"`), append([]byte(`"payload":"`), bytes.Repeat([]byte("A"), 200<<20)...), 1), policies.LimitExceeded},
		{"30 signed, not JSON", signedGarbage, policies.StatementUnusable},
		{"31 number 0.71", evaluation(`{"results":[{"metric":"accuracy","value":0.71}]}`), ""},
		{"31 just below in the 20th digit", evaluation(`{"results":[{"metric":"accuracy","value":0.69999999999999999999}]}`), policies.ConditionFalse},
		{"31 number 1e400", evaluation(`{"results":[{"metric":"accuracy","value":1e400}]}`), policies.ConditionError},
		{"31 NaN", evaluation(`{"results":[{"metric":"accuracy","value":"NaN"}]}`), policies.ConditionError},
		{"31 a word", evaluation(`{"results":[{"metric":"accuracy","value":"high"}]}`), policies.ConditionError},
		{"35 statement v0.1", evaluator.sign(t, strings.Replace(good, "Statement/v1", "Statement/v0.1", 1)), policies.StatementUnusable},
		{"33 empty results", evaluation(`{"results":[]}`), policies.ConditionFalse},
		{"33 no results", evaluation(`{}`), policies.ConditionError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := decide(t, policy, nil, tc.bundle)
			if got := code(d); got != tc.want {
				t.Errorf("reason is %q, want %q\n%+v", got, tc.want, d.Requirements)
			}
			if (d.Err() == nil) != (tc.want == "") {
				t.Errorf("Err is %v", d.Err())
			}
			if tc.want != "" && len(d.Ignored) != 1 {
				t.Errorf("%d statements are listed as not counted, want 1", len(d.Ignored))
			}
		})
	}
	t.Run("35 statement v0.1 where the policy accepts it", func(t *testing.T) {
		lenient, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy)+"statements: [v1, v0.1]\n", people)
		if err != nil {
			t.Fatal(err)
		}
		old := evaluator.sign(t, strings.Replace(good, "Statement/v1", "Statement/v0.1", 1))
		if got := code(decide(t, lenient, nil, old)); got != "" {
			t.Errorf("reason is %q", got)
		}
		unknown := evaluator.sign(t, strings.Replace(good, "Statement/v1", "Statement/v9", 1))
		if got := code(decide(t, lenient, nil, unknown)); got != policies.StatementUnusable {
			t.Errorf("unknown version: reason is %q", got)
		}
	})
	t.Run("13 no signature at all", func(t *testing.T) {
		if got := code(decide(t, policy, nil)); got != policies.TypeMissing {
			t.Errorf("reason is %q", got)
		}
	})
}

// TestAdversarialConditions has the cases of the list whose policy is a different one.
func TestAdversarialConditions(t *testing.T) {
	evaluator := newPerson(t)
	people := map[string]person{"evaluator": evaluator}
	for name, tc := range map[string]struct {
		where, predicate string
		want             policies.Code
	}{
		"31 2^53+1 is not 2^53":             {`predicate.n == 9007199254740993`, `{"n":9007199254740992}`, policies.ConditionFalse},
		"31 2^53+1 is 2^53+1":               {`predicate.n == 9007199254740993`, `{"n":9007199254740993}`, ""},
		"32 passed instead of PASSED":       {`predicate.result == "PASSED"`, `{"result":"passed"}`, policies.ConditionFalse},
		"32 true instead of PASSED":         {`predicate.result == "PASSED"`, `{"result":true}`, policies.ConditionError},
		"33 all() over nothing":             {`predicate.results.all(r, r.passed)`, `{"results":[]}`, policies.ConditionError},
		"33 all() over something":           {`predicate.results.all(r, r.passed)`, `{"results":[{"passed":true}]}`, ""},
		"33 missing key":                    {`predicate.results.all(r, r.passed)`, `{"results":[{}]}`, policies.ConditionError},
		"33 missing key behind a false one": {`predicate.a == 1 && predicate.b == 2`, `{"b":3}`, policies.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, "'"+tc.where+"'"), people)
			if err != nil {
				t.Fatal(err)
			}
			d := decide(t, policy, nil, evaluator.sign(t, payload(digests("sha256", ours), kind, tc.predicate)))
			if got := code(d); got != tc.want {
				t.Errorf("reason is %q, want %q: %+v", got, tc.want, d.Requirements)
			}
		})
	}
	t.Run("33 CEL that gives a string", func(t *testing.T) {
		if _, err := loadPolicy(t, fmt.Sprintf(gatePolicy, `'"yes"'`), people); !errors.Is(err, policies.ErrPolicy) {
			t.Errorf("error is %v", err)
		}
	})
}

// TestAdversarialOMS has the cases about OMS bundles at the gate: 10 to 12.
func TestAdversarialOMS(t *testing.T) {
	trainer := newPerson(t)
	policy, err := loadPolicy(t, "apiVersion: mlseal.dev/policy/v1\nname: signed\nsigners: {trainer: {key: trainer.pub}}\nrequire: [{id: signed, signature: {by: [trainer]}}]\n", map[string]person{"trainer": trainer})
	if err != nil {
		t.Fatal(err)
	}
	tree := func(files map[string]string) *manifest.Manifest {
		fsys := fstest.MapFS{}
		for name, text := range files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		m, err := manifest.Build(context.Background(), fsys, manifest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	signed := tree(map[string]string{"config.json": "{}", "notes.txt": "text"})
	statement, err := attest.NewOMSStatement(signed, "model", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := statement.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) []byte {
		if !strings.Contains(string(text), old) {
			t.Fatalf("the statement does not hold %s", old)
		}
		return trainer.sign(t, strings.Replace(string(text), old, new, 1))
	}
	for _, tc := range []struct {
		name   string
		m      *manifest.Manifest
		bundle []byte
		want   policies.Code
	}{
		{"00 as signed", signed, trainer.sign(t, string(text)), ""},
		{"10 root differs from the resources", signed, edit(signed.OMSRoot(), other), policies.ContentMismatch},
		{"11 same root, renamed file", tree(map[string]string{"config.json": "{}", "modeling_x.py": "text"}), trainer.sign(t, string(text)), policies.SubjectMismatch},
		{"12 extra unsigned file", tree(map[string]string{"config.json": "{}", "notes.txt": "text", "evil.py": "x"}), trainer.sign(t, string(text)), policies.SubjectMismatch},
		{"12 ignored path that holds code", tree(map[string]string{"config.json": "{}", "notes.txt": "text", "cache/evil.py": "x"}), edit(`"allow_symlinks":false`, `"allow_symlinks":false,"ignore_paths":["cache"]`), policies.SubjectMismatch},
		{"12 allow_symlinks", signed, edit(`"allow_symlinks":false`, `"allow_symlinks":true`), policies.StatementUnusable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := verify.Verifier{Trust: trust.New(nil), Now: now}
			subject := policies.Subject{Name: "model", Digests: map[string]string{"dirHash": tc.m.DirHash()}}
			d, err := v.Verify(context.Background(), verify.Target{Subject: subject}, []verify.Found{{Origin: "model.sig", Data: tc.bundle}}, policy)
			if err != nil {
				t.Fatal(err)
			}
			if got := code(d); got != tc.want {
				t.Errorf("reason is %q, want %q: %+v", got, tc.want, d.Requirements)
			}
		})
	}
}

// TestAdversarialPolicies has the cases about policy documents that must not load: 16 and 61. Where they fail is
// tested in policies; here that they end as a wrong policy.
func TestAdversarialPolicies(t *testing.T) {
	evaluator := newPerson(t)
	people := map[string]person{"evaluator": evaluator, "second": newPerson(t)}
	good := fmt.Sprintf(gatePolicy, accuracy)
	if _, err := loadPolicy(t, good, people); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the policy does not hold %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	group := func(g string) string {
		return replace("require:", "  two: {group: {"+g+"}}\nrequire:")
	}
	for name, text := range map[string]string{
		"16 atLeast 0":              group("of: [evaluator], atLeast: 0"),
		"16 empty group":            group("of: [], atLeast: 1"),
		"16 threshold above size":   group("of: [evaluator], atLeast: 2"),
		"61 no requirements":        good[:strings.Index(good, "require:")],
		"61 empty list":             good[:strings.Index(good, "require:")] + "require: []\n",
		"61 empty match":            replace("    by:", "    match:\n    by:"),
		"61 zero documents":         "# nothing\n",
		"61 second YAML document":   good + "---\n" + good,
		"61 merge key":              replace("  evaluator:", "  <<: {second: {key: second.pub}}\n  evaluator:"),
		"61 anchors":                replace("{key: evaluator.pub}", "&a {key: evaluator.pub}"),
		"61 alias":                  replace("require:", "  second: *a\nrequire:"),
		"61 duplicate key":          good + "name: twice\n",
		"61 unknown key":            good + "requires: []\n",
		"61 tab":                    replace("  evaluator:", "\tevaluator:"),
		"61 line separator":         replace("name: test-gate", "name: test-gate # note\u2028version: 2"),
		"61 next line":              replace("name: test-gate", "name: test-gate # note\u0085version: 2"),
		"61 empty where":            replace("where: "+accuracy, "where: []"),
		"61 signer without a key":   replace("{key: evaluator.pub}", "{}"),
		"61 requirement without by": replace("    by: [evaluator]\n", ""),
		"61 by nobody":              replace("by: [evaluator]", "by: []"),
		"61 by an unknown signer":   replace("by: [evaluator]", "by: [stranger]"),
		"61 wrong version":          replace("policy/v1", "policy/v2"),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := loadPolicy(t, text, people); !errors.Is(err, policies.ErrPolicy) {
				t.Errorf("error is %v, want ErrPolicy", err)
			}
		})
	}
}

// TestAnyFlippedBitIsADenial flips each bit of a bundle. Only bits that say nothing may be flipped without a
// denial: the hint, which names a key and proves nothing.
func TestAnyFlippedBitIsADenial(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	good := evaluator.sign(t, payload(digests("sha256", ours), kind, goodEvaluation))
	if got := code(decide(t, policy, nil, good)); got != "" {
		t.Fatalf("the good bundle is denied: %s", got)
	}
	hint := bytes.Index(good, []byte(evaluator.key.Hint()))
	for i := range good {
		if i >= hint && i < hint+len(evaluator.key.Hint()) {
			continue
		}
		for bit := range 8 {
			mutant := bytes.Clone(good)
			mutant[i] ^= 1 << bit
			if code(decide(t, policy, nil, mutant)) == "" {
				t.Errorf("byte %d (%q) bit %d flipped and still allowed: %q", i, good[i], bit, mutant[max(0, i-20):min(len(mutant), i+20)])
			}
		}
	}
}

func TestContentThatDoesNotMatchDenies(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	good := evaluator.sign(t, payload(digests("sha256", ours), kind, goodEvaluation))
	target := verify.Target{Subject: policies.Subject{Name: "m", Digests: map[string]string{"sha256": ours}}, Content: verify.Check{Name: "content", Status: verify.Failed, Detail: "a blob is altered"}}
	d, err := (&verify.Verifier{Trust: trust.New(nil), Now: now}).Verify(context.Background(), target, []verify.Found{{Data: good}}, policy)
	if err != nil {
		t.Fatal(err)
	}
	if code(d) != policies.ContentMismatch || d.Verdict != policies.Deny || !errors.Is(d.Err(), policies.ErrDenied) {
		t.Errorf("decision is %v: %v", d.Verdict, d.Err())
	}
	target.Content = verify.Check{Name: "content", Detail: "not read"}
	if d, err = (&verify.Verifier{Trust: trust.New(nil), Now: now}).Verify(context.Background(), target, []verify.Found{{Data: good}}, policy); err != nil || code(d) != "" || len(d.Skipped) != 1 {
		t.Errorf("content that was not read is listed as skipped: %v %q %v", err, code(d), d.Skipped)
	}
}

// TestIncompleteEvidenceDenies: when not all statements could be listed, the one that says no may be missing (case 43).
func TestIncompleteEvidenceDenies(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	good := verify.Found{Origin: "given", Data: evaluator.sign(t, payload(digests("sha256", ours), kind, goodEvaluation))}
	target := verify.Target{Subject: policies.Subject{Name: "m", Digests: map[string]string{"sha256": ours}}}
	flood := verify.Found{Origin: "registry", Incomplete: true, Err: fmt.Errorf("1001 referrers: %w", verify.ErrLimit)}
	d, err := (&verify.Verifier{Trust: trust.New(nil), Now: now}).Verify(context.Background(), target, []verify.Found{good, flood}, policy)
	if err != nil {
		t.Fatal(err)
	}
	if code(d) != policies.LimitExceeded || d.Verdict != policies.Deny {
		t.Errorf("reason %q, verdict %v", code(d), d.Verdict)
	}
	other := verify.Found{Origin: "an SBOM", Err: fmt.Errorf("x: %w", verify.ErrOther)}
	d, err = (&verify.Verifier{Trust: trust.New(nil), Now: now}).Verify(context.Background(), target, []verify.Found{good, other}, policy)
	if err != nil || code(d) != "" || len(d.Skipped) != 1 || len(d.Ignored) != 0 {
		t.Errorf("something that is no statement is listed as skipped: %v %q %v %v", err, code(d), d.Skipped, d.Ignored)
	}
}

// TestProblemsHaveTheirCodes: what cannot be read is listed with why, and the same bundle twice is one.
func TestProblemsHaveTheirCodes(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	good := evaluator.sign(t, payload(digests("sha256", ours), kind, goodEvaluation))
	found := []verify.Found{{Origin: "a", Data: good}, {Origin: "b", Data: good},
		{Origin: "large", Err: fmt.Errorf("x: %w", verify.ErrLimit)}, {Origin: "altered", Err: fmt.Errorf("x: %w", verify.ErrContent)},
		{Origin: "rubbish", Data: []byte("{}")}}
	target := verify.Target{Subject: policies.Subject{Name: "m", Digests: map[string]string{"sha256": ours}}}
	d, err := (&verify.Verifier{Trust: trust.New(nil), Now: now}).Verify(context.Background(), target, found, policy)
	if err != nil || code(d) != "" {
		t.Fatalf("%v %q", err, code(d))
	}
	if counted := d.Requirements[0].Counted; len(counted) != 1 {
		t.Errorf("the same bundle twice counts %d times", len(counted))
	}
	codes := map[policies.Code]int{}
	for _, s := range d.Ignored {
		codes[s.Code]++
	}
	if codes[policies.LimitExceeded] != 1 || codes[policies.ContentMismatch] != 1 || codes[policies.StatementUnusable] != 1 || len(d.Ignored) != 3 {
		t.Errorf("not counted: %v", codes)
	}
}

// TestClaimedTimeAges: maxAge is measured from the time that the signed statement claims (cases 38 and 39).
func TestClaimedTimeAges(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy)+"    maxAge: 30d\n", map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	for claimed, want := range map[string]policies.Code{
		`"finishedOn":"2026-11-01T00:00:00Z",`: "", `"finishedOn":"2026-10-01T00:00:00Z",`: policies.EvidenceTooOld,
		"": policies.EvidenceTooOld, `"FinishedOn":"2026-11-01T00:00:00Z",`: policies.EvidenceTooOld, `"finishedOn":"2027-01-01T00:00:00Z",`: policies.EvidenceTooOld,
	} {
		d := decide(t, policy, nil, evaluator.sign(t, payload(digests("sha256", ours), kind, strings.Replace(goodEvaluation, "{", "{"+claimed, 1))))
		if got := code(d); got != want {
			t.Errorf("claimed %s: reason is %q, want %q", claimed, got, want)
		}
	}
}

// sourceFunc is a Source made of a function.
type sourceFunc func(digests map[string]string) ([]verify.Found, error)

func (f sourceFunc) Statements(_ context.Context, digests map[string]string) ([]verify.Found, error) {
	return f(digests)
}

const lineagePolicy = `apiVersion: mlseal.dev/policy/v1
name: lineage
signers:
  trainer: {key: trainer.pub}
  office: {key: office.pub}
require:
  - {id: built, attestation: slsa-provenance, by: [trainer]}
lineage:
  edges:
    - {from: built, role: dataset, requireEach: [{attestation: dataset, by: [office]}]}
`

func provenance(role, digest string) string {
	return `{"buildDefinition":{"buildType":"x","externalParameters":{},"resolvedDependencies":[{"name":"` + role + `","uri":"oci:store","digest":{"sha256":"` + digest + `"}}]},"runDetails":{"builder":{"id":"x"}}}`
}

// TestLineageAsksForVerifiedDependenciesOnly: an unsigned provenance must not make the gate look anything up.
func TestLineageAsksForVerifiedDependenciesOnly(t *testing.T) {
	trainer, office, mallory := newPerson(t), newPerson(t), newPerson(t)
	policy, err := loadPolicy(t, lineagePolicy, map[string]person{"trainer": trainer, "office": office})
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	source := sourceFunc(func(digests map[string]string) ([]verify.Found, error) {
		asked = append(asked, digests["sha256"])
		if digests["sha256"] != other {
			return nil, nil
		}
		return []verify.Found{{Origin: "data", With: digests, Data: office.sign(t, payload(`{"digest":{"sha256":"`+other+`"}}`, attest.DatasetPredicateType, `{}`))}}, nil
	})
	evil := strings.Repeat("e", 64)
	d := decide(t, policy, source,
		trainer.sign(t, payload(digests("sha256", ours), attest.ProvenancePredicateType, provenance("dataset", other))),
		mallory.sign(t, payload(digests("sha256", ours), attest.ProvenancePredicateType, provenance("dataset", evil))))
	if got := code(d); got != "" {
		t.Errorf("denied: %s %+v", got, d.Requirements)
	}
	if fmt.Sprint(asked) != "["+other+"]" {
		t.Errorf("asked for %v", asked)
	}
	d = decide(t, policy, source, trainer.sign(t, payload(digests("sha256", ours), attest.ProvenancePredicateType, provenance("dataset", evil))))
	if got := code(d); got != policies.LineageGap {
		t.Errorf("a dataset that nobody vouches for: %q", got)
	}
	broken := errors.New("registry is down")
	v := verify.Verifier{Trust: trust.New(nil), Now: now, Source: sourceFunc(func(map[string]string) ([]verify.Found, error) { return nil, broken })}
	_, err = v.Verify(context.Background(), verify.Target{Subject: policies.Subject{Digests: map[string]string{"sha256": ours}}},
		[]verify.Found{{Data: trainer.sign(t, payload(digests("sha256", ours), attest.ProvenancePredicateType, provenance("dataset", other)))}}, policy)
	if !errors.Is(err, broken) {
		t.Errorf("not being able to look is %v, want the source's error", err)
	}
}

// TestUnreadableStatementIsListed: one referrer that cannot be read is reported and does not stop the decision.
func TestUnreadableStatementIsListed(t *testing.T) {
	evaluator := newPerson(t)
	policy, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	v := verify.Verifier{Trust: trust.New(nil), Now: now}
	found := []verify.Found{
		{Origin: "too large", Err: fmt.Errorf("5 MiB: %w", verify.ErrLimit)},
		{Origin: "altered", Err: fmt.Errorf("blob: %w", verify.ErrContent)},
		{Origin: "good", Data: evaluator.sign(t, payload(digests("sha256", ours), kind, goodEvaluation))},
		{Origin: "the same again", Data: nil, Err: errors.New("not a bundle")},
	}
	d, err := v.Verify(context.Background(), verify.Target{Subject: policies.Subject{Digests: map[string]string{"sha256": ours}}}, found, policy)
	if err != nil {
		t.Fatal(err)
	}
	if code(d) != "" || len(d.Ignored) != 3 {
		t.Errorf("reason %q, %d not counted: %+v", code(d), len(d.Ignored), d.Ignored)
	}
}

func TestSignerKeyMustParse(t *testing.T) {
	if _, err := trust.ParseKey([]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")); !errors.Is(err, verify.ErrKey) {
		t.Errorf("error is %v", err)
	}
}

// TestVerifierNeedsTrust: without somebody to read the signers there is no decision, whoever they are.
func TestVerifierNeedsTrust(t *testing.T) {
	evaluator := newPerson(t)
	keys, err := loadPolicy(t, fmt.Sprintf(gatePolicy, accuracy), map[string]person{"evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	target := verify.Target{Subject: policies.Subject{Name: "m", Digests: map[string]string{"sha256": ours}}}
	found := []verify.Found{{Data: evaluator.sign(t, payload(digests("sha256", ours), kind, goodEvaluation))}}
	for name, policy := range map[string]*policies.Policy{"keys": keys, "keyless": keylessPolicy(t, nil, signedRule)} {
		d, err := (&verify.Verifier{Now: now}).Verify(context.Background(), target, found, policy)
		if d != nil || err == nil || errors.Is(err, policies.ErrPolicy) || errors.Is(err, policies.ErrDenied) {
			t.Errorf("%s: %+v %v", name, d, err)
		}
	}
}

// TestTrustMakesNothingOfRubbish: what is no key or root is an error, and nothing that could be asked beside it.
func TestTrustMakesNothingOfRubbish(t *testing.T) {
	if key, err := trust.New(nil).Key([]byte("x")); key != nil || !errors.Is(err, verify.ErrKey) {
		t.Errorf("key: %v %v", key, err)
	}
	if root, err := trust.New(nil).Root(nil); root != nil || !errors.Is(err, verify.ErrNoRoot) {
		t.Errorf("no root: %v %v", root, err)
	}
	for name, text := range map[string][]byte{"empty": {}, "rubbish": []byte("x")} {
		// The policy names a root: the verifier's must not stand in for it.
		if root, err := trust.New(newInstance(t).root()).Root(text); root != nil || !errors.Is(err, verify.ErrRoot) {
			t.Errorf("%s root: %v %v", name, root, err)
		}
	}
}
