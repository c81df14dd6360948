package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// AnnotationCarOf names, on a car image, the package that it was made beside: the digest of its image manifest. It is a hint where to look for
// statements. Nothing follows from it: that both hold one tree, their dirHash says.
const AnnotationCarOf = "dev.mlseal.car.of"

// CarRoot is the directory of a car in which the tree stands. KServe looks for models there.
const CarRoot = "models"

// DefaultArchitecture is that of a car when nothing else is asked for (Go's name, as OCI image-spec v1.1, config.md, wants).
const DefaultArchitecture = "amd64"

// whiteout begins names by which a layer removes files of the layers below (OCI image-spec v1.1, layer.md, "Whiteouts"): no
// file of a car can have one.
const whiteout = ".wh."

// carForm is that of a car's layer.
var carForm = tarForm{root: CarRoot, dirs: true}

// Car is what a car image says beside its tree.
type Car struct {
	Of           digest.Digest // of the package that it was made beside, a hint; empty when it names none
	Architecture string        // in Go's names
}

// CarOptions of PackCar. The zero value makes a car for amd64 without a tag that names no package.
type CarOptions struct {
	Tag          string        // put on the image; may be empty
	Of           digest.Digest // written as AnnotationCarOf; empty for none
	Architecture string        // empty for DefaultArchitecture
	Progress     func(n int)   // told the bytes handled; may be nil
	// Ready, when it is not nil, is called once the layer is written, before the image is visible. Its error ends PackCar.
	Ready func(ocispec.Descriptor) error
}

var architecture = lazyregexp.New(`^[a-z0-9]{1,32}$`)

// CheckArchitecture refuses what cannot be the name of an architecture.
func CheckArchitecture(name string) error {
	if !architecture.MatchString(name) {
		return fmt.Errorf("oci: %q is not an architecture, as amd64 and arm64 are", name)
	}
	return nil
}

// PackCar writes the tree m, whose files stand below fsys, to target as a car: an OCI image that container runtimes can mount, with all
// files below the directory CarRoot. It returns the descriptor of its image manifest, which is the same for the same tree, Of and Architecture.
//
// The image has one layer, an uncompressed tar in the one form that FetchPackage reads, and a config that says nothing but the platform; FetchPackage
// takes no other image for a car. So a car is its tree, whoever made it: what is true of the tree is true of the car. Each file is read once, and verified while it is written;
// one that is not what m says fails with manifest.ErrChanged.
// A tree that Pack refuses, or with a name that begins with ".wh.", fails with manifest.ErrName.
func PackCar(ctx context.Context, target Target, fsys fs.FS, m *manifest.Manifest, opts CarOptions) (ocispec.Descriptor, error) {
	if err := (PackOptions{Tag: opts.Tag}).check(); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := checkPaths(m); err != nil {
		return ocispec.Descriptor{}, err
	}
	opts.Architecture = cmp.Or(opts.Architecture, DefaultArchitecture)
	if err := CheckArchitecture(opts.Architecture); err != nil {
		return ocispec.Descriptor{}, err
	}
	if err := checkWhiteouts(m); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("oci: %w", err)
	}
	ball, err := newTarball(carForm, m.Files)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	to, err := newSink(target, PackOptions{ReadOnce: true})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err := writeCar(ctx, to, ball, fsys, opts)
	if err != nil {
		to.discard(context.WithoutCancel(ctx))
	}
	return desc, err
}

func writeCar(ctx context.Context, to sink, ball *tarball, fsys fs.FS, opts CarOptions) (ocispec.Descriptor, error) {
	files := filesBelow(fsys)
	var img *image
	const attempts = 3
	for i := range attempts {
		d, err := putTar(ctx, to, ball, files, opts.Progress)
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("oci: car: %w", err)
		}
		layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: d, Size: ball.size}
		if img, err = newCar(layer, opts); err != nil {
			return ocispec.Descriptor{}, err
		}
		if opts.Ready != nil && i == 0 {
			if err := opts.Ready(img.manifestDesc); err != nil {
				return ocispec.Descriptor{}, err
			}
		}
		if err = to.publish(ctx, img, opts.Tag); err == nil {
			break
		}
		if !errors.Is(err, errBlobGone) || i == attempts-1 {
			return ocispec.Descriptor{}, err
		}
		opts.Progress = nil // it was told
	}
	return img.manifestDesc, nil
}

func checkWhiteouts(m *manifest.Manifest) error {
	for _, f := range m.Files {
		for _, element := range strings.Split(f.Path, "/") {
			if strings.HasPrefix(element, whiteout) {
				return fmt.Errorf("%q: %w: in an image, names with %s in front remove files", f.Path, manifest.ErrName, whiteout)
			}
		}
	}
	return nil
}

