package main

import (
	"fmt"
	"runtime"

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
		Short:   "Print the version, the Go version and the commit",
		Example: "  mlseal version\n  mlseal version -o json",
		Args:    cobra.NoArgs,
		RunE: a.do(func(*cobra.Command, []string) error {
			if output == "json" {
				return a.printJSON(map[string]string{"version": version, "commit": commit, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(a.stdout, "mlseal %s (commit %s, %s, %s/%s)\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}),
	}
	outputFlag(cmd, &output, "text", "json")
	return cmd
}
