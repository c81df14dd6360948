package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/spf13/cobra"
)

// The Makefile sets commit from git.
var (
	version = "0.1.0-dev"
	commit  = "unknown"
)

func (a *app) versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the Go version, the commit, and how files are hashed here",
		Example: "  mlseal version\n  mlseal version -o json",
		Args:    cobra.NoArgs,
		RunE: a.do(func(*cobra.Command, []string) error {
			tags := buildTags()
			if output == "json" {
				fields := map[string]string{"version": version, "commit": commit, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "hashing": hashing.Default().String()}
				if tags != "" {
					fields["tags"] = tags
				}
				return a.printJSON(fields)
			}
			if tags != "" {
				tags = ", tags " + tags
			}
			_, err := fmt.Fprintf(a.stdout, "mlseal %s (commit %s, %s, %s/%s%s)\nhashing: %s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, tags, hashing.Default())
			return err
		}),
	}
	outputFlag(cmd, &output, "text", "json")
	return cmd
}

// buildTags are those that the binary was built with: what it was built without.
func buildTags() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return s.Value
		}
	}
	return ""
}

// engineVariable names the hashing engine, for measurements and for a machine where the usual choice is wrong.
const engineVariable = "MLSEAL_HASH_ENGINE"

func (a *app) chooseEngine() error {
	name, set := a.lookupEnv(engineVariable)
	if !set || name == "" {
		return nil
	}
	if err := hashing.Use(name); err != nil {
		return usage(fmt.Errorf("%s: %w", engineVariable, err))
	}
	return nil
}
