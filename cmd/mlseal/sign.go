package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/parts"
	"github.com/spf13/cobra"
)

func (a *app) signCommand() *cobra.Command {
	var key signWithFlags
	var output string
	var f signFlags
	var store storeFlags
	var from string
	cmd := &cobra.Command{
		Use:   "sign PATH|REF|--from-manifest FILE (--key KEY | --keyless)",
		Short: "Sign a directory or file (OMS bundle) or a package (as a referrer)",
		Long: `Sign a directory or file: every file is hashed, and an OpenSSF Model Signing v1.0 bundle is written to
--signature, which the model-signing package verifies too. The digests are sha256 of whole files unless --hash or --shards
say otherwise; a policy's gate, which knows a directory by its dirHash, takes only those.

Sign a package (oci:DIR:TAG or registry/repo:tag): a statement that cosign verifies too is attached to it. One about a car
image is about the package beside which it was made too, when that is in the same store and holds the same files, and is attached to both.

Sign a manifest that hash or manifest merge wrote: the bundle is the one that signing the directory would give, and no file is read. You
sign what the manifest says: take it only from machines that you trust with the digests.
  mlseal sign --from-manifest model.json --key trainer.key --signature model.sig`,
		Example: "  mlseal sign ./model --key trainer.key --signature model.sig\n  mlseal sign ./model --keyless --signature model.sig\n  mlseal sign ./model --key trainer.key --shards 1GB --hash blake3 --ignore-paths model/cache\n  mlseal sign oci:store:v1 --key trainer.key\n  mlseal sign s3://models/llm --key trainer.key --signature llm.sig",
		Args: func(cmd *cobra.Command, args []string) error {
			if from != "" && len(args) > 0 {
				return errors.New("--from-manifest says what is signed: name no " + args[0] + " beside it")
			}
			if from != "" {
				return nil
			}
			return takes("PATH|REF")(cmd, args)
		},
	}
	cmd.Flags().StringVar(&from, "from-manifest", "", "sign the tree that this manifest describes, without reading it")
	key.add(cmd)
	replace := replaceFlag(cmd)
	f.addOMS(cmd, "where the bundle of a directory or file is written (default model.sig)")
	f.tree.add(cmd)
	f.cache.add(cmd)
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if from != "" {
			if err := refuseTreeFlags(cmd); err != nil {
				return fmt.Errorf("%w; a manifest says how its tree was hashed", err)
			}
			if *replace {
				return usage(errors.New("sign: --replace is for packages"))
			}
			return a.signManifest(cmd.Context(), from, key, f, output)
		}
		if isPackage(args[0]) {
			if f.signature != "" {
				return usage(errors.New("sign: --signature is for directories and files; the signature of a package is attached to it"))
			}
			if err := refuseTreeFlags(cmd); err != nil {
				return err
			}
			return a.attach(cmd.Context(), args[0], attachment{key: key, predicateType: attest.SignaturePredicateType, predicate: []byte("{}"), replace: *replace, output: output}, store)
		}
		if *replace {
			return usage(errors.New("sign: --replace is for packages; the bundle of a directory or file is written over"))
		}
		return a.signTree(cmd.Context(), args[0], key, f, store, output)
	})
	return cmd
}

// signFlags say how a directory or file is signed.
type signFlags struct {
	signature string
	hash      string
	shards    sizeFlag
	tree      treeFlags
	cache     cacheFlags
}

// addOMS adds the flags about the bundle of a tree.
func (f *signFlags) addOMS(cmd *cobra.Command, signature string) {
	cmd.Flags().StringVar(&f.signature, "signature", "", signature)
	hashFlag(cmd, &f.hash, "digests of a directory's files in its bundle")
	cmd.Flags().Var(&f.shards, "shards", "list the files in shards of so many bytes, such as 1GB or 16MiB (default whole files)")
}

func (f signFlags) serialization() manifest.Serialization {
	return manifest.Serialization{Hash: manifest.HashType(f.hash), ShardSize: int64(f.shards), AllowSymlinks: f.tree.symlinks}
}

// defaultSignature is where the bundle of a tree is written.
const defaultSignature = "model.sig"

func (a *app) signTree(ctx context.Context, path string, keyRef signWithFlags, f signFlags, store storeFlags, output string) error {
	f.signature = cmp.Or(f.signature, defaultSignature)
	t, err := f.tree.open(ctx, a, path, store)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := placeForBundle(f.signature); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	key, err := a.loadSigner(ctx, keyRef) // before minutes of hashing
	if err != nil {
		return err
	}
	ignore, err := f.ignored(t)
	if err != nil {
		return err
	}
	opts := manifest.Options{Ignore: ignore, IncludeGit: !f.tree.git, Serialization: f.serialization(), ShardsOnly: true}
	if err := a.remember(&opts, t, f.cache); err != nil {
		return err
	}
	defer a.notePointers(t)()
	m, err := a.buildTree(ctx, t, opts)
	if err != nil {
		return err
	}
	if f.tree.git {
		ignore = t.withGitNames(ignore)
	}
	return a.signTreeAs(ctx, t.name, t.source, m, ignore, key, f, output)
}

