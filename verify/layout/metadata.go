package layout

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"time"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// maxSignatures bounds the signatures of one file.
const maxSignatures = 64

// Key is a public key that layouts are verified with.
type Key struct {
	public crypto.PublicKey
	spki   string // DER
}

// ParseKey reads a public key in PEM (PKIX): ECDSA, Ed25519 or RSA. The error wraps ErrKey.
func ParseKey(text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, fmt.Errorf("layout: %w: it is not PEM", ErrKey)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("layout: %w: %w", ErrKey, err)
	}
	return newKey(public)
}

func newKey(public crypto.PublicKey) (Key, error) {
	switch public.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey, *rsa.PublicKey:
	default:
		return Key{}, fmt.Errorf("layout: %w: %T", ErrKey, public)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("layout: %w: %w", ErrKey, err)
	}
	return Key{public, string(der)}, nil
}

// functionary reads a key that a layout lists.
func functionary(k intoto.Key) (Key, error) {
	if k.KeyType == "ed25519" {
		raw, err := hex.DecodeString(k.KeyVal.Public)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return Key{}, fmt.Errorf("layout: %w: key %s: an Ed25519 key has 32 bytes in hexadecimal", ErrKey, k.KeyID)
		}
		return newKey(ed25519.PublicKey(raw))
	}
	key, err := ParseKey([]byte(k.KeyVal.Public))
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", k.KeyID, err)
	}
	_, isRSA := key.public.(*rsa.PublicKey)
	_, isECDSA := key.public.(*ecdsa.PublicKey)
	if isRSA != (k.KeyType == "rsa") || isECDSA != (k.KeyType == "ecdsa") {
		return Key{}, fmt.Errorf("layout: %w: key %s is not of the type %q that it names", ErrKey, k.KeyID, k.KeyType)
	}
	return key, nil
}

// Fingerprint is the lower-case hexadecimal SHA-256 of the key's SubjectPublicKeyInfo.
func (k Key) Fingerprint() string {
	sum := sha256.Sum256([]byte(k.spki))
	return hex.EncodeToString(sum[:])
}

// verify checks a signature: ECDSA with the SHA-2 of the curve's size, pure Ed25519, RSA-PSS with SHA-256.
func (k Key) verify(message, sig []byte) bool {
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, hashed(message, public.Params().BitSize), sig)
	case ed25519.PublicKey:
		return ed25519.Verify(public, message, sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256(message)
		return rsa.VerifyPSS(public, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
	}
	return false
}

func hashed(message []byte, bits int) []byte {
	switch {
	case bits <= 256:
		sum := sha256.Sum256(message)
		return sum[:]
	case bits <= 384:
		sum := sha512.Sum384(message)
		return sum[:]
	}
	sum := sha512.Sum512(message)
	return sum[:]
}

// document is a link or a layout with its signatures, parsed and not verified. It implements intoto.Metadata over what was read, so that
// in-toto-golang judges what this package has parsed.
type document struct {
	payload any    // intoto.Link or intoto.Layout
	signed  []byte // what the signatures are over
	sigs    []signature
}

type signature struct {
	keyID string
	sig   []byte
}

// errReadOnly is what documents answer that are asked to be written.
var errReadOnly = errors.New("layout: metadata that was read is not changed")

// Sign implements intoto.Metadata.
func (d *document) Sign(intoto.Key) error { return errReadOnly }

// Dump implements intoto.Metadata.
func (d *document) Dump(string) error { return errReadOnly }

// GetPayload implements intoto.Metadata.
func (d *document) GetPayload() any { return d.payload }

// Sigs implements intoto.Metadata.
func (d *document) Sigs() []intoto.Signature {
	sigs := make([]intoto.Signature, len(d.sigs))
	for i, s := range d.sigs {
		sigs[i] = intoto.Signature{KeyID: s.keyID, Sig: hex.EncodeToString(s.sig)}
	}
	return sigs
}

// GetSignatureForKeyID implements intoto.Metadata.
func (d *document) GetSignatureForKeyID(id string) (intoto.Signature, error) {
	for _, s := range d.Sigs() {
		if s.KeyID == id {
			return s, nil
		}
	}
	return intoto.Signature{}, fmt.Errorf("no signature by the key %s", id)
}

