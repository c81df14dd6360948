package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/hub"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

// packFlags say how a tree is packed, and what is signed about it in the same read.
type packFlags struct {
	kind, name, output string
	link               bool
	key                signWithFlags
	oms                signFlags
	attest             []string
	car                carFlags
	imports            importFlags
	cache              cacheFlags
	store              storeFlags
}

func (a *app) packCommand() *cobra.Command {
	var f packFlags
	cmd := &cobra.Command{
		Use:   "pack PATH|hf://REPO[@REVISION] [REF]",
		Short: "Package a directory, a file, or a repository of a Hugging Face hub as an OCI artifact, and sign it in the same read",
		Long: `Package a directory or file as a CNCF ModelPack artifact: one raw layer a file, no times, owners or modes, so that
the same files give the same digest on every machine and day. REF is an OCI layout on disk (oci:DIR:TAG, made when
it is missing) or a registry (registry/repo:tag). Without REF nothing is written: the digests that the package would have are printed.

Each file is read once: it is hashed while it is written or sent. With --key or --keyless the package is signed as sign does, and
--attest TYPE=FILE attaches statements as attest does; --signature FILE also writes the OMS bundle of the directory. Nothing is visible
under REF unless everything could be signed. A file that did not change since an earlier run is not read again where REF has its bytes (mlseal cache).

--link puts hard links into a layout on the same file system instead of copies. They take no room; a file that is edited in place afterwards
alters the package, which verify and pull then refuse.

With --car an image of the same files is made beside it, for container runtimes that cannot mount raw layers: containerd, and KServe.
It takes the room of the files once more, and they are read once more for it. It is signed, verified and pulled like a package, and what is signed in the same
read is about both.

A dataset of more than 5,000 files is grouped into tar layers with a list of the files, so that each one can still be pulled and verified alone.

The files of hf://ORG/NAME are downloaded straight into the package and held to what the hub publishes of them, and with --oms-key or another --oms flag
to the publisher's signature. With --key a statement that says where they came from is attached too.

PATH may be in an object store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX. Its objects are read there, straight into the package.`,
		Example: "  mlseal pack ./model oci:store:v1\n  mlseal pack ./model oci:store:v1 --car\n  mlseal pack ./data oci:store:data-v1 --type dataset\n  mlseal pack ./model -o digest\n" +
			"  mlseal pack ./model registry.example/bot:v1 --key trainer.key --attest evaluation=evaluation.json --signature model.sig\n" +
			"  mlseal pack hf://acme/llm@v1.0 oci:store:llm-v1 --oms-key acme.pub --key trainer.key\n  mlseal pack s3://models/llm oci:store:llm-v1",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return takes("PATH", "REF")(cmd, args)
		},
	}
	cmd.Flags().Var(&choice{&f.kind, []string{"model", "dataset"}}, "type", "what it is: model or dataset (default model, or what the hub says)")
	cmd.Flags().StringVar(&f.name, "name", "", "name to write into the artifact (part of its digest)")
	cmd.Flags().BoolVar(&f.link, "link", false, "put hard links to the files into the layout instead of copies")
	cmd.Flags().StringArrayVar(&f.attest, "attest", nil, "TYPE=FILE: attach a signed statement with the predicate in FILE (repeatable)")
	f.oms.addOMS(cmd, "also write the OMS bundle of the directory or file here")
	f.key.add(cmd)
	outputFlag(cmd, &f.output, "text", "json", "digest")
	f.car.add(cmd)
	f.imports.add(cmd)
	f.cache.add(cmd)
	f.store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if !hub.IsReference(args[0]) {
			if err := refuseImportFlags(cmd); err != nil {
				return err
			}
		}
		if err := f.car.check(cmd, append(args, "")[1]); err != nil {
			return err
		}
		return a.pack(cmd.Context(), args[0], append(args, "")[1], f)
	})
	return cmd
}

