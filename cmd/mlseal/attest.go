package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

func (a *app) attestCommand() *cobra.Command {
	var what attachment
	var typeName, predicateFile, bundleFile string
	var store storeFlags
	var cache cacheFlags
	cmd := &cobra.Command{
		Use:   "attest PATH|REF --type TYPE --predicate FILE (--key KEY | --keyless)",
		Short: "Make a signed statement about a package, directory or file",
		Long: `Sign an in-toto statement: the predicate in FILE, about the artifact.

About a package (oci:DIR:TAG or registry/repo:tag) the statement is attached as a referrer; its subjects are the package's
digest and the dirHash of the files in it. About a directory or file (dirHash only) it is written to --bundle.

TYPE is a URI or one of ` + strings.Join(attest.ShortNames(), ", ") + `.
A predicate of type dataset, evaluation or slsa-provenance must satisfy its schema.`,
		Example: "  mlseal attest oci:store:v1 --type evaluation --predicate evaluation.json --key evaluator.key\n" +
			"  mlseal attest ./data --type dataset --predicate dataset.json --key office.key --bundle data.sigstore.json",
		Args: takes("PATH|REF"),
	}
	cmd.Flags().StringVar(&typeName, "type", "", "predicate type: a short name or a URI")
	cmd.Flags().StringVar(&predicateFile, "predicate", "", "file with the predicate as JSON")
	what.key.add(cmd)
	replace := replaceFlag(cmd)
	cmd.Flags().StringVar(&bundleFile, "bundle", "", "where the statement about a directory or file is written")
	outputFlag(cmd, &what.output, "text", "json")
	store.add(cmd)
	cache.add(cmd)
	for _, name := range []string{"type", "predicate"} {
		_ = cmd.MarkFlagRequired(name)
	}
	cmd.AddCommand(a.recordCommand())
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		toPackage := isPackage(args[0])
		switch {
		case toPackage && bundleFile != "":
			return usage(errors.New("attest: --bundle is for directories and files; a statement about a package is attached to it"))
		case !toPackage && *replace:
			return usage(errors.New("attest: --replace is for packages; the bundle of a directory or file is written over"))
		case !toPackage && bundleFile == "":
			return usage(errors.New("attest: a directory or file has no place for a statement: name a file with --bundle, or pack it first"))
		}
		var err error
		if what.predicateType, what.predicate, err = loadPredicate(typeName, predicateFile); err != nil {
			return err
		}
		what.replace = *replace
		if toPackage {
			return a.attach(cmd.Context(), args[0], what, store)
		}
		return a.attestTree(cmd.Context(), args[0], bundleFile, what, cache)
	})
	return cmd
}

// loadPredicate reads a predicate of a type that is a URI or a short name, and returns the URI with it.
func loadPredicate(typeName, file string) (uri string, predicate []byte, err error) {
	uri, ok := attest.PredicateType(typeName)
	if !ok {
		return "", nil, usage(fmt.Errorf("attest: type %q is neither a URI nor one of %s", typeName, strings.Join(attest.ShortNames(), ", ")))
	}
	if predicate, err = readInput("predicate", file, attest.MaxPredicateBytes); err != nil {
		return "", nil, err
	}
	if err := attest.CheckPredicate(uri, predicate); err != nil {
		return "", nil, fmt.Errorf("predicate %s: %w", file, err)
	}
	return uri, predicate, nil
}

func (a *app) attestTree(ctx context.Context, path, bundleFile string, what attachment, cache cacheFlags) error {
	t, err := openTree(path)
	if err != nil {
		return err
	}
	defer t.Close()
	if inside, err := t.inside(bundleFile); err != nil || inside != "" {
		return usage(fmt.Errorf("attest: --bundle %s lies in the tree that it speaks about and would change it", bundleFile))
	}
	if err := placeForBundle(bundleFile); err != nil {
		return fmt.Errorf("attest: %w", err)
	}
	key, err := a.loadSigner(ctx, what.key)
	if err != nil {
		return err
	}
	var opts manifest.Options
	done, err := a.remember(&opts, t, cache)
	if err != nil {
		return err
	}
	defer done()
	m, err := a.buildTree(ctx, t, opts)
	if err != nil {
		return err
	}
	bundle, err := what.sign(ctx, key, []attest.ResourceDescriptor{{Name: t.name, Digest: attest.DigestSet{"dirHash": m.DirHash()}}})
	if err != nil {
		return err
	}
	if err := writeBundle(bundleFile, bundle.JSON()); err != nil {
		return fmt.Errorf("attest: %w", err)
	}
	return a.printFields(what.output, field{"subject", t.name}, field{"dirHash", m.DirHash()}, field{"statement", what.predicateType},
		field{"bundle", bundleFile}, key.signedBy(bundle), field{"left out", strings.Join(m.LeftOut, ", ")})
}
