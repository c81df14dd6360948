package parts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// The formats.
const (
	Format     = "mlseal.dev/manifest/v1"
	PartFormat = "mlseal.dev/manifest-part/v1"
)

// Limits of a manifest or partial manifest that is read. A million files take about 150 MB, and 1 GB of memory.
const (
	MaxDocumentBytes = 1 << 30
	// MaxEntries bounds the files and resources together, MaxListed the paths that are ignored or left out. They hold before anything is
	// decoded: an entry of two bytes would take forty in memory.
	MaxEntries = manifest.MaxFiles + manifest.MaxShards
	MaxListed  = 1_000_000
)

// maxDepth is how deep a manifest is nested: an entry stands in a list in an object.
const maxDepth = 3

// Errors that callers branch on.
var (
	// ErrDocument says that a text is no manifest that is understood.
	ErrDocument = errors.New("not a usable manifest")
	// ErrIsPart says that a text is the manifest of a part, where that of a tree was wanted.
	ErrIsPart = errors.New("it is the manifest of a part")
)

// Document is the manifest of a whole tree, with how it was made.
type Document struct {
	About
	Tree *manifest.Manifest
}

// Ignored lists the paths that an OMS statement about the tree names as left out (OMS v1.0 section 6.2.1).
func (d *Document) Ignored() []string {
	if d.IncludeGit || d.SingleFile {
		return d.IgnorePaths
	}
	return append(slices.Clone(d.IgnorePaths), manifest.GitNames()...)
}

// Part is what one machine found: the manifest of a part of a tree.
type Part struct {
	About
	Index, Of int           // the part is Index of Of, from 1
	Plan      digest.Digest // of the plan that it was chosen by
	Total     Total
	// Files are those of which something was hashed, sorted by path. Where there are shards, they have no digests.
	Files     []manifest.File
	Resources []manifest.Resource // sorted by path and start; nil where they are the Files
	LeftOut   []string
}

// Total is the size of a tree.
type Total struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

// Bytes is the number of bytes that were hashed.
func (p *Part) Bytes() int64 {
	var n int64
	if p.Serialization.ShardSize > 0 {
		for _, r := range p.Resources {
			n += r.End - r.Start
		}
		return n
	}
	for _, f := range p.Files {
		n += f.Size
	}
	return n
}

// wire is either format as it is written.
type wire struct {
	Format        string            `json:"format"`
	Part          *wirePart         `json:"part,omitempty"`
	Name          string            `json:"name"`
	Source        string            `json:"source,omitempty"`
	SingleFile    bool              `json:"singleFile,omitempty"`
	DirHash       string            `json:"dirHash,omitempty"`
	OMSRoot       string            `json:"omsRoot,omitempty"`
	Bytes         int64             `json:"bytes"`
	Serialization wireSerialization `json:"serialization"`
	Files         []wireFile        `json:"files"`
	LeftOut       []string          `json:"leftOut,omitempty"`
	Resources     []wireResource    `json:"resources,omitempty"`
}

type wirePart struct {
	Index int           `json:"index"`
	Of    int           `json:"of"`
	Plan  digest.Digest `json:"plan"`
	Total
}

type wireSerialization struct {
	HashType      manifest.HashType `json:"hashType"`
	ShardSize     int64             `json:"shardSize,omitempty"`
	AllowSymlinks bool              `json:"allowSymlinks,omitempty"`
	IgnorePaths   []string          `json:"ignorePaths,omitempty"`
	IncludeGit    bool              `json:"includeGit,omitempty"`
}

type wireFile struct {
	Path   string        `json:"path"`
	Size   *int64        `json:"size"`
	Digest digest.Digest `json:"digest,omitempty"`
}

type wireResource struct {
	Name   string        `json:"name"`
	Digest digest.Digest `json:"digest"`
}

// keys are the names of all fields.
var keys = map[string]bool{
	"format": true, "part": true, "name": true, "source": true, "singleFile": true, "dirHash": true, "omsRoot": true, "bytes": true, "serialization": true,
	"files": true, "leftOut": true, "resources": true, "index": true, "of": true, "plan": true, "hashType": true, "shardSize": true,
	"allowSymlinks": true, "ignorePaths": true, "includeGit": true, "path": true, "size": true, "digest": true,
}

