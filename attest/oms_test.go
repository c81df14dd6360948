package attest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	shardStatement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"` + hex64 + `"}}],"predicateType":"https://model_signing/signature/v1.0",` +
		`"predicate":{"serialization":{"method":"shards","hash_type":"sha256","allow_symlinks":true,"shard_size":8.0},"resources":[{"name":"a:0:8","algorithm":"sha256-sharded-8","digest":"` + hex64 + `"}]}}`
	legacyStatement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"` + hex64 + `"},"annotations":{"actual_hash_algorithm":"file-sha256"}}],` +
		`"predicateType":"https://model_signing/Digests/v0.1","predicate":{"unused":"Unused, just passed due to API requirements"}}`
	plainSerialization = `{"method":"files","hash_type":"sha256","allow_symlinks":false}`
	shardSerialization = `{"method":"shards","hash_type":"sha256","allow_symlinks":false,"shard_size":8}`
)

// resource is a resource's JSON; name and algorithm are given as they stand.
func resource(name, algorithm, sum string) string {
	return `{"name":` + name + `,"algorithm":"` + algorithm + `","digest":"` + sum + `"}`
}

// omsStatement makes a statement whose root is that of the digests in resources, so that each case reaches the check that it is
// meant for.
func omsStatement(t *testing.T, serialization string, resources ...string) *Statement {
	t.Helper()
	var list []manifest.Resource
	for _, r := range resources {
		var parsed struct{ Digest string }
		if err := json.Unmarshal([]byte(r), &parsed); err != nil {
			t.Fatal(err)
		}
		list = append(list, manifest.Resource{Digest: digest.NewDigestFromEncoded("x", parsed.Digest)})
	}
	return &Statement{Type: StatementType, Subject: []ResourceDescriptor{{Name: "m", Digest: DigestSet{"sha256": omsRoot(list)}}}, PredicateType: OMSPredicateType,
		Predicate: json.RawMessage(`{"resources":[` + strings.Join(resources, ",") + `],"serialization":` + serialization + `}`)}
}

func sha(name string) string { return resource(name, "sha256", hex64) }

