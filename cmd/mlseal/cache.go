package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/cache"
	"github.com/spf13/cobra"
)

// cacheVariable switches the digest cache off in every command.
const cacheVariable = "MLSEAL_CACHE"

// cacheFlags are the flags of the commands that may use the digest cache. verify has none: it reads what it judges.
type cacheFlags struct{ off bool }

func (f *cacheFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.off, "no-cache", false, "read every file, also those that did not change since an earlier run")
}

// cache is the user's digest cache; nil when there is none to use.
func (a *app) cache() (*cache.Cache, error) {
	switch value, set := a.lookupEnv(cacheVariable); {
	case !set, value == "", value == "on":
	case value == "off":
		return nil, nil
	default:
		return nil, usage(fmt.Errorf("%s=%s: want on or off", cacheVariable, value))
	}
	if a.userCacheDir == nil {
		return nil, nil
	}
	dir, err := a.userCacheDir()
	if err != nil {
		return nil, nil // no home directory: nothing can be remembered
	}
	return cache.New(filepath.Join(dir, "mlseal")), nil
}

// remember lets a Build of t use the digest cache. It is not used where reading a file is what holds it to
// its source: for a hub, and for a snapshot of a Hugging Face cache, whose files are links besides.
func (a *app) remember(opts *manifest.Options, t *tree, f cacheFlags) error {
	known, err := a.cache()
	if err != nil || known == nil || f.off || t.root == nil || t.cache != nil {
		return err
	}
	if files := known.Below(t.dir); files != nil {
		opts.Digests = files
	}
	return nil
}

func (a *app) cacheCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show the digest cache, or clear it",
		Long: `Show where the digests of files are remembered, and how many. hash, pack, sign and attest do not read a file again that did not change
since its digest was remembered: same device, inode, size, modification and change time, on a local file system. verify, inspect and pull never use the cache.

Whoever can write as you can also write what is remembered. MLSEAL_CACHE=off and --no-cache do without.`,
		Example: "  mlseal cache\n  mlseal cache clear",
		Args:    takes(),
	}
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = a.do(func(*cobra.Command, []string) error { return a.showCache(output) })
	clearCommand := &cobra.Command{
		Use:     "clear",
		Short:   "Forget all digests",
		Example: "  mlseal cache clear",
		Args:    takes(),
		RunE: a.do(func(cmd *cobra.Command, _ []string) error {
			known, err := a.cache()
			if err != nil || known == nil {
				return err
			}
			return known.Clear(cmd.Context())
		}),
	}
	cmd.AddCommand(clearCommand)
	return cmd
}

func (a *app) showCache(output string) error {
	known, err := a.cache()
	if err != nil {
		return err
	}
	if known == nil {
		return a.printFields(output, field{"state", "off"})
	}
	info, err := known.Info()
	state := "on"
	if errors.Is(err, cache.ErrUnusable) {
		state, err = "not used: "+err.Error(), nil
	}
	if err != nil {
		return err
	}
	return a.printFields(output, field{"path", info.Path}, field{"state", state}, field{"entries", fmt.Sprint(info.Entries)}, field{"size", progress.Bytes(info.Bytes)})
}
