package attest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	attestation "github.com/in-toto/attestation/go/v1"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// bundleSeeds are bundles of every kind: of our own tests and, where they are at hand, of others.
func bundleSeeds(f *testing.F) [][]byte {
	f.Helper()
	seeds := testenv.Seeds(f, "oms/*/model.sig", "oms/spec/test-vectors/*/*.json", "sigstore/bundle-verify/*/bundle.sigstore.json")
	for _, name := range []string{"model.sig", "model-ca.sig", "statement.sigstore.json"} {
		data, err := os.ReadFile(filepath.Join(testenv.Root(f), "testdata", "keyless", name))
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, data)
	}
	return append(seeds,
		[]byte(bundleText(goodKey, statementText(goodSubject, ""), goodSig)),
		[]byte(bundleText(`"x509CertificateChain":{"certificates":[{"rawBytes":"AAAA"}]},"tlogEntries":[]`, "{}", goodSig)),
		[]byte(`{"mediaType":"`+BundleMediaType+`","verificationMaterial":{`+goodKey+`},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAA"},"signature":"AAAA"}}`),
		[]byte(bundleText(goodKey+`,"tlogEntries":[`+otherKind("canonicalizedBody")+`]`, "{}", goodSig)),
		[]byte(bundleText(goodKey+`,"tlogEntries":[`+otherKind("canonicalized_body")+`]`, "{}", goodSig)),
		[]byte(`{}`))
}

// FuzzParse holds what parses as a bundle to its limits, to the form of its own that it can be written in, and to what
// Sigstore's own parser reads in it.
func FuzzParse(f *testing.F) {
	for _, seed := range bundleSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrBundle) {
				t.Errorf("the error is none of a bundle: %v", err)
			}
			return
		}
		if !bytes.Equal(b.JSON(), data) {
			t.Error("a parsed bundle does not give its bytes back")
		}
		checkBundle(t, b)
		text := writeAgain(t, b)
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("what was parsed and written again does not parse: %v", err)
		}
		if second := writeAgain(t, again); !bytes.Equal(second, text) {
			t.Errorf("what was parsed and written again reads\n%s, not\n%s", second, text)
		}
		compareWithSigstore(t, b, data)
	})
}

func checkBundle(t *testing.T, b *Bundle) {
	t.Helper()
	if (b.Message == nil) != (len(b.Envelope.Signatures) == 1) || (b.Message == nil) != (len(b.Envelope.Payload) > 0) {
		t.Errorf("it holds not one signature over one thing: %+v", b)
	}
	m := b.Material
	if len(m.TlogEntries) > MaxTlogEntries || len(m.Chain) > MaxChain || len(m.Timestamps) > MaxTimestamps || len(b.raw) > MaxBundleBytes {
		t.Error("a limit was passed")
	}
	if kinds := []bool{m.PublicKey != nil, len(m.Certificate) > 0, len(m.Chain) > 0}; len(slices.DeleteFunc(kinds, func(is bool) bool { return !is })) != 1 {
		t.Errorf("it is verified in more ways than one, or in none: %+v", m)
	}
}

