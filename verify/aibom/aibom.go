// Package aibom writes what is known about a model or dataset as a bill of materials: a CycloneDX 1.7 ML-BOM or an SPDX 3.0.1 document in the
// AI and Dataset profiles. What is known is what the bytes say, and what the signers of a policy say (policies.Policy.Accounts); nothing else
// comes in, and a field about which nothing is known is left out. The documents are functions of their inputs: the same input gives the same bytes.
//
// Statements are held to the schemas of their types (attest.CheckPredicate), which bound their texts; one that is not as its schema says is
// not used, and Document.Notes names it. docs/aibom.md has the table of fields.
package aibom

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/policies"
)

// MaxFiles is the number of files that a document lists. Of an artifact with more it lists none and says how many there are: their digests
// stand in the artifact, which the document names by digest.
const MaxFiles = 1000

// MaxThings is the number of other artifacts that a document lists: base models and datasets.
const MaxThings = 1000

// Artifact is what a document is about, as its bytes say.
type Artifact struct {
	Name     string
	Dataset  bool              // it is a dataset and not a model
	Digests  map[string]string // sha256 of the image manifest, dirHash
	PURL     string            // empty when there is none
	Tree     *manifest.Manifest
	Contents Contents
}

// Contents is what the config of a package says of a model; all may be empty.
type Contents struct {
	Architecture, Format, ParamSize, Precision string
}

// Options say what is known beside the artifact. The zero value is that nobody is trusted.
type Options struct {
	Accounts []policies.Account  // policies.Policy.Accounts; nil when nobody is trusted
	Policy   *policies.PolicyRef // whose accounts they are; nil for none
	Version  string              // of mlseal
	// Time is when the document was made. When it is zero, that is the time of the latest statement that is used; where there is none either, a
	// CycloneDX document gives no time, and SPDX, which demands one, Now.
	Time, Now time.Time
}

// Document is what is known about an artifact.
type Document struct {
	// Notes say what was not used, and why.
	Notes []string
	// Statements are those that the document rests on, as "ID type by signer".
	Statements []string

	options  Options
	artifact Artifact
	things   []*thing // the artifact first
	time     time.Time
}

// New collects what is known.
func New(artifact Artifact, o Options) *Document {
	d := &Document{options: o, artifact: artifact}
	r := reading{Document: d, thingOf: map[int]int{}, cited: map[string]bool{}}
	r.read()
	d.time = o.Time
	if d.time.IsZero() {
		d.time = r.latest
	}
	slices.Sort(d.Statements)
	return d
}

// thing is the artifact, or something that it was made from or measured on.
type thing struct {
	dataset         bool
	name, uri       string
	digests         map[string]string
	licenses        []license
	metrics         []metric
	hyperparameters []pair
	built           time.Time // when its provenance says that it was finished
	data            *sheet    // what a dataset statement says of it
	// madeFrom, trainedOn and testedOn are indexes of Document.things.
	madeFrom, trainedOn, testedOn []int
}

type pair struct{ key, value string }

// metric is one result of an evaluation, with its value as the statement writes it.
type metric struct{ name, dataset, value string }

// title is what a document calls a thing: its name, else where it is from, else its digest.
func (t *thing) title() string {
	return cmp.Or(t.name, t.uri, strings.Join(t.named(), " "), "unknown")
}

// named are the thing's digests as "algorithm:value", in a fixed order.
func (t *thing) named() []string {
	var out []string
	for _, algorithm := range slices.Sorted(maps.Keys(t.digests)) {
		out = append(out, algorithm+":"+t.digests[algorithm])
	}
	return out
}

// files are those that the document lists, and how many there are.
func (d *Document) files() (listed []manifest.File, all int) {
	if d.artifact.Tree == nil {
		return nil, 0
	}
	if all = len(d.artifact.Tree.Files); all > MaxFiles {
		return nil, all
	}
	return d.artifact.Tree.Files, all
}

// facts are what the package says of the model, for which the formats have no fields of their own.
func (d *Document) facts() []pair {
	c := d.artifact.Contents
	var out []pair
	for _, p := range []pair{{"format", c.Format}, {"paramSize", c.ParamSize}, {"precision", c.Precision}} {
		if p.value != "" {
			out = append(out, p)
		}
	}
	return out
}

// uuid names a document by its contents (RFC 9562, version 8: the bits are the application's own, here of a sha256).
func uuid(contents []byte) string {
	h := sha256.Sum256(contents)
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// instant writes a time to the second, as both formats take it.
func instant(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// Is reports whether data is a document in one of the two formats, so that a file of another kind is not written over.
func Is(data []byte) bool {
	var top struct {
		Context any    `json:"@context"`
		Format  string `json:"bomFormat"`
	}
	return json.Unmarshal(data, &top) == nil && (top.Format == cdx.BOMFormat || top.Context == spdxContext)
}
