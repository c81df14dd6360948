package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/manifest/parts"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

func (a *app) manifestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Show, merge and compare the manifests that hash writes",
		Long: `Work with manifests: what hash --manifest and hash -o json write of a tree, or of a part of one with hash --part.

Nothing is verified but that a manifest agrees with itself: whoever wrote it chose the digests. mlseal verify is for decisions.`,
		Example: "  mlseal manifest show model.json\n  mlseal manifest merge ./parts --manifest model.json\n  mlseal manifest diff model.json ./model",
		Args:    func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return errors.New("manifest: no command given")
		},
	}
	cmd.AddCommand(a.manifestShowCommand(), a.manifestMergeCommand(), a.manifestDiffCommand())
	return cmd
}

func (a *app) manifestShowCommand() *cobra.Command {
	var output string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "show FILE|DIRECTORY|REF",
		Short: "Show the tree of a manifest, a part, an OMS bundle, a package or a directory",
		Long: `Show the files of a tree as hash does: from a manifest or the manifest of a part, from an OMS bundle (whose signature is not
looked at), from a package, or from a directory, which is hashed.`,
		Example: "  mlseal manifest show model.json\n  mlseal manifest show model.sig -o digest\n  mlseal manifest show oci:store:v1 -o json",
		Args:    takes("FILE|DIRECTORY|REF"),
	}
	outputFlag(cmd, &output, "text", "json", "digest")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		d, err := a.describe(cmd.Context(), args[0], store, nil)
		if err != nil {
			return fmt.Errorf("manifest show: %w", err)
		}
		return a.show(d, output)
	})
	return cmd
}

func (a *app) manifestMergeCommand() *cobra.Command {
	var output, saved string
	cmd := &cobra.Command{
		Use:   "merge FILE|DIRECTORY...",
		Short: "Make the manifest of a tree of the manifests of all its parts",
		Long: `Merge what hash --part wrote on several machines: files, or directories of them. It proves that all parts were chosen by the same plan (the same
names, sizes and options), that each is there once, and that together they hold every byte once; then it prints what hash
prints of the whole tree, and writes it to --manifest.

Parts of whole files give the dirHash. From shards it does not follow, unless no file is larger than a shard.

The digests are taken on trust: whoever wrote a part chose them. A file whose contents changed between the work of two machines, and whose
size did not, is not noticed here: hash a tree that nobody writes to. mlseal verify reads every file.

The exit status is 1 when the parts do not make a whole, with the parts and files named.`,
		Example: "  mlseal manifest merge part-1.json part-2.json part-3.json\n  mlseal manifest merge ./parts --manifest model.json\n  mlseal manifest merge ./parts -o digest",
		Args:    cobra.MinimumNArgs(1),
	}
	outputFlag(cmd, &output, "text", "json", "digest")
	manifestFlag(cmd, &saved)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := placeForManifest(saved, nil, nil); err != nil {
			return err
		}
		if err := apartFrom(saved, args); err != nil {
			return err
		}
		d, err := mergeParts(args, maxMergedEntries)
		if err != nil {
			return fmt.Errorf("manifest merge: %w", err)
		}
		return a.giveManifest(d, saved, output)
	})
	return cmd
}

// apartFrom refuses to write a merged manifest over a part, which may have taken hours, or beside the parts of a directory, where the next
// merge would find it.
func apartFrom(saved string, args []string) error {
	if saved == "" {
		return nil
	}
	there, _ := os.Stat(saved)
	dir, err := os.Stat(filepath.Dir(saved))
	if err != nil {
		return err
	}
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			continue // mergeParts says so
		}
		if info.IsDir() && os.SameFile(info, dir) || there != nil && os.SameFile(info, there) {
			return usage(fmt.Errorf("--manifest %s: it would stand among the parts: write it elsewhere", saved))
		}
	}
	return nil
}

// maxMergedEntries bounds the parts that are merged, together. One manifest could not hold as many; a part repeats what is left out and the
// files that it shares with others.
const maxMergedEntries = 2 * parts.MaxEntries

// mergeParts merges the parts in files and directories, with no more than most entries in all of them.
func mergeParts(args []string, most int) (*parts.Document, error) {
	var list []*parts.Part
	for _, arg := range args {
		files, err := partFiles(arg)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if len(list) == parts.MaxParts {
				return nil, fmt.Errorf("%w: more than %d", parts.ErrParts, parts.MaxParts)
			}
			part, err := readAs("part", file, parts.MaxDocumentBytes, parts.ParsePart)
			if err != nil {
				return nil, err
			}
			if most -= part.Entries(); most < 0 {
				return nil, fmt.Errorf("part %s: %w: with the parts before it, it lists more than a tree may have", file, parts.ErrParts)
			}
			list = append(list, part)
		}
	}
	return parts.Merge(list)
}

// partFiles lists the files of a directory but for hidden ones, such as what a killed command leaves; or the file itself, which may be a
// pipe. In a directory nobody would write to one.
func partFiles(arg string) ([]string, error) {
	if info, err := os.Stat(arg); err != nil {
		return nil, noSuch(arg, err)
	} else if !info.IsDir() {
		return []string{arg}, nil
	}
	files, err := filesIn(arg)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasPrefix(filepath.Base(file), ".") })
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("part %s: %w: it is not a regular file", file, parts.ErrDocument)
		}
	}
	return files, nil
}

