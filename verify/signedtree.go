package verify

import (
	"fmt"
	"slices"

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

// Check reports whether m, which was built with Serialization, holds the signed files, each as it was signed, and not one more:
// neither what the signer left out by choice nor files without contents that shards do not cover. Top-level git files, which are no
// part of a tree, may be signed and missing. The error wraps ErrFailed.
func (s *SignedTree) Check(m *manifest.Manifest) error {
	signed := slices.DeleteFunc(slices.Clone(s.oms.Resources), func(r manifest.Resource) bool { return listsGit([]string{r.Path}) })
	diff := manifest.DiffResources(signed, m.Resources())
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
