package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/opencontainers/go-digest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const evil = "evil\x1b[31m\u202e\n::set-output"

// seen is a statement whose every text a stranger chose.
func seen(code policies.Code) policies.Seen {
	return policies.Seen{ID: "sha256:" + strings.Repeat("a", 64), PredicateType: "https://example.test/" + evil, Signers: []string{"mallory"},
		Origin: evil, Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), TimeSource: "claimed", Code: code, Reason: evil}
}

var reports = map[string]Report{
	"denied": Gate{&policies.Decision{
		Policy:  policies.PolicyRef{Name: "gate", Version: 7, Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject: policies.Subject{Name: evil, Digests: map[string]string{"sha256": strings.Repeat("c", 64), "dirHash": strings.Repeat("d", 64)}},
		Requirements: []policies.Requirement{
			{ID: "content", Passed: true, Detail: "5 files, 1.1 MB hashed"},
			{ID: "evaluation", Code: policies.SignerNotTrusted, Detail: "signed by " + evil, Message: "nobody else can say " + evil, Fix: "ask " + evil, NearMisses: []policies.Seen{seen(policies.SignerNotTrusted)}},
			{ID: "provenance", Code: policies.TypeMissing, Detail: "none"},
		},
		Notes:   []string{"content: not read " + evil},
		Ignored: []policies.Seen{seen(policies.SignerNotTrusted), {ID: "sha256:" + strings.Repeat("e", 64), Code: policies.ParseAmbiguous, Reason: "twins"}},
	}},
	"allowed": Gate{&policies.Decision{
		Verdict: policies.Allow, Policy: policies.PolicyRef{Name: "gate", Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject:      policies.Subject{Name: "model", Digests: map[string]string{"dirHash": strings.Repeat("d", 64)}},
		Requirements: []policies.Requirement{{ID: "signed", Passed: true, Detail: "1 signature statement by trainer"}},
	}},
	"verified": Tree{"model", &verify.TreeResult{Files: 2, Bytes: 1500, DirHash: strings.Repeat("d", 64), Ignored: []string{"cache"}, Checks: []verify.Check{
		{Name: "signature", Status: verify.Passed, Detail: "key"}, {Name: "transparency log", Detail: "none"}, {Name: "files", Status: verify.Passed, Detail: "2 files"}}}},
	"failed": Tree{evil, &verify.TreeResult{Checks: []verify.Check{{Name: "signature", Status: verify.Passed, Detail: "key"}, {Name: "files", Status: verify.Failed, Detail: evil}},
		Diff: &manifest.Diff{Missing: []string{"gone"}, Extra: []string{evil}, Changed: []manifest.Change{{Path: "config.json", Want: digest.FromString("1"), Got: digest.FromString("2")}}}}},
	"failed-early": Tree{"model", &verify.TreeResult{Checks: []verify.Check{{Name: "bundle", Status: verify.Failed, Detail: "not JSON"}, {Name: "files", Detail: "not looked at"}}}},
}

// TestGolden holds the text and the JSON of each report to its golden file, and the text to being printable.
func TestGolden(t *testing.T) {
	for name, r := range reports {
		var text bytes.Buffer
		if err := r.Text(&text, Style{}); err != nil {
			t.Fatal(err)
		}
		for _, c := range text.String() {
			if c < ' ' && c != '\n' || c == '\u202e' || c == 0x7f {
				t.Errorf("%s: the text holds %q", name, c)
			}
		}
		for _, line := range strings.Split(text.String(), "\n") {
			if strings.HasPrefix(line, "::") {
				t.Errorf("%s: a CI log would take this line as a command: %s", name, line)
			}
		}
		value, err := json.MarshalIndent(r.JSON(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", text.Bytes())
		golden(t, name+".json", append(value, '\n'))
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

// TestVerdictIsTheDecisionsOwn: a report must not say VERIFIED or ALLOWED of what failed or of nothing.
func TestVerdictIsTheDecisionsOwn(t *testing.T) {
	for name, r := range map[string]Report{
		"no checks":         Tree{"m", &verify.TreeResult{}},
		"files not done":    Tree{"m", &verify.TreeResult{Checks: []verify.Check{{Name: "files"}}}},
		"signature alone":   Tree{"m", &verify.TreeResult{Checks: []verify.Check{{Name: "signature", Status: verify.Passed}}}},
		"one check failed":  Tree{"m", &verify.TreeResult{Checks: []verify.Check{{Name: "signature", Status: verify.Failed}, {Name: "files", Status: verify.Passed}}}},
		"an empty decision": Gate{&policies.Decision{}},
	} {
		var text bytes.Buffer
		if err := r.Text(&text, Style{}); err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(text.String(), "\n"); !strings.HasPrefix(first, "FAILED") && !strings.HasPrefix(first, "DENIED") {
			t.Errorf("%s: %s", name, first)
		}
	}
}

func TestColour(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := reports["denied"].Text(&plain, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := reports["denied"].Text(&colored, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(colored.String(), "\x1b[1;31mDENIED\x1b[0m") || strings.Contains(plain.String(), "\x1b") {
		t.Errorf("colours: %q", colored.String()[:40])
	}
}