// writeAgain writes what was read of a bundle, in the one spelling that there is.
func writeAgain(t *testing.T, b *Bundle) []byte {
	t.Helper()
	type object map[string]any
	material := object{}
	switch m := b.Material; {
	case m.PublicKey != nil:
		material["publicKey"] = object{"hint": m.PublicKey.Hint, "rawBytes": base64.StdEncoding.EncodeToString(m.PublicKey.PEM)}
	case m.Certificate != nil:
		material["certificate"] = object{"rawBytes": m.Certificate}
	default:
		var chain []object
		for _, c := range m.Chain {
			chain = append(chain, object{"rawBytes": c})
		}
		material["x509CertificateChain"] = object{"certificates": chain}
	}
	if entries := b.Material.TlogEntries; entries != nil {
		material["tlogEntries"] = entries
	}
	var stamps []object
	for _, stamp := range b.Material.Timestamps {
		stamps = append(stamps, object{"signedTimestamp": stamp})
	}
	material["timestampVerificationData"] = object{"rfc3161Timestamps": stamps}
	bundle := object{"mediaType": b.MediaType, "verificationMaterial": material}
	if b.Message != nil {
		bundle["messageSignature"] = object{"signature": b.Message.Sig, "messageDigest": object{"algorithm": b.Message.Algorithm, "digest": b.Message.Digest}}
	} else {
		s := b.Envelope.Signatures[0]
		bundle["dsseEnvelope"] = object{"payload": b.Envelope.Payload, "payloadType": b.Envelope.PayloadType, "signatures": []object{{"sig": s.Sig, "keyid": s.KeyID}}}
	}
	data, err := json.Marshal(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compareWithSigstore has sigstore-go's parser read the same bytes: it may refuse them, but not read something else.
func compareWithSigstore(t *testing.T, b *Bundle, data []byte) {
	t.Helper()
	var peer protobundle.Bundle
	if protojson.Unmarshal(data, &peer) != nil {
		return
	}
	if e := peer.GetDsseEnvelope(); b.Message == nil && (len(e.GetSignatures()) != 1 || !bytes.Equal(e.GetPayload(), b.Envelope.Payload) ||
		e.GetPayloadType() != b.Envelope.PayloadType || !bytes.Equal(e.GetSignatures()[0].GetSig(), b.Envelope.Signatures[0].Sig)) {
		t.Errorf("Sigstore's parser reads the envelope %v", e)
	}
	if m := peer.GetMessageSignature(); b.Message != nil && (!bytes.Equal(m.GetSignature(), b.Message.Sig) || !bytes.Equal(m.GetMessageDigest().GetDigest(), b.Message.Digest)) {
		t.Errorf("Sigstore's parser reads the message %v", m)
	}
	material := peer.GetVerificationMaterial()
	leaf := material.GetCertificate().GetRawBytes()
	if chain := material.GetX509CertificateChain().GetCertificates(); len(chain) > 0 {
		leaf = chain[0].GetRawBytes()
	}
	if !bytes.Equal(leaf, b.Material.Leaf()) || len(material.GetTlogEntries()) != len(b.Material.TlogEntries) {
		t.Errorf("Sigstore's parser reads the leaf %x and %d log entries", leaf, len(material.GetTlogEntries()))
	}
	for i, entry := range material.GetTlogEntries() {
		var body struct{ Kind, APIVersion string }
		if len(entry.GetCanonicalizedBody()) == 0 || entry.GetKindVersion() == nil || json.Unmarshal(entry.GetCanonicalizedBody(), &body) != nil {
			continue
		}
		if k := entry.GetKindVersion(); k.GetKind() != body.Kind || k.GetVersion() != body.APIVersion {
			t.Errorf("Sigstore's parser reads entry %d as a %v, and its body is a %v", i, k, body)
		}
	}
}

// FuzzParseStatement holds what parses as a statement to having no keys that others could read otherwise, and to reading the same
// when it is written again, and to what in-toto's own parser reads in it.
func FuzzParseStatement(f *testing.F) {
	for _, seed := range bundleSeeds(f) {
		if b, err := Parse(seed); err == nil && b.Message == nil {
			f.Add(b.Envelope.Payload)
		}
	}
	for _, seed := range []string{statementText(goodSubject, ""), shardStatement, legacyStatement,
		statementText(goodSubject, `,"x":{"y":[1,2.5e3,"\ud83d\ude00"]}`),
		statementText(`{"uri":"u","digest":{"gitCommit":"ab","x":"Y"},"content":"AAAA","downloadLocation":"d","mediaType":"m","annotations":{"a":[1e400,null]}}`, "")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseStatement(data)
		if err != nil {
			if !errors.Is(err, ErrStatement) {
				t.Errorf("the error is none of a statement: %v", err)
			}
			return
		}
		checkStatement(t, s, data)
		text, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseStatement(text)
		if err != nil {
			t.Fatalf("what was parsed and written again does not parse: %v", err)
		}
		if compact(t, again.Predicate) != compact(t, s.Predicate) {
			t.Errorf("the predicate reads\n%s, not\n%s", again.Predicate, s.Predicate)
		}
		s.Predicate, again.Predicate = nil, nil
		if !reflect.DeepEqual(normal(t, s), normal(t, again)) {
			t.Errorf("what was parsed and written again reads\n%+v, not\n%+v", again, s)
		}
		compareWithInToto(t, s, data)
	})
}

// normal writes a statement and reads it without the parser, so that an empty list and none are alike.
func normal(t *testing.T, s *Statement) (v any) {
	t.Helper()
	text, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func compact(t *testing.T, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkStatement reads the text's keys without the parser's help.
func checkStatement(t *testing.T, s *Statement, data []byte) {
	t.Helper()
	if len(s.Subject) == 0 || len(s.Subject) > maxSubjects(s.PredicateType) || s.Type != StatementType || s.PredicateType == "" {
		t.Errorf("a limit was passed, or a field is not there: %.200s", data)
	}
	var object struct{ Subject []map[string]json.RawMessage }
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	checkExact(t, data, []string{"_type", "subject", "predicateType", "predicate"})
	for i, subject := range s.Subject {
		if err := CheckDigestSet(subject.Digest); err != nil || len(subject.Digest) == 0 {
			t.Errorf("subject %d: %v", i, err)
		}
		text, err := json.Marshal(object.Subject[i])
		if err != nil {
			t.Fatal(err)
		}
		checkExact(t, text, []string{"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"})
	}
}

// checkExact refuses keys of an object that are known ones to encoding/json alone.
func checkExact(t *testing.T, text []byte, known []string) {
	t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	for key := range object {
		for _, k := range known {
			if key != k && bytes.EqualFold([]byte(key), []byte(k)) {
				t.Errorf("%q was read as %q, or beside it", key, k)
			}
		}
	}
}

// compareWithInToto has in-toto's own parser read the same bytes: it may refuse them, but not read something else.
func compareWithInToto(t *testing.T, s *Statement, data []byte) {
	t.Helper()
	var peer attestation.Statement
	if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, &peer) != nil {
		return
	}
	if peer.GetType() != s.Type || peer.GetPredicateType() != s.PredicateType || len(peer.GetSubject()) != len(s.Subject) {
		t.Fatalf("in-toto's parser reads %v", &peer)
	}
	for i, subject := range peer.GetSubject() {
		if subject.GetName() != s.Subject[i].Name || subject.GetUri() != s.Subject[i].URI || !reflect.DeepEqual(subject.GetDigest(), map[string]string(s.Subject[i].Digest)) {
			t.Errorf("in-toto's parser reads subject %d as %v, not %+v", i, subject, s.Subject[i])
		}
	}
}

// FuzzParseOMS fuzzes the predicate. The subject always has the root that the listed digests give, which no fuzzer would find.
func FuzzParseOMS(f *testing.F) {
	for _, seed := range bundleSeeds(f) {
		if b, err := Parse(seed); err == nil && b.Message == nil {
			if s, err := ParseStatement(b.Envelope.Payload); err == nil {
				f.Add([]byte(s.Predicate), "m")
			}
		}
	}
	other := resource(`"b:0:3"`, "sha256-sharded-8", hex64)
	for _, seed := range []string{
		`{"resources":[` + sha(`"b"`) + `,` + sha(`"a/c"`) + `],"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false,"ignore_paths":["x/","y"]}}`,
		`{"resources":[` + other + `,` + sha(`"a:8:16"`) + `,` + sha(`"a:0:8"`) + `],"serialization":{"method":"shards","hash_type":"sha256","allow_symlinks":true,"shard_size":8.0}}`,
		`{"resources":[` + resource(`"a"`, "blake2b", hex64+hex64) + `],"serialization":{"method":"files","hash_type":"blake2b","allow_symlinks":false}}`,
		`{"resources":[` + sha(`"."`) + `],"serialization":` + plainSerialization + `}`,
		`{"resources":[` + sha(`".:0:8"`) + `],"serialization":` + shardSerialization + `}`,
	} {
		f.Add([]byte(seed), "m")
	}
	f.Fuzz(func(t *testing.T, predicate []byte, name string) {
		s := withRoot(predicate, name)
		o, err := ParseOMS(s)
		if err != nil {
			if !errors.Is(err, ErrOMS) || errors.Is(err, ErrOMSRoot) {
				t.Errorf("the error is none of an OMS statement: %v", err)
			}
			return
		}
		checkOMS(t, o, s)
		again, err := ParseOMS(writeOMSAgain(t, o))
		if err != nil {
			t.Fatalf("what was parsed and written again does not parse: %v", err)
		}
		again.Root = o.Root // of the same resources in another order
		if len(o.IgnorePaths) == 0 {
			again.IgnorePaths, o.IgnorePaths = nil, nil
		}
		if !reflect.DeepEqual(o, again) {
			t.Errorf("what was parsed and written again reads\n%+v, not\n%+v", again, o)
		}
	})
}

// withRoot makes a statement of a predicate, reading the digests that it lists as they come.
func withRoot(predicate []byte, name string) *Statement {
	var listed struct{ Resources []struct{ Digest string } }
	_ = json.Unmarshal(predicate, &listed)
	var all []byte
	for _, r := range listed.Resources {
		raw, _ := hex.DecodeString(r.Digest)
		all = append(all, raw...)
	}
	return &Statement{Type: StatementType, Subject: []ResourceDescriptor{{Name: name, Digest: DigestSet{"sha256": ID(all)[len("sha256:"):]}}},
		PredicateType: OMSPredicateType, Predicate: predicate}
}

func checkOMS(t *testing.T, o *OMS, s *Statement) {
	t.Helper()
	if o.Root != s.Subject[0].Digest["sha256"] || len(o.Resources) == 0 {
		t.Errorf("the root is %s, the statement says %v", o.Root, s.Subject[0].Digest)
	}
	seen := map[string]bool{}
	for i, r := range o.Resources {
		if err := manifest.CheckName(r.Path); err != nil {
			t.Errorf("%q is a file of the tree: %v", r.Path, err)
		}
		if name := r.Name(); seen[name] || i > 0 && o.Resources[i-1].Path > r.Path {
			t.Errorf("%q is listed twice, or not in order", name)
		} else {
			seen[name] = true
		}
		if err := r.Digest.Validate(); r.Digest.Algorithm() == "sha256" && err != nil {
			t.Error(err)
		}
	}
	if _, err := o.DirHash(); err != nil && !errors.Is(err, ErrOMS) {
		t.Error(err)
	}
}

// omsContent is the predicate of OMS v1.0 section 5.2, as encoding/json sees it.
type omsContent struct {
	Resources     []omsResource    `json:"resources"`
	Serialization omsSerialization `json:"serialization"`
}

// writeOMSAgain writes what was read of a statement as mlseal itself would.
func writeOMSAgain(t *testing.T, o *OMS) *Statement {
	t.Helper()
	p := omsContent{Serialization: newOMSSerialization(o.Serialization, o.IgnorePaths)}
	for _, r := range o.Resources {
		if o.SingleFile {
			r.Path = omsBareFile
		}
		p.Resources = append(p.Resources, omsResource{r.Name(), p.Serialization.HashType, r.Digest.Encoded()})
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return withRoot(text, o.Name)
}
