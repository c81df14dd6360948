// Package link makes in-toto link metadata: what a step of a supply chain ran, what went in and what came out, signed.
//
// A link is the older form of such a statement (in-toto specification 1.0, section 4.4), which layouts are verified with. It is written as a DSSE
// envelope of payload type application/vnd.in-toto+json (in-toto ITE-5), which in-toto-golang and the Python package in-toto read. Its file is
// called STEP.KEYID.link with the first eight digits of the signer's key id; a verifier looks for exactly that name.
//
// What a key's id is, in-toto leaves open; a layout lists the ids of its keys, and links must use the same. KeyID is the id that in-toto-golang
// gives a key, PythonKeyID the one that the Python package does.
package link

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
)

// MaxBytes bounds a link's file, as it is written and as it is read.
const MaxBytes = 64 << 20

// Errors that callers branch on.
var (
	// ErrLink says that something cannot be a link.
	ErrLink = errors.New("not a usable in-toto link")
	// ErrKey says that a key cannot sign links: in-toto takes ECDSA and Ed25519 keys, and RSA only with signatures (PSS) that mlseal does not make.
	ErrKey = errors.New("not a key for in-toto links")
)

// Artifacts are digests by path: relative, `/` between elements.
type Artifacts map[string]attest.DigestSet

// Link is what one step did. Of what is nil the link says that there was nothing.
type Link struct {
	Step        string // the name of the step in the layout
	Command     []string
	Materials   Artifacts
	Products    Artifacts
	Byproducts  map[string]any // such as return-value, stdout, stderr
	Environment map[string]any
}

// Signer signs links; *signer.Key is one.
type Signer interface {
	attest.Signer
	// PublicKeyPEM is the public key in PEM (PKIX).
	PublicKeyPEM() []byte
}

// File is a signed link.
type File struct {
	Name  string // of the file
	KeyID string
	Data  []byte // JSON
}

// Options of Sign. The zero value names the key as in-toto-golang does.
type Options struct {
	// KeyID is the id that the layout has for the signer's key; empty for KeyID.
	KeyID string
}

// Sign signs the link. The error wraps ErrLink or ErrKey, or is the signer's.
func (l *Link) Sign(ctx context.Context, signer Signer, opts Options) (*File, error) {
	id := opts.KeyID
	if own, err := KeyID(signer.PublicKeyPEM()); err != nil {
		return nil, err
	} else if id == "" {
		id = own
	}
	payload, err := l.payload()
	if err != nil {
		return nil, err
	}
	name, err := FileName(l.Step, id)
	if err != nil {
		return nil, err
	}
	data, err := signer.SignBundle(ctx, attest.PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	bundle, err := attest.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	if !bytes.Equal(bundle.Envelope.Payload, payload) {
		return nil, fmt.Errorf("link: %w: the signer signed something else", ErrLink)
	}
	data, err = json.MarshalIndent(envelope(payload, id, bundle.Envelope.Signatures[0].Sig), "", "  ")
	if err == nil && len(data) >= MaxBytes {
		err = fmt.Errorf("link: %w: %d bytes, at most %d", ErrLink, len(data), MaxBytes)
	}
	return &File{Name: name, KeyID: id, Data: append(data, '\n')}, err
}

// envelope is a DSSE v1.0 envelope with one signature.
func envelope(payload []byte, keyID string, sig []byte) any {
	type signature struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	}
	return struct {
		PayloadType string      `json:"payloadType"`
		Payload     string      `json:"payload"`
		Signatures  []signature `json:"signatures"`
	}{attest.PayloadType, base64.StdEncoding.EncodeToString(payload), []signature{{keyID, base64.StdEncoding.EncodeToString(sig)}}}
}

