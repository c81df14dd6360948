package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

func (a *app) hashCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "hash PATH",
		Short: "Hash a directory or file: each file, and one digest for the tree",
		Long: `Hash every file of a directory (or one file) and print the digest of the whole tree.

The tree's digest is its dirHash (in-toto DigestSet v1.1): the sha256 over what
  find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum
prints inside the directory (for names without white space; xargs splits at it). It binds names and contents; times, modes
and owners do not count. At the top level .git, .gitignore, .gitattributes and .github are left out, and said to be.`,
		Example: "  mlseal hash ./model\n  mlseal hash ./model -o digest\n  mlseal hash ./model -o json",
		Args:    takes("PATH"),
	}
	outputFlag(cmd, &output, "text", "json", "digest")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		t, err := openTree(args[0])
		if err != nil {
			return err
		}
		defer t.Close()
		m, err := a.hashTree(cmd.Context(), t, nil)
		if err != nil {
			return err
		}
		return a.printManifest(m, t.name, output)
	})
	return cmd
}

// hashTree hashes an opened tree with a progress line, without what stands at the paths in ignore.
func (a *app) hashTree(ctx context.Context, t *tree, ignore []string) (*manifest.Manifest, error) {
	meter := a.progress("hashing", 0)
	defer meter.Done()
	return manifest.Build(ctx, t.fsys, manifest.Options{File: t.file, Ignore: ignore, Total: meter.SetTotal, Progress: meter.Add})
}

// hashReport is `hash -o json`.
type hashReport struct {
	Name    string          `json:"name"`
	DirHash string          `json:"dirHash"`
	OMSRoot string          `json:"omsRoot"`
	Bytes   int64           `json:"bytes"`
	Files   []manifest.File `json:"files"`
	LeftOut []string        `json:"leftOut,omitempty"`
}

func (a *app) printManifest(m *manifest.Manifest, name, output string) error {
	switch output {
	case "json":
		return a.printJSON(hashReport{name, m.DirHash(), m.OMSRoot(), m.Size(), m.Files, m.LeftOut})
	case "digest":
		_, err := fmt.Fprintf(a.stdout, "dirHash:%s\n", m.DirHash())
		return err
	}
	for _, f := range m.Files {
		if err := a.printf("%s  %9s  %s\n", f.Digest.Encoded(), progress.Bytes(f.Size), f.Path); err != nil {
			return err
		}
	}
	if err := a.printf("\n%d files, %s\n", len(m.Files), progress.Bytes(m.Size())); err != nil {
		return err
	}
	return a.printFields("text",
		field{"dirHash", m.DirHash()},
		field{"OMS root", m.OMSRoot() + "  (binds no file names: not an identity)"},
		field{"left out", strings.Join(m.LeftOut, ", ")})
}
