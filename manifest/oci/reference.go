package oci

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"
)

// MaxReferenceBytes bounds a reference, in bytes.
const MaxReferenceBytes = 8 << 10

// tagGrammar is OCI distribution-spec v1.1, "Pulling manifests": "<reference> as a tag MUST be at
// most 128 characters in length and MUST match" this.
var tagGrammar = lazyregexp.New(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ReferenceForms says how references are written, for a hint beside an error that wraps ErrReference.
const ReferenceForms = "write oci:DIR, oci:DIR:TAG, oci:DIR@sha256:…, oci-archive:FILE.tar[:TAG][@sha256:…], or registry.example/repository[:TAG][@sha256:…]"

// The schemes of layouts on this machine.
const (
	layoutScheme  = "oci:"
	archiveScheme = "oci-archive:"
)

func isLocal(s string) bool {
	return strings.HasPrefix(s, layoutScheme) || strings.HasPrefix(s, archiveScheme)
}

// Reference names an artifact in a layout, on disk or in a tar, or in a registry. One of Layout, Archive and Repository is set.
type Reference struct {
	Layout     string        // the directory of an OCI image layout
	Archive    string        // the tar file of an OCI image layout
	Repository string        // host[:port]/name of a repository in a registry
	Tag        string        // may be empty
	Digest     digest.Digest // sha256 of the manifest; may be empty; binds when both are given
}

// String returns the form that ParseReference reads.
func (r Reference) String() string {
	s := r.Repository
	if r.Archive != "" {
		s = archiveScheme + r.Archive
	}
	if r.Layout != "" {
		s = "oci:" + r.Layout
		if _, last, ok := cutLast(r.Layout, ":"); ok && r.Tag == "" && tagGrammar.MatchString(last) {
			s += "/" // otherwise the directory's end would be read as a tag
		}
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// IsReference reports whether s is written like a reference and not like a path. It looks at no
// file: a caller that also takes paths asks first whether the path exists, since `data.d/train` can be both.
func IsReference(s string) bool {
	for _, scheme := range []string{layoutScheme, archiveScheme, "hf://"} {
		if strings.HasPrefix(s, scheme) {
			return true
		}
	}
	host, rest, ok := strings.Cut(s, "/")
	return ok && rest != "" && isHost(host)
}

// isHost tells a registry from the first element of a path: it has a dot or a port, or is localhost.
func isHost(s string) bool {
	if s == "localhost" {
		return true
	}
	name, port, hasPort := cutLast(s, ":")
	if hasPort && !strings.HasSuffix(s, "]") {
		return name != "" && port != "" && strings.Trim(port, "0123456789") == ""
	}
	return strings.HasPrefix(s, "[") || strings.Contains(s, ".") && strings.Trim(s, ".") != "" && s[0] != '.'
}

// ParseReference reads a reference. Every error wraps ErrReference; ReferenceForms is the hint for it.
//
//	oci:DIR[:TAG][@sha256:HEX]          a layout; the tag is what follows the last colon if it has
//	                                    the form of a tag
//	oci-archive:FILE[:TAG][@sha256:HEX] a layout in a tar, read in the same way
//	HOST/NAME[:TAG][@sha256:HEX]        a registry; HOST has a dot or a port, or is localhost
func ParseReference(s string) (Reference, error) {
	switch {
	case len(s) > MaxReferenceBytes:
		return Reference{}, fmt.Errorf("oci: %w: %d bytes", ErrReference, len(s))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return Reference{}, fmt.Errorf("oci: %q: %w: it holds control characters", s, ErrReference)
	case strings.HasPrefix(s, "hf://"):
		return Reference{}, fmt.Errorf("oci: %s: %w: this form is not supported by this version", s, ErrReference)
	}
	var r Reference
	rest, err := cutDigest(s, &r)
	if err != nil {
		return Reference{}, err
	}
	if dir, ok := strings.CutPrefix(rest, layoutScheme); ok {
		r.Layout, r.Tag, err = cutTag(s, dir)
		return orEmpty(r, err)
	}
	if file, ok := strings.CutPrefix(rest, archiveScheme); ok {
		r.Archive, r.Tag, err = cutTag(s, file)
		return orEmpty(r, err)
	}
	return parseRepository(s, rest, r)
}

// cutDigest moves the digest behind the last @ to r. A directory may hold an @ of its own.
func cutDigest(s string, r *Reference) (string, error) {
	rest, last, ok := cutLast(s, "@")
	algorithm, _, hasColon := strings.Cut(last, ":")
	if !ok || !hasColon || isLocal(s) && !digest.Algorithm(algorithm).Available() {
		return s, nil
	}
	d, err := digest.Parse(last)
	if err != nil || d.Algorithm() != digest.SHA256 {
		return "", fmt.Errorf("oci: %s: %w: %q is not a sha256 digest", s, ErrReference, last)
	}
	r.Digest = d
	return rest, nil
}

// cutTag parts a path from the tag behind it.
func cutTag(s, path string) (before, tag string, err error) {
	if head, last, ok := cutLast(path, ":"); ok {
		switch {
		case tagGrammar.MatchString(last):
			path, tag = head, last
		case !strings.ContainsAny(last, `/\`):
			return "", "", fmt.Errorf("oci: %s: %w: %q is not a tag (letters, digits, '.', '_' and '-', at most 128)", s, ErrReference, last)
		}
	}
	if path == "" {
		return "", "", fmt.Errorf("oci: %s: %w: it names no directory or file", s, ErrReference)
	}
	return path, tag, nil
}

func orEmpty(r Reference, err error) (Reference, error) {
	if err != nil {
		return Reference{}, err
	}
	return r, nil
}

func parseRepository(s, rest string, r Reference) (Reference, error) {
	host, name, ok := strings.Cut(rest, "/")
	if !ok || !isHost(host) {
		return Reference{}, fmt.Errorf("oci: %s: %w: no registry in front (a name with a dot or a port, or localhost)", s, ErrReference)
	}
	name, tag, hasTag := strings.Cut(name, ":")
	if hasTag && !tagGrammar.MatchString(tag) {
		return Reference{}, fmt.Errorf("oci: %s: %w: %q is not a tag (letters, digits, '.', '_' and '-', at most 128)", s, ErrReference, tag)
	}
	parsed := registry.Reference{Registry: host, Repository: name}
	if err := parsed.Validate(); err != nil {
		return Reference{}, fmt.Errorf("oci: %s: %w: %w", s, ErrReference, err)
	}
	r.Repository, r.Tag = host+"/"+name, tag
	return r, nil
}

// cutLast is strings.Cut around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
