package report

import (
	"bytes"
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

// evil has something for every format: terminal escapes, a line that a CI log takes as a command, XML, HTML, Markdown, a link and a mention.
const evil = "evil\x1b[31m\u202e\x00\ufffe\n::set-output name=x::y]]></failure><!-- | `@mallory` <img src=x> [a](http://x) {0} #1 \\|"

// seen is a statement whose every text a stranger chose.
func seen(code policies.Code) policies.Seen {
	return policies.Seen{ID: "sha256:" + strings.Repeat("a", 64), PredicateType: "https://example.test/" + evil, Signers: []string{"mallory"},
		Origin: evil, Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), TimeSource: "claimed", Code: code, Reason: evil}
}

// policyDecision is a decision with everything beside requirements that a policy can bring into it.
func policyDecision(verdict policies.Verdict, requirements []policies.Requirement) *policies.Decision {
	office := policies.Seen{ID: "sha256:" + strings.Repeat("4", 64), PredicateType: "https://mlseal.dev/attestation/dataset/v0.1", Signers: []string{"office"}}
	return &policies.Decision{
		Verdict: verdict, Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Policy: policies.PolicyRef{Name: "prod llm gate", Version: 8, Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject: policies.Subject{Name: "registry.example/models/bot", Digests: map[string]string{"sha256": strings.Repeat("c", 64)}, TreeSuffices: true,
			ArtifactType: "application/vnd.cncf.model.manifest.v1+json", Repository: "registry.example/models/bot"},
		Requirements: requirements,
		Overrides:    []policies.Override{{Name: "bar", Value: "0.6", Default: "0.7"}, {Name: "note", Value: evil, Default: "none"}},
		Lineage: &policies.Graph{
			Nodes: []policies.Node{
				{Name: "registry.example/models/bot", Digests: map[string]string{"sha256": strings.Repeat("c", 64)}, Passed: true},
				{Name: "dataset", Digests: map[string]string{"sha256": strings.Repeat("3", 64)}, Depth: 1, Passed: true, Detail: "dataset statement by office", Statements: []policies.Seen{office}},
				{Name: "dataset", Digests: map[string]string{"sha256": strings.Repeat("3", 64), "dirHash": strings.Repeat("5", 64)}, Depth: 1, Passed: true},
				{Name: "base " + evil, Digests: map[string]string{"sha512": strings.Repeat("6", 128)}, Depth: 2, Code: policies.LineageGap, Detail: evil},
			},
			Edges: []policies.Edge{{From: 0, To: 1, Role: "dataset", Statement: "sha256:" + strings.Repeat("1", 64)}, {From: 1, To: 3, Role: evil, Statement: "sha256:" + strings.Repeat("4", 64)}},
		},
	}
}

var reports = map[string]Report{
	"hostile": Gate{Decision: &policies.Decision{
		Policy:  policies.PolicyRef{Name: "gate", Version: 7, Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject: policies.Subject{Name: evil, Digests: map[string]string{"sha256": strings.Repeat("c", 64), "dirHash": strings.Repeat("d", 64)}},
		Requirements: []policies.Requirement{
			{ID: "content", Passed: true, Detail: "5 files, 1.1 MB hashed"},
			{ID: "evaluation", Code: policies.SignerNotTrusted, Detail: "signed by " + evil, Message: "nobody else can say " + evil, Fix: "ask " + evil, NearMisses: []policies.Seen{seen(policies.SignerNotTrusted)}},
			{ID: "provenance", Code: policies.TypeMissing, Detail: "none"},
		},
		Time:    time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Skipped: []policies.Skipped{{Check: "content", Reason: "not read " + evil}, {Check: evil, Reason: "nobody asked"}},
		Notes:   []string{"it is like " + evil},
		Ignored: []policies.Seen{seen(policies.SignerNotTrusted), {ID: "sha256:" + strings.Repeat("e", 64), Code: policies.ParseAmbiguous, Reason: "twins"}},
	}},
	"denied": Gate{Decision: &policies.Decision{
		Policy:  policies.PolicyRef{Name: "prod llm gate", Version: 7, Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject: policies.Subject{Name: "registry.example:5000/models/support-bot", Digests: map[string]string{"sha256": strings.Repeat("c", 64), "dirHash": strings.Repeat("d", 64)}},
		Time:    time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Requirements: []policies.Requirement{
			{ID: "built-by-us", Passed: true, Detail: "1 provenance statement by trainer", Counted: []policies.Seen{{ID: "sha256:" + strings.Repeat("1", 64), Signers: []string{"trainer"}}}},
			{ID: "eval-bar", Code: policies.EvidenceTooOld, Detail: "evaluation statement sha256:777777777777…: 41d old, the limit is 30d", NearMisses: []policies.Seen{
				{ID: "sha256:" + strings.Repeat("7", 64), PredicateType: "https://mlseal.dev/attestation/evaluation/v0.1", Signers: []string{"evaluator"}, Time: time.Date(2026, 10, 12, 9, 0, 0, 0, time.UTC), TimeSource: "Rekor", Code: policies.EvidenceTooOld, Reason: "41d old, the limit is 30d"},
				{ID: "sha256:" + strings.Repeat("8", 64), PredicateType: "https://mlseal.dev/attestation/evaluation/v0.1", Code: policies.SignerNotTrusted, Reason: "no key of the policy made it"}}},
		},
		Skipped: []policies.Skipped{{Check: "content", Reason: "the files were not read from the registry"}},
		Ignored: []policies.Seen{{ID: "sha256:" + strings.Repeat("9", 64), PredicateType: "https://example.test/other", Signers: []string{"trainer"}, Reason: "no requirement asks for this type"}},
	}},
	"empty": Gate{Decision: &policies.Decision{Policy: policies.PolicyRef{Name: "gate", Digest: "sha256:" + strings.Repeat("b", 64)}, Subject: policies.Subject{Name: "m", Digests: map[string]string{"dirHash": strings.Repeat("d", 64)}}}},
	"allowed": Gate{Decision: &policies.Decision{
		Verdict: policies.Allow, Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Policy: policies.PolicyRef{Name: "gate", Digest: "sha256:" + strings.Repeat("b", 64)},
		Subject:      policies.Subject{Name: "model", Digests: map[string]string{"dirHash": strings.Repeat("d", 64)}},
		Requirements: []policies.Requirement{{ID: "signed", Passed: true, Detail: "1 signature statement by trainer"}},
	}},
	"waived": Gate{Decision: policyDecision(policies.Allow, []policies.Requirement{
		{ID: "policy", Passed: true, Detail: "valid until 2027-01-01T00:00:00Z"},
		{ID: "digests.deny", Passed: true, Detail: "not on the list of 1 denied digest"},
		{ID: "revocations", Passed: true, Detail: "nothing in the lineage was withdrawn"},
		{ID: "built-by-us", Passed: true, Detail: "1 provenance statement by trainer", Counted: []policies.Seen{{ID: "sha256:" + strings.Repeat("1", 64), Signers: []string{"trainer"}}}},
		{ID: "eval-bar", Passed: true, Waiver: "W-1 " + evil, Detail: "WAIVED by W-1 until 2026-12-01 (a hot fix, " + evil + "); CONDITION_FALSE: evaluation statement sha256:777777777777…: results.exists",
			Values:     []string{`dec("0.6") >= dec("0.7") -> false`},
			Counted:    []policies.Seen{{ID: "sha256:" + strings.Repeat("2", 64), Signers: []string{"board"}}},
			NearMisses: []policies.Seen{{ID: "sha256:" + strings.Repeat("7", 64), Signers: []string{"evaluator"}, Code: policies.ConditionFalse, Values: []string{`dec("0.6") >= dec("0.7") -> false`}}}},
		{ID: "fresh-card", Severity: policies.Warn, Code: policies.EvidenceTooOld, Detail: "100d old, the limit is 90d", Message: "the card should be newer " + evil},
		{ID: "two-eyes", Severity: policies.Info, Code: policies.ThresholdNotMet, Detail: "1 of 2 signed", Fix: "ask " + evil},
		{ID: "scanned", Severity: policies.Warn, Passed: true, Detail: "1 artifact-scan statement by scanner"},
		{ID: "lineage.order", Passed: true, Detail: "built-by-us before eval-bar"},
		{ID: "lineage:dataset", Passed: true, Detail: "dataset sha256:333333333333…: dataset statement by office", Counted: []policies.Seen{{ID: "sha256:" + strings.Repeat("1", 64)}, {ID: "sha256:" + strings.Repeat("4", 64), Signers: []string{"office"}}}},
		{ID: "rego:limits", Passed: true, Detail: "nothing to say against it"},
	})},
	"judged": Gate{Decision: policyDecision(policies.Allow, []policies.Requirement{
		{ID: "approved", Passed: true, AcceptedFrom: "https://gate.example/" + evil, Detail: "accepted from https://gate.example/" + evil + ", VSA sha256:555555555555… by gate, 2h old; TYPE_MISSING: no approval statement by board",
			Counted: []policies.Seen{{ID: "sha256:" + strings.Repeat("5", 64), Signers: []string{"gate"}}}},
	})},
	"audited": Gate{Audit: true, Decision: policyDecision(policies.Deny, []policies.Requirement{
		{ID: "built-by-us", Passed: true, Detail: "1 provenance statement by trainer", Counted: []policies.Seen{{ID: "sha256:" + strings.Repeat("1", 64), Signers: []string{"trainer"}}}},
		{ID: "eval-bar", Code: policies.ConditionFalse, Detail: "evaluation statement sha256:777777777777…: results.exists", Values: []string{`dec("0.6") >= dec("0.7") -> false`, evil},
			NearMisses: []policies.Seen{{ID: "sha256:" + strings.Repeat("7", 64), Signers: []string{"evaluator"}, Code: policies.ConditionFalse}}},
		{ID: "fresh-card", Severity: policies.Warn, Code: policies.EvidenceTooOld, Detail: "100d old, the limit is 90d"},
		{ID: "rego:limits", Code: policies.ConditionFalse, Detail: "too large " + evil},
	})},
	"not-matched": Gate{Decision: &policies.Decision{
		Policy: policies.PolicyRef{Name: "gate", Digest: "sha256:" + strings.Repeat("b", 64)}, Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Subject:      policies.Subject{Name: "m", Digests: map[string]string{"dirHash": strings.Repeat("d", 64)}},
		Requirements: []policies.Requirement{{ID: "match", Code: policies.SubjectMismatch, Detail: "its type is not known", Fix: "ask the policy that is for this artifact"}},
		Skipped:      []policies.Skipped{{Check: "revocations", Reason: "the policy is not for this artifact"}, {Check: "eval-bar", Reason: "the policy is not for this artifact"}},
	}},
	"verified": Tree{"model", &verify.TreeResult{Files: 2, Bytes: 1500, DirHash: strings.Repeat("d", 64), Ignored: []string{"cache"}, Checks: []verify.Check{
		{Name: "signature", Status: verify.Passed, Detail: "key"}, {Name: "transparency log", Detail: "none"}, {Name: "files", Status: verify.Passed, Detail: "2 files"}}}},
	"failed": Tree{evil, &verify.TreeResult{Checks: []verify.Check{{Name: "signature", Status: verify.Passed, Detail: "key"}, {Name: "files", Status: verify.Failed, Detail: evil}},
		Diff: &manifest.Diff{Missing: []string{"gone"}, Extra: []string{evil}, Changed: []manifest.Change{{Path: "config.json", Want: digest.FromString("1"), Got: digest.FromString("2")}}}}},
	"failed-early": Tree{"model", &verify.TreeResult{Checks: []verify.Check{{Name: "bundle", Status: verify.Failed, Detail: "not JSON"}, {Name: "files", Detail: "not looked at"}}}},
}

// made is the clock of reports that have no time of their own.
var made = Options{Version: "1.2.3", Now: time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)}

var extensions = map[Format]string{Text: ".txt", JSON: ".json", SARIF: ".sarif", JUnit: ".xml", Markdown: ".md"}

// rendered calls do with every report in every format.
func rendered(t *testing.T, do func(name string, r Report, format Format, data []byte)) {
	t.Helper()
	for name, r := range reports {
		for _, format := range Formats {
			data, err := Render(r, format, made)
			if err != nil {
				t.Fatalf("%s as %s: %v", name, format, err)
			}
			do(name, r, format, data)
		}
	}
}

// TestGolden holds each report in each format to its golden file, and to holding nothing that a terminal or a CI log obeys:
// case 69.
func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	rendered(t, func(name string, _ Report, format Format, data []byte) {
		checkInert(t, name, data)
		if !Is(format, data) {
			t.Errorf("%s%s is not known again as a report", name, extensions[format])
		}
		seen[name+extensions[format]] = true
		golden(t, name+extensions[format], data)
	})
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.IsDir() && !seen[f.Name()] && !strings.Contains(f.Name(), ".predicate.") && !strings.HasPrefix(f.Name(), "lineage-") && !strings.HasPrefix(f.Name(), "affected") {
			t.Errorf("nothing makes testdata/%s", f.Name())
		}
	}
}

