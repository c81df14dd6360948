// Package signer loads signing keys and makes Sigstore bundles with them. It is the only door to
// cosign and to Sigstore signing.
//
// What signs is an Identity: a Key, a Key with certificates of one's own authority (Certified), or a person or machine
// with an identity token (Keyless). New puts it behind attest.Signer, together with the Witnesses that countersign. Keys are
// files, in cosign's encrypted PEM ("ENCRYPTED SIGSTORE PRIVATE KEY", scrypt and nacl/secretbox) or plain PEM (PKCS #8, SEC 1, PKCS #1),
// or are kept elsewhere and named by a reference (Open).
// ECDSA keys sign with the SHA-2 of their curve's size (P-256 with SHA-256, P-384 with SHA-384,
// P-521 with SHA-512), Ed25519 keys sign pure Ed25519, RSA keys PKCS #1 v1.5 with SHA-256.
package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// Errors that callers branch on.
var (
	// ErrKey says that a text is not a private key that is understood.
	ErrKey = errors.New("not a usable private key")
	// ErrPassword says that a key file could not be decrypted with the password.
	ErrPassword = errors.New("wrong password")
	// ErrPasswordNeeded says that a key file is encrypted and no password was given.
	ErrPasswordNeeded = errors.New("the key is encrypted and no password was given")
	// ErrPIN says that a token does not take the PIN. It wraps ErrPassword.
	ErrPIN = fmt.Errorf("%w: the token does not take the PIN", ErrPassword)
	// ErrPINNeeded says that a token wants a PIN and none was given.
	ErrPINNeeded = errors.New("the token wants a PIN and none was given")
)

// Key is a private key that signs bundles. It implements attest.Signer.
type Key struct {
	signer  signature.Signer
	public  crypto.PublicKey
	pem     []byte // of the public key, PKIX
	details signature.AlgorithmDetails
}

func newKey(s signature.Signer) (*Key, error) {
	public, err := s.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	text, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	details, err := signature.GetDefaultAlgorithmDetails(public)
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	return &Key{signer: s, public: public, pem: text, details: details}, nil
}

// PublicKeyPEM is the public key in PEM (PKIX).
func (k *Key) PublicKeyPEM() []byte { return bytes.Clone(k.pem) }

// Hint names the key as OMS v1.0 section 4.1 does: the lower-case hexadecimal sha256 of the
// public key's PEM text.
func (k *Key) Hint() string {
	sum := sha256.Sum256(k.pem)
	return hex.EncodeToString(sum[:])
}

// SignBundle signs as a Signer without witnesses does. It contacts nobody but a service that keeps the key.
func (k *Key) SignBundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	return (&Signer{identity: k}).SignBundle(ctx, payloadType, payload)
}

func (k *Key) publicKey() crypto.PublicKey { return k.public }

func (k *Key) session(context.Context) (sign.Keypair, sign.BundleOptions, error) {
	return keypair{k}, sign.BundleOptions{}, nil
}

// Identity is what a bundle is signed as: a *Key, a *Certified or a *Keyless.
type Identity interface {
	// publicKey is the one that signs; nil when it is not known before.
	publicKey() crypto.PublicKey
	// session gets ready to make one signature.
	session(context.Context) (sign.Keypair, sign.BundleOptions, error)
}

// Signer makes Sigstore bundles. It implements attest.Signer.
type Signer struct {
	identity  Identity
	witnesses Witnesses
}

// New signs as identity and has witnesses countersign. The error, which wraps ErrKey or ErrCertificate, says that they do
// not go together.
func New(identity Identity, witnesses Witnesses) (*Signer, error) {
	if err := witnesses.check(identity); err != nil {
		return nil, err
	}
	return &Signer{identity, witnesses}, nil
}

// SignBundle signs the DSSE pre-authentication encoding of payload and returns a Sigstore bundle v0.3 that names the key by
// its Hint, or carries certificates. The error wraps ErrService or ErrToken when somebody else did not do their part.
func (s *Signer) SignBundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	return s.bundle(ctx, &envelope{sign.DSSEData{Data: payload, PayloadType: payloadType}})
}

// SignMessage signs content itself and returns a bundle with a message signature (Sigstore bundle specification,
// MessageSignature), as SignBundle does.
func (s *Signer) SignMessage(ctx context.Context, content []byte) ([]byte, error) {
	return s.bundle(ctx, &sign.PlainData{Data: content})
}

func (s *Signer) bundle(ctx context.Context, content sign.Content) ([]byte, error) {
	pair, as, err := s.identity.session(ctx)
	if err != nil {
		return nil, err
	}
	opts := s.witnesses.options(ctx)
	opts.CertificateProvider, opts.CertificateProviderOptions, opts.CertificateChainProvider = as.CertificateProvider, as.CertificateProviderOptions, as.CertificateChainProvider
	bundle, err := sign.Bundle(content, pair, opts)
	switch {
	case errors.Is(err, ErrKeyService):
		return nil, err // which says it all
	case err != nil:
		return nil, fmt.Errorf("signer: %w", serviceError{err})
	}
	if err := checkTimestamps(bundle); err != nil {
		return nil, fmt.Errorf("signer: %w", serviceError{err})
	}
	return encode(bundle)
}

// keypair shows a Key to sigstore-go.
type keypair struct{ *Key }

func (k keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	return k.details.GetProtoHashType()
}

func (k keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return k.details.GetSignatureAlgorithm()
}

func (k keypair) GetHint() []byte { return []byte(k.Hint()) }

func (k keypair) GetKeyAlgorithm() string {
	switch k.public.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA"
	case ed25519.PublicKey:
		return "ED25519"
	case *rsa.PublicKey:
		return "RSA"
	}
	return ""
}

func (k keypair) GetPublicKey() crypto.PublicKey { return k.public }

func (k keypair) GetPublicKeyPem() (string, error) { return string(k.pem), nil }

// SignData returns the signature and the digest of data. sigstore-go puts the digest only into
// bundles of messages, never of envelopes.
func (k keypair) SignData(ctx context.Context, data []byte) ([]byte, []byte, error) {
	sig, err := k.signer.SignMessage(bytes.NewReader(data), options.WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	hash := k.details.GetHashType()
	if hash == crypto.Hash(0) {
		return sig, nil, nil // pure Ed25519 hashes inside
	}
	h := hash.New()
	h.Write(data)
	return sig, h.Sum(nil), nil
}

var _ sign.Keypair = keypair{}
