package record

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/parallel"
)

// Bounds of a Python environment.
const (
	MaxPackages      = 20_000
	maxMetadataBytes = 256 << 10 // of one METADATA, whose headers come first
	maxRecordBytes   = 64 << 20  // of one RECORD
)

// CycloneDXMediaType is that of the file that lists a Python environment.
const CycloneDXMediaType = "application/vnd.cyclonedx+json"

// Packages are what a virtual environment of Python holds, read from what installers wrote beside the packages. Nothing is executed.
type Packages struct {
	Python string // its version; may be empty
	// System says that packages outside the environment can be imported too. They are not listed.
	System bool
	List   []Package // sorted by name and version
}

// Package is one distribution.
type Package struct {
	Name, Version string
	License       string // an SPDX expression when Expression is set, free text otherwise; may be empty
	Expression    bool
	Record        string // sha256 of its RECORD, which lists its files with their digests; may be empty
}

// environmentDir is the virtual environment that the command runs in: that of its own interpreter, else the one that is activated, else
// that of conda. Empty when there is none.
func environmentDir(command string, v variables) string {
	if command != "" {
		if abs, err := filepath.Abs(command); err == nil {
			for _, dir := range []string{filepath.Dir(filepath.Dir(abs)), filepath.Dir(abs)} { // bin/python, Scripts\python.exe; python.exe of conda
				if _, err := os.Stat(filepath.Join(dir, "pyvenv.cfg")); err == nil {
					return dir
				}
			}
		}
	}
	for _, name := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if dir := v[name]; dir != "" {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				return dir
			}
		}
	}
	return ""
}

// readPackages lists the packages of the environment at the root of fsys; nil when there are none.
func readPackages(ctx context.Context, fsys fs.FS) (*Packages, error) {
	config := readSome(fsys, "pyvenv.cfg", maxSystemFile)
	p := &Packages{Python: cmp.Or(valueOf(config, "version", "="), valueOf(config, "version_info", "=")), System: valueOf(config, "include-system-site-packages", "=") == "true"}
	found, err := distributions(fsys)
	if err != nil {
		return nil, err
	}
	if len(found) > MaxPackages {
		return nil, fmt.Errorf("python environment: more than %d packages", MaxPackages)
	}
	list := make([]Package, len(found))
	err = parallel.Do(ctx, len(found), 0, func(_ context.Context, i int) (err error) {
		list[i], err = readDistribution(fsys, found[i])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("python environment: %w", err)
	}
	p.List = slices.DeleteFunc(list, func(d Package) bool { return d.Name == "" })
	slices.SortFunc(p.List, func(a, b Package) int {
		return cmp.Or(strings.Compare(normalised(a.Name), normalised(b.Name)), strings.Compare(a.Version, b.Version), strings.Compare(a.Record, b.Record))
	})
	p.List = slices.Compact(p.List)
	if len(p.List) == 0 {
		return nil, nil
	}
	return p, nil
}

// sitePackages are where the packages of an environment are: of POSIX, and of Windows.
var sitePackages = []string{"lib/python*/site-packages", "lib64/python*/site-packages", "lib/pypy*/site-packages", "Lib/site-packages"}

// distributions lists the directories and files that describe packages.
func distributions(fsys fs.FS) ([]string, error) {
	var found []string
	for i, pattern := range sitePackages {
		if i == 1 && isLink(fsys, "lib64") {
			continue // to lib
		}
		dirs, err := fs.Glob(fsys, pattern)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			entries, err := fs.ReadDir(fsys, dir)
			if err != nil {
				return nil, fmt.Errorf("python environment: %w", err)
			}
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), ".dist-info") || strings.HasSuffix(e.Name(), ".egg-info") {
					found = append(found, path.Join(dir, e.Name()))
				}
			}
		}
	}
	return found, nil
}

