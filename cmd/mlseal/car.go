package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/verify"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

// carFlags are those of a car beside a package.
type carFlags struct {
	car          bool
	tag          string
	architecture string
}

func (f *carFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.car, "car", false, "also make an image that containerd and KServe can mount, with the files under /"+oci.CarRoot)
	cmd.Flags().StringVar(&f.tag, "car-tag", "", "tag of that image (default the tag of REF with -car behind)")
	cmd.Flags().StringVar(&f.architecture, "car-arch", oci.DefaultArchitecture, "architecture that the image says it is for")
}

// check refuses flags that say nothing, and makes sure of the tag before minutes of work.
func (f *carFlags) check(cmd *cobra.Command, refArg string) error {
	if !f.car {
		if cmd.Flags().Changed("car-tag") || cmd.Flags().Changed("car-arch") {
			return usage(errors.New("pack: --car-tag and --car-arch are for --car"))
		}
		return nil
	}
	if refArg == "" {
		return usage(errors.New("pack: there is no REF to put the image into: name one, as in oci:DIR:TAG"))
	}
	ref, err := oci.ParseReference(refArg)
	if err != nil {
		return err
	}
	if f.tag == "" {
		f.tag = ref.Tag + "-car"
	}
	if f.tag == ref.Tag {
		return usage(fmt.Errorf("pack: --car-tag %s is the tag of the package itself", f.tag))
	}
	ref.Tag, ref.Digest = f.tag, ""
	if again, err := oci.ParseReference(ref.String()); err != nil || again.Tag != f.tag {
		return usage(fmt.Errorf("pack: --car-tag %q is not a tag", f.tag))
	}
	return nil
}

// packCar makes the car beside the package, of which ready is told before anything is visible.
func (a *app) packCar(ctx context.Context, t *tree, p *openedPackage, f carFlags, ready func(ocispec.Descriptor) error) error {
	meter := a.progress("packing the car", p.pkg.Tree.Size())
	_, err := oci.PackCar(ctx, p.target, t.fsys, p.pkg.Tree, oci.CarOptions{Tag: f.tag, Of: p.pkg.Descriptor.Digest, Architecture: f.architecture, Progress: meter.Add, Ready: ready})
	meter.Done()
	return err
}

// findRaw looks in the car's own store for the package that the car says it was made beside. It counts only when it holds the same tree: the car's
// word is a hint where to look. The note says why there is none.
func (p *openedPackage) findRaw(ctx context.Context) (raw *openedPackage, note string, err error) {
	if p.pkg.Car == nil || p.pkg.Car.Of == "" {
		return nil, "", nil
	}
	of := p.pkg.Car.Of
	desc, err := p.target.Resolve(ctx, of.String())
	if errors.Is(err, oci.ErrNotFound) {
		return nil, fmt.Sprintf("the package that the car says it was made beside, %s, is not in its store", of), nil
	}
	if err != nil {
		return nil, "", err
	}
	if desc.Digest != of {
		return nil, "", fmt.Errorf("%s: %w: asked for %s, got %s", p.name, oci.ErrContent, of, desc.Digest)
	}
	pkg, err := oci.FetchPackage(ctx, p.target, desc)
	switch {
	case isAny(err, oci.ErrNotPackage, oci.ErrContent, oci.ErrLimit, oci.ErrNotFound):
		return nil, fmt.Sprintf("the package that the car says it was made beside cannot be read: %v", err), nil
	case err != nil:
		return nil, "", err
	case pkg.Tree.DirHash() != p.pkg.Tree.DirHash():
		return nil, fmt.Sprintf("the car says that it was made beside %s, which holds other files", of), nil
	}
	return &openedPackage{ref: p.ref, name: p.name, target: p.target, pkg: pkg}, "", nil
}

// family is the package, and behind a car the package that it was made beside: one statement speaks about both.
func (p *openedPackage) family(ctx context.Context) ([]*openedPackage, string, error) {
	raw, note, err := p.findRaw(ctx)
	if raw == nil {
		return []*openedPackage{p}, note, err
	}
	return []*openedPackage{p, raw}, note, err
}

// familySubjects are the digests of all of them, and the dirHash that they share.
func familySubjects(family []*openedPackage) []attest.ResourceDescriptor {
	var manifests []attest.ResourceDescriptor
	for _, p := range family {
		manifests = append(manifests, p.subjects()[0])
	}
	return append(manifests, family[0].subjects()[1])
}

// carStatements are those that are attached to the package that a car was made beside. What they say about its tree, they say about the car's.
func (p *openedPackage) carStatements(ctx context.Context) (found []verify.Found, notes []string, err error) {
	raw, note, err := p.findRaw(ctx)
	if note != "" {
		notes = []string{note}
	}
	if err != nil || raw == nil {
		return nil, notes, err
	}
	found, err = raw.statements(ctx)
	return found, notes, err
}

// carContent says what was read of a car: all of it, or nothing would be known of its tree.
func carContent(p *openedPackage) verify.Check {
	return verify.Check{Name: "content", Status: verify.Passed, Detail: fmt.Sprintf("car: %d files, %s in the image's layer, which was read and hashed; dirHash:%s",
		len(p.pkg.Tree.Files), progress.Bytes(p.pkg.Tree.Size()), p.pkg.Tree.DirHash())}
}
