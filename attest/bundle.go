package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mlseal/mlseal/internal/dsse"
	"github.com/mlseal/mlseal/internal/gcroom"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bundle is a Sigstore bundle v0.1 to v0.3, parsed and not verified. It holds a DSSE envelope or, where Message is
// not nil, the bare signature over an artifact. The bundle of a large tree is itself large, so that nothing in it is
// kept twice: a bundle and what was read from it are not to be modified.
type Bundle struct {
	MediaType string
	Envelope  Envelope
	Message   *MessageSignature
	Material  Material
	raw       []byte
}

// Envelope is a DSSE envelope (DSSE v1.0) with its payload decoded.
type Envelope struct {
	PayloadType string
	Payload     []byte
	Signatures  []Signature
}

// Signature is one signature of an envelope. Its KeyID is a hint that nothing authenticates.
type Signature struct {
	KeyID string
	Sig   []byte
}

// Material says with what the envelope can be verified. Exactly one of PublicKey, Certificate and
// Chain is set.
type Material struct {
	PublicKey   *PublicKeyHint
	Certificate []byte            // DER, from a Sigstore certificate authority
	Chain       [][]byte          // DER, leaf first
	TlogEntries []json.RawMessage // protobuf-specs TransparencyLogEntry as JSON
	Timestamps  [][]byte          // RFC 3161 tokens, DER
}

// Leaf is the certificate of whoever signed, in DER; nil when a key did.
func (m *Material) Leaf() []byte {
	if len(m.Chain) > 0 {
		return m.Chain[0]
	}
	return m.Certificate
}

// PublicKeyHint names the key of a bundle signed with a key; it proves nothing.
type PublicKeyHint struct {
	Hint string
	PEM  []byte // the key itself, as model-signing 0.3 to 1.0 wrote it
}

// PAE reads the pre-authentication encoding of an envelope's payload, which is what is signed (DSSE v1.0, "Signature Definition").
func PAE(payloadType string, payload []byte) io.Reader {
	return io.MultiReader(strings.NewReader(dsse.Header(payloadType, len(payload))), bytes.NewReader(payload))
}

// base64Bytes takes canonical standard base64 only: one text for one value.
type base64Bytes []byte

func (b *base64Bytes) UnmarshalJSON(data []byte) (err error) {
	if string(data) == "null" {
		return nil
	}
	*b, err = decodeBase64(data)
	return err
}

// decodeBase64 reads the JSON string that text is.
func decodeBase64(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '\\') >= 0 {
		s, err := strictjson.String(text)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(s, "\r\n") {
			return nil, errors.New("base64 with line breaks")
		}
		return base64.StdEncoding.Strict().DecodeString(s)
	}
	if len(text) < 2 || text[0] != '"' {
		return nil, errors.New("base64 is not in a string")
	}
	text = text[1 : len(text)-1]
	gcroom.Make(len(text))
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(decoded, text)
	return decoded[:n:n], err
}

type wireMaterial struct {
	PublicKey                 *wireKey         `json:"publicKey"`
	Certificate               *wireCertificate `json:"certificate"`
	X509CertificateChain      *wireChain       `json:"x509CertificateChain"`
	TlogEntries               wireEntries      `json:"tlogEntries"`
	TimestampVerificationData *wireTimestamps  `json:"timestampVerificationData"`
}

type wireKey struct {
	Hint       string      `json:"hint"`
	RawBytes   base64Bytes `json:"rawBytes"`   // model-signing 0.3 to 1.0
	KeyDetails string      `json:"keyDetails"` // model-signing 0.3 to 1.0
}

type wireCertificate struct {
	RawBytes base64Bytes `json:"rawBytes"`
}

type wireChain struct {
	Certificates wireCertificates `json:"certificates"`
}

type wireTimestamps struct {
	RFC3161Timestamps wireStamps `json:"rfc3161Timestamps"`
}

type wireStamp struct {
	SignedTimestamp base64Bytes `json:"signedTimestamp"`
}

// Lists in a bundle are counted before they are read.
type (
	wireEntries      []json.RawMessage
	wireCertificates []wireCertificate
	wireStamps       []wireStamp
	wireSignatures   []wireSignature
)

func (w *wireEntries) UnmarshalJSON(data []byte) error {
	return decodeList(data, (*[]json.RawMessage)(w), MaxTlogEntries, "tlogEntries")
}

func (w *wireCertificates) UnmarshalJSON(data []byte) error {
	return decodeList(data, (*[]wireCertificate)(w), MaxChain, "certificates in a chain")
}

func (w *wireStamps) UnmarshalJSON(data []byte) error {
	return decodeList(data, (*[]wireStamp)(w), MaxTimestamps, "timestamps")
}

func (w *wireSignatures) UnmarshalJSON(data []byte) error {
	return decodeList(data, (*[]wireSignature)(w), maxSignatures, "signatures")
}

// maxSignatures is how many signatures of an envelope are read, to say how many there are: one is taken.
const maxSignatures = 16

