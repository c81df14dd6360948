// Command weigh writes the table of docs/size.md: what the largest dependencies cost in the binary and before main.
//
//	weigh PACKAGES SYMBOLS BYTES TRACE…
//
// PACKAGES is the output of `go list -deps -json`, SYMBOLS of `go tool nm -size` on a binary with symbols, BYTES the size of the
// binary that is shipped, and each TRACE what GODEBUG=inittrace=1 wrote.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// group is a dependency: packages by what their paths begin with, and why it is there.
type group struct {
	name     string
	prefixes []string
	why      string
}

const sigstoreKMS = "github.com/sigstore/sigstore/pkg/signature/kms/"

var groups = []group{
	{"Open Policy Agent", []string{"github.com/open-policy-agent/"}, "Rego in policies"},
	{"cel-go", []string{"github.com/google/cel-go/"}, "conditions of policies"},
	{"sigstore-go/pkg/verify, tlog", []string{"github.com/sigstore/sigstore-go/pkg/verify", "github.com/sigstore/sigstore-go/pkg/tlog"}, "verifies bundles; the packages that signing needs too are not counted here"},
	{"sigstore-go", []string{"github.com/sigstore/sigstore-go/"}, "keyless signing and all verification"},
	{"rekor, rekor-tiles", []string{"github.com/sigstore/rekor/", "github.com/sigstore/rekor-tiles/"}, "the transparency log's forms: signing, verification, and cosign's package"},
	{"cosign", []string{"github.com/sigstore/cosign/"}, "keys in cosign's format (two functions and five names of pkg/cosign; it has no smaller package with them)"},
	{"KMS: all four", []string{sigstoreKMS, "github.com/aws/", "github.com/hashicorp/vault/", "github.com/Azure/azure-sdk-for-go/", "cloud.google.com/go/"}, "keys in a service; of AWS and Azure the object stores too"},
	{"KMS: AWS", []string{sigstoreKMS + "aws", "github.com/aws/"}, "awskms:// and s3://"},
	{"KMS: Google Cloud", []string{sigstoreKMS + "gcp", "cloud.google.com/go/"}, "gcpkms://"},
	{"KMS: Azure", []string{sigstoreKMS + "azure", "github.com/Azure/azure-sdk-for-go/"}, "azurekms:// and azblob://"},
	{"KMS: Vault", []string{sigstoreKMS + "hashivault", "github.com/hashicorp/vault/"}, "hashivault://"},
	{"gRPC", []string{"google.golang.org/grpc"}, "rekor-tiles' client; Google's KMS"},
	{"go-openapi", []string{"github.com/go-openapi/"}, "Rekor's client and forms"},
	{"in-toto-golang", []string{"github.com/in-toto/in-toto-golang/"}, "layouts and links"},
	{"oras-go", []string{"oras.land/oras-go/"}, "registries and layouts"},
	{"go-containerregistry", []string{"github.com/google/go-containerregistry/"}, "comes with cosign and rekor"},
	{"gocloud.dev", []string{"gocloud.dev/"}, "object stores"},
	{"google/jsonschema-go", []string{"github.com/google/jsonschema-go/"}, "predicates are held to their schemas"},
	{"go-fuse", []string{"github.com/hanwen/go-fuse/"}, "mlseal mount"},
	{"cyclonedx-go", []string{"github.com/CycloneDX/"}, "mlseal aibom"},
	{"cobra, pflag", []string{"github.com/spf13/"}, "the command line"},
	{"mlseal itself", []string{"github.com/mlseal/"}, ""},
}

// cost is what packages take.
type cost struct {
	packages, symbols int // bytes of code
	ms                float64
	heap              int
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "weigh:", err)
		os.Exit(1)
	}
}

