package report

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	svr01 "github.com/in-toto/attestation/go/predicates/svr/v01"
	vsa1 "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"google.golang.org/protobuf/encoding/protojson"
)

var verifier = Verifier{ID: "https://verifier.example/gate", Version: "1.2.3", ResourceURI: "oci://registry.example/models/bot@sha256:" + strings.Repeat("c", 64)}

// statement is the whole statement that is signed, which in-toto's own types read strictly.
func statement(t *testing.T, predicateType string, predicate json.RawMessage) []byte {
	t.Helper()
	s, err := attest.NewStatement([]attest.ResourceDescriptor{{Name: "m", Digest: attest.DigestSet{"sha256": strings.Repeat("c", 64)}}, {Name: "m", Digest: attest.DigestSet{"dirHash": strings.Repeat("d", 64)}}}, predicateType, predicate)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read := &intoto.Statement{}
	if err := protojson.Unmarshal(payload, read); err != nil {
		t.Fatalf("in-toto's statement: %v", err)
	}
	if err := read.Validate(); err != nil {
		t.Fatalf("in-toto's statement: %v", err)
	}
	return payload
}

// take removes a field that is newer than in-toto's types, and returns it.
func take(t *testing.T, predicate json.RawMessage, field string) (rest []byte, value json.RawMessage) {
	t.Helper()
	var p, v map[string]json.RawMessage
	if json.Unmarshal(predicate, &p) != nil || json.Unmarshal(p["verifier"], &v) != nil || v[field] == nil {
		t.Fatalf("there is no verifier.%s in %s", field, predicate)
	}
	value = v[field]
	delete(v, field)
	inner, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	p["verifier"] = inner
	if rest, err = json.Marshal(p); err != nil {
		t.Fatal(err)
	}
	return rest, value
}

func TestVSA(t *testing.T) {
	for name, want := range map[string]string{"allowed": "PASSED", "denied": "FAILED", "hostile": "FAILED"} {
		d := reports[name].(Gate).Decision
		predicate, err := VSA(d, verifier)
		if err != nil {
			t.Fatal(err)
		}
		statement(t, attest.VSAPredicateType, predicate)
		golden(t, name+".predicate.vsa.json", append(predicate, '\n'))
		// in-toto's type is of SLSA 1.0, which has no verifier.version.
		rest, version := take(t, predicate, "version")
		if string(version) != `{"mlseal":"1.2.3"}` {
			t.Errorf("%s: version %s", name, version)
		}
		p := &vsa1.VerificationSummary{}
		if err := protojson.Unmarshal(rest, p); err != nil {
			t.Fatalf("%s: in-toto's type does not read it: %v", name, err)
		}
		if p.VerificationResult != want || p.Verifier.Id != verifier.ID || p.ResourceUri != verifier.ResourceURI || !p.TimeVerified.AsTime().Equal(d.Time) ||
			p.Policy.Digest["sha256"] != strings.Repeat("b", 64) || !strings.HasPrefix(p.Policy.Uri, "urn:mlseal:policy:") || len(p.VerifiedLevels) == 0 {
			t.Errorf("%s: %v", name, p)
		}
		if (want == "FAILED") != slices.Equal(p.VerifiedLevels, []string{"FAILED"}) {
			t.Errorf("%s: levels %v", name, p.VerifiedLevels)
		}
		for _, level := range p.VerifiedLevels {
			if strings.HasPrefix(level, "SLSA_") {
				t.Errorf("%s: %s was not evaluated", name, level)
			}
		}
		for _, in := range p.InputAttestations {
			if len(in.Digest["sha256"]) != 64 {
				t.Errorf("%s: an attestation without a digest: %v", name, in)
			}
		}
	}
}

