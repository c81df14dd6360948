package oci

import (
	"cmp"
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

// Package is a package whose image manifest was read and verified. Its raw layers were not: see
// VerifyContent and Pull.
type Package struct {
	Descriptor ocispec.Descriptor // of the image manifest
	Manifest   ocispec.Manifest   // the image manifest
	Format     string             // the form in which it is written: FormatModelPack and others
	Layers     []Layer            // how the layers of Manifest are kept, in their order
	Tree       *manifest.Manifest // the files, from the layers; nil while there are Unread ones
	LeftOut    []string           // paths of layers that are no part of a tree (manifest.GitNames), sorted
	Type       string             // TypeModel, or TypeDataset when every layer is of the dataset kind, or TypeCar
	Car        *Car               // of a car image; nil for other packages

	tars []*tarLayer // the layers of which a list says what is in them
}

// FetchPackage is OpenPackage and Package.Read: it returns a package whose files are all known.
func FetchPackage(ctx context.Context, target Target, desc ocispec.Descriptor) (*Package, error) {
	p, err := OpenPackage(ctx, target, desc)
	if err != nil {
		return nil, err
	}
	return p, p.Read(ctx, target, nil)
}

// OpenPackage reads the image manifest that desc describes, of at most MaxManifestBytes, and verifies
// it. It reads no layers: the files of archives, of a car image and of a dataset of many files are unknown (see Unread). An artifact that is no package in the form of this package's documentation fails with
// ErrNotPackage, as does one that names its files in a way that a tree cannot, or that has no file
// which is part of a tree.
func OpenPackage(ctx context.Context, target Target, desc ocispec.Descriptor) (*Package, error) {
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
	case im.Subject != nil:
		return nil, fmt.Errorf("%w: it is attached to another artifact", ErrNotPackage)
	case len(im.Layers) == 0:
		return nil, fmt.Errorf("%w: it holds no files", ErrNotPackage)
	}
	if err := checkDescriptor(p.Manifest.Config); err != nil {
		return nil, fmt.Errorf("%w: config: %w", ErrNotPackage, err)
	}
	if p.Manifest.Config.Digest.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("%w: its config's digest is %q, not a sha256", ErrNotPackage, p.Manifest.Config.Digest)
	}
	return &p, p.parseLayers()
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

// parseLayers says how the layers are kept, and makes the tree of them when that is known without reading them.
func (p *Package) parseLayers() error {
	if isImage(p.Manifest) {
		return p.parseCar()
	}
	f, err := formatOf(&p.Manifest)
	if err != nil {
		return err
	}
	p.Format, p.Type = f.name, TypeDataset
	if p.Layers, err = f.parseLayers(p.Manifest.Layers); err != nil {
		return err
	}
	var total int64
	for i, desc := range p.Manifest.Layers {
		l := &p.Layers[i]
		if l.Kind != kindDataset {
			p.Type = TypeModel
		}
		if desc.Size > math.MaxInt64-total {
			return fmt.Errorf("%w: the sizes of its layers overflow", ErrNotPackage)
		}
		total += desc.Size
		if !l.opaque() {
			l.Files = []manifest.File{{Path: l.Path, Size: desc.Size, Digest: desc.Digest}}
		}
	}
	if slices.ContainsFunc(p.Layers, func(l Layer) bool { return l.list }) {
		return p.checkShards()
	}
	if len(p.Unread()) > 0 {
		return nil
	}
	return p.complete(nil)
}

// ArtifactType is the type of the image manifest: its artifactType, or the config's media type where it has none (OCI image-spec
// v1.1, manifest.md, "Guidelines for Artifact Usage"; distribution-spec v1.1, "Listing Referrers").
func (p *Package) ArtifactType() string {
	return cmp.Or(p.Manifest.ArtifactType, p.Manifest.Config.MediaType)
}

