package aibom

import (
	"strconv"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/mlseal/mlseal/verify/report"
)

// propertyPrefix begins the names of properties: values for which CycloneDX has no field.
const propertyPrefix = "mlseal:"

// CycloneDX writes the document as a CycloneDX 1.7 ML-BOM in JSON.
func (d *Document) CycloneDX() ([]byte, error) {
	bom := (&cycloneDX{Document: d, placed: map[int]bool{}}).bom()
	contents, err := report.Marshal(bom)
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = "urn:uuid:" + uuid(contents)
	return report.Marshal(bom)
}

// cycloneDX places each thing once: base models as ancestors of what was made from them, datasets beside the artifact.
type cycloneDX struct {
	*Document
	placed map[int]bool
}

func (c *cycloneDX) bom() *cdx.BOM {
	bom := cdx.NewBOM()
	bom.SpecVersion, bom.JSONSchema = cdx.SpecVersion1_7, "http://cyclonedx.org/schema/bom-1.7.schema.json"
	root := c.artifactComponent()
	var data []cdx.Component
	for i, t := range c.things[1:] {
		if t.dataset && !c.placed[i+1] {
			data = append(data, c.component(i+1))
		}
	}
	bom.Components = listed(data)
	bom.Dependencies = listed(c.dependencies())
	bom.Metadata = &cdx.Metadata{Component: &root,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "mlseal", Version: c.options.Version}}}}
	if !c.time.IsZero() {
		bom.Metadata.Timestamp = instant(c.time)
	}
	bom.Metadata.Properties = properties(c.grounds())
	return bom
}

// grounds say what the document rests on.
func (d *Document) grounds() []pair {
	var out []pair
	if p := d.options.Policy; p != nil {
		name := p.Name
		if p.Version > 0 {
			name += " v" + strconv.Itoa(p.Version)
		}
		out = append(out, pair{"policy", name + " " + p.Digest})
	}
	for _, s := range d.Statements {
		out = append(out, pair{"statement", s})
	}
	return out
}

// artifactComponent is the component that the document is about, with its files.
func (c *cycloneDX) artifactComponent() cdx.Component {
	root := c.component(0)
	root.PackageURL = c.artifact.PURL
	files, all := c.files()
	var list []cdx.Component
	for _, f := range files {
		list = append(list, cdx.Component{Type: cdx.ComponentTypeFile, Name: f.Path, Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: f.Digest.Encoded()}}})
	}
	root.Components = listed(list)
	more := c.facts()
	if all > len(files) {
		more = append(more, pair{"filesNotListed", strconv.Itoa(all)})
	}
	if p := properties(more); p != nil {
		root.Properties = listed(append(value(root.Properties), *p...))
	}
	if a := c.artifact.Contents.Architecture; a != "" && root.ModelCard != nil {
		if root.ModelCard.ModelParameters == nil {
			root.ModelCard.ModelParameters = &cdx.MLModelParameters{}
		}
		root.ModelCard.ModelParameters.ModelArchitecture = a
	} else if a != "" && root.Type == cdx.ComponentTypeMachineLearningModel {
		root.ModelCard = &cdx.MLModelCard{ModelParameters: &cdx.MLModelParameters{ModelArchitecture: a}}
	}
	return root
}

// component is a thing with all that is known of it.
func (c *cycloneDX) component(n int) cdx.Component {
	t := c.things[n]
	c.placed[n] = true
	out := cdx.Component{BOMRef: c.ref(n), Type: cdx.ComponentTypeMachineLearningModel, Name: t.title(), PackageURL: purl(t.uri)}
	if t.dataset {
		out.Type = cdx.ComponentTypeData
		out.Data = &[]cdx.ComponentData{t.componentData()}
	}
	if t.data != nil {
		out.Version = t.data.Version
	}
	var odd []pair
	out.Hashes, odd = t.cycloneHashes()
	for _, l := range t.licenses {
		out.Licenses = choose(out.Licenses, l)
	}
	references, more := t.references()
	out.ExternalReferences = listed(references)
	odd = append(odd, more...)
	for _, h := range t.hyperparameters {
		odd = append(odd, pair{"hyperparameter:" + h.key, h.value})
	}
	out.Properties = properties(odd)
	out.Pedigree = c.pedigree(t)
	if !t.dataset {
		out.ModelCard = c.modelCard(t)
	}
	return out
}

