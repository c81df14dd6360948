package link_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/attest/signer"
)

// newKey makes a signing key of a private one.
func newKey(t testing.TB, private any) *signer.Key {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.LoadKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keys(t testing.TB) map[string]*signer.Key {
	t.Helper()
	out := map[string]*signer.Key{}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = newKey(t, private)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out["ed25519"] = newKey(t, private)
	return out
}

func digest(c string) attest.DigestSet { return attest.DigestSet{"sha256": strings.Repeat(c, 64)} }

func sample() *link.Link {
	return &link.Link{Step: "train", Command: []string{"python", "-c", "import x\nx.train()"}, Materials: link.Artifacts{"data/a.jsonl": digest("a")},
		Products: link.Artifacts{"model/w-1.bin": digest("b"), "model/w_1.bin": digest("c")}, Byproducts: map[string]any{"return-value": 0}}
}

// TestInTotoGolangVerifies: the library reads the file and verifies it with the key under the id that it computes itself.
func TestInTotoGolangVerifies(t *testing.T) {
	for name, key := range keys(t) {
		file, err := sample().Sign(context.Background(), key, link.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join(t.TempDir(), file.Name)
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		var public intoto.Key
		if err := public.LoadKeyReaderDefaults(bytes.NewReader(key.PublicKeyPEM())); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(intoto.LinkNameFormat, "train", public.KeyID); file.Name != want || file.KeyID != public.KeyID {
			t.Errorf("%s: called %s, want %s", name, file.Name, want)
		}
		read, err := intoto.LoadMetadata(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := read.VerifySignature(public); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := read.GetPayload().(intoto.Link)
		if got.Name != "train" || got.Products["model/w_1.bin"]["sha256"] != strings.Repeat("c", 64) || got.Environment == nil || len(got.Command) != 3 {
			t.Errorf("%s: read back as %+v", name, got)
		}
		// One bit of the payload or the signature, and it is nothing.
		broken := bytes.Replace(file.Data, []byte(`"payload": "ey`), []byte(`"payload": "eY`), 1)
		if bytes.Equal(broken, file.Data) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if read, err := intoto.LoadMetadata(path); err == nil && read.VerifySignature(public) == nil {
			t.Errorf("%s: an altered link verifies", name)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key := keys(t)["p256"]
	for name, change := range map[string]func(*link.Link){
		"no step":            func(l *link.Link) { l.Step = "" },
		"a step in a folder": func(l *link.Link) { l.Step = "a/b" },
		"a step above":       func(l *link.Link) { l.Step = ".." },
		"a detour":           func(l *link.Link) { l.Products["a/../b"] = digest("a") },
		"no digest":          func(l *link.Link) { l.Products["b"] = nil },
		"half a digest":      func(l *link.Link) { l.Materials["b"] = attest.DigestSet{"sha256": "ab"} },
		"no JSON":            func(l *link.Link) { l.Byproducts["loss"] = func() {} },
	} {
		l := sample()
		change(l)
		if _, err := l.Sign(context.Background(), key, link.Options{}); !errors.Is(err, link.ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sample().Sign(context.Background(), key, link.Options{KeyID: "key"}); !errors.Is(err, link.ErrLink) {
		t.Errorf("a key id that is none: %v", err)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sample().Sign(context.Background(), newKey(t, private), link.Options{}); !errors.Is(err, link.ErrKey) {
		t.Errorf("an RSA key: %v", err)
	}
	if _, err := link.KeyID([]byte("no key")); !errors.Is(err, link.ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

// TestPythonKeyIDs: the ids that securesystemslib 1.6.0 gives these keys (Key.from_crypto).
func TestPythonKeyIDs(t *testing.T) {
	for file, want := range map[string]string{"p256": "29d48675ee6b9cbe9441eb03aa87e9ffbe0eecdbbfb540760f4fca16cbe3b257", "p384": "0fffe9c1dc63970903143afc1e6abe53fd7113fea0045adcad29b9c026913390", "p521": "dda28c0cbff7eccdfdc3d425409837c6e8b8b9bfa726b65a2092cf2e3cfa34ca", "ed25519": "4b639b1203f4e2e0e6a7080093f95a569fb3fa2fee37d6f7f1eb88c83fb94f0c"} {
		text, err := os.ReadFile(filepath.Join("testdata", file+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := link.PythonKeyID(text); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", file, got, err, want)
		}
	}
}

func ExampleLink_Sign() {
	private, _, err := signer.Generate("ed25519", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := signer.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	l := link.Link{Step: "train", Command: []string{"./train.sh"}, Products: link.Artifacts{"model/weights.bin": {"sha256": strings.Repeat("0", 64)}}}
	file, err := l.Sign(context.Background(), key, link.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file.Name == "train."+file.KeyID[:8]+".link")
	// Output: true
}