// checkCount refuses data, which need not be JSON, when it holds more objects than entries, or more commas than those and listed other
// values need. An entry has three fields, so that there are three commas to each.
func checkCount(data []byte, entries, listed int) error {
	const shell, fields = 3, 32 // the objects around the entries, and the fields that they have at most
	objects, commas := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			objects++
		case ',':
			commas++
		case '"':
			i = strictjson.StringEnd(data, i) - 1
		}
	}
	switch {
	case objects > entries+shell:
		return fmt.Errorf("%w: more than %d entries", strictjson.ErrLimit, entries)
	case commas > 3*objects+listed+fields:
		return fmt.Errorf("%w: more values than %d entries and %d paths have", strictjson.ErrLimit, objects, listed)
	}
	return nil
}

// checkSpelling wants every key of data, which is valid JSON, to be a known one letter by letter: encoding/json takes others that
// differ by case. One pass over all is much faster than looking at each of a million objects.
func checkSpelling(data []byte) error {
	for i := 0; i < len(data); i++ {
		if data[i] != '"' {
			continue
		}
		start := i + 1
		i = strictjson.StringEnd(data, i) - 1
		behind := bytes.TrimLeft(data[i+1:min(len(data), i+1+maxSpace)], " \t\r\n")
		if len(behind) == 0 && i+1+maxSpace < len(data) {
			return fmt.Errorf("more than %d blanks in a row", maxSpace)
		}
		if len(behind) > 0 && behind[0] == ':' && !keys[string(data[start:i])] {
			return fmt.Errorf("unknown field %q", data[start:i])
		}
	}
	return nil
}

// maxSpace bounds how many blanks stand behind a string.
const maxSpace = 256

func (a About) wire(format string, files []manifest.File, leftOut []string, resources []manifest.Resource) *wire {
	a = a.normal()
	s := a.Serialization
	w := &wire{Format: format, Name: a.Name, Source: a.Source, SingleFile: a.SingleFile, Files: make([]wireFile, len(files)), LeftOut: leftOut,
		Serialization: wireSerialization{s.Hash, s.ShardSize, s.AllowSymlinks, a.IgnorePaths, a.IncludeGit}}
	for i, f := range files {
		w.Files[i] = wireFile{f.Path, &f.Size, f.Digest}
	}
	for _, r := range resources {
		w.Resources = append(w.Resources, wireResource{r.Name(), r.Digest})
	}
	return w
}

// MarshalJSON implements json.Marshaler.
func (d *Document) MarshalJSON() ([]byte, error) {
	var resources []manifest.Resource
	if !d.Tree.Serialization.NamesFiles() {
		resources = d.Tree.Resources()
	}
	w := d.wire(Format, d.Tree.Files, d.Tree.LeftOut, resources)
	w.DirHash, w.OMSRoot, w.Bytes = d.Tree.DirHash(), d.Tree.OMSRoot(), d.Tree.Size()
	return w.encode()
}

// MarshalJSON implements json.Marshaler.
func (p *Part) MarshalJSON() ([]byte, error) {
	w := p.wire(PartFormat, p.Files, p.LeftOut, p.Resources)
	w.Part, w.Bytes = &wirePart{p.Index, p.Of, p.Plan, p.Total}, p.Bytes()
	return w.encode()
}

func (w *wire) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(w)
	return bytes.TrimSpace(b.Bytes()), err
}

// IsDocument reports whether data, which may end early, begins as a manifest or the manifest of a part does, be it a broken one.
func IsDocument(data []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(data))
	for _, want := range []json.Token{json.Delim('{'), "format"} {
		if token, err := dec.Token(); err != nil || token != want {
			return false
		}
	}
	format, err := dec.Token()
	return err == nil && (format == Format || format == PartFormat)
}

// Parse reads the manifest of a tree. The error wraps ErrDocument, and ErrIsPart when data is that of a part.
func Parse(data []byte) (*Document, error) {
	d, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("parts: %w: %w", ErrDocument, err)
	}
	return d, nil
}