// ref gives a thing a name inside of the document.
func (c *cycloneDX) ref(n int) string {
	kind := "model-"
	switch {
	case n == 0:
		return "artifact"
	case c.things[n].dataset:
		kind = "data-"
	}
	return kind + strconv.Itoa(n)
}

// pedigree holds what the thing was made from. What stands elsewhere in the document already is named there by its digest.
func (c *cycloneDX) pedigree(t *thing) *cdx.Pedigree {
	var ancestors []cdx.Component
	for _, n := range t.madeFrom {
		if !c.placed[n] {
			ancestors = append(ancestors, c.component(n))
			continue
		}
		other := c.things[n]
		again := cdx.Component{Type: cdx.ComponentTypeMachineLearningModel, Name: other.title()}
		if other.dataset {
			again.Type = cdx.ComponentTypeData
		}
		var odd []pair
		again.Hashes, odd = other.cycloneHashes()
		again.Properties = properties(odd)
		ancestors = append(ancestors, again)
	}
	if ancestors == nil {
		return nil
	}
	return &cdx.Pedigree{Ancestors: &ancestors}
}

func (c *cycloneDX) modelCard(t *thing) *cdx.MLModelCard {
	var card cdx.MLModelCard
	var data []cdx.MLDatasetChoice
	for _, n := range unite(t.trainedOn, t.testedOn) {
		data = append(data, cdx.MLDatasetChoice{Ref: c.ref(n)})
	}
	if data != nil {
		card.ModelParameters = &cdx.MLModelParameters{Datasets: &data}
	}
	var metrics []cdx.MLPerformanceMetric
	for _, m := range t.metrics {
		metrics = append(metrics, cdx.MLPerformanceMetric{Type: m.name, Value: m.value, Slice: m.dataset})
	}
	if metrics != nil {
		card.QuantitativeAnalysis = &cdx.MLQuantitativeAnalysis{PerformanceMetrics: &metrics}
	}
	if card.ModelParameters == nil && card.QuantitativeAnalysis == nil {
		return nil
	}
	return &card
}

// componentData says what kind of data it is.
func (t *thing) componentData() cdx.ComponentData {
	out := cdx.ComponentData{Type: cdx.ComponentDataTypeDataset}
	if isURI(t.uri) {
		out.Contents = &cdx.ComponentDataContents{URL: t.uri}
	}
	if s := t.data; s != nil {
		out.Name, out.Classification = s.Name, s.Classification
		if pii := s.Sensitive.PII; pii != "" && pii != "none" {
			out.SensitiveData = &[]string{strings.TrimSuffix("personally identifiable information: "+pii+", "+s.Sensitive.Method, ", ")}
		}
	}
	return out
}

// references are where the thing comes from; what is no URI is a property.
func (t *thing) references() (out []cdx.ExternalReference, odd []pair) {
	if t.uri != "" && !t.dataset && isURI(t.uri) {
		out = append(out, cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: t.uri})
	} else if t.uri != "" && !isURI(t.uri) {
		odd = append(odd, pair{"uri", t.uri})
	}
	s := t.data
	if s == nil {
		return out, odd
	}
	for _, from := range s.Source {
		if !isURI(from.URI) {
			odd = append(odd, pair{"source", from.URI})
			continue
		}
		hashes, _ := (&thing{digests: from.Digest}).cycloneHashes()
		comment := "source of the data"
		if from.RetrievedOn != "" {
			comment += ", retrieved on " + from.RetrievedOn
		}
		out = append(out, cdx.ExternalReference{Type: cdx.ERTypeOther, URL: from.URI, Comment: comment, Hashes: hashes})
	}
	odd = append(odd, pair{"records", s.Records.Count.String()})
	for _, split := range s.Splits {
		odd = append(odd, pair{"split", split.Name})
	}
	for _, f := range s.Filters {
		odd = append(odd, pair{"filter", strings.TrimSpace(f.Name + " " + f.Version)})
	}
	if s.Sensitive.PII == "none" {
		odd = append(odd, pair{"pii", "none"})
	}
	return out, odd
}