// decodeList reads an array of at most most elements, which take more room than their text does.
func decodeList[T any](data []byte, list *[]T, most int, what string) error {
	if err := checkLength(data, most, what); err != nil {
		return err
	}
	return decode(data, list)
}

// checkLength refuses a longer array. Where data is no array, whoever decodes it says so.
func checkLength(data []byte, most int, what string) error {
	if !bytes.HasPrefix(data, []byte("[")) {
		return nil
	}
	n := 0
	return strictjson.Array(data, func([]byte) error {
		if n++; n > most {
			return fmt.Errorf("%w: more than %d %s", strictjson.ErrLimit, most, what)
		}
		return nil
	})
}

type wireSignature struct {
	Sig   base64Bytes `json:"sig"`
	KeyID *string     `json:"keyid"` // absent, null, empty and set all occur
}

// Parse reads a bundle and verifies nothing. It keeps data. The error wraps ErrBundle and, where the text
// itself is at fault, strictjson's ErrSyntax, ErrAmbiguous or ErrLimit.
func Parse(data []byte) (*Bundle, error) {
	b, err := parseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrBundle, err)
	}
	return b, nil
}

func parseBundle(data []byte) (*Bundle, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("%w: it is empty", strictjson.ErrSyntax)
	}
	if err := strictjson.Check(data, strictjson.Limits{MaxBytes: MaxBundleBytes, MaxDepth: MaxBundleDepth}); err != nil {
		return nil, err
	}
	b := &Bundle{raw: data[:len(data):len(data)]}
	var err error
	if b.MediaType, err = mediaTypeOf(data); err != nil {
		return nil, err
	}
	if err := checkBundleKeys(data); err != nil {
		return nil, err
	}
	var material, envelope, message []byte
	err = strictjson.Object(data, func(key string, value []byte) error {
		switch key {
		case "mediaType":
		case "verificationMaterial":
			material = value
		case "dsseEnvelope":
			envelope = value
		case "messageSignature":
			message = value
		default:
			return unknownKey(key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := b.parseContent(envelope, message); err != nil {
		return nil, err
	}
	if material == nil {
		return nil, fmt.Errorf("it has no verificationMaterial")
	}
	if b.Material, err = parseMaterial(material); err != nil {
		return nil, fmt.Errorf("verificationMaterial: %w", err)
	}
	return b, nil
}

// IsBundle reports whether data is JSON that calls itself a bundle of a version that Parse reads. The rest of it may be broken.
func IsBundle(data []byte) bool {
	if strictjson.Check(data, strictjson.Limits{MaxBytes: MaxBundleBytes, MaxDepth: MaxBundleDepth}) != nil {
		return false
	}
	_, err := mediaTypeOf(data)
	return err == nil
}

// mediaTypeOf is the media type of a bundle, which carries its version (Sigstore bundle specification). Looked at first, it tells a file that
// is something else from a bundle that is broken.
func mediaTypeOf(data []byte) (mediaType string, err error) {
	err = strictjson.Object(data, func(key string, value []byte) (err error) {
		if key == "mediaType" {
			mediaType, err = strictjson.String(value)
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case mediaType == "":
		return "", errors.New("it has no mediaType, which every bundle has")
	case !bundleMediaTypes[mediaType]:
		return "", fmt.Errorf("media type %.100q is not that of a bundle v0.1 to v0.3", mediaType)
	}
	return mediaType, nil
}

// parseContent reads what is signed (protobuf-specs sigstore_bundle.proto: the oneof content).
func (b *Bundle) parseContent(envelope, message []byte) (err error) {
	switch {
	case envelope != nil && message != nil:
		return fmt.Errorf("it has a dsseEnvelope and a messageSignature, want one of them")
	case envelope != nil:
		if b.Envelope, err = parseEnvelope(envelope); err != nil {
			return fmt.Errorf("dsseEnvelope: %w", err)
		}
	case message != nil:
		if b.Message, err = parseMessage(message); err != nil {
			return fmt.Errorf("messageSignature: %w", err)
		}
	default:
		return fmt.Errorf("it has neither a dsseEnvelope nor a messageSignature")
	}
	return nil
}

var bundleMediaTypes = map[string]bool{
	BundleMediaType: true,
	"application/vnd.dev.sigstore.bundle+json;version=0.1": true,
	"application/vnd.dev.sigstore.bundle+json;version=0.2": true,
	"application/vnd.dev.sigstore.bundle+json;version=0.3": true,
}

func parseEnvelope(data []byte) (Envelope, error) {
	var e Envelope
	var signatures wireSignatures
	err := strictjson.Object(data, func(key string, value []byte) (err error) {
		switch key {
		case "payload":
			e.Payload, err = decodeBase64(value)
		case "payloadType":
			e.PayloadType, err = strictjson.String(value)
		case "signatures":
			err = decode(value, &signatures)
		default:
			err = unknownKey(key)
		}
		return err
	})
	if err != nil {
		return Envelope{}, err
	}
	if e.PayloadType != PayloadType {
		return Envelope{}, fmt.Errorf("payloadType is %q, want %q", e.PayloadType, PayloadType)
	}
	if len(e.Payload) == 0 {
		return Envelope{}, fmt.Errorf("the payload is empty")
	}
	// Sigstore bundle specification: an envelope in a bundle has exactly one signature.
	if len(signatures) != 1 {
		return Envelope{}, fmt.Errorf("%d signatures, want exactly one", len(signatures))
	}
	only := signatures[0]
	if len(only.Sig) == 0 {
		return Envelope{}, fmt.Errorf("the signature is empty")
	}
	e.Signatures = []Signature{{Sig: only.Sig}}
	if only.KeyID != nil {
		e.Signatures[0].KeyID = *only.KeyID
	}
	return e, nil
}

func parseMaterial(data []byte) (Material, error) {
	var w wireMaterial
	if err := decode(data, &w); err != nil {
		return Material{}, err
	}
	m := Material{TlogEntries: w.TlogEntries}
	for i, entry := range w.TlogEntries {
		if err := checkEntry(entry); err != nil {
			return Material{}, fmt.Errorf("tlogEntries[%d]: %w", i, err)
		}
	}
	kinds := 0
	if w.PublicKey != nil {
		kinds++
		m.PublicKey = &PublicKeyHint{Hint: w.PublicKey.Hint, PEM: w.PublicKey.RawBytes}
	}
	if w.Certificate != nil {
		kinds++
		m.Certificate = w.Certificate.RawBytes
	}
	if w.X509CertificateChain != nil {
		kinds++
		for _, c := range w.X509CertificateChain.Certificates {
			m.Chain = append(m.Chain, c.RawBytes)
		}
	}
	if kinds != 1 {
		return Material{}, fmt.Errorf("%d of publicKey, certificate and x509CertificateChain, want exactly one", kinds)
	}
	if w.PublicKey == nil && len(m.Leaf()) == 0 {
		return Material{}, fmt.Errorf("the certificate is empty")
	}
	if w.TimestampVerificationData != nil {
		for _, t := range w.TimestampVerificationData.RFC3161Timestamps {
			m.Timestamps = append(m.Timestamps, t.SignedTimestamp)
		}
	}
	return m, nil
}

// bundleKeys are the keys that a bundle may hold outside tlogEntries. encoding/json would also
// take other spellings of them.
var bundleKeys = map[string]bool{
	"mediaType": true, "verificationMaterial": true, "dsseEnvelope": true, "messageSignature": true,
	"publicKey": true, "certificate": true, "x509CertificateChain": true, "certificates": true,
	"tlogEntries": true, "timestampVerificationData": true, "rfc3161Timestamps": true, "signedTimestamp": true,
	"hint": true, "rawBytes": true, "keyDetails": true,
	"payload": true, "payloadType": true, "signatures": true, "sig": true, "keyid": true,
	"messageDigest": true, "algorithm": true, "digest": true, "signature": true,
}

// checkBundleKeys holds every key outside tlogEntries to the exact spelling.
func checkBundleKeys(data []byte) error {
	return eachKey(data, func(key string, value []byte) error {
		switch {
		case !bundleKeys[key]:
			return unknownKey(key)
		case key == "tlogEntries":
			return checkEntryKeys(value)
		}
		return checkBundleKeys(value)
	})
}

// eachKey calls do for the keys of an object, or of each object in an array; do looks into their values.
func eachKey(data []byte, do func(key string, value []byte) error) error {
	switch data = bytes.TrimLeft(data, " \t\r\n"); {
	case bytes.HasPrefix(data, []byte("{")):
		return strictjson.Object(data, do)
	case bytes.HasPrefix(data, []byte("[")):
		return strictjson.Array(data, func(value []byte) error { return eachKey(value, do) })
	}
	return nil
}

func unknownKey(key string) error {
	return fmt.Errorf("%w: unknown key %.100q", strictjson.ErrAmbiguous, key)
}

// decode reads an object into v, which must know all its keys.
func decode(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// JSON returns the bundle's bytes as they were parsed.
func (b *Bundle) JSON() []byte { return b.raw }

// ID names the bundle: the sha256 of its bytes, with the prefix "sha256:".
func (b *Bundle) ID() string { return ID(b.raw) }

// ID names any bytes that were found where a bundle should be.
func ID(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// UnverifiedStatement reads the statement that the bundle holds, whoever signed it; types are as for ParseStatement.
// A bundle that signs a message holds none: the error wraps ErrBundle.
func (b *Bundle) UnverifiedStatement(types ...string) (*Statement, error) {
	if b.Message != nil {
		return nil, fmt.Errorf("attest: %w: it signs a message, not an in-toto statement", ErrBundle)
	}
	return ParseStatement(b.Envelope.Payload, types...)
}
