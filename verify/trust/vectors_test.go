package trust

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/verify"
)

// suiteIdentity is the default of sigstore-conformance's cli_protocol.
var suiteIdentity = Identity{
	Issuer:  "https://token.actions.githubusercontent.com",
	Subject: "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main",
}

// reasons are the checks that must fail for the cases that are about one check. The others are refused when
// the bundle is read, or by several checks.
var reasons = map[string]string{
	"dsse-invalid-sig_fail":                                     verify.CheckSignature,
	"rekor2-dsse-invalid-sig_fail":                              verify.CheckSignature,
	"message-digest-mismatch_fail":                              verify.CheckSignature,
	"signature-mismatch_fail":                                   verify.CheckSignature,
	"invalid-ct-key_fail":                                       verify.CheckSCT,
	"checkpoint-bad-keyhint_fail":                               verify.CheckLog,
	"inclusion-proof-corrupted-hash_fail":                       verify.CheckLog,
	"integrated-time-in-future_fail":                            verify.CheckLog,
	"intoto-log-entry-mismatch_fail":                            verify.CheckLog,
	"intoto-set-outside-signing-cert-validity_fail":             verify.CheckLog,
	"rekor2-checkpoint-missing-log-signature_fail":              verify.CheckLog,
	"rekor2-checkpoint-missing-root-hash_fail":                  verify.CheckLog,
	"rekor2-no-inclusion-proof_fail":                            verify.CheckLog,
	"wrong-hashedrekord-entry_fail":                             verify.CheckLog,
	"rekor2-timestamp-outside-trust-root-tsa-validity_fail":     verify.CheckTimestamp,
	"rekor2-timestamp-payload-mismatch_fail":                    verify.CheckTimestamp,
	"rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail": verify.CheckTimestamp,
}

// readOr reads a file of the case, or the suite's default.
func readOr(t *testing.T, dir, name, fallback string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		data, err = os.ReadFile(fallback)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func wordOr(dir, name, fallback string) string {
	if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
		return strings.TrimSpace(string(data))
	}
	return fallback
}

// TestSigstoreConformance runs each case of bundle-verify with the artifact and with its digest.
func TestSigstoreConformance(t *testing.T) {
	top := filepath.Join(testenv.Vectors(t), "sigstore")
	bundles, err := filepath.Glob(filepath.Join(top, "bundle-verify", "*", "bundle.sigstore.json"))
	if err != nil || len(bundles) < 35 {
		t.Fatalf("%d cases, there should be 35: %v", len(bundles), err)
	}
	for _, file := range bundles {
		dir := filepath.Dir(file)
		name := filepath.Base(dir)
		trusted, err := ParseRoot(readOr(t, dir, "trusted_root.json", filepath.Join(top, "public-good-root.json")))
		if err != nil {
			t.Fatal(err)
		}
		content := readOr(t, dir, "artifact", filepath.Join(top, "bundle-verify", "a.txt"))
		sum := sha256.Sum256(content)
		var anchor verify.Anchor
		anchor, err = NewKeyless(trusted, Identity{wordOr(dir, "issuer", suiteIdentity.Issuer), wordOr(dir, "identity", suiteIdentity.Subject)})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "key.pub")); err == nil {
			key, err := ParseKey(text)
			if err != nil {
				t.Fatal(err)
			}
			anchor = NewLoggedKey(key, trusted)
		}
		for how, artifact := range map[string]*verify.Artifact{
			"path":   {Content: bytes.NewReader(content)},
			"digest": {Algorithm: "sha256", Digest: sum[:]},
		} {
			t.Run(name+"/"+how, func(t *testing.T) { runCase(t, name, file, anchor, artifact) })
		}
	}
}

func runCase(t *testing.T, name, file string, anchor verify.Anchor, artifact *verify.Artifact) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mustFail := strings.HasSuffix(name, "_fail")
	b, err := attest.Parse(data)
	if err != nil {
		if !mustFail || reasons[name] != "" {
			t.Fatalf("not read: %v", err)
		}
		return
	}
	r := anchor.Check(b, verify.Options{Now: time.Now(), Artifact: artifact})
	if got := r.Err() != nil; got != mustFail {
		t.Fatalf("refused: %t\n%+v", got, r.Checks)
	}
	if (r.Signer == "") != mustFail || r.Time.IsZero() != (r.TimeSource == "") {
		t.Errorf("signer %q, time %s by %q", r.Signer, r.Time, r.TimeSource)
	}
	failed := map[string]bool{}
	for _, c := range r.Checks {
		failed[c.Name] = failed[c.Name] || c.Status == verify.Failed
	}
	if want := reasons[name]; want != "" && !failed[want] {
		t.Errorf("check %q did not fail: %+v", want, r.Checks)
	}
	if k, ok := anchor.(*WitnessedKey); ok {
		if w := k.root.Witness(b, k.key); (w.Logs > 0) != (r.Status(verify.CheckLog) == verify.Passed) {
			t.Errorf("%d logs vouch for it, and the check of the log says %s", w.Logs, r.Status(verify.CheckLog))
		}
	}
	t.Logf("%v", r.Err())
}
