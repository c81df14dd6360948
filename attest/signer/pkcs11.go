//go:build pkcs11key

package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ThalesIgnite/crypto11"
	"github.com/miekg/pkcs11"
	"github.com/sigstore/cosign/v2/pkg/cosign/pkcs11key"
	"github.com/sigstore/sigstore/pkg/signature"
)

func init() { register(openPKCS11, pkcs11Prefix) }

// pkcs11Form is what a reference must at least say.
const pkcs11Form = "write pkcs11:token=TOKEN;object=KEY?module-path=/path/to/module.so"

// openPKCS11 opens the key that a PKCS #11 URI (RFC 7512) names. The token stays open until the process ends. cosign reads the
// URI; the token is used through crypto11 itself, since cosign signs with SHA-256 whatever the key is.
func openPKCS11(ctx context.Context, ref string, pin Password) (*Key, error) {
	config, err := parsePKCS11(ref)
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	if config.Pin, err = pkcs11PIN(ref, pin); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	token, err := openToken(config)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	key, err := findTokenKey(token, config)
	if err != nil {
		_ = token.Close()
		return nil, fmt.Errorf("signer: %w", err)
	}
	return key, nil
}

// parsePKCS11 reads all of a URI but its PIN, which no error may hold.
func parsePKCS11(ref string) (*pkcs11key.Pkcs11UriConfig, error) {
	config := pkcs11key.NewPkcs11UriConfig()
	// A plus sign is one in a URI; cosign reads it as HTML forms do.
	uri := strings.ReplaceAll(pinValue.ReplaceAllString(ref, "${1}"), "+", "%2B")
	if err := config.Parse(uri); err != nil {
		return nil, fmt.Errorf("%w; %s", err, pkcs11Form)
	}
	if !filepath.IsAbs(config.ModulePath) {
		return nil, fmt.Errorf("the module %q is no absolute path; name the token's PKCS #11 library", config.ModulePath)
	}
	if info, err := os.Stat(config.ModulePath); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the module %s is no file; install the token's PKCS #11 library, or correct module-path", config.ModulePath)
	}
	return config, nil
}

// pkcs11PIN is the PIN in the URI, or the one that is asked for. An empty one is never tried: tokens count what is wrong.
func pkcs11PIN(ref string, ask Password) (string, error) {
	if match := pinValue.FindStringSubmatch(ref); match != nil && match[2] != "" {
		pin, err := url.PathUnescape(match[2])
		if err != nil {
			return "", fmt.Errorf("signer: %w: pin-value is not percent-encoded", ErrKey)
		}
		return pin, nil
	}
	if ask == nil {
		return "", fmt.Errorf("signer: %w", ErrPINNeeded)
	}
	pin, err := ask()
	if err == nil && len(pin) == 0 {
		err = fmt.Errorf("signer: %w", ErrPINNeeded)
	}
	return string(pin), err
}

func openToken(config *pkcs11key.Pkcs11UriConfig) (*crypto11.Context, error) {
	c := &crypto11.Config{Path: config.ModulePath, Pin: config.Pin, TokenLabel: config.TokenLabel}
	if config.SlotID != nil {
		c.SlotNumber, c.TokenLabel = config.SlotID, ""
	}
	token, err := crypto11.Configure(c)
	var code pkcs11.Error
	switch {
	case err == nil:
		return token, nil
	case errors.As(err, &code):
		switch code {
		case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED:
			return nil, fmt.Errorf("%w: %w", ErrPIN, code)
		}
	// crypto11 tells these two apart by text alone.
	case strings.Contains(err.Error(), "could not find PKCS#11 token"):
		return nil, fmt.Errorf("%w: the module %s knows no %s; pkcs11-tool --module %s --list-token-slots lists its tokens",
			ErrKey, config.ModulePath, describeToken(config), config.ModulePath)
	case strings.Contains(err.Error(), "could not open PKCS#11"):
		return nil, fmt.Errorf("%w: %s is not a PKCS #11 module of this machine", ErrKey, config.ModulePath)
	}
	return nil, err
}

func describeToken(config *pkcs11key.Pkcs11UriConfig) string {
	if config.SlotID != nil {
		return fmt.Sprintf("token in slot %d", *config.SlotID)
	}
	return fmt.Sprintf("token %q", config.TokenLabel)
}

// findTokenKey finds the one key pair that the URI names: one that matched by accident must not sign.
func findTokenKey(token *crypto11.Context, config *pkcs11key.Pkcs11UriConfig) (*Key, error) {
	var id, label []byte // nil matches everything
	var name []string
	if len(config.KeyLabel) > 0 {
		label, name = config.KeyLabel, append(name, fmt.Sprintf("the label %q", config.KeyLabel))
	}
	if len(config.KeyID) > 0 {
		id, name = config.KeyID, append(name, fmt.Sprintf("the id %x", config.KeyID))
	}
	pairs, err := token.FindKeyPairs(id, label)
	switch {
	case err != nil && strings.Contains(err.Error(), "unsupported"):
		return nil, fmt.Errorf("%w: the key with %s: %w; ECDSA and RSA keys sign", ErrKey, strings.Join(name, " and "), err)
	case err != nil:
		return nil, err
	case len(pairs) == 0:
		return nil, fmt.Errorf("%w: the %s has no key pair with %s; it must hold the public key too, under the same id",
			ErrKey, describeToken(config), strings.Join(name, " and "))
	case len(pairs) > 1:
		return nil, fmt.Errorf("%w: the %s has %d key pairs with %s; name one of them by object and id", ErrKey, describeToken(config), len(pairs), strings.Join(name, " and "))
	}
	return newTokenKey(pairs[0])
}

// newTokenKey makes a Key of what signs digests on a token.
func newTokenKey(onToken crypto.Signer) (*Key, error) {
	details, err := signature.GetDefaultAlgorithmDetails(onToken.Public())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	verifier, err := signature.LoadVerifier(onToken.Public(), details.GetHashType())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return newKey(&tokenSigner{Verifier: verifier, key: onToken, hash: details.GetHashType()})
}

// tokenSigner signs on a token with the hash that fits the key. sigstore's own signers take keys in memory only.
type tokenSigner struct {
	signature.Verifier
	key  crypto.Signer
	hash crypto.Hash
}

// SignMessage implements signature.Signer. It returns no signature that the public key does not verify: the two halves of a
// pair are separate objects of a token.
func (s *tokenSigner) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	data, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	h := s.hash.New()
	h.Write(data)
	sig, err := s.key.Sign(rand.Reader, h.Sum(nil), s.hash)
	if err != nil {
		return nil, fmt.Errorf("the token did not sign: %w", err)
	}
	if err := s.VerifySignature(bytes.NewReader(sig), bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("what the token signed does not verify with the public key beside it: %w", err)
	}
	return sig, nil
}
