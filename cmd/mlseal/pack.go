package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/hub"
	"github.com/mlseal/mlseal/manifest/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

func (a *app) packCommand() *cobra.Command {
	var kind, name, output string
	var store storeFlags
	var imports importFlags
	cmd := &cobra.Command{
		Use:   "pack PATH|hf://REPO[@REVISION] REF",
		Short: "Package a directory, a file, or a repository of a Hugging Face hub as an OCI artifact",
		Long: `Package a directory or file as a CNCF ModelPack artifact: one raw layer a file, no times, owners or modes, so that
the same files give the same digest on every machine and day. REF is an OCI layout on disk (oci:DIR:TAG, made when
it is missing) or a registry (registry/repo:tag).`,
		Example: "  mlseal pack ./model oci:store:v1\n  mlseal pack ./data oci:store:data-v1 --type dataset\n  mlseal pack ./model oci:store:v1 -o digest\n  mlseal pack hf://acme/llm@v1.0 oci:store:llm-v1 --oms-key acme.pub --key trainer.key",
		Args:    takes("PATH", "REF"),
	}
	cmd.Flags().Var(&choice{&kind, []string{"model", "dataset"}}, "type", "what it is: model or dataset (default model, or what the hub says)")
	cmd.Flags().StringVar(&name, "name", "", "name to write into the artifact (part of its digest)")
	outputFlag(cmd, &output, "text", "json", "digest")
	store.add(cmd)
	imports.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if !hub.IsReference(args[0]) {
			if err := refuseImportFlags(cmd); err != nil {
				return err
			}
		}
		return a.pack(cmd.Context(), args[0], args[1], oci.PackOptions{Type: kind, Name: name}, output, store, imports)
	})
	return cmd
}

func (a *app) pack(ctx context.Context, path, refArg string, opts oci.PackOptions, output string, flags storeFlags, imports importFlags) error {
	ref, err := oci.ParseReference(refArg)
	if err != nil {
		return err
	}
	if ref.Tag == "" || ref.Digest != "" {
		return usage(fmt.Errorf("pack: %s: name a tag to pack under, as in oci:DIR:TAG", refArg))
	}
	if isLayout(path) {
		return usage(fmt.Errorf("pack: %s is an OCI layout already, not a tree of files", path))
	}
	in, err := a.openImport(ctx, path, flags, imports)
	if err != nil {
		return err
	}
	defer in.tree.Close()
	if inside, err := in.tree.inside(ref.Layout); ref.Layout != "" && (err != nil || inside != "") {
		return usage(fmt.Errorf("pack: the layout %s lies in the tree that is packed", ref.Layout))
	}
	m, err := a.buildTree(ctx, in.tree, in.options)
	if err != nil {
		return err
	}
	if err := in.check(m); err != nil {
		return err
	}
	in.setType(&opts)
	target, err := flags.open(ctx, ref, true)
	if errors.Is(err, oci.ErrNotLayout) {
		return usage(err) // nobody else chose the place to pack into
	}
	if err != nil {
		return err
	}
	meter := a.progress("packing", m.Size())
	opts.Tag, opts.Progress = ref.Tag, meter.Add
	desc, err := oci.Pack(ctx, target, in.tree.fsys, m, opts)
	meter.Done()
	if err != nil {
		return err
	}
	attached, err := a.importProvenance(ctx, in, m, &openedPackage{ref: ref, name: referenceName(ref), target: target,
		pkg: &oci.Package{Descriptor: desc, Tree: m}})
	if err != nil {
		return err
	}
	return a.printPacked(refArg, desc, m, in, attached, output)
}

func (a *app) printPacked(ref string, desc ocispec.Descriptor, m *manifest.Manifest, in *imported, provenance, output string) error {
	var err error
	switch output {
	case "json":
		object := map[string]any{"reference": ref, "digest": desc.Digest, "dirHash": m.DirHash(), "files": len(m.Files), "bytes": m.Size(), "leftOut": append([]string{}, m.LeftOut...)}
		for name, value := range map[string]string{"source": in.tree.source, "publisher": in.publishedBy(), "provenance": provenance} {
			if value != "" {
				object[name] = value
			}
		}
		return a.printJSON(object)
	case "digest":
		_, err = fmt.Fprintln(a.stdout, desc.Digest)
	default:
		err = a.printFields("text", field{"packed", fmt.Sprintf("%s  (%d files, %s)", ref, len(m.Files), progress.Bytes(m.Size()))},
			field{"source", in.tree.source}, field{"publisher", in.publishedBy()}, field{"digest", desc.Digest.String()}, field{"dirHash", m.DirHash()}, field{"provenance", provenance},
			field{"left out", strings.Join(m.LeftOut, ", ")})
	}
	return err
}

func (a *app) pullCommand() *cobra.Command {
	var store storeFlags
	var output string
	cmd := &cobra.Command{
		Use:     "pull REF DIR",
		Short:   "Extract a package into a directory and verify every byte while it is written",
		Long:    "Extract a package into a directory. Each file is written under a temporary name, hashed, and renamed only when its digest is right.\n\nPackages of modctl, KitOps and Docker Model Runner are extracted too. What their archives hold is renamed when the whole archive is\nverified; a file to which Docker gives no name gets the one of Docker Model Runner, such as model.gguf.",
		Example: "  mlseal pull oci:store:v1 ./model",
		Args:    takes("REF", "DIR"),
	}
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		p, err := a.resolvePackage(cmd.Context(), args[0], store)
		if err != nil {
			return err
		}
		meter := a.progress("pulling", p.layersSize())
		err = oci.Pull(cmd.Context(), p.target, p.pkg, args[1], oci.PullOptions{Progress: func(e oci.PullEvent) { meter.Add(e.Bytes) }})
		meter.Done()
		if err != nil {
			return err
		}
		return a.printFields(output, field{"pulled", p.name + "@" + p.pkg.Descriptor.Digest.String()},
			field{"into", args[1]}, field{"files", fmt.Sprintf("%d, %s, each verified", len(p.pkg.Tree.Files), progress.Bytes(p.pkg.Tree.Size()))},
			field{"dirHash", p.pkg.Tree.DirHash()}, field{"left out", strings.Join(p.pkg.LeftOut, ", ")})
	})
	return cmd
}
