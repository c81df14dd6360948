package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

// madeStatement are the flags of the commands that make the predicate themselves, and its way to a bundle.
type madeStatement struct {
	what    attachment
	replace *bool
	bundle  string
	print   bool // the predicate, and sign nothing
	store   storeFlags
	cache   cacheFlags
}

func (f *madeStatement) add(cmd *cobra.Command) {
	f.what.key.add(cmd)
	f.replace = replaceFlag(cmd)
	cmd.Flags().StringVar(&f.bundle, "bundle", "", "where the statement about a directory or file is written")
	cmd.Flags().BoolVar(&f.print, "print", false, "print the predicate; sign and write nothing")
	outputFlag(cmd, &f.what.output, "text", "json")
	f.store.add(cmd)
	f.cache.add(cmd)
}

// check refuses flags that do not fit what the statement is about, before any work.
func (f *madeStatement) check(about string) error {
	switch toPackage := isPackage(about); {
	case f.print && (f.bundle != "" || *f.replace):
		return usage(errors.New("attest: --print signs nothing: it goes without --bundle and --replace"))
	case f.print:
		return nil
	case toPackage && f.bundle != "":
		return usage(errors.New("attest: --bundle is for directories and files; a statement about a package is attached to it"))
	case !toPackage && *f.replace:
		return usage(errors.New("attest: --replace is for packages; the bundle of a directory or file is written over"))
	case !toPackage && f.bundle == "":
		return usage(errors.New("attest: a directory or file has no place for a statement: name a file with --bundle, or pack it first"))
	}
	return f.what.key.check()
}

// make signs the predicate, or prints it.
func (f *madeStatement) make(ctx context.Context, a *app, about, predicateType string, predicate json.RawMessage) error {
	if f.print {
		return a.printJSON(predicate)
	}
	f.what.predicateType, f.what.predicate, f.what.replace = predicateType, predicate, *f.replace
	if isPackage(about) {
		return a.attach(ctx, about, f.what, f.store)
	}
	return a.attestTree(ctx, about, f.bundle, f.what, f.cache)
}

// files lists the files of a directory, file or package, and says by which digests and name a statement knows it.
func (f *madeStatement) files(ctx context.Context, a *app, about string) (*manifest.Manifest, attest.ResourceDescriptor, error) {
	if isPackage(about) {
		p, err := a.openPackage(ctx, about, f.store)
		if err != nil {
			return nil, attest.ResourceDescriptor{}, err
		}
		return p.pkg.Tree, attest.ResourceDescriptor{Name: p.name, Digest: p.digests()}, nil
	}
	t, err := openTree(about)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, err
	}
	defer t.Close()
	var opts manifest.Options
	done, err := a.remember(&opts, t, f.cache)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, err
	}
	defer done()
	m, err := a.buildTree(ctx, t, opts)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, err
	}
	return m, attest.ResourceDescriptor{Name: t.name, Digest: attest.DigestSet{"dirHash": m.DirHash()}}, nil
}

// descriptor names a file by the digest of what was read of it.
func descriptor(file, mediaType string, data []byte) attest.ResourceDescriptor {
	sum := sha256.Sum256(data)
	return attest.ResourceDescriptor{Name: filepath.Base(file), Digest: attest.DigestSet{"sha256": hex.EncodeToString(sum[:])}, MediaType: mediaType}
}

// asked marks an error about what the command line asked for.
func asked(err error, targets ...error) error {
	if isAny(err, targets...) {
		return usage(err)
	}
	return err
}
