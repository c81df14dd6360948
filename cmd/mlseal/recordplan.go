package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/record"
	"github.com/mlseal/mlseal/manifest/hub"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/manifest/oci"
)

// materialArg is one --material, taken apart.
type materialArg struct{ role, split, of string }

func (f *recordFlags) materialArgs() ([]materialArg, error) {
	var all []materialArg
	for _, arg := range f.materials {
		name, of, err := cutNamed("material", arg, "ROLE[:SPLIT]=PATH|REF, as in dataset=./data")
		if err != nil {
			return nil, err
		}
		m := materialArg{role: name, of: of}
		if m.role, m.split, _ = strings.Cut(name, ":"); m.split != "" && m.role != record.RoleDataset {
			return nil, usage(fmt.Errorf("attest record: --material %s: only datasets have splits", name))
		}
		all = append(all, m)
	}
	if f.config != "" {
		all = append(all, materialArg{role: record.RoleConfig, of: f.config})
	}
	if f.recipe != "" && exists(f.recipe) {
		all = append(all, materialArg{role: record.RoleCode, of: f.recipe})
	}
	return all, nil
}

// plan is what is to be run, without its materials, which take time to open.
func (f *recordFlags) plan(a *app, args []string) (*record.Plan, error) {
	materials, err := f.materialArgs()
	if err != nil {
		return nil, err
	}
	var roles []string
	for _, m := range materials {
		roles = append(roles, m.role)
	}
	if err := record.CheckStep(f.step, roles); err != nil {
		return nil, fmt.Errorf("attest record: %w", err)
	}
	p := &record.Plan{
		Step: f.step, Command: &record.Command{Args: args, Stdin: a.stdin, Stdout: asFile(a.stdout), Stderr: asFile(a.stderr)}, Parameters: map[string]string{},
		Recipe: f.recipe, ConfigPath: f.config, Environ: a.environment(), Variables: f.env, BuilderID: f.builder, Version: version,
		Except: []string{f.bundle, f.environmentOut, f.unsignedOut, f.report}, Root: os.DirFS("/"), Now: a.now, Unhashed: f.push != "",
		Open: func(path string) (record.Tree, error) {
			t, err := openTree(path)
			if err != nil {
				return record.Tree{}, err
			}
			return record.Tree{FS: t.fsys, File: t.file, Close: t.Close}, nil
		},
		Hashing: func() record.Progress {
			meter := a.progress("hashing", 0)
			return record.Progress{Total: meter.SetTotal, Add: meter.Add, Done: meter.Done}
		},
	}
	if f.recipe != "" && exists(f.recipe) {
		p.Recipe = "file:" + record.PathName(f.recipe)
	}
	if p.HostName, err = f.machine(); err != nil {
		return nil, err
	}
	if err := f.parameters(p); err != nil {
		return nil, err
	}
	if err := f.outputs(p); err != nil {
		return nil, err
	}
	return p, p.Command.Find()
}

func (f *recordFlags) parameters(p *record.Plan) error {
	for _, arg := range f.params {
		name, value, err := cutNamed("param", arg, "NAME=VALUE, as in epochs=3")
		if err != nil {
			return err
		}
		if _, twice := p.Parameters[name]; twice {
			return usage(fmt.Errorf("attest record: --param %s is there twice", name))
		}
		p.Parameters[name] = value
	}
	for _, name := range f.env {
		if strings.TrimSuffix(name, "*") == "" || strings.ContainsAny(name, "=?[") || strings.Contains(strings.TrimSuffix(name, "*"), "*") {
			return usage(errors.New("attest record: --env: want the name of a variable, or its beginning with a * behind, and no value: all of the environment would be too much"))
		}
	}
	return nil
}

// outputs are the products and byproducts.
func (f *recordFlags) outputs(p *record.Plan) error {
	names := map[string]bool{}
	for _, path := range f.products {
		if isPackage(path) || objectstore.IsURL(path) || strings.TrimSpace(path) == "" {
			return usage(fmt.Errorf("attest record: --product %s: want a directory or file; --push packs it", redacted(path)))
		}
		name := filepath.Base(record.PathName(path))
		if names[name] {
			return usage(fmt.Errorf("attest record: two products are called %s: a statement could not tell them apart", name))
		}
		names[name] = true
		p.Products = append(p.Products, record.Product{Name: name, Path: path})
	}
	for _, arg := range f.byproducts {
		role, path, err := cutNamed("byproduct", arg, "ROLE=PATH, as in metrics=out/metrics.json")
		if err != nil {
			return err
		}
		p.Byproducts = append(p.Byproducts, record.Artifact{Role: role, Name: filepath.Base(path), Reference: path})
	}
	return nil
}

// checkPlaces refuses paths that would change what the statement is about, and places that cannot be written to.
func (f *recordFlags) checkPlaces(p *record.Plan) error {
	materials, err := f.materialArgs()
	if err != nil {
		return err
	}
	var trees []string
	for _, m := range materials {
		if isPackage(m.of) {
			continue
		}
		trees = append(trees, m.of)
		for _, product := range f.products {
			if rel, ok := record.Below(m.of, product); ok {
				return usage(fmt.Errorf("attest record: the product %s lies in the material %s, which it would change (%s): name places that are apart; git's commit is recorded without being named", product, m.of, rel))
			}
		}
	}
	for i, product := range f.products {
		for j, other := range f.products {
			if _, ok := record.Below(product, other); ok && i != j {
				return usage(fmt.Errorf("attest record: the product %s lies in the product %s: name the outer one", other, product))
			}
		}
	}
	ref, err := f.reference()
	if f.push != "" && err != nil {
		return err
	}
	for _, place := range []field{{"--bundle", f.bundle}, {"the layout", ref.Layout}, {"--report", f.report}, {"--environment-out", f.environmentOut}, {"--unsigned-out", f.unsignedOut}, {"--links", f.link.dir}} {
		for _, tree := range slices.Concat(trees, f.products) {
			if _, ok := record.Below(tree, place.value); ok && place.value != "" {
				return usage(fmt.Errorf("attest record: %s %s lies in %s, which the statement is about", place.name, place.value, tree))
			}
		}
	}
	return f.checkWritable()
}

