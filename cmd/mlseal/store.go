package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

// maxCABytes bounds the file of --ca-file.
const maxCABytes = 4 << 20

// storeFlags are the flags of every command that opens a registry.
type storeFlags struct {
	plainHTTP bool
	caFile    string
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.plainHTTP, "plain-http", false, "use http for a registry or object store that is not on this machine too")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "PEM certificates of a registry's or object store's own authority, trusted beside the system's")
}

func (f storeFlags) open(ctx context.Context, ref oci.Reference, create bool) (oci.Target, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	opts.Create = create
	return oci.Open(ctx, ref, opts)
}

func (f storeFlags) options() (oci.OpenOptions, error) {
	opts := oci.OpenOptions{PlainHTTP: f.plainHTTP, UserAgent: "mlseal/" + version}
	var err error
	if f.caFile != "" {
		opts.CACertificates, err = readInput("--ca-file", f.caFile, maxCABytes)
	}
	return opts, err
}

// isPackage tells a package from a directory or file: it is written like a reference and no such path
// exists, or it is a directory that holds an OCI layout. What lies in an object store is a directory or file.
func isPackage(arg string) bool {
	if objectstore.IsURL(arg) {
		return false
	}
	if exists(arg) {
		return isLayout(arg)
	}
	return oci.IsReference(arg)
}

func isLayout(dir string) bool { return exists(filepath.Join(dir, ocispec.ImageLayoutFile)) }

// exists reports whether a path is there, be it a link that leads nowhere.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// errMixed says that a directory is a layout and something else at once.
var errMixed = errors.New("an OCI layout with other files beside it")

// parseReference also takes the directory of a layout. Such a directory must hold nothing else: with a layout planted
// beside them, a decision would be about the layout and the deployment about the other files.
func parseReference(arg string) (oci.Reference, error) {
	if !isLayout(arg) {
		return oci.ParseReference(arg)
	}
	other, err := besideLayout(arg)
	if err != nil {
		return oci.Reference{}, err
	}
	if other != "" {
		return oci.Reference{}, fmt.Errorf("%s: %w: %s", arg, errMixed, other)
	}
	return oci.Reference{Layout: arg}, nil
}

// layoutFile tells the names that a layout has: its own, and temporary ones of a write that was cut off.
var layoutFile = lazyregexp.New(`^(oci-layout|index\.json|\.mlseal\.lock|blobs/(sha256|sha512)/(\.mlseal-[0-9]+|[0-9a-f]{64}|[0-9a-f]{128})|\.mlseal-[0-9]+)$`)

// besideLayout names the first thing below dir that is no part of an OCI image layout; empty when there is none.
func besideLayout(dir string) (other string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && slices.Contains([]string{".", "blobs", "blobs/sha256", "blobs/sha512", "ingest"}, rel):
			return nil
		case d.Type().IsRegular() && layoutFile.MatchString(rel):
			return nil
		}
		other = rel
		return filepath.SkipAll
	})
	return other, err
}

// openedPackage is a package that was resolved to a digest once; everything after uses the digest.
type openedPackage struct {
	ref    oci.Reference
	name   string // for subjects and reports: no path of this machine
	target oci.Target
	pkg    *oci.Package
}

// openPackage opens a package whose files are all known, for which a car, a dataset's list of files and the archives of other tools are read.
func (a *app) openPackage(ctx context.Context, arg string, flags storeFlags) (*openedPackage, error) {
	p, err := a.resolvePackage(ctx, arg, flags)
	if err != nil {
		return nil, err
	}
	meter := a.progress("reading", p.unread())
	err = p.pkg.Read(ctx, p.target, meter.Add)
	meter.Done()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	return p, nil
}

// openIfPackage opens what is a package; of a directory or file there is none, nor an error.
func (a *app) openIfPackage(ctx context.Context, arg string, flags storeFlags) (*openedPackage, error) {
	if !isPackage(arg) {
		return nil, nil
	}
	return a.openPackage(ctx, arg, flags)
}

// unread is the size of the layers that must be read before the files are known.
func (p *openedPackage) unread() int64 {
	var n int64
	for _, i := range p.pkg.Unread() {
		n += p.pkg.Manifest.Layers[i].Size
	}
	return n
}

// pullSize is what a pull reads at most: the part, as far as it is known, or all layers.
func (p *openedPackage) pullSize(only onlyFlag) int64 {
	if p.pkg.Tree != nil {
		if part, err := only.of(p.pkg); err == nil {
			return part.Size()
		}
	}
	var n int64
	for _, layer := range p.pkg.Manifest.Layers {
		n += layer.Size
	}
	return n
}

