package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/parts"
	"github.com/spf13/cobra"
)

// hashFlags say what is hashed and where it goes.
type hashFlags struct {
	output string
	hash   string
	shards sizeFlag
	part   partFlag
	saved  string // where the manifest is written
	tree   treeFlags
	cache  cacheFlags
	store  storeFlags
}

func (a *app) hashCommand() *cobra.Command {
	var f hashFlags
	cmd := &cobra.Command{
		Use:   "hash PATH",
		Short: "Hash a directory or file: each file, and one digest for the tree",
		Long: `Hash every file of a directory (or one file) and print the digest of the whole tree.

The tree's digest is its dirHash (in-toto DigestSet v1.1): the sha256 over what
  find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum
prints inside the directory (for names without white space; xargs splits at it). It binds names and contents; times, modes
and owners do not count. At the top level .git, .gitignore, .gitattributes and .github are left out, and said to be.

PATH may be in an object store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX, with parameters as in
?region=eu-west-1. It is read there, and the digest is that of the same files on disk. sign, verify, attest, inspect and pack take it too.

A file that did not change since an earlier run is not read again (mlseal cache); --no-cache reads them all.

The dirHash is always of sha256 digests. With --hash the files' digests and the OMS root are what sign --hash signs, with --shards
what sign --shards signs; then -o digest prints the OMS root, which binds no file names.

On several machines, --part 3/8 hashes the third of eight parts, which are about equal in bytes; with --shards also inside files. Each part is
written to --manifest FILE, and mlseal manifest merge proves that none is missing and makes the manifest of the whole.`,
		Example: "  mlseal hash ./model\n  mlseal hash ./model -o digest\n  mlseal hash ./model -o json\n" +
			"  mlseal hash ./model --manifest model.json\n  mlseal hash ./model --shards 1GB --part 1/4 --manifest part-1.json\n" +
			"  mlseal hash 's3://models/llm?region=eu-west-1'",
		Args: takes("PATH"),
	}
	outputFlag(cmd, &f.output, "text", "json", "digest")
	hashFlag(cmd, &f.hash, "digests of the files")
	cmd.Flags().Var(&f.shards, "shards", "hash the files in shards of so many bytes, such as 1GB or 16MiB (default whole files)")
	cmd.Flags().Var(&f.part, "part", "hash one part, I/N: the Ith of N, from 1/N to N/N")
	manifestFlag(cmd, &f.saved)
	f.tree.add(cmd)
	f.cache.add(cmd)
	f.store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error { return a.hash(cmd.Context(), args[0], f) })
	return cmd
}

func (a *app) hash(ctx context.Context, path string, f hashFlags) error {
	t, err := f.tree.open(ctx, a, path, f.store)
	if err != nil {
		return err
	}
	defer t.Close()
	about, err := f.about(t)
	if err != nil {
		return err
	}
	if err := f.check(t, about); err != nil {
		return err
	}
	if err := placeForManifest(f.saved, t, about.IgnorePaths); err != nil {
		return err
	}
	opts := manifest.Options{Ignore: about.IgnorePaths, IncludeGit: about.IncludeGit, Serialization: about.Serialization}
	if err := a.remember(&opts, t, f.cache); err != nil {
		return err
	}
	defer a.notePointers(t)()
	if f.part.of > 0 {
		return a.hashPart(ctx, t, about, opts, f)
	}
	m, err := a.buildTree(ctx, t, opts)
	if err != nil {
		return err
	}
	return a.giveManifest(&parts.Document{About: about, Tree: m}, f.saved, f.output)
}

// check refuses what makes no sense together.
func (f hashFlags) check(t *tree, about parts.About) error {
	if f.saved != "" || f.part.of > 0 {
		if err := about.Check(); err != nil { // before hours of hashing for what nobody can read
			return usage(fmt.Errorf("hash: %w: give the directory another name", err))
		}
	}
	switch {
	case f.part.of == 0:
	case f.output == "digest":
		return usage(errors.New("hash: a part has no digest; mlseal manifest merge -o digest prints that of the whole"))
	case f.saved == "" && f.output != "json":
		return usage(errors.New("hash: name the file for the part's manifest with --manifest, or print it with -o json"))
	case f.shards > 0 && t.cache != nil:
		return usage(errors.New("hash: a file of a Hugging Face cache is held to its name as a whole: leave --shards out, or copy the files into a directory of their own (cp -rL)"))
	}
	return nil
}

// about says what tree is hashed, and how.
func (f hashFlags) about(t *tree) (parts.About, error) {
	ignore, err := f.tree.ignored(t)
	if err != nil {
		return parts.About{}, err
	}
	s := manifest.Serialization{Hash: manifest.HashType(f.hash), ShardSize: int64(f.shards), AllowSymlinks: f.tree.symlinks}
	return parts.About{Name: t.name, Source: t.source, SingleFile: t.file != "", IgnorePaths: ignore, IncludeGit: !f.tree.git, Serialization: s}, nil
}

