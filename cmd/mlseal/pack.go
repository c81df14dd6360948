package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

func (a *app) packCommand() *cobra.Command {
	var kind, name, output string
	var store storeFlags
	var car carFlags
	cmd := &cobra.Command{
		Use:   "pack PATH REF",
		Short: "Package a directory or file as an OCI artifact",
		Long: `Package a directory or file as a CNCF ModelPack artifact: one raw layer a file, no times, owners or modes, so that
the same files give the same digest on every machine and day. REF is an OCI layout on disk (oci:DIR:TAG, made when
it is missing) or a registry (registry/repo:tag).

With --car an image of the same files is made beside it, for container runtimes that cannot mount raw layers: containerd, and KServe.
It takes the room of the files once more, and they are read once more for it. It is signed, verified and pulled like a package.`,
		Example: "  mlseal pack ./model oci:store:v1\n  mlseal pack ./model oci:store:v1 --car\n  mlseal pack ./data oci:store:data-v1 --type dataset\n  mlseal pack ./model oci:store:v1 -o digest",
		Args:    takes("PATH", "REF"),
	}
	cmd.Flags().Var(&choice{&kind, []string{"model", "dataset"}}, "type", "what it is: model or dataset")
	kind = "model"
	cmd.Flags().StringVar(&name, "name", "", "name to write into the artifact (part of its digest)")
	outputFlag(cmd, &output, "text", "json", "digest")
	store.add(cmd)
	car.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := car.check(cmd, args[1]); err != nil {
			return err
		}
		return a.pack(cmd.Context(), args[0], args[1], oci.PackOptions{Type: kind, Name: name}, output, car, store)
	})
	return cmd
}

func (a *app) pack(ctx context.Context, path, refArg string, opts oci.PackOptions, output string, car carFlags, flags storeFlags) error {
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
	t, err := openTree(path)
	if err != nil {
		return err
	}
	defer t.Close()
	if inside, err := t.inside(ref.Layout); ref.Layout != "" && (err != nil || inside != "") {
		return usage(fmt.Errorf("pack: the layout %s lies in the tree that is packed", ref.Layout))
	}
	m, err := a.hashTree(ctx, t, nil)
	if err != nil {
		return err
	}
	target, err := flags.open(ctx, ref, true)
	if errors.Is(err, oci.ErrNotLayout) {
		return usage(err) // nobody else chose the place to pack into
	}
	if err != nil {
		return err
	}
	meter := a.progress("packing", m.Size())
	opts.Tag, opts.Progress = ref.Tag, meter.Add
	desc, err := oci.Pack(ctx, target, t.fsys, m, opts)
	meter.Done()
	if err != nil {
		return err
	}
	var image digest.Digest
	if car.car {
		if image, err = a.packCar(ctx, target, t, m, desc.Digest, car); err != nil {
			return err
		}
	}
	return a.printPacked(refArg, desc, m, image, output)
}

func (a *app) printPacked(ref string, desc ocispec.Descriptor, m *manifest.Manifest, car digest.Digest, output string) error {
	var err error
	switch output {
	case "json":
		packed := map[string]any{"reference": ref, "digest": desc.Digest, "dirHash": m.DirHash(), "files": len(m.Files), "bytes": m.Size(), "leftOut": append([]string{}, m.LeftOut...)}
		if car != "" {
			packed["car"] = car
		}
		return a.printJSON(packed)
	case "digest":
		_, err = fmt.Fprintln(a.stdout, desc.Digest)
	default:
		err = a.printFields("text", field{"packed", fmt.Sprintf("%s  (%d files, %s)", ref, len(m.Files), progress.Bytes(m.Size()))},
			field{"digest", desc.Digest.String()}, field{"dirHash", m.DirHash()}, field{"car", car.String()}, field{"left out", strings.Join(m.LeftOut, ", ")})
	}
	return err
}

func (a *app) pullCommand() *cobra.Command {
	var store storeFlags
	var output string
	var only onlyFlag
	cmd := &cobra.Command{
		Use:   "pull REF DIR",
		Short: "Extract a package into a directory and verify every byte while it is written",
		Long: `Extract a package into a directory. Each file is written under a temporary name, hashed, and renamed only when its digest is right.

With --only a part of the package is fetched and verified. DIR then is not the tree that was signed, and no dirHash is printed; further
parts can be pulled into it.`,
		Example: "  mlseal pull oci:store:v1 ./model\n  mlseal pull oci:store:v1 ./part --only config.json --only 'model-0000[12]*'",
		Args:    takes("REF", "DIR"),
	}
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	only.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		p, err := a.openPackage(cmd.Context(), args[0], store)
		if err != nil {
			return err
		}
		return a.pull(cmd.Context(), p, args[1], only, output)
	})
	return cmd
}

func (a *app) pull(ctx context.Context, p *openedPackage, dir string, only onlyFlag, output string) error {
	part, err := only.of(p.pkg)
	if err != nil {
		return err
	}
	meter := a.progress("pulling", part.Size())
	err = oci.Pull(ctx, p.target, p.pkg, dir, oci.PullOptions{Only: only, Progress: func(e oci.PullEvent) { meter.Add(e.Bytes) }})
	meter.Done()
	if err != nil {
		return err
	}
	fields := []field{{"pulled", p.name + "@" + p.pkg.Descriptor.Digest.String()}, {"into", dir},
		{"files", fmt.Sprintf("%d, %s, each verified", len(part.Files), progress.Bytes(part.Size()))}}
	if only.isPart() {
		return a.printFields(output, append(fields, field{"part", partOf(part, p.pkg) + "; what else stands in the directory was not looked at"})...)
	}
	return a.printFields(output, append(fields, field{"dirHash", p.pkg.Tree.DirHash()}, field{"left out", strings.Join(p.pkg.LeftOut, ", ")})...)
}
