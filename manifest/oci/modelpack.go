package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/format"
)

// Names of CNCF ModelPack, model-spec v0.0.7. Its Go module lags behind, so they stand here.
const (
	ArtifactType     = "application/vnd.cncf.model.manifest.v1+json"
	MediaTypeConfig  = "application/vnd.cncf.model.config.v1+json"
	AnnotationPath   = "org.cncf.model.filepath"
	layerPrefix      = "application/vnd.cncf.model."
	layerSuffix      = ".v1.raw"
	kindWeightConfig = "weight.config"
	kindWeight       = "weight"
	kindCode         = "code"
	kindDoc          = "doc"
	kindDataset      = "dataset"
)

// Names of ModelPack before it came to the CNCF (github.com/CloudNativeAI/model-spec v0.0.6). modctl 0.2.2 writes them, for registries that know no others,
// and beside layers with the names above when it adds to a package that has those. They are read, never written.
const (
	artifactTypeCNAI    = "application/vnd.cnai.model.manifest.v1+json"
	mediaTypeConfigCNAI = "application/vnd.cnai.model.config.v1+json"
	annotationPathCNAI  = "org.cnai.model.filepath"
)

// Types of packages.
const (
	TypeModel   = "model"
	TypeDataset = "dataset"
	TypeCar     = "car" // an image that holds a tree as files; see PackCar
)

// layerOrder is the order in which the kinds of layers stand in an image manifest.
var layerOrder = []string{kindWeightConfig, kindWeight, kindCode, kindDoc, kindDataset}

// extensions sorts files into kinds. What is not here is weight.config: something small that stands
// beside the weights.
var extensions = kinds(map[string]string{
	kindWeight: "safetensors gguf ggml onnx onnx_data bin pt pth ckpt h5 hdf5 keras npz npy tflite pb msgpack " +
		"engine plan mlmodel pkl pickle joblib llamafile nemo ot params pdparams pdmodel caffemodel mnn tensors",
	kindWeightConfig: "json yaml yml toml txt model vocab merges tiktoken ini cfg conf jinja jinja2 proto xml",
	kindDoc:          "md markdown rst adoc pdf html htm png jpg jpeg gif svg webp bib docx",
	kindCode:         "py pyi pyx ipynb sh bash c cc cpp cu cuh h hpp go rs java js mjs ts lua r jl scala kt swift rb cs",
	kindDataset:      "jsonl ndjson parquet csv tsv arrow feather avro orc lance tfrecord tfrecords",
})

func kinds(table map[string]string) map[string]string {
	m := map[string]string{}
	for kind, list := range table {
		for _, extension := range strings.Fields(list) {
			m[extension] = kind
		}
	}
	return m
}

// docNames are documents whatever their extension.
var docNames = lazyregexp.New(`^(?i:readme|license|licence|copying|notice|changelog|authors|contributing|citation|use_policy|model_card|modelcard)([._-].*)?$`)

// kindOf says which kind of layer a file becomes. It looks at the name only, so that it is the
// same for everybody.
func kindOf(name, packageType string) string {
	if packageType == TypeDataset {
		return kindDataset
	}
	base := path.Base(name)
	if docNames.MatchString(base) {
		return kindDoc
	}
	switch strings.ToLower(base) {
	case "dockerfile", "makefile", "containerfile", "requirements.txt", "pyproject.toml", "setup.cfg":
		return kindCode
	}
	extension := strings.ToLower(strings.TrimPrefix(path.Ext(base), "."))
	if kind, ok := extensions[extension]; ok {
		return kind
	}
	return kindWeightConfig
}

