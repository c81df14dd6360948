package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

func (a *app) signCommand() *cobra.Command {
	var key keyFlags
	var signature string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "sign PATH|REF --key KEY",
		Short: "Sign a directory or file (OMS bundle) or a package (as a referrer)",
		Long: `Sign a directory or file: every file is hashed, and an OpenSSF Model Signing v1.0 bundle is written to
--signature, which the model-signing package verifies too.

Sign a package (oci:DIR:TAG or registry/repo:tag): a statement that cosign verifies too is attached to it.`,
		Example: "  mlseal sign ./model --key trainer.key --signature model.sig\n  mlseal sign oci:store:v1 --key trainer.key",
		Args:    cobra.ExactArgs(1),
	}
	key.add(cmd)
	cmd.Flags().StringVar(&signature, "signature", "", "where the bundle of a directory or file is written (default model.sig)")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if isPackage(args[0]) {
			if signature != "" {
				return usage(errors.New("sign: --signature is for directories and files; the signature of a package is attached to it"))
			}
			return a.attach(cmd.Context(), args[0], attachment{key: key, predicateType: attest.SignaturePredicateType, predicate: []byte("{}")}, store)
		}
		if signature == "" {
			signature = "model.sig"
		}
		return a.signTree(cmd.Context(), args[0], key, signature)
	})
	return cmd
}

func (a *app) signTree(ctx context.Context, path string, keyRef keyFlags, signature string) error {
	t, err := openTree(path)
	if err != nil {
		return err
	}
	defer t.Close()
	key, err := a.loadSigner(keyRef) // before minutes of hashing
	if err != nil {
		return err
	}
	ignore, err := t.signatureInside(signature)
	if err != nil {
		return err
	}
	m, err := a.hashTree(ctx, t, ignore)
	if err != nil {
		return err
	}
	if t.file == "" {
		ignore = append(ignore, manifest.GitNames()...)
	}
	statement, err := attest.NewOMSStatement(m, t.name, ignore)
	if err != nil {
		return err
	}
	bundle, err := attest.Sign(ctx, statement, key)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(signature, bundle.JSON(), atomicfile.Options{}); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "signed    %s  (%d files, %s)\nsignature %s\ndirHash   %s\n", t.name, len(m.Files), progress.Bytes(m.Size()), signature, m.DirHash())
	return err
}

// signatureInside lists the bundle's path when it stands in the tree, where it is no part of it.
func (t *tree) signatureInside(signature string) ([]string, error) {
	rel, err := t.inside(signature)
	if err != nil || rel == "" {
		return nil, err
	}
	return []string{rel}, nil
}

// attachment is a statement to be made about a package or a tree.
type attachment struct {
	key           keyFlags
	predicateType string
	predicate     json.RawMessage
}

// attach signs a statement about the package ref and attaches it as a referrer.
func (a *app) attach(ctx context.Context, ref string, what attachment, flags storeFlags) error {
	key, err := a.loadSigner(what.key)
	if err != nil {
		return err
	}
	p, err := a.openPackage(ctx, ref, flags)
	if err != nil {
		return err
	}
	statement, err := attest.NewStatement(p.subjects(), what.predicateType, what.predicate)
	if err != nil {
		return err
	}
	bundle, err := attest.Sign(ctx, statement, key)
	if err != nil {
		return err
	}
	referrer, err := p.attach(ctx, bundle.JSON(), what.predicateType, a.now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "subject   %s@%s\nstatement %s\nattached  %s\nkey       sha256:%s\n", p.name, p.pkg.Descriptor.Digest, what.predicateType, referrer, key.Hint())
	return err
}
