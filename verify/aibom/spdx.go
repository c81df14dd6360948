package aibom

import (
	"strconv"
	"strings"

	expression "github.com/mlseal/mlseal/internal/spdx"
	"github.com/mlseal/mlseal/verify/report"
)

// The names that every SPDX 3.0.1 document in JSON-LD has.
const (
	spdxContext  = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
	spdxVersion  = "3.0.1"
	spdxNone     = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoneLicense"
	creationNode = "_:creation"
)

// document is a JSON-LD document of SPDX.
type document struct {
	Context string    `json:"@context"`
	Graph   []element `json:"@graph"`
}

// element is any node of an SPDX graph. The properties are those of SPDX 3.0.1 that a document uses.
type element struct {
	Type         string `json:"type"`
	Blank        string `json:"@id,omitempty"`
	ID           string `json:"spdxId,omitempty"`
	CreationInfo string `json:"creationInfo,omitempty"`
	// of CreationInfo
	SpecVersion string   `json:"specVersion,omitempty"`
	Created     string   `json:"created,omitempty"`
	CreatedBy   []string `json:"createdBy,omitempty"`
	// of elements
	Name          string     `json:"name,omitempty"`
	Comment       string     `json:"comment,omitempty"`
	VerifiedUsing []spdxHash `json:"verifiedUsing,omitempty"`
	// of collections
	RootElement        []string `json:"rootElement,omitempty"`
	Element            []string `json:"element,omitempty"`
	ProfileConformance []string `json:"profileConformance,omitempty"`
	// of relationships
	From             string   `json:"from,omitempty"`
	RelationshipType string   `json:"relationshipType,omitempty"`
	To               []string `json:"to,omitempty"`
	// of software and files
	BuiltTime        string `json:"builtTime,omitempty"`
	PrimaryPurpose   string `json:"software_primaryPurpose,omitempty"`
	PackageVersion   string `json:"software_packageVersion,omitempty"`
	PackageURL       string `json:"software_packageUrl,omitempty"`
	DownloadLocation string `json:"software_downloadLocation,omitempty"`
	SourceInfo       string `json:"software_sourceInfo,omitempty"`
	// of models
	TypeOfModel    []string    `json:"ai_typeOfModel,omitempty"`
	Hyperparameter []spdxEntry `json:"ai_hyperparameter,omitempty"`
	Metric         []spdxEntry `json:"ai_metric,omitempty"`
	// of datasets
	DatasetType   []string `json:"dataset_datasetType,omitempty"`
	DatasetSize   int64    `json:"dataset_datasetSize,omitempty"`
	Preprocessing []string `json:"dataset_dataPreprocessing,omitempty"`
	Anonymization []string `json:"dataset_anonymizationMethodUsed,omitempty"`
	Sensitive     string   `json:"dataset_hasSensitivePersonalInformation,omitempty"`
	// of licences
	Expression  string `json:"simplelicensing_licenseExpression,omitempty"`
	LicenseText string `json:"simplelicensing_licenseText,omitempty"`
}

// spdxHash is a Hash.
type spdxHash struct {
	Type      string `json:"type"`
	Algorithm string `json:"algorithm"`
	Value     string `json:"hashValue"`
	Comment   string `json:"comment,omitempty"`
}

