package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

// madeStatement are the flags of the commands that make the predicate themselves, and its way to a bundle.
type madeStatement struct {
	attestFlags
	print bool // the predicate, and sign nothing
}

func (f *madeStatement) add(cmd *cobra.Command) {
	f.attestFlags.add(cmd)
	cmd.Flags().BoolVar(&f.print, "print", false, "print the predicate; sign and write nothing")
}

// check refuses flags that do not fit what the statement is about, before any work.
func (f *madeStatement) check(about string) error {
	if f.print {
		if f.bundle != "" || f.what.replace {
			return usage(errors.New("attest: --print signs nothing: it goes without --bundle and --replace"))
		}
		return nil
	}
	if err := f.attestFlags.check(about); err != nil {
		return err
	}
	return f.what.key.check()
}

// make signs the predicate, or prints it.
func (f *madeStatement) make(ctx context.Context, a *app, about, predicateType string, predicate json.RawMessage) error {
	if f.print {
		return a.printJSON(predicate)
	}
	f.what.predicateType, f.what.predicate = predicateType, predicate
	if isPackage(about) {
		return a.attach(ctx, about, f.what, f.store)
	}
	return a.attestTree(ctx, about, f.attestFlags)
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
	t, err := a.open(ctx, about, f.store)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, err
	}
	defer t.Close()
	m, err := a.hashKnown(ctx, t, f.cache)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, err
	}
	return m, attest.ResourceDescriptor{Name: t.name, Digest: attest.DigestSet{"dirHash": m.DirHash()}}, nil
}

// look lists the files of what the statement is about, which is hashed once.
func (f *madeStatement) look(ctx context.Context, a *app, about string) (m *manifest.Manifest, err error) {
	m, _, err = f.files(ctx, a, about)
	f.tree = m
	return m, err
}

// descriptor names a file by the digest of what was read of it.
func descriptor(file, mediaType string, data []byte) attest.ResourceDescriptor {
	sum := sha256.Sum256(data)
	return attest.ResourceDescriptor{Name: filepath.Base(file), Digest: attest.DigestSet{"sha256": hex.EncodeToString(sum[:])}, MediaType: mediaType}
}

// checkTime wants a time as the schemas have it, or none.
func checkTime(flag, text string) error {
	if _, err := time.Parse(time.RFC3339, text); text != "" && err != nil {
		return fmt.Errorf("attest: %s %s: want a time with its zone, as in 2026-01-31T12:00:00Z", flag, text)
	}
	return nil
}

// asked marks an error about what the command line asked for.
func asked(err error, targets ...error) error {
	if isAny(err, targets...) {
		return usage(err)
	}
	return err
}
