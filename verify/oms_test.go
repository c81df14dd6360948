package verify_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// omsTree is signed with the vectors' key in one serialization.
type omsTree struct {
	t      *testing.T
	key    *signer.Key
	public *trust.Key
	fsys   fstest.MapFS
	bundle []byte
}

func signTree(t *testing.T, s manifest.Serialization, fsys fstest.MapFS) *omsTree {
	t.Helper()
	key, err := signer.LoadKey(vectorKey(t, "signing-key.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Build(context.Background(), fsys, manifest.Options{Serialization: s})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := attest.NewOMSStatement(m, "model", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := attest.Sign(context.Background(), statement, key)
	if err != nil {
		t.Fatal(err)
	}
	return &omsTree{t, key, publicVectorKey(t), fsys, b.JSON()}
}

func (o *omsTree) passes(opts verify.TreeOptions) *verify.TreeResult {
	o.t.Helper()
	r, err := verify.Tree(context.Background(), o.fsys, o.bundle, o.public, opts)
	if err != nil {
		o.t.Fatalf("%v %+v", err, r.Checks)
	}
	return r
}

func (o *omsTree) fails(opts verify.TreeOptions, check, reason string) *verify.TreeResult {
	o.t.Helper()
	r := wantFailed(o.t, o.fsys, o.bundle, o.public, opts, check)
	for _, c := range r.Checks {
		if c.Status == verify.Failed && !strings.Contains(c.Detail, reason) {
			o.t.Errorf("the reason is %q, want one that names %q", c.Detail, reason)
		}
	}
	return r
}

func weights() fstest.MapFS {
	return fstest.MapFS{"config.json": {Data: []byte("{}")}, "w:1.bin": {Data: []byte("seventeen bytes..")}, "sub/x": {Data: []byte("12345678")}}
}

// TestSerializations verifies each of them, and denies a changed, missing and extra file in each.
func TestSerializations(t *testing.T) {
	for _, hash := range manifest.HashTypes() {
		for _, size := range []int64{0, 8, 1e9} {
			s := manifest.Serialization{Hash: hash, ShardSize: size}
			t.Run(fmt.Sprintf("%s/%d", hash, size), func(t *testing.T) {
				o := signTree(t, s, weights())
				plain, err := manifest.Build(context.Background(), o.fsys, manifest.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if r := o.passes(verify.TreeOptions{}); r.DirHash != plain.DirHash() || r.Format != verify.FormatOMS {
					t.Errorf("dirHash %s, format %s", r.DirHash, r.Format)
				}
				o.fsys["w:1.bin"] = &fstest.MapFile{Data: []byte("seventeen bytes.!")}
				delete(o.fsys, "sub/x")
				o.fsys["evil.py"] = &fstest.MapFile{Data: []byte("x")}
				changed := "w:1.bin"
				switch size {
				case 8:
					changed = "w:1.bin:16:17"
				case 1e9:
					changed = "w:1.bin:0:17"
				}
				if d := o.fails(verify.TreeOptions{}, "files", "1 changed").Diff; d.Changed[0].Path != changed || fmt.Sprint(d.Missing, d.Extra) != "[sub/x] [evil.py]" {
					t.Errorf("diff is %+v", d)
				}
				for name, data := range map[string]string{"grown": "seventeen bytes..+", "shrunk": "seventeen bytes.", "grown by a shard": "seventeen bytes.. and more"} {
					o.fsys = weights()
					o.fsys["w:1.bin"] = &fstest.MapFile{Data: []byte(data)}
					if d := o.fails(verify.TreeOptions{}, "files", "changed").Diff; len(d.Missing)+len(d.Extra) != 0 {
						t.Errorf("%s: diff is %+v", name, d)
					}
				}
			})
		}
	}
}

// TestResignedShardMutantsFail: each is signed again with the vectors' key and denied for its own reason.
func TestResignedShardMutantsFail(t *testing.T) {
	good := signTree(t, manifest.Serialization{ShardSize: 8}, weights())
	for name, tc := range map[string]struct{ old, new, reason string }{
		"gap":              {`"w:1.bin:8:16"`, `"w:1.bin:9:16"`, "gap"},
		"overlap":          {`"w:1.bin:8:16"`, `"w:1.bin:7:15"`, "overlaps"},
		"first is missing": {`"sub/x:0:8"`, `"sub/x:8:16"`, "gap"},
		"duplicate":        {`"w:1.bin:8:16"`, `"w:1.bin:0:8"`, "listed twice"},
		"longer":           {`"w:1.bin:16:17"`, `"w:1.bin:16:25"`, "shard_size"},
		"no range":         {`"sub/x:0:8"`, `"sub/x"`, "name of a shard"},
		"parent":           {`"sub/x:0:8"`, `"../x:0:8"`, "plain relative path"},
		"size 0":           {`"shard_size":8`, `"shard_size":0`, "shard_size"},
		"size -8":          {`"shard_size":8`, `"shard_size":-8`, "shard_size"},
		"size 8.5":         {`"shard_size":8`, `"shard_size":8.5`, "shard_size"},
		"size is text":     {`"shard_size":8`, `"shard_size":"8"`, "shard_size"},
		"no size":          {`,"shard_size":8`, ``, "shard_size"},
		"files":            {`"shards"`, `"files"`, "shard_size"},
		"other algorithm":  {`"sha256","digest"`, `"sha256-sharded-16","digest"`, "algorithm"},
	} {
		t.Run(name, func(t *testing.T) {
			o := *good
			o.t = t
			o.bundle = resign(t, good.bundle, o.key, func(p string) string { return strings.Replace(p, tc.old, tc.new, 1) })
			o.fails(verify.TreeOptions{}, "statement", tc.reason)
		})
	}
	t.Run("a last shard that ends elsewhere", func(t *testing.T) {
		o := *good
		o.bundle = resign(t, good.bundle, o.key, func(p string) string { return strings.Replace(p, `"w:1.bin:16:17"`, `"w:1.bin:16:18"`, 1) })
		o.fails(verify.TreeOptions{}, "files", "w:1.bin:16:18")
	})
	t.Run("as the reference writes it", func(t *testing.T) {
		o := *good
		o.bundle = resign(t, good.bundle, o.key, func(p string) string {
			p = strings.ReplaceAll(p, `"algorithm":"sha256"`, `"algorithm":"sha256-sharded-8"`)
			return strings.Replace(p, `"shard_size":8`, `"shard_size":8.0`, 1)
		})
		o.passes(verify.TreeOptions{})
	})
}

// TestEmptyFilesHaveNoShards: the specification leaves them out, so they are named as not covered.
func TestEmptyFilesHaveNoShards(t *testing.T) {
	fsys := weights()
	fsys["empty"] = &fstest.MapFile{}
	o := signTree(t, manifest.Serialization{ShardSize: 8}, fsys)
	if r := o.passes(verify.TreeOptions{}); fmt.Sprint(r.Unsigned) != "[empty]" || !strings.Contains(r.Checks[len(r.Checks)-1].Detail, "3 files hashed, each as signed; not checked, for nobody signed them: empty") {
		t.Errorf("unsigned %v, checks %+v", r.Unsigned, r.Checks)
	}
	o.fsys["empty"] = &fstest.MapFile{Data: []byte("x")}
	o.fails(verify.TreeOptions{}, "files", "1 extra (empty)")
}

func TestIgnoreUnsignedFiles(t *testing.T) {
	for _, s := range []manifest.Serialization{{}, {Hash: manifest.BLAKE3, ShardSize: 8}} {
		o := signTree(t, s, weights())
		for _, name := range []string{"extra.py", "sub/more", "cache/a", "cache/b", "back\\slash"} {
			o.fsys[name] = &fstest.MapFile{Data: []byte("x")}
		}
		o.fsys["link"] = &fstest.MapFile{Data: []byte("nowhere"), Mode: fs.ModeSymlink}
		opts := verify.TreeOptions{IgnoreUnsigned: true}
		if r := o.passes(opts); fmt.Sprint(r.Unsigned) != `[back\slash cache/ extra.py link sub/more]` || r.Files != 3 {
			t.Errorf("unsigned %v of %d files", r.Unsigned, r.Files)
		}
		o.fsys["sub/x"] = &fstest.MapFile{Data: []byte("87654321")}
		o.fails(opts, "files", "1 changed")
		delete(o.fsys, "sub/x")
		o.fails(opts, "files", "1 missing (sub/x)")
	}
}

// TestIgnoredPaths: the verifier's choice is reported as such, is exact, and excuses no missing file.
func TestIgnoredPaths(t *testing.T) {
	o := signTree(t, manifest.Serialization{}, weights())
	o.fsys["cache/evil.py"] = &fstest.MapFile{Data: []byte("x")}
	o.fails(verify.TreeOptions{Ignore: []string{"cac"}}, "files", "1 extra (cache/evil.py)")
	if r := o.passes(verify.TreeOptions{Ignore: []string{"cache"}}); fmt.Sprint(r.IgnoredHere, r.Ignored) != "[cache] []" || !strings.Contains(r.Checks[len(r.Checks)-1].Detail, "by your choice: cache") {
		t.Errorf("%+v", r)
	}
	o.fails(verify.TreeOptions{Ignore: []string{"cache", "config.json"}}, "files", "1 missing (config.json)")
	o.bundle = resign(t, o.bundle, o.key, func(p string) string {
		return strings.Replace(p, `"allow_symlinks":false`, `"allow_symlinks":false,"ignore_paths":["cache"]`, 1)
	})
	if r := o.passes(verify.TreeOptions{}); fmt.Sprint(r.Ignored) != "[cache]" {
		t.Errorf("ignored by the signer's choice: %v", r.Ignored)
	}
	o.fsys["sub/cache/evil.py"] = &fstest.MapFile{Data: []byte("x")}
	o.fails(verify.TreeOptions{}, "files", "1 extra (sub/cache/evil.py)")
}

func TestGitFilesAreSignedWhenAsked(t *testing.T) {
	fsys := weights()
	fsys[".gitignore"] = &fstest.MapFile{Data: []byte("x")}
	o := signTree(t, manifest.Serialization{}, fsys)
	o.passes(verify.TreeOptions{})
	o.fails(verify.TreeOptions{IncludeGit: true}, "files", "1 extra (.gitignore)")
}

// linkedTree is a folder with a link to a file outside.
func linkedTree(t *testing.T) fs.FS {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"model/config.json": "{}", "blob": "weights"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "model"), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../blob", filepath.Join(dir, "model", "w")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	return os.DirFS(filepath.Join(dir, "model"))
}

func TestSymlinksNeedTheFlagTwice(t *testing.T) {
	tree := linkedTree(t)
	resolved := fstest.MapFS{"config.json": {Data: []byte("{}")}, "w": {Data: []byte("weights")}}
	plain := signTree(t, manifest.Serialization{}, resolved)
	links := signTree(t, manifest.Serialization{AllowSymlinks: true}, resolved)
	for name, tc := range map[string]struct {
		o      *omsTree
		fsys   fs.FS
		opts   verify.TreeOptions
		check  string // that fails
		reason string
	}{
		"made with links, flag":      {links, tree, verify.TreeOptions{AllowSymlinks: true}, "", ""},
		"made with links, no flag":   {links, tree, verify.TreeOptions{}, "statement", "allow_symlinks"},
		"made with links, no links":  {links, resolved, verify.TreeOptions{}, "statement", "allow_symlinks"},
		"made without, links":        {plain, tree, verify.TreeOptions{}, "files", "symbolic link"},
		"made without, links, flag":  {plain, tree, verify.TreeOptions{AllowSymlinks: true}, "", ""},
		"changed behind the link":    {links, linkedTo(t, tree, "WEIGHTS"), verify.TreeOptions{AllowSymlinks: true}, "files", "1 changed (w)"},
		"the link leads nowhere now": {links, linkedTo(t, tree, ""), verify.TreeOptions{AllowSymlinks: true}, "files", "leads nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := verify.Tree(context.Background(), tc.fsys, tc.o.bundle, tc.o.public, tc.opts)
			if tc.check == "" {
				if err != nil {
					t.Errorf("%v %+v", err, r.Checks)
				}
				return
			}
			if !errors.Is(err, verify.ErrFailed) || !strings.Contains(err.Error(), tc.check+": ") || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// linkedTo is another linkedTree with other bytes behind the link, or none.
func linkedTo(t *testing.T, _ fs.FS, text string) fs.FS {
	t.Helper()
	fsys := linkedTree(t)
	blob := filepath.Join(fmt.Sprint(fsys), "..", "blob")
	if text == "" {
		if err := os.Remove(blob); err != nil {
			t.Fatal(err)
		}
		return fsys
	}
	if err := os.WriteFile(blob, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return fsys
}

// TestGateTakesOnlyWhatNamesATree: a policy cannot be satisfied by a statement from which no dirHash follows.
func TestGateTakesOnlyWhatNamesATree(t *testing.T) {
	for _, s := range []manifest.Serialization{{AllowSymlinks: true}, {ShardSize: 8}, {Hash: manifest.BLAKE2b}} {
		o := signTree(t, s, weights())
		public := o.key.PublicKeyPEM()
		policy, err := policies.Load([]byte("apiVersion: mlseal.dev/policy/v1\nname: signed\nsigners: {a: {key: a.pub}}\nrequire: [{id: signed, signature: {by: [a]}}]\n"),
			policies.LoadOptions{PredicateType: attest.PredicateType, ReadFile: func(string) ([]byte, error) { return public, nil }})
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Build(context.Background(), o.fsys, manifest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		v := verify.Verifier{Trust: trust.New(nil), Now: now}
		target := verify.Target{Subject: policies.Subject{Name: "model", Digests: map[string]string{"dirHash": m.DirHash()}}}
		d, err := v.Verify(context.Background(), target, []verify.Found{{Origin: "model.sig", Data: o.bundle}}, policy)
		if err != nil || !errors.Is(d.Err(), policies.ErrDenied) || d.Requirements[0].Code != policies.StatementUnusable {
			t.Errorf("%+v: %v, decision %+v", s, err, d)
		}
	}
}

// legacyVector is the tree that model-signing 0.2 signed with a certificate.
var legacyVector = vector{"v0.2.0-certificate", ""}

func TestLegacySignature(t *testing.T) {
	_, data, _ := legacyVector.load(t)
	b, err := attest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(b.Material.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.VerifyLegacy(leaf.PublicKey, b); err != nil {
		t.Error(err)
	}
	changed := *b
	changed.Envelope.Payload = append([]byte(nil), b.Envelope.Payload...)
	changed.Envelope.Payload[20] ^= 1
	if err := trust.VerifyLegacy(leaf.PublicKey, &changed); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("a changed payload: %v", err)
	}
	issuer, err := x509.ParseCertificate(b.Material.Chain[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.VerifyLegacy(issuer.PublicKey, b); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if err := publicVectorKey(t).Check(b, verify.Options{Legacy: true}).Err(); !errors.Is(err, verify.ErrMaterial) {
		t.Errorf("a certificate where a key was asked for: %v", err)
	}
}

// legacyBundle signs payload with the vectors' key over pae(payload).
func legacyBundle(t *testing.T, payload []byte, pae func(string, []byte) []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(vectorKey(t, "signing-key.pem"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256(pae(attest.PayloadType, payload))
	sig, err := ecdsa.SignASN1(rand.Reader, parsed.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(parsed.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.StdEncoding.EncodeToString
	text, err := json.Marshal(map[string]any{"mediaType": attest.BundleMediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]string{"rawBytes": encode(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "keyDetails": "PKIX_ECDSA_P384_SHA_384"}},
		"dsseEnvelope":         map[string]any{"payloadType": attest.PayloadType, "payload": encode(payload), "signatures": []any{map[string]any{"sig": encode(sig), "keyid": nil}}}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func dssePAE(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// TestLegacyTree verifies the vector's statement, signed again with a key, and what must not pass as legacy.
func TestLegacyTree(t *testing.T) {
	fsys, data, opts := legacyVector.load(t)
	b, err := attest.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	payload := b.Envelope.Payload
	key := publicVectorKey(t)
	r, err := verify.Tree(context.Background(), fsys, legacyBundle(t, payload, attest.LegacyPAE), key, opts)
	if err != nil || r.Format != verify.FormatLegacy || r.Files != 2 || !strings.Contains(fmt.Sprint(r.Checks), "legacy") {
		t.Fatalf("%v %+v", err, r)
	}
	wantFailed(t, fsys, legacyBundle(t, payload, dssePAE), key, opts, "signature")
	unnamed := regexp.MustCompile(`"publicKey":\{[^}]*\}`).ReplaceAll(legacyBundle(t, payload, attest.LegacyPAE), []byte(`"publicKey":{"hint":"00"}`))
	wantFailed(t, fsys, unnamed, key, opts, "signature")
	_, modern, _ := keyVectors[2].load(t)
	if b, err = attest.Parse(modern); err != nil {
		t.Fatal(err)
	}
	wantFailed(t, fsys, legacyBundle(t, b.Envelope.Payload, attest.LegacyPAE), key, opts, "signature")
	fsys["evil.py"] = &fstest.MapFile{Data: []byte("x")}
	wantFailed(t, fsys, legacyBundle(t, payload, attest.LegacyPAE), key, opts, "files")
}

// TestHintOfAnotherKey: a bundle that the given key signed and that names another key is refused.
func TestHintOfAnotherKey(t *testing.T) {
	o := signTree(t, manifest.Serialization{}, weights())
	o.bundle = []byte(strings.Replace(string(o.bundle), o.key.Hint(), strings.Repeat("0", 64), 1))
	o.fails(verify.TreeOptions{}, "signature", "another key")
	o.bundle = []byte(strings.Replace(string(o.bundle), `{"hint":"`+strings.Repeat("0", 64)+`"}`, `{}`, 1))
	o.fails(verify.TreeOptions{}, "signature", "another key")
}
