package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/policies/policytest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
)

func (a *app) policyFixtureCommand() *cobra.Command {
	var f verifyFlags
	var dir string
	cmd := &cobra.Command{
		Use:   "fixture PATH|REF --policy FILE --output DIR",
		Short: "Write the verified evidence of a real artifact as a fixture for policy tests",
		Long: `Verify the statements about an artifact as mlseal verify does, and write what came of it as a fixture: who signed each of them, when,
and what it says. The policy says who the signers are; what it decides does not matter. Nothing is overwritten.`,
		Example: "  mlseal policy fixture oci:store:v1 --policy policy.yaml --output testdata/good",
		Args:    takes("PATH|REF"),
	}
	f.policy.add(cmd)
	cmd.Flags().StringVar(&f.trust.root, "trusted-root", "", "Sigstore trusted root, for keyless signers and timestamps")
	cmd.Flags().StringArrayVar(&f.attestations, "attestations", nil, "more statements: a directory of bundles, a bundle, or a package (repeatable)")
	cmd.Flags().StringVar(&dir, "output", "", "directory to make")
	f.store.add(cmd)
	_ = cmd.MarkFlagRequired("policy")
	_ = cmd.MarkFlagRequired("output")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error { return a.policyFixture(cmd.Context(), args[0], dir, f) })
	return cmd
}

func (a *app) policyFixture(ctx context.Context, arg, dir string, f verifyFlags) error {
	if exists(dir) {
		return usage(fmt.Errorf("%s is there already; name a directory that is not", dir))
	}
	policy, err := a.loadPolicy(ctx, f.policy, f.store)
	if err != nil {
		return err
	}
	root, err := policy.root(ctx, f.trust)
	if err != nil {
		return err
	}
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return err
	}
	g, err := a.gateInput(ctx, arg, p, f)
	if err != nil {
		return err
	}
	v := verify.Verifier{Source: g.source, Now: a.now(), Trust: trust.New(root)}
	evidence, err := v.Evidence(ctx, g.target, slices.Concat(g.found, g.given), policy.Policy)
	if err != nil {
		return err
	}
	fixture := policytest.NewFixture(g.target.Subject, evidence)
	files, err := fixture.Files()
	if err != nil {
		return err
	}
	if err := writeNew(dir, files); err != nil {
		return err
	}
	return a.printf("%d statements about %s written to %s\n", len(evidence), g.target.Subject.Name, dir)
}

// writeNew writes files into a directory, which it makes. What is there stays as it is: then it is an error.
func writeNew(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name := range files {
		if exists(filepath.Join(dir, name)) {
			return usage(fmt.Errorf("%s: %w", filepath.Join(dir, name), atomicfile.ErrExists))
		}
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		err := atomicfile.Write(path, data, atomicfile.Options{NoOverwrite: true})
		if errors.Is(err, atomicfile.ErrExists) {
			return usage(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