// parseManifest says what a bundle is that somebody takes for a manifest.
func parseManifest(data []byte) (*parts.Document, error) {
	d, err := parts.Parse(data)
	if err != nil && attest.IsBundle(data) {
		return nil, fmt.Errorf("%w: it is a signature bundle; mlseal hash PATH --manifest FILE writes the manifest of a tree", parts.ErrDocument)
	}
	return d, err
}

// signManifest signs the tree that a manifest describes.
func (a *app) signManifest(ctx context.Context, path string, keyRef signWithFlags, f signFlags, output string) error {
	f.signature = cmp.Or(f.signature, defaultSignature)
	d, err := readAs("manifest", path, parts.MaxDocumentBytes, parseManifest)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	if err := placeForBundle(f.signature); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	key, err := a.loadSigner(ctx, keyRef)
	if err != nil {
		return err
	}
	a.note("what " + path + " says is signed; no file of " + d.Name + " was read")
	if len(d.IgnorePaths) > 0 { // which nobody who runs this has asked for
		a.note("the signature will not cover what the manifest leaves out: " + few(d.IgnorePaths))
	}
	f.shards = sizeFlag(d.Serialization.ShardSize)
	return a.signTreeAs(ctx, d.Name, d.Source, d.Tree, d.Ignored(), key, f, output)
}

// signTreeAs signs the OMS statement about a tree, and writes the bundle. The files of a large tree, its statement and the bundle take tens of
// megabytes each: none is kept when the next is there.
func (a *app) signTreeAs(ctx context.Context, name, source string, m *manifest.Manifest, ignore []string, key *signingKey, f signFlags, output string) error {
	files := field{"files", fmt.Sprintf("%d, %s", len(m.Files), progress.Bytes(m.Size()))}
	dirHash, leftOut, uncovered := field{"dirHash", m.DirHash()}, field{"left out", strings.Join(m.LeftOut, ", ")}, f.uncovered(m)
	bundle, err := attest.SignOMS(ctx, m, name, ignore, key)
	if err != nil {
		return err
	}
	signedBy := key.signedBy(bundle)
	if err := a.writeSignature(f.signature, bundle.JSON(), uncovered); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return a.printFields(output, field{"signed", name}, files, field{"signature", f.signature}, field{"source", source}, dirHash, signedBy, leftOut)
}

// withGitNames adds the git files to the paths that a bundle lists as ignored. A single file has none beside it.
func (t *tree) withGitNames(ignore []string) []string {
	if t.file != "" {
		return ignore
	}
	return append(ignore, manifest.GitNames()...)
}

// writeSignature writes the bundle of a tree, and says what it does not cover.
func (a *app) writeSignature(path string, bundle []byte, uncovered string) error {
	if err := writeBundle(path, bundle); err != nil {
		return err
	}
	if uncovered != "" {
		a.note(uncovered)
	}
	return nil
}

// uncovered says what of the tree the signature does not cover.
func (f signFlags) uncovered(m *manifest.Manifest) string {
	if n := len(m.EmptyFiles()); f.shards > 0 && n > 0 {
		return fmt.Sprintf("%d empty files are not covered by the signature: OMS lists no shards of them", n)
	}
	return ""
}

// ignored lists what is left out: the bundle, when it stands in the tree, where it is no part of it, and what the user named.
func (f signFlags) ignored(t *tree) ([]string, error) {
	ignore, err := f.tree.ignored(t)
	if err != nil {
		return nil, err
	}
	rel, err := t.inside(f.signature)
	if err != nil || rel == "" {
		return ignore, err
	}
	if strings.ContainsAny(rel, "*?[") {
		return nil, usage(fmt.Errorf("--signature %s: a bundle in the directory is listed in its ignore_paths, where `*`, `?` and `[` must not stand", f.signature))
	}
	return append(ignore, rel), nil
}

// attachment is a statement to be made about a package or a tree.
type attachment struct {
	key           signWithFlags
	predicateType string
	predicate     json.RawMessage
	replace       bool // earlier ones of the type by the same signer go
	undated       bool // one that differs in its timestamp only is the same
	output        string
}

// sign makes the statement about subjects.
func (what attachment) sign(ctx context.Context, key attest.Signer, subjects []attest.ResourceDescriptor) (*attest.Bundle, error) {
	statement, err := attest.NewStatement(subjects, what.predicateType, what.predicate)
	if err != nil {
		return nil, err
	}
	return attest.Sign(ctx, statement, key)
}
