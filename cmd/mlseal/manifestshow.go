package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/parts"
)

// described is a tree that something describes.
type described struct {
	doc     *parts.Document // of a manifest, a package or a directory
	part    *parts.Part     // of a part
	oms     *attest.OMS     // of a bundle
	about   parts.About     // how it was hashed
	listing parts.Listing   // what is compared
}

// describe finds out what arg describes. A directory is hashed in the way of like, when that is not nil.
func (a *app) describe(ctx context.Context, arg string, store storeFlags, like *described) (*described, error) {
	if isPackage(arg) {
		p, err := a.openPackage(ctx, arg, store)
		if err != nil {
			return nil, err
		}
		tree := *p.pkg.Tree
		tree.LeftOut = p.pkg.LeftOut
		return describedBy(&parts.Document{About: parts.About{Name: p.name}, Tree: &tree}), nil
	}
	if isDirectory(arg) {
		return a.describeDirectory(ctx, arg, store, like)
	}
	data, err := readInput("manifest", arg, parts.MaxDocumentBytes)
	if err != nil {
		return nil, err
	}
	d, err := a.describeFile(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", arg, err)
	}
	return d, nil
}

func describedBy(doc *parts.Document) *described {
	return &described{doc: doc, about: doc.About, listing: parts.ListDocument(doc)}
}

func (a *app) describeDirectory(ctx context.Context, arg string, store storeFlags, like *described) (*described, error) {
	about := parts.About{}
	if like != nil {
		about = like.about
	}
	t, err := (&treeFlags{symlinks: about.Serialization.AllowSymlinks}).open(ctx, a, arg, store)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	about.Name, about.Source, about.SingleFile = t.name, t.source, false
	m, err := a.buildTree(ctx, t, manifest.Options{Ignore: about.IgnorePaths, IncludeGit: about.IncludeGit, Serialization: about.Serialization})
	if err != nil {
		return nil, err
	}
	return describedBy(&parts.Document{About: about, Tree: m}), nil
}

// describeFile reads a manifest, a part or a bundle.
func (a *app) describeFile(data []byte) (*described, error) {
	if parts.IsDocument(data) {
		doc, err := parts.Parse(data)
		if errors.Is(err, parts.ErrIsPart) {
			part, err := parts.ParsePart(data)
			return &described{part: part}, err
		}
		if err != nil {
			return nil, err
		}
		return describedBy(doc), nil
	}
	oms, err := omsOf(data)
	if err != nil {
		return nil, fmt.Errorf("%w: it is none, no part of one, and no OMS bundle: %w", parts.ErrDocument, err)
	}
	a.note("the bundle's signature was not looked at")
	d := &described{oms: oms, listing: parts.ListResources(oms.Serialization, oms.Resources)}
	d.about = parts.About{Name: oms.Name, IgnorePaths: oms.IgnorePaths, IncludeGit: d.listing.HasGit(), Serialization: oms.Serialization}
	return d, nil
}

// omsOf reads what an OMS bundle claims.
func omsOf(data []byte) (*attest.OMS, error) {
	if len(data) > attest.MaxBundleBytes {
		return nil, errTooLarge
	}
	b, err := attest.Parse(data)
	if err != nil {
		return nil, err
	}
	s, err := b.UnverifiedStatement(attest.StatementType, attest.StatementTypeV01)
	if err != nil {
		return nil, err
	}
	return attest.ParseOMS(s)
}

func (a *app) show(d *described, output string) error {
	switch {
	case d.doc != nil:
		return a.printManifest(d.doc, output)
	case d.part != nil:
		return a.showPart(d.part, output)
	}
	return a.showOMS(d.oms, output)
}

func (a *app) showPart(p *parts.Part, output string) error {
	switch output {
	case "json":
		return a.printJSON(p)
	case "digest":
		return fmt.Errorf("%w, which has no digest", usage(parts.ErrIsPart))
	}
	for _, f := range p.Files {
		if p.Serialization.NamesFiles() {
			if err := a.printf("%s  %9s  %s\n", f.Digest.Encoded(), progress.Bytes(f.Size), f.Path); err != nil {
				return err
			}
		} else if f.Size == 0 && p.Serialization.ShardSize > 0 {
			if err := a.printf("(empty)  %s\n", f.Path); err != nil {
				return err
			}
		}
	}
	for _, r := range p.Resources {
		if err := a.printf("%s  %s\n", r.Digest.Encoded(), r.Name()); err != nil {
			return err
		}
	}
	return a.printPart(p, "")
}

// omsShown is `manifest show -o json` of an OMS bundle, which has no sizes.
type omsShown struct {
	Format    string         `json:"format"`
	Name      string         `json:"name"`
	DirHash   string         `json:"dirHash,omitempty"`
	OMSRoot   string         `json:"omsRoot,omitempty"`
	Ignored   []string       `json:"ignorePaths,omitempty"`
	Resources []hashedByName `json:"resources"`
}

type hashedByName struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

func (a *app) showOMS(o *attest.OMS, output string) error {
	dirHash, dirErr := o.DirHash()
	switch output {
	case "json":
		shown := omsShown{Format: attest.OMSPredicateType, Name: o.Name, DirHash: dirHash, OMSRoot: o.Root, Ignored: o.IgnorePaths}
		if o.Legacy {
			shown.Format = attest.OMSLegacyPredicateType
		}
		for _, r := range o.Resources {
			shown.Resources = append(shown.Resources, hashedByName{r.Name(), r.Digest.String()})
		}
		return a.printJSON(shown)
	case "digest":
		switch {
		case dirErr == nil:
			return a.printf("dirHash:%s\n", dirHash)
		case o.Serialization.ShardSize > 0:
			return a.printf("omsRoot:%s\n", o.Root)
		}
		return dirErr
	}
	for _, r := range o.Resources {
		if err := a.printf("%s  %s\n", r.Digest.Encoded(), r.Name()); err != nil {
			return err
		}
	}
	if err := a.printf("\n%d files, %d resources\n", len(o.Files()), len(o.Resources)); err != nil {
		return err
	}
	return a.printFields("text", field{"dirHash", dirHash}, field{"OMS root", o.Root}, field{"ignored", strings.Join(o.IgnorePaths, ", ")})
}
