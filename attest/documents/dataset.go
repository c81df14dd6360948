package documents

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
)

// File is a file of the dataset.
type File struct {
	Path    string
	SHA256  string
	Records int64 // -1 when nobody counted them
}

// Source is where data came from.
type Source struct {
	URI    string           `json:"uri"`
	Digest attest.DigestSet `json:"digest,omitempty"`
}

// Owner is what only the owner of data knows; what is empty is left out.
type Owner struct {
	CreatedOn      string     `json:"createdOn,omitempty"` // RFC 3339
	Sensitive      *Sensitive `json:"sensitive,omitempty"`
	Classification string     `json:"classification,omitempty"`
	Retention      string     `json:"retention,omitempty"`
	Residency      string     `json:"residency,omitempty"`
	OptOut         string     `json:"optOut,omitempty"`
}

// Sensitive says whether there are personal data, and how that was found out.
type Sensitive struct {
	PII    string `json:"pii"` // none, redacted or present
	Method string `json:"method,omitempty"`
}

// DatasetOptions are what the predicate is made of. What a flag says comes before what a document says.
type DatasetOptions struct {
	Name, Version, License, Concluded string
	Sources                           []Source
	Splits                            []Split
	// Owner is what the owner's rules say of the data, which no document tells.
	Owner
	Records       int64 // -1 when it is to be told by the files
	Files         []File
	Croissant     *Croissant
	CroissantSum  attest.DigestSet
	CroissantPath string // in the dataset; empty when it is no part of it
	Card          *Card
	// TreeDigest gives the digest of several files as one tree.
	TreeDigest func([]File) (string, error)
}

type datasetSplit struct {
	Name    string           `json:"name"`
	Digest  attest.DigestSet `json:"digest"`
	Records *int64           `json:"records,omitempty"`
}

// Dataset makes a dataset predicate. What neither a flag nor a document says is left out or, where the schema needs it, asked for (ErrAsked).
// The sha256 that a Croissant file gives for a file of the dataset must be that file's (ErrDocument).
func Dataset(o DatasetOptions) (json.RawMessage, error) {
	if o.Croissant == nil {
		o.Croissant = &Croissant{}
	}
	if o.Card == nil {
		o.Card = &Card{}
	}
	if err := o.checkFiles(); err != nil {
		return nil, fmt.Errorf("documents: %w: %w", ErrDocument, err)
	}
	type records struct {
		Count int64 `json:"count"`
	}
	type license struct {
		Declared  string `json:"declared"`
		Concluded string `json:"concluded,omitempty"`
	}
	var p struct {
		Name      string           `json:"name"`
		Version   string           `json:"version"`
		Source    []Source         `json:"source"`
		Records   records          `json:"records"`
		Splits    []datasetSplit   `json:"splits,omitempty"`
		License   license          `json:"license"`
		Croissant attest.DigestSet `json:"croissant,omitempty"`
		IsLive    *bool            `json:"isLive,omitempty"`
		Owner
	}
	p.Croissant, p.IsLive, p.License.Concluded = o.CroissantSum, o.Croissant.IsLive, o.Concluded
	p.Owner = o.Owner
	var err error
	for _, step := range []func() error{
		func() error { p.Name, err = told("--name", "name", o.Name, o.Croissant.Name, o.Card.Name); return err },
		func() error {
			p.Version, err = told("--dataset-version", "version", o.Version, o.Croissant.Version)
			return err
		},
		func() error { p.License.Declared, err = o.license(); return err },
		func() error { p.Source, err = o.sources(); return err },
		func() error { p.Splits, err = o.splits(); return err },
		func() error { p.Records.Count, err = o.count(); return err },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return attest.NewPredicate(attest.DatasetPredicateType, p)
}

func unsaid(what, flag string) error {
	return fmt.Errorf("documents: %w: the dataset's %s: %s", ErrAsked, what, flag)
}

// told is the first that says something.
func told(flag, what string, all ...string) (string, error) {
	for _, text := range all {
		if text != "" {
			return text, nil
		}
	}
	return "", unsaid(what, flag)
}

// license is what the source declares. Documents that name several licenses, or different ones, leave it open.
func (o *DatasetOptions) license() (string, error) {
	if o.License != "" {
		return o.License, nil
	}
	var found []string
	card, _ := o.Card.Fields["licenses"].([]any)
	found = append(found, o.Croissant.Licenses...)
	for _, text := range card {
		found = append(found, text.(string))
	}
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 0:
		return "", unsaid("license", "--license")
	case 1:
		return found[0], nil
	}
	return "", unsaid("license, of which the documents say "+strings.Join(found, " and "), "--license")
}