func parse(data []byte) (*Document, error) {
	w, about, err := decode(data)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Format == PartFormat:
		return nil, fmt.Errorf("%w, and that of a tree is wanted", ErrIsPart)
	case w.Part != nil:
		return nil, errors.New("part stands in the manifest of a tree")
	}
	files, err := about.files(w.Files)
	if err != nil {
		return nil, err
	}
	if err := about.fits(files); err != nil {
		return nil, err
	}
	resources, err := about.resources(w.Resources)
	if err != nil {
		return nil, err
	}
	tree, err := manifest.Assemble(about.Serialization, files, resources)
	if err != nil {
		return nil, err
	}
	tree.LeftOut = w.LeftOut
	switch {
	case w.DirHash != tree.DirHash():
		return nil, fmt.Errorf("dirHash is %q, the files give %q", w.DirHash, tree.DirHash())
	case w.OMSRoot != tree.OMSRoot():
		return nil, fmt.Errorf("omsRoot is %q, the resources give %q", w.OMSRoot, tree.OMSRoot())
	case w.Bytes != tree.Size():
		return nil, fmt.Errorf("bytes is %d, the files have %d", w.Bytes, tree.Size())
	}
	return &Document{about, tree}, nil
}

// ParsePart reads the manifest of a part. The error wraps ErrDocument.
func ParsePart(data []byte) (*Part, error) {
	p, err := parsePart(data)
	if err != nil {
		return nil, fmt.Errorf("parts: %w: %w", ErrDocument, err)
	}
	return p, nil
}

func parsePart(data []byte) (*Part, error) {
	w, about, err := decode(data)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Format != PartFormat:
		return nil, errors.New("it is the manifest of a whole tree, and that of a part is wanted")
	case w.Part == nil:
		return nil, errors.New("part is missing")
	case w.DirHash != "" || w.OMSRoot != "":
		return nil, errors.New("a part has no dirHash and no omsRoot")
	case w.Part.Of < 1 || w.Part.Of > MaxParts || w.Part.Index < 1 || w.Part.Index > w.Part.Of:
		return nil, fmt.Errorf("it is part %d of %d, want 1 to at most %d", w.Part.Index, w.Part.Of, MaxParts)
	case w.Part.Plan.Validate() != nil || w.Part.Plan.Algorithm() != digest.SHA256:
		return nil, fmt.Errorf("plan %q is not a sha256 digest", w.Part.Plan)
	case w.Part.Total.Files < len(w.Files) || w.Part.Total.Files > manifest.MaxFiles || w.Part.Total.Bytes < w.Bytes || w.Part.Total.Bytes > MaxBytes:
		return nil, errors.New("there is more in the part than in the tree")
	}
	p := &Part{About: about, Index: w.Part.Index, Of: w.Part.Of, Plan: w.Part.Plan, Total: w.Part.Total, LeftOut: w.LeftOut}
	if p.Files, err = about.files(w.Files); err != nil {
		return nil, err
	}
	if p.Resources, err = about.resources(w.Resources); err != nil {
		return nil, err
	}
	if w.Bytes != p.Bytes() {
		return nil, fmt.Errorf("bytes is %d, the entries have %d", w.Bytes, p.Bytes())
	}
	return p, p.checkShards()
}

// checkShards wants the files of a part with shards to be those of its resources, without digests of their own.
func (p *Part) checkShards() error {
	if p.Serialization.ShardSize == 0 {
		return nil
	}
	if i := slices.IndexFunc(p.Files, func(f manifest.File) bool { return f.Digest != "" }); i >= 0 {
		return fmt.Errorf("%q has a digest where shards are hashed", p.Files[i].Path)
	}
	if !slices.EqualFunc(touched(p.ranges(), nil), p.Files, func(a, b manifest.File) bool { return a.Path == b.Path }) {
		return errors.New("the files are not those of the shards")
	}
	return nil
}

// decode reads what both formats share.
func decode(data []byte) (*wire, About, error) {
	if err := checkCount(data, MaxEntries, MaxListed); err != nil {
		return nil, About{}, err
	}
	if err := strictjson.Check(data, strictjson.Limits{MaxBytes: MaxDocumentBytes, MaxDepth: maxDepth}); err != nil {
		return nil, About{}, err
	}
	if err := checkSpelling(data); err != nil {
		return nil, About{}, err
	}
	var w wire
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, About{}, err
	}
	if w.Format != Format && w.Format != PartFormat {
		return nil, About{}, fmt.Errorf("format is %q, want %q or %q", w.Format, Format, PartFormat)
	}
	s := w.Serialization
	about := About{w.Name, w.Source, w.SingleFile, s.IgnorePaths, s.IncludeGit,
		manifest.Serialization{Hash: s.HashType, ShardSize: s.ShardSize, AllowSymlinks: s.AllowSymlinks}}
	return &w, about, about.check(w.LeftOut)
}

