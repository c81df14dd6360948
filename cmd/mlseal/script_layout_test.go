package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/rogpeppe/go-internal/testscript"
)

// makeLayout TREE writes owner.pub, links/ and three layouts of one step "train", whose products are the files of TREE below its name: root.layout,
// inspected.layout, which has a command to be run, and expired.layout.
func makeLayout(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: layout TREE")
	}
	owner, worker := newLayoutKey(ts), newLayoutKey(ts)
	l := link.Link{Step: "train", Command: []string{"./train.sh"}, Products: link.Artifacts{}}
	root := ts.MkAbs(args[0])
	ts.Check(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		rel, relErr := filepath.Rel(filepath.Dir(root), path)
		ts.Check(relErr)
		l.Products[filepath.ToSlash(rel)] = attest.DigestSet{"sha256": hex.EncodeToString(sum[:])}
		return err
	}))
	file, err := l.Sign(context.Background(), worker, link.Options{})
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs("links"), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(filepath.Join("links", file.Name)), file.Data, 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("owner.pub"), owner.PublicKeyPEM(), 0o644))

	var key intoto.Key
	ts.Check(key.LoadKeyReaderDefaults(bytes.NewReader(worker.PublicKeyPEM())))
	layout := intoto.Layout{Type: "layout", Expires: "2090-01-01T00:00:00Z", Inspect: []intoto.Inspection{}, Keys: map[string]intoto.Key{key.KeyID: key},
		Steps: []intoto.Step{{Type: "step", PubKeys: []string{key.KeyID}, Threshold: 1, ExpectedCommand: []string{"./train.sh"}, SupplyChainItem: intoto.SupplyChainItem{
			Name: "train", ExpectedMaterials: [][]string{}, ExpectedProducts: [][]string{{"CREATE", "*"}}}}}}
	signLayout(ts, "root.layout", layout, owner)
	layout.Inspect = []intoto.Inspection{{Type: "inspection", Run: []string{"touch", ts.MkAbs("owned")}, SupplyChainItem: intoto.SupplyChainItem{
		Name: "look", ExpectedMaterials: [][]string{}, ExpectedProducts: [][]string{}}}}
	signLayout(ts, "inspected.layout", layout, owner)
	layout.Inspect, layout.Expires = []intoto.Inspection{}, "2020-01-01T00:00:00Z"
	signLayout(ts, "expired.layout", layout, owner)
}

// ownLayout LAYOUT.json WORKER.pub OUT signs a layout whose steps all are the worker's, and writes owner.pub.
func ownLayout(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: ownlayout LAYOUT.json WORKER.pub OUT")
	}
	var l intoto.Layout
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &l))
	var key intoto.Key
	ts.Check(key.LoadKeyReaderDefaults(strings.NewReader(ts.ReadFile(args[1]))))
	l.Keys = map[string]intoto.Key{key.KeyID: key}
	for i := range l.Steps {
		l.Steps[i].PubKeys = []string{key.KeyID}
	}
	owner := newLayoutKey(ts)
	ts.Check(os.WriteFile(ts.MkAbs("owner.pub"), owner.PublicKeyPEM(), 0o644))
	signLayout(ts, args[2], l, owner)
}

func newLayoutKey(ts *testscript.TestScript) *signer.Key {
	empty := func() ([]byte, error) { return nil, nil }
	private, _, err := signer.Generate("ed25519", nil)
	ts.Check(err)
	key, err := signer.LoadKey(private, empty)
	ts.Check(err)
	return key
}

// signLayout writes a layout as a DSSE envelope.
func signLayout(ts *testscript.TestScript, name string, layout intoto.Layout, owner *signer.Key) {
	payload, err := json.Marshal(layout)
	ts.Check(err)
	signed, err := owner.SignBundle(context.Background(), attest.PayloadType, payload)
	ts.Check(err)
	bundle, err := attest.Parse(signed)
	ts.Check(err)
	id, err := link.KeyID(owner.PublicKeyPEM())
	ts.Check(err)
	data, err := json.Marshal(map[string]any{"payloadType": attest.PayloadType, "payload": payload,
		"signatures": []any{map[string]any{"keyid": id, "sig": bundle.Envelope.Signatures[0].Sig}}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o644))
}