// TestPolicyInSummaries: a waived requirement is not listed as met, nor is one that only warned; parameters and dependencies are recorded.
func TestPolicyInSummaries(t *testing.T) {
	d := reports["waived"].(Gate).Decision
	predicate, err := VSA(d, verifier)
	if err != nil {
		t.Fatal(err)
	}
	statement(t, attest.VSAPredicateType, predicate)
	golden(t, "waived.predicate.vsa.json", append(predicate, '\n'))
	var p vsa
	if err := json.Unmarshal(predicate, &p); err != nil {
		t.Fatal(err)
	}
	want := []string{"MLSEAL_POLICY/prod%20llm%20gate"}
	for _, id := range []string{"policy", "digests.deny", "revocations", "built-by-us", "", "scanned", "lineage.order", "lineage:dataset", "rego:limits"} {
		if id == "" {
			want = append(want, "MLSEAL_WAIVED/prod%20llm%20gate/eval-bar/"+url.PathEscape(d.Requirements[4].Waiver))
			continue
		}
		want = append(want, "MLSEAL_REQUIREMENT/prod%20llm%20gate/"+id)
	}
	if !slices.Equal(p.VerifiedLevels, want) {
		t.Errorf("levels %q, want %q", p.VerifiedLevels, want)
	}
	if len(p.DependencyLevels) != 1 || p.DependencyLevels["MLSEAL_LINEAGE/prod%20llm%20gate"] != 1 {
		t.Errorf("dependencies %v", p.DependencyLevels)
	}
	var inputs []string
	for _, in := range p.InputAttestations {
		inputs = append(inputs, in.Digest["sha256"][:1])
	}
	if !slices.Equal(inputs, []string{"1", "2", "4", "7"}) {
		t.Errorf("inputs %v", inputs)
	}
	// SLSA has the policy a ResourceDescriptor, with annotations; in-toto's type of SLSA 1.0 has its URI and digest alone.
	var fields map[string]json.RawMessage
	rest, _ := take(t, predicate, "version")
	if err := json.Unmarshal(rest, &fields); err != nil {
		t.Fatal(err)
	}
	checkParams(t, fields["policy"])
	delete(fields, "policy")
	if rest, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	read := &vsa1.VerificationSummary{}
	if err := protojson.Unmarshal(rest, read); err != nil || read.DependencyLevels["MLSEAL_LINEAGE/prod%20llm%20gate"] != 1 {
		t.Errorf("in-toto's type: %v %v", err, read)
	}
	if predicate, err = SVR(d, verifier); err != nil {
		t.Fatal(err)
	}
	golden(t, "waived.predicate.svr.json", append(predicate, '\n'))
	_, list := take(t, predicate, "policies")
	var descriptors []json.RawMessage
	if err := json.Unmarshal(list, &descriptors); err != nil || len(descriptors) != 1 {
		t.Fatalf("policies %s", list)
	}
	checkParams(t, descriptors[0])

	denied := reports["audited"].(Gate).Decision
	if predicate, err = VSA(denied, verifier); err != nil {
		t.Fatal(err)
	}
	p = vsa{}
	if err := json.Unmarshal(predicate, &p); err != nil || p.VerificationResult != "FAILED" || !slices.Equal(p.VerifiedLevels, []string{"FAILED"}) || p.DependencyLevels != nil {
		t.Errorf("of a denied artifact: %v %s", err, predicate)
	}
}

// checkParams reads a policy with in-toto's own type, and the parameters in it.
func checkParams(t *testing.T, policy []byte) {
	t.Helper()
	d := &intoto.ResourceDescriptor{}
	if err := protojson.Unmarshal(policy, d); err != nil || d.Validate() != nil {
		t.Fatalf("the policy is no ResourceDescriptor: %v %v", err, d.Validate())
	}
	bar := d.Annotations.AsMap()[annotationParams].(map[string]any)["bar"].(map[string]any)
	if bar["value"] != "0.6" || bar["default"] != "0.7" {
		t.Errorf("parameters: %v", d.Annotations)
	}
}