// resolvePackage opens a package without reading its layers.
func (a *app) resolvePackage(ctx context.Context, arg string, flags storeFlags) (*openedPackage, error) {
	ref, err := parseReference(arg)
	if err != nil {
		return nil, err
	}
	target, err := flags.open(ctx, ref, false)
	if errors.Is(err, oci.ErrNotLayout) && !oci.IsReference(arg) {
		return nil, fmt.Errorf("%w: %w", errMixed, err) // a file oci-layout that is none
	}
	if err != nil {
		return nil, missing(err)
	}
	desc, err := oci.Resolve(ctx, target, ref)
	if err != nil {
		return nil, missing(err)
	}
	pkg, err := oci.OpenPackage(ctx, target, desc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	return &openedPackage{ref: ref, name: referenceName(ref), target: target, pkg: pkg}, nil
}

// referenceName is what a statement calls a package: the repository, or the base name of the layout's directory or archive.
func referenceName(ref oci.Reference) string {
	if ref.Repository != "" {
		return ref.Repository
	}
	if ref.Archive != "" {
		return strings.TrimSuffix(filepath.Base(ref.Archive), ".tar")
	}
	if abs, err := filepath.Abs(ref.Layout); err == nil {
		return filepath.Base(abs)
	}
	return path.Base(filepath.ToSlash(ref.Layout))
}

// subjects are both names of the package: the image manifest's digest first, then the tree's dirHash.
func (p *openedPackage) subjects() []attest.ResourceDescriptor {
	return []attest.ResourceDescriptor{
		{Name: p.name, MediaType: p.pkg.Descriptor.MediaType, Digest: attest.DigestSet{"sha256": p.pkg.Descriptor.Digest.Encoded()}},
		{Name: p.name, Digest: attest.DigestSet{"dirHash": p.pkg.Tree.DirHash()}},
	}
}

// digests are those of subjects in one set, by which the gate knows the package.
func (p *openedPackage) digests() map[string]string {
	return map[string]string{"sha256": p.pkg.Descriptor.Digest.Encoded(), "dirHash": p.pkg.Tree.DirHash()}
}

// digestsByFile are the sha256 that the package says its files have.
func (p *openedPackage) digestsByFile() map[string]digest.Digest {
	out := map[string]digest.Digest{}
	for _, f := range p.pkg.Tree.Files {
		out[f.Path] = f.Digest
	}
	return out
}

func (p *openedPackage) subject() policies.Subject {
	return policies.Subject{Name: p.name, Digests: p.digests(), TreeSuffices: p.pkg.Car != nil, ArtifactType: p.pkg.ArtifactType(), Repository: p.ref.Repository}
}

// statements lists what is attached to the package.
func (p *openedPackage) statements(ctx context.Context) ([]verify.Found, error) {
	return attached(ctx, p.target, p.pkg.Descriptor, p.name, p.digests())
}

// attached lists the bundles that are attached to an artifact. What hostile bytes can cause becomes a Found with an error, which
// the decision lists; not being able to read one is an error, since it may be the one that says no.
func attached(ctx context.Context, target oci.Target, desc ocispec.Descriptor, name string, digests map[string]string) ([]verify.Found, error) {
	bundles, err := oci.Bundles(ctx, target, desc)
	if errors.Is(err, oci.ErrLimit) {
		return []verify.Found{{Origin: name, Incomplete: true, Err: fmt.Errorf("%w: %w", verify.ErrLimit, err), With: digests}}, nil
	}
	if err != nil {
		return nil, err
	}
	var found []verify.Found
	for _, b := range bundles {
		f := verify.Found{Origin: name + "@" + b.Descriptor.Digest.String(), Data: b.Bundle, With: digests}
		if b.Carried != "" { // it was attached to what it is about, elsewhere
			f.Origin, f.With = name+"@"+b.Carried.String(), verify.UnverifiedSubject(b.Bundle)
		}
		switch {
		case b.Err == nil:
		case errors.Is(b.Err, oci.ErrNotBundle):
			f.Err = fmt.Errorf("%w: %w", verify.ErrOther, b.Err)
		case errors.Is(b.Err, oci.ErrLimit):
			f.Err = fmt.Errorf("%w: %w", verify.ErrLimit, b.Err)
		case isAny(b.Err, oci.ErrContent, oci.ErrNotFound):
			f.Err = fmt.Errorf("%w: %w", verify.ErrContent, b.Err)
		default:
			return nil, fmt.Errorf("%s: %w", f.Origin, b.Err)
		}
		found = append(found, f)
	}
	return found, nil
}