// sources are the files on the web of which Croissant gives the digest, or else the page of the dataset.
func (o *DatasetOptions) sources() ([]Source, error) {
	if len(o.Sources) > 0 {
		return o.Sources, nil
	}
	var all []Source
	for _, f := range o.Croissant.Files {
		if f.Remote() && f.SHA256 != "" {
			all = append(all, Source{f.ContentURL, attest.DigestSet{"sha256": f.SHA256}})
		}
	}
	if len(all) == 0 && o.Croissant.URL != "" {
		all = []Source{{URI: o.Croissant.URL}}
	}
	if len(all) == 0 {
		return nil, unsaid("source", "--source")
	}
	return all, nil
}

// checkFiles holds the files of the dataset to the digests that Croissant gives for paths beside it.
func (o *DatasetOptions) checkFiles() error {
	for _, c := range o.Croissant.Files {
		if c.SHA256 == "" || c.ContentURL == "" || c.Remote() {
			continue
		}
		name := path.Join(path.Dir(o.CroissantPath), c.ContentURL)
		for _, f := range o.Files {
			if f.Path == name && f.SHA256 != c.SHA256 {
				return fmt.Errorf("Croissant says that %s has sha256:%s, and it has sha256:%s", f.Path, c.SHA256, f.SHA256)
			}
		}
	}
	return nil
}

// splits computes the digest of each split from its files: the sha256 of a single file, the dirHash of several. Those that a flag names must
// have files; those of a card are left out when they have none, as when the dataset was packed in part.
func (o *DatasetOptions) splits() (all []datasetSplit, err error) {
	named := len(o.Splits) > 0
	wanted := o.Splits
	if !named {
		wanted = o.Card.Splits
	}
	for _, split := range wanted {
		var files []File
		for _, f := range o.Files {
			if slices.ContainsFunc(split.Patterns, func(pattern string) bool { ok, err := path.Match(pattern, f.Path); return ok && err == nil }) {
				files = append(files, f)
			}
		}
		if len(files) == 0 {
			if named {
				return nil, fmt.Errorf("documents: %w: the split %s: no file of the dataset fits %s", ErrAsked, split.Name, strings.Join(split.Patterns, ", "))
			}
			continue
		}
		entry := datasetSplit{Name: split.Name, Digest: attest.DigestSet{"sha256": files[0].SHA256}}
		if len(files) > 1 {
			sum, err := o.TreeDigest(files)
			if err != nil {
				return nil, err
			}
			entry.Digest = attest.DigestSet{"dirHash": sum}
		}
		if n, ok := sum(files); ok {
			entry.Records = &n
		}
		all = append(all, entry)
	}
	return all, nil
}

// sum adds the records of files; it is not ok when those of one are not known.
func sum(files []File) (n int64, ok bool) {
	for _, f := range files {
		if f.Records < 0 {
			return 0, false
		}
		n += f.Records
	}
	return n, len(files) > 0
}

// count is how many records there are: what the flag says, or those of all files that may hold records.
func (o *DatasetOptions) count() (int64, error) {
	if o.Records >= 0 {
		return o.Records, nil
	}
	var data []File
	for _, f := range o.Files {
		if !isDocument(f.Path) {
			data = append(data, f)
		}
	}
	if n, ok := sum(data); ok {
		return n, nil
	}
	return 0, unsaid("records, which are counted in a directory of .jsonl files alone", "--records")
}

// isDocument reports files that come with data and hold no records.
func isDocument(name string) bool {
	base := strings.ToLower(path.Base(name))
	return slices.Contains([]string{".md", ".pdf", ".bib"}, path.Ext(base)) ||
		slices.Contains([]string{"croissant.json", "license", "notice", ".gitattributes", ".gitignore", "dataset_infos.json"}, base)
}