// checkInert refuses what is obeyed instead of shown (case 69).
func checkInert(t *testing.T, name string, data []byte) {
	t.Helper()
	for _, c := range string(data) {
		if c != '\n' && unprintable(c) {
			t.Errorf("%s: holds %q", name, c)
		}
	}
	for _, line := range strings.Split(string(data), "\n") {
		if start := strings.TrimLeft(line, " "); strings.HasPrefix(start, "::") || strings.HasPrefix(start, "##[") || strings.HasPrefix(start, "##vso[") {
			t.Errorf("%s: a CI log would take this line as a command: %s", name, line)
		}
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
		"an empty decision": Gate{Decision: &policies.Decision{}},
		"allowed, not met":  Gate{Decision: &policies.Decision{Verdict: policies.Allow, Requirements: []policies.Requirement{{ID: "x"}}}},
		"allowed, nothing":  Gate{Decision: &policies.Decision{Verdict: policies.Allow}},
	} {
		var text bytes.Buffer
		if err := r.Text(&text, Style{}); err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(text.String(), "\n"); !strings.HasPrefix(first, "FAILED") && !strings.HasPrefix(first, "DENIED") {
			t.Errorf("%s: %s", name, first)
		}
		for _, format := range Formats {
			data, err := Render(r, format, made)
			if err != nil || strings.Contains(string(data), "ALLOWED") || strings.Contains(string(data), "VERIFIED") {
				t.Errorf("%s as %s: %v\n%s", name, format, err, data)
			}
		}
	}
}

func TestColour(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := reports["hostile"].Text(&plain, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := reports["hostile"].Text(&colored, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(colored.String(), "\x1b[1;31mDENIED\x1b[0m") || strings.Contains(plain.String(), "\x1b") {
		t.Errorf("colours: %q", colored.String()[:40])
	}
}
