package record

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
)

// Artifact is something that went in or came out.
type Artifact struct {
	Role      string // of a material: a Role…; of a byproduct: what the user called it
	Name      string // of a product, and of a byproduct
	Split     string // of a dataset
	Reference string // as external parameters name it
	URI       string // which may hold its digest
	MediaType string
	Digest    attest.DigestSet
	Files     []manifest.File // each with its size and sha256; a package's files, too
	single    bool            // one file that is named by the dirHash of its tree
	folder    string          // which Files are below, as a link names them
}

// Material is what goes in.
type Material struct {
	Artifact
	// Tree is what is hashed before the command and looked at again after it; its FS is nil for a package, whose Artifact is complete.
	Tree
	// Again is asked after the command whether a package is still the same, or a path still leads to the tree (SamePlace); it may be nil.
	Again func(context.Context) error
}

// Product is what comes out: a path, which need not be there before.
type Product struct {
	Name string
	Path string
}

// Progress is told what is hashed; each may be nil.
type Progress struct {
	Total func(bytes int64)
	Add   func(n int)
	Done  func()
}

func (p Progress) done() {
	if p.Done != nil {
		p.Done()
	}
}

// Plan is what is to be run and recorded.
type Plan struct {
	Step       string
	Command    *Command // Find was called
	Materials  []Material
	Products   []Product
	Byproducts []Artifact // Role, Name and Reference, which is the path

	Parameters map[string]string // hyperparameters
	Recipe     string            // URI of what was followed; empty for the script that the command names
	ConfigPath string            // of the configuration, as the recipe names it

	Environ   []string // the whole environment
	Variables []string // those of it that are recorded: names, or beginnings of names with a `*` behind
	HostName  string   // recorded when it is not empty
	BuilderID string   // instead of the one that is detected
	Version   string   // of mlseal
	Except    []string // paths that make no commit dirty, beside the materials and products

	Root fs.FS            // the root of the file system, for what the system says of itself
	Now  func() time.Time // the clock
	// Open opens a path, of products, byproducts and scripts. Hashing is called before products are hashed.
	Open    func(path string) (Tree, error)
	Hashing func() Progress
	// Ready is asked with the record as it is before the command, which is not run when it fails; it may be nil.
	Ready func(*Record) error
	// Unhashed leaves the products without digests: somebody else reads them. That they are there was checked.
	Unhashed bool
}

// Record is what was seen of one run. Every text in it is without secrets, as far as they can be told.
type Record struct {
	Step       string
	Command    []string
	Directory  string // where it ran, below the git repository; empty when that is not known or the top
	Parameters map[string]string
	Recipe     Recipe
	Materials  []Artifact
	Products   []Artifact
	Byproducts []Artifact

	Environment map[string]string // the chosen variables
	Host        map[string]string
	Accelerator string
	Code        *Code // nil without a git commit
	Packages    *Packages
	Builder     Builder
	Version     string
	Signals     []string // that came while the command ran
	Started     time.Time
	Finished    time.Time
	// Notes say what could not be recorded.
	Notes []string

	mask Mask // for what is added later
}

// Recipe says what was followed.
type Recipe struct {
	URI  string
	Path string // may be empty
}

// ErrProduct says that a product is not there, or that the command did not make it.
var ErrProduct = errors.New("not a product of the command")

// run is one Run.
type run struct {
	Plan
	mask    *Mask
	rec     *Record
	watched []*watched // as Materials; nil for packages
	opened  []Tree
	before  []listing // as Products; nil for those that were not there, or of which too little is known
}

