package main

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/sigstoretest"
	"github.com/rogpeppe/go-internal/testscript"
)

// faults are those of sigstoretest by the names that scripts have for them.
var faults = map[string]sigstoretest.Fault{
	"refuse": sigstoretest.Refuse, "crash": sigstoretest.Crash, "garbage": sigstoretest.Garbage,
	"no-sct": sigstoretest.NoSCT, "other-key": sigstoretest.OtherKey, "other-digest": sigstoretest.OtherDigest,
}

// startSigstore is the command `sigstore DIR [v2] [SERVICE:FAULT]...`: it starts a Sigstore on loopback, with the second version of
// Rekor if asked, and writes root.json, config.json, tsa.pem and identity tokens into DIR. TSA_URL, OIDC_ISSUER and WORKFLOW are set, and GITHUB_URL and
// GITHUB_TOKEN to what GitHub Actions would say.
func startSigstore(t testing.TB) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 1 {
			ts.Fatalf("usage: sigstore DIR [v2] [SERVICE:FAULT]...")
		}
		var opts []sigstoretest.Option
		dir, args := args[0], args[1:]
		if len(args) > 0 && args[0] == "v2" {
			opts = append(opts, sigstoretest.WithRekorV2())
			args = args[1:]
		}
		s := sigstoretest.New(t, opts...)
		for _, arg := range args {
			service, name, _ := strings.Cut(arg, ":")
			fault, ok := faults[name]
			if !ok {
				ts.Fatalf("no fault is called %q", arg)
			}
			switch service {
			case "fulcio":
				s.Fulcio.Fail(fault)
			case "tsa":
				s.Timestamps.Fail(fault)
			case "rekor":
				s.Rekor.Fail(fault)
			case "issuer":
				s.Issuer.Fail(fault)
			default:
				ts.Fatalf("no service is called %q", arg)
			}
		}
		describeSigstore(ts, s, ts.MkAbs(dir))
	}
}

func describeSigstore(ts *testscript.TestScript, s *sigstoretest.Sigstore, dir string) {
	ts.Check(os.MkdirAll(dir, 0o755))
	var authority bytes.Buffer
	for _, certificate := range s.Instance().Timestamps.Chain {
		ts.Check(pem.Encode(&authority, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	user := sigstoretest.User
	for name, text := range map[string][]byte{
		"root.json": s.TrustedRoot(), "config.json": s.SigningConfig(), "tsa.pem": authority.Bytes(),
		"token": []byte(s.Issuer.Token(user) + "\n"), "expired": []byte(s.Issuer.Token(user, sigstoretest.Expired())),
		"audience": []byte(s.Issuer.Token(user, sigstoretest.Audience("somebody-else"))), "workflow": []byte(s.Issuer.WorkflowToken(sigstoretest.Workflow)),
	} {
		ts.Check(os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	address, secret := s.Issuer.Ambient()
	for name, value := range map[string]string{
		"TSA_URL": s.Timestamps.URL, "OIDC_ISSUER": s.Issuer.URL, "WORKFLOW": sigstoretest.WorkflowIdentity(sigstoretest.Workflow),
		"GITHUB_URL": address, "GITHUB_TOKEN": secret,
	} {
		ts.Setenv(name, value)
	}
}