func (a *app) hashPart(ctx context.Context, t *tree, about parts.About, opts manifest.Options, f hashFlags) error {
	meter := a.progress("hashing", 0)
	defer meter.Done()
	opts.File, opts.Total, opts.Progress, opts.Concurrency = t.file, meter.SetTotal, meter.Add, t.concurrency()
	part, err := parts.Hash(ctx, t.fsys, about, opts, f.part.index, f.part.of)
	if err != nil {
		return err
	}
	if m, err := manifest.New(part.Files); err == nil {
		a.noteUnchecked(t, m)
		if err := t.checkStated(m); err != nil {
			return err
		}
	}
	if err := saveManifest(f.saved, part); err != nil {
		return err
	}
	if f.output == "json" {
		return a.printJSON(part)
	}
	return a.printPart(part, f.saved)
}

// printPart tells of a part, which is written to saved when that is not empty.
func (a *app) printPart(p *parts.Part, saved string) error {
	what := fmt.Sprintf("%d, %s (the tree has %d, %s)", len(p.Files), progress.Bytes(p.Bytes()), p.Total.Files, progress.Bytes(p.Total.Bytes))
	return a.printFields("text", field{"part", p.Name + ", " + partFlag{p.Index, p.Of}.String()}, field{"files", what}, field{"source", p.Source},
		field{"plan", p.Plan.String()}, field{"manifest", saved}, field{"left out", strings.Join(p.LeftOut, ", ")})
}

// hashTree hashes an opened tree with a progress line, without what stands at the paths in ignore. It reads every file.
func (a *app) hashTree(ctx context.Context, t *tree, ignore []string) (*manifest.Manifest, error) {
	return a.buildTree(ctx, t, manifest.Options{Ignore: ignore})
}

func (a *app) buildTree(ctx context.Context, t *tree, opts manifest.Options) (*manifest.Manifest, error) {
	meter := a.progress("hashing", 0)
	defer meter.Done()
	opts.File, opts.Total, opts.Progress = t.file, meter.SetTotal, meter.Add
	if opts.Concurrency == 0 {
		opts.Concurrency = t.concurrency()
	}
	m, err := manifest.Build(ctx, t.fsys, opts)
	if err != nil {
		return nil, err
	}
	a.noteUnchecked(t, m)
	return m, t.checkStated(m)
}

// noteUnchecked tells which files of a snapshot of a Hugging Face cache are held to nothing.
func (a *app) noteUnchecked(t *tree, m *manifest.Manifest) {
	if t.cache == nil {
		return
	}
	if names := t.cache.Unchecked(m); len(names) > 0 {
		a.note(fmt.Sprintf("%d of %d files are no links to a blob of the cache, so that nothing says what they should be: %s", len(names), len(m.Files), few(names)))
	}
}

// giveManifest prints a manifest, and writes it to saved when that is not empty.
func (a *app) giveManifest(d *parts.Document, saved, output string) error {
	if err := saveManifest(saved, d); err != nil {
		return err
	}
	return a.printManifest(d, output)
}

func (a *app) printManifest(d *parts.Document, output string) error {
	m := d.Tree
	switch output {
	case "json":
		return a.printJSON(d)
	case "digest":
		if m.Serialization.ShardSize > 0 {
			return a.printf("omsRoot:%s\n", m.OMSRoot())
		}
		return a.printf("dirHash:%s\n", m.DirHash())
	}
	if err := a.printResources(m); err != nil {
		return err
	}
	shards := ""
	if size := m.Serialization.ShardSize; size > 0 {
		shards = fmt.Sprintf(", %d shards of at most %d bytes", len(m.Resources()), size)
	}
	if err := a.printf("\n%d files, %s%s\n", len(m.Files), progress.Bytes(m.Size()), shards); err != nil {
		return err
	}
	return a.printFields("text",
		field{"source", d.Source},
		field{"dirHash", cmp.Or(m.DirHash(), "not known from shards")},
		field{"OMS root", m.OMSRoot() + "  (binds no file names: not an identity)"},
		field{"left out", strings.Join(m.LeftOut, ", ")})
}

// printResources prints a line for each file, or where there are shards for each of them and for each empty file.
func (a *app) printResources(m *manifest.Manifest) error {
	return a.buffered(func() error { return a.printEach(m, m.Resources()) })
}

func (a *app) printEach(m *manifest.Manifest, resources []manifest.Resource) error {
	for _, f := range m.Files {
		if m.Serialization.ShardSize > 0 && f.Size == 0 {
			if err := a.printf("(empty)  %s\n", f.Path); err != nil {
				return err
			}
		}
		for len(resources) > 0 && resources[0].Path == f.Path {
			r := resources[0]
			size := f.Size
			if r.End > 0 {
				size = r.End - r.Start
			}
			if err := a.printf("%s  %9s  %s\n", r.Digest.Encoded(), progress.Bytes(size), r.Name()); err != nil {
				return err
			}
			resources = resources[1:]
		}
	}
	return nil
}

// partFlag is a flag that takes a part of several, I/N.
type partFlag struct{ index, of int }

func (p *partFlag) Type() string { return "I/N" }

func (p partFlag) String() string {
	if p.of == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", p.index, p.of)
}

func (p *partFlag) Set(text string) error {
	first, second, _ := strings.Cut(text, "/")
	index, err1 := strconv.Atoi(first)
	of, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil || index < 1 || index > of || of > parts.MaxParts || text != (partFlag{index, of}).String() {
		return fmt.Errorf("want I/N, one of 1/N to N/N, such as 3/8 (N at most %d)", parts.MaxParts)
	}
	*p = partFlag{index, of}
	return nil
}
