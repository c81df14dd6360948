package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
)

// Package is a package whose image manifest was read and verified. Its layers were not: see
// VerifyContent and Pull.
type Package struct {
	Descriptor ocispec.Descriptor // of the image manifest
	Manifest   ocispec.Manifest   // the image manifest
	Tree       *manifest.Manifest // the files, from the layers
	LeftOut    []string           // paths of layers that are no part of a tree (manifest.GitNames), sorted
	Type       string             // TypeModel, or TypeDataset when every layer is of the dataset kind, or TypeCar
	Car        *Car               // of a car image; nil for other packages

	tars   []*tarLayer     // layers that hold several files
	raw    []manifest.File // files that are layers
	shards []int           // indexes of the layers that are tars
	list   int             // index of the layer that lists their files
}

// FetchPackage is FetchPackageWith without options.
func FetchPackage(ctx context.Context, target Target, desc ocispec.Descriptor) (*Package, error) {
	return FetchPackageWith(ctx, target, desc, FetchOptions{})
}

// FetchOptions of FetchPackageWith. The zero value is sound.
type FetchOptions struct {
	Total    func(bytes int64) // told once how many bytes of a car's layer will be read; may be nil
	Progress func(n int)       // told the bytes of a car's layer; may be nil
}

// FetchPackageWith reads the image manifest that desc describes, of at most MaxManifestBytes, and verifies
// it. Of a car image it reads and verifies everything: what it holds, only its layer says. An artifact that is no package in the form of this package's documentation fails with
// ErrNotPackage, as does one that names its files in a way that a tree cannot, or that has no file
// which is part of a tree.
func FetchPackageWith(ctx context.Context, target Target, desc ocispec.Descriptor, opts FetchOptions) (*Package, error) {
	// OCI image-spec v1.1: an index lists several artifacts, and its media type says so. The same
	// bytes must not be read as one thing here and as another elsewhere.
	if desc.MediaType != ocispec.MediaTypeImageManifest {
		return nil, fmt.Errorf("oci: %s: %w: its media type is %q, not that of an image manifest", desc.Digest, ErrNotPackage, desc.MediaType)
	}
	data, err := fetchBytes(ctx, target, desc, MaxManifestBytes)
	if err != nil {
		return nil, fmt.Errorf("oci: image manifest: %w", err)
	}
	p, err := parsePackage(data)
	if err == nil && p.Car != nil {
		p.Descriptor = plain(desc)
		if opts.Total != nil {
			opts.Total(p.Manifest.Layers[0].Size)
		}
		err = p.readCar(ctx, target, opts.Progress)
	}
	if err == nil && len(p.shards) > 0 {
		err = p.readList(ctx, target)
	}
	if err != nil {
		return nil, fmt.Errorf("oci: %s: %w", desc.Digest, err)
	}
	p.Descriptor = plain(desc)
	return p, nil
}

// descriptorKeys are the keys of a descriptor that count here; no other spelling may stand for them.
var descriptorKeys = []string{"mediaType", "digest", "size", "annotations", "artifactType", "data", "urls", "platform"}

// parsePackage reads an image manifest. It trusts nothing and verifies no digest.
func parsePackage(data []byte) (*Package, error) {
	if err := checkImageJSON(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotPackage, err)
	}
	var p Package
	if err := json.Unmarshal(data, &p.Manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotPackage, err)
	}
	switch im := p.Manifest; {
	case im.SchemaVersion != 2 || im.MediaType != ocispec.MediaTypeImageManifest:
		return nil, fmt.Errorf("%w: schemaVersion %d and mediaType %q are not those of an image manifest", ErrNotPackage, im.SchemaVersion, im.MediaType)
	case isImage(im):
		return &p, p.checkCar()
	case im.ArtifactType != ArtifactType:
		return nil, fmt.Errorf("%w: its artifactType is %q, not %q", ErrNotPackage, im.ArtifactType, ArtifactType)
	case im.Config.MediaType != MediaTypeConfig:
		return nil, fmt.Errorf("%w: its config is %q, not %q", ErrNotPackage, im.Config.MediaType, MediaTypeConfig)
	case im.Config.Digest.Algorithm() != digest.SHA256:
		return nil, fmt.Errorf("%w: its config's digest is %q, not a sha256", ErrNotPackage, im.Config.Digest)
	case im.Subject != nil:
		return nil, fmt.Errorf("%w: it is attached to another artifact", ErrNotPackage)
	case len(im.Layers) == 0:
		return nil, fmt.Errorf("%w: it holds no files", ErrNotPackage)
	}
	if err := checkDescriptor(p.Manifest.Config); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrNotPackage, err)
	}
	return &p, p.readLayers()
}

