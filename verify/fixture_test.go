package verify_test

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

var update = flag.Bool("update", false, "sign testdata/keyless anew")

// TestKeylessFixture verifies testdata/keyless, which the command's scripts verify too. Its certificates were
// valid for minutes when it was made; what still verifies does so by its timestamps (case 20).
func TestKeylessFixture(t *testing.T) {
	dir := filepath.Join(testenv.Root(t), "testdata", "keyless")
	fsys := os.DirFS(filepath.Join(dir, "model"))
	m, err := manifest.Build(context.Background(), fsys, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		writeFixture(t, dir, m)
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	trusted, err := trust.ParseRoot(read("trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := trust.ParseAuthority(read("ca.pem"), trusted)
	if err != nil {
		t.Fatal(err)
	}
	wantVerified(t, fsys, read("model.sig"), keyless(t, trusted, workflow), verify.FromLog)
	wantVerified(t, fsys, read("model-ca.sig"), authority, verify.FromTimestampAuthority)

	v := &verify.Verifier{Trust: trust.New(trusted), Now: time.Now()}
	target := verify.Target{Subject: policies.Subject{Name: "model", Digests: map[string]string{"dirHash": m.DirHash()}}}
	d, err := v.Verify(context.Background(), target, []verify.Found{{Origin: "s", Data: read("statement.sigstore.json")}}, keylessPolicy(t, nil, signedRule))
	if err != nil || d.Err() != nil {
		t.Errorf("%v %+v", err, d)
	}
}

func wantVerified(t *testing.T, fsys fs.FS, bundle []byte, anchor verify.Anchor, source string) {
	t.Helper()
	r, err := verify.Tree(context.Background(), fsys, bundle, anchor, verify.TreeOptions{Now: time.Now()})
	if err != nil || r.TimeSource != source || r.SignedAt == nil || r.SignedAt.After(time.Now()) {
		t.Errorf("%v, time by %q: %+v", err, r.TimeSource, r.Checks)
	}
}

func writeFixture(t *testing.T, dir string, m *manifest.Manifest) {
	t.Helper()
	s := newInstance(t)
	oms, err := attest.NewOMSStatement(m, "model", nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := attest.NewStatement([]attest.ResourceDescriptor{{Name: "model", Digest: attest.DigestSet{"dirHash": m.DirHash()}}},
		attest.SignaturePredicateType, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	text := func(st *attest.Statement) string {
		payload, err := st.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	second := -time.Second // the log counts in seconds: its time is before the timestamp's
	for name, data := range map[string][]byte{
		"trusted_root.json":       s.trustedRoot(),
		"ca.pem":                  certificatePEM(s.caRoot),
		"model.sig":               s.sign(text(oms), workflow, signing{logged: second}),
		"model-ca.sig":            s.sign(text(oms), workflow, signing{from: -time.Minute, until: 2 * time.Second, change: s.chained()}),
		"statement.sigstore.json": s.sign(text(signed), workflow, signing{logged: second}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