// cycloneAlgorithms are in-toto's names of hash algorithms, with the digits of their values.
var cycloneAlgorithms = map[string]struct {
	name   cdx.HashAlgorithm
	digits int
}{
	"sha1": {cdx.HashAlgoSHA1, 40}, "sha256": {cdx.HashAlgoSHA256, 64}, "sha384": {cdx.HashAlgoSHA384, 96}, "sha512": {cdx.HashAlgoSHA512, 128}, "blake3": {cdx.HashAlgoBlake3, 64},
	"sha3_256": {cdx.HashAlgoSHA3_256, 64}, "sha3_384": {cdx.HashAlgoSHA3_384, 96}, "sha3_512": {cdx.HashAlgoSHA3_512, 128}, "blake2b": {cdx.HashAlgoBlake2b_512, 128},
}

// cycloneHashes are the digests that CycloneDX has a name for. A dirHash is none: it is over a list of files and not over bytes.
func (t *thing) cycloneHashes() (*[]cdx.Hash, []pair) {
	var out []cdx.Hash
	var odd []pair
	for _, named := range t.named() {
		algorithm, hex, _ := strings.Cut(named, ":")
		if a, ok := cycloneAlgorithms[algorithm]; ok && len(hex) == a.digits {
			out = append(out, cdx.Hash{Algorithm: a.name, Value: hex})
		} else {
			odd = append(odd, pair{algorithm, hex})
		}
	}
	return listed(out), odd
}

// choose adds a licence: an expression when it has the form of one, else by its name.
func choose(list *cdx.Licenses, l license) *cdx.Licenses {
	if list == nil {
		list = &cdx.Licenses{}
	}
	how := cdx.LicenseAcknowledgement(l.acknowledgement)
	if isExpression(l.text) {
		*list = append(*list, cdx.LicenseChoice{Expression: l.text, Acknowledgement: &how})
	} else {
		*list = append(*list, cdx.LicenseChoice{License: &cdx.License{Name: l.text, Acknowledgement: how}})
	}
	return list
}

// dependencies says of each thing that was made from others from which.
func (c *cycloneDX) dependencies() []cdx.Dependency {
	var out []cdx.Dependency
	for n, t := range c.things {
		var on []string
		for _, to := range unite(t.madeFrom, t.trainedOn) {
			on = append(on, c.ref(to))
		}
		if on != nil {
			out = append(out, cdx.Dependency{Ref: c.ref(n), Dependencies: &on})
		}
	}
	return out
}

func properties(pairs []pair) *[]cdx.Property {
	var out []cdx.Property
	for _, p := range pairs {
		out = append(out, cdx.Property{Name: propertyPrefix + p.key, Value: p.value})
	}
	return listed(out)
}

// listed is nil for an empty list, which the document then leaves out.
func listed[T any](list []T) *[]T {
	if len(list) == 0 {
		return nil
	}
	return &list
}

func value[T any](list *[]T) []T {
	if list == nil {
		return nil
	}
	return *list
}

// unite has what stands in either list, each once.
func unite(a, b []int) []int {
	var out []int
	for _, list := range [][]int{a, b} {
		for _, n := range list {
			out = add(out, n)
		}
	}
	return out
}
