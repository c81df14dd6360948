package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/mlseal/mlseal/internal/parallel"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/mlseal/mlseal/verify/trust"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// lookAtOnce is how many artifacts of a store are read at a time.
const lookAtOnce = 4

// affected lists what descends from a digest in all of the stores.
func (a *app) affected(ctx context.Context, args []string, f lineageFlags) error {
	digest, err := affectedDigest(f.affectedBy)
	if err != nil {
		return err
	}
	if f.output != "tree" && f.output != "json" {
		return usage(fmt.Errorf("--affected-by is written as tree or json, not as %s", f.output))
	}
	descent := &verify.Descent{}
	var ref *policies.PolicyRef
	if f.policy.name != "" {
		if ref, descent.Trusted, err = a.trusted(ctx, f.verifyFlags); err != nil {
			return err
		}
	}
	incomplete := a.searchStores(ctx, args, f.store, descent)
	if incomplete != nil && !isAny(incomplete, unreadable...) {
		return incomplete
	}
	if err := a.writeForm(report.NewAffected(descent, digest, ref, incomplete), f); err != nil {
		return err
	}
	return incomplete
}

// affectedDigest reads the digest of --affected-by; the algorithm may be left out for an image manifest's.
func affectedDigest(text string) (string, error) {
	algorithm, value, ok := strings.Cut(text, ":")
	if !ok {
		algorithm, value = "sha256", text
	}
	length, known := map[string]int{"sha256": 64, "dirHash": 64, "sha512": 128}[algorithm]
	if _, err := hex.DecodeString(value); !known || err != nil || len(value) != length || strings.ToLower(value) != value {
		return "", usage(fmt.Errorf("--affected-by %s: not a digest, as in sha256:… or dirHash:… and lower-case hexadecimal digits", text))
	}
	return algorithm + ":" + value, nil
}

// trusted loads the policy whose signers' provenance counts.
func (a *app) trusted(ctx context.Context, f verifyFlags) (*policies.PolicyRef, func(verify.Found) bool, error) {
	policy, err := a.loadPolicy(ctx, f.policy, f.store)
	if err != nil {
		return nil, nil, err
	}
	root, err := policy.root(ctx, f.trust)
	if err != nil {
		return nil, nil, err
	}
	v := verify.Verifier{Now: a.now(), Trust: trust.New(root)}
	trusted, err := v.Trusted(policy.Policy)
	ref := policy.Ref()
	return &ref, trusted, err
}

func (a *app) searchStores(ctx context.Context, args []string, flags storeFlags, descent *verify.Descent) error {
	var unread error
	for _, arg := range args {
		ref, target, err := flags.openStore(ctx, arg)
		if err != nil {
			return err
		}
		if ref.Tag != "" || ref.Digest != "" {
			return usage(fmt.Errorf("lineage: %s: name a repository or layout, without a tag: all of it is searched", arg))
		}
		entries, err := oci.List(ctx, target)
		if err != nil {
			return missing(err)
		}
		err = searchStore(ctx, referenceName(ref), target, entries, descent)
		switch {
		case isAny(err, unreadable...):
			unread = cmp.Or(unread, fmt.Errorf("%s: %w", arg, err))
		case err != nil:
			return fmt.Errorf("%s: %w", arg, err)
		}
	}
	return unread
}

// searchStore reads what is attached to each of the artifacts. What cannot be read for what it is does not keep the rest from being
// looked at: the error comes at the end.
func searchStore(ctx context.Context, store string, target oci.Target, entries []oci.Entry, descent *verify.Descent) error {
	var mu sync.Mutex
	var unread error
	err := parallel.Do(ctx, len(entries), lookAtOnce, func(ctx context.Context, i int) error {
		name := store + "@" + entries[i].Digest
		digests, found, err := lookAt(ctx, target, entries[i], name)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			if tag := entries[i].Tag; tag != "" {
				name = store + ":" + tag
			}
			err = descent.Add(name, digests, found)
		}
		if isAny(err, unreadable...) {
			unread = cmp.Or(unread, err)
			return nil
		}
		return err
	})
	return cmp.Or(err, unread)
}

// unreadable are the errors of what is there and is not what it should be: others than those of a store that fails.
var unreadable = []error{oci.ErrContent, oci.ErrNotFound, oci.ErrManifest, oci.ErrLimit, verify.ErrLimit}

// lookAt returns the digests of an artifact and what is attached to it.
func lookAt(ctx context.Context, target oci.Target, e oci.Entry, name string) (map[string]string, []verify.Found, error) {
	desc, err := target.Resolve(ctx, cmp.Or(e.Digest, e.Tag))
	if err != nil {
		return nil, nil, err
	}
	desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	digests, err := digestsOf(ctx, target, desc)
	switch {
	case err != nil:
		return nil, nil, err
	case e.Problem != "":
		return nil, nil, fmt.Errorf("%s: %w: %s", name, oci.ErrContent, e.Problem)
	}
	found, err := attached(ctx, target, desc, name, digests)
	return digests, found, err
}

// digestsOf are the digests by which statements may call an artifact: also that of its tree, if it is a package whose files are known
// without reading them.
func digestsOf(ctx context.Context, target oci.Target, desc ocispec.Descriptor) (map[string]string, error) {
	digests := map[string]string{"sha256": desc.Digest.Encoded()}
	pkg, err := oci.OpenPackage(ctx, target, desc)
	switch {
	case errors.Is(err, oci.ErrNotPackage):
	case err != nil:
		return nil, err
	case len(pkg.Unread()) == 0:
		digests["dirHash"] = pkg.Tree.DirHash()
	}
	return digests, nil
}