// TestParseOMSAccepts has what oms.md lists as accepted.
func TestParseOMSAccepts(t *testing.T) {
	other := strings.Repeat("1", 64)
	sized := func(size string) string { return strings.Replace(shardSerialization, ":8}", ":"+size+"}", 1) }
	for name, s := range map[string]*Statement{
		"any order of files":     omsStatement(t, plainSerialization, sha(`"b"`), resource(`"a"`, "sha256", other)),
		"python's order":         omsStatement(t, plainSerialization, sha(`"model/x"`), sha(`"model.safetensors"`)),
		"any order of shards":    omsStatement(t, shardSerialization, sha(`"b:0:3"`), sha(`"a:16:17"`), resource(`"a:0:8"`, "sha256", other), sha(`"a:8:16"`)),
		"shard_size 8.0":         omsStatement(t, sized("8.0"), sha(`"a:0:8"`)),
		"shard_size 8.000":       omsStatement(t, sized("8.000"), sha(`"a:0:8"`)),
		"sha256-sharded-8":       omsStatement(t, shardSerialization, resource(`"a:0:8"`, "sha256-sharded-8", hex64)),
		"colons in a path":       omsStatement(t, shardSerialization, sha(`"a:0:8:0:8"`)),
		"blake3":                 omsStatement(t, strings.Replace(plainSerialization, "sha256", "blake3", 1), resource(`"a"`, "blake3", hex64)),
		"blake2b":                omsStatement(t, strings.Replace(plainSerialization, "sha256", "blake2b", 1), resource(`"a"`, "blake2b", hex64+hex64)),
		"blake3 shards":          omsStatement(t, strings.Replace(shardSerialization, "sha256", "blake3", 1), resource(`"a:0:8"`, "blake3-sharded-8", hex64)),
		"allow_symlinks":         omsStatement(t, strings.Replace(plainSerialization, "false", "true", 1), sha(`"a"`)),
		"more fields":            omsStatement(t, plainSerialization, strings.Replace(sha(`"a"`), "{", `{"mediaType":"x",`, 1)),
		"ignore_paths":           omsStatement(t, strings.Replace(plainSerialization, "}", `,"ignore_paths":["a/b","c/"]}`, 1), sha(`"a"`)),
		"bare file":              omsStatement(t, plainSerialization, sha(`"."`)),
		"bare file in shards":    omsStatement(t, shardSerialization, sha(`".:0:8"`), sha(`".:8:9"`)),
		"a file in files, a:0:8": omsStatement(t, plainSerialization, sha(`"a:0:8"`)),
	} {
		o, err := ParseOMS(s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if bare := strings.HasPrefix(name, "bare"); o.SingleFile != bare || bare && fmt.Sprint(o.Files()) != "[m]" {
			t.Errorf("%s: single file %t, files %v", name, o.SingleFile, o.Files())
		}
		_, err = o.DirHash()
		if named := strings.Contains(name, "shard") || strings.Contains(name, "blake") || strings.Contains(name, "symlinks") || name == "colons in a path"; (err != nil) != named {
			t.Errorf("%s: DirHash gives the error %v", name, err)
		}
	}
}

// TestParseOMSRefuses changes one thing at a time in a good statement.
func TestParseOMSRefuses(t *testing.T) {
	wrongRoot := omsStatement(t, plainSerialization, sha(`"a"`))
	wrongRoot.Subject[0].Digest["sha256"] = strings.Repeat("0", 64)
	if _, err := ParseOMS(wrongRoot); !errors.Is(err, ErrOMSRoot) {
		t.Errorf("10 root differs from the resources: %v", err)
	}
	plain := func(old, new string) *Statement {
		return omsStatement(t, strings.Replace(plainSerialization, old, new, 1), sha(`"a"`))
	}
	sized := func(size string) *Statement {
		return omsStatement(t, strings.Replace(shardSerialization, ":8}", ":"+size+"}", 1), sha(`"a:0:8"`))
	}
	two := omsStatement(t, plainSerialization, sha(`"a"`))
	two.Subject = append(two.Subject, two.Subject[0])
	for name, tc := range map[string]struct {
		s      *Statement
		reason string
	}{
		"no resources":               {omsStatement(t, plainSerialization), "no resources"},
		"two subjects":               {two, "subjects"},
		"duplicate names":            {omsStatement(t, plainSerialization, sha(`"a"`), sha(`"a"`)), "listed twice"},
		"parent":                     {omsStatement(t, plainSerialization, sha(`"../a"`)), "plain relative path"},
		"absolute":                   {omsStatement(t, plainSerialization, sha(`"/a"`)), "absolute"},
		"not canonical":              {omsStatement(t, plainSerialization, sha(`"a/./b"`)), "plain relative path"},
		"control character":          {omsStatement(t, plainSerialization, sha(`"a\u001b"`)), "control character"},
		"bare file beside others":    {omsStatement(t, plainSerialization, sha(`"."`), sha(`"a"`)), "empty"},
		"no allow_symlinks":          {plain(`,"allow_symlinks":false`, ""), "allow_symlinks is missing"},
		"unknown method":             {plain("files", "x"), "method"},
		"unknown hash_type":          {plain("sha256", "md5"), "hash_type"},
		"hash_type blake2":           {plain("sha256", "blake2"), "hash_type"},
		"shard_size with files":      {plain("}", `,"shard_size":8}`), "shard_size"},
		"key in capitals":            {plain(`"method"`, `"METHOD"`), "METHOD"},
		"resource key in capitals":   {omsStatement(t, plainSerialization, strings.Replace(sha(`"a"`), `"name"`, `"Name"`, 1)), "Name"},
		"other algorithm":            {omsStatement(t, plainSerialization, resource(`"a"`, "sha512", hex64)), "algorithm"},
		"sharded algorithm in files": {omsStatement(t, plainSerialization, resource(`"a"`, "sha256-sharded-8", hex64)), "algorithm"},
		"algorithm of 0-byte shards": {omsStatement(t, plainSerialization, resource(`"a"`, "sha256-sharded-0", hex64)), "algorithm"},
		"another shard's algorithm":  {omsStatement(t, shardSerialization, resource(`"a:0:8"`, "sha256-sharded-9", hex64)), "algorithm"},
		"another hash's algorithm":   {omsStatement(t, shardSerialization, resource(`"a:0:8"`, "blake3-sharded-8", hex64)), "algorithm"},
		"short digest":               {omsStatement(t, strings.Replace(plainSerialization, "sha256", "blake2b", 1), resource(`"a"`, "blake2b", hex64)), "not a blake2b digest"},
		"capital digest":             {omsStatement(t, plainSerialization, resource(`"a"`, "sha256", strings.Repeat("A", 64))), "not a sha256 digest"},
		"ignore_paths parent":        {plain("}", `,"ignore_paths":["../x"]}`), "ignore_paths"},
		"ignore_paths of a file":     {plain("}", `,"ignore_paths":["b","a/"]}`), `lists "a"`},
		"ignore_paths above a file":  {omsStatement(t, strings.Replace(plainSerialization, "}", `,"ignore_paths":["d"]}`, 1), sha(`"d/e/f"`)), `lists "d/e/f"`},
		"ignore_paths everything":    {plain("}", `,"ignore_paths":["."]}`), "ignore_paths"},
		"shard_size missing":         {omsStatement(t, strings.Replace(shardSerialization, `,"shard_size":8`, "", 1), sha(`"a:0:8"`)), "shard_size"},
		"shard_size 0":               {sized("0"), "shard_size"},
		"shard_size 0.0":             {sized("0.0"), "shard_size"},
		"shard_size negative":        {sized("-8"), "shard_size"},
		"shard_size 8.5":             {sized("8.5"), "shard_size"},
		"shard_size text":            {sized(`"8"`), "shard_size"},
		"shard_size null":            {sized("null"), "shard_size"},
		"shard_size too large":       {sized("9999999999999999999"), "shard_size"},
		"shard without a range":      {omsStatement(t, shardSerialization, sha(`"a"`)), "name of a shard"},
		"shard with leading zeros":   {omsStatement(t, shardSerialization, sha(`"a:00:8"`)), "name of a shard"},
		"shard that ends at 0":       {omsStatement(t, shardSerialization, sha(`"a:0:0"`)), "shard is empty"},
		"shards overlap":             {omsStatement(t, shardSerialization, sha(`"a:0:8"`), sha(`"a:4:12"`)), "overlaps"},
		"shards leave a gap":         {omsStatement(t, shardSerialization, sha(`"a:0:8"`), sha(`"a:16:24"`)), "gap"},
		"first shard missing":        {omsStatement(t, shardSerialization, sha(`"a:8:16"`)), "gap"},
		"long shard":                 {omsStatement(t, shardSerialization, sha(`"a:0:9"`)), "shard_size"},
		"another predicate":          {&Statement{Type: StatementType, PredicateType: "https://model_signing/signature/v2"}, "predicateType"},
	} {
		_, err := ParseOMS(tc.s)
		if !errors.Is(err, ErrOMS) || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: error is %v, want one that names %q", name, err, tc.reason)
		}
	}
}