// TestDependencies: things with a digest in common are one, also by way of a third; the artifact is none of them, and one that fails under a
// name fails.
func TestDependencies(t *testing.T) {
	set := func(digests ...string) map[string]string {
		out := map[string]string{}
		for _, d := range digests {
			out[d[:1]] = d
		}
		return out
	}
	artifact := policies.Node{Digests: set("a1"), Passed: true}
	for _, c := range []struct {
		nodes []policies.Node
		want  int
	}{
		{nil, 0},
		{[]policies.Node{artifact}, 0},
		{[]policies.Node{artifact, {Digests: set("a2"), Passed: true}, {Digests: set("b2"), Passed: true}}, 2},
		{[]policies.Node{artifact, {Digests: set("a2"), Passed: true}, {Digests: set("b2"), Passed: true}, {Digests: set("a2", "b2"), Passed: true}}, 1},
		{[]policies.Node{artifact, {Digests: set("a2"), Passed: true}, {Digests: set("a2", "b2")}}, 0},
		{[]policies.Node{artifact, {Digests: set("a1", "b2"), Passed: true}, {Digests: set("b2"), Passed: true}}, 0},
		{[]policies.Node{artifact, {Digests: set("a2")}}, 0},
	} {
		if got := dependencies(&policies.Graph{Nodes: c.nodes}); got != c.want {
			t.Errorf("%v: %d dependencies, want %d", c.nodes, got, c.want)
		}
	}
	if dependencies(nil) != 0 {
		t.Error("no graph has dependencies")
	}
}

// TestInputAttestations: what counted and what a signer of the policy said against it; not what strangers left there.
func TestInputAttestations(t *testing.T) {
	var got []string
	d := *reports["denied"].(Gate).Decision
	d.Requirements = slices.Clone(d.Requirements)
	d.Requirements[0].Counted = []policies.Seen{{ID: d.Requirements[0].Counted[0].ID, Origin: "registry.example/bot@sha256:x"}}
	for _, in := range inputs(&d, "registry.example/bot") {
		got = append(got, in.Digest["sha256"][:1], in.URI)
	}
	if want := []string{"1", "oci://registry.example/bot@sha256:" + strings.Repeat("1", 64), "7", ""}; !slices.Equal(got, want) {
		t.Errorf("statements %v, want %v", got, want)
	}
}

func TestSVR(t *testing.T) {
	for name, want := range map[string][]string{
		"allowed": {"MLSEAL_POLICY/gate", "MLSEAL_REQUIREMENT/gate/signed"},
		"denied":  {"MLSEAL_REQUIREMENT/prod%20llm%20gate/built-by-us"},
		"empty":   {},
	} {
		d := *reports[name].(Gate).Decision
		if d.Time.IsZero() {
			d.Time = made.Now
		}
		predicate, err := SVR(&d, verifier)
		if err != nil {
			t.Fatal(err)
		}
		statement(t, attest.SVRPredicateType, predicate)
		golden(t, name+".predicate.svr.json", append(predicate, '\n'))
		// in-toto has types of version 0.1; 0.2 added verifier.policies, a list of its ResourceDescriptor.
		rest, policies := take(t, predicate, "policies")
		p := &svr01.SimpleVerificationResult{}
		if err := protojson.Unmarshal(rest, p); err != nil {
			t.Fatalf("%s: in-toto's type does not read it: %v", name, err)
		}
		if p.Verifier.Id != verifier.ID || !slices.Equal(p.Properties, want) || !p.TimeCreated.AsTime().Equal(d.Time) {
			t.Errorf("%s: %v, want %v", name, p, want)
		}
		if !strings.Contains(string(predicate), `"properties":[`) {
			t.Errorf("%s: properties is no list: %s", name, predicate)
		}
		var list []json.RawMessage
		if err := json.Unmarshal(policies, &list); err != nil || len(list) != 1 {
			t.Fatalf("%s: policies %s", name, policies)
		}
		descriptor := &intoto.ResourceDescriptor{}
		if err := protojson.Unmarshal(list[0], descriptor); err != nil || descriptor.Validate() != nil {
			t.Errorf("%s: the policy is no ResourceDescriptor: %v %v", name, err, descriptor.Validate())
		}
	}
}

