package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ErrAssembly says that files and resources do not make a manifest.
var ErrAssembly = errors.New("the entries do not make a manifest")

// Assemble makes a manifest of what was hashed elsewhere. resources are nil where s.NamesFiles; where s has shards, files need no digest: then
// the tree may have no dirHash. Each resource must belong to a file, and the resources must cover each file whole. The error wraps
// ErrAssembly or ErrName.
func Assemble(s Serialization, files []File, resources []Resource) (*Manifest, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	m := &Manifest{Serialization: s, Files: slices.Clone(files)}
	sort.Slice(m.Files, func(i, j int) bool { return m.Files[i].Path < m.Files[j].Path })
	for i, f := range m.Files {
		if i > 0 && m.Files[i-1].Path == f.Path {
			return nil, fmt.Errorf("manifest: %w: %q is listed twice", ErrAssembly, f.Path)
		}
		if err := s.CheckFile(f); err != nil {
			return nil, err
		}
	}
	if s.NamesFiles() {
		if len(resources) > 0 {
			return nil, fmt.Errorf("manifest: %w: there are resources beside the files", ErrAssembly)
		}
		return m, nil
	}
	m.resources = slices.Clone(resources)
	for _, r := range m.resources {
		if err := s.CheckResource(r); err != nil {
			return nil, err
		}
	}
	if err := s.SortResources(m.resources); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAssembly, err)
	}
	return m, m.fit()
}

// CheckFile reports whether f can stand in a manifest: its name is fit for a tree, and its digest a sha256; where s has shards, there may
// be none.
func (s Serialization) CheckFile(f File) error {
	if err := CheckName(f.Path); err != nil {
		return err
	}
	if f.Size < 0 {
		return fmt.Errorf("manifest: %w: %q has %d bytes", ErrAssembly, f.Path, f.Size)
	}
	if f.Digest == "" && s.ShardSize > 0 {
		return nil
	}
	if !SHA256.made(f.Digest) {
		return fmt.Errorf("manifest: %w: %q: %q is not a sha256 digest", ErrAssembly, f.Path, f.Digest)
	}
	return nil
}

// CheckResource reports whether r can stand in a manifest that is made with s.
func (s Serialization) CheckResource(r Resource) error {
	if err := CheckName(r.Path); err != nil {
		return err
	}
	if !s.HashType().made(r.Digest) {
		return fmt.Errorf("manifest: %w: %q: %q is not a %s digest", ErrAssembly, r.Name(), r.Digest, s.HashType())
	}
	if s.ShardSize == 0 && (r.Start != 0 || r.End != 0) {
		return fmt.Errorf("manifest: %w: %q is a shard where files are listed", ErrAssembly, r.Name())
	}
	return nil
}

// made reports whether d is a digest of this type, in lower-case hexadecimal.
func (h HashType) made(d digest.Digest) bool {
	algorithm, encoded, ok := strings.Cut(string(d), ":")
	if !ok || algorithm != string(h) || len(encoded) != 2*h.Size() {
		return false
	}
	for _, c := range []byte(encoded) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// fit holds the resources to the files, and fills in the digests that follow from shards.
func (m *Manifest) fit() error {
	rest := m.resources
	for i, f := range m.Files {
		own := leadingFile(rest)
		if len(own) > 0 && own[0].Path != f.Path {
			own = nil
		}
		rest = rest[len(own):]
		var end int64
		if len(own) > 0 {
			end = own[len(own)-1].End
		}
		if m.Serialization.ShardSize == 0 && len(own) != 1 || m.Serialization.ShardSize > 0 && end != f.Size {
			return fmt.Errorf("manifest: %w: %q: its %d bytes are not what the resources are about", ErrAssembly, f.Path, f.Size)
		}
		whole := m.Serialization.wholeDigest(f, own)
		switch {
		case f.Digest == "":
			m.Files[i].Digest = whole
		case whole != "" && whole != f.Digest:
			return fmt.Errorf("manifest: %w: %q: its digest is not that of its resource", ErrAssembly, f.Path)
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("manifest: %w: %q is no part of a file", ErrAssembly, rest[0].Name())
	}
	return nil
}

// wholeDigest is the sha256 of a file where that follows from its resources: it is empty, or has one of sha256.
func (s Serialization) wholeDigest(f File, shards []Resource) digest.Digest {
	switch {
	case f.Size == 0:
		return newDigest(SHA256, sha256.New())
	case len(shards) == 1 && s.HashType() == SHA256:
		return shards[0].Digest
	}
	return ""
}

// HasDirHash reports whether the sha256 of every file is known. Of a tree that was assembled from shards it may not be.
func (m *Manifest) HasDirHash() bool {
	return !slices.ContainsFunc(m.Files, func(f File) bool { return f.Digest == "" })
}
