package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
)

// trustFlags say whom to trust; their names are cosign's.
type trustFlags struct {
	key       string
	authority string
	identity  string
	issuer    string
	root      string
	timestamp string
}

func (f *trustFlags) add(cmd *cobra.Command) { f.addAs(cmd, "") }

// addAs adds the flags with a prefix, for a command on which they are about somebody else's signature.
func (f *trustFlags) addAs(cmd *cobra.Command, prefix string) {
	add := func(target *string, name, about string) { cmd.Flags().StringVar(target, prefix+name, "", about) }
	add(&f.key, "key", "public key of the signer; with --"+prefix+"trusted-root a log entry is demanded too, with --"+prefix+"timestamp-certificate-chain a timestamp")
	add(&f.authority, "certificate-chain", "PEM certificates of your own certificate authority: the root, and intermediates if any")
	add(&f.authority, "ca", "the same as --"+prefix+"certificate-chain")
	add(&f.identity, "certificate-identity", "subject of the signer's certificate (keyless), compared whole")
	add(&f.issuer, "certificate-oidc-issuer", "issuer of that subject, compared whole")
	add(&f.root, "trusted-root", "Sigstore trusted root for keyless signers and timestamps; without it the public-good one is fetched with TUF")
	add(&f.timestamp, "timestamp-certificate-chain", "PEM certificates of a timestamp authority; a timestamp of it is demanded with --"+prefix+"key")
	cmd.MarkFlagsMutuallyExclusive(prefix+"key", prefix+"certificate-chain", prefix+"ca", prefix+"certificate-identity")
	cmd.MarkFlagsMutuallyExclusive(prefix+"trusted-root", prefix+"timestamp-certificate-chain")
	cmd.MarkFlagsMutuallyExclusive(prefix+"certificate-identity", prefix+"timestamp-certificate-chain")
	cmd.MarkFlagsRequiredTogether(prefix+"certificate-identity", prefix+"certificate-oidc-issuer")
}

// none reports whether nobody is named.
func (f *trustFlags) none() bool { return f.key == "" && f.authority == "" && f.identity == "" }

// anchor loads what the flags name.
func (f *trustFlags) anchor(ctx context.Context, a *app) (verify.Anchor, error) {
	switch {
	case f.identity != "":
		root, err := f.trustedRoot(ctx)
		if err != nil {
			return nil, err
		}
		return trust.NewKeyless(root, trust.Identity{Issuer: f.issuer, Subject: f.identity})
	case f.authority != "":
		return f.certificateAuthority()
	}
	key, err := a.loadPublicKey(f.key)
	if err != nil {
		return nil, err
	}
	witnesses, err := f.witnesses()
	switch {
	case err != nil:
		return nil, err
	case f.root != "":
		return trust.NewLoggedKey(key, witnesses), nil
	case f.timestamp != "":
		return trust.NewTimestampedKey(key, witnesses), nil
	}
	return key, nil
}

// witnesses is who vouches for a signature beside the signer; nil when nobody is named.
func (f *trustFlags) witnesses() (*trust.Root, error) {
	switch {
	case f.root != "":
		return loadRoot(f.root)
	case f.timestamp == "":
		return nil, nil
	}
	return readAs("certificates", f.timestamp, trust.MaxKeyBytes, trust.ParseTimestampAuthority)
}

func (f *trustFlags) certificateAuthority() (verify.Anchor, error) {
	timestamps, err := f.witnesses()
	if err != nil {
		return nil, err
	}
	_, a, err := f.readAuthority(timestamps)
	if err != nil {
		return nil, err // and no nil *Authority in an interface
	}
	return a, nil
}

// readAuthority reads the certificates of --certificate-chain.
func (f *trustFlags) readAuthority(timestamps *trust.Root) ([]byte, *trust.Authority, error) {
	text, err := readInput("certificates", f.authority, trust.MaxKeyBytes)
	if err != nil {
		return nil, nil, err
	}
	a, err := trust.ParseAuthority(text, timestamps)
	if err != nil {
		return nil, nil, fmt.Errorf("certificates %s: %w", f.authority, err)
	}
	return text, a, nil
}

