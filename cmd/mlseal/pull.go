package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/spf13/cobra"
)

func (a *app) pullCommand() *cobra.Command {
	var store storeFlags
	var output, statements string
	var only onlyFlag
	cmd := &cobra.Command{
		Use:   "pull REF DIR",
		Short: "Extract a package into a directory and verify every byte while it is written",
		Long: `Extract a package into a directory. Each file is written under a temporary name, hashed, and renamed only when its digest is
right. What is there already is hashed and kept; a pull that was interrupted is gone on from, and what it left is hashed too.

Packages of modctl, KitOps and Docker Model Runner are extracted too. What their archives hold is renamed when the whole archive is
verified; a file to which Docker gives no name gets the one of Docker Model Runner, such as model.gguf.

With --only a part of the package is fetched and verified. DIR then is not the tree that was signed, and no dirHash is printed; further
parts can be pulled into it.

With --attestations the statements that are attached to the package are written into a directory of their own, for
mlseal verify --attestations.`,
		Example: "  mlseal pull oci:store:v1 ./model\n  mlseal pull oci:store:v1 ./part --only config.json --only 'model-0000[12]*'\n  mlseal pull oci:store:v1 ./model --attestations ./statements",
		Args:    takes("REF", "DIR"),
	}
	cmd.Flags().StringVar(&statements, "attestations", "", "directory into which the attached statements are written too")
	_ = cmd.MarkFlagDirname("attestations")
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	only.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := checkBeside(args[1], statements); err != nil {
			return err
		}
		p, err := a.resolvePackage(cmd.Context(), args[0], store)
		if err != nil {
			return err
		}
		meter := a.progress("pulling", p.pullSize(only))
		err = oci.Pull(cmd.Context(), p.target, p.pkg, args[1], oci.PullOptions{Only: only, Progress: func(e oci.PullEvent) { meter.Add(e.Bytes) }})
		meter.Done()
		if err != nil {
			return err
		}
		written, err := p.writeStatements(cmd.Context(), statements)
		if err != nil {
			return err
		}
		part, err := only.of(p.pkg)
		if err != nil {
			return err
		}
		fields := []field{{"pulled", p.name + "@" + p.pkg.Descriptor.Digest.String()}, {"into", args[1]},
			{"files", fmt.Sprintf("%d, %s, each verified", len(part.Files), progress.Bytes(part.Size()))}}
		if only.isPart() {
			fields = append(fields, field{"part", partOf(part, p.pkg) + "; what else stands in the directory was not looked at"})
		} else {
			fields = append(fields, field{"dirHash", p.pkg.Tree.DirHash()}, field{"left out", strings.Join(p.pkg.LeftOut, ", ")})
		}
		return a.printFields(output, append(fields, field{"statements", written})...)
	})
	return cmd
}

// checkBeside refuses a place for statements inside the tree that is pulled, which it would change.
func checkBeside(dir, statements string) error {
	if statements == "" {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	t := &tree{dir: abs}
	inside, err := t.inside(statements)
	if other, err2 := filepath.Abs(statements); err == nil && (err2 != nil || other == abs) {
		inside = statements
	}
	if err != nil || inside != "" {
		return usage(fmt.Errorf("pull: --attestations %s lies in the directory that is pulled and would change it", statements))
	}
	return nil
}

// writeStatements writes the bundles that are attached to the package into dir, named by their digests, and says how
// many. They are verified by whoever uses them. One that cannot be read is an error: it may be the one that says no.
func (p *openedPackage) writeStatements(ctx context.Context, dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	found, err := oci.Bundles(ctx, p.target, p.pkg.Descriptor)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	written := 0
	for _, f := range found {
		if errors.Is(f.Err, oci.ErrNotBundle) {
			continue
		}
		if f.Err != nil {
			return "", f.Err
		}
		name := filepath.Join(dir, cmp.Or(f.Carried, f.Descriptor.Digest).Encoded()+".sigstore.json")
		if err := atomicfile.Write(name, f.Bundle, atomicfile.Options{}); err != nil {
			return "", fmt.Errorf("--attestations: %w", err)
		}
		written++
	}
	return fmt.Sprintf("%d, in %s, not verified", written, dir), nil
}
