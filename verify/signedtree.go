package verify

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
)

// SignedTree is an OMS statement whose signature was verified, to which a tree that is read later is held: one that is read once,
// for more than to verify it.
type SignedTree struct {
	oms *attest.OMS
	// Result has the checks that were done so far, and who signed.
	Result *TreeResult
}

// OpenBundle verifies all of an OMS bundle but the files, as Tree does. A failure wraps ErrFailed.
func OpenBundle(bundle []byte, anchor Anchor, opts TreeOptions) (*SignedTree, error) {
	r := &TreeResult{}
	oms, err := r.checkBundle(bundle, anchor, opts)
	if err != nil {
		return nil, err
	}
	return &SignedTree{oms: oms, Result: r}, nil
}

// Serialization is how a tree must be built for Check. No links are followed.
func (s *SignedTree) Serialization() manifest.Serialization {
	out := s.oms.Serialization
	out.AllowSymlinks = false
	return out
}

// Expected is what was signed of each file, by its path: its shards, sorted, or its one digest. Who reads a file and holds it to that reads what was
// signed, whatever else stands in the tree. file is the one file that is read, which a signed bare file is called after; empty for a tree.
func (s *SignedTree) Expected(file string) map[string][]manifest.Resource {
	expected := map[string][]manifest.Resource{}
	for _, r := range resourcesAs(s.oms, file) {
		expected[r.Path] = append(expected[r.Path], r)
	}
	return expected
}

// HasShards reports whether the files were signed in shards. Those without contents were not signed then.
func (s *SignedTree) HasShards() bool { return s.oms.Serialization.ShardSize > 0 }

// CheckListing reports what is wrong already by a listing of the tree's files, before anything of them is read: files that are
// missing or not signed, and sha256 digests that are known beforehand and are not the signed ones. published maps each path to
// its digest, empty where none is known. Passing it is no verification: Check is. The error wraps ErrFailed.
func (s *SignedTree) CheckListing(published map[string]digest.Digest) error {
	signed := s.digestsByFile()
	diff := &manifest.Diff{}
	for name, want := range signed {
		got, ok := published[name]
		switch {
		case !ok:
			diff.Missing = append(diff.Missing, name)
		case want != "" && got != "" && got != want:
			diff.Changed = append(diff.Changed, manifest.Change{Path: name, Want: want, Got: got})
		}
	}
	for name := range published {
		// OMS v1.0 section 6.3.2: a file without contents has no shards, so that only its size would tell; Check sees it.
		if _, ok := signed[name]; !ok && s.oms.Serialization.ShardSize == 0 && !listsGit([]string{name}) {
			diff.Extra = append(diff.Extra, name)
		}
	}
	diff.Sort()
	if err := diff.Err(); err != nil {
		return s.Result.fail("files", err)
	}
	return nil
}

// digestsByFile are the sha256 digests that were signed; empty where the statement lists something else of a file.
func (s *SignedTree) digestsByFile() map[string]digest.Digest {
	signed := map[string]digest.Digest{}
	for _, r := range s.oms.Resources {
		if listsGit([]string{r.Path}) {
			continue
		}
		signed[r.Path] = ""
		if s.oms.Serialization.NamesFiles() {
			signed[r.Path] = r.Digest
		}
	}
	return signed
}

// Check reports whether m, which was built with Serialization, holds the signed files, each as it was signed, and not one more:
// neither what the signer left out by choice nor files without contents that shards do not cover. Top-level git files, which are no
// part of a tree, may be signed and missing. The error wraps ErrFailed.
func (s *SignedTree) Check(m *manifest.Manifest) error {
	signed := slices.DeleteFunc(slices.Clone(s.oms.Resources), func(r manifest.Resource) bool { return listsGit([]string{r.Path}) })
	diff := m.DiffResources(signed)
	if m.Serialization.ShardSize > 0 {
		diff.Extra = append(diff.Extra, m.EmptyFiles()...)
	}
	if err := diff.Err(); err != nil {
		return s.Result.fail("files", err)
	}
	s.Result.Files, s.Result.Bytes, s.Result.DirHash = len(m.Files), m.Size(), m.DirHash()
	s.Result.pass("files", fmt.Sprintf("%d files hashed, each as signed", len(m.Files)))
	return nil
}
