package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// keyHelp says what --key takes where something is signed.
var keyHelp = "private key: a file (cosign's format or PEM), env://NAME, or a reference: " + strings.Join(signer.References(), ", ")

// signWithFlags name what a command signs with; their names are cosign's where cosign has one.
type signWithFlags struct {
	key, certificate, chain string
	keyless                 bool
	token                   string
	config, root            string
	timestamps              []string
	issuer, client          string
	prefix                  string // of the flags' names, in messages too
}

func (f *signWithFlags) add(cmd *cobra.Command) { f.addAs(cmd, "") }

// addAs adds the flags with a prefix, for a command on which the plain names are about somebody else's signature.
func (f *signWithFlags) addAs(cmd *cobra.Command, prefix string) {
	f.prefix = prefix
	flags := cmd.Flags()
	flags.StringVar(&f.key, prefix+"key", "", keyHelp)
	flags.StringVar(&f.certificate, prefix+"certificate", "", "PEM certificate of the key, to sign with a certificate chain")
	flags.StringVar(&f.chain, prefix+"certificate-chain", "", "PEM certificates above --"+prefix+"certificate")
	flags.BoolVar(&f.keyless, prefix+"keyless", false, "sign with your identity instead of a key: the token comes from GitHub Actions, GitLab CI, a file, or a login in the browser")
	flags.StringVar(&f.token, prefix+"identity-token", "", "sign with the identity of this OpenID Connect token: the token or a file that holds it")
	flags.StringVar(&f.config, f.configFlag(), "", "Sigstore signing config: the services to sign with; for --"+prefix+"keyless the public-good one is fetched with TUF without it")
	flags.StringVar(&f.root, prefix+"trusted-root", "", "Sigstore trusted root to check with what the services answered")
	flags.StringArrayVar(&f.timestamps, prefix+"tsa-url", nil, "RFC 3161 timestamp authority that says when it was signed; may be repeated")
	flags.StringVar(&f.issuer, prefix+"oidc-issuer", "", "OpenID Connect issuer to log in at (default the signing config's)")
	flags.StringVar(&f.client, prefix+"oidc-client-id", "", "what mlseal is called at that issuer (default sigstore)")
	cmd.MarkFlagsMutuallyExclusive(prefix+"key", prefix+"keyless")
	cmd.MarkFlagsMutuallyExclusive(prefix+"key", prefix+"identity-token")
	cmd.MarkFlagsMutuallyExclusive(prefix+"keyless", prefix+"identity-token")
}

// configFlag is the name of the flag for the signing config, which says already what it is about.
func (f *signWithFlags) configFlag() string {
	if f.prefix == "signing-" {
		return "signing-config"
	}
	return f.prefix + "signing-config"
}

// signingKey is a signer that checks what it made.
type signingKey struct {
	attest.Signer
	hint   string     // of the key; empty when it is keyless
	public *trust.Key // of the key; nil when it is keyless
	pem    []byte     // the same
	// check is what a bundle has to pass that services had a part in; nil when no trusted root was named.
	check func(*attest.Bundle, verify.Options) *verify.Result
}

// SignBundle implements attest.Signer. What the services answered is checked before anybody gets the bundle.
func (k *signingKey) SignBundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	data, err := k.Signer.SignBundle(ctx, payloadType, payload)
	if err != nil || k.check == nil {
		return data, err
	}
	bundle, err := attest.Parse(data)
	if err != nil {
		return nil, err
	}
	result := k.check(bundle, verify.Options{})
	if name := result.Failed(); name != "" {
		return nil, fmt.Errorf("%w: what they answered does not pass the trusted root: %s: %w", signer.ErrService, name, result.Err())
	}
	return data, nil
}

// PublicKeyPEM implements link.Signer; it is nil when the key is keyless.
func (k *signingKey) PublicKeyPEM() []byte { return bytes.Clone(k.pem) }

// explain tells a person what signing will leave behind and what was not checked.
func (k *signingKey) explain(a *app, w signer.Witnesses, what string) {
	if k.check == nil && !w.None() {
		a.note("what the signing services answer is not checked: no --trusted-root was named")
	}
	if logs := w.Logs(); len(logs) > 0 {
		a.note(what + " will be recorded in a transparency log, for everyone to read and for good: " + strings.Join(logs, ", "))
	}
}

// signedBy says who signed.
func (k *signingKey) signedBy(bundle *attest.Bundle) field {
	if k.hint != "" {
		return field{"key", "sha256:" + k.hint}
	}
	who := trust.UnverifiedIdentity(bundle)
	return field{"signer", who.Subject + " of " + who.Issuer}
}

