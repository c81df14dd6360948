// Command version is what `mlseal version` is measured against: the packages that it cannot do without, and nothing else.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "floor"}
	root.AddCommand(&cobra.Command{Use: "version", Run: func(*cobra.Command, []string) {
		fmt.Printf("floor (%s)\nhashing: %s\n", runtime.Version(), hashing.Default())
	}})
	if root.Execute() != nil {
		os.Exit(1)
	}
}