func run(args []string, w io.Writer) error {
	if len(args) < 4 {
		return errors.New("PACKAGES SYMBOLS BYTES TRACE…")
	}
	imports, root, err := readPackages(args[0])
	if err != nil {
		return err
	}
	symbols, named, err := readSymbols(args[1], imports)
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	ms, heap, err := readTraces(args[3:])
	if err != nil {
		return err
	}
	if named == 0 || len(ms) == 0 {
		return errors.New("no symbol or no package was read")
	}
	// Line tables, types, texts and other data, most of which bear no package's name, are shared out by the size of the code.
	scale := float64(size) / float64(named)
	add := func(c *cost, p string) {
		c.packages++
		c.symbols += symbols[p]
		c.ms += ms[p]
		c.heap += heap[p]
	}
	var all cost
	full := reach(imports, root, nil)
	for p := range full {
		add(&all, p)
	}
	line := func(name string, c cost, why string) {
		fmt.Fprintf(w, "| %s | %d | %.1f | %.2f | %d | %s |\n", name, c.packages, float64(c.symbols)*scale/1e6, c.ms, c.heap/1000, why)
	}
	fmt.Fprintln(w, "| what | packages | MB | ms at start | KB allocated at start | why it is there |\n| --- | ---: | ---: | ---: | ---: | --- |")
	line("**all of mlseal**", all, "")
	for _, g := range groups {
		var c cost
		if g.why == "" { // ours: without what it imports
			for p := range full {
				if g.has(p) {
					add(&c, p)
				}
			}
			line(g.name, c, "")
			continue
		}
		left := reach(imports, root, g.has)
		for p := range full {
			if !left[p] {
				add(&c, p)
			}
		}
		if c.packages > 0 {
			line(g.name, c, g.why)
		}
	}
	return nil
}

func (g group) has(p string) bool {
	return slices.ContainsFunc(g.prefixes, func(prefix string) bool { return strings.HasPrefix(p, prefix) })
}

// reach are the packages that root needs when those that are cut are not there.
func reach(imports map[string][]string, root string, cut func(string) bool) map[string]bool {
	seen := map[string]bool{root: true}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		for _, p := range imports[queue[0]] {
			if !seen[p] && (cut == nil || !cut(p)) {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return seen
}

// readPackages returns the imports of each package, and the last one, which is the one that was asked for.
func readPackages(file string) (imports map[string][]string, root string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	imports = map[string][]string{}
	for d := json.NewDecoder(f); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err == io.EOF {
			return imports, root, nil
		} else if err != nil {
			return nil, "", err
		}
		imports[p.ImportPath], root = p.Imports, p.ImportPath
	}
}

// readSymbols returns the bytes of each package's functions, and their sum.
func readSymbols(file string, known map[string][]string) (of map[string]int, sum int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	of = map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// ADDRESS SIZE TYPE NAME
		field := strings.Fields(lines.Text())
		if len(field) < 4 || field[2] != "T" && field[2] != "t" {
			continue
		}
		size, err := strconv.Atoi(field[1])
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %q", file, lines.Text())
		}
		if p := packageOf(field[3]); known[p] != nil {
			of[p] += size
			sum += size
		}
	}
	return of, sum, lines.Err()
}

// packageOf is the package in a symbol's name: up to the first dot after the last slash.
func packageOf(symbol string) string {
	symbol = strings.TrimPrefix(symbol, "type:.eq.")
	symbol, _, _ = strings.Cut(symbol, "[") // the types that a generic function is for
	if at := strings.IndexByte(symbol, '('); at > 0 {
		symbol = symbol[:at]
	}
	slash := strings.LastIndexByte(symbol, '/') + 1
	name, _, _ := strings.Cut(symbol[slash:], ".")
	p := symbol[:slash] + strings.ReplaceAll(name, "%2e", ".")
	if p == "main" {
		return "github.com/mlseal/mlseal/cmd/mlseal"
	}
	return p
}

// readTraces returns the median of each package's milliseconds, and what it allocates.
func readTraces(files []string) (ms map[string]float64, heap map[string]int, err error) {
	all := map[string][]float64{}
	ms, heap = map[string]float64{}, map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		for line := range strings.Lines(string(text)) {
			// init NAME @1.2 ms, 0.3 ms clock, 456 bytes, 7 allocs
			field := strings.Fields(line)
			if len(field) != 11 || field[0] != "init" {
				continue
			}
			clock, err1 := strconv.ParseFloat(field[4], 64)
			bytes, err2 := strconv.Atoi(field[7])
			if err := errors.Join(err1, err2); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", file, err)
			}
			if field[1] == "main" {
				field[1] = "github.com/mlseal/mlseal/cmd/mlseal"
			}
			all[field[1]] = append(all[field[1]], clock)
			heap[field[1]] = bytes
		}
	}
	for p, clocks := range all {
		slices.Sort(clocks)
		ms[p] = clocks[len(clocks)/2]
	}
	return ms, heap, nil
}