// Check reports why a manifest about a could be written and not be read: its name is no line of text, say. The error wraps ErrDocument.
func (a About) Check() error {
	if err := a.normal().check(nil); err != nil {
		return fmt.Errorf("parts: %w: %w", ErrDocument, err)
	}
	return nil
}

// check reports what no walk could have given.
func (a About) check(leftOut []string) error {
	if a.Name == "" || !isText(a.Name) || !isText(a.Source) {
		return fmt.Errorf("name %q or source %q is empty or no line of text, without control characters", a.Name, a.Source)
	}
	if _, err := manifest.ParseHashType(string(a.Serialization.Hash)); err != nil {
		return err
	}
	if a.Serialization.ShardSize < 0 {
		return fmt.Errorf("shardSize is %d", a.Serialization.ShardSize)
	}
	for _, path := range a.IgnorePaths {
		if err := manifest.CheckName(path); err != nil {
			return fmt.Errorf("ignorePaths: %w", err)
		}
	}
	if !ascending(a.IgnorePaths, func(a, b string) bool { return a < b }) {
		return errors.New("ignorePaths are not sorted")
	}
	for _, path := range leftOut {
		if !isText(path) {
			return fmt.Errorf("leftOut: %q is no line of text", path)
		}
	}
	return nil
}

// fits reports why files cannot be all files of the tree: none at all, or not the one that it is.
func (a About) fits(files []manifest.File) error {
	switch {
	case len(files) == 0:
		return errors.New("no files are listed")
	case a.SingleFile && (len(files) != 1 || files[0].Path != a.Name):
		return fmt.Errorf("the tree is said to be the one file %q, and others are listed", a.Name)
	}
	return nil
}

func isText(s string) bool {
	return len(s) <= manifest.MaxNameLength && utf8.ValidString(s) && !slices.ContainsFunc([]rune(s), unicode.IsControl)
}

// ascending reports whether each element is less than the next one.
func ascending[T any](list []T, less func(a, b T) bool) bool {
	for i := 1; i < len(list); i++ {
		if !less(list[i-1], list[i]) {
			return false
		}
	}
	return true
}

// files reads the files, which are sorted.
func (a About) files(list []wireFile) ([]manifest.File, error) {
	if len(list) > manifest.MaxFiles {
		return nil, manifest.ErrTooMany
	}
	out := make([]manifest.File, len(list))
	ignored := manifest.NewPathSet(a.IgnorePaths)
	var total int64
	for i, f := range list {
		if f.Size == nil {
			return nil, fmt.Errorf("%q has no size", f.Path)
		}
		out[i] = manifest.File{Path: f.Path, Size: *f.Size, Digest: f.Digest}
		if err := a.Serialization.CheckFile(out[i]); err != nil {
			return nil, err
		}
		if !a.SingleFile && ignored.Covers(f.Path) {
			return nil, fmt.Errorf("%q is listed, and ignorePaths leave it out", f.Path)
		}
		if out[i].Size > MaxBytes-total {
			return nil, fmt.Errorf("it lists more than %d bytes", int64(MaxBytes))
		}
		total += out[i].Size
	}
	if !ascending(out, func(a, b manifest.File) bool { return a.Path < b.Path }) {
		return nil, errors.New("the files are not sorted, or one is listed twice")
	}
	return out, nil
}

// resources reads the resources, which are sorted.
func (a About) resources(list []wireResource) ([]manifest.Resource, error) {
	if a.Serialization.NamesFiles() && len(list) > 0 {
		return nil, errors.New("there are resources beside the files")
	}
	var out []manifest.Resource
	for _, r := range list {
		resource := manifest.Resource{Path: r.Name, Digest: r.Digest}
		if a.Serialization.ShardSize > 0 {
			var err error
			if resource.Path, resource.Start, resource.End, err = manifest.ParseShardName(r.Name); err != nil {
				return nil, err
			}
		}
		if err := a.Serialization.CheckResource(resource); err != nil {
			return nil, err
		}
		if resource.Start > resource.End || resource.End > MaxBytes {
			return nil, fmt.Errorf("%q ends before it begins", r.Name)
		}
		out = append(out, resource)
	}
	if !ascending(out, func(a, b manifest.Resource) bool { return a.Path < b.Path || a.Path == b.Path && a.Start < b.Start }) {
		return nil, errors.New("the resources are not sorted, or one is listed twice")
	}
	return out, nil
}
