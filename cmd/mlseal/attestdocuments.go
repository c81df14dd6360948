package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/documents"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

// referenceFlags name documents.
type referenceFlags struct {
	madeStatement
	attester             string
	documents, locations []string
}

func (a *app) attestReferenceCommand() *cobra.Command {
	var f referenceFlags
	cmd := &cobra.Command{
		Use:   "reference PATH|REF --document ROLE=FILE … --attester URI (--key KEY | --keyless)",
		Short: "Attest which documents belong to an artifact, by digest",
		Long: `Make an in-toto reference statement that names documents about a model or dataset by their digests, and sign it.

ROLE is model-card, data-card, croissant, evaluation-log or another word in lower case. The front matter of a card and what a Croissant file says
of its dataset become annotations that a policy can ask: the license, the base model. See docs/documents.md.

A document that is a file of the artifact is located there; of any other, --location ROLE=URI says where it can be had.`,
		Example: "  mlseal attest reference oci:store:v1 --document model-card=README.md --attester https://example.com/docs --key office.key\n" +
			"  mlseal attest reference ./model --document model-card=./model/README.md --attester https://example.com/docs --print",
		Args: takes("PATH|REF"),
	}
	cmd.Flags().StringArrayVar(&f.documents, "document", nil, "`ROLE=FILE` of a document (repeatable)")
	cmd.Flags().StringArrayVar(&f.locations, "location", nil, "`ROLE=URI` where a document can be had that is no file of the artifact (repeatable)")
	cmd.Flags().StringVar(&f.attester, "attester", "", "URI of who provides the documents")
	f.madeStatement.add(cmd)
	for _, name := range []string{"document", "attester"} {
		_ = cmd.MarkFlagRequired(name)
	}
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := f.check(args[0]); err != nil {
			return err
		}
		return a.attestReference(cmd.Context(), args[0], f)
	})
	return cmd
}

func (a *app) attestReference(ctx context.Context, about string, f referenceFlags) error {
	locations, err := pairs("--location", f.locations)
	if err != nil {
		return err
	}
	named, err := pairs("--document", f.documents)
	if err != nil {
		return err
	}
	tree, err := f.look(ctx, a, about)
	if err != nil {
		return missing(err)
	}
	var all []documents.Document
	for _, pair := range named {
		d, err := a.document(pair, tree)
		if err != nil {
			return err
		}
		for i, l := range locations {
			if l.name == d.Role {
				d.Location, locations[i].value = l.value, ""
			}
		}
		all = append(all, d)
	}
	for _, l := range locations {
		if l.value != "" {
			return usage(fmt.Errorf("attest: --location %s: no --document has that role", l.name))
		}
	}
	predicate, err := documents.Reference(f.attester, all)
	if err != nil {
		return asked(err, documents.ErrAsked)
	}
	return f.make(ctx, a, about, attest.ReferencePredicateType, predicate)
}

// pairs reads flags of the form NAME=VALUE, each name once.
func pairs(flag string, texts []string) (all []field, err error) {
	seen := map[string]bool{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, usage(fmt.Errorf("attest: %s %s: want NAME=VALUE", flag, text))
		}
		if seen[name] {
			return nil, usage(fmt.Errorf("attest: %s: %s is given twice", flag, name))
		}
		seen[name] = true
		all = append(all, field{name, value})
	}
	return all, nil
}

// document reads a document. One that the artifact holds under its name is located there.
func (a *app) document(pair field, tree *manifest.Manifest) (d documents.Document, err error) {
	data, err := readInput(pair.name, pair.value, documents.MaxBytes)
	if err != nil {
		return d, err
	}
	d = documents.Document{Role: pair.name, ResourceDescriptor: descriptor(pair.value, "", data)}
	note, err := d.Describe(data)
	if err != nil {
		return d, asked(fmt.Errorf("%s: %w", pair.value, err), documents.ErrAsked)
	}
	if note != "" {
		a.note(note)
	}
	if in := holding(tree, d.ResourceDescriptor); in != "" {
		d.Location = (&url.URL{Path: "./" + in}).String()
	}
	return d, nil
}

// holding is the path of a document in a tree, the shortest of those with its digest and name; empty when it is not there.
func holding(tree *manifest.Manifest, d attest.ResourceDescriptor) (found string) {
	for _, f := range tree.Files {
		if f.Digest.Encoded() == d.Digest["sha256"] && path.Base(f.Path) == d.Name && (found == "" || len(f.Path) < len(found)) {
			found = f.Path
		}
	}
	return found
}

