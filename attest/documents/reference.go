package documents

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// Roles whose documents are read; a document in any other role is named by its digest alone.
const (
	ModelCard     = "model-card"
	DataCard      = "data-card"
	CroissantRole = "croissant"
)

// Document is a document that a statement refers to.
type Document struct {
	Role     string // what it is to the subject: model-card, data-card, croissant, evaluation-log or another word
	Location string // where it can be had: a URI, or a path in the artifact as a relative reference
	attest.ResourceDescriptor
}

var roleText = lazyregexp.New(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Describe reads what policies can ask of the document, as far as its role says how to, and fills in the annotations. A note says what was not
// found. The error wraps ErrDocument.
func (d *Document) Describe(data []byte) (note string, err error) {
	if !roleText.MatchString(d.Role) {
		return "", fmt.Errorf("documents: %w: a role is a word such as model-card, not %q", ErrAsked, d.Role)
	}
	var fields Fields
	switch d.Role {
	case ModelCard, DataCard:
		card, err := ParseCard(data)
		if err != nil {
			return "", err
		}
		if fields = card.Fields; fields == nil {
			note = d.Name + " has no front matter: nothing of it can be asked but its digest"
		}
	case CroissantRole:
		croissant, err := ParseCroissant(data)
		if err != nil {
			return "", err
		}
		fields = croissant.Fields
	}
	d.Annotations = map[string]any{"document": d.Role}
	for name, field := range fields {
		d.Annotations[name] = field
	}
	d.MediaType = mediaType(d.Role, d.Name)
	return note, nil
}

// mediaType tells the type by the name. "If the file type is unknown, application/octet-stream SHOULD be used" (Reference predicate v0.1).
func mediaType(role, name string) string {
	types := map[string]string{".md": "text/markdown", ".json": "application/json", ".jsonl": "application/jsonl", ".jsonld": "application/ld+json",
		".pdf": "application/pdf", ".html": "text/html", ".txt": "text/plain", ".yaml": "application/yaml", ".yml": "application/yaml", ".eval": "application/zip"}
	if role == CroissantRole {
		return "application/ld+json"
	}
	if known := types[strings.ToLower(path.Ext(name))]; known != "" {
		return known
	}
	return "application/octet-stream"
}

// Reference makes the predicate. "The downloadLocation and mediaType MUST be provided for each" (Reference predicate v0.1, Fields).
func Reference(attester string, all []Document) (json.RawMessage, error) {
	type id struct {
		ID string `json:"id"`
	}
	p := struct {
		Attester   id                          `json:"attester"`
		References []attest.ResourceDescriptor `json:"references"`
	}{Attester: id{attester}}
	if _, ok := attest.PredicateType(attester); !ok || !strings.Contains(attester, ":") {
		return nil, fmt.Errorf("documents: %w: --attester is a URI, not %q", ErrAsked, attester)
	}
	for _, d := range all {
		if d.Location == "" {
			return nil, fmt.Errorf("documents: %w: where %s can be had, which is no file of the artifact: --location %s=URI", ErrAsked, d.Name, d.Role)
		}
		d.DownloadLocation = d.Location
		p.References = append(p.References, d.ResourceDescriptor)
	}
	return attest.NewPredicate(attest.ReferencePredicateType, p)
}
