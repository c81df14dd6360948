package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

func (a *app) hashCommand() *cobra.Command {
	var output, hashType string
	var cache cacheFlags
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "hash PATH",
		Short: "Hash a directory or file: each file, and one digest for the tree",
		Long: `Hash every file of a directory (or one file) and print the digest of the whole tree.

The tree's digest is its dirHash (in-toto DigestSet v1.1): the sha256 over what
  find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum
prints inside the directory (for names without white space; xargs splits at it). It binds names and contents; times, modes
and owners do not count. At the top level .git, .gitignore, .gitattributes and .github are left out, and said to be.

PATH may be in an object store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX, with parameters as in
?region=eu-west-1. It is read there, and the digest is that of the same files on disk. sign, verify, attest, inspect and pack take it too.

A file that did not change since an earlier run is not read again (mlseal cache); --no-cache reads them all.

The dirHash is always of sha256 digests. With --hash the files' digests and the OMS root are what sign --hash signs.`,
		Example: "  mlseal hash ./model\n  mlseal hash ./model -o digest\n  mlseal hash ./model -o json\n  mlseal hash 's3://models/llm?region=eu-west-1'",
		Args:    takes("PATH"),
	}
	outputFlag(cmd, &output, "text", "json", "digest")
	hashFlag(cmd, &hashType, "digests of the files")
	cache.add(cmd)
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		t, err := a.open(cmd.Context(), args[0], store)
		if err != nil {
			return err
		}
		defer t.Close()
		opts := manifest.Options{Serialization: manifest.Serialization{Hash: manifest.HashType(hashType)}}
		done, err := a.remember(&opts, t, cache)
		if err != nil {
			return err
		}
		defer done()
		defer a.notePointers(t)()
		m, err := a.buildTree(cmd.Context(), t, opts)
		if err != nil {
			return err
		}
		return a.printManifest(m, t, output)
	})
	return cmd
}

// hashTree hashes an opened tree with a progress line, without what stands at the paths in ignore. It reads every file.
func (a *app) hashTree(ctx context.Context, t *tree, ignore []string) (*manifest.Manifest, error) {
	return a.buildTree(ctx, t, manifest.Options{Ignore: ignore})
}

func (a *app) buildTree(ctx context.Context, t *tree, opts manifest.Options) (*manifest.Manifest, error) {
	meter := a.progress("hashing", 0)
	defer meter.Done()
	opts.File, opts.Total, opts.Progress = t.file, meter.SetTotal, meter.Add
	if opts.Concurrency == 0 {
		opts.Concurrency = t.concurrency()
	}
	m, err := manifest.Build(ctx, t.fsys, opts)
	if err != nil {
		return nil, err
	}
	a.noteUnchecked(t, m)
	return m, t.checkStated(m)
}

// noteUnchecked tells which files of a snapshot of a Hugging Face cache are held to nothing.
func (a *app) noteUnchecked(t *tree, m *manifest.Manifest) {
	if t.cache == nil {
		return
	}
	if names := t.cache.Unchecked(m); len(names) > 0 {
		a.note(fmt.Sprintf("%d of %d files are no links to a blob of the cache, so that nothing says what they should be: %s", len(names), len(m.Files), few(names)))
	}
}

// hashReport is `hash -o json`.
type hashReport struct {
	Name    string          `json:"name"`
	Source  string          `json:"source,omitempty"`
	DirHash string          `json:"dirHash"`
	OMSRoot string          `json:"omsRoot"`
	Bytes   int64           `json:"bytes"`
	Files   []manifest.File `json:"files"`
	LeftOut []string        `json:"leftOut,omitempty"`
	// Resources has the digests of another hash type than sha256.
	Resources []hashedResource `json:"resources,omitempty"`
}

type hashedResource struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
}

func newHashReport(m *manifest.Manifest, t *tree) hashReport {
	r := hashReport{Name: t.name, Source: t.source, DirHash: m.DirHash(), OMSRoot: m.OMSRoot(), Bytes: m.Size(), Files: m.Files, LeftOut: m.LeftOut}
	if !m.Serialization.NamesFiles() {
		for _, resource := range m.Resources() {
			r.Resources = append(r.Resources, hashedResource{resource.Name(), resource.Digest})
		}
	}
	return r
}

func (a *app) printManifest(m *manifest.Manifest, t *tree, output string) error {
	switch output {
	case "json":
		return a.printJSON(newHashReport(m, t))
	case "digest":
		_, err := fmt.Fprintf(a.stdout, "dirHash:%s\n", m.DirHash())
		return err
	}
	resources := m.Resources() // one a file
	for i, f := range m.Files {
		if err := a.printf("%s  %9s  %s\n", resources[i].Digest.Encoded(), progress.Bytes(f.Size), f.Path); err != nil {
			return err
		}
	}
	if err := a.printf("\n%d files, %s\n", len(m.Files), progress.Bytes(m.Size())); err != nil {
		return err
	}
	return a.printFields("text",
		field{"source", t.source},
		field{"dirHash", m.DirHash()},
		field{"OMS root", m.OMSRoot() + "  (binds no file names: not an identity)"},
		field{"left out", strings.Join(m.LeftOut, ", ")})
}