// modelConfig is the config of a package. The schema of model-spec forbids other keys.
type modelConfig struct {
	Descriptor struct {
		Name string `json:"name,omitempty"`
	} `json:"descriptor"`
	ModelFS struct {
		Type    string          `json:"type"`
		DiffIDs []digest.Digest `json:"diffIds"`
	} `json:"modelfs"`
	Config struct {
		Architecture string `json:"architecture,omitempty"`
		Format       string `json:"format,omitempty"`
		ParamSize    string `json:"paramSize,omitempty"`
		Precision    string `json:"precision,omitempty"`
	} `json:"config"`
}

// image is a package before it is written.
type image struct {
	layers       []ocispec.Descriptor // with their annotations, in order
	configDesc   ocispec.Descriptor
	blobs        []imageBlob // that are no files: the config, and the list of the files in tars
	artifactType string      // empty for an image that runtimes take
	manifestDesc ocispec.Descriptor
	manifest     []byte
}

// imageBlob is a blob of a package that is held in memory.
type imageBlob struct {
	name string
	desc ocispec.Descriptor
	data []byte
}

// setConfig makes data the config.
func (img *image) setConfig(mediaType string, data []byte) {
	img.configDesc = describeBytes(mediaType, data)
	img.blobs = []imageBlob{{"config", img.configDesc, data}}
}

// headers tells what the header of a file of a tree says.
type headers func(manifest.File) (format.Info, error)

// newImage computes the image manifest and config of a tree, whose layers are followed by others. It writes nothing.
func newImage(header headers, m *manifest.Manifest, opts PackOptions, others []ocispec.Descriptor) (*image, error) {
	img := &image{layers: append(layersOf(m, opts.Type), others...), artifactType: ArtifactType}
	var config modelConfig
	config.Descriptor.Name = opts.Name
	config.ModelFS.Type = "layers"
	for _, layer := range img.layers {
		config.ModelFS.DiffIDs = append(config.ModelFS.DiffIDs, layer.Digest)
	}
	if opts.Type == TypeModel {
		if err := describe(&config, header, m); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	img.setConfig(MediaTypeConfig, data)
	if img.manifest, err = marshalImage(img.configDesc, img.layers); err != nil {
		return nil, err
	}
	img.manifestDesc = describeBytes(ocispec.MediaTypeImageManifest, img.manifest)
	return img, checkImageSize(len(m.Files), max(len(img.manifest), len(data)))
}

func marshalImage(config ocispec.Descriptor, layers []ocispec.Descriptor) ([]byte, error) {
	return json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactType,
		Config:       config,
		Layers:       layers,
	})
}

func checkImageSize(files, size int) error {
	if size > MaxManifestBytes {
		return tooLarge(files, int64(size))
	}
	return nil
}

func tooLarge(files int, size int64) error {
	return fmt.Errorf("oci: %w: %d files need a manifest of %d bytes, registries take %d", ErrLimit, files, size, MaxManifestBytes)
}