// loadSigner loads what the flags name, before anything is hashed.
func (a *app) loadSigner(ctx context.Context, f signWithFlags) (*signingKey, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.key == "" {
		return a.loadKeyless(ctx, f)
	}
	key, err := a.loadKey(ctx, f.key)
	if err != nil {
		return nil, err
	}
	witnesses, err := f.witnesses(a)
	if err != nil {
		return nil, err
	}
	k := &signingKey{hint: key.Hint(), pem: key.PublicKeyPEM()}
	if k.public, err = trust.ParseKey(key.PublicKeyPEM()); err != nil {
		return nil, err
	}
	if k.check, err = f.keyCheck(key, witnesses); err != nil {
		return nil, err
	}
	identity, err := f.certified(a, key)
	if err != nil {
		return nil, err
	}
	if k.Signer, err = signer.New(identity, witnesses); err != nil {
		return nil, err
	}
	k.explain(a, witnesses, "the public key and the digest of what is signed")
	return k, nil
}

// given reports whether something to sign with was named.
func (f *signWithFlags) given() bool { return f.key != "" || f.keyless || f.token != "" }

// check refuses flags that do not go together.
func (f *signWithFlags) check() error {
	keyless := f.keyless || f.token != ""
	p := "--" + f.prefix
	switch {
	case f.key == "" && !keyless:
		return usage(fmt.Errorf("nothing to sign with: name a key with %skey, or sign with your identity with %skeyless or %sidentity-token", p, p, p))
	case f.chain != "" && f.certificate == "":
		return usage(fmt.Errorf("%scertificate-chain goes with %scertificate", p, p))
	case f.certificate != "" && keyless:
		return usage(fmt.Errorf("%scertificate goes with %skey", p, p))
	case f.certificate != "" && f.config != "":
		return usage(fmt.Errorf("--%s is not for certificates of your own authority: use %stsa-url", f.configFlag(), p))
	case !f.keyless && (f.issuer != "" || f.client != ""):
		return usage(fmt.Errorf("%soidc-issuer and %soidc-client-id go with %skeyless", p, p, p))
	case !keyless && f.root != "" && f.config == "" && len(f.timestamps) == 0:
		return usage(fmt.Errorf("%strusted-root goes with %skeyless, %sidentity-token, --%s or %stsa-url: a key alone needs none", p, p, p, f.configFlag(), p))
	}
	return nil
}

// witnesses are those of the signing config, if any, and of --tsa-url.
func (f *signWithFlags) witnesses(a *app) (signer.Witnesses, error) {
	var w signer.Witnesses
	if f.config != "" {
		config, err := loadSigningConfig(f.config)
		if err != nil {
			return w, err
		}
		if w, err = config.Witnesses(a.now()); err != nil {
			return w, fmt.Errorf("signing config %s: %w", f.config, err)
		}
	}
	return f.timestamped(w)
}

func (f *signWithFlags) timestamped(w signer.Witnesses) (signer.Witnesses, error) {
	for _, address := range f.timestamps {
		var err error
		if w, err = w.WithTimestamp(address); err != nil {
			return w, fmt.Errorf("--tsa-url: %w", err)
		}
	}
	return w, nil
}

// keyCheck is what a bundle of the key has to pass; nil when no trusted root was named.
func (f *signWithFlags) keyCheck(key *signer.Key, w signer.Witnesses) (func(*attest.Bundle, verify.Options) *verify.Result, error) {
	if f.root == "" {
		return nil, nil
	}
	root, err := loadRoot(f.root)
	if err != nil {
		return nil, err
	}
	if f.certificate != "" {
		return root.Timestamped, nil
	}
	public, err := trust.ParseKey(key.PublicKeyPEM())
	if err != nil {
		return nil, err
	}
	if len(w.Logs()) > 0 {
		return trust.NewLoggedKey(public, root).Check, nil
	}
	return trust.NewTimestampedKey(public, root).Check, nil
}

// certified pairs the key with its certificates, if any.
func (f *signWithFlags) certified(a *app, key *signer.Key) (signer.Identity, error) {
	if f.certificate == "" {
		return key, nil
	}
	certificate, err := readInput("certificate", f.certificate, signer.MaxKeyBytes)
	if err != nil {
		return nil, err
	}
	var chain []byte
	if f.chain != "" {
		if chain, err = readInput("certificate chain", f.chain, signer.MaxKeyBytes); err != nil {
			return nil, err
		}
	}
	certified, err := signer.WithCertificates(key, certificate, chain, a.now())
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.certificate, err)
	}
	return certified, nil
}

