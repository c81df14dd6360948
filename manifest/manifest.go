// Package manifest names a tree of files by one digest: it walks, hashes and compares trees.
//
// A tree is every regular file below a directory, or one file. One rule says which files
// belong to it, shared by every command, so that a tree has one digest whoever asks
// (OMS v1.0 section 6): at the top level `.git`, `.gitignore`, `.gitattributes` and
// `.github` are left out, and so is the signature file that stands in the tree. Everything
// else counts, dotfiles and empty files included; empty directories do not.
//
// A path is relative, separated by `/`, and sorted as bytes, which for UTF-8 is the order of
// code points. Names that could mean two things on two machines are refused: not UTF-8,
// control characters, backslashes, `.` and `..` elements.
//
// The digest of a tree is its dirHash (in-toto attestation framework, DigestSet v1.1): the
// sha256, in lower-case hexadecimal, of one line a file
//
//	<sha256 in lower-case hexadecimal><space><space><path><newline>
//
// in the order of the paths. It binds names and contents; modes, owners and times do not
// count. The OMS root digest is the sha256 over the files' raw digests in the same order; it
// binds no names, so it is written where the OMS format asks for it and never taken for an
// identity.
//
// An OMS statement may list something else than files with their sha256 (Serialization): digests of another hash type,
// shards of files, files that symbolic links lead to. The same read of each file gives both, so that the dirHash stays
// what it is.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/opencontainers/go-digest"
)

// File is one regular file of a tree.
type File struct {
	Path   string        `json:"path"`   // relative, `/` between elements
	Size   int64         `json:"size"`   // bytes
	Digest digest.Digest `json:"digest"` // sha256 of the contents
}

// Manifest lists the files of a tree, sorted by path. The zero value is the empty tree,
// which has no digest that anything accepts.
type Manifest struct {
	Files []File
	// LeftOut lists the paths that Build found and that are no part of the tree, sorted; a directory stands for
	// all that is below it. No digest covers them.
	LeftOut []string
	// Serialization says how Resources were made.
	Serialization Serialization
	// Unlisted has the paths that Options.Listed did not list; nothing is known of them but their names.
	Unlisted  []string
	resources []Resource // in the order of the paths; nil where they are the Files
}

// New returns the manifest of files. It fails when a name is not fit for a tree
// (see CheckName), is listed twice, or has a digest that is not a sha256.
func New(files []File) (*Manifest, error) {
	m := &Manifest{Files: append([]File(nil), files...)}
	sort.Slice(m.Files, func(i, j int) bool { return m.Files[i].Path < m.Files[j].Path })
	for i, f := range m.Files {
		if err := CheckName(f.Path); err != nil {
			return nil, err
		}
		if i > 0 && m.Files[i-1].Path == f.Path {
			return nil, fmt.Errorf("manifest: %q is listed twice", f.Path)
		}
		if f.Digest.Validate() != nil || f.Digest.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("manifest: %q: %q is not a sha256 digest", f.Path, f.Digest)
		}
	}
	return m, nil
}

// DirHash is the tree's digest as lower-case hexadecimal without a prefix
// (in-toto DigestSet v1.1, dirHash; golang.org/x/mod/sumdb/dirhash Hash1). It is empty for a tree without one (HasDirHash).
func (m *Manifest) DirHash() string {
	if !m.HasDirHash() {
		return ""
	}
	h := sha256.New()
	_ = m.WriteSums(h) // a hash never fails to write
	return hex.EncodeToString(h.Sum(nil))
}

// Resources lists what an OMS statement lists, sorted by path and start: the files, or what Serialization makes of them.
func (m *Manifest) Resources() []Resource {
	if !m.Serialization.NamesFiles() {
		return slices.Clone(m.resources)
	}
	return slices.AppendSeq(make([]Resource, 0, len(m.Files)), m.EachResource)
}

// EachResource calls yield for each of the Resources, without a list of them, until it returns false.
func (m *Manifest) EachResource(yield func(Resource) bool) {
	if !m.Serialization.NamesFiles() {
		slices.Values(m.resources)(yield)
		return
	}
	for _, f := range m.Files {
		if !yield(f.resource()) {
			return
		}
	}
}

// resource is a whole file as a resource.
func (f File) resource() Resource { return Resource{Path: f.Path, Digest: f.Digest} }

// EmptyFiles has the paths of the files without contents. Shards cover none of them (OMS v1.0 section 6.3.2).
func (m *Manifest) EmptyFiles() []string {
	var names []string
	for _, f := range m.Files {
		if f.Size == 0 {
			names = append(names, f.Path)
		}
	}
	return names
}

// OMSRoot is the root digest of OMS v1.0 section 6.5.1, as lower-case hexadecimal: the sha256, whatever the hash
// type is, over the raw digests of the resources in their order. It binds no file names.
func (m *Manifest) OMSRoot() string {
	h := sha256.New()
	var raw []byte
	for r := range m.EachResource {
		raw, _ = hex.AppendDecode(raw[:0], []byte(r.Digest.Encoded())) // New and Build admit hexadecimal only
		_, _ = h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Size is the number of bytes in all files.
func (m *Manifest) Size() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// WriteSums writes the lines that DirHash hashes: what sha256sum prints for the tree.
func (m *Manifest) WriteSums(w io.Writer) error {
	for _, f := range m.Files {
		if _, err := fmt.Fprintf(w, "%s  %s\n", f.Digest.Encoded(), f.Path); err != nil {
			return err
		}
	}
	return nil
}
