package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

// errUnpinned says that a policy comes from where the artifact comes from, so that the sender would decide.
var errUnpinned = errors.New("whoever made it would decide for you")

// policyFlags name a policy.
type policyFlags struct {
	name   string
	digest string
	params []string // NAME=VALUE
}

func (f *policyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "policy", "", "policy document, or the archive or store of one that was taken along (with --policy-digest)")
	cmd.Flags().StringVar(&f.digest, "policy-digest", "", "digest of the policy in an archive or store, as mlseal copy printed it where it was made")
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

// loadedPolicy is a policy, and the trusted root that was taken along with it.
type loadedPolicy struct {
	*policies.Policy
	trustedRoot []byte
}

// root is the trusted root for the policy's keyless signers; nil when it needs none.
func (p *loadedPolicy) root(ctx context.Context, f trustFlags) (*trust.Root, error) {
	if p.trustedRoot == nil || f.root != "" || p.TrustRoot() != nil || !p.NeedsTrustRoot() {
		return f.policyRoot(ctx, p.Policy)
	}
	root, err := trust.ParseRoot(p.trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("trusted root of the policy: %w", err)
	}
	return root, nil
}

// loadPolicy reads the policy that --policy names, with the values that --param gives.
func (f verifyFlags) loadPolicy(ctx context.Context) (*loadedPolicy, error) {
	p, err := f.namedPolicy(ctx)
	if err != nil {
		return nil, err
	}
	p.Policy, err = f.policy.withParams(p.Policy)
	return p, err
}

// namedPolicy reads the policy that --policy names: a document, or one in a store under a digest.
func (f verifyFlags) namedPolicy(ctx context.Context) (*loadedPolicy, error) {
	if !exists(f.policy.name) && oci.IsReference(f.policy.name) {
		return f.storedPolicy(ctx)
	}
	if f.policy.digest != "" {
		return nil, usage(errors.New("--policy-digest is for a policy in an archive or store; a policy file is yours already"))
	}
	policy, _, err := readPolicy(f.policy.name)
	if err != nil {
		return nil, err
	}
	return &loadedPolicy{Policy: policy}, nil
}

// readPolicy reads a policy document and the files that it refers to, which are named relative to it.
func readPolicy(name string) (*policies.Policy, *oci.PolicyFiles, error) {
	data, err := readInput("policy", name, policies.MaxPolicyBytes)
	if errors.Is(err, errTooLarge) {
		return nil, nil, usage(err)
	}
	if err != nil {
		return nil, nil, err
	}
	files := &oci.PolicyFiles{Document: data, Files: map[string][]byte{}}
	policy, err := policies.Load(data, policies.LoadOptions{
		Name:          name,
		PredicateType: attest.PredicateType,
		ReadFile: func(file string) ([]byte, error) {
			path := file
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(name), path)
			}
			text, err := readInput("file", path, policies.MaxTrustRootBytes)
			if err == nil {
				files.Files[file] = text
			}
			return text, err
		},
	})
	return policy, files, err
}

// storedPolicy reads a policy that was taken along. It decides only under a digest that the operator names: the policy in an
// archive was chosen by whoever made the archive, who could as well have chosen one that allows everything.
func (f verifyFlags) storedPolicy(ctx context.Context) (*loadedPolicy, error) {
	ref, target, err := f.store.openStore(ctx, f.policy.name)
	if err != nil {
		return nil, err
	}
	pin, err := f.policy.pin(ref)
	if err != nil {
		return nil, err
	}
	desc, err := oci.FindPolicy(ctx, target, pin)
	switch {
	case errors.Is(err, oci.ErrNotFound) && pin != "":
		return nil, fmt.Errorf("policy %s: %w: it does not hold the policy %s", f.policy.name, oci.ErrContent, pin)
	case err != nil:
		return nil, missing(fmt.Errorf("policy %s: %w", f.policy.name, err))
	case pin == "":
		return nil, fmt.Errorf("policy %s: %w: it is not pinned. It says that its digest is %s", f.policy.name, errUnpinned, desc.Digest)
	}
	files, err := oci.FetchPolicy(ctx, target, desc)
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", f.policy.name, err)
	}
	policy, err := policies.Load(files.Document, policies.LoadOptions{
		Name:          f.policy.name,
		PredicateType: attest.PredicateType,
		ReadFile: func(file string) ([]byte, error) {
			if text, ok := files.Files[file]; ok {
				return text, nil
			}
			return nil, fmt.Errorf("%s: %w in the policy's artifact", file, fs.ErrNotExist)
		},
	})
	return &loadedPolicy{policy, files.TrustedRoot}, err
}

// pin is the digest that the flag or the reference names; empty for none.
func (f policyFlags) pin(ref oci.Reference) (digest.Digest, error) {
	if ref.Tag != "" {
		return "", usage(fmt.Errorf("--policy %s: name the policy by its digest, not by a tag", f.name))
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
