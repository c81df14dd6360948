package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

// openedArtifact is an artifact of whatever kind that was resolved to a digest.
type openedArtifact struct {
	ref    oci.Reference
	target oci.Target
	desc   ocispec.Descriptor
}

// openArtifact opens what a reference or the directory of a layout names.
func (f storeFlags) openArtifact(ctx context.Context, arg string) (*openedArtifact, error) {
	ref, target, err := f.openStore(ctx, arg)
	if err != nil {
		return nil, err
	}
	desc, err := oci.Resolve(ctx, target, ref)
	if err != nil {
		return nil, missing(err)
	}
	return &openedArtifact{ref, target, desc}, nil
}

// openStore opens the layout or repository that a reference or the directory of a layout names.
func (f storeFlags) openStore(ctx context.Context, arg string) (oci.Reference, oci.Target, error) {
	ref, err := parseReference(arg)
	if err != nil {
		return ref, nil, err
	}
	target, err := f.open(ctx, ref, false)
	return ref, target, missing(err)
}

func (a *app) lsCommand() *cobra.Command {
	var output string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "ls REPOSITORY|oci:DIR",
		Short: "List tags with digest, type, size and the number of statements",
		Long: `List the tags of a repository or layout: digest, size, how many statements and other referrers are attached, and what it is. In a layout
what has no tag comes last. Nothing is verified.`,
		Example: "  mlseal ls oci:store\n  mlseal ls registry.example/models/bot -o json",
		Args:    takes("REPOSITORY|oci:DIR"),
	}
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		ref, target, err := store.openStore(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if ref.Tag != "" || ref.Digest != "" {
			return usage(fmt.Errorf("ls: %s: name a repository or layout, without a tag; inspect shows one artifact", args[0]))
		}
		entries, err := oci.List(cmd.Context(), target)
		if err != nil {
			return missing(err)
		}
		if output == "json" {
			return a.printJSON(map[string]any{"name": args[0], "artifacts": append([]oci.Entry{}, entries...)})
		}
		return a.printEntries(entries)
	})
	return cmd
}

func (a *app) printEntries(entries []oci.Entry) error {
	width := len("(no tag)")
	for _, e := range entries {
		width = max(width, len(e.Tag))
	}
	w := &lines{a: a}
	for _, e := range entries {
		name := e.Tag
		if name == "" {
			name = "(no tag)"
		}
		if e.Problem != "" {
			w.line("%-*s  %s  unreadable: %s", width, name, e.Digest, e.Problem)
			continue
		}
		w.line("%-*s  %s  %9s  %3d attached  %s", width, name, e.Digest, progress.Bytes(e.Bytes), e.Referrers, e.ArtifactType)
	}
	return w.err
}

func (a *app) tagCommand() *cobra.Command {
	var output string
	var store storeFlags
	cmd := &cobra.Command{
		Use:     "tag SRC TAG",
		Short:   "Give a package another tag, in the same layout or repository",
		Long:    "Give an artifact another tag in the layout or repository where it is. A tag that names something else moves.",
		Example: "  mlseal tag oci:store:v1 prod\n  mlseal tag registry.example/models/bot:v1 prod",
		Args:    takes("SRC", "TAG"),
	}
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		src, err := store.openArtifact(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := oci.Tag(cmd.Context(), src.target, src.desc, args[1]); err != nil {
			return err
		}
		return a.printFields(output, field{"tagged", args[1]}, field{"digest", src.desc.Digest.String()})
	})
	return cmd
}

func (a *app) rmCommand() *cobra.Command {
	var output string
	var attestations bool
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "rm REF",
		Short: "Remove a tag, or with a digest an artifact",
		Long: `Remove a tag: oci:DIR:TAG or registry/repo:TAG. The artifact stays in a registry; in a layout it stays while statements are attached to it or
another tag names it, and mlseal gc removes it otherwise.

With a digest (…@sha256:…) the artifact itself is removed. Nothing is removed that another tag, an index or a statement refers to;
--with-attestations removes the statements too. Its files take room until mlseal gc, or the registry's own collection, removes them.`,
		Example: "  mlseal rm oci:store:v1\n  mlseal rm oci:store@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef --with-attestations",
		Args:    takes("REF"),
	}
	cmd.Flags().BoolVar(&attestations, "with-attestations", false, "remove what is attached to the artifact too")
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		ref, target, err := store.openStore(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		switch {
		case ref.Digest == "" && ref.Tag == "":
			return usage(fmt.Errorf("rm: %s: name a tag or a digest", args[0]))
		case ref.Digest == "" && attestations:
			return usage(errors.New("rm: --with-attestations goes with a digest: removing a tag leaves the artifact and its statements"))
		case ref.Digest == "":
			if err := oci.Untag(cmd.Context(), target, ref.Tag); err != nil {
				return missing(err)
			}
			return a.printFields(output, field{"removed", args[0]})
		}
		return a.removeArtifact(cmd.Context(), target, ref, attestations, output)
	})
	return cmd
}

