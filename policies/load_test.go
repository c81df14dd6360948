package policies_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

const oneRule = "require:\n  - {id: r, attestation: evaluation, by: [ci]}\n"

func TestLoad(t *testing.T) {
	p, err := Load([]byte(`# everything that the language has
apiVersion: mlseal.dev/policy/v1
name: "all of it"
version: 7
expires: 2027-06-30T00:00:00Z
owner: ml-platform@acme.example
signers:
  two: {group: {of: [alice, ci], atLeast: 2}}
  ci: {key: ./ci.pub}
  alice: {keys: [alice.pub, alice2.pub]}
digests:
  algorithms: [sha512, sha256]
  deny: ["sha256:`+h("x")+`", "dirHash:`+h("y")+`"]
require:
  - {id: signed, signature: {by: [two]}, message: not signed, fix: sign it}
  - id: built
    attestation: https://slsa.dev/provenance/v1
    by: [ci]
    match: one
    maxAge: 1d12h
    where: |
      predicate.a == 1 &&
      predicate.b == "x"
  - {id: eval, attestation: evaluation, by: [ci, two], match: latest, maxAge: 30d, where: ['predicate.ok == true']}
lineage:
  edges:
    - from: built
      role: base model
      count: {min: 1, max: 1}
      accept: [{pinned: ["sha256:`+h("p")+`"]}, {signature: {by: [ci]}}, {attestation: dataset, by: [ci], where: ['true']}]
    - {from: built, role: dataset, count: {min: 0}, denyDigests: ["sha256:`+h("x")+`"], requireEach: [{attestation: dataset, by: [alice]}]}
`), options())
	if err != nil {
		t.Fatal(err)
	}
	if ref := p.Ref(); ref.Name != "all of it" || ref.Version != 7 || !strings.HasPrefix(ref.Digest, "sha256:") || len(ref.Digest) != 71 {
		t.Errorf("Ref() = %+v", ref)
	}
	if p.Owner() != "ml-platform@acme.example" {
		t.Errorf("Owner() = %q", p.Owner())
	}
	signers := p.Signers()
	if len(signers) != 2 || signers[0].Name != "alice" || len(signers[0].Keys) != 2 || signers[1].Name != "ci" ||
		string(signers[1].Keys[0]) != string(publicKey("ci")) {
		t.Errorf("Signers() = %v", signers)
	}
}

