// Command mlseal-benchreport makes docs/benchmarks.md and docs/benchmarks.svg of what .ci/bench-hashing measured:
//
//	go run ./cmd/mlseal-benchreport docs/benchmarks.json
//
// Nothing is measured here, so that the page can be made anew, and tested, without a quiet machine. Both files are written beside the results.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/internal/atomicfile"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mlseal-benchreport RESULTS.json")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "mlseal-benchreport:", err)
		os.Exit(1)
	}
}

// run makes the page and the plot of the results in a file.
func run(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	r, err := parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	if err := atomicfile.Write(stem+".svg", plot(r), atomicfile.Options{}); err != nil {
		return err
	}
	return atomicfile.Write(stem+".md", page(r, filepath.Base(stem)), atomicfile.Options{})
}
