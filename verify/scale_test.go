package verify_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

const scalePolicy = `apiVersion: mlseal.dev/policy/v1
name: scale
signers:
  trainer: {key: trainer.pub}
  office: {key: office.pub}
  evaluator: {key: evaluator.pub}
revocations: {by: [office]}
digests: {deny: ["sha256:` + "0000000000000000000000000000000000000000000000000000000000000000" + `"]}
require:
  - {id: built, attestation: slsa-provenance, by: [trainer]}
  - {id: good, attestation: evaluation, by: [evaluator], where: 'predicate.results.all(r, dec(r.value) >= dec("0.70"))'}
lineage:
  edges:
    - from: [built, base-built]
      role: baseModel
      count: {min: 0}
      accept: [{id: base-built, attestation: slsa-provenance, by: [trainer]}]
    - from: [built, base-built]
      role: dataset
      count: {min: 0}
      requireEach: [{signature: {by: [office]}}]
`

// scale is an artifact with many statements, that was made from many things.
type scale struct {
	policy *policies.Policy
	found  []verify.Found
	source shelf
	nodes  int
}

func digestOf(name string) string { return hex.EncodeToString(sum(name)) }

// newScale signs statements about an artifact, a third of them by nobody whom the policy knows, and a lineage of nodes things: each model was made
// from three models and three datasets.
func newScale(t testing.TB, statements, nodes int) *scale {
	trainer, office, evaluator, mallory := newPerson(t), newPerson(t), newPerson(t), newPerson(t)
	policy, err := loadPolicy(t, scalePolicy, map[string]person{"trainer": trainer, "office": office, "evaluator": evaluator})
	if err != nil {
		t.Fatal(err)
	}
	s := &scale{policy: policy, source: shelf{}, nodes: nodes}
	made := map[string][]string{} // what each model was made from
	models, count := []string{ours}, 0
	for i := 0; count < nodes; i++ {
		for j := 0; j < 6 && count < nodes; j++ {
			digest, role := digestOf(fmt.Sprint("node ", count)), "baseModel"
			if count++; j%2 == 0 {
				role = "dataset"
				s.source[digest] = append(s.source[digest], verify.Found{Origin: digest, Data: office.sign(t, payload(digests("sha256", digest), "https://sigstore.dev/cosign/sign/v1", "{}"))})
			} else {
				models = append(models, digest)
			}
			made[models[i]] = append(made[models[i]], fmt.Sprintf(`{"name":%q,"digest":{"sha256":%q}}`, role, digest))
		}
	}
	for _, model := range models {
		predicate := `{"buildDefinition":{"buildType":"https://example.test/b","externalParameters":{},"resolvedDependencies":[` + strings.Join(made[model], ",") + `]},"runDetails":{"builder":{"id":"https://example.test/x"}}}`
		f := verify.Found{Origin: model, Data: trainer.sign(t, payload(digests("sha256", model), "https://slsa.dev/provenance/v1", predicate))}
		if model == ours {
			s.found = append(s.found, f)
		} else {
			s.source[model] = append(s.source[model], f)
		}
	}
	for i := len(s.found); i < statements; i++ {
		who := []person{evaluator, mallory, trainer}[i%3]
		text := payload(digests("sha256", ours), kind, fmt.Sprintf(`{"results":[{"metric":"accuracy","value":"0.8","passed":true}],"note":"%d %s"}`, i, strings.Repeat("x", 1000)))
		s.found = append(s.found, verify.Found{Origin: fmt.Sprint("referrer ", i), Data: who.sign(t, text)})
	}
	return s
}

func (s *scale) decide(t testing.TB) *policies.Decision {
	v := verify.Verifier{Trust: trust.New(nil), Source: s.source, Now: now}
	d, err := v.Verify(context.Background(), verify.Target{Subject: policies.Subject{Name: "model", Digests: map[string]string{"sha256": ours}}}, s.found, s.policy)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestStrangersAreNotDecoded: what nobody signed whom the policy names is not held decoded, which would take many times its size.
func TestStrangersAreNotDecoded(t *testing.T) {
	if testenv.Race {
		t.Skip("counts memory")
	}
	s := newScale(t, 1, 0)
	mallory, note := newPerson(t), strings.Repeat(`{"x":[]},`, 200_000)
	stranger := mallory.sign(t, payload(digests("sha256", ours), kind, `{"results":[`+note+`{}]}`))
	for i := range 8 {
		s.found = append(s.found, verify.Found{Origin: fmt.Sprint("referrer ", i), Data: append(stranger, strings.Repeat(" ", i)...)})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.decide(t)
	runtime.ReadMemStats(&after)
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(8*8*len(stranger)); got > most {
		t.Errorf("%d bytes were allocated for 8 bundles of %d bytes, at most %d are wanted", got, len(stranger), most)
	} else {
		t.Logf("%d bytes were allocated for 8 bundles of %d bytes", got, len(stranger))
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range [][2]int{{10, 4}, {1000, 120}, {10_000, 500}} {
		s := newScale(b, size[0], size[1])
		b.Run(fmt.Sprintf("statements=%d/nodes=%d", size[0], size[1]), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.decide(b).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
