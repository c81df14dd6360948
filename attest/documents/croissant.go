package documents

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Croissant is what a Croissant file (mlcommons.org/croissant/1.0 and 1.1) says of a dataset.
type Croissant struct {
	Name     string
	Version  string
	URL      string
	Licenses []string
	IsLive   *bool
	Files    []CroissantFile
	Fields   Fields
}

// CroissantFile is a FileObject of the distribution.
type CroissantFile struct {
	Name       string
	ContentURL string
	SHA256     string // lower-case hexadecimal; empty when there is none
}

// Remote reports whether the file is at a place on the web, not beside the Croissant file or inside another.
func (f CroissantFile) Remote() bool {
	u, err := url.Parse(f.ContentURL)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// jsonld is an object of the file. Its keys are those of the context that the specification gives.
type jsonld map[string]any

// maxDepth is the deepest nesting of a Croissant file: fields have subfields.
const maxDepth = 64

var sha256Text = lazyregexp.New(`^[0-9a-f]{64}$`)

// ParseCroissant reads a Croissant file. The error wraps ErrDocument.
func ParseCroissant(data []byte) (*Croissant, error) {
	c, err := parseCroissant(data)
	if err != nil {
		return nil, fmt.Errorf("documents: %w: Croissant: %w", ErrDocument, err)
	}
	return c, nil
}

func parseCroissant(data []byte) (*Croissant, error) {
	var root jsonld
	if err := strictjson.Unmarshal(data, &root, strictjson.Limits{MaxBytes: MaxBytes, MaxDepth: maxDepth}); err != nil {
		return nil, err
	}
	// Croissant 1.0, "Dataset-level information": conformsTo names the version, and the type is sc:Dataset.
	conforms := ""
	for _, text := range texts(either(root["conformsTo"], root["dct:conformsTo"])) {
		if strings.Contains(text, "mlcommons.org/croissant/") && !strings.Contains(text, "/croissant/RAI") {
			conforms = text
		}
	}
	if conforms == "" || !isType(root, "Dataset") {
		return nil, fmt.Errorf("it is no Dataset whose conformsTo names mlcommons.org/croissant/1.0 or later")
	}
	c := &Croissant{Name: one(root["name"]), Version: one(root["version"]), URL: one(root["url"]), Licenses: texts(root["license"])}
	if live, ok := root["isLiveDataset"].(bool); ok {
		c.IsLive = &live
	}
	if err := c.readFiles(root); err != nil {
		return nil, err
	}
	sets := texts(names(root["recordSet"]))
	c.Fields = Fields{}
	for name, text := range map[string]string{"name": c.Name, "version": c.Version, "url": c.URL, "conformsTo": conforms} {
		if text != "" {
			c.Fields[name] = text
		}
	}
	if c.IsLive != nil {
		c.Fields["isLive"] = *c.IsLive
	}
	c.Fields.list("licenses", c.Licenses)
	c.Fields.single("licenses", "license")
	c.Fields.list("recordSets", sets)
	var files []any
	for _, f := range c.Files {
		entry := map[string]any{"name": f.Name}
		if f.ContentURL != "" {
			entry["contentUrl"] = f.ContentURL
		}
		if f.SHA256 != "" {
			entry["sha256"] = f.SHA256
		}
		files = append(files, entry)
	}
	if len(files) > 0 {
		c.Fields["distribution"] = files
	}
	return c, c.Fields.bounded()
}

// readFiles takes the FileObjects. A FileSet names files inside others, and has no digest.
func (c *Croissant) readFiles(root jsonld) error {
	for _, entry := range objects(root["distribution"]) {
		if !isType(entry, "FileObject") {
			continue
		}
		f := CroissantFile{Name: one(either(entry["name"], entry["@id"])), ContentURL: one(entry["contentUrl"])}
		if sum := strings.ToLower(one(entry["sha256"])); sum != "" {
			// Croissant files of hubs whose digests change write a link to an issue of the specification there.
			if sha256Text.MatchString(sum) {
				f.SHA256 = sum
			} else if !strings.HasPrefix(sum, "https://") {
				return fmt.Errorf("file %q: its sha256 is no digest", f.Name)
			}
		}
		c.Files = append(c.Files, f)
	}
	if len(c.Files) > MaxList {
		return fmt.Errorf("%d files in the distribution, at most %d are taken", len(c.Files), MaxList)
	}
	return nil
}

func (f Fields) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	f[name] = all
}

// bounded refuses texts and lists that are longer than what is taken.
func (f Fields) bounded() error {
	for name, field := range f {
		switch field := field.(type) {
		case string:
			if len(field) > MaxText {
				return fmt.Errorf("%s has %d bytes, at most %d are taken", name, len(field), MaxText)
			}
		case []any:
			if len(field) > MaxList {
				return fmt.Errorf("%s has %d entries, at most %d are taken", name, len(field), MaxList)
			}
			for _, entry := range field {
				if text, ok := entry.(string); ok && len(text) > MaxText {
					return fmt.Errorf("an entry of %s has %d bytes, at most %d are taken", name, len(text), MaxText)
				}
				if object, ok := entry.(map[string]any); ok {
					if err := Fields(object).bounded(); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func either(a, b any) any {
	if a != nil {
		return a
	}
	return b
}

// isType reports whether @type is the type, with whatever prefix.
func isType(o jsonld, name string) bool {
	for _, text := range texts(o["@type"]) {
		if text[strings.LastIndexAny(text, ":/")+1:] == name {
			return true
		}
	}
	return false
}

// texts are a text, a number as it stands, an object's @id, url or name, or a list of such.
func texts(v any) (all []string) {
	switch v := v.(type) {
	case string:
		if v != "" {
			all = append(all, v)
		}
	case json.Number:
		all = append(all, v.String())
	case []any:
		for _, entry := range v {
			all = append(all, texts(entry)...)
		}
	case map[string]any:
		for _, key := range []string{"@id", "@value", "url", "name"} {
			if text, ok := v[key].(string); ok && text != "" {
				return []string{text}
			}
		}
	}
	return all
}

// one is the only text; empty when there are more.
func one(v any) string {
	if all := texts(v); len(all) == 1 {
		return all[0]
	}
	return ""
}

func objects(v any) (all []jsonld) {
	switch v := v.(type) {
	case []any:
		for _, entry := range v {
			all = append(all, objects(entry)...)
		}
	case map[string]any:
		all = append(all, v)
	}
	return all
}

// names are those of objects, or their @id.
func names(v any) any {
	var all []any
	for _, o := range objects(v) {
		all = append(all, either(o["name"], o["@id"]))
	}
	return all
}
