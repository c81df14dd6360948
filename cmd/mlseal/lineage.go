package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

type lineageFlags struct {
	verifyFlags
	output     string
	affectedBy string
	file       string
}

func (a *app) lineageCommand() *cobra.Command {
	var f lineageFlags
	cmd := &cobra.Command{
		Use:   "lineage PATH|REF, or lineage --affected-by DIGEST STORE...",
		Short: "Show what an artifact was made from, or what was made from something",
		Long: `Show what a package, directory or file was made from, and that in turn, as provenance says. Statements come from the artifact's store and from
--attestations: further packages and their stores, bundles, directories of bundles.
  mlseal lineage PATH|REF [-o tree|json|dot|html]
Without a policy nobody's signature is checked, and what is shown says so. With a policy each thing carries its verdict, who vouches
for it and when, and the exit status is that of mlseal verify. At most 8 generations and 500 things are followed without
a policy, and those of the policy's lineage.maxDepth and maxNodes with one. Where there is more, what was found is shown, and the status is 1.

The form html is a page that stands alone: it fetches nothing and runs nothing.

The other way round: list all artifacts in stores that descend from a digest, in whatever role and over however many steps.
  mlseal lineage --affected-by sha256:... oci:store registry.example/models/bot
DIGEST is that of an image manifest (sha256:...) or of a tree (dirHash:...). With a policy, descent counts when provenance that a signer of the
policy signed says so at every step; what others say is listed apart.`,
		Example: "  mlseal lineage oci:store:v1\n  mlseal lineage oci:store:v1 --policy policy.yaml -o html --output-file lineage.html\n" +
			"  mlseal lineage --affected-by sha256:… oci:store",
		Args: func(cmd *cobra.Command, args []string) error {
			if f.affectedBy != "" && len(args) > 0 {
				return nil
			}
			return takes("PATH|REF")(cmd, args)
		},
	}
	f.policy.add(cmd)
	f.policy.addParams(cmd)
	cmd.Flags().StringVar(&f.trust.root, "trusted-root", "", "Sigstore trusted root for the policy's keyless signers")
	cmd.Flags().StringArrayVar(&f.attestations, "attestations", nil, "more statements: a directory of bundles, a bundle, or a package (repeatable)")
	cmd.Flags().StringVar(&f.affectedBy, "affected-by", "", "list what descends from this digest")
	cmd.Flags().StringVar(&f.file, "output-file", "", "write to this file, which is replaced whole")
	outputFlag(cmd, &f.output, "tree", "json", "dot", "html")
	f.store.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("affected-by", "attestations")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if f.policy.name == "" && (f.policy.about() || len(f.policy.params) > 0) {
			return usage(errors.New("lineage: --policy-digest, the other flags about a policy and --param go with --policy"))
		}
		if f.affectedBy != "" {
			return a.affected(cmd.Context(), args, f)
		}
		return a.lineage(cmd.Context(), args[0], f)
	})
	return cmd
}

// lineage shows what arg was made from.
func (a *app) lineage(ctx context.Context, arg string, f lineageFlags) error {
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return err
	}
	if f.policy.name == "" {
		return a.unverifiedLineage(ctx, arg, p, f)
	}
	policy, err := a.loadPolicy(ctx, f.policy, f.store)
	if err != nil {
		return err
	}
	decision, err := a.decide(ctx, arg, p, policy, f.verifyFlags)
	if err != nil {
		return err
	}
	if err := a.writeForm(report.LineageOf(decision), f); err != nil {
		return err
	}
	return reported(decision.Err(), "", a)
}

// unverifiedLineage shows what the statements say. When they are not all, it says so and fails.
func (a *app) unverifiedLineage(ctx context.Context, arg string, p *openedPackage, f lineageFlags) error {
	g, err := a.gatherEvidence(ctx, arg, p, f.verifyFlags)
	if err != nil {
		return err
	}
	subject := g.target.Subject
	ancestry, incomplete := verify.UnverifiedAncestry(ctx, g.source, subject.Digests, g.found, g.given)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.writeForm(report.UnverifiedLineage(subject, ancestry, incomplete), f); err != nil {
		return err
	}
	return incomplete
}

// drawable is what has all forms.
type drawable interface {
	report.Document
	DOT(w io.Writer) error
	HTML(w io.Writer) error
}

// writeForm writes a report in the form that the flags name, to where they say.
func (a *app) writeForm(r report.Document, f lineageFlags) error {
	var buf bytes.Buffer
	if err := a.form(&buf, r, f); err != nil {
		return err
	}
	if f.file == "" {
		_, err := a.stdout.Write(buf.Bytes())
		return err
	}
	if err := atomicfile.Write(f.file, buf.Bytes(), atomicfile.Options{}); err != nil {
		return fmt.Errorf("--output-file: %w", err)
	}
	return nil
}

func (a *app) form(w io.Writer, r report.Document, f lineageFlags) error {
	drawn, _ := r.(drawable)
	switch {
	case f.output == "json":
		data, err := report.Marshal(r.JSON())
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	case f.output == "dot" && drawn != nil:
		return drawn.DOT(w)
	case f.output == "html" && drawn != nil:
		return drawn.HTML(w)
	}
	return r.Text(w, report.Style{Color: a.color && f.file == ""})
}