// checkWritable tries the places that something is written to after the command.
func (f *recordFlags) checkWritable() error {
	if f.bundle != "" {
		if err := placeForBundle(f.bundle); err != nil {
			return fmt.Errorf("attest record: %w", err)
		}
	}
	for _, file := range []struct {
		name, key string
	}{{f.bundle, ""}, {f.environmentOut, "bomFormat"}, {f.unsignedOut, "buildDefinition"}, {f.report, "commandStatus"}} {
		if file.name == "" {
			continue
		}
		if err := checkWritable(file.name, file.key); err != nil {
			return err
		}
	}
	return nil
}

// checkWritable tries a place that gets a JSON object with the key; any, when that is empty.
func checkWritable(name, key string) error {
	if key != "" && !replaceable(name, key) {
		return usage(fmt.Errorf("attest record: %s is there and is no file of an earlier run: it is not overwritten", name))
	}
	dir := filepath.Dir(name)
	probe, err := os.CreateTemp(dir, ".mlseal-*")
	if err != nil {
		return fmt.Errorf("attest record: %s: %w", name, noSuch(dir, err))
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// maxReplaced bounds a file that is looked at before it is replaced, in bytes.
const maxReplaced = 64 << 20

// replaceable reports whether there is nothing, or a JSON object with the key, as an earlier run wrote it.
func replaceable(name, key string) bool {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxReplaced {
		return false
	}
	data, err := os.ReadFile(name)
	var object map[string]json.RawMessage
	return err == nil && json.Unmarshal(data, &object) == nil && object[key] != nil
}

// openMaterials opens what goes in: packages are resolved to a digest once, directories are hashed later.
func (a *app) openMaterials(ctx context.Context, f recordFlags, p *record.Plan) (closeAll func(), err error) {
	var opened []*tree
	closeAll = func() {
		for _, t := range opened {
			t.Close()
		}
	}
	args, err := f.materialArgs()
	if err != nil {
		return closeAll, err
	}
	for _, arg := range args {
		m := record.Material{Artifact: record.Artifact{Role: arg.role, Split: arg.split, Reference: arg.of}}
		switch {
		case hub.IsReference(arg.of), objectstore.IsURL(arg.of):
			return closeAll, usage(fmt.Errorf("attest record: --material %s: what the command reads stands on this machine: name the downloaded directory (a snapshot of the Hugging Face cache is recognized), or `mlseal pack` it first", redacted(arg.of)))
		case isPackage(arg.of):
			if err := a.packageMaterial(ctx, &m, f.store); err != nil {
				return closeAll, fmt.Errorf("attest record: --material: %w", err)
			}
		default:
			t, err := openTree(arg.of)
			if err != nil {
				return closeAll, fmt.Errorf("attest record: --material: %w", err)
			}
			opened = append(opened, t)
			if t.cache != nil {
				m.URI = "hf://" + t.cache.Source.String()
			}
			a.noteCheckout(t, arg.of)
			m.Tree, m.Again = record.Tree{FS: t.fsys, File: t.file}, record.SamePlace(arg.of, t.file)
		}
		p.Materials = append(p.Materials, m)
	}
	return closeAll, nil
}

// noteCheckout tells of the git files that no tree has.
func (a *app) noteCheckout(t *tree, of string) {
	if t.file == "" && exists(filepath.Join(t.dir, ".git")) {
		a.note(fmt.Sprintf("%s is a git checkout: .git and git's other files at its top are no part of the material", of))
	}
}

// packageMaterial resolves a package. A tag that names another one after the command is a material that changed.
func (a *app) packageMaterial(ctx context.Context, m *record.Material, flags storeFlags) error {
	p, err := a.openPackage(ctx, m.Reference, flags)
	if err != nil {
		return err
	}
	shown := p.ref
	scheme := "oci://"
	switch {
	case shown.Layout != "":
		scheme, shown.Layout = "", record.PathName(shown.Layout)
	case shown.Archive != "":
		scheme, shown.Archive = "", record.PathName(shown.Archive)
	}
	m.Reference = shown.String()
	shown.Tag, shown.Digest = "", p.pkg.Descriptor.Digest
	m.URI, m.MediaType, m.Digest, m.Files = scheme+shown.String(), p.pkg.Descriptor.MediaType, attest.DigestSet(p.digests()), p.pkg.Tree.Files
	if p.ref.Digest == "" {
		m.Again = func(ctx context.Context) error { return a.sameTag(ctx, p, flags) }
	}
	return nil
}

// sameTag asks once more what the reference names.
func (a *app) sameTag(ctx context.Context, p *openedPackage, flags storeFlags) error {
	target, err := flags.open(ctx, p.ref, false)
	if err == nil {
		desc, again := oci.Resolve(ctx, target, p.ref)
		if err = again; err == nil && desc.Digest != p.pkg.Descriptor.Digest {
			return fmt.Errorf("%w: it names %s now, and named %s before the command", record.ErrChanged, desc.Digest, p.pkg.Descriptor.Digest)
		}
	}
	if errors.Is(err, oci.ErrUnavailable) {
		a.note(fmt.Sprintf("%s could not be asked whether it still names the same package: %v", p.ref, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", record.ErrChanged, err)
	}
	return nil
}