// datasetFlags say what the documents of a dataset do not.
type datasetFlags struct {
	madeStatement
	croissant, card                   string
	name, version, license, concluded string
	sources, splits                   []string
	records                           int64
	owner                             documents.Owner
	pii, piiMethod                    string
}

func (a *app) attestDatasetCommand() *cobra.Command {
	var f datasetFlags
	cmd := &cobra.Command{
		Use:   "dataset PATH|REF [--croissant FILE] [--card FILE] (--key KEY | --keyless)",
		Short: "Attest what a dataset is, from its Croissant file, its card and flags",
		Long: `Make a dataset statement from a Croissant file, the front matter of a data card and flags, and sign it. A flag comes before a document.

Digests of splits are computed from the dataset's own files: those that --split names, or those that the card lists. Records are counted where the
count is exact: in a directory whose data is all in .jsonl files. A sha256 that the Croissant file gives for a file of the dataset must be that
file's. What is not known is left out, or asked for by name; nothing is made up. See docs/documents.md.`,
		Example: "  mlseal attest dataset ./data --croissant croissant.json --card ./data/README.md --key office.key --bundle data.sigstore.json\n" +
			"  mlseal attest dataset oci:store:data --name corpus --dataset-version 1 --license CC-BY-4.0 --source https://example.com/corpus --records 1000 --key office.key",
		Args: takes("PATH|REF"),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.croissant, "croissant", "", "Croissant file of the dataset, named by digest in the statement")
	flags.StringVar(&f.card, "card", "", "data card (README.md) with front matter")
	flags.StringVar(&f.name, "name", "", "name of the dataset")
	flags.StringVar(&f.version, "dataset-version", "", "version of the dataset")
	flags.StringVar(&f.license, "license", "", "license that the source declares, best an SPDX expression")
	flags.StringVar(&f.concluded, "license-concluded", "", "license that a review concluded")
	flags.StringArrayVar(&f.sources, "source", nil, "`URI` where the data came from, or URI,sha256:HEX with the digest of what was got there (repeatable)")
	flags.StringArrayVar(&f.splits, "split", nil, "`NAME=PATTERN` of a split's files, such as train=train-*.jsonl (repeatable)")
	flags.Int64Var(&f.records, "records", -1, "how many records the dataset has (default counted, where that is exact)")
	flags.StringVar(&f.owner.CreatedOn, "created-on", "", "when the dataset was made, as in 2026-01-31T12:00:00Z")
	flags.Var(&choice{&f.pii, []string{"none", "redacted", "present"}}, "pii", "whether it has personal data: none, redacted, present")
	flags.StringVar(&f.piiMethod, "pii-method", "", "how that was found out")
	flags.StringVar(&f.owner.OptOut, "opt-out", "", "how opt-outs were honoured, in the owner's words")
	flags.StringVar(&f.owner.Classification, "classification", "", "the owner's classification, such as internal")
	flags.StringVar(&f.owner.Retention, "retention", "", "how long it may be kept")
	flags.StringVar(&f.owner.Residency, "residency", "", "where it must stay")
	f.madeStatement.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := f.check(args[0]); err != nil {
			return err
		}
		if err := f.ownersWord(); err != nil {
			return usage(err)
		}
		if cmd.Flags().Changed("records") && f.records < 0 {
			return usage(errors.New("attest: --records is a count"))
		}
		return a.attestDataset(cmd.Context(), args[0], f)
	})
	return cmd
}

func (a *app) attestDataset(ctx context.Context, about string, f datasetFlags) error {
	o := documents.DatasetOptions{Name: f.name, Version: f.version, License: f.license, Concluded: f.concluded, Records: f.records, Owner: f.owner, TreeDigest: treeDigest}
	if err := f.sourcesAndSplits(&o); err != nil {
		return err
	}
	tree, err := f.look(ctx, a, about)
	if err != nil {
		return missing(err)
	}
	if f.croissant != "" {
		data, err := readInput("--croissant", f.croissant, documents.MaxBytes)
		if err != nil {
			return err
		}
		if o.Croissant, err = documents.ParseCroissant(data); err != nil {
			return fmt.Errorf("%s: %w", f.croissant, err)
		}
		d := descriptor(f.croissant, "", data)
		o.CroissantSum, o.CroissantPath = d.Digest, holding(tree, d)
	}
	if f.card != "" {
		if o.Card, err = readAs("--card", f.card, documents.MaxBytes, documents.ParseCard); err != nil {
			return err
		}
	}
	if o.Files, err = a.countedFiles(ctx, about, f.store, tree); err != nil {
		return err
	}
	predicate, err := documents.Dataset(o)
	if err != nil {
		return asked(err, documents.ErrAsked)
	}
	return f.make(ctx, a, about, attest.DatasetPredicateType, predicate)
}