// payload is the link as JSON. in-toto's canonical JSON, which the older form of links signs, is none where a string has a line feed.
func (l *Link) payload() ([]byte, error) {
	if err := errors.Join(l.Materials.check("materials"), l.Products.check("products")); err != nil {
		return nil, fmt.Errorf("link: %w: %w", ErrLink, err)
	}
	// in-toto specification 4.4: all of these are there, empty as they may be.
	payload, err := json.Marshal(intoto.Link{Type: "link", Name: l.Step, Command: append([]string{}, l.Command...),
		Materials: l.Materials.hashes(), Products: l.Products.hashes(), ByProducts: orEmpty(l.Byproducts), Environment: orEmpty(l.Environment)})
	if err != nil {
		return nil, fmt.Errorf("link: %w: %w", ErrLink, err)
	}
	return payload, nil
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// check refuses paths and digests that two verifiers could read differently.
func (a Artifacts) check(what string) error {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if name == "" || path.Clean(name) != name {
			return fmt.Errorf("%s: %q is no path without detours", what, name)
		}
		if err := attest.CheckDigestSet(a[name]); err != nil {
			return fmt.Errorf("%s: %q: %w", what, name, err)
		}
		if len(a[name]) == 0 {
			return fmt.Errorf("%s: %q has no digest", what, name)
		}
	}
	return nil
}

func (a Artifacts) hashes() map[string]intoto.HashObj {
	hashes := make(map[string]intoto.HashObj, len(a))
	for name, set := range a {
		hashes[name] = set
	}
	return hashes
}

// FileName is that of the link of a step by a key. The error wraps ErrLink.
func FileName(step, keyID string) (string, error) {
	if step == "" || strings.ContainsAny(step, `/\`) || strings.HasPrefix(step, ".") || strings.ContainsFunc(step, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("link: %w: a step called %q has no file name", ErrLink, step)
	}
	if _, err := hex.DecodeString(keyID); err != nil || len(keyID) < 8 {
		return "", fmt.Errorf("link: %w: %q is no key id: at least eight hexadecimal digits", ErrLink, keyID)
	}
	return fmt.Sprintf(intoto.LinkNameFormat, step, keyID), nil
}

// KeyID is the id that in-toto-golang gives a public key in PEM: the sha256 of the key as canonical JSON. The error wraps ErrKey.
func KeyID(public []byte) (string, error) {
	key, err := load(public)
	return key.KeyID, err
}

// PythonKeyID is the id that securesystemslib 1.x, and with it the Python package in-toto, gives a public key in PEM. It differs from KeyID
// in that it leaves out the list of hash algorithms, ends the PEM text with a line feed, and names the curve.
func PythonKeyID(public []byte) (string, error) {
	key, err := load(public)
	if err != nil {
		return "", err
	}
	value := key.KeyVal.Public
	if key.KeyType == "ecdsa" {
		value += "\n"
		scheme, err := ecdsaScheme(public)
		if err != nil {
			return "", err
		}
		key.Scheme = scheme
	}
	text, err := cjson.EncodeCanonical(map[string]any{"keytype": key.KeyType, "scheme": key.Scheme, "keyval": map[string]string{"public": value}})
	if err != nil {
		return "", fmt.Errorf("link: %w: %w", ErrKey, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// ecdsaScheme names the curve of a key.
func ecdsaScheme(public []byte) (string, error) {
	block, _ := pem.Decode(public) // which load has read
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("link: %w: %w", ErrKey, err)
	}
	ec, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return "", fmt.Errorf("link: %w: it is no ECDSA key", ErrKey)
	}
	return fmt.Sprintf("ecdsa-sha2-nistp%d", ec.Params().BitSize), nil
}

func load(public []byte) (key intoto.Key, err error) {
	if err := key.LoadKeyReaderDefaults(bytes.NewReader(public)); err != nil {
		return key, fmt.Errorf("link: %w: %w", ErrKey, err)
	}
	if key.KeyType == "rsa" || key.KeyVal.Private != "" || key.KeyVal.Certificate != "" {
		return key, fmt.Errorf("link: %w: an ECDSA or Ed25519 public key is wanted", ErrKey)
	}
	return key, nil
}
