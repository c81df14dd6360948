//go:build interop

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/attest/signer"
)

// pythonLayout makes a layout of two steps with the Python package: prepare by one key, train by another.
const pythonLayout = `
import sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey
from in_toto.models.layout import Layout, Step
from in_toto.models.metadata import Envelope, Metablock

def key(name):
    return SSlibKey.from_crypto(load_pem_public_key(open(name + ".pub", "rb").read()))

owner, preparer, trainer = key("owner"), key("preparer"), key("trainer")
layout = Layout(expires="2090-01-01T00:00:00Z")
for k in (preparer, trainer):
    layout.keys[k.keyid] = dict(k.to_dict(), keyid=k.keyid)
layout.steps = [
    Step(name="prepare", pubkeys=[preparer.keyid], expected_products=[["CREATE", "data/*"], ["DISALLOW", "*"]]),
    Step(name="train", pubkeys=[trainer.keyid], expected_materials=[["MATCH", "data/*", "WITH", "PRODUCTS", "FROM", "prepare"], ["DISALLOW", "*"]],
         expected_products=[["CREATE", "model/*"], ["DISALLOW", "*"]]),
]
if sys.argv[1] == "dsse":
    metadata = Envelope.from_signable(layout)
else:
    metadata = Metablock(signed=layout)
metadata.create_signature(CryptoSigner(load_pem_private_key(open("owner.pem", "rb").read(), None), owner))
metadata.dump("root.layout")
`

// TestInteropInTotoLayout: the Python package in-toto makes layouts and links that mlseal verifies, and verifies those that mlseal makes.
func TestInteropInTotoLayout(t *testing.T) {
	verifier := peer(t, "IN_TOTO")
	python, run := filepath.Join(filepath.Dir(verifier), "python"), filepath.Join(filepath.Dir(verifier), "in-toto-run")
	built := newLab(t)
	for _, form := range []string{"metablock", "dsse"} {
		t.Run(form, func(t *testing.T) {
			l := &lab{t, t.TempDir(), built.mlseal}
			for name, kind := range map[string]string{"owner": "ec", "preparer": "ed25519", "trainer": "ec"} {
				l.keyPair(name, kind)
			}
			l.write("layout.py", pythonLayout)
			l.run(python, "layout.py", form)

			args := []string{"--step-name", "prepare", "--signing-key", "preparer.pem", "--products", "data"}
			if form == "dsse" {
				args = append(args, "--use-dsse")
			}
			l.run(run, append(args, "--", python, "-c", "import os; os.mkdir('data'); open('data/a-1.jsonl', 'w').write('a'); open('data/a_1.jsonl', 'w').write('b')")...)
			l.write("model/weights.bin", "w")
			l.write("model/config.json", "{}")
			trained := &link.Link{Step: "train", Command: []string{"./train.sh", "line\nfeed <&>"}, Materials: l.artifacts("data"), Products: l.artifacts("model"), Byproducts: map[string]any{"return-value": 0}}
			l.sign(trained, "trainer")

			check := []string{"verify", "model", "--layout", "root.layout", "--layout-key", "owner.pub", "--products-below", "model"}
			peers := []string{"--layout", "root.layout", "--verification-keys", "owner.pub", "--link-dir", "."}
			if out := l.run(l.mlseal, check...); !strings.HasPrefix(out, "VERIFIED") {
				t.Errorf("mlseal says\n%s", out)
			}
			l.run(verifier, peers...)

			// Another model, and another that nobody prepared the data of.
			l.write("model/weights.bin", "other")
			l.fails(l.mlseal, check...)
			trained.Materials["data/b.jsonl"] = attest.DigestSet{"sha256": strings.Repeat("0", 64)}
			l.sign(trained, "trainer")
			if out := l.fails(l.mlseal, check...); !strings.Contains(out, "artifact rules") {
				t.Errorf("mlseal says\n%s", out)
			}
			l.fails(verifier, peers...)
		})
	}
}

// keyPair writes a key for both: NAME.pem and NAME.pub.
func (l *lab) keyPair(name, kind string) {
	l.t.Helper()
	var private, public any
	var err error
	if kind == "ed25519" {
		public, private, err = ed25519.GenerateKey(rand.Reader)
	} else {
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			private, public = key, &key.PublicKey
		}
	}
	if err != nil {
		l.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		l.t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	l.write(name+".pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})))
}

// sign writes a link with the id that the Python package gives the key.
func (l *lab) sign(made *link.Link, name string) {
	l.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.dir, name+".pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	key, err := signer.LoadKey(text, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	id, err := link.PythonKeyID(key.PublicKeyPEM())
	if err != nil {
		l.t.Fatal(err)
	}
	file, err := made.Sign(context.Background(), key, link.Options{KeyID: id})
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(file.Name, string(file.Data))
}

// artifacts are the files below a folder.
func (l *lab) artifacts(folder string) link.Artifacts {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.dir, folder, "*"))
	if err != nil {
		l.t.Fatal(err)
	}
	out := link.Artifacts{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			l.t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		out[folder+"/"+filepath.Base(file)] = attest.DigestSet{"sha256": hex.EncodeToString(sum[:])}
	}
	return out
}