// The whole document is replaced.
func TestLoadDocumentErrors(t *testing.T) {
	deep := strings.Repeat("[", MaxPolicyDepth+1) + strings.Repeat("]", MaxPolicyDepth+1)
	for name, c := range map[string]struct{ doc, message string }{
		"zero documents":       {"", "1:1: the file holds no policy document"},
		"only a comment":       {"# nothing\n", "1:1: the file holds no policy document"},
		"empty document":       {"---\n", "must be a mapping, not nothing"},
		"second YAML document": {policyText(oneRule) + "---\nname: other\n", "12:1: a second YAML document"},
		"second, empty":        {policyText(oneRule) + "---\n", "a second YAML document"},
		"text behind the end":  {policyText(oneRule) + "...\nname: other\n", "p.yaml:"},
		"a list":               {"- a\n", "1:1: the policy must be a mapping"},
		"tab":                  {"apiVersion: mlseal.dev/policy/v1\nname:\tx\n", "2:6: a tab"},
		"byte order mark":      {"\xef\xbb\xbf" + policyText(oneRule), "1:1: the file starts with a byte order mark"},
		"UTF-16":               {"\xff\xfea\x00", "1:1: not UTF-8"},
		"not UTF-8":            {"name: a\nowner: é\xff\n", "2:9: not UTF-8"},
		"too large":            {strings.Repeat("#", MaxPolicyBytes+1), "1:1: the policy has 1048577 bytes"},
		"deep":                 {"name: " + deep + "\n", "nested deeper than 32 levels"},
		"very deep":            {"name: " + strings.Repeat("[", 20000), "p.yaml:"},
		"directive":            {"%YAML 1.1\n---\n" + policyText(oneRule), "1:1: a YAML directive"},
		"later directive":      {"# a\n%TAG ! x\n---\n" + policyText(oneRule), "2:1: a YAML directive"},
		"not YAML":             {"name: a\nowner: b\n  c: d: e\n", "not YAML: "},
		"anchors":              {"name: &a x\nowner: y\n", "1:7: an anchor (&a)"},
		"alias":                {"name: &a x\nowner: *a\n", "1:7: an anchor"},
		"merge key":            {"apiVersion: x\n<<: {name: x}\n", "2:1: a merge key"},
		"tag":                  {"name: !!str x\n", "1:7: a YAML tag"},
		"custom tag":           {"name: !x y\n", "1:7: a YAML tag"},
		"duplicate key":        {"name: x\nowner: o\nname: z\n", "3:1: duplicate key \"name\"; it stands in line 1 already"},
		"duplicate deep key":   {"name: x\nsigners:\n  a: {key: x, key: y}\n", "3:15: duplicate key \"key\""},
		"unknown key":          {"name: x\nmatches: {}\n", "2:1: unknown key \"matches\" in the policy (did you mean match?); known keys: apiVersion, name,"},
		"misspelt key":         {"name: x\nrequires: []\n", "2:1: unknown key \"requires\" in the policy (did you mean require?)"},
		"key of other case":    {"Name: x\n", "(did you mean name?)"},
		"key that is a list":   {"? [a]\n: b\n", "1:3: unknown key"},
		"control character":    {"name: \"a\\0b\"\n", "1:7: a control character"},
		"NEL in a comment":     {"name: x # a\u0085owner: y\n", "1:12: the character U+0085"},
		"line separator":       {"# é\nname: x # a\u2028owner: y\n", "2:12: the character U+2028"},
		"paragraph separator":  {"name: \"a\u2029b\"\n", "1:9: the character U+2029"},
		"lone CR":              {"name: x # a\rowner: y\r\n", "1:12: the character U+000D"},
		"CR at the end":        {"name: x\r", "1:8: the character U+000D"},
		"CR before NEL":        {"name: x\r\u0085", "1:8: the character U+000D"},
		"bidi in a comment":    {"name: x # a \u202e b\n", "1:13: the character U+202E"},
		"bidi isolate":         {"name: x\nowner: \u2066b\n", "2:8: the character U+2066"},
		"bidi mark":            {"name: x\u200f\n", "1:8: the character U+200F"},
		"escaped separator":    {"name: \"a\\u2028b\"\n", "1:7: a control character"},
		"escaped bidi":         {"name: \"a\\u202eb\"\n", "1:7: a control character"},
		"yes":                  {"name: yes\n", "1:7: yes is a boolean to some YAML readers"},
		"no apiVersion":        {"name: x\nsigners: {ci: {key: ci.pub}}\n" + oneRule, "1:1: the policy has no apiVersion"},
		"other apiVersion":     {"apiVersion: mlseal.dev/policy/v2\n", "1:13: apiVersion is \"mlseal.dev/policy/v2\""},
	} {
		t.Run(name, func(t *testing.T) { loadFails(t, c.doc, c.message) })
	}
}

