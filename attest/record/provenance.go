package record

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
)

// Provenance is SLSA provenance v1.
//
// https://slsa.dev/spec/v1.0/provenance
type Provenance struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition says what was to be done.
type BuildDefinition struct {
	BuildType            string                      `json:"buildType"`
	ExternalParameters   map[string]any              `json:"externalParameters"`
	InternalParameters   map[string]any              `json:"internalParameters"`
	ResolvedDependencies []attest.ResourceDescriptor `json:"resolvedDependencies"`
}

// RunDetails say how it went.
type RunDetails struct {
	Builder struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version"`
	} `json:"builder"`
	Metadata struct {
		InvocationID string `json:"invocationId"`
		StartedOn    string `json:"startedOn"`
		FinishedOn   string `json:"finishedOn"`
	} `json:"metadata"`
	Byproducts []attest.ResourceDescriptor `json:"byproducts,omitempty"`
}

// Provenance is the record as a predicate. Verifiers refuse external parameters that they do not know, so there are only the four:
// recipe, baseModel, datasets, hyperparameters, and the source of a dataset that is ingested. What the user did not choose is among the
// internal ones.
func (rec *Record) Provenance() *Provenance {
	p := &Provenance{}
	p.BuildDefinition = BuildDefinition{BuildType: BuildType(rec.Step), ExternalParameters: rec.external(), InternalParameters: rec.internal(), ResolvedDependencies: []attest.ResourceDescriptor{}}
	for _, m := range rec.Materials {
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, m.dependency())
	}
	if c := rec.Code; c != nil {
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies,
			attest.ResourceDescriptor{Name: RoleCode, URI: c.URI, Digest: attest.DigestSet{"gitCommit": c.Commit}, Annotations: c.facts()})
	}
	p.RunDetails.Builder.ID = rec.Builder.ID
	p.RunDetails.Builder.Version = map[string]string{"mlseal": rec.Version}
	p.RunDetails.Metadata.InvocationID = rec.Builder.Invocation
	p.RunDetails.Metadata.StartedOn = rec.Started.Format(time.RFC3339Nano)
	p.RunDetails.Metadata.FinishedOn = rec.Finished.Format(time.RFC3339Nano)
	for _, b := range rec.Byproducts {
		p.RunDetails.Byproducts = append(p.RunDetails.Byproducts,
			attest.ResourceDescriptor{Name: b.Name, MediaType: b.MediaType, Digest: b.Digest, Annotations: map[string]any{"mlseal_role": b.Role}})
	}
	return p
}

// Predicate is the provenance as JSON, which satisfies its schema.
func (rec *Record) Predicate() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(rec.Provenance()); err != nil {
		return nil, err
	}
	return b.Bytes(), attest.CheckPredicate(attest.ProvenancePredicateType, b.Bytes())
}

// Subjects are what a statement about the products names, without packages.
func (rec *Record) Subjects() []attest.ResourceDescriptor {
	var all []attest.ResourceDescriptor
	for _, p := range rec.Products {
		all = append(all, attest.ResourceDescriptor{Name: p.Name, Digest: p.Digest})
	}
	return all
}

// dependency is a material as a resolved dependency.
func (a Artifact) dependency() attest.ResourceDescriptor {
	d := attest.ResourceDescriptor{Name: a.Role, URI: a.URI, MediaType: a.MediaType, Digest: a.Digest}
	notes := map[string]any{}
	if a.Split != "" {
		notes["mlseal_split"] = a.Split
	}
	if a.single {
		notes["mlseal_fileDigest"] = a.Files[0].Digest.String()
	}
	if len(notes) > 0 {
		d.Annotations = notes
	}
	return d
}

// references are those of a role, in the order of the command line.
func (rec *Record) references(role string) []string {
	var all []string
	for _, m := range rec.Materials {
		if m.Role == role {
			all = append(all, m.Reference)
		}
	}
	return all
}

func (rec *Record) external() map[string]any {
	recipe := map[string]any{"uri": rec.Recipe.URI}
	if rec.Recipe.Path != "" {
		recipe["path"] = rec.Recipe.Path
	}
	external := map[string]any{"recipe": recipe, "hyperparameters": rec.Parameters}
	setReferences(external, "baseModel", rec.references(RoleBaseModel))
	setReferences(external, "source", rec.references(RoleSource))
	datasets := map[string][]string{}
	for _, m := range rec.Materials {
		if m.Role == RoleDataset {
			datasets[m.Split] = append(datasets[m.Split], m.Reference)
		}
	}
	if len(datasets) > 0 {
		external["datasets"] = datasets
	}
	return external
}

// setReferences sets one as a text, and several, which a merge has, as a list.
func setReferences(external map[string]any, key string, references []string) {
	switch len(references) {
	case 0:
	case 1:
		external[key] = references[0]
	default:
		external[key] = references
	}
}

// internal is what the user did not choose, with names of ours.
func (rec *Record) internal() map[string]any {
	internal := map[string]any{"mlseal_command": rec.Command, "mlseal_host": rec.Host}
	for name, value := range map[string]string{"mlseal_accelerator": rec.Accelerator, "mlseal_directory": rec.Directory, "mlseal_signals": strings.Join(rec.Signals, ", ")} {
		if value != "" {
			internal[name] = value
		}
	}
	if len(rec.Environment) > 0 {
		internal["mlseal_environment"] = rec.Environment
	}
	if len(rec.Builder.Details) > 0 {
		internal["mlseal_ci"] = rec.Builder.Details
	}
	if rec.Code != nil {
		internal["mlseal_git"] = rec.Code.facts()
	}
	if p := rec.Packages; p != nil {
		internal["mlseal_python"] = map[string]string{"version": p.Python, "packages": strconv.Itoa(len(p.List))}
	}
	return internal
}
