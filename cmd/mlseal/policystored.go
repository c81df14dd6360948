package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/memory"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// policyReference takes the spelling oci://registry/repository:tag for a registry too.
func policyReference(name string) string {
	if rest, ok := strings.CutPrefix(name, "oci://"); ok && !strings.HasPrefix(rest, "/") && oci.IsReference(rest) {
		return rest
	}
	return name
}

// storedPolicy is a policy in a registry, a layout or an archive.
type storedPolicy struct {
	*app
	flags  policyFlags
	name   string // as it was written
	ref    oci.Reference
	target oci.Target
	desc   ocispec.Descriptor
}

// loadStored reads a policy from a store. It decides only under a digest that the operator names, or with the signature of somebody whom
// the operator trusts with policies: whoever filled the store could as well have chosen one that allows everything.
func (a *app) loadStored(ctx context.Context, f policyFlags, store storeFlags) (*loadedPolicy, error) {
	s := &storedPolicy{app: a, flags: f, name: f.name}
	if err := f.checkStored(); err != nil {
		return nil, err
	}
	var err error
	if s.ref, s.target, err = store.openStore(ctx, policyReference(f.name)); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx); err != nil {
		return nil, err
	}
	loaded := &loadedPolicy{}
	if !f.trust.none() {
		if err := s.signed(ctx, loaded); err != nil {
			return nil, fmt.Errorf("policy %s: %w", s.name, err)
		}
	}
	if err := s.load(ctx, loaded); err != nil {
		return nil, err
	}
	if f.trust.none() {
		return loaded, nil
	}
	signer, err := f.signer(a)
	if err != nil {
		return nil, err
	}
	loaded.notes = append(loaded.notes, fmt.Sprintf("policy %s %s is signed by %s", loaded.Ref().Name, s.desc.Digest, signer))
	return loaded, a.rememberPolicy(ctx, loaded, f, signer, s.desc.Digest, s.place())
}

// place is the reference that may name another policy tomorrow; empty for a digest, and for a layout, which may stand anywhere.
func (s *storedPolicy) place() string {
	if s.ref.Repository == "" || s.ref.Tag == "" {
		return ""
	}
	return s.ref.Repository + ":" + s.ref.Tag
}

// resolve finds the one policy that is meant. From here on its digest names it.
func (s *storedPolicy) resolve(ctx context.Context) error {
	pin, err := s.flags.pin(s.ref)
	if err != nil {
		return err
	}
	if s.ref.Tag != "" {
		ref := s.ref
		ref.Digest = pin
		if s.desc, err = oci.Resolve(ctx, s.target, ref); err != nil {
			return missing(fmt.Errorf("policy %s: %w", s.name, err))
		}
		return nil
	}
	s.desc, err = oci.FindPolicy(ctx, s.target, pin)
	switch {
	case errors.Is(err, oci.ErrNotFound) && pin != "":
		return fmt.Errorf("policy %s: %w: it does not hold the policy %s", s.name, oci.ErrContent, pin)
	case err != nil:
		return missing(fmt.Errorf("policy %s: %w", s.name, err))
	case pin == "" && s.flags.trust.none():
		return fmt.Errorf("policy %s: %w: it is not pinned. It says that its digest is %s", s.name, errUnpinned, s.desc.Digest)
	}
	return nil
}

// signed makes sure that the policy is signed by whom the operator trusts, and for the place where it is.
func (s *storedPolicy) signed(ctx context.Context, loaded *loadedPolicy) error {
	who, err := s.flags.trust.policy(s.app)
	if err != nil {
		return err
	}
	root, err := s.flags.trust.policyRoot(ctx, who)
	if err != nil {
		return err
	}
	digests := map[string]string{"sha256": s.desc.Digest.Encoded()}
	found, err := attached(ctx, s.target, s.desc, referenceName(s.ref), digests)
	if err != nil {
		return err
	}
	v := verify.Verifier{Now: s.now(), Trust: trust.New(root)}
	places, err := v.SignedPolicy(ctx, s.desc.Digest.String(), found, who)
	if err != nil {
		return err
	}
	want := s.flags.repository
	if want == "" {
		want = s.ref.Repository
	}
	if want == "" {
		loaded.skipped = append(loaded.skipped, policies.Skipped{Check: "policy place", Reason: "a layout has no name that a policy could be signed for; say with --policy-repository which it should be"})
		return nil
	}
	return verify.PolicyAt(places, want)
}

func (s *storedPolicy) load(ctx context.Context, loaded *loadedPolicy) error {
	files, err := oci.FetchPolicy(ctx, s.target, s.desc)
	if err != nil {
		return fmt.Errorf("policy %s: %w", s.name, err)
	}
	loaded.trustedRoot = files.TrustedRoot
	loaded.Policy, err = policies.Load(files.Document, policies.LoadOptions{
		Name:          s.name,
		PredicateType: attest.PredicateType,
		ReadFile: func(file string) ([]byte, error) {
			if text, ok := files.Files[file]; ok {
				return text, nil
			}
			return nil, fmt.Errorf("%s: %w in the policy's artifact", file, fs.ErrNotExist)
		},
	})
	return err
}

// rememberPolicy compares the policy with those that were accepted before, and remembers it.
func (a *app) rememberPolicy(ctx context.Context, loaded *loadedPolicy, f policyFlags, signer string, artifact digest.Digest, place string) error {
	file, off := a.policyMemory(f)
	if file == "" {
		loaded.skipped = append(loaded.skipped, policies.Skipped{Check: "policy memory", Reason: off + ": an older version of the policy would not be noticed"})
		return nil
	}
	ref := loaded.Ref()
	out, err := memory.Accept(ctx, file, memory.Policy{Name: ref.Name, Signer: signer, Version: ref.Version, Document: ref.Digest,
		Artifact: artifact.String(), Previous: loaded.Previous(), Place: place}, a.now())
	if err != nil {
		return fmt.Errorf("policy %s: %w", f.name, err)
	}
	if out.Note != "" {
		loaded.notes = append(loaded.notes, out.Note)
	}
	if out.NotKept != nil {
		loaded.skipped = append(loaded.skipped, policies.Skipped{Check: "policy memory", Reason: "it cannot be written, so that this version will not be remembered: " + out.NotKept.Error()})
	}
	return nil
}