func describeBytes(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// layersOf makes one layer of each file. Both annotations are needed: without the title `oras
// pull` writes no file and exits 0, and model-spec asks for the path.
func layersOf(m *manifest.Manifest, packageType string) []ocispec.Descriptor {
	layers := make([]ocispec.Descriptor, len(m.Files))
	for i, f := range m.Files {
		layers[i] = ocispec.Descriptor{
			MediaType:   layerPrefix + kindOf(f.Path, packageType) + layerSuffix,
			Digest:      f.Digest,
			Size:        f.Size,
			Annotations: map[string]string{AnnotationPath: f.Path, ocispec.AnnotationTitle: f.Path},
		}
	}
	slices.SortFunc(layers, func(a, b ocispec.Descriptor) int {
		return cmp.Or(
			cmp.Compare(slices.Index(layerOrder, layerKind(a.MediaType)), slices.Index(layerOrder, layerKind(b.MediaType))),
			cmp.Compare(a.Annotations[AnnotationPath], b.Annotations[AnnotationPath]))
	})
	return layers
}

// layerKind returns the kind that a layer's media type names, or "".
func layerKind(mediaType string) string {
	kind, ok := strings.CutPrefix(mediaType, layerPrefix)
	if kind, ok2 := strings.CutSuffix(kind, layerSuffix); ok && ok2 && slices.Contains(layerOrder, kind) {
		return kind
	}
	return ""
}

// describe fills in what the headers of the files say. What they do not say stays out.
func describe(config *modelConfig, header headers, m *manifest.Manifest) error {
	byFormat, byPrecision := map[string]int64{}, map[string]int64{}
	var tensors []string
	var parameters int64
	for _, f := range m.Files {
		if !format.Known(f.Path) {
			continue
		}
		info, err := header(f)
		if err != nil {
			return err
		}
		if info.Format != "" {
			byFormat[info.Format] += f.Size
		}
		if info.Format == format.Safetensors {
			tensors = append(tensors, f.Path)
			parameters += info.Parameters
			byPrecision[info.Precision] += info.Parameters
		}
		if info.Architecture != "" && (config.Config.Architecture == "" || f.Path == "config.json") {
			config.Config.Architecture = info.Architecture
		}
	}
	config.Config.Format = format.Most(byFormat)
	config.Config.Precision = format.Most(byPrecision)
	if oneModel(tensors) {
		config.Config.ParamSize = paramSize(parameters)
	}
	return nil
}

var shard = lazyregexp.New(`^(.*)-[0-9]{5}-of-([0-9]{5})\.safetensors$`)

// oneModel reports whether files are the one file or all shards of one model: the parameters of
// variants must not be added up.
func oneModel(files []string) bool {
	if len(files) == 1 {
		return !shard.MatchString(files[0]) || strings.HasSuffix(files[0], "-00001-of-00001.safetensors")
	}
	first := ""
	for _, name := range files {
		parts := shard.FindStringSubmatch(name)
		if parts == nil || parts[2] != fmt.Sprintf("%05d", len(files)) {
			return false
		}
		if first == "" {
			first = parts[1]
		}
		if parts[1] != first {
			return false
		}
	}
	return len(files) > 0
}

// paramSize is model-spec docs/config.md: "a combination of a decimal count and a single-letter
// scale-prefix", with "up to one digit after the decimal point". Fewer than 1000 have no form.
func paramSize(n int64) string {
	for _, scale := range []struct {
		unit   int64
		letter string
	}{{1e15, "q"}, {1e12, "t"}, {1e9, "b"}, {1e6, "m"}, {1e3, "k"}} {
		if n >= scale.unit {
			tenths := n / (scale.unit / 10) // cut, not rounded: 999,999 stays below 1m
			return strings.TrimSuffix(fmt.Sprintf("%d.%d", tenths/10, tenths%10), ".0") + scale.letter
		}
	}
	return ""
}

// maxConfigBytes bounds the config of a package.
const maxConfigBytes = 1 << 20

// Description is what the config of a CNCF ModelPack package says of the model; all may be empty.
type Description struct{ Name, Architecture, Format, ParamSize, Precision string }

// Describe reads the config of a package, by its digest. What it says is the word of whoever packed it. A package in another format than ModelPack has
// no description.
func (p *Package) Describe(ctx context.Context, target Target) (Description, error) {
	desc := p.Manifest.Config
	if desc.MediaType != MediaTypeConfig && desc.MediaType != mediaTypeConfigCNAI {
		return Description{}, nil
	}
	data, err := fetchBytes(ctx, target, desc, maxConfigBytes)
	if err != nil {
		return Description{}, fmt.Errorf("oci: config: %w", err)
	}
	var c modelConfig
	if err := strictjson.Unmarshal(data, &c, strictjson.Limits{MaxBytes: maxConfigBytes}); err != nil {
		return Description{}, fmt.Errorf("oci: config: %w: %w", ErrNotPackage, err)
	}
	return Description{c.Descriptor.Name, c.Config.Architecture, c.Config.Format, c.Config.ParamSize, c.Config.Precision}, nil
}
