package oci

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// Formats of packages that are read. Pack writes FormatModelPack with raw layers only.
const (
	FormatModelPack = "CNCF ModelPack"      // modctl, KitOps --use-model-pack, palan, mlseal
	FormatKitOps    = "KitOps ModelKit"     // kit pack
	FormatDocker    = "Docker Model Runner" // docker model package
	FormatCar       = "OCI image"           // PackCar
)

// Layer says how the files of a layer are kept. A raw layer is one file. An archive is a tar of files, whose names count and not
// the layer's; what is in it is known once it was read.
type Layer struct {
	Kind        string          // weight, weight.config, code, doc or dataset
	Path        string          // of the file; of an archive what it says of itself, if anything
	Archive     bool            // a tar of files
	Compression string          // "gzip", "zstd" or empty
	Files       []manifest.File // in the order of the archive; nil for a layer that was not read

	list bool // it lists the files of the other layers
}

// opaque reports whether the layer must be read before its files and their digests are known.
func (l *Layer) opaque() bool { return l.Archive || l.Compression != "" || l.list }

// foreignFormat is a form in which packages are written.
type foreignFormat struct {
	name          string
	configs       []string // media types of the config, by which it is known
	artifactTypes []string // that may stand in the image manifest; an empty one for none
	layer         *lazyregexp.Regexp
	kinds         map[string]string     // of layers, by the first group of layer
	names         map[string]layerNames // of files that have no name, by the first group
}

// layerNames name files that have no name in their image manifest.
type layerNames struct {
	one  string // when there is one
	many string // format of the number and the count, when there are several
}

var formats = []*foreignFormat{
	{
		// model-spec v0.0.7 specs-go/v1/mediatype.go: raw layers are not compressed.
		name: FormatModelPack, configs: []string{MediaTypeConfig, mediaTypeConfigCNAI}, artifactTypes: []string{artifactTypeCNAI, ArtifactType},
		layer: lazyregexp.New(`^application/vnd\.(?:cncf|cnai)\.model\.(weight|weight\.config|code|doc|dataset)\.v1\.(?:(raw)|(tar)(?:\+(gzip|zstd))?)$`),
		kinds: map[string]string{kindWeight: kindWeight, kindWeightConfig: kindWeightConfig, kindCode: kindCode, kindDoc: kindDoc, kindDataset: kindDataset},
	},
	{
		// KitOps v1.15.0 pkg/lib/constants/mediatype; releases before 1.8 write no artifactType. The config is the Kitfile.
		name: FormatKitOps, configs: []string{"application/vnd.kitops.modelkit.config.v1+json"},
		artifactTypes: []string{"", "application/vnd.kitops.modelkit.manifest.v1+json"},
		layer:         lazyregexp.New(`^application/vnd\.kitops\.modelkit\.(model|modelpart|dataset|code|docs|mcpb)\.v1\.(?:(raw)|(tar))(?:\+(gzip|zstd))?$`),
		kinds:         map[string]string{"model": kindWeight, "modelpart": kindWeightConfig, "dataset": kindDataset, "code": kindCode, "docs": kindDoc, "mcpb": kindCode},
	},
	{
		// github.com/docker/model-spec spec.md, and docker/model-runner pkg/distribution/types for v0.2. A file without a name gets
		// the one that Docker Model Runner gives it (pkg/distribution/internal/bundle/unpack.go); a model.file always has one.
		name:          FormatDocker,
		configs:       []string{"application/vnd.docker.ai.model.config.v0.1+json", "application/vnd.docker.ai.model.config.v0.2+json"},
		artifactTypes: []string{"", "application/vnd.docker.ai.model.config.v0.1+json", "application/vnd.docker.ai.model.config.v0.2+json"},
		layer:         lazyregexp.New(`^application/vnd\.docker\.ai\.(gguf\.v3(?:\.lora|\.mmproj)?|safetensors|dduf|license|mmproj|chat\.template\.jinja|model\.file|vllm\.config|dir)(\.tar)?$`),
		kinds: map[string]string{"gguf.v3": kindWeight, "gguf.v3.lora": kindWeight, "gguf.v3.mmproj": kindWeight, "mmproj": kindWeight, "safetensors": kindWeight,
			"dduf": kindWeight, "license": kindDoc, "chat.template.jinja": kindWeightConfig, "model.file": kindWeightConfig,
			"vllm.config": kindWeightConfig, "dir": kindWeightConfig},
		names: map[string]layerNames{
			"gguf.v3": {"model.gguf", "model-%05d-of-%05d.gguf"}, "gguf.v3.lora": {"adapter.gguf", "adapter-%05d-of-%05d.gguf"},
			"gguf.v3.mmproj": {"model.mmproj", ""}, "mmproj": {"model.mmproj", ""}, "safetensors": {"model.safetensors", "model-%05d-of-%05d.safetensors"},
			"dduf": {"model.dduf", ""}, "license": {"LICENSE", "LICENSE-%d-of-%d"}, "chat.template.jinja": {"template.jinja", ""},
		},
	},
}

