package main

import (
	"fmt"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/spf13/cobra"
)

// onlyFlag holds the patterns of --only, which choose a part of a package.
type onlyFlag []string

func (f *onlyFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar((*[]string)(f), "only", nil,
		"take the files that match, or all below a directory that does: * ? [a-z] inside a name, ** for any directories (repeatable)")
}

func (f onlyFlag) isPart() bool { return len(f) > 0 }

// of is the part of a package that is chosen; all of it without patterns.
func (f onlyFlag) of(p *oci.Package) (*manifest.Manifest, error) { return oci.Select(p.Tree, f) }

// partOf says how much of a package a part is.
func partOf(part *manifest.Manifest, p *oci.Package) string {
	return fmt.Sprintf("%d of %d files", len(part.Files), len(p.Tree.Files))
}
