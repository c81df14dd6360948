//go:build !nokms

package signer

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/cliconfig"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

func init() {
	registerKMS(kmsService{
		prefix:  hashivault.ReferenceScheme,
		check:   hashivault.ValidReference,
		pin:     pinVault,
		gone:    func(error) bool { return false }, // pinVault says so itself
		needs:   "hashivault:// is reached with VAULT_ADDR and VAULT_TOKEN; TRANSIT_SECRET_ENGINE_PATH names another mount than transit",
		secrets: func() []string { token, _ := vaultToken(); return []string{token} },
	})
}

// transitKey is what the transit engine tells of a key.
type transitKey struct {
	Type     string                     `json:"type"`
	Latest   json.Number                `json:"latest_version"`
	Versions map[string]json.RawMessage `json:"keys"`
}

// pinVault reads the number and public key of the latest version, and has that version sign.
func pinVault(ctx, _ context.Context, ref string) (*pinned, error) {
	auth, err := vaultAuth()
	if err != nil {
		return nil, err
	}
	key, err := readTransitKey(ctx, auth, ref)
	if err != nil {
		return nil, err
	}
	public, err := key.public()
	if err != nil {
		return nil, err
	}
	details, err := signature.GetDefaultAlgorithmDetails(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	client, err := kms.Get(ctx, ref, details.GetHashType(), options.WithRPCAuthOpts(auth))
	if err != nil {
		return nil, err
	}
	return &pinned{client: client, public: public, options: []signature.SignOption{options.WithKeyVersion(key.Latest.String())}}, nil
}

// vaultAuth gathers what sigstore's client would, since its own search for a token writes to the log.
func vaultAuth() (options.RPCAuth, error) {
	auth := options.RPCAuth{Address: firstEnv("VAULT_ADDR", "BAO_ADDR"), Path: os.Getenv("TRANSIT_SECRET_ENGINE_PATH")}
	if auth.Address == "" {
		return auth, errors.New("VAULT_ADDR is not set")
	}
	if auth.Path == "" {
		auth.Path = "transit"
	}
	var err error
	auth.Token, err = vaultToken()
	return auth, err
}

// vaultToken comes from the environment, or from where `vault login` put it.
func vaultToken() (string, error) {
	if token := firstEnv("VAULT_TOKEN", "BAO_TOKEN"); token != "" {
		return token, nil
	}
	helper, err := cliconfig.DefaultTokenHelper()
	if err != nil {
		return "", fmt.Errorf("VAULT_TOKEN is not set, and Vault's token helper: %w", err)
	}
	token, err := helper.Get()
	if err != nil || token == "" {
		return "", errors.New("VAULT_TOKEN is not set, and Vault's token helper has none")
	}
	return token, nil
}

func firstEnv(names ...string) string {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func readTransitKey(ctx context.Context, auth options.RPCAuth, ref string) (*transitKey, error) {
	client, err := api.NewClient(&api.Config{Address: auth.Address})
	if err != nil {
		return nil, err
	}
	client.SetToken(auth.Token)
	answer, err := client.Logical().ReadWithContext(ctx, auth.Path+"/keys/"+ref[len(hashivault.ReferenceScheme):])
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return nil, fmt.Errorf("%w: the service has no such key at %s", ErrKey, auth.Path)
	}
	text, err := json.Marshal(answer.Data)
	if err != nil {
		return nil, err
	}
	var key transitKey
	if err := json.Unmarshal(text, &key); err != nil {
		return nil, fmt.Errorf("the answer was not understood: %w", err)
	}
	return &key, nil
}

// public is the public key of the latest version. Symmetric keys have a time where others have an object.
func (k *transitKey) public() (crypto.PublicKey, error) {
	var version struct {
		Public string `json:"public_key"`
	}
	if err := json.Unmarshal(k.Versions[k.Latest.String()], &version); err != nil || version.Public == "" {
		return nil, fmt.Errorf("%w: a key of the type %q has no public half and does not sign", ErrKey, k.Type)
	}
	if k.Type != "ed25519" {
		return cryptoutils.UnmarshalPEMToPublicKey([]byte(version.Public))
	}
	raw, err := base64.StdEncoding.DecodeString(version.Public)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("the answer holds no Ed25519 public key")
	}
	return ed25519.PublicKey(raw), nil
}
