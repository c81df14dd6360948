package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// affectedBy reports on stores whose every text a stranger chose.
func affectedBy(policy *policies.PolicyRef) *Affected {
	d := &verify.Descent{}
	for name, digests := range map[string]map[string]string{"data": hexOf("data"), "model": hexOf("model"), evil: hexOf("bot")} {
		if err := d.Add(name, digests, []verify.Found{{Origin: evil, Data: []byte("rubbish")}}); err != nil {
			panic(err)
		}
	}
	digest := "sha256:" + hexOf("data")["sha256"]
	r := NewAffected(d, digest, policy, errors.New("no more than this "+evil))
	found := verify.Descendant{Names: []string{evil, "model"}, Digests: hexOf("bot"), Path: []verify.DescentStep{{Role: evil, From: digest, Statement: "sha256:1"}, {From: digest, Statement: "sha256:2"}}}
	r.Artifacts = append(r.Artifacts, found)
	if policy != nil {
		r.Unverified = append(r.Unverified, found)
	}
	return r
}

func TestAffectedGolden(t *testing.T) {
	for name, r := range map[string]*Affected{"affected": affectedBy(nil), "affected-policy": affectedBy(&policies.PolicyRef{Name: evil, Version: 2, Digest: "sha256:1"})} {
		var text bytes.Buffer
		if err := r.Text(&text, Style{}); err != nil {
			t.Fatal(err)
		}
		asJSON, err := Marshal(r.JSON())
		if err != nil {
			t.Fatal(err)
		}
		for ending, got := range map[string]string{"txt": text.String(), "json": string(asJSON)} {
			file := filepath.Join("testdata", name+"."+ending)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || got != string(want) {
				t.Errorf("%s is not what it was (%v); -update writes it anew:\n%s", file, err, got)
			}
		}
		checkForm(t, "txt", text.String())
		checkSchema(t, "affected.json", string(asJSON))
	}
	asJSON, _ := json.MarshalIndent(affectedBy(nil), "", "  ")
	refuses(t, "affected.json", string(asJSON), `"verified": false`, `"verified": true`, `"searched": 3`, `"searched": 3, "other": 1`, `"searched": 3`, `"searched": -1`, `"role": ""`, `"roles": ""`)
}