// spdxEntry is a DictionaryEntry.
type spdxEntry struct {
	Type  string `json:"type"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// SPDX writes the document as SPDX 3.0.1 in JSON-LD, in the AI and Dataset profiles.
func (d *Document) SPDX() ([]byte, error) {
	const nobody = "urn:uuid:00000000-0000-8000-8000-000000000000"
	contents, err := report.Marshal((&spdx{Document: d, namespace: nobody}).document())
	if err != nil {
		return nil, err
	}
	return report.Marshal((&spdx{Document: d, namespace: "urn:uuid:" + uuid(contents)}).document())
}

// spdx makes elements, each with a name inside of the document's namespace.
type spdx struct {
	*Document
	namespace string
	elements  []element
	licenses  map[string]string // element by text
	relations int
}

func (s *spdx) id(kind string, n int) string { return s.namespace + "#" + kind + "-" + strconv.Itoa(n) }

func (s *spdx) document() document {
	s.licenses = map[string]string{}
	agent := s.namespace + "#mlseal"
	s.add(element{Type: "SoftwareAgent", ID: agent, Name: strings.TrimSpace("mlseal " + s.options.Version)})
	for n, t := range s.things {
		s.pack(n, t)
	}
	s.contained()
	for n, t := range s.things {
		s.related(n, t)
	}
	created := s.time
	if created.IsZero() {
		created = s.options.Now
	}
	top := element{Type: "SpdxDocument", ID: s.namespace + "#document", CreationInfo: creationNode, Name: s.things[0].title(), RootElement: []string{s.id("artifact", 0)},
		ProfileConformance: s.profiles(), Comment: s.grounding()}
	for _, e := range s.elements {
		top.Element = append(top.Element, e.ID)
	}
	info := element{Type: "CreationInfo", Blank: creationNode, SpecVersion: spdxVersion, Created: instant(created), CreatedBy: []string{agent}}
	return document{spdxContext, append([]element{info, top}, s.elements...)}
}

// add adds an element, with the creation info that all share.
func (s *spdx) add(e element) string {
	e.CreationInfo = creationNode
	s.elements = append(s.elements, e)
	return e.ID
}

// grounding says what the document rests on, a line each.
func (s *spdx) grounding() string {
	var lines []string
	for _, p := range s.grounds() {
		lines = append(lines, p.key+" "+p.value)
	}
	return strings.Join(lines, "\n")
}

// profiles are those of which the document uses classes.
func (s *spdx) profiles() []string {
	out := []string{"core", "software"}
	if len(s.licenses) > 0 {
		out = append(out, "simpleLicensing")
	}
	for _, p := range []struct {
		name    string
		dataset bool
	}{{"ai", false}, {"dataset", true}} {
		for _, t := range s.things {
			if t.dataset == p.dataset {
				out = append(out, p.name)
				break
			}
		}
	}
	return out
}

// pack makes the package of a thing.
func (s *spdx) pack(n int, t *thing) {
	e := element{Type: "ai_AIPackage", ID: s.id("artifact", n), Name: t.title(), VerifiedUsing: t.spdxHashes(), PrimaryPurpose: "model", PackageURL: purl(t.uri)}
	if e.PackageURL == "" && isURI(t.uri) {
		e.DownloadLocation = t.uri
	} else if e.PackageURL == "" {
		e.SourceInfo = t.uri
	}
	if !t.built.IsZero() {
		e.BuiltTime = instant(t.built)
	}
	for _, h := range t.hyperparameters {
		e.Hyperparameter = append(e.Hyperparameter, spdxEntry{"DictionaryEntry", h.key, h.value})
	}
	for _, m := range t.metrics {
		e.Metric = append(e.Metric, spdxEntry{"DictionaryEntry", m.name + " (" + m.dataset + ")", m.value})
	}
	if n == 0 {
		s.describe(&e)
	}
	if t.dataset {
		e.Type, e.PrimaryPurpose = "dataset_DatasetPackage", "data"
		e.Hyperparameter, e.Metric, e.TypeOfModel = nil, nil, nil // fields of models
		e.dataset(t.data)
	}
	s.add(e)
}

// describe takes what the artifact's own bytes say.
func (s *spdx) describe(e *element) {
	e.PackageURL = s.artifact.PURL
	if a := s.artifact.Contents.Architecture; a != "" {
		e.TypeOfModel = []string{a}
	}
	var facts []string
	for _, f := range s.facts() {
		facts = append(facts, f.key+" "+f.value)
	}
	if files, all := s.files(); all > len(files) {
		facts = append(facts, strconv.Itoa(all)+" files, which are not listed")
	}
	e.Comment = strings.Join(facts, "; ")
	if tree := s.artifact.Tree; tree != nil && s.things[0].dataset {
		e.DatasetSize = tree.Size() // "in bytes"
	}
}

// dataset takes what a dataset statement says. SPDX demands a type of data, and nothing says what it is.
func (e *element) dataset(d *sheet) {
	e.DatasetType = []string{"noAssertion"}
	if d == nil {
		return
	}
	e.PackageVersion = d.Version
	for _, f := range d.Filters {
		e.Preprocessing = append(e.Preprocessing, strings.TrimSpace(f.Name+" "+f.Version))
	}
	switch d.Sensitive.PII {
	case "none":
		e.Sensitive = "no"
	case "present":
		e.Sensitive = "yes"
	case "redacted":
		if d.Sensitive.Method != "" {
			e.Anonymization = []string{d.Sensitive.Method}
		}
	}
	var from []string
	for _, source := range d.Source {
		line := source.URI
		for _, digest := range (&thing{digests: source.Digest}).named() {
			line += " " + digest
		}
		if source.RetrievedOn != "" {
			line += ", retrieved on " + source.RetrievedOn
		}
		from = append(from, line)
	}
	if e.SourceInfo != "" {
		from = append([]string{e.SourceInfo}, from...)
	}
	e.SourceInfo = strings.Join(from, "\n")
}

// contained lists the artifact's files.
func (s *spdx) contained() {
	files, _ := s.files()
	var ids []string
	for i, f := range files {
		ids = append(ids, s.add(element{Type: "software_File", ID: s.id("file", i), Name: f.Path, VerifiedUsing: []spdxHash{{Type: "Hash", Algorithm: "sha256", Value: f.Digest.Encoded()}}}))
	}
	s.relate(s.id("artifact", 0), "contains", ids...)
}

// related says how a thing relates to others and to licences.
func (s *spdx) related(n int, t *thing) {
	from := s.id("artifact", n)
	for _, r := range []struct {
		kind string
		to   []int
	}{{"descendantOf", t.madeFrom}, {"trainedOn", t.trainedOn}, {"testedOn", t.testedOn}} {
		var ids []string
		for _, to := range r.to {
			ids = append(ids, s.id("artifact", to))
		}
		s.relate(from, r.kind, ids...)
	}
	for _, l := range t.licenses {
		kind := "hasDeclaredLicense"
		if l.acknowledgement == concluded {
			kind = "hasConcludedLicense"
		}
		s.relate(from, kind, s.license(l.text))
	}
}

// license is the element of a licence: an expression when it has the form of one, else a text.
func (s *spdx) license(text string) string {
	if text == expression.None {
		return spdxNone
	}
	if id, ok := s.licenses[text]; ok {
		return id
	}
	e := element{Type: "simplelicensing_LicenseExpression", ID: s.id("license", len(s.licenses)), Expression: text}
	if !isExpression(text) {
		e = element{Type: "simplelicensing_SimpleLicensingText", ID: e.ID, LicenseText: text}
	}
	s.licenses[text] = s.add(e)
	return e.ID
}

func (s *spdx) relate(from, kind string, to ...string) {
	if len(to) == 0 {
		return
	}
	s.add(element{Type: "Relationship", ID: s.id("relationship", s.relations), From: from, RelationshipType: kind, To: to})
	s.relations++
}

// spdxAlgorithms are in-toto's names of hash algorithms in SPDX's words.
var spdxAlgorithms = map[string]string{"sha1": "sha1", "sha256": "sha256", "sha384": "sha384", "sha512": "sha512", "sha3_256": "sha3_256", "sha3_384": "sha3_384",
	"sha3_512": "sha3_512", "blake2b": "blake2b512", "blake3": "blake3", "md5": "md5"}

// spdxHashes are the thing's digests. One that SPDX has no name for is one of another algorithm, which the comment names.
func (t *thing) spdxHashes() []spdxHash {
	var out []spdxHash
	for _, named := range t.named() {
		algorithm, hex, _ := strings.Cut(named, ":")
		h := spdxHash{Type: "Hash", Algorithm: spdxAlgorithms[algorithm], Value: hex}
		if h.Algorithm == "" {
			h.Algorithm, h.Comment = "other", algorithm
		}
		out = append(out, h)
	}
	return out
}