// Unread lists the layers, by their place, that must be read before their files are known.
func (p *Package) Unread() []int {
	var list []int
	listed := p.list() // which says what is in the other layers
	for i := range p.Layers {
		if p.Layers[i].Files == nil && (listed < 0 || i == listed) {
			list = append(list, i)
		}
	}
	return list
}

// Read reads the layers whose files are not known yet, verifies their digests, and completes Tree and LeftOut. An archive that holds
// anything but files and directories, a name that no tree may hold, or a file twice fails with ErrNotPackage, one that is larger or
// more than is read with ErrLimit. Of a dataset of many files only the list is read. A list that contradicts its layers, and a car whose layer is not in
// the one form, fail with ErrContent. progress is told the bytes read; it may be nil.
func (p *Package) Read(ctx context.Context, target Target, progress func(n int)) error {
	switch {
	case len(p.Unread()) == 0:
		return nil
	case p.Car != nil:
		return p.about(p.readCar(ctx, target, progress, discardFile))
	case p.list() >= 0:
		return p.about(p.readList(ctx, target, progress))
	}
	u := newUnpacker(target, progress, discardFile)
	if err := p.unpack(ctx, u, p.Unread()); err != nil {
		return err
	}
	return p.complete(u.dirs)
}

// about says which package an error is about.
func (p *Package) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("oci: %s: %w", p.Descriptor.Digest, err)
}

// unpack reads the layers with u and keeps what files they hold.
func (p *Package) unpack(ctx context.Context, u *unpacker, layers []int) error {
	for _, i := range layers {
		files, err := u.layer(ctx, p.Manifest.Layers[i], &p.Layers[i])
		if err != nil {
			return fmt.Errorf("oci: layer %d: %w", i+1, err)
		}
		p.Layers[i].Files = append([]manifest.File{}, files...)
	}
	return nil
}

// complete makes the tree of the layers, all of which were read; dirs are the directories that archives name.
func (p *Package) complete(dirs map[string]bool) error {
	var files []manifest.File
	for i := range p.Layers {
		files = append(files, p.Layers[i].Files...)
	}
	all, err := newTree(files)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotPackage, err)
	}
	tree := &manifest.Manifest{}
	var leftOut []string
	for _, f := range all.Files {
		switch {
		case dirs[f.Path]:
			return fmt.Errorf("%w: %q is a file and a directory", ErrNotPackage, f.Path)
		case inGit(f.Path):
			leftOut = append(leftOut, f.Path)
		default:
			tree.Files = append(tree.Files, f)
		}
	}
	if len(tree.Files) == 0 {
		return fmt.Errorf("%w: it holds nothing but git's own files", ErrNotPackage)
	}
	p.Tree, p.LeftOut = tree, leftOut
	return nil
}

// inGit reports whether the path is one of the git files at the top level, or below one: those are part of
// no tree (OMS v1.0 section 5.2), wherever it is found, so that it has one dirHash.
func inGit(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains(manifest.GitNames(), top)
}

// nameAnnotations are those that name the file of a layer.
var nameAnnotations = []string{AnnotationPath, annotationPathCNAI, ocispec.AnnotationTitle}

// errNoName is the error of a layer without a name.
var errNoName = errors.New("it has neither " + AnnotationPath + " nor " + ocispec.AnnotationTitle)

// layerPath returns the path of a layer's file. Tools read one annotation or the other, so two that
// disagree would give two trees the same digest.
func layerPath(layer ocispec.Descriptor) (string, error) {
	from := ""
	for _, annotation := range nameAnnotations {
		name, ok := layer.Annotations[annotation]
		switch {
		case !ok:
		case from == "":
			from = annotation
		case name != layer.Annotations[from]:
			return "", fmt.Errorf("%s is %q and %s is %q", from, layer.Annotations[from], annotation, name)
		}
	}
	if from == "" {
		return "", errNoName
	}
	return layer.Annotations[from], nil // newTree checks it
}
