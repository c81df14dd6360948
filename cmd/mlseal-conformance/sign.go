package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/pflag"
)

// keyless is what a signature with an identity token is made with.
type keyless struct {
	*signer.Signer
	root *trust.Root // what the services answer has to pass; nil when nobody named one for services of their own
}

// openKeyless loads the services and the trusted root: the named ones, or those of Sigstore's public-good or staging instance.
func openKeyless(ctx context.Context, token, configFile, rootFile string, staging bool) (*keyless, error) {
	tokens, err := signer.GivenToken(token, now())
	if err != nil {
		return nil, err
	}
	config, err := signingConfig(ctx, configFile, staging)
	if err != nil {
		return nil, err
	}
	k := &keyless{}
	if rootFile != "" || configFile == "" {
		if k.root, err = trustedRoot(ctx, rootFile, staging); err != nil {
			return nil, err
		}
	}
	identity, err := signer.NewKeyless(config, tokens, now)
	if err != nil {
		return nil, err
	}
	witnesses, err := config.Witnesses(now())
	if err != nil {
		return nil, err
	}
	k.Signer, err = signer.New(identity, witnesses)
	return k, err
}

func signingConfig(ctx context.Context, file string, staging bool) (*signer.SigningConfig, error) {
	if file == "" {
		return signer.FetchSigningConfig(ctx, staging)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return signer.ParseSigningConfig(text)
}

// SignBundle implements attest.Signer; nobody gets a bundle that the trusted root does not pass.
func (k *keyless) SignBundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error) {
	data, err := k.Signer.SignBundle(ctx, payloadType, payload)
	if err != nil {
		return nil, err
	}
	return data, k.check(data, nil)
}

func (k *keyless) signMessage(ctx context.Context, content []byte) ([]byte, error) {
	data, err := k.SignMessage(ctx, content)
	if err != nil {
		return nil, err
	}
	return data, k.check(data, &verify.Artifact{Content: bytes.NewReader(content)})
}

func (k *keyless) check(data []byte, artifact *verify.Artifact) error {
	b, err := attest.Parse(data)
	if err != nil || k.root == nil {
		return err
	}
	if err := k.root.Identify(b, verify.Options{Artifact: artifact}).Err(); err != nil {
		return fmt.Errorf("%w: what they answered does not pass the trusted root: %w", signer.ErrService, err)
	}
	return nil
}

// signBundle is sign-bundle of sigstore-conformance's cli_protocol.md.
func signBundle(ctx context.Context, args []string) error {
	flags := pflag.NewFlagSet("sign-bundle", pflag.ContinueOnError)
	staging := flags.Bool("staging", false, "")
	inToto := flags.Bool("in-toto", false, "")
	token := flags.String("identity-token", "", "")
	output := flags.String("bundle", "", "")
	rootFile := flags.String("trusted-root", "", "")
	configFile := flags.String("signing-config", "", "")
	if err := parse(flags, args, 1, "identity-token", "bundle"); err != nil {
		return err
	}
	content, err := os.ReadFile(flags.Arg(0))
	if err != nil {
		return err
	}
	k, err := openKeyless(ctx, *token, *configFile, *rootFile, *staging)
	if err != nil {
		return err
	}
	var data []byte
	if *inToto {
		if _, err := attest.ParseStatement(content); err != nil {
			return err
		}
		data, err = k.SignBundle(ctx, attest.PayloadType, content)
	} else {
		data, err = k.signMessage(ctx, content)
	}
	if err != nil {
		return err
	}
	return atomicfile.Write(*output, data, atomicfile.Options{})
}