// reference is where the package goes: nowhere when refArg is empty. It refuses flags that would do nothing.
func (f *packFlags) reference(refArg string) (oci.Reference, error) {
	signs := f.key.given()
	switch {
	case refArg == "" && (signs || f.link):
		return oci.Reference{}, usage(errors.New("pack: there is no REF to sign or to link into: name one, as in oci:DIR:TAG"))
	case !signs && (len(f.attest) > 0 || f.oms.signature != ""):
		return oci.Reference{}, usage(errors.New("pack: --attest and --signature need something to sign with: --key, --keyless or --identity-token"))
	case f.oms.signature == "" && !f.oms.serialization().NamesFiles():
		return oci.Reference{}, usage(errors.New("pack: --hash and --shards are about the bundle that --signature names; a package has sha256 of whole files"))
	case refArg == "":
		return oci.Reference{}, nil
	}
	ref, err := oci.ParseReference(refArg)
	if err == nil && (ref.Tag == "" || ref.Digest != "") {
		err = usage(fmt.Errorf("pack: %s: name a tag to pack under, as in oci:DIR:TAG", refArg))
	}
	if err == nil && f.link && ref.Layout == "" {
		err = usage(errors.New("pack: --link is for layouts, as in oci:DIR:TAG"))
	}
	return ref, err
}

func (a *app) pack(ctx context.Context, path, refArg string, f packFlags) error {
	ref, err := f.reference(refArg)
	if err != nil {
		return err
	}
	if isLayout(path) {
		return usage(fmt.Errorf("pack: %s is an OCI layout already, not a tree of files", path))
	}
	in, err := a.openImport(ctx, path, f.store, f.imports)
	if err != nil {
		return err
	}
	t := in.tree
	defer t.Close()
	if f.link && (t.root == nil || t.cache != nil) {
		return usage(fmt.Errorf("pack: --link is for files that stand in a directory of their own: the files of %s are copied", t.source))
	}
	for what, name := range map[string]string{"layout": ref.Layout, "--signature": f.oms.signature} {
		if inside, err := t.inside(name); name != "" && (err != nil || inside != "") {
			return usage(fmt.Errorf("pack: the %s %s lies in the tree that is packed", what, name))
		}
	}
	build, err := in.build(f.oms)
	if err != nil {
		return err
	}
	signing, err := a.loadPackSigning(ctx, f)
	if err != nil {
		return err
	}
	meter := a.progress("packing", 0)
	build.File, build.Total, build.Progress = t.file, meter.SetTotal, meter.Add
	if ref.Repository == "" { // a registry is sent fewer files at once
		build.Concurrency = t.concurrency()
	}
	if err := a.remember(&build, t, f.cache); err != nil {
		return err
	}
	opts := oci.PackOptions{Type: f.kind, Name: f.name, Tag: ref.Tag, Link: f.link, Car: f.car.car, ReadOnce: in.tree.isFar(), Build: build}
	in.setType(&opts)
	if refArg == "" {
		return a.packNowhere(ctx, in, opts, f.output, meter)
	}
	err = oci.CheckTree(ctx, t.fsys, opts)
	if errors.Is(err, errors.ErrUnsupported) {
		return usage(err)
	}
	if err != nil {
		return err
	}
	target, err := f.store.open(ctx, ref, true)
	if errors.Is(err, oci.ErrNotLayout) {
		return usage(err) // nobody else chose the place to pack into
	}
	if err != nil {
		return err
	}
	to := &openedPackage{ref: ref, name: referenceName(ref), target: target}
	packed, image, err := a.packInto(ctx, to, in, opts, f.car, signing, meter)
	if err != nil {
		return err
	}
	if err := a.attachSigned(ctx, to, image, signing); err != nil {
		return fmt.Errorf("%s is packed as %s: %w", refArg, packed.Descriptor.Digest, err)
	}
	if err := in.writeProvenance(); err != nil {
		return fmt.Errorf("%s is packed as %s: %w", refArg, packed.Descriptor.Digest, err)
	}
	if in.predicate != nil && signing == nil {
		a.note("where it came from is not attached: pack with --key, or write it with --provenance-out FILE and attach it with `mlseal attest REF --type slsa-provenance --predicate FILE --key KEY`")
	}
	return a.printPacked(refArg, packed, image, in, signing, f.output)
}