func (a *app) manifestDiffCommand() *cobra.Command {
	var output string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Tell two trees apart: manifests, OMS bundles, packages or directories",
		Long: `Compare two trees, each a manifest, an OMS bundle (whose signature is not looked at), a package, or a directory (also one in an object store), which is hashed with the
options of the other one. The files that were added, removed and changed are named; where both list shards and not the sha256 of the
files, a change is named by its shard.

The exit status is 1 when the trees differ.`,
		Example: "  mlseal manifest diff yesterday.json ./model\n  mlseal manifest diff oci:store:v1 oci:store:v2 -o json",
		Args:    takes("OLD", "NEW"),
	}
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		d, err := a.compareTrees(cmd.Context(), args[0], args[1], store)
		if err != nil {
			return fmt.Errorf("manifest diff: %w", err)
		}
		return a.printDiff(d, output)
	})
	return cmd
}

// compareTrees hashes directories last, as the other tree was hashed.
func (a *app) compareTrees(ctx context.Context, first, second string, store storeFlags) (*manifest.Diff, error) {
	args := [2]string{first, second}
	var found [2]*described
	order := []int{0, 1}
	if isDirectory(first) {
		order = []int{1, 0}
	}
	var like *described
	for _, i := range order {
		d, err := a.describe(ctx, args[i], store, like)
		if err != nil {
			return nil, err
		}
		if d.part != nil {
			return nil, fmt.Errorf("%s: %w: a part is not compared", args[i], usage(parts.ErrIsPart))
		}
		found[i], like = d, d
	}
	diff, err := found[0].listing.Diff(found[1].listing)
	if err != nil {
		return nil, usage(fmt.Errorf("%s and %s: %w", first, second, err))
	}
	if names := found[0].listing.Uncompared(found[1].listing); len(names) > 0 {
		a.note(fmt.Sprintf("%d empty files are not compared, for a bundle lists no shards of them: %s", len(names), few(names)))
	}
	return diff, nil
}

// isDirectory reports whether arg is to be hashed: a directory, or what lies in an object store.
func isDirectory(arg string) bool {
	if objectstore.IsURL(arg) {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.IsDir() && !isPackage(arg)
}

// diffReport is `manifest diff -o json`.
type diffReport struct {
	Equal   bool              `json:"equal"`
	Added   []string          `json:"added,omitempty"`
	Removed []string          `json:"removed,omitempty"`
	Changed []manifest.Change `json:"changed,omitempty"`
}

func (a *app) printDiff(d *manifest.Diff, output string) error {
	if err := a.writeDiff(d, output); err != nil {
		return err
	}
	if d.Equal() {
		return nil
	}
	return reportedError{d.Err()}
}

func (a *app) writeDiff(d *manifest.Diff, output string) error {
	if output == "json" {
		return a.printJSON(diffReport{d.Equal(), d.Extra, d.Missing, d.Changed})
	}
	w := &lines{a: a}
	if d.Equal() {
		w.line("SAME")
		return w.err
	}
	w.line("DIFFERENT  %d added, %d removed, %d changed", len(d.Extra), len(d.Missing), len(d.Changed))
	for _, name := range d.Extra {
		w.line("added      %s", name)
	}
	for _, name := range d.Missing {
		w.line("removed    %s", name)
	}
	for _, c := range d.Changed {
		if c.Want == "" && c.Got == "" {
			w.line("changed    %s  it is empty on one side", c.Path)
			continue
		}
		w.line("changed    %s  %s -> %s", c.Path, short(c.Want.String()), short(c.Got.String()))
	}
	return w.err
}

// short is the beginning of a digest, without its algorithm.
func short(digest string) string {
	_, encoded, _ := strings.Cut(digest, ":")
	if encoded == "" {
		return "nothing"
	}
	return encoded[:min(12, len(encoded))]
}

// manifestFlag adds --manifest.
func manifestFlag(cmd *cobra.Command, target *string) {
	cmd.Flags().StringVar(target, "manifest", "", "write the manifest (JSON) to this file, whole or not at all")
}

// placeForManifest refuses a path that a manifest cannot be written to, before anything is hashed: one in the tree t that is
// hashed, which it would change, and one where something else than a manifest stands. t may be nil.
func placeForManifest(path string, t *tree, ignore []string) error {
	if path == "" {
		return nil
	}
	if t != nil {
		rel, err := t.inside(path)
		if err != nil {
			return err
		}
		if rel != "" && !slices.ContainsFunc(ignore, func(left string) bool { return rel == left || strings.HasPrefix(rel, left+"/") }) {
			return usage(fmt.Errorf("--manifest %s: it would be part of the tree that is hashed: write it elsewhere, or leave it out with --ignore-paths", path))
		}
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("--manifest %s: %w", path, noSuch(dir, err))
	} else if !info.IsDir() {
		return usage(fmt.Errorf("--manifest %s: %s is no directory", path, dir))
	}
	return replaceableManifest(path)
}

// replaceableManifest wants path to be a manifest, or nothing.
func replaceableManifest(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // there is nothing, or the write will say what
	}
	var head bytes.Buffer
	if info.Mode().IsRegular() {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("--manifest: %w", err)
		}
		defer func() { _ = f.Close() }()
		if _, err := io.CopyN(&head, f, 1<<10); err != nil && err != io.EOF {
			return fmt.Errorf("--manifest: %w", err)
		}
	}
	if !parts.IsDocument(head.Bytes()) {
		return usage(fmt.Errorf("--manifest %s is there and is no manifest: it is not overwritten", path))
	}
	return nil
}

// saveManifest writes a manifest or a part where placeForManifest allows it.
func saveManifest(path string, v any) error {
	if path == "" {
		return nil
	}
	data, err := report.Marshal(v)
	if err != nil {
		return err
	}
	if err := replaceableManifest(path); err != nil {
		return err
	}
	if err := atomicfile.Write(path, data, atomicfile.Options{}); err != nil {
		return fmt.Errorf("--manifest %s: %w", path, noSuch(filepath.Dir(path), err))
	}
	return nil
}