// loadKeyless finds a token, the services and the trusted root.
func (a *app) loadKeyless(ctx context.Context, f signWithFlags) (*signingKey, error) {
	config, err := f.signingConfig(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := f.tokens(a, config)
	if err != nil {
		return nil, err
	}
	root, err := f.keylessRoot(ctx)
	if err != nil {
		return nil, err
	}
	k := &signingKey{}
	if root != nil {
		k.check = root.Identify
	}
	identity, err := signer.NewKeyless(config, tokens, a.now)
	if err != nil {
		return nil, err
	}
	witnesses, err := config.Witnesses(a.now())
	if err != nil {
		return nil, err
	}
	if witnesses, err = f.timestamped(witnesses); err != nil {
		return nil, err
	}
	if k.Signer, err = signer.New(identity, witnesses); err != nil {
		return nil, err
	}
	k.explain(a, witnesses, "who you are")
	return k, nil
}

func (f *signWithFlags) signingConfig(ctx context.Context) (*signer.SigningConfig, error) {
	if f.config == "" {
		return signer.FetchSigningConfig(ctx, false)
	}
	return loadSigningConfig(f.config)
}

func loadSigningConfig(name string) (*signer.SigningConfig, error) {
	return readAs("signing config", name, signer.MaxConfigBytes, signer.ParseSigningConfig)
}

// keylessRoot is the trusted root that was named, or the public-good one when the services are; nil when
// the services are others and no root was named.
func (f *signWithFlags) keylessRoot(ctx context.Context) (*trust.Root, error) {
	switch {
	case f.root != "":
		return loadRoot(f.root)
	case f.config == "":
		return trust.FetchRoot(ctx, false)
	}
	return nil, nil
}

// tokens is where identity tokens come from: what was named, the surroundings, or a person at a terminal.
func (f *signWithFlags) tokens(a *app, config *signer.SigningConfig) (signer.TokenSource, error) {
	if f.token != "" {
		return f.givenToken(a)
	}
	if f.issuer == "" {
		if place, tokens := signer.AmbientToken(a.lookupEnv, signer.TokenFile); tokens != nil {
			a.note("signing with the identity token of " + place)
			return tokens, nil
		}
	}
	if a.stdin == nil || !term.IsTerminal(int(a.stdin.Fd())) {
		return nil, usage(errors.New("--keyless: there is no identity token: not in SIGSTORE_ID_TOKEN (GitLab CI: id_tokens), not from GitHub Actions (permissions: id-token: write), not in " +
			signer.TokenFile + ", and no terminal to log in from; name one with --identity-token"))
	}
	issuer := f.issuer
	if issuer == "" {
		var err error
		if issuer, err = config.Issuer(a.now()); err != nil {
			return nil, err
		}
	}
	return signer.Browser{Issuer: issuer, ClientID: f.client, Input: a.stdin, Output: a.stderr}.Token, nil
}

// givenToken is --identity-token: the token itself, or a file that holds it.
func (f *signWithFlags) givenToken(a *app) (signer.TokenSource, error) {
	token := f.token
	if _, err := os.Stat(token); err == nil {
		text, err := readInput("identity token", token, signer.MaxTokenBytes)
		if err != nil {
			return nil, err
		}
		token = string(text)
	}
	tokens, err := signer.GivenToken(token, a.now())
	switch {
	case err != nil && token == f.token:
		return nil, fmt.Errorf("--identity-token: no such file, and as a token: %w", err)
	case err != nil:
		return nil, fmt.Errorf("--identity-token: %w", err)
	}
	return tokens, nil
}

// note tells a person something beside the result.
func (a *app) note(text string) { _, _ = fmt.Fprintln(a.stderr, "note: "+escape.Line(text)) }

// loadKey loads the private key that ref names.
func (a *app) loadKey(ctx context.Context, ref string) (*signer.Key, error) {
	var key *signer.Key
	var err error
	if signer.IsReference(ref) {
		key, err = signer.Open(ctx, ref, func() ([]byte, error) { return a.pin(ctx, "PIN for "+signer.Redact(ref)+": ") })
	} else {
		var text []byte
		if text, err = a.keyText(ref); err != nil {
			return nil, err
		}
		key, err = signer.LoadKey(text, func() ([]byte, error) { return a.password(ctx, "Password for "+ref+": ", false) })
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", signer.Redact(ref), err)
	}
	return key, nil
}