// VerifySignature implements intoto.Metadata: one of the signatures that name the key must be by it.
func (d *document) VerifySignature(k intoto.Key) error {
	key, err := functionary(k)
	if err != nil {
		return err
	}
	for _, s := range d.sigs {
		if s.keyID == k.KeyID && key.verify(d.signed, s.sig) {
			return nil
		}
	}
	return fmt.Errorf("no valid signature by the key %s", k.KeyID)
}

// signedByAll reports whose signature is missing. Which key id a signature names does not count: implementations reckon it differently.
func (d *document) signedByAll(keys []Key) error {
	if len(keys) == 0 {
		return errors.New("there is no key to verify it with")
	}
	for _, key := range keys {
		valid := false
		for _, s := range d.sigs {
			valid = valid || key.verify(d.signed, s.sig)
		}
		if !valid {
			return fmt.Errorf("none of its %d signatures is by the key %s", len(d.sigs), key.Fingerprint())
		}
	}
	return nil
}

// parse reads a Metablock (signed, signatures) or a DSSE envelope. The error wraps ErrMetadata.
func parse(data []byte, limit int) (*document, error) {
	d, err := parseDocument(data, limit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	return d, nil
}

func parseDocument(data []byte, limit int) (*document, error) {
	if err := strictjson.Check(data, strictjson.Limits{MaxBytes: limit, Names: true}); err != nil {
		return nil, err
	}
	var form map[string]json.RawMessage
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, err
	}
	if _, ok := form["payloadType"]; ok {
		return parseEnvelope(data, limit)
	}
	return parseMetablock(data)
}