// packInto packs the tree, makes the car beside it, if one is wanted, and signs both before anything is visible. It completes p; image is the car, nil
// without one.
func (a *app) packInto(ctx context.Context, p *openedPackage, in *imported, opts oci.PackOptions, car carFlags, signing *packSigning, meter *progress.Meter) (packed *oci.Packed, image *openedPackage, err error) {
	opts.Ready = func(packed *oci.Packed) error {
		meter.Done()
		if err := in.check(packed.Tree, a.now); err != nil {
			return err
		}
		p.pkg = &oci.Package{Descriptor: packed.Descriptor, Tree: packed.Tree}
		if !car.car {
			return signing.sign(ctx, []*openedPackage{p}, in)
		}
		image = &openedPackage{ref: p.ref, name: p.name, target: p.target}
		return a.packCar(ctx, in.tree, p, car, func(desc ocispec.Descriptor) error {
			image.pkg = &oci.Package{Descriptor: desc, Tree: packed.Tree, Car: &oci.Car{Of: packed.Descriptor.Digest, Architecture: car.architecture}}
			return signing.sign(ctx, []*openedPackage{p, image}, in)
		})
	}
	packed, err = oci.Pack(ctx, p.target, in.tree.fsys, opts)
	meter.Done()
	return packed, image, err
}

// packNowhere computes the package and writes nothing but what the command line names.
func (a *app) packNowhere(ctx context.Context, in *imported, opts oci.PackOptions, output string, meter *progress.Meter) error {
	v, err := oci.NewVirtual(ctx, in.tree.fsys, opts)
	meter.Done()
	if err != nil {
		return err
	}
	if err := in.check(v.Packed().Tree, a.now); err != nil {
		return err
	}
	if err := in.writeProvenance(); err != nil {
		return err
	}
	return a.printPacked("", v.Packed(), nil, in, nil, output)
}

// packSigning is what is signed about a package and its tree; nil when nothing is.
type packSigning struct {
	key        *signingKey
	statements []attachment
	provenance int // the place of the import's own statement; 0 for none: the signature comes first
	oms        signFlags

	bundles   []*attest.Bundle // of the statements
	bundle    *attest.Bundle   // of the tree; nil without --signature
	referrers []string         // of the bundles
}

// loadPackSigning loads the key and the predicates, before minutes of hashing.
func (a *app) loadPackSigning(ctx context.Context, f packFlags) (*packSigning, error) {
	if !f.key.given() {
		return nil, nil
	}
	s := &packSigning{oms: f.oms, statements: []attachment{{predicateType: attest.SignaturePredicateType, predicate: []byte("{}")}}}
	for _, arg := range f.attest {
		typeName, file, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usage(fmt.Errorf("pack: --attest %s: want TYPE=FILE, as in evaluation=evaluation.json", arg))
		}
		uri, predicate, err := loadPredicate(typeName, file)
		if err != nil {
			return nil, err
		}
		s.statements = append(s.statements, attachment{predicateType: uri, predicate: predicate})
	}
	if err := placeForBundle(f.oms.signature); err != nil {
		return nil, err
	}
	var err error
	s.key, err = a.loadSigner(ctx, f.key)
	return s, err
}

// sign signs everything, and where the files came from, and writes nothing. The family is the package, and the car beside it.
func (s *packSigning) sign(ctx context.Context, family []*openedPackage, in *imported) error {
	if s == nil {
		return nil
	}
	if in.predicate != nil {
		s.provenance = len(s.statements)
		s.statements = append(s.statements, attachment{predicateType: attest.ProvenancePredicateType, predicate: in.predicate})
	}
	for _, what := range s.statements {
		bundle, err := what.sign(ctx, s.key, familySubjects(family))
		if err != nil {
			return err
		}
		s.bundles = append(s.bundles, bundle)
	}
	if s.oms.signature == "" {
		return nil
	}
	var err error
	s.bundle, err = attest.SignOMS(ctx, family[0].pkg.Tree, in.tree.name, in.tree.withGitNames(in.options.Ignore), s.key)
	return err
}

