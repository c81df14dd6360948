package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

// copyFlags say how an artifact is copied.
type copyFlags struct {
	attestations bool
	mountFrom    string
	concurrency  int
	output       string
	store        storeFlags
	gate         gateFlags
}

// gateFlags are what copy knows beside push: what to ask before, and what to take along.
type gateFlags struct {
	lineage bool
	policy  policyFlags
	root    string   // the trusted root, for the decision or to take along
	more    []string // --attestations
}

func (f *gateFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.lineage, "with-lineage", false, "take along the statements about everything that the package descends from, and the policy, for an air gap (DST is an oci-archive)")
	f.policy.add(cmd)
	f.policy.addParams(cmd)
	flags.StringVar(&f.root, "trusted-root", "", "Sigstore trusted root for the policy's keyless signers")
	flags.StringArrayVar(&f.more, "attestations", nil, "where statements about what it descends from are: a directory of bundles, a bundle, or a package (repeatable)")
}

// check refuses combinations that would do nothing.
func (f *gateFlags) check() error {
	switch {
	case f.policy.name == "" && (f.policy.about() || f.root != "" || len(f.policy.params) > 0):
		return usage(errors.New("copy: --policy-digest, the other flags about a policy, --param and --trusted-root go with --policy"))
	case f.lineage && len(f.policy.params) > 0:
		return usage(errors.New("copy: --with-lineage takes the policy along as it is; give --param to mlseal verify"))
	case f.policy.name == "" && !f.lineage && len(f.more) > 0:
		return usage(errors.New("copy: --attestations goes with --with-lineage or --policy"))
	case f.lineage && f.policy.about():
		return usage(errors.New("copy: --with-lineage takes a policy file along; its digest is printed"))
	}
	return nil
}

func (f *copyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.attestations, "with-attestations", true, "take along what is attached: statements, signatures and other referrers")
	flags.StringVar(&f.mountFrom, "mount-from", "", "repository of the destination's registry that has some of the files already, such as the base model's")
	flags.IntVar(&f.concurrency, "concurrency", 4, "how many files are transferred at once")
	f.store.add(cmd)
}

func (a *app) copyCommand() *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy SRC DST",
		Short: "Copy a package with its statements between layouts and registries",
		Long: `Copy an artifact, with everything that is attached to it, from an OCI layout or registry to another. It is not changed: the digest
stays, and with it every signature. Any OCI artifact can be copied, also an image or an index.

An oci-archive:FILE.tar is such a layout in one file, to carry across an air gap: it is written in one pass and the same content gives the
same bytes. --with-lineage takes along the statements about everything that the package descends from, as its provenance says, and with
--policy the policy with its keys and trusted root, whose digest is printed. No signature is verified then, but every digest is.

Without --with-lineage a --policy is asked first, as mlseal verify asks it: nothing is written unless it allows the package.

Every byte is verified on the way. What is there is not sent again, so that a copy that was interrupted goes on when the command is run
again. The tag comes last: whoever sees it finds everything.`,
		Example: "  mlseal copy oci:store:v1 oci:mirror:v1\n  mlseal copy oci:store:v1 registry.example/models/bot:v1\n  mlseal copy registry.example/models/bot:v1 registry.example/prod/bot:v1\n" +
			"  mlseal copy oci:store:v1 oci-archive:bot.tar:v1 --with-lineage --policy policy.yaml\n  mlseal copy oci-archive:bot.tar oci:store:v1 --policy policy.yaml",
		Args: takes("SRC", "DST"),
	}
	f.add(cmd)
	f.gate.add(cmd)
	outputFlag(cmd, &f.output, "text", "json", "digest")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		return a.copy(cmd.Context(), args[0], args[1], f)
	})
	return cmd
}

func (a *app) pushCommand() *cobra.Command {
	var f copyFlags
	var pack packFlags
	cmd := &cobra.Command{
		Use:   "push SRC DST",
		Short: "Push a package from a layout, or package a directory or file, to a registry",
		Long: `Push a package with its statements from an OCI layout, as mlseal copy does. When SRC is a directory or file it is packaged straight to DST, as
mlseal pack does; --type and --name are for that.`,
		Example: "  mlseal push oci:store:v1 registry.example/models/bot:v1\n  mlseal push ./model registry.example/models/bot:v1",
		Args:    takes("SRC", "DST"),
	}
	f.add(cmd)
	cmd.Flags().Var(&choice{&pack.kind, []string{"model", "dataset"}}, "type", "what a directory or file is: model or dataset (default model)")
	pack.cache.add(cmd)
	cmd.Flags().StringVar(&pack.name, "name", "", "name to write into the artifact of a directory or file (part of its digest)")
	outputFlag(cmd, &f.output, "text", "json", "digest")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if !isPackage(args[0]) {
			pack.output, pack.store = f.output, f.store
			return a.pack(cmd.Context(), args[0], args[1], pack)
		}
		if cmd.Flags().Changed("type") || cmd.Flags().Changed("name") {
			return usage(errors.New("push: --type and --name are for directories and files; a package is pushed as it is"))
		}
		return a.copy(cmd.Context(), args[0], args[1], f)
	})
	return cmd
}

