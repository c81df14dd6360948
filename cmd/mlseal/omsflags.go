package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mlseal/mlseal/manifest"
	"github.com/spf13/cobra"
)

// treeFlags say which files of a directory count, for sign and verify.
type treeFlags struct {
	ignore   []string
	git      bool // leave the top-level git files out
	symlinks bool
}

// treeOnly are the flags that mean nothing for a package or a policy.
var treeOnly = []string{"ignore-paths", "ignore-git-paths", "allow-symlinks", "ignore-unsigned-files", "hash", "shards"}

func (f *treeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.ignore, "ignore-paths", nil, "a path below the directory to leave out, with all below it (repeatable)")
	flags.BoolVar(&f.git, "ignore-git-paths", true, "leave .git, .gitignore, .gitattributes and .github at the top level out")
	flags.BoolVar(&f.symlinks, "allow-symlinks", false, "follow symbolic links, also out of the directory")
}

// refuseTreeFlags refuses flags that would silently do nothing.
func refuseTreeFlags(cmd *cobra.Command) error {
	for _, name := range treeOnly {
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed {
			return usage(fmt.Errorf("%s: --%s is for OMS bundles of directories and files", cmd.Name(), name))
		}
	}
	return nil
}

// open opens the tree, following links where that was asked for: then by way of the plain file system, since an os.Root lets
// nothing leave it.
func (f *treeFlags) open(ctx context.Context, a *app, path string, store storeFlags) (*tree, error) {
	t, err := a.open(ctx, path, store)
	if err != nil {
		return nil, err
	}
	if f.symlinks && t.root != nil && t.cache == nil { // a cache's links are followed anyway, and no further
		t.fsys = os.DirFS(t.dir)
	}
	return t, nil
}

// ignored returns the paths to leave out as paths below the tree. Like all paths on a command line they are relative to where it
// runs; the statement has them relative to the tree (OMS v1.0 section 6.2.1).
func (f *treeFlags) ignored(t *tree) ([]string, error) {
	var out []string
	for _, name := range f.ignore {
		rel, err := t.inside(name)
		switch {
		case err != nil:
			return nil, err
		case rel == "":
			return nil, usage(fmt.Errorf("--ignore-paths %s: it is not below %s; name it as seen from here", name, t.name))
		case strings.ContainsAny(rel, "*?["):
			return nil, usage(fmt.Errorf("--ignore-paths %s: paths are exact, patterns are not known", name))
		}
		if err := manifest.CheckName(rel); err != nil {
			return nil, usage(fmt.Errorf("--ignore-paths: %w", err))
		}
		out = append(out, rel)
	}
	return out, nil
}

// hashFlag adds --hash.
func hashFlag(cmd *cobra.Command, target *string, about string) {
	var choices []string
	for _, h := range manifest.HashTypes() {
		choices = append(choices, string(h))
	}
	*target = choices[0]
	cmd.Flags().Var(&choice{target, choices}, "hash", about+": "+strings.Join(choices, ", "))
	_ = cmd.RegisterFlagCompletionFunc("hash", cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// sizeFlag is a flag that takes a number of bytes.
type sizeFlag int64

func (s *sizeFlag) Type() string { return "size" }

func (s *sizeFlag) String() string {
	if *s == 0 {
		return ""
	}
	return fmt.Sprint(int64(*s))
}

func (s *sizeFlag) Set(text string) error {
	n, err := manifest.ParseSize(text)
	if err != nil {
		return errors.New("want a positive number of bytes such as 1000000000, 1GB or 16MiB")
	}
	*s = sizeFlag(n)
	return nil
}
