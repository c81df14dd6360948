package verify_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// unsigned are the parts of a bundle that no signature covers and nothing is taken from: the name beside the
// checkpoint's signature, whose key is found by the log's ID, and the wrapping of the RFC 3161 token.
var unsigned = []struct{ from, to string }{{`\n\n— `, " "}, {`"signedTimestamp":`, "}"}}

// TestFlippedBitsAreDenied flips one bit of each byte of a keyless bundle, and of one with a certificate of one's own authority, in turn.
// Those signed with a key are in TestAnyFlippedBitIsADenial.
func TestFlippedBitsAreDenied(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(testenv.Root(t), "testdata", "keyless", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	root, err := trust.ParseRoot(read("trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := trust.ParseAuthority(read("ca.pem"), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("keyless", func(t *testing.T) { checkFlips(t, read("model.sig"), keyless(t, root, workflow), 2) })
	t.Run("certificate", func(t *testing.T) { checkFlips(t, read("model-ca.sig"), authority, 1) })
}

// checkFlips wants every mutant of good denied, but for those in as many unsigned parts as are given: they may say what good
// says, and nothing else.
func checkFlips(t *testing.T, good []byte, anchor verify.Anchor, parts int) {
	t.Helper()
	// what is nil when the text is no bundle.
	what := func(text []byte) *verify.Result {
		b, err := attest.Parse(text)
		if err != nil {
			return nil
		}
		return anchor.Check(b, verify.Options{})
	}
	want := what(good)
	if want == nil || want.Err() != nil {
		t.Fatal("the good bundle is denied")
	}
	skip := make([]bool, len(good))
	for _, u := range unsigned {
		from := bytes.Index(good, []byte(u.from))
		if from < 0 {
			continue
		}
		parts--
		from += len(u.from)
		for i := from; i < from+bytes.Index(good[from:], []byte(u.to)); i++ {
			skip[i] = true
		}
	}
	if parts != 0 {
		t.Fatalf("%d unsigned parts were not found", parts)
	}
	tried := 0
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 7)
		got := what(bad)
		if got == nil {
			continue
		}
		tried++
		if got.Err() == nil && !(skip[at] && got.Signer == want.Signer && got.Issuer == want.Issuer && got.Time.Equal(want.Time) && got.TimeSource == want.TimeSource) {
			t.Errorf("byte %d: %s", at, bad[max(0, at-40):min(len(bad), at+20)])
		}
	}
	if tried < 1000 {
		t.Errorf("only %d of %d mutants were read", tried, len(good))
	}
}
