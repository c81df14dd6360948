package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/verify"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Limits of a directory of bundles.
const (
	MaxBundleFiles  = 10000
	MaxBundlesBytes = 256 << 20 // of all files together
)

// stores finds statements about dependencies: in each store that the command line named, under the
// dependency's manifest digest. It implements verify.Source.
type stores struct {
	opened []openedStore
}

type openedStore struct {
	name   string
	target oci.Target
}

func (s *stores) add(name string, target oci.Target) {
	s.opened = append(s.opened, openedStore{name, target})
}

// Statements looks for statements that are attached to the artifact with the given digests.
func (s *stores) Statements(ctx context.Context, digests map[string]string) ([]verify.Found, error) {
	encoded, ok := digests["sha256"]
	if !ok {
		return nil, nil // only a manifest's digest finds anything in a store
	}
	var found []verify.Found
	for _, store := range s.opened {
		desc, err := store.target.Resolve(ctx, digest.NewDigestFromEncoded(digest.SHA256, encoded).String())
		if errors.Is(err, oci.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", store.name, err)
		}
		if desc.Digest.Encoded() != encoded {
			return nil, fmt.Errorf("%s: %w: asked for sha256:%s, got %s", store.name, oci.ErrContent, encoded, desc.Digest)
		}
		plain := ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
		more, err := attached(ctx, store.target, plain, store.name, digests)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", store.name, err)
		}
		found = append(found, more...)
	}
	return found, nil
}

// given is what --attestations named.
type given struct {
	found    []verify.Found
	packages []*openedPackage
}

// attestations reads what --attestations names: a directory of bundle files, a bundle file, or a package whose
// statements are taken and whose store is searched for dependencies.
func (a *app) attestations(ctx context.Context, args []string, flags storeFlags, s *stores) (given, error) {
	var g given
	for _, arg := range args {
		if !isPackage(arg) {
			more, err := bundleFiles(arg)
			if err != nil {
				return g, fmt.Errorf("--attestations: %w", err)
			}
			g.found = append(g.found, more...)
			continue
		}
		p, err := a.openPackage(ctx, arg, flags)
		if err != nil {
			return g, fmt.Errorf("--attestations: %w", err)
		}
		s.add(p.name, p.target)
		g.packages = append(g.packages, p)
		// Whoever names a package here offers its statements for the artifact that is verified.
		more, err := attached(ctx, p.target, p.pkg.Descriptor, p.name, nil)
		if err != nil {
			return g, fmt.Errorf("--attestations %s: %w", arg, err)
		}
		g.found = append(g.found, more...)
	}
	return g, nil
}

// unlike says how a tree differs from a package that it seems to have been taken from: one with which it
// shares at least half of the files. It explains a denial and proves nothing.
func (g given) unlike(name string, m *manifest.Manifest) []string {
	var notes []string
	for _, p := range g.packages {
		d := p.pkg.Tree.Diff(m)
		same := len(p.pkg.Tree.Files) - len(d.Missing) - len(d.Changed)
		if d.Equal() || 2*same < len(p.pkg.Tree.Files) {
			continue
		}
		notes = append(notes, fmt.Sprintf("%s is not the tree of %s@%s: %s", name, p.name, p.pkg.Descriptor.Digest, strings.TrimPrefix(d.Err().Error(), "manifest: ")))
	}
	return notes
}

// bundleFiles reads every file of a directory, or one file. What is no bundle, or cannot be read as one, is
// reported by the decision: one bad file must not stop it.
func bundleFiles(name string) ([]verify.Found, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, noSuch(name, err)
	}
	files := []string{name}
	if info.IsDir() {
		if files, err = filesIn(name); err != nil {
			return nil, err
		}
	}
	var found []verify.Found
	total := 0
	for i, file := range files {
		data, err := readBundle(file)
		if total += len(data); total > MaxBundlesBytes || i == MaxBundleFiles {
			limit := fmt.Errorf("%w: more than %d files or %d bytes of bundles", verify.ErrLimit, MaxBundleFiles, MaxBundlesBytes)
			return []verify.Found{{Origin: name, Incomplete: true, Err: limit}}, nil
		}
		var gone usageError // a link that leads nowhere
		switch {
		case errors.Is(err, errTooLarge):
			err = fmt.Errorf("%w: %w", verify.ErrLimit, err)
		case info.IsDir() && errors.As(err, &gone):
			err = fmt.Errorf("%w: %w", attest.ErrBundle, err)
		case err != nil && !errors.Is(err, attest.ErrBundle):
			return nil, err // it may be the one that says no
		}
		found = append(found, verify.Found{Origin: filepath.Base(file), Data: data, Err: err})
	}
	return found, nil
}

// filesIn lists what is no directory in dir. Links are followed: a mounted Kubernetes ConfigMap holds nothing else.
func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		files = append(files, path)
	}
	if len(files) == 0 {
		return nil, usage(fmt.Errorf("%s holds no files", dir))
	}
	return files, nil
}