func TestLegacyStatement(t *testing.T) {
	parse := func(text string) (*OMS, error) {
		s, err := ParseStatement([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return ParseOMS(s)
	}
	o, err := parse(legacyStatement)
	if err != nil || !o.Legacy || fmt.Sprint(o.Files()) != "[a]" {
		t.Fatalf("%+v: %v", o, err)
	}
	subject := legacyStatement[strings.Index(legacyStatement, `{"name"`):strings.Index(legacyStatement, `],"predicateType"`)]
	for name, tc := range map[string]struct{ old, new, reason string }{
		"twice":        {subject, subject + "," + subject, "listed twice"},
		"parent":       {`"name":"a"`, `"name":"../a"`, "plain relative path"},
		"bare file":    {`"name":"a"`, `"name":"."`, "bare file"},
		"no sha256":    {`"sha256"`, `"sha3_256"`, "no sha256"},
		"other digest": {"file-sha256", "file-sha256-sharded-8", "actual_hash_algorithm"},
	} {
		if _, err := parse(strings.Replace(legacyStatement, tc.old, tc.new, 1)); !errors.Is(err, ErrOMS) || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: error is %v, want one that names %q", name, err, tc.reason)
		}
	}
	many := func(n int) []byte {
		subjects := make([]string, n)
		for i := range subjects {
			subjects[i] = strings.Replace(subject, `"a"`, fmt.Sprintf(`"f%d"`, i), 1)
		}
		return []byte(strings.Replace(legacyStatement, subject, strings.Join(subjects, ","), 1))
	}
	if _, err := ParseStatement(many(MaxSubjects + 1)); err != nil {
		t.Errorf("a legacy statement about %d files: %v", MaxSubjects+1, err)
	}
	if _, err := ParseStatement(many(MaxLegacySubjects + 1)); err == nil {
		t.Errorf("a legacy statement about %d files was read", MaxLegacySubjects+1)
	}
}

// TestLegacyPAE has what Python 3.11 prints for f"{payload}".
func TestLegacyPAE(t *testing.T) {
	for payload, want := range map[string]string{
		"":                 `b''`,
		"{\n \"a\": 1}":    `b'{\n "a": 1}'`,
		"it's":             `b"it's"`,
		"it's \"x\"":       `b'it\'s "x"'`,
		"a\\b\t\r\x00\x7f": `b'a\\b\t\r\x00\x7f'`,
		"ü~ ":              `b'\xc3\xbc~ '`,
	} {
		if got, want := string(LegacyPAE("t/x", []byte(payload))), fmt.Sprintf("DSSEV1 3 t/x %d %s", len(payload), want); got != want {
			t.Errorf("%q gives %s, want %s", payload, got, want)
		}
	}
}

// omsSchemas compiles the specification's schemas by name.
func omsSchemas(t *testing.T) func(name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	for _, name := range []string{"bundle", "envelope", "statement", "predicate"} {
		text, err := os.ReadFile(filepath.Join(testenv.Vectors(t), "oms", "spec", "schemas", name+".schema.json"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("https://model_signing/"+name+"/v1.0/schema", doc); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) *jsonschema.Schema {
		s, err := c.Compile("https://model_signing/" + name + "/v1.0/schema")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// omsValidator validates a text with one of the specification's schemas.
func omsValidator(t *testing.T) func(schema string, data []byte) error {
	t.Helper()
	compile := omsSchemas(t)
	return func(schema string, data []byte) error {
		t.Helper()
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return compile(schema).Validate(doc)
	}
}

// TestCertificateBundlesFollowTheSchemas validates a bundle signed with a certificate chain, and those of testdata/keyless.
func TestCertificateBundlesFollowTheSchemas(t *testing.T) {
	validate := omsValidator(t)
	m, err := manifest.Build(context.Background(), fstest.MapFS{"a": {Data: []byte("1")}}, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewOMSStatement(m, "model", nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Sign(context.Background(), s, newCertified(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Material.Chain) != 1 {
		t.Errorf("the bundle has %d certificates, want 1", len(b.Material.Chain))
	}
	bundles := map[string][]byte{"written": b.JSON()}
	for _, name := range []string{"model.sig", "model-ca.sig"} {
		if bundles[name], err = os.ReadFile(filepath.Join(testenv.Root(t), "testdata", "keyless", name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range bundles {
		if err := validate("bundle", data); err != nil {
			t.Errorf("%s: bundle: %v", name, err)
		}
		b, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate("statement", b.Envelope.Payload); err != nil {
			t.Errorf("%s: statement: %v", name, err)
		}
		if b.Material.PublicKey != nil {
			t.Errorf("%s is signed with a key", name)
		}
	}
}

// newCertified is a key with a certificate of an authority that nobody knows.
func newCertified(t *testing.T) *signer.Certified {
	t.Helper()
	newECDSA := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	private, caKey := newECDSA(), newECDSA()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &private.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.LoadKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil)
	if err != nil {
		t.Fatal(err)
	}
	certified, err := signer.WithCertificates(key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return certified
}

// TestWrittenBundlesFollowTheSchemas validates what is written in each serialization, and sees the schemas refuse something.
func TestWrittenBundlesFollowTheSchemas(t *testing.T) {
	validate := omsValidator(t)
	fsys := fstest.MapFS{"config.json": {Data: []byte("{}")}, "sub/weights.bin": {Data: make([]byte, 100)}, "empty": {}, "ü x": {Data: []byte("u")}}
	for _, algorithm := range signer.KeyAlgorithms() {
		key := newSigner(t, algorithm)
		for _, hashType := range manifest.HashTypes() {
			for _, size := range []int64{0, 8, 1e9} {
				for _, links := range []bool{false, true} {
					s := manifest.Serialization{Hash: hashType, ShardSize: size, AllowSymlinks: links}
					m, err := manifest.Build(context.Background(), fsys, manifest.Options{Serialization: s})
					if err != nil {
						t.Fatal(err)
					}
					statement, err := NewOMSStatement(m, "model", append(manifest.GitNames(), "model.sig"))
					if err != nil {
						t.Fatal(err)
					}
					o, err := ParseOMS(statement)
					if err != nil || o.Serialization != s || o.Root != m.OMSRoot() || !manifest.DiffResources(m.Resources(), o.Resources).Equal() {
						t.Errorf("%+v is not read back: %v", s, err)
					}
					b, err := Sign(context.Background(), statement, key)
					if err != nil {
						t.Fatal(err)
					}
					if err := validate("bundle", b.JSON()); err != nil {
						t.Errorf("%s %+v: bundle: %v", algorithm, s, err)
					}
					if err := validate("statement", b.Envelope.Payload); err != nil {
						t.Errorf("%s %+v: statement: %v", algorithm, s, err)
					}
				}
			}
		}
	}
	for schema, text := range map[string]string{"bundle": `{}`, "envelope": `{"payload":"x"}`, "statement": legacyStatement, "predicate": `{"resources":[],"serialization":{}}`} {
		if validate(schema, []byte(text)) == nil {
			t.Errorf("the %s schema accepts %s", schema, text)
		}
	}
}

func newSigner(t *testing.T, algorithm string) *signer.Key {
	t.Helper()
	private, _, err := signer.Generate(algorithm, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestNewOMSStatementRefuses(t *testing.T) {
	fsys := fstest.MapFS{"empty": {}}
	m, err := manifest.Build(context.Background(), fsys, manifest.Options{Serialization: manifest.Serialization{ShardSize: 8}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewOMSStatement(m, "model", nil); !errors.Is(err, ErrOMS) {
		t.Errorf("only empty files, of which there are no shards: %v", err)
	}
	if m, err = manifest.Build(context.Background(), fsys, manifest.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"*.bin", "a?", "a[0]"} {
		if _, err := NewOMSStatement(m, "model", []string{path}); !errors.Is(err, ErrOMS) {
			t.Errorf("ignore path %s: %v", path, err)
		}
	}
	if _, err := NewOMSStatement(m, "model", strings.Fields(numbered(MaxIgnorePaths+1, "x%d "))); !errors.Is(err, ErrOMS) || !strings.Contains(fmt.Sprint(err), "100001 ignore_paths") {
		t.Errorf("more than verifiers read: %v", err)
	}
}

// TestParseOMSOfALongName: a name that no file can have is refused soon, whatever is ignored.
func TestParseOMSOfALongName(t *testing.T) {
	s := omsStatement(t, strings.Replace(plainSerialization, "}", `,"ignore_paths":["1","2","3","4","5","6","7","8","9"]}`, 1), sha(`"`+strings.Repeat("/", 4<<20)+`"`))
	if _, err := ParseOMS(s); !errors.Is(err, ErrOMS) {
		t.Error(err)
	}
}

// TestBundleVariants has the forms of a bundle signed with a key that releases and ports wrote (OMS v1.0 section 11.1).
func TestBundleVariants(t *testing.T) {
	pem := base64.StdEncoding.EncodeToString([]byte("-----BEGIN PUBLIC KEY-----"))
	for name, material := range map[string]string{
		"hint":             `"publicKey":{"hint":"` + hex64 + `"}`,
		"empty log":        `"publicKey":{"hint":"` + hex64 + `"},"tlogEntries":[]`,
		"rawBytes":         `"publicKey":{"rawBytes":"` + pem + `","keyDetails":"PKIX_ECDSA_P384_SHA_384"}`,
		"rawBytes, no key": `"publicKey":{"rawBytes":"` + pem + `"}`,
	} {
		for keyid, sig := range map[string]string{"absent": `{"sig":"AAAA"}`, "null": `{"sig":"AAAA","keyid":null}`, "empty": `{"sig":"AAAA","keyid":""}`, "set": `{"sig":"AAAA","keyid":"x"}`} {
			b, err := Parse([]byte(bundleText(material, statementText(goodSubject, ""), sig)))
			if err != nil {
				t.Errorf("%s, keyid %s: %v", name, keyid, err)
			} else if raw := strings.HasPrefix(name, "rawBytes"); raw != (len(b.Material.PublicKey.PEM) > 0) {
				t.Errorf("%s: material %+v", name, b.Material.PublicKey)
			}
		}
	}
}

// TestPayloadVectors reads the reference's unsigned statements and compares them with what is built from their trees.
func TestPayloadVectors(t *testing.T) {
	dir := filepath.Join(testenv.Vectors(t), "oms", "payloads")
	trees := payloadTrees()
	read := 0
	for name, fsys := range trees {
		for suffix, size := range map[string]int64{"": 0, "_shard": 1e9, "_small_shards": 8} {
			text, err := os.ReadFile(filepath.Join(dir, name+suffix))
			if err != nil {
				t.Fatal(err)
			}
			read++
			statement, err := ParseStatement(text)
			if err != nil {
				t.Fatal(err)
			}
			o, err := ParseOMS(statement)
			opts := manifest.Options{Serialization: manifest.Serialization{ShardSize: size, AllowSymlinks: true}}
			m, buildErr := manifest.Build(context.Background(), fsys, opts)
			if buildErr != nil || len(m.Resources()) == 0 {
				if !errors.Is(err, ErrOMS) {
					t.Errorf("%s%s lists nothing and must be rejected: %v", name, suffix, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s%s: %v", name, suffix, err)
				continue
			}
			compareToVector(t, name+suffix, m, o, statement)
		}
	}
	if read != 21 {
		t.Errorf("%d vectors, there should be 21", read)
	}
}

// compareToVector wants the same names, digests and root in the same order.
func compareToVector(t *testing.T, name string, m *manifest.Manifest, o *OMS, vector *Statement) {
	t.Helper()
	ours, err := NewOMSStatement(m, o.Name, nil)
	if err != nil {
		t.Fatal(err)
	}
	var want, got omsContent
	if err := errors.Join(json.Unmarshal(vector.Predicate, &want), json.Unmarshal(ours.Predicate, &got)); err != nil {
		t.Fatal(err)
	}
	if ours.Subject[0].Digest["sha256"] != vector.Subject[0].Digest["sha256"] || len(want.Resources) != len(got.Resources) {
		t.Fatalf("%s: root and number of resources differ", name)
	}
	for i, w := range want.Resources {
		g := got.Resources[i]
		if o.SingleFile {
			g.Name = strings.Replace(g.Name, o.Name, omsBareFile, 1)
		}
		if g.Name != w.Name || g.Digest != w.Digest {
			t.Errorf("%s: resource %d is %s %s, want %s %s", name, i, g.Name, g.Digest, w.Name, w.Digest)
		}
	}
}

// payloadTrees are the trees that the vectors' README describes.
func payloadTrees() map[string]fstest.MapFS {
	file := func(format string, args ...any) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, format, args...)}
	}
	sample, deep := fstest.MapFS{}, fstest.MapFS{}
	for i := range 4 {
		sample[fmt.Sprintf("f%d", i)] = file("This is file f%d in root.", i)
		deep[fmt.Sprintf("d0/d1/d2/d3/d4/f%d", i)] = file("This is file f%d.", i)
	}
	for d := range 2 {
		for j := range 3 {
			sample[fmt.Sprintf("d%d/f%d%d", d, d, j)] = file("This is file f%d%d in d%d.", d, j, d)
		}
	}
	return map[string]fstest.MapFS{
		"sample_model_folder": sample, "deep_model_folder": deep, "empty_model_folder": {},
		"sample_model_file": {"file_model": file("This is a simple model")}, "empty_model_file": {"empty_file_model": file("")},
		"model_folder_with_empty_file": {"empty_file": file("")},
		"symlink_model_folder":         {"symlink_file": file("This is a simple model")},
	}
}
