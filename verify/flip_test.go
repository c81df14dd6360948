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

// TestFlippedBitsAreDenied flips one bit of each byte of a keyless bundle in turn.
func TestFlippedBitsAreDenied(t *testing.T) {
	dir := filepath.Join(testenv.Root(t), "testdata", "keyless")
	text, err := os.ReadFile(filepath.Join(dir, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "model.sig"))
	if err != nil {
		t.Fatal(err)
	}
	anchor := keyless(t, root, workflow)
	tried := 0
	skip := make([]bool, len(good))
	for _, u := range unsigned {
		from := bytes.Index(good, []byte(u.from))
		if from < 0 {
			t.Fatalf("no %s in the bundle", u.from)
		}
		from += len(u.from)
		for i := from; i < from+bytes.Index(good[from:], []byte(u.to)); i++ {
			skip[i] = true
		}
	}
	for at := range good {
		if skip[at] {
			continue
		}
		bad := append([]byte(nil), good...)
		bad[at] ^= 1 << (at % 7)
		b, err := attest.Parse(bad)
		if err != nil {
			continue
		}
		tried++
		if r := anchor.Check(b, verify.Options{}); r.Err() == nil {
			lo, hi := max(0, at-40), min(len(bad), at+20)
			t.Errorf("byte %d: %s", at, bad[lo:hi])
		}
	}
	if tried < 1000 {
		t.Errorf("only %d of %d mutants were read", tried, len(good))
	}
}