// checkImageJSON refuses texts that two readers could take for two manifests.
func checkImageJSON(data []byte) error {
	if err := strictjson.Check(data, strictjson.Limits{MaxBytes: MaxManifestBytes}); err != nil {
		return err
	}
	if err := strictjson.CheckKeys(data, "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations", "manifests"); err != nil {
		return err
	}
	var raw struct {
		Config    json.RawMessage   `json:"config"`
		Layers    []json.RawMessage `json:"layers"`
		Manifests json.RawMessage   `json:"manifests"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if raw.Manifests != nil {
		return errors.New("it is an index and an image manifest at once")
	}
	for _, desc := range append(raw.Layers, raw.Config) {
		if len(desc) == 0 {
			continue // found missing later
		}
		if err := strictjson.CheckKeys(desc, descriptorKeys...); err != nil {
			return err
		}
	}
	return nil
}

// readLayers makes the tree of the layers, unless some are tars: then a layer lists their files, and readList makes it.
func (p *Package) readLayers() error {
	p.Type = TypeDataset
	var total int64
	lists := 0
	for i, layer := range p.Manifest.Layers {
		kind := layerKind(layer.MediaType)
		isTar, isList := layer.MediaType == MediaTypeDatasetTar, layer.MediaType == MediaTypeFileList
		if kind == "" && !isTar && !isList {
			return fmt.Errorf("%w: layer %d is %q; only raw layers, one for each file, are read", ErrNotPackage, i+1, layer.MediaType)
		}
		if kind != kindDataset && kind != "" {
			p.Type = TypeModel
		}
		if err := checkDescriptor(layer); err != nil {
			return fmt.Errorf("%w: layer %d: %w", ErrNotPackage, i+1, err)
		}
		if layer.Size > math.MaxInt64-total {
			return fmt.Errorf("%w: the sizes of its layers overflow", ErrNotPackage)
		}
		total += layer.Size
		switch {
		case isTar:
			p.shards = append(p.shards, i)
			continue
		case isList:
			p.list = i
			lists++
			continue
		}
		name, err := layerPath(layer)
		if err != nil {
			return fmt.Errorf("%w: layer %d: %w", ErrNotPackage, i+1, err)
		}
		p.raw = append(p.raw, manifest.File{Path: name, Size: layer.Size, Digest: layer.Digest})
	}
	switch {
	case len(p.shards) > 0 && lists != 1 || len(p.shards) == 0 && lists != 0:
		return fmt.Errorf("%w: it has %d tar layers and %d lists of their files", ErrNotPackage, len(p.shards), lists)
	case len(p.shards) > 0:
		return nil
	}
	return p.setTree(p.raw)
}

// setTree makes the tree of all files in the package.
func (p *Package) setTree(files []manifest.File) error {
	all, err := newTree(files)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotPackage, err)
	}
	p.Tree = &manifest.Manifest{}
	for _, f := range all.Files {
		if inGit(f.Path) {
			p.LeftOut = append(p.LeftOut, f.Path)
		} else {
			p.Tree.Files = append(p.Tree.Files, f)
		}
	}
	if len(p.Tree.Files) == 0 {
		return fmt.Errorf("%w: it holds nothing but git's own files", ErrNotPackage)
	}
	return nil
}

// inGit reports whether the path is one of the git files at the top level, or below one: those are part of
// no tree (OMS v1.0 section 5.2), wherever it is found, so that it has one dirHash.
func inGit(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains(manifest.GitNames(), top)
}

// layerPath returns the path of a layer's file. Tools read one annotation or the other, so two that
// disagree would give two trees the same digest.
func layerPath(layer ocispec.Descriptor) (string, error) {
	name, hasPath := layer.Annotations[AnnotationPath]
	title, hasTitle := layer.Annotations[ocispec.AnnotationTitle]
	switch {
	case !hasPath && !hasTitle:
		return "", fmt.Errorf("it has neither %s nor %s", AnnotationPath, ocispec.AnnotationTitle)
	case hasPath && hasTitle && name != title:
		return "", fmt.Errorf("%s is %q and %s is %q", AnnotationPath, name, ocispec.AnnotationTitle, title)
	case !hasPath:
		name = title
	}
	return name, nil // newTree checks it
}