// TestPropertiesAreOneToOne: no requirement that is not met shows as one that is.
func TestPropertiesAreOneToOne(t *testing.T) {
	d := &policies.Decision{Policy: policies.PolicyRef{Name: "a/b"}, Requirements: []policies.Requirement{{ID: "x", Passed: true}, {ID: "x"}, {ID: "X", Passed: true}, {ID: "y/z", Passed: true}}}
	want := []string{"MLSEAL_REQUIREMENT/a%2Fb/X", "MLSEAL_REQUIREMENT/a%2Fb/y%2Fz"}
	if got := Properties(d); !slices.Equal(got, want) {
		t.Errorf("properties %v, want %v", got, want)
	}
	d.Verdict = policies.Allow
	if got := Properties(d); !slices.Equal(got, want) {
		t.Errorf("a verdict that its own requirements contradict: %v", got)
	}
}

func TestSummaryRefuses(t *testing.T) {
	good := func() (*policies.Decision, Verifier) {
		d := *reports["allowed"].(Gate).Decision
		return &d, verifier
	}
	for what, change := range map[string]func(*policies.Decision, *Verifier){
		"no verifier":          func(_ *policies.Decision, v *Verifier) { v.ID = "" },
		"verifier is no URI":   func(_ *policies.Decision, v *Verifier) { v.ID = "gate" },
		"policy URI is none":   func(_ *policies.Decision, v *Verifier) { v.PolicyURI = "x y" },
		"control characters":   func(_ *policies.Decision, v *Verifier) { v.ID = "https://a/\u202e" },
		"no time":              func(d *policies.Decision, _ *Verifier) { d.Time = time.Time{} },
		"no digest":            func(d *policies.Decision, _ *Verifier) { d.Policy.Digest = "" },
		"digest of another":    func(d *policies.Decision, _ *Verifier) { d.Policy.Digest = "md5:" + strings.Repeat("0", 32) },
		"digest is not hex":    func(d *policies.Decision, _ *Verifier) { d.Policy.Digest = "sha256:" + strings.Repeat("X", 64) },
		"credentials":          func(_ *policies.Decision, v *Verifier) { v.ID = "https://user:secret@a/b" },
		"resource has secrets": func(_ *policies.Decision, v *Verifier) { v.ResourceURI = "oci://user:secret@a/b" },
		"no resource":          func(_ *policies.Decision, v *Verifier) { v.ResourceURI = "" },
	} {
		d, v := good()
		change(d, &v)
		_, errVSA := VSA(d, v)
		_, errSVR := SVR(d, v)
		if errVSA == nil || errSVR == nil && !strings.Contains(what, "resource") {
			t.Errorf("%s: %v, %v", what, errVSA, errSVR)
		}
		if errVSA != nil && strings.Contains(errVSA.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", what, errVSA)
		}
	}
	if d, v := good(); errors.Is(CheckURI(v.ID), ErrURI) || d.Err() != nil {
		t.Error("the good one is none")
	}
}

// A decision that rests on somebody else's verdict says so.
func TestChainedVerdict(t *testing.T) {
	d := &policies.Decision{Verdict: policies.Allow, Policy: policies.PolicyRef{Name: "a b"}, Requirements: []policies.Requirement{{ID: "x", Passed: true}}}
	if got := Properties(d); slices.Contains(got, "MLSEAL_ACCEPTED_VERDICT/a%20b") {
		t.Errorf("%q", got)
	}
	d.Requirements[0].AcceptedFrom = "https://gate.example"
	if got := Properties(d); !slices.Contains(got, "MLSEAL_ACCEPTED_VERDICT/a%20b") {
		t.Errorf("%q", got)
	}
}