// The gate of the design's first policy: keyless signers, and no trust root of its own.
func TestLoadKeyless(t *testing.T) {
	const doc = `apiVersion: mlseal.dev/policy/v1
name: first-gate
signers:
  ci: {keyless: {issuer: https://token.actions.githubusercontent.com, subject: https://github.com/acme/llm/.github/workflows/train.yml@refs/heads/main}}
require:
  - {id: signed, signature: {by: [ci]}}
  - {id: provenance, attestation: slsa-provenance, by: [ci],
     where: 'predicate.runDetails.builder.id == "https://github.com/actions/runner/github-hosted"'}
`
	p, err := Load([]byte(doc), options())
	if err != nil {
		t.Fatal(err)
	}
	s := p.Signers()
	if len(s) != 1 || s[0].Keyless == nil || len(s[0].Keys) != 0 || !p.NeedsTrustRoot() || p.TrustRoot() != nil {
		t.Fatalf("signers %+v, trust root %q", s, p.TrustRoot())
	}
	want := Identity{Issuer: "https://token.actions.githubusercontent.com", Subject: "https://github.com/acme/llm/.github/workflows/train.yml@refs/heads/main"}
	if *s[0].Keyless != want {
		t.Errorf("identity %+v", *s[0].Keyless)
	}
	s[0].Keyless.Subject = "mallory" // a copy
	if p.Signers()[0].Keyless.Subject != want.Subject {
		t.Error("a caller changed the policy")
	}
	p, err = Load([]byte(doc+"trust: {root: ./root.json}\n"), options())
	if err != nil {
		t.Fatal(err)
	}
	if string(p.TrustRoot()) != string(publicKey("root.json")) {
		t.Errorf("trust root is %q", p.TrustRoot())
	}
	for trust, message := range map[string]string{
		"{}": "trust has no root", "[]": "trust must be a mapping", "{root: ''}": "trust.root is empty", "{roots: x}": "did you mean root?",
		"{root: missing}": `trusted root "missing" cannot be read`, "{root: empty}": `trusted root "empty" is empty`,
	} {
		loadFails(t, doc+"trust: "+trust+"\n", message)
	}
}