// ownersWord checks what the owner says.
func (f *datasetFlags) ownersWord() error {
	if f.piiMethod != "" && f.pii == "" {
		return errors.New("attest: --pii-method says how --pii was found out: give both")
	}
	if f.pii != "" {
		f.owner.Sensitive = &documents.Sensitive{PII: f.pii, Method: f.piiMethod}
	}
	return checkTime("--created-on", f.owner.CreatedOn)
}

// parseSource reads URI or URI,sha256:HEX.
func parseSource(text string) (documents.Source, error) {
	uri, sum, found := strings.Cut(text, ",sha256:")
	if u, err := url.Parse(uri); err != nil || u.Scheme == "" {
		return documents.Source{}, fmt.Errorf("attest: --source %s: want a URI, or URI,sha256:HEX", text)
	}
	if !found {
		return documents.Source{URI: uri}, nil
	}
	if digest.NewDigestFromEncoded(digest.SHA256, sum).Validate() != nil {
		return documents.Source{}, fmt.Errorf("attest: --source %s: want sha256: and 64 lower-case hexadecimal digits behind the comma", text)
	}
	return documents.Source{URI: uri, Digest: attest.DigestSet{"sha256": sum}}, nil
}

func (f datasetFlags) sourcesAndSplits(o *documents.DatasetOptions) error {
	for _, uri := range f.sources {
		source, err := parseSource(uri)
		if err != nil {
			return usage(err)
		}
		o.Sources = append(o.Sources, source)
	}
	splits, err := pairs("--split", f.splits)
	if err != nil {
		return err
	}
	for _, s := range splits {
		if _, err := path.Match(s.value, ""); err != nil {
			return usage(fmt.Errorf("attest: --split %s=%s: %w", s.name, s.value, err))
		}
		o.Splits = append(o.Splits, documents.Split{Name: s.name, Patterns: []string{s.value}})
	}
	return nil
}

// treeDigest is the dirHash of some of the files.
func treeDigest(files []documents.File) (string, error) {
	var some []manifest.File
	for _, f := range files {
		some = append(some, manifest.File{Path: f.Path, Digest: digest.NewDigestFromEncoded(digest.SHA256, f.SHA256)})
	}
	m, err := manifest.New(some)
	if err != nil {
		return "", err
	}
	return m.DirHash(), nil
}

// countedFiles lists the files of the dataset, with the records of the .jsonl files of a directory.
func (a *app) countedFiles(ctx context.Context, about string, store storeFlags, m *manifest.Manifest) (files []documents.File, err error) {
	var fsys fs.FS
	if !isPackage(about) {
		t, err := a.open(ctx, about, store)
		if err != nil {
			return nil, err
		}
		defer t.Close()
		fsys = t.fsys
	}
	for _, f := range m.Files {
		file := documents.File{Path: f.Path, SHA256: f.Digest.Encoded(), Records: -1}
		if fsys != nil && path.Ext(f.Path) == ".jsonl" {
			if file.Records, err = countLines(ctx, fsys, f); err != nil {
				return nil, err
			}
		}
		files = append(files, file)
	}
	return files, nil
}

// countLines counts the records of a .jsonl file; -1 when they cannot be counted. The bytes that are counted must be those that were hashed.
func countLines(ctx context.Context, fsys fs.FS, f manifest.File) (int64, error) {
	in, err := fsys.Open(f.Path)
	if err != nil {
		return -1, err
	}
	defer func() { _ = in.Close() }()
	verified := f.Digest.Verifier()
	n, err := documents.CountRecords(ctx, io.TeeReader(in, verified))
	if err != nil {
		return -1, fmt.Errorf("%s: %w", f.Path, err)
	}
	if n >= 0 && !verified.Verified() {
		return -1, fmt.Errorf("%s: %w", f.Path, manifest.ErrChanged)
	}
	return n, nil
}
