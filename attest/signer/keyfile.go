package signer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	v1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
)

// MaxKeyBytes bounds a key file.
const MaxKeyBytes = 1 << 20

// keyAlgorithms are the algorithms of new keys by their name on the command line.
var keyAlgorithms = map[string]v1.PublicKeyDetails{
	"ecdsa-p256": v1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
	"ecdsa-p384": v1.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
	"ecdsa-p521": v1.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
	"ed25519":    v1.PublicKeyDetails_PKIX_ED25519,
}

// KeyAlgorithms lists the algorithms that Generate takes, the default first.
func KeyAlgorithms() []string {
	return []string{"ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519"}
}

// Generate makes a key pair in cosign's file format: the private key encrypted with password (which may
// be empty), the public key as PKIX PEM. An empty algorithm means ecdsa-p256.
func Generate(algorithm string, password []byte) (private, public []byte, err error) {
	if algorithm == "" {
		algorithm = KeyAlgorithms()[0]
	}
	kind, ok := keyAlgorithms[algorithm]
	if !ok {
		return nil, nil, fmt.Errorf("signer: unknown key algorithm %q, want one of %s", algorithm, strings.Join(KeyAlgorithms(), ", "))
	}
	details, err := signature.GetAlgorithmDetails(kind)
	if err != nil {
		return nil, nil, fmt.Errorf("signer: %w", err)
	}
	keys, err := cosign.GenerateKeyPairWithAlgorithm(&details, func(bool) ([]byte, error) { return password, nil })
	if err != nil {
		return nil, nil, fmt.Errorf("signer: %w", err)
	}
	return keys.PrivateBytes, keys.PublicBytes, nil
}

// Password is asked for when a key turns out to be encrypted.
type Password func() ([]byte, error)

// LoadKey reads a private key from the text of a key file: cosign's encrypted format, for which
// password is called once, or plain PEM. The error wraps ErrKey, ErrPassword or ErrPasswordNeeded.
func LoadKey(text []byte, password Password) (*Key, error) {
	if len(text) > MaxKeyBytes {
		return nil, fmt.Errorf("signer: %w: %d bytes, at most %d", ErrKey, len(text), MaxKeyBytes)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("signer: %w: it holds no PEM block", ErrKey)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("signer: %w: more data behind the PEM block", ErrKey)
	}
	switch block.Type {
	case cosign.CosignPrivateKeyPemType, cosign.SigstorePrivateKeyPemType:
		return loadEncrypted(text, password)
	case "PUBLIC KEY", "CERTIFICATE":
		return nil, fmt.Errorf("signer: %w: it is a %s", ErrKey, strings.ToLower(block.Type))
	}
	private, err := parsePlain(block)
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	s, err := signature.LoadDefaultSigner(private)
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	return newKey(s)
}

func loadEncrypted(text []byte, password Password) (*Key, error) {
	if password == nil {
		return nil, fmt.Errorf("signer: %w", ErrPasswordNeeded)
	}
	pass, err := password()
	if err != nil {
		return nil, err
	}
	// Without options of its own cosign would load Ed25519 keys as Ed25519ph, which DSSE envelopes do not use.
	s, err := cosign.LoadPrivateKey(text, pass, &[]signature.LoadOption{})
	if err != nil {
		// cosign tells a wrong password from a broken file by this text alone.
		if strings.Contains(err.Error(), "decryption failed") {
			return nil, fmt.Errorf("signer: %w", ErrPassword)
		}
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	return newKey(s)
}

func parsePlain(block *pem.Block) (crypto.PrivateKey, error) {
	switch block.Type {
	case cosign.PrivateKeyPemType:
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case cosign.ECPrivateKeyPemType:
		return x509.ParseECPrivateKey(block.Bytes)
	case cosign.RSAPrivateKeyPemType:
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("PKCS #8 encryption is not read; convert it with `cosign import-key-pair` or decrypt it with openssl")
	}
	return nil, fmt.Errorf("PEM type %q is not known", block.Type)
}
