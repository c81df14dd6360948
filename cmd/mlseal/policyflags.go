package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

// policyFlags name a policy, and whom to trust for it.
type policyFlags struct {
	name       string
	digest     string
	trust      trustFlags // who may sign policies
	repository string
	state      string
	params     []string // NAME=VALUE
}

func (f *policyFlags) add(cmd *cobra.Command) {
	add := func(target *string, name, about string) { cmd.Flags().StringVar(target, name, "", about) }
	add(&f.name, "policy", "policy document, or a registry, layout or archive that holds one (with --policy-key, --policy-certificate-identity or --policy-digest)")
	add(&f.digest, "policy-digest", "digest of the policy in a registry, layout or archive, as mlseal copy or policy push printed it where it was made")
	add(&f.trust.key, "policy-key", "public key of who signs policies: the signed policy in a registry, layout or archive decides")
	add(&f.trust.identity, "policy-certificate-identity", "subject of the certificate of who signs policies (keyless), compared whole")
	add(&f.trust.issuer, "policy-certificate-oidc-issuer", "issuer of that subject, compared whole")
	add(&f.trust.root, "policy-trusted-root", "Sigstore trusted root for --policy-certificate-identity; without it the public-good one is fetched with TUF")
	add(&f.repository, "policy-repository", "repository that the policy must be signed for, when it comes from a copy (default the one that it comes from)")
	add(&f.state, "policy-state", "file that remembers which versions of policies were accepted, or off (default $MLSEAL_STATE, or mlseal/policies.json in $XDG_STATE_HOME); with a policy file, remember that too")
	cmd.MarkFlagsMutuallyExclusive("policy-key", "policy-certificate-identity")
	cmd.MarkFlagsRequiredTogether("policy-certificate-identity", "policy-certificate-oidc-issuer")
}

// addParams is for commands that decide by the policy.
func (f *policyFlags) addParams(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.params, "param", nil, "NAME=VALUE: another value for a parameter of the policy that has `override: true` (repeatable)")
}

// withParams gives the policy's parameters the values that --param names. A value is read as the parameter's type and never as an expression.
func (f policyFlags) withParams(p *policies.Policy) (*policies.Policy, error) {
	values := map[string]string{}
	for _, given := range f.params {
		name, value, ok := strings.Cut(given, "=")
		if _, twice := values[name]; !ok || name == "" || twice {
			return nil, usage(fmt.Errorf("--param %s: write NAME=VALUE, each name once", given))
		}
		values[name] = value
	}
	if len(values) == 0 {
		return p, nil
	}
	out, err := p.WithParams(values)
	if err != nil {
		return nil, fmt.Errorf("--param: %w", err)
	}
	return out, nil
}

// about reports whether something is said about a policy from a store.
func (f *policyFlags) about() bool {
	return f.digest != "" || f.trust != trustFlags{} || f.repository != "" || f.state != ""
}

// checkFile refuses what a policy file of the operator's own does not need.
func (f *policyFlags) checkFile() error {
	if f.digest != "" {
		return usage(errors.New("--policy-digest is for a policy in an archive or store; a policy file is yours already"))
	}
	if f.trust != (trustFlags{}) || f.repository != "" {
		return usage(errors.New("--policy-key, --policy-certificate-identity, --policy-trusted-root and --policy-repository are for a policy in a registry, layout or archive; a policy file is yours already"))
	}
	return nil
}

// checkStored refuses flags that would do nothing.
func (f *policyFlags) checkStored() error {
	switch {
	case f.trust.root != "" && f.trust.identity == "":
		return usage(errors.New("--policy-trusted-root goes with --policy-certificate-identity"))
	case f.trust.none() && (f.repository != "" || f.state != ""):
		return usage(errors.New("--policy-repository and --policy-state go with --policy-key or --policy-certificate-identity: a digest alone says all"))
	}
	return nil
}

// pin is the digest that the flag or the reference names; empty for none.
func (f *policyFlags) pin(ref oci.Reference) (digest.Digest, error) {
	if ref.Tag != "" && f.trust.none() {
		return "", usage(fmt.Errorf("--policy %s: name the policy by its digest, not by a tag, or say with --policy-key or --policy-certificate-identity who signs policies", f.name))
	}
	if f.digest == "" {
		return ref.Digest, nil
	}
	d, err := digest.Parse(f.digest)
	if err != nil || d.Algorithm() != digest.SHA256 || ref.Digest != "" && ref.Digest != d {
		return "", usage(fmt.Errorf("--policy-digest %s: name one sha256 digest, as in sha256:…", f.digest))
	}
	return d, nil
}

// signer names who signs policies, for the memory.
func (f *policyFlags) signer(a *app) (string, error) {
	if f.trust.identity != "" {
		return fmt.Sprintf("%s of %s", f.trust.identity, f.trust.issuer), nil
	}
	text, err := a.publicKeyText(f.trust.key)
	if err != nil {
		return "", err
	}
	key, err := trust.ParseKey(text)
	if err != nil {
		return "", fmt.Errorf("key %s: %w", f.trust.key, err)
	}
	return "key sha256:" + key.Fingerprint(), nil
}

// The places of the memory of accepted policies.
const (
	stateVariable = "MLSEAL_STATE"
	stateOff      = "off"
)

// policyMemory is the file that remembers policies; empty when there is none, and then why.
func (a *app) policyMemory(f policyFlags) (file, why string) {
	named := f.state
	if named == "" {
		named, _ = a.lookupEnv(stateVariable)
	}
	switch {
	case named == stateOff:
		return "", "it is off"
	case named != "":
		return named, ""
	}
	for _, base := range []struct{ variable, below string }{{"XDG_STATE_HOME", ""}, {"HOME", filepath.Join(".local", "state")}, {"LOCALAPPDATA", ""}} {
		if dir, _ := a.lookupEnv(base.variable); filepath.IsAbs(dir) {
			return filepath.Join(dir, base.below, "mlseal", "policies.json"), ""
		}
	}
	return "", "there is no home directory, and neither --policy-state nor " + stateVariable + " names a file"
}
