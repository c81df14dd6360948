package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/compose"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

// attestFlags say where a statement goes, and who makes it.
type attestFlags struct {
	what   attachment
	bundle string
	store  storeFlags
	cache  cacheFlags
	tree   *manifest.Manifest // of the directory or file, when it was hashed to make the predicate: the statement is about what was looked at
}

func (f *attestFlags) add(cmd *cobra.Command) {
	f.what.key.add(cmd)
	addReplaceFlag(cmd, &f.what.replace)
	cmd.Flags().StringVar(&f.bundle, "bundle", "", "where the statement about a directory or file is written")
	outputFlag(cmd, &f.what.output, "text", "json")
	f.store.add(cmd)
	f.cache.add(cmd)
}

// check refuses flags that do not go with what the statement is about.
func (f *attestFlags) check(arg string) error {
	switch toPackage := isPackage(arg); {
	case toPackage && f.bundle != "":
		return usage(errors.New("attest: --bundle is for directories and files; a statement about a package is attached to it"))
	case !toPackage && f.what.replace:
		return usage(errors.New("attest: --replace is for packages; the bundle of a directory or file is written over"))
	case !toPackage && f.bundle == "":
		return usage(errors.New("attest: a directory or file has no place for a statement: name a file with --bundle, or pack it first"))
	}
	return nil
}

func (a *app) attestCommand() *cobra.Command {
	var f attestFlags
	var typeName, predicateFile string
	cmd := &cobra.Command{
		Use:   "attest PATH|REF --type TYPE --predicate FILE (--key KEY | --keyless)",
		Short: "Make a signed statement about a package, directory or file",
		Long: `Sign an in-toto statement: the predicate in FILE, about the artifact.

About a package (oci:DIR:TAG or registry/repo:tag) the statement is attached as a referrer; its subjects are the package's
digest and the dirHash of the files in it. About a directory or file (dirHash only) it is written to --bundle.

TYPE is a URI or one of ` + strings.Join(attest.ShortNames(), ", ") + `.
A predicate of one of these types must satisfy its schema, which mlseal schema prints: ` + strings.Join(attest.SchemaNames(), ", ") + `.

What a person says (` + strings.Join(compose.Kinds(), ", ") + `) needs no FILE: a command for each asks for what is
missing on a terminal, or takes it from flags, and writes the predicate.`,
		Example: "  mlseal attest oci:store:v1 --type evaluation --predicate evaluation.json --key evaluator.key\n" +
			"  mlseal attest ./data --type dataset --predicate dataset.json --key office.key --bundle data.sigstore.json\n" +
			"  mlseal attest s3://datasets/corpus --type dataset --predicate dataset.json --key office.key --bundle data.sigstore.json\n" +
			"  mlseal attest approval oci:store:v1 --key alice.key",
		Args: takes("PATH|REF"),
	}
	cmd.Flags().StringVar(&typeName, "type", "", "predicate type: a short name or a URI")
	cmd.Flags().StringVar(&predicateFile, "predicate", "", "file with the predicate as JSON")
	f.add(cmd)
	for _, name := range []string{"type", "predicate"} {
		_ = cmd.MarkFlagRequired(name)
	}
	cmd.AddCommand(a.recordCommand())
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := f.check(args[0]); err != nil {
			return err
		}
		var err error
		if f.what.predicateType, f.what.predicate, err = loadPredicate(typeName, predicateFile); err != nil {
			return err
		}
		if isPackage(args[0]) {
			return a.attach(cmd.Context(), args[0], f.what, f.store)
		}
		return a.attestTree(cmd.Context(), args[0], f)
	})
	for _, kind := range compose.Kinds() {
		cmd.AddCommand(a.personCommand(kind))
	}
	cmd.AddCommand(a.attestEvaluationCommand(), a.attestReferenceCommand(), a.attestDatasetCommand())
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

// hashKnown hashes a tree with the digest cache.
func (a *app) hashKnown(ctx context.Context, t *tree, cache cacheFlags) (*manifest.Manifest, error) {
	var opts manifest.Options
	if err := a.remember(&opts, t, cache); err != nil {
		return nil, err
	}
	return a.buildTree(ctx, t, opts)
}

func (a *app) attestTree(ctx context.Context, path string, f attestFlags) error {
	t, err := a.open(ctx, path, f.store)
	if err != nil {
		return err
	}
	defer t.Close()
	if inside, err := t.inside(f.bundle); err != nil || inside != "" {
		return usage(fmt.Errorf("attest: --bundle %s lies in the tree that it speaks about and would change it", f.bundle))
	}
	if err := placeForBundle(f.bundle); err != nil {
		return fmt.Errorf("attest: %w", err)
	}
	key, err := a.loadSigner(ctx, f.what.key)
	if err != nil {
		return err
	}
	m := f.tree
	if m == nil {
		if m, err = a.hashKnown(ctx, t, f.cache); err != nil {
			return err
		}
	}
	bundle, err := f.what.sign(ctx, key, []attest.ResourceDescriptor{{Name: t.name, Digest: attest.DigestSet{"dirHash": m.DirHash()}}})
	if err != nil {
		return err
	}
	if err := writeBundle(f.bundle, bundle.JSON()); err != nil {
		return fmt.Errorf("attest: %w", err)
	}
	return a.printFields(f.what.output, field{"subject", t.name}, field{"dirHash", m.DirHash()}, field{"statement", f.what.predicateType},
		field{"bundle", f.bundle}, key.signedBy(bundle), field{"left out", strings.Join(m.LeftOut, ", ")})
}