// formatOf finds the format of an image manifest by the media type of its config.
func formatOf(im *ocispec.Manifest) (*foreignFormat, error) {
	for _, f := range formats {
		if !contains(f.configs, im.Config.MediaType) {
			continue
		}
		if !contains(f.artifactTypes, im.ArtifactType) {
			return nil, fmt.Errorf("%w: its artifactType is %q, not %q", ErrNotPackage, im.ArtifactType, f.artifactTypes[len(f.artifactTypes)-1])
		}
		return f, nil
	}
	if im.ArtifactType != ArtifactType {
		return nil, fmt.Errorf("%w: its artifactType is %q and its config %q", ErrNotPackage, im.ArtifactType, im.Config.MediaType)
	}
	return nil, fmt.Errorf("%w: its config is %q, not %q", ErrNotPackage, im.Config.MediaType, MediaTypeConfig)
}

func contains(list []string, s string) bool {
	for _, entry := range list {
		if entry == s {
			return true
		}
	}
	return false
}

// parseLayers says how each layer is kept.
func (f *foreignFormat) parseLayers(layers []ocispec.Descriptor) ([]Layer, error) {
	out := make([]Layer, len(layers))
	count, seen := map[string]int{}, map[string]int{}
	for _, desc := range layers {
		count[f.word(desc)]++
	}
	for i, desc := range layers {
		word := f.word(desc)
		seen[word]++
		var err error
		if out[i], err = f.parseLayer(desc, f.names[word].name(seen[word], count[word])); err != nil {
			return nil, fmt.Errorf("%w: layer %d: %w", ErrNotPackage, i+1, err)
		}
	}
	return out, nil
}

// word is what a layer's media type calls its contents.
func (f *foreignFormat) word(desc ocispec.Descriptor) string {
	if match := f.layer.FindStringSubmatch(desc.MediaType); match != nil {
		return match[1]
	}
	return ""
}

func (n layerNames) name(i, count int) string {
	if count > 1 && n.many != "" {
		return fmt.Sprintf(n.many, i, count)
	}
	return n.one
}

// parseLayer reads a descriptor; name is what its file is called when it does not say so.
func (f *foreignFormat) parseLayer(desc ocispec.Descriptor, name string) (Layer, error) {
	if err := checkDescriptor(desc); err != nil {
		return Layer{}, err
	}
	if desc.Digest.Algorithm() != digest.SHA256 {
		return Layer{}, fmt.Errorf("%q is not a sha256 digest", desc.Digest)
	}
	if f.name == FormatModelPack && desc.MediaType == MediaTypeFileList {
		return Layer{Kind: kindDataset, list: true}, nil
	}
	match := f.layer.FindStringSubmatch(desc.MediaType)
	if match == nil {
		return Layer{}, fmt.Errorf("it is %q, which no %s package has", desc.MediaType, f.name)
	}
	l := Layer{Kind: f.kinds[match[1]]}
	if len(match) > 3 {
		l.Archive, l.Compression = match[3] != "", match[4]
	} else {
		l.Archive = match[2] != ""
	}
	if isArchive := match[1] == "dir" || match[1] == "vllm.config"; f.name == FormatDocker && isArchive != l.Archive {
		return Layer{}, fmt.Errorf("it is %q, which no %s package has", desc.MediaType, f.name)
	}
	if l.Archive {
		l.Path = cmp.Or(desc.Annotations[AnnotationPath], desc.Annotations[annotationPathCNAI])
		return l, nil
	}
	var err error
	l.Path, err = layerPath(desc)
	if errors.Is(err, errNoName) && name != "" {
		l.Path, err = name, nil
	}
	return l, err
}
