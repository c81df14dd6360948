package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

// policyPushFlags say how a policy is pushed.
type policyPushFlags struct {
	key        signWithFlags
	repository string
	output     string
	store      storeFlags
}

func (a *app) policyPushCommand() *cobra.Command {
	var f policyPushFlags
	cmd := &cobra.Command{
		Use:   "push FILE REF (--key KEY | --keyless)",
		Short: "Sign a policy and push it to a registry or layout",
		Long: `Push a policy document with the files that it names (keys, authorities, a trusted root, digest lists, Rego modules) as one OCI artifact under
a tag, signed by whoever may sign policies. The same files give the same digest. Nothing is pushed unless the policy loads, has a version,
and names its files by paths below its own directory.

The signature says which repository the policy is for: it is not accepted from another one. Name that with --repository when you push
to a layout from which it will be copied. A gate asks for the policy by its tag and by who signs policies:
  mlseal verify REF --policy registry.example/policies/gate:prod --policy-key policy.pub`,
		Example: "  mlseal policy push policy.yaml registry.example/policies/gate:prod --key policy.key\n  mlseal policy push policy.yaml oci:store:gate --repository registry.example/policies/gate --key policy.key",
		Args:    takes("FILE", "REF"),
	}
	f.key.add(cmd)
	cmd.Flags().StringVar(&f.repository, "repository", "", "repository that the policy is for, REGISTRY/NAME (default the one that it is pushed to)")
	outputFlag(cmd, &f.output, "text", "json", "digest")
	f.store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		return a.pushPolicy(cmd.Context(), args[0], args[1], f)
	})
	return cmd
}

func (a *app) pushPolicy(ctx context.Context, file, to string, f policyPushFlags) error {
	ref, err := f.destination(to)
	if err != nil {
		return err
	}
	policy, files, err := readPolicy(file)
	if err != nil {
		return err
	}
	if err := pushable(file, policy, files); err != nil {
		return err
	}
	key, err := a.loadSigner(ctx, f.key)
	if err != nil {
		return err
	}
	target, err := f.store.open(ctx, ref, true)
	if errors.Is(err, oci.ErrNotLayout) {
		return usage(err) // nobody else chose the place
	}
	if err != nil {
		return err
	}
	desc, err := oci.PushPolicy(ctx, target, files)
	if err != nil {
		return err
	}
	done, bundle, err := a.signPolicy(ctx, key, desc, target, cmp.Or(f.repository, referenceName(ref)))
	if err != nil {
		return err
	}
	if err := oci.Tag(ctx, target, desc, ref.Tag); err != nil {
		return err
	}
	if f.output == "digest" {
		return a.printf("%s\n", desc.Digest)
	}
	return a.printFields(f.output, field{"policy", fmt.Sprintf("%s v%d", policy.Ref().Name, policy.Ref().Version)}, field{"pushed", to}, field{"digest", desc.Digest.String()},
		field{"document", policy.Ref().Digest}, field{"for", cmp.Or(f.repository, referenceName(ref))}, field{"signature", done.digest}, field{"status", done.status}, key.signedBy(bundle))
}

// destination is the tag to push to.
func (f policyPushFlags) destination(to string) (oci.Reference, error) {
	ref, err := destination(policyReference(to))
	if err == nil && ref.Tag == "" {
		err = usage(fmt.Errorf("%s: name a tag to push the policy to", to))
	}
	if err != nil || f.repository == "" {
		return ref, err
	}
	home, err := oci.ParseReference(f.repository)
	if err != nil || home.Repository == "" || home.Tag != "" || home.Digest != "" {
		return ref, usage(fmt.Errorf("--repository %s: name a repository of a registry, without a tag", f.repository))
	}
	return ref, nil
}

// pushable refuses a policy that could not be told from an older one, and one whose files lie elsewhere than below it.
func pushable(file string, policy *policies.Policy, files *oci.PolicyFiles) error {
	if policy.Ref().Version == 0 {
		return usage(fmt.Errorf("%s: the policy has no version: write one, which grows with every change", file))
	}
	for _, name := range slices.Sorted(maps.Keys(files.Files)) {
		if !filepath.IsLocal(name) {
			return usage(fmt.Errorf("%s: it names the file %s: a policy that is pushed takes only files below its own directory along, by relative paths", file, name))
		}
	}
	return nil
}

// signPolicy attaches a signature, unless the same signer attached the same one before.
func (a *app) signPolicy(ctx context.Context, key *signingKey, desc ocispec.Descriptor, target oci.Target, home string) (attachedOnce, *attest.Bundle, error) {
	what := attachment{predicateType: attest.SignaturePredicateType, predicate: []byte("{}")}
	subject := attest.ResourceDescriptor{Name: home, MediaType: desc.MediaType, Digest: attest.DigestSet{"sha256": desc.Digest.Encoded()}}
	bundle, err := what.sign(ctx, key, []attest.ResourceDescriptor{subject})
	if err != nil {
		return attachedOnce{}, nil, err
	}
	p := &openedPackage{target: target, pkg: &oci.Package{Descriptor: desc}}
	done, err := p.attachOnce(ctx, key, bundle, what, a.now())
	return done, bundle, err
}
