package signer

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// ErrKeyService says that a key management service did not do its part: it gave no answer, refused, or answered with
// a signature of another key.
var ErrKeyService = errors.New("the key service did not sign")

// kmsTimeout bounds opening a key and each signature. Tests shorten it.
var kmsTimeout = 30 * time.Second

// kmsService is what mlseal adds to sigstore's client of a key management service.
type kmsService struct {
	prefix  string
	check   func(ref string) error // of the form of a reference
	pin     func(ctx, life context.Context, ref string) (*pinned, error)
	gone    func(err error) bool // reports whether err says that the key is not there
	needs   string               // what tells the client where the service is and who asks
	secrets func() []string      // what no message may show
}

// pinned is a client that signs with one version of a key, whatever happens to the key later.
type pinned struct {
	client  kms.SignerVerifier
	public  crypto.PublicKey
	options []signature.SignOption
}

func registerKMS(s kmsService) { register(s.open, s.prefix) }

// open pins the version of the key, so that the public key that is exported and the signatures that are made belong together.
func (s kmsService) open(ctx context.Context, ref string, _ Password) (*Key, error) {
	if err := s.check(ref); err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	fixed, err := bounded(ctx, func(bound context.Context) (*pinned, error) { return s.pin(bound, ctx, ref) })
	if err != nil {
		return nil, s.explain(err)
	}
	signer := &kmsSigner{service: s, pinned: fixed}
	key, err := newKey(signer)
	if err != nil {
		return nil, err
	}
	if err := signer.check(key.details.GetHashType()); err != nil {
		return nil, err
	}
	return key, nil
}

// explain sorts an error: a key that is not there or cannot sign is a mistake in the reference, all else the
// service's. The texts of the clients are made one line that shows no secret.
func (s kmsService) explain(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, secret := range s.secrets() {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	switch {
	case errors.Is(err, ErrKey):
		return quoted{"signer: " + text, []error{ErrKey}}
	case s.gone(err):
		return quoted{fmt.Sprintf("signer: %v: the service has no such key: %s", ErrKey, text), []error{ErrKey}}
	}
	return quoted{fmt.Sprintf("signer: %v: %s (%s)", ErrKeyService, text, s.needs), []error{ErrKeyService, err}}
}

// quoted is an error with a text that may be shown.
type quoted struct {
	text string
	is   []error
}

func (q quoted) Error() string   { return q.text }
func (q quoted) Unwrap() []error { return q.is }

// load opens sigstore's client for a reference that names one version of a key. life must outlast the key.
func load(ctx, life context.Context, ref string) (*pinned, error) {
	client, err := kms.Get(life, ref, crypto.SHA256) // these services tell the hash by the key
	if err != nil {
		return nil, err
	}
	public, err := client.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	return &pinned{client: client, public: public}, nil
}

// kmsSigner signs in a service and lets no signature out that its public key does not verify.
type kmsSigner struct {
	*pinned
	service  kmsService
	verifier signature.Verifier
}

// check refuses a key with which the service signs otherwise than bundles want it.
func (k *kmsSigner) check(want crypto.Hash) error {
	_, opts, err := k.client.CryptoSigner(context.Background(), nil)
	if err != nil {
		return k.service.explain(err)
	}
	if got := opts.HashFunc(); got != want {
		return fmt.Errorf("signer: %w: the service signs with %s here, and bundles of this kind of key want %s", ErrKey, got, want)
	}
	if k.verifier, err = signature.LoadVerifier(k.public, want); err != nil {
		return fmt.Errorf("signer: %w: %w", ErrKey, err)
	}
	return nil
}

func (k *kmsSigner) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return k.public, nil
}

// SignMessage has the service sign and verifies the signature.
func (k *kmsSigner) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	data, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	for _, opt := range opts {
		opt.ApplyContext(&ctx)
	}
	sig, err := bounded(ctx, func(ctx context.Context) ([]byte, error) {
		return k.client.SignMessage(bytes.NewReader(data), append(k.options, options.WithContext(ctx))...)
	})
	if err != nil {
		return nil, k.service.explain(err)
	}
	if err := k.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("signer: %w: its signature does not verify with the public key that it gave for this key before; was the key replaced?", ErrKeyService)
	}
	return sig, nil
}

// bounded calls a client, not all of which listen to a context, and some of which panic at answers that they do not expect.
func bounded[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, kmsTimeout, fmt.Errorf("no answer within %s", kmsTimeout))
	defer cancel()
	var value T
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the answer was not understood: %v", p)
			}
			done <- err
		}()
		value, err = call(ctx)
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return value, err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

var _ signature.Signer = (*kmsSigner)(nil)
