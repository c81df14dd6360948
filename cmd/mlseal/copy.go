package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/spf13/cobra"
)

// copyFlags say how an artifact is copied.
type copyFlags struct {
	attestations bool
	mountFrom    string
	concurrency  int
	output       string
	store        storeFlags
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

Every byte is verified on the way. What is there is not sent again, so that a copy that was interrupted goes on when the command is run
again. The tag comes last: whoever sees it finds everything.`,
		Example: "  mlseal copy oci:store:v1 oci:mirror:v1\n  mlseal copy oci:store:v1 registry.example/models/bot:v1\n  mlseal copy registry.example/models/bot:v1 registry.example/prod/bot:v1",
		Args:    takes("SRC", "DST"),
	}
	f.add(cmd)
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
	src, err := f.store.openArtifact(ctx, from)
	if err != nil {
		return err
	}
	ref, err := oci.ParseReference(to)
	if err != nil {
		return err
	}
	if ref.Digest != "" {
		return usage(fmt.Errorf("%s: name a tag to copy to, not a digest: the digest is the source's", to))
	}
	mountFrom, err := mountable(f.mountFrom, ref)
	if err != nil {
		return err
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
	return a.printCopied(from, to, src.desc.Digest.String(), report, f.output)
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

func (a *app) printCopied(from, to, digest string, report oci.CopyReport, output string) error {
	switch output {
	case "json":
		return a.printJSON(struct {
			Source      string `json:"source"`
			Destination string `json:"destination"`
			Digest      string `json:"digest"`
			oci.CopyReport
		}{from, to, digest, report})
	case "digest":
		return a.printf("%s\n", digest)
	}
	return a.printFields(output, field{"copied", from + " to " + to}, field{"digest", digest}, field{"sent", volume(report.Copied)},
		field{"was there", volume(report.Skipped)}, field{"mounted", volume(report.Mounted)}, field{"statements", fmt.Sprint(report.Referrers)})
}

// volume shows blobs and manifests; empty for none.
func volume(v oci.Volume) string {
	if v.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%s in %d", progress.Bytes(v.Bytes), v.Count)
}
