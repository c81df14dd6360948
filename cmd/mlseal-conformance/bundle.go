package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/pflag"
)

// verifyBundle is verify-bundle of sigstore-conformance's cli_protocol.md.
func verifyBundle(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("verify-bundle", pflag.ContinueOnError)
	staging := flags.Bool("staging", false, "")
	file := flags.String("bundle", "", "")
	identity := flags.String("certificate-identity", "", "")
	issuer := flags.String("certificate-oidc-issuer", "", "")
	key := flags.String("key", "", "")
	rootFile := flags.String("trusted-root", "", "")
	if err := parse(flags, args, 1, "bundle"); err != nil {
		return err
	}
	if (*key == "") == (*identity == "" && *issuer == "") {
		return fmt.Errorf("%w: verify-bundle: want --key, or --certificate-identity and --certificate-oidc-issuer", errUsage)
	}
	root, err := trustedRoot(ctx, *rootFile, *staging)
	if err != nil && (*key == "" || !errors.Is(err, verify.ErrNoRoot)) {
		return err
	}
	anchor, err := bundleAnchor(root, *key, trust.Identity{Issuer: *issuer, Subject: *identity})
	if err != nil {
		return err
	}
	artifact, closer, err := openArtifact(flags.Arg(0))
	if err != nil {
		return err
	}
	defer func() { _ = closer.Close() }()
	data, err := os.ReadFile(*file)
	if err != nil {
		return err
	}
	b, err := attest.Parse(data)
	if err != nil {
		return err
	}
	r := anchor.Check(b, verify.Options{Now: now(), Artifact: artifact})
	if err := printChecks(stdout, r.Checks); err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("verify-bundle: %w: %w", verify.ErrFailed, err)
	}
	return nil
}

// bundleAnchor is what the flags trust. A key is trusted by itself where no root can be had: then no log is looked at, which the checks say.
func bundleAnchor(root *trust.Root, keyFile string, who trust.Identity) (verify.Anchor, error) {
	if keyFile == "" {
		return trust.NewKeyless(root, who)
	}
	key, err := readKey(keyFile)
	if err != nil || root == nil {
		return key, err
	}
	return trust.NewLoggedKey(key, root), nil
}

func readKey(file string) (*trust.Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return trust.ParseKey(text)
}

// openArtifact takes a file, or a digest as sha256:HEX when there is no such file.
func openArtifact(arg string) (*verify.Artifact, io.Closer, error) {
	value, ok := strings.CutPrefix(arg, "sha256:")
	if _, err := os.Stat(arg); ok && errors.Is(err, os.ErrNotExist) {
		sum, err := hex.DecodeString(value)
		if err != nil || len(sum) != 32 {
			return nil, nil, fmt.Errorf("%w: %q is not a sha256 digest", errUsage, arg)
		}
		return &verify.Artifact{Algorithm: "sha256", Digest: sum}, io.NopCloser(nil), nil
	}
	f, err := os.Open(arg)
	if err != nil {
		return nil, nil, err
	}
	return &verify.Artifact{Content: f}, f, nil
}
