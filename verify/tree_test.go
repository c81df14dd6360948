package verify_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// vector is a tree that a release of the reference implementation signed with a key.
type vector struct {
	name string
	file string // when a bare file was signed
}

var keyVectors = []vector{{"v0.3.1-elliptic-key", "signme-1"}, {"v1.0.0-elliptic-key", "signme-1"}, {"v1.1.0-elliptic-key", ""}}

func (v vector) load(t *testing.T) (fstest.MapFS, []byte, verify.TreeOptions) {
	t.Helper()
	dir := filepath.Join(testenv.Vectors(t), "oms", v.name)
	bundle, err := os.ReadFile(filepath.Join(dir, "model.sig"))
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fsys[e.Name()] = &fstest.MapFile{Data: data}
	}
	return fsys, bundle, verify.TreeOptions{File: v.file, Signature: "model.sig"}
}

func vectorKey(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "oms", "keys", file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func publicVectorKey(t *testing.T) *trust.Key {
	t.Helper()
	key, err := trust.ParseKey(vectorKey(t, "signing-key-pub.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestVectorsPass(t *testing.T) {
	key := publicVectorKey(t)
	for _, v := range keyVectors {
		t.Run(v.name, func(t *testing.T) {
			fsys, bundle, opts := v.load(t)
			r, err := verify.Tree(context.Background(), fsys, bundle, key, opts)
			if err != nil {
				t.Fatalf("%v\n%+v", err, r.Checks)
			}
			if v.name == "v1.1.0-elliptic-key" && fmt.Sprint(r.Ignored) != "[ignore-me]" {
				t.Errorf("ignored by the signer's choice: %v", r.Ignored)
			}
			for _, c := range r.Checks {
				if c.Status == verify.Failed || c.Name == "transparency log" && c.Status != verify.NotDone {
					t.Errorf("check %+v", c)
				}
			}
		})
	}
}

// TestVectorMutantsFail changes the tree, the key and the bundle of each vector.
func TestVectorMutantsFail(t *testing.T) {
	good := publicVectorKey(t)
	stranger := newPerson(t)
	strangerKey, err := trust.ParseKey(stranger.public)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range keyVectors {
		mutants := map[string]struct {
			change func(fstest.MapFS, []byte) []byte
			key    *trust.Key
			check  string // the check that must fail
		}{
			"another key":      {key: strangerKey, check: "signature"},
			"changed file":     {change: func(f fstest.MapFS, b []byte) []byte { f["signme-1"].Data[0] ^= 1; return b }, check: "files"},
			"truncated bundle": {change: func(_ fstest.MapFS, b []byte) []byte { return b[:len(b)-10] }, check: "bundle"},
			"foreign bundle":   {change: func(fstest.MapFS, []byte) []byte { return []byte(`{"some":"json"}`) }, check: "bundle"},
			"changed payload": {change: func(_ fstest.MapFS, b []byte) []byte {
				return resign(t, b, nil, func(p string) string { return strings.Replace(p, "signme-1", "signme-2", 1) })
			}, check: "signature"},
		}
		if v.file == "" {
			mutants["extra file"] = struct {
				change func(fstest.MapFS, []byte) []byte
				key    *trust.Key
				check  string
			}{change: func(f fstest.MapFS, b []byte) []byte { f["evil.py"] = &fstest.MapFile{Data: []byte("x")}; return b }, check: "files"}
			mutants["missing file"] = struct {
				change func(fstest.MapFS, []byte) []byte
				key    *trust.Key
				check  string
			}{change: func(f fstest.MapFS, b []byte) []byte { delete(f, "signme-2"); return b }, check: "files"}
		}
		for name, m := range mutants {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				fsys, bundle, opts := v.load(t)
				if m.change != nil {
					bundle = m.change(fsys, bundle)
				}
				key := good
				if m.key != nil {
					key = m.key
				}
				wantFailed(t, fsys, bundle, key, opts, m.check)
			})
		}
	}
}

// wantFailed verifies and wants exactly the named check to fail.
func wantFailed(t *testing.T, fsys fs.FS, bundle []byte, key *trust.Key, opts verify.TreeOptions, check string) *verify.TreeResult {
	t.Helper()
	r, err := verify.Tree(context.Background(), fsys, bundle, key, opts)
	if !errors.Is(err, verify.ErrFailed) {
		t.Fatalf("error is %v", err)
	}
	var failed []string
	for _, c := range r.Checks {
		if c.Status == verify.Failed {
			failed = append(failed, c.Name)
		}
	}
	if strings.Join(failed, " ") != check {
		t.Errorf("failed checks are %v, want %s: %+v", failed, check, r.Checks)
	}
	return r
}

// resign edits the payload of a bundle and signs it again with key; with a nil key it keeps the old signature.
func resign(t *testing.T, bundle []byte, key *signer.Key, edit func(payload string) string) []byte {
	t.Helper()
	b, err := attest.Parse(bundle)
	if err != nil {
		t.Fatal(err)
	}
	edited := edit(string(b.Envelope.Payload))
	if edited == string(b.Envelope.Payload) {
		t.Fatal("the mutation changed nothing")
	}
	if key == nil {
		old := base64.StdEncoding.EncodeToString(b.Envelope.Payload)
		return bytes.Replace(bundle, []byte(old), []byte(base64.StdEncoding.EncodeToString([]byte(edited))), 1)
	}
	out, err := key.SignBundle(context.Background(), attest.PayloadType, []byte(edited))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestResignedMutantsFail signs mutants with the vectors' own key, so that each reaches the check that it is
// meant for and not the signature's.
func TestResignedMutantsFail(t *testing.T) {
	key, err := signer.LoadKey(vectorKey(t, "signing-key.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	public := publicVectorKey(t)
	v := keyVectors[2]
	_, bundle, _ := v.load(t)
	replace := func(old, new string) func(string) string {
		return func(p string) string { return strings.Replace(p, old, new, 1) }
	}
	fsys, _, opts := v.load(t)
	if r, err := verify.Tree(context.Background(), fsys, resign(t, bundle, key, func(p string) string { return p + " " }), public, opts); err != nil {
		t.Fatalf("the re-signed original: %v %+v", err, r.Checks)
	}
	for name, tc := range map[string]struct {
		edit   func(string) string
		reason string
	}{
		"root digest":           {replace(`"sha256": "9274`, `"sha256": "9275`), "root digest"},
		"resource digest":       {replace(`"digest": "bc9a`, `"digest": "bc9b`), "root digest"},
		"duplicate name":        {replace("signme-2", "signme-1"), "listed twice"},
		"parent name":           {replace(`"signme-2"`, `"../signme-2"`), "plain relative path"},
		"predicate type":        {replace("signature/v1.0", "signature/v9"), "predicateType"},
		"predicate_type":        {replace(`"predicateType"`, `"predicate_type"`), "predicate_type"},
		"hash_type":             {replace(`"hash_type": "sha256"`, `"hash_type": "md5"`), "hash_type"},
		"hash_type blake3":      {replace(`"hash_type": "sha256"`, `"hash_type": "blake3"`), "algorithm"},
		"absolute name":         {replace(`"signme-2"`, `"/signme-2"`), "absolute"},
		"non-canonical name":    {replace(`"signme-2"`, `"./signme-2"`), "plain relative path"},
		"empty resources":       {emptyResources, "no resources"},
		"shards without size":   {replace(`"files"`, `"shards"`), "shard_size"},
		"predicateType in caps": {replace(`"predicateType"`, `"PredicateType"`), "PredicateType"},
		"hash_type in caps":     {replace(`"hash_type"`, `"Hash_Type"`), "Hash_Type"},
		"duplicate key":         {replace(`"predicateType"`, `"predicateType": "x", "predicateType"`), "predicateType"},
		"duplicate nested key":  {replace(`"hash_type"`, `"hash_type": "sha256", "hash_type"`), "hash_type"},
		"duplicate digest":      {replace(`"sha256": "9274`, `"sha256": "00", "sha256": "9274`), "sha256"},
		"allow_symlinks":        {replace(`"allow_symlinks": false`, `"allow_symlinks": true`), "allow_symlinks"},
		"shard_size with files": {replace(`"hash_type"`, `"shard_size": 8, "hash_type"`), "shard_size"},
		"trailing data":         {func(p string) string { return p + "{}" }, "more data"},
		"statement v0.1":        {replace("Statement/v1", "Statement/v0.1"), "_type"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, bundle, opts := v.load(t)
			r := wantFailed(t, fsys, resign(t, bundle, key, tc.edit), public, opts, "statement")
			// The failed statement stands last but one, before the files.
			if last := r.Checks[len(r.Checks)-2].Detail; !strings.Contains(last, tc.reason) {
				t.Errorf("the reason is %q, want one that names %q", last, tc.reason)
			}
		})
	}
	t.Run("a file that is not ignored any more", func(t *testing.T) {
		fsys, bundle, opts := v.load(t)
		r := wantFailed(t, fsys, resign(t, bundle, key, replace(`"ignore-me"`, `"other"`)), public, opts, "files")
		if fmt.Sprint(r.Diff.Extra) != "[ignore-me]" {
			t.Errorf("extra files are %v", r.Diff.Extra)
		}
	})
	t.Run("renamed file with the same root", func(t *testing.T) {
		fsys, bundle, opts := v.load(t)
		fsys["modeling.py"] = fsys["signme-2"]
		delete(fsys, "signme-2")
		r := wantFailed(t, fsys, bundle, public, opts, "files")
		if fmt.Sprint(r.Diff.Missing, r.Diff.Extra) != "[signme-2] [modeling.py]" {
			t.Errorf("diff is %+v", r.Diff)
		}
	})
}

func emptyResources(payload string) string {
	i := strings.Index(payload, `"resources": [`)
	return payload[:i] + `"resources": []` + payload[i+strings.Index(payload[i:], "]")+1:]
}

// TestSpecificationVectors: the specification's valid key bundle verifies, and what it calls invalid is refused.
func TestSpecificationVectors(t *testing.T) {
	dir := filepath.Join(testenv.Vectors(t), "oms", "spec", "test-vectors")
	key := publicVectorKey(t)
	read := func(parts ...string) []byte {
		data, err := os.ReadFile(filepath.Join(append([]string{dir}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	fsys, _, opts := keyVectors[2].load(t)
	if r, err := verify.Tree(context.Background(), fsys, read("valid", "key.bundle.json"), key, opts); err != nil {
		t.Errorf("valid/key: %v %+v", err, r.Checks)
	}
	n := 0
	for _, folder := range []string{"invalid", "invalid-payload"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			n++
			if _, err := verify.Tree(context.Background(), fsys, read(folder, e.Name()), key, opts); !errors.Is(err, verify.ErrFailed) {
				t.Errorf("%s/%s: error is %v", folder, e.Name(), err)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d invalid vectors, there should be 5", n)
	}
	if _, err := verify.Tree(context.Background(), fsys, read("valid", "certificate.bundle.json"), key, opts); !errors.Is(err, verify.ErrMaterial) {
		t.Errorf("a certificate where a key was asked for: %v", err)
	}
}

// TestOwnBundlesVerify signs with each kind of key and verifies; the vectors' plain PEM key is one of them.
func TestOwnBundlesVerify(t *testing.T) {
	fsys := fstest.MapFS{"config.json": {Data: []byte("{}")}, "sub/weights": {Data: []byte("w")}, "ü x": {}}
	m, err := manifest.Build(context.Background(), fsys, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := attest.NewOMSStatement(m, "model", manifest.GitNames())
	if err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range signer.KeyAlgorithms() {
		t.Run(algorithm, func(t *testing.T) {
			private, public, err := signer.Generate(algorithm, []byte("pw"))
			if err != nil {
				t.Fatal(err)
			}
			key, err := signer.LoadKey(private, func() ([]byte, error) { return []byte("pw"), nil })
			if err != nil {
				t.Fatal(err)
			}
			bundle, err := attest.Sign(context.Background(), statement, key)
			if err != nil {
				t.Fatal(err)
			}
			trusted, err := trust.ParseKey(public)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := verify.Tree(context.Background(), fsys, bundle.JSON(), trusted, verify.TreeOptions{}); err != nil {
				t.Errorf("%v %+v", err, r.Checks)
			}
		})
	}
}

// TestHintIsThePEMText holds the hint to OMS section 4.1 with the hint that the reference wrote for its key.
func TestHintIsThePEMText(t *testing.T) {
	const want = "e8450dec4eb99dae995da9af1bc2cc9f76ed669ee2e744f57abba763df3e3f8e"
	key, err := signer.LoadKey(vectorKey(t, "signing-key.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if key.Hint() != want || publicVectorKey(t).Fingerprint() != want {
		t.Errorf("hint is %s, fingerprint %s, want %s", key.Hint(), publicVectorKey(t).Fingerprint(), want)
	}
	block, _ := pem.Decode(key.PublicKeyPEM())
	if parsed, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Error(err)
	} else if _, ok := parsed.(*ecdsa.PublicKey); !ok {
		t.Errorf("the key is a %T", parsed)
	}
}

func TestTreeThatCannotBeRead(t *testing.T) {
	fsys, bundle, opts := keyVectors[2].load(t)
	r, err := verify.Tree(context.Background(), unreadable{fsys}, bundle, publicVectorKey(t), opts)
	if err == nil || errors.Is(err, verify.ErrFailed) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("not being able to read is no denial: %v %+v", err, r.Checks)
	}
}

type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	if name == "signme-1" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}