// Run hashes the materials, runs the command, looks at the materials again and hashes the products. It fails with a *CommandError
// when the command does, with ErrChanged when a material did meanwhile, and with ErrProduct. A command that ran is not
// undone by the end of ctx, which ends the hashing.
func Run(ctx context.Context, plan Plan) (*Record, error) {
	r := &run{Plan: plan, mask: NewMask(plan.Environ), rec: &Record{Step: plan.Step, Version: plan.Version, Parameters: map[string]string{}, Environment: map[string]string{}}}
	r.rec.mask = *r.mask
	defer r.close()
	if err := r.begin(ctx); err != nil {
		return nil, err
	}
	if _, err := r.rec.Predicate(); err != nil {
		return nil, err // it would be no better after the command
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.rec.Started = r.Now().UTC()
	signals, err := r.Command.Run()
	r.rec.Finished, r.rec.Signals = r.Now().UTC(), signals
	if err != nil {
		return nil, err
	}
	return r.rec, r.end(ctx)
}

func (r *run) close() {
	for _, t := range r.opened {
		t.close()
	}
}

// begin looks at everything that the command could change.
func (r *run) begin(ctx context.Context) error {
	if err := r.script(); err != nil {
		return err
	}
	for i := range r.Materials {
		if err := r.material(ctx, &r.Materials[i]); err != nil {
			return err
		}
	}
	for _, p := range r.Products {
		l, err := r.productBefore(ctx, p)
		if err != nil {
			return err
		}
		r.before = append(r.before, l)
	}
	except := slices.Clone(r.Except)
	for _, p := range r.Products {
		except = append(except, p.Path)
	}
	dir := r.Command.Dir
	if dir == "" {
		dir = "."
	}
	if r.rec.Code = findCode(ctx, dir, except); r.rec.Code == nil && hasRepository(dir) {
		r.rec.Notes = append(r.rec.Notes, "no git commit is recorded: git is not there, or does not read this repository, which has no commit yet or is another user's (git config --global --add safe.directory DIR)")
	}
	r.describe()
	if err := r.environment(ctx); err != nil || r.Ready == nil {
		return err
	}
	return r.Ready(r.rec)
}

// script adds the file that an interpreter is told to run to the materials, unless the user named it.
func (r *run) script() error {
	name := r.Command.script()
	if name == "" {
		return nil
	}
	for _, m := range r.Materials {
		if m.Tree.File != "" && realPath(m.Reference) == realPath(name) {
			return nil
		}
	}
	t, err := r.Open(name)
	if err != nil {
		return err
	}
	r.opened = append(r.opened, t)
	r.Materials = append(r.Materials, Material{Artifact: Artifact{Role: RoleCode, Reference: name}, Tree: t, Again: SamePlace(name, t.File)})
	return nil
}

func (r *run) material(ctx context.Context, m *Material) error {
	if m.Role == RoleDataset && m.Split == "" {
		m.Split = steps[r.Step].split
	}
	m.Split = r.mask.Text(m.Split)
	if m.FS == nil {
		m.Reference, m.URI, m.folder = r.mask.Text(m.Reference), r.mask.Text(m.URI), m.Role
		r.rec.Materials = append(r.rec.Materials, m.Artifact)
		r.watched = append(r.watched, nil)
		return nil
	}
	progress := r.progress()
	w, err := watch(ctx, m.Tree, progress)
	progress.done()
	if err != nil {
		return fmt.Errorf("material %s: %w", r.mask.Text(m.Reference), err)
	}
	r.watched = append(r.watched, w)
	a := m.Artifact
	a.folder = r.folder(a.Reference, m.File)
	if a.URI == "" {
		a.URI = r.mask.Text(fileURI(a.Reference))
	}
	a.Reference = a.URI
	a.setTree(w.before, m.File != "", isArtifact(a.Role))
	r.rec.Materials = append(r.rec.Materials, a)
	return nil
}

// setTree names the artifact by what was hashed: by the file's own digest, or by the tree's.
func (a *Artifact) setTree(m *manifest.Manifest, isFile, byTree bool) {
	a.Files, a.single = m.Files, isFile && byTree
	a.Digest = attest.DigestSet{"dirHash": m.DirHash()}
	if isFile && !byTree {
		a.Digest = attest.DigestSet{"sha256": m.Files[0].Digest.Encoded()}
	}
}

// PathName names a path without saying where on this machine it is: one below the current directory as it is, others by their last part.
func PathName(name string) string {
	name = filepath.ToSlash(filepath.Clean(name))
	if filepath.IsAbs(name) || path.IsAbs(name) || strings.HasPrefix(name, "../") || name == ".." || name == "." {
		if abs, err := filepath.Abs(name); err == nil {
			name = filepath.Base(abs)
		}
	}
	return name
}

func fileURI(name string) string { return "file:" + PathName(name) }

// folder is what the files of a tree at the path are below: the path, or of one file the directory that it is in.
func (r *run) folder(name, file string) string {
	name = r.mask.Text(PathName(name))
	if file != "" {
		return path.Dir(name)
	}
	return name
}

// productBefore is the state of a product that is there before the command: what nobody touches is no product.
func (r *run) productBefore(ctx context.Context, p Product) (listing, error) {
	if _, err := os.Lstat(p.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	t, err := r.Open(p.Path)
	if err != nil {
		return nil, err
	}
	defer t.close()
	l, known, err := list(ctx, t)
	if err != nil || !known {
		return nil, nil // whatever is wrong with it, the command may mend
	}
	return l, nil
}

// describe fills in what is known before the command starts.
func (r *run) describe() {
	rec, v := r.rec, parseEnviron(r.Environ)
	rec.Command = shortened(r.mask.Args(r.Command.Args))
	for name, value := range r.Parameters {
		rec.Parameters[r.mask.Text(name)] = r.mask.Named(name, value)
	}
	for name, value := range v {
		if slices.ContainsFunc(r.Variables, func(chosen string) bool { return chooses(chosen, name) }) {
			rec.Environment[name] = r.mask.Named(name, value)
		}
	}
	rec.Host, rec.Accelerator = hostFacts(r.Root), accelerators(r.Root)
	if r.HostName != "" {
		rec.Host["name"] = r.HostName
	}
	rec.Builder = detectBuilder(v, r.Root)
	if r.BuilderID != "" {
		rec.Builder.ID = r.BuilderID
	}
	rec.Builder.ID, rec.Builder.Invocation = r.mask.Text(rec.Builder.ID), r.mask.Text(rec.Builder.Invocation)
	for name, value := range rec.Builder.Details {
		rec.Builder.Details[name] = r.mask.Named(name, value)
	}
	if rec.Code != nil {
		rec.Code.URI = r.mask.Text(rec.Code.URI)
		if rec.Code.Modified < 0 {
			rec.Notes = append(rec.Notes, "git did not say in time what differs from the commit: it is recorded as dirty")
		}
		if dir, ok := rec.Code.inside(cmp.Or(r.Command.Dir, ".")); ok {
			rec.Directory = r.mask.Text(dir)
		}
	}
	rec.Recipe = r.recipe()
}

// maxCommandBytes bounds the command line that is recorded: a statement has its bounds too.
const maxCommandBytes = 256 << 10

// shortened cuts off what is too much of a command line, and says so.
func shortened(args []string) []string {
	total := 0
	for i, arg := range args {
		if total += len(arg); total > maxCommandBytes {
			return append(slices.Clone(args[:i]), fmt.Sprintf("… and %d more arguments", len(args)-i))
		}
	}
	return args
}

// chooses reports whether an entry of --env is about the variable.
func chooses(chosen, name string) bool {
	if prefix, ok := strings.CutSuffix(chosen, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return chosen == name
}

// recipe is what the user named, or the repository and the script in it, or the script, or the command.
func (r *run) recipe() Recipe {
	config, script := r.mask.Text(r.ConfigPath), r.Command.script()
	if r.Recipe != "" {
		return Recipe{URI: r.mask.Text(r.Recipe), Path: config}
	}
	if code := r.rec.Code; code != nil && code.URI != "" {
		in := config
		if rel, ok := code.inside(cmp.Or(r.ConfigPath, script)); ok && (r.ConfigPath != "" || script != "") {
			in = r.mask.Text(rel)
		}
		return Recipe{URI: code.URI, Path: in}
	}
	if script == "" {
		script = filepath.Base(r.Command.Path)
	}
	return Recipe{URI: r.mask.Text(fileURI(script)), Path: config}
}

// environment lists the Python packages.
func (r *run) environment(ctx context.Context) error {
	dir := environmentDir(r.Command.Path, parseEnviron(r.Environ))
	if dir == "" {
		return nil
	}
	packages, err := readPackages(ctx, os.DirFS(dir))
	if err != nil || packages == nil {
		return err
	}
	for i, d := range packages.List {
		packages.List[i].Name, packages.List[i].Version, packages.List[i].License = r.mask.Text(d.Name), r.mask.Text(d.Version), r.mask.Text(d.License)
	}
	r.rec.Packages = packages
	return nil
}

// SetEnvironment adds the file that lists the Python packages to the materials, under the name that it got.
func (rec *Record) SetEnvironment(name string, document []byte) {
	sum := sha256.Sum256(document)
	rec.Materials = append(rec.Materials, Artifact{Role: RoleEnvironment, URI: rec.mask.Text(fileURI(name)), MediaType: CycloneDXMediaType, Digest: attest.DigestSet{"sha256": hex.EncodeToString(sum[:])}})
}

// end looks at what the command left.
func (r *run) end(ctx context.Context) error {
	for i, w := range r.watched {
		m := r.Materials[i]
		err := error(nil)
		if w != nil {
			err = w.unchanged(ctx)
		}
		if err == nil && m.Again != nil {
			err = m.Again(ctx)
		}
		if err != nil {
			return fmt.Errorf("material %s: %w", r.rec.Materials[i].Reference, err)
		}
	}
	for i, p := range r.Products {
		if err := r.product(ctx, p, r.before[i]); err != nil {
			return err
		}
	}
	for _, b := range r.Byproducts {
		if err := r.byproduct(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// product hashes what the command made.
func (r *run) product(ctx context.Context, p Product, before listing) error {
	name := r.mask.Text(p.Name)
	if _, err := os.Lstat(p.Path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("product %s: %w: it is not there", name, ErrProduct)
	}
	t, err := r.Open(p.Path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("product %s: %w", name, err)
	case err != nil: // what is wrong is what the command made, and not how mlseal was called
		return fmt.Errorf("product %s: %w: %v", name, ErrProduct, err)
	}
	defer t.close()
	after, known, err := list(ctx, t)
	switch {
	case err != nil:
		return fmt.Errorf("product %s: %w", name, err)
	case after.empty():
		return fmt.Errorf("product %s: %w: all its files are empty", name, ErrProduct)
	case before != nil && known && maps.Equal(before, after):
		return fmt.Errorf("product %s: %w: it is as it was before the command, which wrote none of its files", name, ErrProduct)
	}
	a := Artifact{Name: name, Reference: r.mask.Text(fileURI(p.Path)), folder: r.folder(p.Path, t.File)}
	if r.Unhashed {
		r.rec.Products = append(r.rec.Products, a)
		return nil
	}
	progress := r.progress()
	m, err := manifest.Build(ctx, t.FS, manifest.Options{File: t.File, Total: progress.Total, Progress: progress.Add})
	progress.done()
	if err != nil {
		return fmt.Errorf("product %s: %w", name, err)
	}
	a.setTree(m, t.File != "", true)
	r.rec.Products = append(r.rec.Products, a)
	return nil
}

// SetProduct says what a product was found to be that Run left without digests.
func (rec *Record) SetProduct(i int, m *manifest.Manifest) { rec.Products[i].setTree(m, false, true) }

// byproduct hashes what was made beside the products. One that is not there is no failure: hours of work should not be in vain for a log.
func (r *run) byproduct(ctx context.Context, b Artifact) error {
	b.Role, b.Name = r.mask.Text(b.Role), r.mask.Text(b.Name)
	if _, err := os.Lstat(b.Reference); errors.Is(err, fs.ErrNotExist) {
		r.rec.Notes = append(r.rec.Notes, fmt.Sprintf("the byproduct %s (%s) is not there: it is left out", b.Name, b.Role))
		return nil
	}
	m, t, err := r.built(ctx, b.Reference)
	if ctx.Err() != nil {
		return fmt.Errorf("byproduct %s: %w", b.Name, ctx.Err())
	}
	if err != nil {
		r.rec.Notes = append(r.rec.Notes, fmt.Sprintf("the byproduct %s (%s) is left out: %v", b.Name, b.Role, err))
		return nil
	}
	if t.File != "" {
		b.MediaType = mediaType(t.File)
	}
	b.Reference = ""
	b.setTree(m, t.File != "", false)
	r.rec.Byproducts = append(r.rec.Byproducts, b)
	return nil
}

// built hashes what stands at the path.
func (r *run) built(ctx context.Context, name string) (*manifest.Manifest, Tree, error) {
	t, err := r.Open(name)
	if err != nil {
		return nil, t, err
	}
	defer t.close()
	m, err := manifest.Build(ctx, t.FS, manifest.Options{File: t.File})
	return m, t, err
}

// mediaTypes are those that the system may not know, or know otherwise.
var mediaTypes = map[string]string{".json": "application/json", ".jsonl": "application/jsonl", ".yaml": "application/yaml", ".yml": "application/yaml", ".log": "text/plain", ".txt": "text/plain",
	".csv": "text/csv", ".toml": "application/toml", ".md": "text/markdown", ".html": "text/html"}

// mediaType goes by the name; empty when that says nothing. It is the same on every machine.
func mediaType(name string) string { return mediaTypes[strings.ToLower(filepath.Ext(name))] }

func (r *run) progress() Progress {
	if r.Hashing == nil {
		return Progress{}
	}
	return r.Hashing()
}