// attachSigned attaches the statements to the package, which is there, and to the car, if there is one, and writes the bundle of the tree.
func (a *app) attachSigned(ctx context.Context, p, image *openedPackage, s *packSigning) error {
	if s == nil {
		return nil
	}
	for i, bundle := range s.bundles {
		done, err := p.attachOnce(ctx, s.key, bundle, s.statements[i], a.now())
		if err != nil {
			return err
		}
		s.referrers = append(s.referrers, done.digest)
		if image == nil {
			continue
		}
		if _, err := image.attachOnce(ctx, s.key, bundle, s.statements[i], a.now()); err != nil {
			return err
		}
	}
	if s.bundle == nil {
		return nil
	}
	return a.writeSignature(s.oms.signature, s.bundle.JSON(), s.oms.uncovered(p.pkg.Tree))
}

// packReport is `pack -o json`.
type packReport struct {
	Reference string         `json:"reference,omitempty"` // none: nothing was written
	Digest    digest.Digest  `json:"digest"`
	DirHash   string         `json:"dirHash"`
	Files     int            `json:"files"`
	Bytes     int64          `json:"bytes"`
	LeftOut   []string       `json:"leftOut"`
	Car       digest.Digest  `json:"car,omitempty"` // of the image beside it
	Attached  []packAttached `json:"attached,omitempty"`
	Signature string         `json:"signature,omitempty"`

	Source     string `json:"source,omitempty"`     // where the files come from, when something says so
	Publisher  string `json:"publisher,omitempty"`  // whose signature on them was verified
	Provenance string `json:"provenance,omitempty"` // the digest of the statement that says where they come from, one of Attached
}

type packAttached struct {
	Statement string `json:"statement"`
	Digest    string `json:"digest"`
}

func (a *app) printPacked(ref string, packed *oci.Packed, image *openedPackage, in *imported, s *packSigning, output string) error {
	m := packed.Tree
	a.noteUnchecked(in.tree, m)
	r := packReport{Reference: ref, Digest: packed.Descriptor.Digest, DirHash: m.DirHash(), Files: len(m.Files), Bytes: m.Size(), LeftOut: append([]string{}, m.LeftOut...),
		Source: in.tree.source, Publisher: in.publishedBy()}
	size := fmt.Sprintf("(%d files, %s)", r.Files, progress.Bytes(r.Bytes))
	fields := []field{{"packed", ref + "  " + size}, {"source", r.Source}, {"publisher", r.Publisher}, {"digest", r.Digest.String()}, {"dirHash", r.DirHash}}
	if ref == "" {
		fields[0] = field{"not packed", "no REF was named, nothing was written  " + size}
	}
	if image != nil {
		r.Car = image.pkg.Descriptor.Digest
		fields = append(fields, field{"car", r.Car.String()})
	}
	if s != nil {
		for i, referrer := range s.referrers {
			r.Attached = append(r.Attached, packAttached{s.statements[i].predicateType, referrer})
			if s.provenance > 0 && i == s.provenance {
				r.Provenance = referrer
				fields = append(fields, field{"provenance", referrer})
				continue
			}
			fields = append(fields, field{"attached", s.statements[i].predicateType + "  " + referrer})
		}
		r.Signature = s.oms.signature
		fields = append(fields, s.key.signedBy(s.bundles[0]), field{"signature", r.Signature})
	}
	switch output {
	case "json":
		return a.printJSON(r)
	case "digest":
		_, err := fmt.Fprintln(a.stdout, r.Digest)
		return err
	}
	return a.printFields("text", append(fields, field{"left out", strings.Join(m.LeftOut, ", ")})...)
}
