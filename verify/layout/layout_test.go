package layout_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/layout"
	"github.com/opencontainers/go-digest"
)

// who is a person with a key, as mlseal and as in-toto-golang have it.
type who struct {
	signer *signer.Key
	intoto intoto.Key
}

func person(t testing.TB, private any) *who {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	w := &who{}
	if w.signer, err = signer.LoadKey(text, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.intoto.LoadKeyReaderDefaults(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return w
}

func ec(t testing.TB) *who {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return person(t, private)
}

func (w *who) public() intoto.Key {
	k := w.intoto
	k.KeyVal.Private = ""
	return k
}

func (w *who) key(t testing.TB) layout.Key {
	t.Helper()
	k, err := layout.ParseKey(w.signer.PublicKeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// chain is a supply chain of two steps: data is prepared, then a model trained of it.
type chain struct {
	t                      testing.TB
	owner, preparer, other *who
	layout                 intoto.Layout
	links                  fstest.MapFS
	dsse                   bool
	opts                   layout.Options
	keys                   []layout.Key
}

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func hash(c string) attest.DigestSet { return attest.DigestSet{"sha256": strings.Repeat(c, 64)} }

func newChain(t testing.TB) *chain {
	c := &chain{t: t, owner: ec(t), preparer: ec(t), links: fstest.MapFS{}, opts: layout.Options{Now: now}}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.other = person(t, private)
	c.keys = []layout.Key{c.owner.key(t)}
	step := func(name string, w *who, materials, products [][]string) intoto.Step {
		return intoto.Step{Type: "step", PubKeys: []string{w.intoto.KeyID}, Threshold: 1, ExpectedCommand: []string{},
			SupplyChainItem: intoto.SupplyChainItem{Name: name, ExpectedMaterials: materials, ExpectedProducts: products}}
	}
	c.layout = intoto.Layout{Type: "layout", Expires: "2027-01-01T00:00:00Z", Inspect: []intoto.Inspection{}, Keys: map[string]intoto.Key{},
		Steps: []intoto.Step{
			step("prepare", c.preparer, [][]string{}, [][]string{{"CREATE", "data/*"}, {"DISALLOW", "*"}}),
			step("train", c.other, [][]string{{"MATCH", "data/*", "WITH", "PRODUCTS", "FROM", "prepare"}, {"DISALLOW", "*"}}, [][]string{{"CREATE", "model/*"}, {"ALLOW", "data/*"}, {"DISALLOW", "*"}}),
		}}
	c.may(c.preparer, c.other)
	c.did(c.preparer, &link.Link{Step: "prepare", Products: link.Artifacts{"data/a.jsonl": hash("a")}})
	c.did(c.other, trained())
	return c
}

func trained() *link.Link {
	return &link.Link{Step: "train", Materials: link.Artifacts{"data/a.jsonl": hash("a")}, Products: link.Artifacts{"model/w-1.bin": hash("b"), "model/w_1.bin": hash("c")}}
}

func (c *chain) may(people ...*who) {
	for _, w := range people {
		c.layout.Keys[w.intoto.KeyID] = w.public()
	}
}

func (c *chain) did(w *who, l *link.Link) *link.File {
	c.t.Helper()
	file, err := l.Sign(context.Background(), w.signer, link.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.links[file.Name] = &fstest.MapFile{Data: file.Data, Mode: 0o644}
	return file
}

// sign signs metadata: as a Metablock by in-toto-golang, or as an envelope. in-toto-golang's own envelopes have line feeds in their strings where
// there are keys in PEM, and are no JSON.
func (c *chain) sign(payload any, w *who) []byte {
	c.t.Helper()
	if c.dsse {
		return c.envelope(payload, w)
	}
	path := filepath.Join(c.t.TempDir(), "metadata")
	m := &intoto.Metablock{Signed: payload}
	if err := errors.Join(m.Sign(w.intoto), m.Dump(path)); err != nil {
		c.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func (c *chain) envelope(payload any, w *who) []byte {
	c.t.Helper()
	text, err := json.Marshal(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	signed, err := w.signer.SignBundle(context.Background(), attest.PayloadType, text)
	if err != nil {
		c.t.Fatal(err)
	}
	bundle, err := attest.Parse(signed)
	if err != nil {
		c.t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"payloadType": attest.PayloadType, "payload": text,
		"signatures": []any{map[string]any{"keyid": w.intoto.KeyID, "sig": bundle.Envelope.Signatures[0].Sig}}})
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

func (c *chain) verify() (*layout.Result, error) {
	c.t.Helper()
	return layout.Verify(c.sign(c.layout, c.owner), c.keys, c.links, c.opts)
}

func tree(t testing.TB, files map[string]string) *manifest.Manifest {
	t.Helper()
	var list []manifest.File
	for name, c := range files {
		list = append(list, manifest.File{Path: name, Digest: digest.NewDigestFromEncoded(digest.SHA256, strings.Repeat(c, 64))})
	}
	m, err := manifest.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestVerified: both forms of layouts, links of both forms, and in-toto-golang's own verification over the same files.
func TestVerified(t *testing.T) {
	for _, dsse := range []bool{false, true} {
		c := newChain(t)
		c.dsse = dsse
		if !dsse { // a link as in-toto-golang writes it
			name, err := link.FileName("prepare", c.preparer.intoto.KeyID)
			if err != nil {
				t.Fatal(err)
			}
			c.links[name] = &fstest.MapFile{Data: c.sign(intoto.Link{Type: "link", Name: "prepare", Materials: map[string]intoto.HashObj{}, Products: map[string]intoto.HashObj{"./data/a.jsonl": hash("a")},
				ByProducts: map[string]any{"return-value": 0}, Command: []string{}, Environment: map[string]any{}}, c.preparer), Mode: 0o644}
		}
		r, err := c.verify()
		if err != nil {
			t.Fatalf("dsse %t: %v", dsse, err)
		}
		if err := r.CheckFiles(tree(t, map[string]string{"w-1.bin": "b", "w_1.bin": "c"}), "model"); err != nil {
			t.Errorf("dsse %t: %v", dsse, err)
		}
		if len(r.Steps) != 2 || r.Steps[1].Name != "train" || r.Steps[1].Signers[0] != c.other.intoto.KeyID || r.DirHash == "" || r.Signer != c.keys[0].Fingerprint() {
			t.Errorf("dsse %t: %+v", dsse, r)
		}
		c.judgedAlike(nil)
	}
}

// judgedAlike has in-toto-golang's InTotoVerify judge the chain; want is what Verify said.
func (c *chain) judgedAlike(want error) {
	c.t.Helper()
	dir := c.t.TempDir()
	for name, file := range c.links {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, file.Data, 0o600)); err != nil {
			c.t.Fatal(err)
		}
	}
	path := filepath.Join(c.t.TempDir(), "root.layout")
	if err := os.WriteFile(path, c.sign(c.layout, c.owner), 0o600); err != nil {
		c.t.Fatal(err)
	}
	loaded, err := intoto.LoadMetadata(path)
	if err == nil {
		_, err = intoto.InTotoVerify(loaded, map[string]intoto.Key{c.owner.intoto.KeyID: c.owner.public()}, dir, "", nil, nil, false)
	}
	if (err == nil) != (want == nil) {
		c.t.Errorf("in-toto-golang says %v, mlseal %v", err, want)
	}
}

// both says that in-toto-golang refuses the same.
const both = true

func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*chain)
		check  string // that fails
		names  string
		both   bool
	}{
		"an expired layout":                 {func(c *chain) { c.layout.Expires = "2026-11-22T12:00:00Z" }, "expiry", "expired on", false},
		"a clock that nobody set":           {func(c *chain) { c.opts.Now = time.Time{} }, "expiry", "expired", false},
		"somebody else's layout":            {func(c *chain) { c.keys = []layout.Key{c.other.key(c.t)} }, "layout signature", "none of its 1 signatures", false},
		"no key":                            {func(c *chain) { c.keys = nil }, "layout signature", "no key", false},
		"one owner of two":                  {func(c *chain) { c.keys = append(c.keys, c.other.key(c.t)) }, "layout signature", "none of its", false},
		"inspections":                       {inspected, "inspections", "mlseal runs none", false},
		"a step that nobody did":            {func(c *chain) { c.lose("train") }, "steps", "step 'train' requires '1'", both},
		"a threshold that is not met":       {func(c *chain) { c.layout.Steps[1].Threshold = 2 }, "steps", "requires '2'", both},
		"one person twice":                  {twice, "layout", "are the same", false},
		"a link by a stranger":              {func(c *chain) { c.lose("train"); c.did(ec(c.t), trained()) }, "steps", "step 'train'", both},
		"a stranger's link by another name": {renamed, "steps", "valid signature", both},
		"a link that was altered":           {altered, "steps", "train", both},
		"a link that is broken":             {func(c *chain) { c.overwrite("train", []byte("{")) }, "steps", "not usable in-toto metadata", both},
		"keys that read alike in a link":    {func(c *chain) { c.overwrite("train", []byte(`{"signed":{},"Signed":{},"signatures":[]}`)) }, "steps", "not usable", false},
		"the link of another step":          {otherStep, "steps", `link of the step "prepare"`, false},
		"data that nobody prepared":         {func(c *chain) { l := trained(); l.Materials["data/b.jsonl"] = hash("d"); c.did(c.other, l) }, "artifact rules", "data/b.jsonl", both},
		"data that was changed":             {func(c *chain) { l := trained(); l.Materials["data/a.jsonl"] = hash("d"); c.did(c.other, l) }, "artifact rules", "data/a.jsonl", both},
		"a product that is not allowed":     {func(c *chain) { l := trained(); l.Products["backdoor"] = hash("d"); c.did(c.other, l) }, "artifact rules", "backdoor", both},
		"two links that differ":             {differing, "steps", "different artifacts", both},
		"a threshold of nothing":            {func(c *chain) { c.layout.Steps[1].Threshold = 0 }, "layout", "threshold of 0", false},
		"no steps":                          {func(c *chain) { c.layout.Steps = nil }, "layout", "0 steps", false},
		"an empty rule":                     {func(c *chain) { c.layout.Steps[0].ExpectedProducts = [][]string{{}} }, "layout", "empty rule", false},
		"a rule that is none":               {func(c *chain) { c.layout.Steps[0].ExpectedProducts = [][]string{{"PERMIT", "*"}} }, "layout", "rule", false},
		"a step outside":                    {func(c *chain) { c.layout.Steps[0].Name = "../prepare" }, "layout", "no file name", false},
		"two steps of one name":             {func(c *chain) { c.layout.Steps[1].Name = "prepare" }, "layout", "two steps", false},
		"certificates as functionaries":     {func(c *chain) { c.layout.Steps[0].CertificateConstraints = []intoto.CertificateConstraint{{}} }, "layout", "not understood", false},
		"authorities of functionaries":      {func(c *chain) { c.layout.RootCas = c.layout.Keys }, "layout", "not understood", false},
		"a key that is another's type":      {wrongType, "layout", "not of the type", false},
		"a date that is none":               {func(c *chain) { c.layout.Expires = "tomorrow" }, "layout", "expires", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t)
			tc.change(c)
			r, err := c.verify()
			if !errors.Is(err, verify.ErrFailed) || !strings.Contains(err.Error(), tc.names) || !strings.Contains(err.Error(), "layout: "+tc.check+": ") {
				t.Fatalf("error is %v, want check %q that names %q", err, tc.check, tc.names)
			}
			if last := r.Checks[len(r.Checks)-1]; last.Name != "files" || last.Status != verify.NotDone {
				t.Errorf("the last check is %+v", last)
			}
			if err := r.CheckFiles(tree(t, map[string]string{"w-1.bin": "b"}), "model"); !errors.Is(err, verify.ErrFailed) {
				t.Errorf("files after a failure: %v", err)
			}
			if tc.both {
				c.judgedAlike(err)
			}
		})
	}
}

func (c *chain) lose(step string) {
	for name := range c.links {
		if strings.HasPrefix(name, step+".") {
			delete(c.links, name)
		}
	}
}

func (c *chain) overwrite(step string, data []byte) {
	for name, file := range c.links {
		if strings.HasPrefix(name, step+".") {
			file.Data = data
		}
	}
}

func inspected(c *chain) {
	c.layout.Inspect = []intoto.Inspection{{Type: "inspection", Run: []string{"touch", "owned"}, SupplyChainItem: intoto.SupplyChainItem{Name: "look", ExpectedMaterials: [][]string{}, ExpectedProducts: [][]string{}}}}
}

// twice lists the key of one person under a second id.
func twice(c *chain) {
	k := c.other.public()
	k.KeyID = strings.Repeat("ab", 32)
	c.layout.Keys[k.KeyID] = k
	c.layout.Steps[1].PubKeys = append(c.layout.Steps[1].PubKeys, k.KeyID)
	c.layout.Steps[1].Threshold = 2
}

// renamed puts the link of a stranger where that of a functionary is looked for, with its key id.
func renamed(c *chain) {
	file, err := trained().Sign(context.Background(), ec(c.t).signer, link.Options{KeyID: c.other.intoto.KeyID})
	if err != nil {
		c.t.Fatal(err)
	}
	c.links[file.Name] = &fstest.MapFile{Data: file.Data, Mode: 0o644}
}

func altered(c *chain) {
	for name, file := range c.links {
		if strings.HasPrefix(name, "train.") {
			var envelope map[string]any
			if err := json.Unmarshal(file.Data, &envelope); err != nil {
				c.t.Fatal(err)
			}
			l := trained()
			l.Products["model/w-1.bin"] = hash("e")
			other, err := l.Sign(context.Background(), c.other.signer, link.Options{})
			if err != nil {
				c.t.Fatal(err)
			}
			var with map[string]any
			if err := json.Unmarshal(other.Data, &with); err != nil {
				c.t.Fatal(err)
			}
			envelope["payload"] = with["payload"]
			if file.Data, err = json.Marshal(envelope); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// otherStep lets one person do both steps, who gives the link of the first for that of the second.
func otherStep(c *chain) {
	c.lose("prepare")
	c.layout.Steps[0].PubKeys = []string{c.other.intoto.KeyID}
	first := c.did(c.other, &link.Link{Step: "prepare", Products: link.Artifacts{"data/a.jsonl": hash("a")}})
	c.overwrite("train", first.Data)
}

// differing has two people vouch for a step, each for another model.
func differing(c *chain) {
	c.layout.Steps[1].PubKeys = append(c.layout.Steps[1].PubKeys, c.preparer.intoto.KeyID)
	l := trained()
	l.Products["model/w-1.bin"] = hash("e")
	c.did(c.preparer, l)
}

func wrongType(c *chain) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		c.t.Fatal(err)
	}
	k := person(c.t, private).public()
	k.KeyType, k.Scheme = "ecdsa", "ecdsa-sha2-nistp256"
	c.layout.Keys[k.KeyID] = k
}

// TestSkippedInspections: what was not done is listed, and nothing runs.
func TestSkippedInspections(t *testing.T) {
	c := newChain(t)
	inspected(c)
	c.opts.UnsafeSkipInspections = true
	r, err := c.verify()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, check := range r.Checks {
		found = found || check.Name == "inspections" && check.Status == verify.NotDone && strings.Contains(check.Detail, "1 commands")
	}
	if _, err := os.Lstat("owned"); err == nil || !found {
		t.Errorf("checks %+v; %v", r.Checks, err)
	}
}

func TestThresholdAndCommands(t *testing.T) {
	c := newChain(t)
	c.layout.Steps[1].PubKeys = append(c.layout.Steps[1].PubKeys, c.preparer.intoto.KeyID)
	c.layout.Steps[1].Threshold = 2
	c.layout.Steps[1].ExpectedCommand = []string{"./train.sh"}
	c.did(c.preparer, trained())
	r, err := c.verify()
	if err != nil || len(r.Steps[1].Signers) != 2 {
		t.Fatalf("%v, %+v", err, r.Steps)
	}
	noted := false
	for _, check := range r.Checks {
		noted = noted || check.Name == "commands" && strings.Contains(check.Detail, "./train.sh")
	}
	if !noted {
		t.Errorf("no word about the command: %+v", r.Checks)
	}
}

// sub makes the first step a layout of its own, by the one who is to do it.
func (c *chain) sub(change func(*intoto.Layout)) {
	worker := ec(c.t)
	inner := intoto.Layout{Type: "layout", Expires: "2027-01-01T00:00:00Z", Inspect: []intoto.Inspection{}, Keys: map[string]intoto.Key{worker.intoto.KeyID: worker.public()},
		Steps: []intoto.Step{{Type: "step", PubKeys: []string{worker.intoto.KeyID}, Threshold: 1, ExpectedCommand: []string{},
			SupplyChainItem: intoto.SupplyChainItem{Name: "clean", ExpectedMaterials: [][]string{}, ExpectedProducts: [][]string{{"CREATE", "data/*"}, {"DISALLOW", "*"}}}}}}
	if change != nil {
		change(&inner)
	}
	name, err := link.FileName("prepare", c.preparer.intoto.KeyID)
	if err != nil {
		c.t.Fatal(err)
	}
	c.links[name] = &fstest.MapFile{Data: c.sign(inner, c.preparer), Mode: 0o644}
	l := &link.Link{Step: "clean", Products: link.Artifacts{"data/a.jsonl": hash("a")}}
	file, err := l.Sign(context.Background(), worker.signer, link.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.links[strings.TrimSuffix(name, ".link")+"/"+file.Name] = &fstest.MapFile{Data: file.Data, Mode: 0o644}
}

func TestSublayouts(t *testing.T) {
	c := newChain(t)
	c.sub(nil)
	r, err := c.verify()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 3 || !r.Steps[1].Sublayout {
		t.Errorf("steps %+v", r.Steps)
	}
	c.judgedAlike(nil)
	for name, change := range map[string]func(*intoto.Layout){
		"expired":    func(l *intoto.Layout) { l.Expires = "2026-01-01T00:00:00Z" },
		"inspected":  func(l *intoto.Layout) { l.Inspect = []intoto.Inspection{{Type: "inspection", Run: []string{"x"}}} },
		"disallowed": func(l *intoto.Layout) { l.Steps[0].ExpectedProducts = [][]string{{"DISALLOW", "*"}} },
		"unsigned":   func(l *intoto.Layout) { l.Steps[0].Threshold = 2 },
	} {
		c := newChain(t)
		c.sub(change)
		if _, err := c.verify(); !errors.Is(err, verify.ErrFailed) || !strings.Contains(err.Error(), "sublayout of the step prepare") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		files  map[string]string
		prefix string
		names  string // of the error; empty for none
	}{
		"all":             {map[string]string{"model/w-1.bin": "b", "model/w_1.bin": "c"}, "", ""},
		"below":           {map[string]string{"w-1.bin": "b", "w_1.bin": "c"}, "model/", ""},
		"below, unnamed":  {map[string]string{"w-1.bin": "b", "w_1.bin": "c"}, "", "--products-below model"},
		"changed":         {map[string]string{"w-1.bin": "b", "w_1.bin": "d"}, "model", "w_1.bin"},
		"missing":         {map[string]string{"w-1.bin": "b"}, "model", "w_1.bin"},
		"extra":           {map[string]string{"w-1.bin": "b", "w_1.bin": "c", "x": "d"}, "model", "x"},
		"below elsewhere": {map[string]string{"w-1.bin": "b"}, "weights", "no products below weights/"},
	} {
		r, err := newChain(t).verify()
		if err != nil {
			t.Fatal(err)
		}
		err = r.CheckFiles(tree(t, tc.files), tc.prefix)
		if tc.names == "" && err != nil || tc.names != "" && (!errors.Is(err, verify.ErrFailed) || !strings.Contains(err.Error(), tc.names)) {
			t.Errorf("%s: %v, want %q", name, err, tc.names)
		}
	}
	// Products beside them are named, and no sha256 is no product.
	c := newChain(t)
	l := trained()
	l.Products["data/log.txt"] = hash("d")
	c.did(c.other, l)
	r, err := c.verify()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckFiles(tree(t, map[string]string{"w-1.bin": "b", "w_1.bin": "c"}), "model"); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(r.Checks); !strings.Contains(text, "data/log.txt") {
		t.Errorf("the other product is not named: %s", text)
	}
	l.Products["model/w_1.bin"] = attest.DigestSet{"sha512": strings.Repeat("c", 128)}
	c.did(c.other, l)
	if r, err = c.verify(); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckFiles(tree(t, map[string]string{"w-1.bin": "b", "w_1.bin": "c"}), "model"); !errors.Is(err, verify.ErrFailed) {
		t.Errorf("without a sha256: %v", err)
	}
	if r.NeedsGit("model") {
		t.Error("it needs git's files")
	}
	l.Products["model/.gitattributes"] = hash("e")
	c.did(c.other, l)
	if r, err = c.verify(); err != nil || !r.NeedsGit("model") {
		t.Errorf("it does not need git's files; %v", err)
	}
}

// TestUnreadable: a link that cannot be read decides nothing.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	c := newChain(t)
	for name, file := range c.links {
		if err := os.WriteFile(filepath.Join(dir, name), file.Data, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := layout.Verify(c.sign(c.layout, c.owner), c.keys, os.DirFS(dir), c.opts); err == nil || errors.Is(err, verify.ErrFailed) {
		t.Errorf("links that cannot be read: %v", err)
	}
}

// FuzzVerify: nothing that a stranger writes makes a layout or a link of it, or ends in a panic.
func FuzzVerify(f *testing.F) {
	c := newChain(f)
	block := c.sign(c.layout, c.owner)
	c.dsse = true
	envelope := c.sign(c.layout, c.owner)
	f.Add(block, []byte("{}"))
	f.Add(envelope, []byte(`{"signed":{"_type":"link"},"signatures":[]}`))
	for _, file := range c.links {
		f.Add(block, file.Data)
		f.Add(file.Data, file.Data)
	}
	stranger := ec(f).key(f)
	f.Fuzz(func(t *testing.T, root, linked []byte) {
		if _, err := layout.Verify(root, []layout.Key{stranger}, fstest.MapFS{}, c.opts); !errors.Is(err, verify.ErrFailed) {
			t.Errorf("a stranger's layout: %v", err)
		}
		links := fstest.MapFS{}
		for name, file := range c.links {
			links[name] = file
		}
		name, _ := link.FileName("train", c.other.intoto.KeyID)
		links[name] = &fstest.MapFile{Data: linked, Mode: 0o644}
		r, err := layout.Verify(block, c.keys, links, c.opts)
		if err == nil && !bytes.Equal(linked, c.links[name].Data) {
			if err := r.CheckFiles(tree(t, map[string]string{"w-1.bin": "b", "w_1.bin": "c"}), "model"); err != nil {
				t.Errorf("an altered link passes with other products: %v", err)
			}
		}
	})
}

func ExampleVerify() {
	key, err := layout.ParseKey([]byte("no key"))
	fmt.Println(err)
	_, err = layout.Verify([]byte("{}"), []layout.Key{key}, fstest.MapFS{}, layout.Options{Now: now})
	fmt.Println(err)
	// Output:
	// layout: not a public key for an in-toto layout: it is not PEM
	// layout: layout: verification failed: not usable in-toto metadata: it has nothing signed, or more than 64 signatures
}