// trustedRoot is the one that --trusted-root names, or the public-good one from the network.
func (f *trustFlags) trustedRoot(ctx context.Context) (*trust.Root, error) {
	if f.root != "" {
		return loadRoot(f.root)
	}
	return trust.FetchRoot(ctx, false)
}

func loadRoot(name string) (*trust.Root, error) {
	return readAs("trusted root", name, trust.MaxRootBytes, trust.ParseRoot)
}

// policyRoot is who vouches for a policy's keyless signers, and for the timestamps of those with certificates; nil when nobody
// is needed or named, or the policy has its own. Timestamps alone are not worth asking the network for a root.
func (f *trustFlags) policyRoot(ctx context.Context, policy *policies.Policy) (*trust.Root, error) {
	own := policy.TrustRoot() != nil
	switch {
	case own && (f.root != "" || f.timestamp != ""):
		return nil, usage(errors.New("verify: the policy names its own trust root; leave out --trusted-root and --timestamp-certificate-chain"))
	case own:
		return nil, nil
	case f.timestamp != "" && (policy.NeedsTrustRoot() || !policy.TakesTimestamps()):
		return nil, usage(errors.New("verify: --timestamp-certificate-chain is for policies whose signers have certificates of your own authority, and none is keyless: that needs --trusted-root"))
	case policy.NeedsTrustRoot():
		return f.trustedRoot(ctx)
	case policy.TakesTimestamps():
		return f.witnesses()
	case f.root != "":
		return nil, usage(errors.New("verify: --trusted-root: this policy has neither keyless signers nor signers with certificates, and would not look at it"))
	}
	return nil, nil
}

// requireSignature is the rest of a policy for which a signature is enough.
const requireSignature = "require:\n  - {id: signed, signature: {by: [SIGNER]}}\n"

// policy is the policy "signed by whom the flags name", for `verify REF`.
func (f *trustFlags) policy(a *app) (*policies.Policy, error) {
	return f.policyThat(a, requireSignature)
}

// policyThat is a policy whose one signer is whom the flags name; SIGNER stands for it in the rest of the document.
func (f *trustFlags) policyThat(a *app, rest string) (*policies.Policy, error) {
	if f.authority != "" {
		text, _, err := f.readAuthority(nil)
		if err != nil {
			return nil, err
		}
		return signedBy("certificate", "{certificate: {authority: ca.pem, anySubject: true}}", rest, text)
	}
	if f.identity != "" {
		return signedBy("keyless", fmt.Sprintf("{keyless: {issuer: %s, subject: %s}}", quoted(f.issuer), quoted(f.identity)), rest, nil)
	}
	if f.root != "" || f.timestamp != "" {
		return nil, usage(errors.New("verify: --trusted-root and --timestamp-certificate-chain with --key are for directories and files"))
	}
	key, err := a.publicKeyText(f.key)
	if err != nil {
		return nil, err
	}
	if _, err := trust.ParseKey(key); err != nil {
		return nil, fmt.Errorf("key %s: %w", f.key, err)
	}
	return signedBy("key", "{key: key.pub}", rest, key)
}

// signedBy makes the policy of one signer. file is what the definition names a file for.
func signedBy(name, definition, rest string, file []byte) (*policies.Policy, error) {
	document := fmt.Sprintf("apiVersion: mlseal.dev/policy/v1\nname: signed-with-%s\nsigners:\n  %s: %s\n%s", name, name, definition, strings.ReplaceAll(rest, "SIGNER", name))
	return policies.Load([]byte(document), policies.LoadOptions{
		Name: "--" + name, PredicateType: attest.PredicateType,
		ReadFile: func(string) ([]byte, error) { return file, nil },
	})
}

// quoted writes a string as JSON, which YAML reads as the same string.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return `""` // no identity; the policy says so
	}
	return string(text)
}
