package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

func (a *app) signCommand() *cobra.Command {
	var key keyFlags
	var signature, output string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "sign PATH|REF --key KEY",
		Short: "Sign a directory or file (OMS bundle) or a package (as a referrer)",
		Long: `Sign a directory or file: every file is hashed, and an OpenSSF Model Signing v1.0 bundle is written to
--signature, which the model-signing package verifies too.

Sign a package (oci:DIR:TAG or registry/repo:tag): a statement that cosign verifies too is attached to it.`,
		Example: "  mlseal sign ./model --key trainer.key --signature model.sig\n  mlseal sign oci:store:v1 --key trainer.key",
		Args:    takes("PATH|REF"),
	}
	key.add(cmd)
	cmd.Flags().StringVar(&signature, "signature", "", "where the bundle of a directory or file is written (default model.sig)")
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if isPackage(args[0]) {
			if signature != "" {
				return usage(errors.New("sign: --signature is for directories and files; the signature of a package is attached to it"))
			}
			return a.attach(cmd.Context(), args[0], attachment{key: key, predicateType: attest.SignaturePredicateType, predicate: []byte("{}"), output: output}, store)
		}
		if signature == "" {
			signature = "model.sig"
		}
		return a.signTree(cmd.Context(), args[0], key, signature, output)
	})
	return cmd
}

func (a *app) signTree(ctx context.Context, path string, keyRef keyFlags, signature, output string) error {
	t, err := openTree(path)
	if err != nil {
		return err
	}
	defer t.Close()
	key, err := a.loadSigner(ctx, keyRef) // before minutes of hashing
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
	if err := writeBundle(signature, bundle.JSON()); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return a.printFields(output, field{"signed", t.name}, field{"files", fmt.Sprintf("%d, %s", len(m.Files), progress.Bytes(m.Size()))}, field{"signature", signature},
		field{"dirHash", m.DirHash()}, field{"key", "sha256:" + key.Hint()}, field{"left out", strings.Join(m.LeftOut, ", ")})
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
	output        string
}

// attach signs a statement about the package ref and attaches it as a referrer.
func (a *app) attach(ctx context.Context, ref string, what attachment, flags storeFlags) error {
	key, err := a.loadSigner(ctx, what.key)
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
	return a.printFields(what.output, field{"subject", p.name + "@" + p.pkg.Descriptor.Digest.String()}, field{"dirHash", p.pkg.Tree.DirHash()},
		field{"statement", what.predicateType}, field{"attached", referrer}, field{"key", "sha256:" + key.Hint()})
}