// carConfig is the config of a car, in the one form that is read: no command, no user, no environment.
func carConfig(layer digest.Digest, architecture string) ([]byte, error) {
	return json.Marshal(ocispec.Image{
		Platform: ocispec.Platform{Architecture: architecture, OS: "linux"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer}},
	})
}

func newCar(layer ocispec.Descriptor, opts CarOptions) (*image, error) {
	img := &image{layers: []ocispec.Descriptor{layer}}
	config, err := carConfig(layer.Digest, opts.Architecture)
	if err != nil {
		return nil, err
	}
	img.setConfig(ocispec.MediaTypeImageConfig, config)
	im := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    img.configDesc,
		Layers:    img.layers,
	}
	if opts.Of != "" {
		im.Annotations = map[string]string{AnnotationCarOf: opts.Of.String()}
	}
	if img.manifest, err = json.Marshal(im); err != nil {
		return nil, err
	}
	img.manifestDesc = describeBytes(ocispec.MediaTypeImageManifest, img.manifest)
	return img, nil
}

// isImage tells images that run or can be mounted from other artifacts (OCI image-spec v1.1, manifest.md, "Guidelines for Artifact Usage").
func isImage(im ocispec.Manifest) bool {
	return im.ArtifactType == "" && im.Config.MediaType == ocispec.MediaTypeImageConfig
}

// parseCar reads what the image manifest of a car says. What the layer holds is not known yet.
func (p *Package) parseCar() error {
	im := p.Manifest
	if len(im.Layers) != 1 || im.Layers[0].MediaType != ocispec.MediaTypeImageLayer {
		return fmt.Errorf("%w: it is an image, and no car: that has one layer, an uncompressed tar", ErrNotPackage)
	}
	if err := checkDescriptor(im.Layers[0]); err != nil {
		return fmt.Errorf("%w: %w", ErrNotPackage, err)
	}
	if d := im.Layers[0].Digest; d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: %q is not a sha256", ErrNotPackage, d)
	}
	p.Type, p.Format, p.Car, p.Layers = TypeCar, FormatCar, &Car{}, []Layer{{Archive: true}}
	if of := digest.Digest(im.Annotations[AnnotationCarOf]); of.Validate() == nil && of.Algorithm() == digest.SHA256 {
		p.Car.Of = of
	}
	return nil
}

// readCar reads and verifies the config and the whole layer of a car, which say what is in it, and gives its files to put. When it fails
// nothing that put got is worth anything.
func (p *Package) readCar(ctx context.Context, target Target, progress func(int), put putFile) error {
	if err := p.readArchitecture(ctx, target); err != nil {
		return err
	}
	u := &unpacker{put: put}
	files := []manifest.File{}
	err := readTar(ctx, target, p.Manifest.Layers[0], carForm, progress, func(f tarFile, contents io.Reader) error {
		read, err := u.file(f.Path, contents)
		if err == nil && read.Size != f.Size {
			err = fmt.Errorf("%w: tar: it ends within %q", ErrContent, f.Path)
		}
		files = append(files, read)
		return err
	})
	if err != nil {
		return fmt.Errorf("car: %w", err)
	}
	p.Layers[0].Files = files
	if err := p.complete(nil); err != nil {
		return err
	}
	// A mounted car has everything that is in the layer.
	if len(p.LeftOut) > 0 {
		return fmt.Errorf("%w: car: %q: a tree leaves git's files out, and whoever mounts the image finds them", ErrNotPackage, p.LeftOut[0])
	}
	if err := checkWhiteouts(p.Tree); err != nil {
		return fmt.Errorf("%w: car: %w", ErrNotPackage, err)
	}
	return nil
}

// readArchitecture reads the config, and holds the whole image to the one form, so that nothing in it bears on what it does.
func (p *Package) readArchitecture(ctx context.Context, target Target) error {
	data, err := fetchBytes(ctx, target, p.Manifest.Config, MaxManifestBytes)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var config ocispec.Image
	if err := json.Unmarshal(data, &config); err != nil || !architecture.MatchString(config.Architecture) {
		return fmt.Errorf("%w: the config of the image cannot be read, or names no architecture", ErrNotPackage)
	}
	p.Car.Architecture = config.Architecture
	img, err := newCar(plain(p.Manifest.Layers[0]), CarOptions{Of: p.Car.Of, Architecture: config.Architecture})
	if err != nil {
		return err
	}
	if img.manifestDesc.Digest != p.Descriptor.Digest {
		return fmt.Errorf("%w: it is an image, and no car: its config or annotations say more than a car's do, or it is written in another way", ErrNotPackage)
	}
	return nil
}