// The body stands below nine lines of header, which have all signers.
func TestLoadBodyErrors(t *testing.T) {
	lineage := "require: [{id: r, attestation: slsa-provenance, by: [ci]}, {id: e, attestation: evaluation, by: [ci]}]\nlineage:\n"
	edge := func(s string) string { return lineage + "  edges: [" + s + "]\n" }
	for name, c := range map[string]struct{ body, message string }{
		"no requirements":        {"owner: x\n", "1:1: the policy has no require"},
		"empty list":             {"require: []\n", "10:10: require is empty"},
		"require is nothing":     {"require:\n", "require must be a list, not nothing"},
		"require is a mapping":   {"require: {id: x}\n", "require must be a list, not a mapping"},
		"no id":                  {"require: [{attestation: evaluation, by: [ci]}]\n", "10:11: a requirement has no id"},
		"empty id":               {"require: [{id: '', attestation: evaluation, by: [ci]}]\n", "id is empty"},
		"odd id":                 {"require: [{id: 'a b', attestation: evaluation, by: [ci]}]\n", `id is "a b"`},
		"taken id":               {"require: [{id: policy, attestation: evaluation, by: [ci]}]\n", `the id "policy" is taken`},
		"duplicate ids":          {"require: [{id: a, signature: {by: [ci]}}, {id: a, signature: {by: [ci]}}]\n", `duplicate id "a"`},
		"neither":                {"require: [{id: a, by: [ci]}]\n", "needs exactly one of signature and attestation"},
		"both":                   {"require: [{id: a, by: [ci], signature: {by: [ci]}, attestation: evaluation}]\n", "needs exactly one of"},
		"by beside signature":    {"require: [{id: a, by: [ci], signature: {by: [ci]}}]\n", "by stands inside signature"},
		"unknown type":           {"require: [{id: a, attestation: evalution, by: [ci]}]\n", `10:32: unknown predicate type "evalution"`},
		"type with NUL":          {"require: [{id: a, attestation: \"https://x/\\0\", by: [ci]}]\n", "a control character"},
		"type with a space":      {"require: [{id: a, attestation: 'https://x/ y', by: [ci]}]\n", "has no spaces"},
		"no by":                  {"require: [{id: a, attestation: evaluation}]\n", "a requirement has no by"},
		"no by in signature":     {"require: [{id: a, signature: {}}]\n", "signature has no by"},
		"empty by":               {"require: [{id: a, attestation: evaluation, by: []}]\n", "by is empty"},
		"by is a string":         {"require: [{id: a, attestation: evaluation, by: ci}]\n", `by must be a list, not the string "ci"`},
		"unknown signer":         {"require: [{id: a, attestation: evaluation, by: [alicia]}]\n", `by names "alicia", which is not a signer of this policy (did you mean alice?)`},
		"signer twice":           {"require: [{id: a, attestation: evaluation, by: [ci, ci]}]\n", `by names "ci" twice`},
		"signer is a number":     {"require: [{id: a, attestation: evaluation, by: [7]}]\n", "must be a string, not the number 7; put it in quotes"},
		"empty match":            {"require: [{id: a, attestation: evaluation, by: [ci], match: ''}]\n", "match is empty"},
		"unknown match":          {"require: [{id: a, attestation: evaluation, by: [ci], match: first}]\n", `match is "first"`},
		"empty where":            {"require: [{id: a, attestation: evaluation, by: [ci], where: []}]\n", "where is empty"},
		"where of nothing":       {"require: [{id: a, attestation: evaluation, by: [ci], where: ['']}]\n", "where is empty"},
		"where is a bool":        {"require: [{id: a, attestation: evaluation, by: [ci], where: true}]\n", "where must be a string, not the boolean true; put it in quotes"},
		"zero maxAge":            {"require: [{id: a, attestation: evaluation, by: [ci], maxAge: 0d}]\n", "maxAge must be longer than nothing"},
		"odd maxAge":             {"require: [{id: a, attestation: evaluation, by: [ci], maxAge: 30 days}]\n", `maxAge is "30 days"`},
		"negative maxAge":        {"require: [{id: a, attestation: evaluation, by: [ci], maxAge: -1d}]\n", `maxAge is "-1d"`},
		"maxAge is a number":     {"require: [{id: a, attestation: evaluation, by: [ci], maxAge: 30}]\n", "maxAge must be a string"},
		"version is text":        {"version: \"1\"\n" + oneRule, "10:10: version must be a decimal integer"},
		"version zero":           {"version: 0\n" + oneRule, "version is 0; it must be at least 1"},
		"version in hexadecimal": {"version: 0x10\n" + oneRule, "version must be a decimal integer"},
		"version with octal":     {"version: 010\n" + oneRule, "version must be a decimal integer"},
		"version is a float":     {"version: 1.0\n" + oneRule, "version must be a decimal integer"},
		"expires is a date":      {"expires: 2027-06-30\n" + oneRule, "expires must be an RFC 3339 time"},
		"expires is a list":      {"expires: []\n" + oneRule, "expires must be an RFC 3339 time"},
		"owner is a number":      {"owner: 5\n" + oneRule, "owner must be a string"},
		"digests empty":          {"digests: {}\n" + oneRule, "digests is empty"},
		"no algorithms":          {"digests: {algorithms: []}\n" + oneRule, "digests.algorithms is empty"},
		"sha1":                   {"digests: {algorithms: [sha256, sha1]}\n" + oneRule, `not "sha1"`},
		"deny of nothing":        {"digests: {deny: []}\n" + oneRule, "digests.deny is empty"},
		"deny upper case":        {"digests: {deny: ['sha256:" + strings.Repeat("A", 64) + "']}\n" + oneRule, "64 lower-case hexadecimal digits"},
		"deny short":             {"digests: {deny: ['sha256:ab']}\n" + oneRule, "64 lower-case"},
		"deny without algorithm": {"digests: {deny: ['" + h("a") + "']}\n" + oneRule, "is not a digest"},
		"deny twice":             {"digests: {deny: ['sha256:" + h("a") + "', 'sha256:" + h("a") + "']}\n" + oneRule, "twice"},
		"lineage empty":          {lineage + "  {}\n", "lineage has no edges"},
		"edges empty":            {lineage + "  edges: []\n", "lineage.edges is empty"},
		"edge unknown from":      {edge("{from: x, role: d, accept: [{signature: {by: [ci]}}]}"), `from names "x", which is not the id of a requirement`},
		"edge from evaluation":   {edge("{from: e, role: d, accept: [{signature: {by: [ci]}}]}"), "which does not require https://slsa.dev/provenance/v1"},
		"edge without role":      {edge("{from: r, accept: [{signature: {by: [ci]}}]}"), "a lineage edge has no role"},
		"edge asks nothing":      {edge("{from: r, role: d, denyDigests: ['sha256:" + h("a") + "']}"), "needs accept, requireEach or disjointFrom"},
		"edge accept empty":      {edge("{from: r, role: d, accept: []}"), "accept is empty"},
		"edge each empty":        {edge("{from: r, role: d, requireEach: []}"), "requireEach is empty"},
		"edge each pinned":       {edge("{from: r, role: d, requireEach: [{pinned: ['sha256:" + h("a") + "']}]}"), `unknown key "pinned"`},
		"edge accept nothing":    {edge("{from: r, role: d, accept: [{by: [ci]}]}"), "needs exactly one of signature and attestation"},
		"edge pinned empty":      {edge("{from: r, role: d, accept: [{pinned: []}]}"), "pinned is empty"},
		"edge pinned and by":     {edge("{from: r, role: d, accept: [{pinned: ['sha256:" + h("a") + "'], by: [ci]}]}"), "pinned stands alone"},
		"edge role twice":        {edge("{from: r, role: d, accept: [{signature: {by: [ci]}}]}, {from: r, role: d, accept: [{signature: {by: [ci]}}]}"), `duplicate role "d"`},
		"edge count empty":       {edge("{from: r, role: d, count: {}, accept: [{signature: {by: [ci]}}]}"), "count is empty"},
		"edge count negative":    {edge("{from: r, role: d, count: {min: -1}, accept: [{signature: {by: [ci]}}]}"), "it must be at least 0"},
		"edge max below min":     {edge("{from: r, role: d, count: {min: 2, max: 1}, accept: [{signature: {by: [ci]}}]}"), "count.max is 1; it must be at least 2"},
		"edge max zero":          {edge("{from: r, role: d, count: {min: 0, max: 0}, accept: [{signature: {by: [ci]}}]}"), "it must be at least 1"},
		"edge unknown key":       {edge("{from: r, role: d, requireEvery: x}"), "unknown key \"requireEvery\" in a lineage edge; known keys"},
		"edge id twice":          {edge("{from: r, role: d, id: x, accept: [{signature: {by: [ci]}}]}, {from: r, role: e, id: x, accept: [{signature: {by: [ci]}}]}"), `duplicate role "x"`},
		"edge from nothing":      {edge("{from: [], role: d, accept: [{signature: {by: [ci]}}]}"), "from is empty"},
		"rule id twice":          {edge("{from: r, role: d, accept: [{id: r, attestation: slsa-provenance, by: [ci]}]}"), `duplicate id "r"`},
		"rule id reserved":       {edge("{from: r, role: d, accept: [{id: evidence, attestation: slsa-provenance, by: [ci]}]}"), `the id "evidence" is taken`},
		"rule id of a dataset":   {edge("{from: r, role: d, accept: [{id: x, attestation: dataset, by: [ci]}]}"), "only a rule that asks for https://slsa.dev/provenance/v1 has an id here"},
		"recompute false":        {edge("{from: r, role: d, accept: [{signature: {by: [ci]}, recomputeSubject: false}]}"), "recomputeSubject can only be true"},
		"recompute a dataset":    {edge("{from: r, role: d, accept: [{attestation: dataset, by: [ci], recomputeSubject: true}]}"), "recomputeSubject is for https://model_signing/signature/v1.0"},
		"depth zero":             {lineage + "  maxDepth: 0\n  edges: [{from: r, role: d, accept: [{signature: {by: [ci]}}]}]\n", "it must be at least 1"},
		"depth too large":        {lineage + "  maxDepth: 101\n  edges: [{from: r, role: d, accept: [{signature: {by: [ci]}}]}]\n", "it must be at most 100"},
		"nodes too many":         {lineage + "  maxNodes: 10001\n  edges: [{from: r, role: d, accept: [{signature: {by: [ci]}}]}]\n", "it must be at most 10000"},
		"revocations by nobody":  {"revocations: {by: []}\n" + oneRule, "by is empty"},
		"revocations misspelt":   {"revocation: {by: [ci]}\n" + oneRule, "did you mean revocations?"},
		"pinned not accepted": {"digests: {algorithms: [sha512]}\n" + edge("{from: r, role: d, accept: [{pinned: ['sha256:"+h("a")+"']}]}"),
			"it would never match"},
	} {
		t.Run(name, func(t *testing.T) { loadFails(t, policyText(c.body), c.message) })
	}
}