func isLink(fsys fs.FS, name string) bool {
	l, ok := fsys.(fs.ReadLinkFS)
	if !ok {
		return false
	}
	info, err := l.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// readDistribution reads one package. One without a name, such as what an installer left behind, is the zero value.
func readDistribution(fsys fs.FS, dir string) (Package, error) {
	names := []string{dir + "/METADATA"}
	if strings.HasSuffix(dir, ".egg-info") {
		names = []string{dir + "/PKG-INFO", dir} // an .egg-info may be the file itself
	}
	for _, name := range names {
		if info, err := fs.Stat(fsys, name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		d := parseMetadata(readSome(fsys, name, maxMetadataBytes))
		var err error
		d.Record, err = digestOf(fsys, dir+"/RECORD")
		return d, err
	}
	return Package{}, nil
}

// parseMetadata reads the headers of core metadata, which are those of an e-mail.
//
// https://packaging.python.org/en/latest/specifications/core-metadata/
func parseMetadata(text string) Package {
	var d Package
	var free, classifier string
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, maxMetadataBytes+1)
	for lines.Scan() {
		line := lines.Text()
		if strings.TrimSpace(line) == "" {
			break // the description follows
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || line[0] == ' ' || line[0] == '\t' || value == "" {
			continue // goes on with the header above
		}
		switch strings.ToLower(name) {
		case "name":
			d.Name = plain(value)
		case "version":
			d.Version = plain(value)
		case "license-expression":
			d.License, d.Expression = plain(value), true
		case "license":
			free = plain(value)
		case "classifier":
			if rest, ok := strings.CutPrefix(value, "License :: "); ok {
				classifier = plain(rest[strings.LastIndex(rest, ":: ")+1:])
			}
		}
	}
	if d.License == "" {
		d.License = strings.TrimPrefix(cmp.Or(free, classifier), ": ")
	}
	return d
}

// maxFieldRunes bounds a field of metadata. Some packages have the text of their license in one.
const maxFieldRunes = 200

// plain is a field without what is not text.
func plain(s string) string {
	s = strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s), "\uFFFD")
	if runes := []rune(s); len(runes) > maxFieldRunes {
		return string(runes[:maxFieldRunes]) + "…"
	}
	return s
}

// digestOf is the sha256 of a file; empty when there is none.
func digestOf(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxRecordBytes {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var separators = lazyregexp.New(`[-_.]+`)

// normalised is a name as package indexes compare it.
//
// https://packaging.python.org/en/latest/specifications/name-normalization/
func normalised(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

// The parts of a CycloneDX 1.7 document that are written, in the order in which they are.
type (
	cdxDocument struct {
		Schema     string         `json:"$schema"`
		Format     string         `json:"bomFormat"`
		Spec       string         `json:"specVersion"`
		Version    int            `json:"version"`
		Metadata   cdxMetadata    `json:"metadata"`
		Components []cdxComponent `json:"components"`
	}
	cdxMetadata struct {
		Component cdxComponent `json:"component"`
	}
	cdxComponent struct {
		Type       string        `json:"type"`
		Ref        string        `json:"bom-ref,omitempty"`
		Name       string        `json:"name"`
		Version    string        `json:"version,omitempty"`
		Licenses   []any         `json:"licenses,omitempty"`
		PURL       string        `json:"purl,omitempty"`
		Properties []cdxProperty `json:"properties,omitempty"`
	}
	cdxProperty struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// CycloneDX lists the packages as a CycloneDX 1.7 document without times and serial numbers: the same packages give the same bytes.
func (p *Packages) CycloneDX() ([]byte, error) {
	doc := cdxDocument{Schema: "http://cyclonedx.org/schema/bom-1.7.schema.json", Format: "CycloneDX", Spec: "1.7", Version: 1}
	doc.Metadata.Component = cdxComponent{Type: "platform", Name: "python", Version: p.Python}
	if p.System {
		doc.Metadata.Component.Properties = []cdxProperty{{"mlseal:systemSitePackages", "true"}}
	}
	seen := map[string]int{}
	for _, d := range p.List {
		c := cdxComponent{Type: "library", Name: d.Name, Version: d.Version, PURL: "pkg:pypi/" + url.PathEscape(normalised(d.Name))}
		if d.Version != "" {
			c.PURL += "@" + url.QueryEscape(d.Version)
		}
		c.Ref = c.PURL
		if seen[c.PURL]++; seen[c.PURL] > 1 {
			c.Ref += fmt.Sprintf("#%d", seen[c.PURL]) // references must be unique
		}
		switch {
		case d.License != "" && d.Expression:
			c.Licenses = []any{map[string]string{"expression": d.License}}
		case d.License != "":
			c.Licenses = []any{map[string]any{"license": map[string]string{"name": d.License}}}
		}
		if d.Record != "" {
			c.Properties = []cdxProperty{{"mlseal:recordDigest", "sha256:" + d.Record}}
		}
		doc.Components = append(doc.Components, c)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(doc)
	return b.Bytes(), err
}
