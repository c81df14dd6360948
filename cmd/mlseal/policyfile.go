package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify/trust"
)

// errUnpinned says that a policy comes from where the artifact comes from, so that the sender would decide.
var errUnpinned = errors.New("whoever made it would decide for you")

// loadedPolicy is a policy, and the trusted root that was taken along with it.
type loadedPolicy struct {
	*policies.Policy
	trustedRoot []byte
	// notes and skipped are about the policy itself, and go into every decision.
	notes   []string
	skipped []policies.Skipped
}

// about adds what is to be said of the policy to its decision.
func (p *loadedPolicy) about(d *policies.Decision) {
	d.Notes = append(d.Notes, p.notes...)
	d.Skipped = append(d.Skipped, p.skipped...)
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
func (a *app) loadPolicy(ctx context.Context, f policyFlags, store storeFlags) (*loadedPolicy, error) {
	p, err := a.namedPolicy(ctx, f, store)
	if err != nil {
		return nil, err
	}
	p.Policy, err = f.withParams(p.Policy)
	return p, err
}

// namedPolicy reads the policy that --policy names: a document, or one in a store.
func (a *app) namedPolicy(ctx context.Context, f policyFlags, store storeFlags) (*loadedPolicy, error) {
	if !exists(f.name) && oci.IsReference(policyReference(f.name)) {
		return a.loadStored(ctx, f, store)
	}
	if err := f.checkFile(); err != nil {
		return nil, err
	}
	policy, files, err := readPolicy(f.name)
	if err != nil {
		return nil, err
	}
	loaded := &loadedPolicy{Policy: policy}
	if f.state == "" || f.state == stateOff {
		return loaded, nil // a file is the operator's own
	}
	desc, err := files.Descriptor()
	if err != nil {
		return nil, err
	}
	return loaded, a.rememberPolicy(ctx, loaded, f, "a file", desc.Digest, "")
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
