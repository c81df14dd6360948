package verify_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// certificateTime is when the vectors' certificates are valid (2025-05-02 to 2035-04-30).
var certificateTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var signedByIBM = trust.Identity{Issuer: "https://sigstore.verify.ibm.com/oauth2", Subject: "stefanb@us.ibm.com"}

func vectorAuthority(t *testing.T, file string) *trust.Authority {
	t.Helper()
	a, err := trust.ParseAuthority(vectorKey(t, file), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func vectorRoot(t *testing.T, path ...string) *trust.Root {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{testenv.Vectors(t)}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func keyless(t *testing.T, root *trust.Root, who trust.Identity) *trust.Keyless {
	t.Helper()
	k, err := trust.NewKeyless(root, who)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// strangersAuthority is a certificate authority that signed none of the vectors.
func strangersAuthority(t *testing.T) *trust.Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: certificateTime.AddDate(-1, 0, 0), NotAfter: certificateTime.AddDate(9, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := trust.ParseAuthority(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// anchored is a way to verify a vector, and the check that must fail; empty when it must pass.
type anchored struct {
	anchor verify.Anchor
	now    time.Time
	change func(fstest.MapFS)
	fails  string
}

// fileMutants are the changes of a tree that every vector must notice.
func fileMutants(cases map[string]anchored, good anchored) {
	for name, change := range map[string]func(fstest.MapFS){
		"added file":   func(f fstest.MapFS) { f["evil.py"] = &fstest.MapFile{Data: []byte("x")} },
		"missing file": func(f fstest.MapFS) { delete(f, "signme-2") },
		"changed file": func(f fstest.MapFS) { f["signme-1"].Data[0] ^= 1 },
	} {
		cases[name] = anchored{good.anchor, good.now, change, "files"}
	}
}

func runAnchored(t *testing.T, name string, cases map[string]anchored) {
	for title, tc := range cases {
		t.Run(name+"/"+title, func(t *testing.T) {
			fsys, bundle, opts := vector{name: name}.load(t)
			if tc.change != nil {
				tc.change(fsys)
			}
			opts.Now = tc.now
			r, err := verify.Tree(context.Background(), fsys, bundle, tc.anchor, opts)
			failed := ""
			for _, c := range r.Checks {
				if c.Status == verify.Failed {
					failed = strings.TrimSpace(failed + " " + c.Name)
				}
			}
			if failed != tc.fails || (err == nil) != (tc.fails == "") {
				t.Errorf("failed checks %q, want %q: %v\n%+v", failed, tc.fails, err, r.Checks)
			}
			if (r.Signer == "") != (tc.fails != "" && tc.fails != "files") {
				t.Errorf("signer is %q", r.Signer)
			}
		})
	}
}

func TestCertificateVectors(t *testing.T) {
	good := anchored{anchor: vectorAuthority(t, "ca-cert.pem"), now: certificateTime}
	for _, name := range []string{"v0.2.0-certificate", "v0.3.1-certificate", "v1.0.0-certificate"} {
		cases := map[string]anchored{
			"good":                 good,
			"another authority":    {anchor: strangersAuthority(t), now: certificateTime, fails: verify.CheckCertificate},
			"a key was asked for":  {anchor: publicVectorKey(t), now: certificateTime, fails: verify.CheckSignature},
			"keyless was asked":    {anchor: keyless(t, vectorRoot(t, "oms", "custom_trust_config.json"), signedByIBM), now: certificateTime, fails: verify.CheckCertificate},
			"expired":              {anchor: good.anchor, now: certificateTime.AddDate(20, 0, 0), fails: verify.CheckCertificate},
			"not yet valid":        {anchor: good.anchor, now: certificateTime.AddDate(-20, 0, 0), fails: verify.CheckCertificate},
			"no current time":      {anchor: good.anchor, fails: verify.CheckCertificate},
			"authorities together": {anchor: vectorAuthorities(t), now: certificateTime},
		}
		fileMutants(cases, good)
		runAnchored(t, name, cases)
	}
}

// vectorAuthorities are the root and the intermediate in one file, as --certificate-chain takes them.
func vectorAuthorities(t *testing.T) *trust.Authority {
	t.Helper()
	a, err := trust.ParseAuthority(append(vectorKey(t, "int-ca-cert.pem"), vectorKey(t, "ca-cert.pem")...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestCertificateSpecificationVector: the specification's certificate bundle, over the tree of v1.1.0.
func TestCertificateSpecificationVector(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "oms", "spec", "test-vectors", "valid", "certificate.bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if r := vectorAuthority(t, "ca-cert.pem").Check(b, verify.Options{Now: certificateTime}); r.Err() != nil {
		t.Errorf("%v %+v", r.Err(), r.Checks)
	}
	b.Envelope.Payload[10] ^= 1
	if r := vectorAuthority(t, "ca-cert.pem").Check(b, verify.Options{Now: certificateTime}); r.Failed() != verify.CheckSignature {
		t.Errorf("a changed payload: %v %+v", r.Err(), r.Checks)
	}
}

func TestSigstoreVectors(t *testing.T) {
	root := vectorRoot(t, "oms", "custom_trust_config.json")
	good := anchored{anchor: keyless(t, root, signedByIBM)}
	for _, name := range []string{"v0.3.1-sigstore", "v1.0.0-sigstore"} {
		cases := map[string]anchored{
			"good":               good,
			"another identity":   {anchor: keyless(t, root, trust.Identity{Issuer: signedByIBM.Issuer, Subject: "stefanb@us.ibm.com.evil"}), fails: verify.CheckIdentity},
			"another issuer":     {anchor: keyless(t, root, trust.Identity{Issuer: "https://accounts.google.com", Subject: signedByIBM.Subject}), fails: verify.CheckIdentity},
			"own authority":      {anchor: vectorAuthority(t, "ca-cert.pem"), now: certificateTime, fails: verify.CheckCertificate},
			"a key is asked for": {anchor: publicVectorKey(t), fails: verify.CheckSignature},
			"another instance": {anchor: keyless(t, vectorRoot(t, "sigstore", "bundle-verify", "intoto-with-custom-trust-root", "trusted_root.json"), signedByIBM),
				fails: verify.CheckLog},
		}
		fileMutants(cases, good)
		runAnchored(t, name, cases)
	}
}