func (a *app) removeArtifact(ctx context.Context, target oci.Target, ref oci.Reference, attestations bool, output string) error {
	desc, err := oci.Resolve(ctx, target, ref)
	if err != nil {
		return missing(err)
	}
	removed, err := oci.Remove(ctx, target, desc, oci.RemoveOptions{Referrers: attestations, Tag: ref.Tag})
	if err != nil {
		return err
	}
	digests := make([]string, len(removed))
	for i, r := range removed {
		digests[i] = r.Digest.String()
	}
	if output == "json" {
		return a.printJSON(map[string]any{"removed": digests})
	}
	w := &lines{a: a}
	for _, d := range digests {
		w.line("removed %s", d)
	}
	return w.err
}

func (a *app) gcCommand() *cobra.Command {
	var output string
	var dryRun bool
	olderThan := oci.MinCollectAge
	cmd := &cobra.Command{
		Use:   "gc oci:DIR",
		Short: "Remove files of a layout that nothing refers to",
		Long: `Remove the blobs of an OCI layout that nothing in its index leads to. What is tagged or listed stays, with its files and everything that is
attached to it. What is younger than --older-than stays too: a pack that is at work may be about to list it. A registry collects its
own garbage.`,
		Example: "  mlseal gc oci:store --dry-run\n  mlseal gc oci:store",
		Args:    takes("oci:DIR"),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed, and remove nothing")
	cmd.Flags().DurationVar(&olderThan, "older-than", olderThan, "age from which a file that nothing refers to is removed; 0s when nothing else uses the layout")
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		ref, err := parseReference(args[0])
		if err != nil {
			return err
		}
		if ref.Layout == "" || ref.Tag != "" || ref.Digest != "" || olderThan < 0 {
			return usage(fmt.Errorf("gc: name an OCI layout on disk, as in oci:DIR, and no negative age"))
		}
		layout, err := oci.OpenLayout(ref.Layout)
		if err != nil {
			return missing(err)
		}
		report, err := layout.Collect(cmd.Context(), oci.CollectOptions{OlderThan: olderThan, DryRun: dryRun})
		if err != nil {
			return err
		}
		if output == "json" {
			return a.printJSON(report)
		}
		verb := "removed"
		if dryRun {
			verb = "would go"
		}
		return a.printFields(output, field{verb, fmt.Sprintf("%d files, %s", len(report.Removed), progress.Bytes(report.Bytes))},
			field{"too young", volume(report.Young)}, field{"kept", volume(report.Kept)})
	})
	return cmd
}

func (a *app) loginCommand() *cobra.Command {
	var user string
	var fromStdin bool
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "login REGISTRY",
		Short: "Check credentials for a registry and keep them in docker's configuration",
		Long: `Ask the registry whether it accepts a user name and password, and keep them where docker does: in the credential helper that its
configuration names, or else in the configuration itself, not encrypted. The password comes from a prompt or from standard input, never
from a flag. What docker, podman and oras are logged in to, mlseal is too.`,
		Example: "  mlseal login registry.example -u robot\n  echo \"$TOKEN\" | mlseal login registry.example -u robot --password-stdin",
		Args:    takes("REGISTRY"),
	}
	cmd.Flags().StringVarP(&user, "username", "u", "", "user name")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password or token from standard input")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		registry, err := registryName(args[0])
		if err != nil {
			return err
		}
		if user == "" {
			return usage(errors.New("login: name the user with -u"))
		}
		password, err := a.registryPassword(cmd.Context(), fromStdin, user, registry)
		if err != nil {
			return err
		}
		opts, err := store.options()
		if err != nil {
			return err
		}
		file, err := oci.Login(cmd.Context(), registry, user, password, opts)
		if err != nil {
			return err
		}
		return a.printFields("text", field{"logged in", registry}, field{"kept in", file})
	})
	return cmd
}

// registryName is host[:port]; a scheme or a repository behind it is a slip.
func registryName(arg string) (string, error) {
	ref, err := oci.ParseReference(arg + "/x")
	if err != nil || ref.Repository != arg+"/x" {
		return "", usage(fmt.Errorf("%s: name a registry, as in registry.example or localhost:5000", arg))
	}
	return arg, nil
}

const maxPasswordBytes = 64 << 10 // tokens are long

func (a *app) registryPassword(ctx context.Context, fromStdin bool, user, registry string) (string, error) {
	var text []byte
	var err error
	switch {
	case fromStdin:
		text, err = io.ReadAll(io.LimitReader(a.stdin, maxPasswordBytes))
	case a.canAsk():
		text, err = a.ask(ctx, "Password of "+user+" at "+registry+": ")
	default:
		return "", usage(errors.New("login: give the password on standard input with --password-stdin, or run on a terminal to be asked"))
	}
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", usage(errors.New("login: the password is empty"))
	}
	return password, nil
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "logout REGISTRY",
		Short:   "Forget the credentials for a registry",
		Long:    "Remove the credentials for a registry from docker's configuration, or from the credential helper that it names.",
		Example: "  mlseal logout registry.example",
		Args:    takes("REGISTRY"),
		RunE: a.do(func(cmd *cobra.Command, args []string) error {
			registry, err := registryName(args[0])
			if err != nil {
				return err
			}
			if err := oci.Logout(cmd.Context(), registry); err != nil {
				return missing(err)
			}
			return a.printFields("text", field{"logged out", registry})
		}),
	}
}
