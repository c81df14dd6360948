package attest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	attestation "github.com/in-toto/attestation/go/v1"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"google.golang.org/protobuf/encoding/protojson"
)

const hex64 = "6c1c5a1a2f4ed6b7c1f3f2fd9e1c0b6a1d2e3f405162738495a6b7c8d9e0f102"

func statementText(subject, rest string) string {
	return `{"_type":"https://in-toto.io/Statement/v1","subject":[` + subject + `],"predicateType":"https://example.test/x/v1","predicate":{}` + rest + `}`
}

var goodSubject = `{"name":"m","digest":{"sha256":"` + hex64 + `"}}`

// TestParseStatementRefuses holds the cases of the adversarial list that end at the parser, by their numbers.
func TestParseStatementRefuses(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(goodSubject+",", MaxSubjects+1), ",")
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"05 SHA256 beside sha256":         {statementText(`{"digest":{"sha256":"`+hex64+`","SHA256":"`+hex64+`"}}`, ""), strictjson.ErrAmbiguous},
		"05 sha-256":                      {statementText(`{"digest":{"sha-256":"`+hex64+`"}}`, ""), strictjson.ErrAmbiguous},
		"06 upper-case digest":            {statementText(`{"digest":{"sha256":"`+strings.ToUpper(hex64)+`"}}`, ""), ErrStatement},
		"06 short digest":                 {statementText(`{"digest":{"sha256":"6c1c"}}`, ""), ErrStatement},
		"06 prefixed digest":              {statementText(`{"digest":{"sha256":"sha256:`+hex64+`"}}`, ""), ErrStatement},
		"07 empty subject list":           {statementText("", ""), ErrStatement},
		"07 subject without digest":       {statementText(`{"name":"m"}`, ""), ErrStatement},
		"07 subject with empty digest":    {statementText(`{"name":"m","digest":{}}`, ""), ErrStatement},
		"08 too many subjects":            {statementText(many, ""), strictjson.ErrLimit},
		"27 predicate_type alone":         {strings.Replace(statementText(goodSubject, ""), `"predicateType"`, `"predicate_type"`, 1), strictjson.ErrAmbiguous},
		"27 predicate_type beside it":     {statementText(goodSubject, `,"predicate_type":"https://example.test/y/v1"`), strictjson.ErrAmbiguous},
		"28 duplicate predicateType":      {statementText(goodSubject, `,"predicateType":"https://example.test/y/v1"`), strictjson.ErrAmbiguous},
		"28 duplicate subject":            {statementText(goodSubject, `,"subject":[]`), strictjson.ErrAmbiguous},
		"28 nested duplicate digest":      {statementText(`{"digest":{"sha256":"`+hex64+`"},"digest":{}}`, ""), strictjson.ErrAmbiguous},
		"28 PREDICATETYPE beside it":      {statementText(goodSubject, `,"PREDICATETYPE":"x"`), strictjson.ErrAmbiguous},
		"28 Subject's Digest in capitals": {statementText(`{"Digest":{"sha256":"`+hex64+`"}}`, ""), strictjson.ErrAmbiguous},
		"28 subject with a long s":        {statementText(goodSubject, `,"\u017fubject":[`+goodSubject+`]`), strictjson.ErrAmbiguous},
		"28 digest with a long s":         {statementText(`{"dige\u017ft":{"sha256":"`+hex64+`"}}`, ""), strictjson.ErrAmbiguous},
		"05 sha256 with a long s":         {statementText(`{"digest":{"\u017fha256":"`+hex64+`"}}`, ""), strictjson.ErrAmbiguous},
		"29 second document":              {statementText(goodSubject, "") + "{}", strictjson.ErrAmbiguous},
		"29 bad UTF-8":                    {statementText(goodSubject, `,"x":"`+"\xff"+`"`), strictjson.ErrAmbiguous},
		"29 byte order mark":              {"\xef\xbb\xbf" + statementText(goodSubject, ""), strictjson.ErrAmbiguous},
		"29 depth 10000":                  {statementText(goodSubject, `,"x":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)), strictjson.ErrLimit},
		"30 not JSON":                     {"signed, and not JSON", strictjson.ErrSyntax},
		"26 NUL byte in the type":         {strings.Replace(statementText(goodSubject, ""), "x/v1", `x/v1\u0000`, 1), ErrStatement},
		"26 type is no URI":               {strings.Replace(statementText(goodSubject, ""), "https://example.test/x/v1", "x", 1), ErrStatement},
		"35 statement v0.1":               {strings.Replace(statementText(goodSubject, ""), "Statement/v1", "Statement/v0.1", 1), ErrStatement},
		"predicate is no object":          {strings.Replace(statementText(goodSubject, ""), `"predicate":{}`, `"predicate":[]`, 1), ErrStatement},
		"predicate is null":               {strings.Replace(statementText(goodSubject, ""), `"predicate":{}`, `"predicate":null`, 1), ErrStatement},
		"content is a list":               {statementText(`{"digest":{"sha256":"`+hex64+`"},"content":[1,2,null]}`, ""), ErrStatement},
		"digest is null":                  {statementText(`{"digest":{"sha256":"`+hex64+`","x-own":null}}`, ""), ErrStatement},
		"33 digests":                      {statementText(`{"digest":{`+strings.TrimSuffix(numbered(33, `"x%d":"ab",`), ",")+`}}`, ""), strictjson.ErrLimit},
		"algorithm in capitals":           {statementText(`{"digest":{"SHA256":"`+hex64+`"}}`, ""), strictjson.ErrAmbiguous},
		"annotations without end":         {statementText(`{"digest":{"sha256":"`+hex64+`"},"annotations":{"x":[`+strings.Repeat("0,", MaxAnnotations)+`0]}}`, ""), strictjson.ErrLimit},
		"unpaired surrogate in a key":     {statementText(goodSubject, `,"\ud800":1`), strictjson.ErrAmbiguous},
	} {
		_, err := ParseStatement([]byte(tc.text))
		if !errors.Is(err, tc.want) || !errors.Is(err, ErrStatement) {
			t.Errorf("%s: error is %v, want %v", name, err, tc.want)
		}
	}
	huge := statementText(goodSubject, `,"x":"`+strings.Repeat("x", MaxStatementBytes)+`"`)
	if _, err := ParseStatement([]byte(huge)); !errors.Is(err, strictjson.ErrLimit) {
		t.Errorf("29 payload beyond the limit: %v", err)
	}
}

// numbered repeats a text with a number in it.
func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestParseCountsFirst: lists that are too long are refused before they are decoded, which takes many times the room of their text.
func TestParseCountsFirst(t *testing.T) {
	const n = 1 << 20
	many := func(element string) string { return strings.Repeat(element+",", n) + element }
	oms := omsStatement(t, strings.Replace(plainSerialization, "}", `,"ignore_paths":[`+many(`"x"`)+`]}`, 1), sha(`"a"`))
	refused := func(name string, size int, parse func() error) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := parse()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, strictjson.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 8*uint64(size)+1<<20 {
			t.Errorf("%s: %d bytes were allocated for a text of %d", name, got, size)
		}
	}
	refused("ignore_paths", len(oms.Predicate), func() error { _, err := ParseOMS(oms); return err })
	for name, text := range map[string]string{
		"signatures":   bundleText(goodKey, "{}", many("{}")),
		"tlogEntries":  bundleText(goodKey+`,"tlogEntries":[`+many("0")+`]`, "{}", goodSig),
		"timestamps":   bundleText(goodKey+`,"timestampVerificationData":{"rfc3161Timestamps":[`+many("{}")+`]}`, "{}", goodSig),
		"certificates": bundleText(`"x509CertificateChain":{"certificates":[`+many("{}")+`]}`, "{}", goodSig),
		"proof":        bundleText(goodKey+`,"tlogEntries":[{"inclusionProof":{"hashes":[`+many(`""`)+`]}}]`, "{}", goodSig),
		"nesting":      bundleText(goodKey+`,"tlogEntries":[`+strings.Repeat("[", MaxBundleDepth)+strings.Repeat("]", MaxBundleDepth)+`]`, "{}", goodSig),
	} {
		refused(name, len(text), func() error { _, err := Parse([]byte(text)); return err })
	}
}

// TestParseStatementAccepts has what must keep passing: the limit itself, unknown keys and algorithms.
func TestParseStatementAccepts(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(goodSubject+",", MaxSubjects), ",")
	for name, text := range map[string]string{
		"plain":             statementText(goodSubject, ""),
		"08 1024 subjects":  statementText(many, ""),
		"unknown key":       statementText(goodSubject, `,"x":1`),
		"content is null":   statementText(`{"digest":{"sha256":"`+hex64+`"},"content":null}`, ""), // protobuf's JSON: as if it were not there
		"unknown algorithm": statementText(`{"digest":{"sha256":"`+hex64+`","x-own":"ABC"}}`, ""),
	} {
		if _, err := ParseStatement([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func bundleText(material, payload, signatures string) string {
	return `{"mediaType":"` + BundleMediaType + `","verificationMaterial":{` + material + `},"dsseEnvelope":{"payload":"` +
		base64.StdEncoding.EncodeToString([]byte(payload)) + `","payloadType":"application/vnd.in-toto+json","signatures":[` + signatures + `]}}`
}

const goodKey, goodSig = `"publicKey":{"hint":"x"}`, `{"sig":"AAAA"}`

// otherKind is a log entry that says another kind of itself than its body does, with the body under the given key.
func otherKind(key string) string {
	body := base64.StdEncoding.EncodeToString([]byte(`{"kind":"hashedrekord","apiVersion":"0.0.1"}`))
	return `{"kindVersion":{"kind":"dsse","version":"0.0.1"},"` + key + `":"` + body + `"}`
}

func TestParseBundleRefuses(t *testing.T) {
	good := bundleText(goodKey, "{}", goodSig)
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"truncated":                   good[:len(good)/2],
		"empty":                       "",
		"another file":                `{"model":"x"}`,
		"an array":                    `[]`,
		"media type":                  strings.Replace(good, "bundle.v0.3", "bundle.v0.9", 1),
		"no envelope":                 `{"mediaType":"` + BundleMediaType + `","verificationMaterial":{` + goodKey + `}}`,
		"no material":                 strings.Replace(good, `"verificationMaterial":{`+goodKey+`},`, ``, 1),
		"empty material":              bundleText("", "{}", goodSig),
		"two materials":               bundleText(goodKey+`,"certificate":{"rawBytes":"AAAA"}`, "{}", goodSig),
		"empty certificate":           bundleText(`"certificate":{"rawBytes":""}`, "{}", goodSig),
		"empty chain":                 bundleText(`"x509CertificateChain":{"certificates":[]}`, "{}", goodSig),
		"24 payloadType":              strings.Replace(good, "application/vnd.in-toto+json", "application/json", 1),
		"no signature":                bundleText(goodKey, "{}", ""),
		"two signatures":              bundleText(goodKey, "{}", goodSig+","+goodSig),
		"empty signature":             bundleText(goodKey, "{}", `{"sig":""}`),
		"empty payload":               bundleText(goodKey, "", goodSig),
		"unknown key":                 strings.Replace(good, `"hint"`, `"hint2":"","hint"`, 1),
		"key in capitals":             strings.Replace(good, `"hint"`, `"Hint"`, 1),
		"snake case":                  strings.Replace(good, `"payloadType"`, `"payload_type"`, 1),
		"base64 with stray bits":      strings.Replace(good, `"AAAA"`, `"AAB="`, 1),
		"base64 is a number":          strings.Replace(good, `"sig":"AAAA"`, `"sig":1234`, 1),
		"payload is a number":         strings.Replace(good, `"payload":"e30="`, `"payload":1234`, 1),
		"payload with line break":     strings.Replace(good, `"payload":"e30="`, `"payload":"e30=\n"`, 1),
		"payload with stray bits":     strings.Replace(good, `"payload":"e30="`, `"payload":"e31="`, 1),
		"media type is a number":      strings.Replace(good, `"`+BundleMediaType+`"`, `3`, 1),
		"known key at another place":  strings.Replace(good, `"dsseEnvelope"`, `"hint":"x","dsseEnvelope"`, 1),
		"envelope with a certificate": strings.Replace(good, `"payloadType"`, `"certificate":{},"payloadType"`, 1),
		"envelope is null":            strings.Replace(good, `"dsseEnvelope":{`, `"dsseEnvelope":null,"messageSignature":{`, 1),
		"base64 with line break":      strings.Replace(good, `"AAAA"`, `"AA\nAA"`, 1),
		"URL-safe base64":             strings.Replace(good, `"AAAA"`, `"A_-A"`, 1),
		"entry of another kind":       bundleText(goodKey+`,"tlogEntries":[`+otherKind("canonicalizedBody")+`]`, "{}", goodSig),
		"entry in snake case":         bundleText(goodKey+`,"tlogEntries":[`+otherKind("canonicalized_body")+`]`, "{}", goodSig),
		"kind in snake case":          bundleText(goodKey+`,"tlogEntries":[`+strings.Replace(otherKind("canonicalizedBody"), "kindV", "kind_v", 1)+`]`, "{}", goodSig),
		"proof in snake case":         bundleText(goodKey+`,"tlogEntries":[{"inclusionProof":{"root_hash":"AAAA"}}]`, "{}", goodSig),
		"message signature":           `{"mediaType":"` + BundleMediaType + `","verificationMaterial":{` + goodKey + `},"messageSignature":{"signature":"AAAA"}}`,
		"trailing data":               good + good,
		"dsseEnvelope is no object":   strings.Replace(good, `"dsseEnvelope":{`, `"dsseEnvelope":[{`, 1) + "]",
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrBundle) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestParseEscaped: JSON may escape the slash of base64 and of a media type.
func TestParseEscaped(t *testing.T) {
	good := bundleText(goodKey, "???", goodSig) // Pz8/
	b, err := Parse([]byte(strings.ReplaceAll(good, "/", `\/`)))
	if err != nil || string(b.Envelope.Payload) != "???" {
		t.Errorf("%+v: %v", b, err)
	}
}

func TestIsBundle(t *testing.T) {
	good := bundleText(goodKey, "{}", goodSig)
	for text, want := range map[string]bool{
		good: true, `{"mediaType":"` + BundleMediaType + `"}`: true,
		"": false, "[]": false, "{}": false, `{"mediaType":3}`: false, `{"mediaType":"application/json"}`: false, good + "x": false, good[:len(good)-1]: false,
		`{"x":{"mediaType":"` + BundleMediaType + `"}}`: false,
	} {
		if got := IsBundle([]byte(text)); got != want {
			t.Errorf("%.60q: %v", text, got)
		}
	}
}

// TestMarshal: a statement is written as encoding/json would, with `<`, `>` and `&` as they are.
func TestMarshal(t *testing.T) {
	s, err := ParseStatement([]byte(strings.Replace(statementText(goodSubject, ""), `"predicate":{}`, `"predicate": { "x" : [ "<&>" , 1.50 ] }`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Marshal()
	want, werr := marshal(s)
	if err != nil || werr != nil || string(got) != string(want) || !strings.Contains(string(got), "<&>") {
		t.Errorf("%s: %v, want %s: %v", got, err, want, werr)
	}
	if _, err := (&Statement{Predicate: json.RawMessage("{")}).Marshal(); !errors.Is(err, ErrStatement) {
		t.Errorf("a broken predicate: %v", err)
	}
}

// payloads is a Signer that remembers what it was to sign.
type payloads []string

func (p *payloads) SignBundle(_ context.Context, _ string, payload []byte) ([]byte, error) {
	*p = append(*p, string(payload))
	return []byte(bundleText(goodKey, string(payload), goodSig)), nil
}

// TestSignOMS: it signs what NewOMSStatement says, letter by letter.
func TestSignOMS(t *testing.T) {
	for name, s := range map[string]manifest.Serialization{"files": {}, "shards": {ShardSize: 2}, "blake3": {Hash: manifest.BLAKE3}} {
		m, err := manifest.Build(context.Background(), fstest.MapFS{"b": {Data: []byte("12345")}, "a/<&>\u00e9": {Data: []byte("2")}}, manifest.Options{Serialization: s})
		if err != nil {
			t.Fatal(err)
		}
		statement, err := NewOMSStatement(m, "model", []string{"x", ".git"})
		if err != nil {
			t.Fatal(err)
		}
		var signed payloads
		one, err := Sign(context.Background(), statement, &signed)
		if err != nil {
			t.Fatal(err)
		}
		two, err := SignOMS(context.Background(), m, "model", []string{"x", ".git"}, &signed)
		if err != nil || signed[0] != signed[1] || one.ID() != two.ID() {
			t.Errorf("%s: %v: signed %s", name, err, signed)
		}
	}
	if _, err := SignOMS(context.Background(), &manifest.Manifest{}, "model", nil, &payloads{}); !errors.Is(err, ErrOMS) {
		t.Errorf("an empty tree: %v", err)
	}
	m, err := manifest.Build(context.Background(), fstest.MapFS{"b": {Data: []byte("1")}}, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// What ParseOMS would refuse, or would read as another name.
	for _, path := range []string{"../x", "/abs", "", ".", `a\b`, "a\nb", "a\xff", "b"} {
		if _, err := SignOMS(context.Background(), m, "model", []string{path}, &payloads{}); !errors.Is(err, ErrOMS) {
			t.Errorf("ignored path %q: %v", path, err)
		}
	}
	if _, err := SignOMS(context.Background(), m, "m\xff", nil, &payloads{}); !errors.Is(err, manifest.ErrName) {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
}

func TestOMSRoundTrip(t *testing.T) {
	m, err := manifest.Build(context.Background(), fstest.MapFS{"b": {Data: []byte("1")}, "a/<&>": {Data: []byte("2")}}, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewOMSStatement(m, "model", []string{"model.sig", ".git", ".git"})
	if err != nil {
		t.Fatal(err)
	}
	oms, err := ParseOMS(s)
	if err != nil {
		t.Fatal(err)
	}
	dirHash, err := oms.DirHash()
	if err != nil || oms.Root != m.OMSRoot() || dirHash != m.DirHash() || fmt.Sprint(oms.IgnorePaths) != "[.git model.sig]" {
		t.Errorf("read back %+v: %v", oms, err)
	}
	if _, err := NewOMSStatement(&manifest.Manifest{}, "model", nil); !errors.Is(err, ErrOMS) {
		t.Errorf("an empty tree: %v", err)
	}
	text, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var peer attestation.Statement
	if err := protojson.Unmarshal(text, &peer); err != nil {
		t.Fatal(err)
	}
	if err := peer.Validate(); err != nil {
		t.Errorf("in-toto's own Validate: %v", err)
	}
}

// TestPredicatesOfTheRealFineTune checks the predicates that the demo attests.
func TestPredicatesOfTheRealFineTune(t *testing.T) {
	dir := filepath.Join(testenv.Root(t), "testdata", "langid", "predicates")
	for file, kind := range map[string]string{"dataset.json": DatasetPredicateType, "evaluation.json": EvaluationPredicateType, "provenance.json.tmpl": ProvenancePredicateType} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		filled := strings.NewReplacer("@BASE_DIGEST@", hex64, "@DATASET_DIGEST@", hex64, "@BASE_REF@", "oci:store:base", "@DATASET_REF@", "oci:store:data").Replace(string(text))
		if err := CheckPredicate(kind, []byte(filled)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// ours are the examples of the predicates that are defined here, beside those of the demo.
var ours = map[string]string{"approval": ApprovalPredicateType, "artifact-scan": ArtifactScanPredicateType, "license-review": LicenseReviewPredicateType,
	"evidence-set": EvidenceSetPredicateType, "revocation": RevocationPredicateType, "waiver": WaiverPredicateType}

func TestExamplesOfPredicates(t *testing.T) {
	for name, kind := range ours {
		text, err := os.ReadFile(filepath.Join("testdata", "predicates", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckPredicate(kind, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if uri, ok := PredicateType(name); !ok || uri != kind {
			t.Errorf("%s is short for %s", name, uri)
		}
		// Nothing of it may be called otherwise, at any depth.
		for i, c := range text {
			if c != '"' || i+1 == len(text) || !bytes.Contains([]byte("abcdefghijklmnopqrstuvwxyz"), text[i+1:i+2]) {
				continue
			}
			end := bytes.IndexByte(text[i+1:], '"') + i + 1
			if end+1 == len(text) || text[end+1] != ':' || string(text[i+1:end]) == "sha256" {
				continue
			}
			other := string(text[:end]) + "x" + string(text[end:])
			if err := CheckPredicate(kind, []byte(other)); !errors.Is(err, ErrPredicate) {
				t.Errorf("%s: %s called otherwise: %v", name, text[i+1:end], err)
			}
		}
	}
}

func TestCheckPredicateRefuses(t *testing.T) {
	dir := filepath.Join(testenv.Root(t), "testdata", "langid", "predicates")
	read := func(file string) string {
		path := filepath.Join(dir, file)
		if ours[file] != "" {
			path = filepath.Join("testdata", "predicates", file+".json")
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer("@BASE_DIGEST@", hex64, "@DATASET_DIGEST@", hex64).Replace(string(text))
	}
	edit := func(file, old, new string) string {
		text := read(file)
		if !strings.Contains(text, old) {
			t.Fatalf("%s does not hold %q", file, old)
		}
		return strings.Replace(text, old, new, 1)
	}
	for name, tc := range map[string]struct{ kind, text, names string }{
		"evaluation: value is a number":     {EvaluationPredicateType, edit("evaluation.json", `"0.7435"`, `0.7435`), "results/0/value"},
		"evaluation: empty results":         {EvaluationPredicateType, `{"evaluator":{"id":"x"},"harness":{"name":"x","version":"1"},"dataset":{"uri":"x"},"results":[]}`, "results"},
		"evaluation: passed is a lie":       {EvaluationPredicateType, edit("evaluation.json", `"0.7000"`, `"0.8000"`), "results[0]"},
		"32 evaluation: passed is a word":   {EvaluationPredicateType, edit("evaluation.json", `"passed": true`, `"passed": "PASSED"`), "passed"},
		"evaluation: unknown field":         {EvaluationPredicateType, edit("evaluation.json", `"seed"`, `"sede"`), "sede"},
		"evaluation: duplicate key":         {EvaluationPredicateType, edit("evaluation.json", `"seed"`, `"seed": 1, "seed"`), "seed"},
		"dataset: no licence":               {DatasetPredicateType, edit("dataset.json", `"license"`, `"licence"`), "license"},
		"dataset: time":                     {DatasetPredicateType, edit("dataset.json", `T`, ` `), "retrievedOn"},
		"34 provenance: external field":     {ProvenancePredicateType, edit("provenance.json.tmpl", `"recipe": {`, `"extra": 1, "recipe": {`), "extra"},
		"provenance: number":                {ProvenancePredicateType, edit("provenance.json.tmpl", `"24"`, `24`), "epochs"},
		"provenance: no base model":         {ProvenancePredicateType, edit("provenance.json.tmpl", `"name": "baseModel"`, `"name": "code"`), "resolvedDependencies"},
		"provenance: unknown role":          {ProvenancePredicateType, edit("provenance.json.tmpl", `"name": "config"`, `"name": "cfg"`), "name"},
		"approval: another word":            {ApprovalPredicateType, edit("approval", `"approved"`, `"ok"`), "decision"},
		"scan: a file is not accounted for": {ArtifactScanPredicateType, edit("artifact-scan", `"total": 3`, `"total": 4`), "coverage"},
		"scan: more than there are":         {ArtifactScanPredicateType, edit("artifact-scan", `"scanned": 2`, `"scanned": 9`), "coverage"},
		"scan: no findings listed":          {ArtifactScanPredicateType, edit("artifact-scan", `"findings"`, `"found"`), "findings"},
		"set: empty":                        {EvidenceSetPredicateType, `{"attestations": [], "complete": true}`, "attestations"},
		"revocation: local time":            {RevocationPredicateType, edit("revocation", `T00:00:00Z`, `T00:00:00`), "effectiveOn"},
		"waiver: no end":                    {WaiverPredicateType, edit("waiver", `"until"`, `"from"`), "until"},
		"not an object":                     {"https://example.test/x", `[]`, "object"},
		"not JSON":                          {"https://example.test/x", `{`, "JSON"},
	} {
		err := CheckPredicate(tc.kind, []byte(tc.text))
		if !errors.Is(err, ErrPredicate) || !strings.Contains(err.Error(), tc.names) {
			t.Errorf("%s: error is %v, want one that names %q", name, err, tc.names)
		}
	}
}

func TestPredicateType(t *testing.T) {
	for name, want := range map[string]bool{"dataset": true, "https://example.test/v1": true, "urn:x:y": true, "datasett": false, "": false, "a b": false} {
		if _, ok := PredicateType(name); ok != want {
			t.Errorf("PredicateType(%q) is %t, want %t", name, ok, want)
		}
	}
}

func TestClaimedTime(t *testing.T) {
	const at = `"2026-11-22T12:00:00Z"`
	for text, kinds := range map[string][]string{
		`{"timeVerified":` + at + `}`:                              {VSAPredicateType},
		`{"timeCreated":` + at + `}`:                               {SVRPredicateType},
		`{"createdOn":` + at + `,"time_created":"x"}`:              {"https://example.test/x", DatasetPredicateType},
		`{"runDetails":{"metadata":{"finishedOn":` + at + `}}}`:    {ProvenancePredicateType},
		`{"timeVerified":` + at + `,"TimeVerified":"2030-01-01T"}`: {},
		`{"timeVerified":5}`:                                       {},
		`{"timeVerified":"2026-11-22 12:00"}`:                      {},
	} {
		for _, kind := range []string{VSAPredicateType, SVRPredicateType, ProvenancePredicateType, DatasetPredicateType, "https://example.test/x"} {
			claimed := ClaimedTime(&Statement{PredicateType: kind, Predicate: []byte(text)})
			if want := slices.Contains(kinds, kind); claimed.IsZero() == want {
				t.Errorf("%s of type %s claims %v", text, kind, claimed)
			}
		}
	}
}