func (a *app) copy(ctx context.Context, from, to string, f copyFlags) error {
	if f.concurrency < 1 {
		return usage(fmt.Errorf("--concurrency %d: at least 1", f.concurrency))
	}
	if err := f.gate.check(); err != nil {
		return err
	}
	ref, err := destination(to)
	if err != nil {
		return err
	}
	if f.gate.lineage && ref.Archive == "" {
		return usage(fmt.Errorf("copy: --with-lineage makes an archive; %s is none: write oci-archive:FILE.tar", to))
	}
	mountFrom, err := mountable(f.mountFrom, ref)
	if err != nil {
		return err
	}
	src, decision, err := a.copySource(ctx, from, f)
	if err != nil {
		return err
	}
	c := &copying{app: a, from: from, to: to, src: src, ref: ref, flags: f, decision: decision}
	if ref.Archive != "" {
		return c.toArchive(ctx)
	}
	dst, err := f.store.open(ctx, ref, true)
	if errors.Is(err, oci.ErrNotLayout) {
		return usage(err) // nobody else chose the place to copy to
	}
	if err != nil {
		return err
	}
	meter := a.progress("copying", 0)
	report, err := oci.Copy(ctx, src.target, src.desc, dst, oci.CopyOptions{Tag: ref.Tag, Referrers: f.attestations, Concurrency: f.concurrency,
		MountFrom: mountFrom, Planned: meter.SetTotal, Progress: meter.Add})
	meter.Done()
	if err != nil {
		return fmt.Errorf("%s to %s: %w", from, to, err)
	}
	a.noteLeftBehind(ctx, src)
	return c.print(report, nil)
}

// destination is where to copy to.
func destination(to string) (oci.Reference, error) {
	ref, err := oci.ParseReference(to)
	if err == nil && ref.Digest != "" {
		err = usage(fmt.Errorf("%s: name a tag to copy to, not a digest: the digest is the source's", to))
	}
	return ref, err
}

// copySource opens what is copied. With a policy it must be a package that the policy allows: what is decided about and what is
// copied has one digest, whatever becomes of the source meanwhile.
func (a *app) copySource(ctx context.Context, from string, f copyFlags) (*openedArtifact, *policies.Decision, error) {
	if f.gate.policy.name == "" || f.gate.lineage {
		src, err := f.store.openArtifact(ctx, from)
		return src, nil, err
	}
	asked := verifyFlags{policy: f.gate.policy, attestations: f.gate.more, store: f.store, trust: trustFlags{root: f.gate.root}}
	policy, err := a.loadPolicy(ctx, asked.policy, asked.store)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.openPackage(ctx, from, f.store)
	if err != nil {
		return nil, nil, err
	}
	decision, err := a.decide(ctx, from, p, policy, asked)
	if err != nil {
		return nil, nil, err
	}
	if f.output != "json" || decision.Err() != nil {
		if err := a.reportBefore(f.output, report.Gate{Decision: decision}); err != nil {
			return nil, nil, err
		}
	}
	return &openedArtifact{p.ref, p.target, p.pkg.Descriptor}, decision, reported(decision.Err(), "nothing was copied", a)
}

// reportBefore writes the decision that comes before a copy; where just a digest is wanted, beside it.
func (a *app) reportBefore(output string, gate report.Gate) error {
	if output == "digest" {
		return gate.Text(a.stderr, report.Style{})
	}
	return a.report(output, gate)
}

// mountable is the repository that --mount-from names, without its registry, which must be the destination's.
func mountable(name string, to oci.Reference) (string, error) {
	host, _, _ := strings.Cut(to.Repository, "/")
	if name == "" {
		return "", nil
	}
	ref, err := oci.ParseReference(host + "/" + strings.TrimPrefix(name, host+"/"))
	if to.Repository == "" || err != nil || ref.Tag != "" || ref.Digest != "" {
		return "", usage(fmt.Errorf("--mount-from %s: name a repository of the registry that is copied to, without a tag", name))
	}
	return strings.TrimPrefix(ref.Repository, host+"/"), nil
}

// copying is a copy with what is printed about it.
type copying struct {
	*app
	from, to string
	src      *openedArtifact
	ref      oci.Reference // of the destination
	flags    copyFlags
	decision *policies.Decision // that came before; may be nil
}

func (c *copying) print(copied oci.CopyReport, taken *takenAlong) error {
	digest := c.src.desc.Digest.String()
	switch c.flags.output {
	case "json":
		out := struct {
			Source      string `json:"source"`
			Destination string `json:"destination"`
			Digest      string `json:"digest"`
			oci.CopyReport
			*takenAlong
			Decision any `json:"decision,omitempty"`
		}{Source: c.from, Destination: c.to, Digest: digest, CopyReport: copied, takenAlong: taken}
		if c.decision != nil {
			out.Decision = report.Gate{Decision: c.decision}.JSON()
		}
		return c.printJSON(out)
	case "digest":
		return c.printf("%s\n", digest)
	}
	fields := []field{{"copied", c.from + " to " + c.to}, {"digest", digest}, {"sent", volume(copied.Copied)},
		{"was there", volume(copied.Skipped)}, {"mounted", volume(copied.Mounted)}, {"statements", fmt.Sprint(copied.Referrers)}}
	return c.printFields("text", append(fields, taken.fields()...)...)
}

// volume shows blobs and manifests; empty for none.
func volume(v oci.Volume) string {
	if v.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%s in %d", progress.Bytes(v.Bytes), v.Count)
}
