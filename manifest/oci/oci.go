// Package oci keeps models and datasets as OCI artifacts, in image layouts on disk and in
// registries: it packs and pulls trees and attaches and lists signed statements about them. It is
// the only door to oras-go; an artifact is an OCI descriptor and a store an oras target.
//
// # The artifact
//
// A package is an image manifest in the form of CNCF ModelPack (model-spec v0.0.7), one raw layer
// for each file, so that a layer's digest is the file's digest:
//
//	mediaType     application/vnd.oci.image.manifest.v1+json
//	artifactType  application/vnd.cncf.model.manifest.v1+json
//	config        application/vnd.cncf.model.config.v1+json
//	              {"descriptor": …, "modelfs": {"type": "layers", "diffIds": […]}, "config": …}
//	layers        application/vnd.cncf.model.{weight|weight.config|doc|code|dataset}.v1.raw
//	              annotations org.cncf.model.filepath and org.opencontainers.image.title,
//	              both the path inside the tree
//
// Layers stand in the order weight.config, weight, code, doc, dataset, by path inside each kind;
// diffIds are the layers' digests. Nothing comes from the clock, the owner, the modes or the
// directory's name: the same tree and options give the same manifest, byte for byte. A dataset is a
// package whose layers are all of the dataset kind.
//
// The tree of a package is that of its layers by the rule of package manifest: layers that other tools
// made of .git, .github, .gitattributes and .gitignore at the top level are verified and never
// written, and count for no dirHash. Pack makes none.
//
// # Packages of other tools
//
// Packages of other tools are read in their forms (see Package.Format): ModelPack, also by the names that it had before it came to the
// CNCF (vnd.cnai for vnd.cncf, org.cnai for org.cncf), and KitOps with tar archives as layers, compressed with gzip or zstd or not at
// all, and those of Docker Model Runner. Annotations that name a file differently are refused. The files of an archive are known, by
// name and sha256, once it was read; Package.Unread says of which layers that is so.
//
// # Datasets of many files
//
// A dataset of more than MaxRawFiles files has its files, in the order of their paths, in tar layers of at most 1,000 files and 256 MiB; a larger
// file stays a raw layer. Behind the raw layers come the tar layers, and last a list of the files in them:
//
//	layers  application/vnd.cncf.model.dataset.v1.raw  as above
//	        application/vnd.cncf.model.dataset.v1.tar  one or more
//	        application/vnd.mlseal.files.v1+json       one
//
// The list is JSON in one form, a file a line, sorted by path, which is the order of the layers too:
//
//	{"files":[
//	{"path":"a/1.json","size":12,"digest":"sha256:…","layer":0,"offset":512},
//	{"path":"a/2.json","size":7,"digest":"sha256:…","layer":0,"offset":1536}
//	]}
//
// layer is an index among the layers of the image manifest, offset where in it the contents begin. So one file can be fetched alone and verified by its
// own digest, and the dirHash, which is that of the directory, follows from the image manifest and the list. The annotations of these layers name them
// for tools that write every layer as a file, and are no paths of the tree.
//
// A tar is in one form too: pax headers (POSIX.1-2024) of regular files with mode 0644 and owner, group and time zero, extended only where a name or
// size needs it, zeros as padding, two blocks of zeros at the end. Its size and all offsets follow from the list, which is held to them;
// readers take no tar that differs from the one that would be written.
//
// # Car images
//
// Container runtimes that cannot mount raw layers (containerd, and KServe with it) mount a car: an OCI image with the same files.
//
//	mediaType    application/vnd.oci.image.manifest.v1+json, without an artifactType
//	config       application/vnd.oci.image.config.v1+json
//	             {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer]}}
//	layers       application/vnd.oci.image.layer.v1.tar, one
//	annotations  dev.mlseal.car.of, the digest of the package beside which it was made, or none
//
// The layer is a tar in the same form, with all files below models/ and directories (mode 0755) in front of the first file below each. No other image
// is taken for a car: the image manifest and the config must be, byte for byte, those that PackCar writes. So a car is its tree and nothing else, and
// statements about the tree's dirHash, which is computed from the layer, are statements about the car. The annotation is a hint where to look
// for them. A package and its car are never joined in an index, which other tools would read as a package without layers.
//
// # Statements
//
// A statement is a Sigstore bundle v0.3, attached as a referrer: an image manifest whose
// artifactType and config.artifactType are the bundle's media type, with the empty config, one layer
// that holds the bundle, and the package as its subject. See AttachBundle.
//
// # A layout on disk
//
// Every blob is written under a temporary name, hashed while it is written, synced and renamed; a
// file under its final name is whole. index.json is replaced the same way, under a lock that
// other processes of mlseal respect, and lists packages and their referrers in an order that does not
// depend on what came first. An entry that is the subject of a referrer carries the annotation
// "kind": "dev.cosignproject.cosign/image", by which cosign finds it.
package oci

import (
	"errors"

	"oras.land/oras-go/v2/errdef"
)

// Errors that callers branch on. Each message is one line and gives no advice: that is the command line's. A failure that a stranger's bytes can cause wraps ErrContent,
// ErrLimit, ErrNotPackage or ErrNotBundle, never ErrUnavailable.
var (
	// ErrReference says that a text is no reference; ReferenceForms names the forms.
	ErrReference = errors.New("not a reference")
	// ErrNotFound says that a layout, tag or digest is not there. It is oras-go's error.
	ErrNotFound = errdef.ErrNotFound
	// ErrNotLayout says that a directory is there, but is no OCI image layout.
	ErrNotLayout = errors.New("not an OCI image layout")
	// ErrReadOnly says that a store is an archive, which is written once, by WriteArchive.
	ErrReadOnly = errors.New("an archive can only be read")
	// ErrUnavailable says that a registry or the network failed, so that nothing is known.
	ErrUnavailable = errors.New("registry unavailable")
	// ErrContent says that bytes, a size or a media type are not what a descriptor says.
	ErrContent = errors.New("content does not match")
	// ErrLimit says that something is larger or more than this package reads.
	ErrLimit = errors.New("limit exceeded")
	// ErrNotPackage says that an artifact is not a package that mlseal can read.
	ErrNotPackage = errors.New("not a model or dataset package")
	// ErrNotPolicy says that an artifact is not a policy that was taken along.
	ErrNotPolicy = errors.New("not a policy")
	// ErrNotBundle says that a referrer is something else than a Sigstore bundle.
	ErrNotBundle = errors.New("not a Sigstore bundle")
	// ErrRefused says that a registry does not do what it was asked for, such as deleting.
	ErrRefused = errors.New("refused by the registry")
	// ErrReferred says that something else still refers to what should be removed.
	ErrReferred = errors.New("still referred to")
	// ErrCredentials says that a registry does not accept a user and password.
	ErrCredentials = errors.New("the registry does not accept the user name and password")
	// ErrCertificates says that a text holds no PEM certificates.
	ErrCertificates = errors.New("no PEM certificates")
	// ErrManifest says that something is neither an image manifest nor an index.
	ErrManifest = errors.New("neither an image manifest nor an index")
	// ErrExtra says that the destination of a pull holds files that are not in the package.
	ErrExtra = errors.New("files that are not in the package")
)

// MaxManifestBytes bounds an image manifest, an index and a config, in bytes. Registries refuse
// larger manifests (OCI distribution-spec v1.1, "Pushing Manifests": at least 4 megabytes).
const MaxManifestBytes = 4 << 20