// Case 16 of the adversarial list and its neighbours: who may sign.
func TestLoadSignerErrors(t *testing.T) {
	for name, c := range map[string]struct{ signers, message string }{
		"no signers":            {"{}", "signers must be a mapping of at least one name"},
		"signers are a list":    {"[ci]", "signers must be a mapping of at least one name"},
		"signer of nothing":     {"{ci: {}}", "signers.ci needs exactly one of key, keys, keyless, certificate and group"},
		"key and keys":          {"{ci: {key: a.pub, keys: [b.pub]}}", "signers.ci needs exactly one of"},
		"keyless of nothing":    {"{ci: {keyless: {}}}", "signers.ci.keyless has no issuer"},
		"issuer only":           {"{ci: {keyless: {issuer: 'https://i.example'}}}", "signers.ci.keyless has no subject"},
		"subject empty":         {"{ci: {keyless: {issuer: 'https://i.example', subject: ''}}}", "signers.ci.keyless.subject is empty"},
		"subject only":          {"{ci: {keyless: {subject: a@b.example}}}", "signers.ci.keyless has no issuer"},
		"wildcard":              {"{ci: {keyless: {issuer: 'https://i.example', subject: '*@b.example'}}}", "it is compared whole"},
		"one identity, twice":   {"{a: {keyless: {issuer: i, subject: s}}, b: {keyless: {issuer: i, subject: s}}}", "signers.b.keyless is the identity of signer a already"},
		"odd name":              {"{'a b': {key: a.pub}}", `a signer's name is "a b"`},
		"keys empty":            {"{ci: {keys: []}}", "signers.ci.keys is empty"},
		"key unreadable":        {"{ci: {key: missing.pub}}", `3:21: key file "missing.pub" cannot be read`},
		"key empty":             {"{ci: {key: empty.pub}}", "holds no PEM block"},
		"key is text":           {"{ci: {key: text.pub}}", "holds no PEM block"},
		"key is private":        {"{ci: {key: private.pub}}", `holds a "PRIVATE KEY"`},
		"key is garbage":        {"{ci: {key: garbage.pub}}", "holds no public key that is understood"},
		"two keys in a file":    {"{ci: {key: two.pub}}", "holds more than one PEM block"},
		"huge key file":         {"{ci: {key: huge.pub}}", "at most 65536 are read"},
		"one key, two signers":  {"{ci: {key: ci.pub}, eve: {key: ci-again.pub}}", "belongs to signer ci already"},
		"one key twice":         {"{ci: {keys: [ci.pub, ci-again.pub]}}", "belongs to signer ci already"},
		"empty group":           {"{a: {key: a.pub}, g: {group: {of: [], atLeast: 1}}}", "signers.g.group.of is empty"},
		"group without of":      {"{a: {key: a.pub}, g: {group: {atLeast: 1}}}", "signers.g.group has no of"},
		"group without atLeast": {"{a: {key: a.pub}, g: {group: {of: [a]}}}", "signers.g.group has no atLeast"},
		"atLeast 0":             {"{a: {key: a.pub}, g: {group: {of: [a], atLeast: 0}}}", "atLeast is 0; it must be at least 1"},
		"atLeast negative":      {"{a: {key: a.pub}, g: {group: {of: [a], atLeast: -1}}}", "atLeast is -1; it must be at least 1"},
		"atLeast above size":    {"{a: {key: a.pub}, g: {group: {of: [a], atLeast: 2}}}", "atLeast is 2, but the group has 1 members"},
		"duplicate member":      {"{a: {key: a.pub}, g: {group: {of: [a, a], atLeast: 2}}}", `names "a" twice`},
		"unknown member":        {"{a: {key: a.pub}, g: {group: {of: [b], atLeast: 1}}}", `names "b", which is not a signer`},
		"nested group":          {"{a: {key: a.pub}, f: {group: {of: [a], atLeast: 1}}, g: {group: {of: [f], atLeast: 1}}}", `names the group "f"`},
		"group of itself":       {"{g: {group: {of: [g], atLeast: 1}}}", `names the group "g"`},
		"distinct keys":         {"{a: {key: a.pub}, g: {group: {of: [a], atLeast: 1, distinct: key}}}", "can only be identity"},
	} {
		t.Run(name, func(t *testing.T) {
			loadFails(t, "apiVersion: mlseal.dev/policy/v1\nname: x\nsigners: "+c.signers+"\n"+oneRule, c.message)
		})
	}
	t.Run("no reader", func(t *testing.T) {
		if _, err := Load([]byte(policyText(oneRule)), LoadOptions{}); err == nil || !strings.HasPrefix(err.Error(), "policy:4:13: ") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the reader's error is kept", func(t *testing.T) {
		_, err := Load([]byte("apiVersion: mlseal.dev/policy/v1\nname: x\nsigners: {a: {key: missing.pub}}\n"), options())
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

func loadFails(t *testing.T, doc, message string) {
	t.Helper()
	loadFailsWith(t, doc, message, options())
}

func loadFailsWith(t *testing.T, doc, message string, opts LoadOptions) {
	t.Helper()
	p, err := Load([]byte(doc), opts)
	if p != nil || err == nil {
		t.Fatalf("the policy loads")
	}
	var le *LoadError
	if !errors.As(err, &le) || !errors.Is(err, ErrPolicy) || le.Line < 1 || le.Column < 1 || !strings.HasPrefix(err.Error(), "p.yaml:") {
		t.Errorf("not a good LoadError: %#v", err)
	}
	if !strings.Contains(err.Error(), message) {
		t.Errorf("got  %v\nwant %s", err, message)
	}
}

func TestLoadStatements(t *testing.T) {
	document := "apiVersion: mlseal.dev/policy/v1\nname: p\nsigners: {ci: {key: ci.pub}}\n" + oneRule
	for text, want := range map[string]string{
		"":                         "https://in-toto.io/Statement/v1",
		"statements: [v1]\n":       "https://in-toto.io/Statement/v1",
		"statements: [v1, v0.1]\n": "https://in-toto.io/Statement/v1 https://in-toto.io/Statement/v0.1",
		"statements: [v0.2]\n":     "",
		"statements: []\n":         "",
		"statements: [v1, v1]\n":   "",
		"statements: v1\n":         "",
	} {
		p, err := Load([]byte(document+text), options())
		switch {
		case want == "":
			if !errors.Is(err, ErrPolicy) {
				t.Errorf("%q: error is %v", text, err)
			}
		case err != nil:
			t.Errorf("%q: %v", text, err)
		case strings.Join(p.StatementTypes(), " ") != want:
			t.Errorf("%q: StatementTypes() = %v", text, p.StatementTypes())
		}
	}
}