// decode reads an object whose keys are all known, spelled as they are.
func decode(data []byte, v any, keys ...string) error {
	if err := strictjson.CheckKeys(data, keys...); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// parseMetablock reads the form of in-toto specification 4.2, whose signatures are over the canonical JSON of what is signed.
func parseMetablock(data []byte) (*document, error) {
	var block struct {
		Signed     json.RawMessage    `json:"signed"`
		Signatures []intoto.Signature `json:"signatures"`
	}
	if err := decode(data, &block, "signed", "signatures"); err != nil {
		return nil, err
	}
	if len(block.Signed) == 0 || len(block.Signatures) > maxSignatures {
		return nil, fmt.Errorf("it has nothing signed, or more than %d signatures", maxSignatures)
	}
	d := &document{}
	var err error
	if d.signed, err = cjson.EncodeCanonical(block.Signed); err != nil {
		return nil, err
	}
	for _, s := range block.Signatures {
		sig, err := hex.DecodeString(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("a signature is not in hexadecimal: %w", err)
		}
		d.sigs = append(d.sigs, signature{s.KeyID, sig})
	}
	d.payload, err = parsePayload(block.Signed)
	return d, err
}

// parseEnvelope reads the form of in-toto ITE-5, whose signatures are over the payload's bytes.
func parseEnvelope(data []byte, limit int) (*document, error) {
	var envelope dsse.Envelope
	if err := decode(data, &envelope, "payloadType", "payload", "signatures"); err != nil {
		return nil, err
	}
	if envelope.PayloadType != attest.PayloadType {
		return nil, fmt.Errorf("payloadType is %q, want %q", envelope.PayloadType, attest.PayloadType)
	}
	if len(envelope.Signatures) > maxSignatures {
		return nil, fmt.Errorf("more than %d signatures", maxSignatures)
	}
	payload, err := decodeBase64(envelope.Payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if err := strictjson.Check(payload, strictjson.Limits{MaxBytes: limit, Names: true}); err != nil {
		return nil, err
	}
	d := &document{signed: dsse.PAE(envelope.PayloadType, payload)}
	for _, s := range envelope.Signatures {
		sig, err := decodeBase64(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("signature: %w", err)
		}
		d.sigs = append(d.sigs, signature{s.KeyID, sig})
	}
	d.payload, err = parsePayload(payload)
	return d, err
}

// decodeBase64 takes both alphabets, as DSSE v1.0 demands of verifiers.
func decodeBase64(text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		data, err = base64.URLEncoding.Strict().DecodeString(text)
	}
	return data, err
}

func parsePayload(data []byte) (any, error) {
	var kind struct {
		Type string `json:"_type"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, err
	}
	switch kind.Type {
	case "link":
		return parseLink(data)
	case "layout":
		return parseLayout(data)
	}
	return nil, fmt.Errorf("_type is %q, want link or layout", kind.Type)
}

func parseLink(data []byte) (l intoto.Link, err error) {
	if err := decode(data, &l, "_type", "name", "materials", "products", "byproducts", "command", "environment"); err != nil {
		return l, err
	}
	if l.Materials == nil || l.Products == nil {
		return l, errors.New("materials or products are missing")
	}
	if err := intoto.ValidateMetablock(intoto.Metablock{Signed: l}); err != nil {
		return l, err
	}
	if l.Materials, err = clean(l.Materials); err == nil {
		l.Products, err = clean(l.Products)
	}
	return l, err
}

// clean writes paths without detours, by which in-toto's rules compare them. Two that mean the same are refused.
func clean(artifacts map[string]intoto.HashObj) (map[string]intoto.HashObj, error) {
	out := make(map[string]intoto.HashObj, len(artifacts))
	for name, hashes := range artifacts {
		short := path.Clean(name)
		if _, twice := out[short]; twice {
			return nil, fmt.Errorf("two artifacts are both %q", short)
		}
		if len(hashes) == 0 {
			return nil, fmt.Errorf("the artifact %q has no digest", name)
		}
		out[short] = hashes
	}
	return out, nil
}

func parseLayout(data []byte) (l intoto.Layout, err error) {
	if err := strictjson.Check(data, strictjson.Limits{}); err != nil { // no key of a layout is the name of a file
		return l, err
	}
	if err := decode(data, &l, "_type", "steps", "inspect", "keys", "rootcas", "intermediatecas", "expires", "readme"); err != nil {
		return l, err
	}
	if err := checkShape(l); err != nil { // which the library would panic over
		return l, err
	}
	return l, intoto.ValidateMetablock(intoto.Metablock{Signed: l})
}

// checkShape holds a layout to what makes sense of it.
func checkShape(l intoto.Layout) error {
	if len(l.Steps) == 0 || len(l.Steps) > MaxSteps {
		return fmt.Errorf("%d steps, want 1 to %d", len(l.Steps), MaxSteps)
	}
	if len(l.RootCas)+len(l.IntermediateCas) > 0 {
		return errors.New("certificate authorities of functionaries are not understood here: list their keys")
	}
	if _, err := time.Parse(intoto.ISO8601DateSchema, l.Expires); err != nil {
		return fmt.Errorf("expires: %w", err)
	}
	rules := 0
	names := map[string]bool{}
	for _, s := range l.Steps {
		if names[s.Name] {
			return fmt.Errorf("two steps are called %q", s.Name)
		}
		names[s.Name] = true
		if err := checkStep(s); err != nil {
			return fmt.Errorf("step %q: %w", s.Name, err)
		}
		for _, rule := range append(append([][]string{}, s.ExpectedMaterials...), s.ExpectedProducts...) {
			if rules++; len(rule) == 0 || rules > MaxRules {
				return fmt.Errorf("step %q: an empty rule, or more than %d", s.Name, MaxRules)
			}
		}
	}
	return checkFunctionaries(l)
}

func checkStep(s intoto.Step) error {
	switch {
	case s.Threshold < 1:
		return fmt.Errorf("a threshold of %d, which nobody has to meet", s.Threshold)
	case len(s.CertificateConstraints) > 0:
		return errors.New("certificates as functionaries are not understood here: list their keys")
	case len(s.PubKeys) > MaxSigners:
		return fmt.Errorf("%d keys, at most %d", len(s.PubKeys), MaxSigners)
	}
	for _, id := range s.PubKeys {
		if _, err := link.FileName(s.Name, id); err != nil {
			return err
		}
	}
	return nil
}

// checkFunctionaries refuses a key under two ids, with which one person would count as two.
func checkFunctionaries(l intoto.Layout) error {
	owners := map[string]string{}
	for id, k := range l.Keys {
		key, err := functionary(k)
		if err != nil {
			return err
		}
		if other, twice := owners[key.spki]; twice {
			return fmt.Errorf("the keys %s and %s are the same", id, other)
		}
		owners[key.spki] = id
	}
	return nil
}
