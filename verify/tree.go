package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/brief"
	"github.com/mlseal/mlseal/manifest"
)

// TreeOptions of Tree. The zero value checks every file and follows no links.
type TreeOptions struct {
	// File names the one file below fsys that is verified; empty for the whole tree.
	File string
	// Bundle is what messages call the bundle: the name of its file, say. It may be empty.
	Bundle string
	// Signature is the path of the bundle below fsys, which is no part of the tree; empty when it is
	// elsewhere.
	Signature string
	// Ignore lists paths that are not looked at by the verifier's choice, beside those of the signer's.
	Ignore []string
	// IncludeGit holds top-level git files to be signed like all others, but for those that the signer left out by name, which
	// Ignored then lists. They are looked at in any case when the signer signed some.
	IncludeGit bool
	// IgnoreUnsigned reports files that are not signed as not checked, instead of failing (OMS v1.0 section 8.5).
	IgnoreUnsigned bool
	// AllowSymlinks takes bundles that were made with allow_symlinks, and follows links in the tree; see
	// manifest.Serialization.
	AllowSymlinks bool
	// FailFast ends at the first file that is not as it was signed, instead of naming all of them.
	FailFast bool
	// Concurrency, Total and Progress are as in manifest.Options.
	Concurrency int
	Total       func(bytes int64)
	Progress    func(n int)
	// Now is the current time, for certificates that no verified timestamp gives a time to.
	Now time.Time
}

// TreeResult is what Tree found. It lists every check, whether it passed or not.
type TreeResult struct {
	Checks []Check `json:"checks"`
	// Format names the format of the bundle once its statement was read.
	Format string `json:"format,omitempty"`
	// Signer is who signed: the fingerprint of a key, the subject of a certificate or identity; empty when
	// that was not verified. Issuer is who says so: the issuer of the certificate or identity.
	Signer string `json:"signer,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	// SignedAt is the verified time of signing and TimeSource who vouches for it, where somebody does.
	SignedAt   *time.Time `json:"signedAt,omitempty"`
	TimeSource string     `json:"timeSource,omitempty"`
	// Name is the signed name of the tree, DirHash the digest of the files that were signed: as the statement lists them, or, where
	// it lists something else, as they were found and verified.
	Name    string `json:"name,omitempty"`
	DirHash string `json:"dirHash,omitempty"`
	// Files and Bytes count what was hashed and is signed or not as it was.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// LeftOut are git's files at the top, which are no part of a tree.
	LeftOut []string `json:"leftOut,omitempty"`
	// Ignored lists the paths that the signer chose to leave out beyond what every tree leaves out, IgnoredHere those that the
	// verifier did: their contents were not verified.
	Ignored     []string `json:"ignored,omitempty"`
	IgnoredHere []string `json:"ignoredHere,omitempty"`
	// Unsigned lists files in the tree that the statement does not cover and that did not fail it: by IgnoreUnsigned, or because
	// they are empty and the statement lists shards.
	Unsigned []string       `json:"unsigned,omitempty"`
	Diff     *manifest.Diff `json:"diff,omitempty"`
}

// The formats that a bundle of a tree can have.
const (
	formatOMS    = "OMS v1.0"
	formatLegacy = "model-signing 0.2 (legacy)"
)

// Tree verifies the tree below fsys against an OMS bundle that must be signed by whom anchor trusts: the signature
// and all that the anchor checks about it, the statement's root digest, and every file. When a check said no the
// error wraps ErrFailed and its cause; the result is complete as far as the checks could go. Other errors mean that
// the tree could not be read.
func Tree(ctx context.Context, fsys fs.FS, bundle []byte, anchor Anchor, opts TreeOptions) (*TreeResult, error) {
	r := &TreeResult{}
	oms, err := r.checkBundle(bundle, anchor, opts)
	if err != nil {
		r.skip("files", "nothing trustworthy says what they should be")
		return r, err
	}
	return r, r.checkFiles(ctx, fsys, oms, opts)
}

func (r *TreeResult) checkBundle(data []byte, anchor Anchor, opts TreeOptions) (*attest.OMS, error) {
	b, err := attest.Parse(data)
	if err != nil {
		if opts.Bundle != "" {
			err = fmt.Errorf("%s: %w", opts.Bundle, err)
		}
		return nil, r.fail("bundle", err)
	}
	if b.Message != nil {
		_, err := b.UnverifiedStatement() // which says that there is none
		return nil, r.fail("bundle", err)
	}
	// Read before the signature is verified for one thing only: a statement of model-signing 0.2 is held to that version's
	// encoding, and to no other.
	s, parseErr := b.UnverifiedStatement()
	legacy := parseErr == nil && s.PredicateType == attest.OMSLegacyPredicateType
	who := anchor.Check(b, Options{Now: opts.Now, RequireHint: true, Legacy: legacy})
	r.Checks = append(r.Checks, who.Checks...)
	if err := who.Err(); err != nil {
		return nil, fmt.Errorf("verify: %s: %w: %w", who.Failed(), ErrFailed, err)
	}
	r.Signer, r.Issuer, r.TimeSource = who.Signer, who.Issuer, who.TimeSource
	if !who.Time.IsZero() {
		r.SignedAt = &who.Time
	}
	if parseErr != nil {
		return nil, r.fail("statement", parseErr)
	}
	return r.checkStatement(s, opts)
}

// checkStatement reads a statement whose signature is verified.
func (r *TreeResult) checkStatement(s *attest.Statement, opts TreeOptions) (*attest.OMS, error) {
	oms, err := attest.ParseOMS(s)
	if err != nil {
		return nil, r.fail("statement", err)
	}
	if oms.Serialization.AllowSymlinks && !opts.AllowSymlinks {
		return nil, r.fail("statement", errLinks)
	}
	r.Name, r.Format = oms.Name, formatOMS
	if dirHash, err := oms.DirHash(); err == nil {
		r.DirHash = dirHash
	}
	detail := fmt.Sprintf("lists %d files, root digest sha256:%s matches", len(oms.Files()), oms.Root)
	if oms.Legacy {
		r.Format = formatLegacy
		detail = fmt.Sprintf("lists %d files in the legacy format of model-signing 0.2: no root digest, no name, signed in an encoding of its own; sign again", len(oms.Resources))
	}
	if !oms.Legacy && !oms.Serialization.NamesFiles() {
		detail += "; " + describeSerialization(oms)
	}
	r.pass("statement", detail)
	return oms, nil
}

// errLinks is no sentinel for callers: the report names it.
var errLinks = errors.New("it was made with allow_symlinks, so what it signed may stand outside of the tree; only verify --allow-symlinks accepts that")

func describeSerialization(oms *attest.OMS) string {
	s := oms.Serialization
	if s.ShardSize == 0 {
		return string(s.HashType()) + " digests"
	}
	return fmt.Sprintf("%d shards of at most %d bytes, %s digests", len(oms.Resources), s.ShardSize, s.HashType())
}

func (r *TreeResult) checkFiles(ctx context.Context, fsys fs.FS, oms *attest.OMS, opts TreeOptions) error {
	r.Ignored, r.IgnoredHere = signersChoice(oms.IgnorePaths, opts), opts.Ignore
	want := resourcesAs(oms, opts.File)
	build := buildOptions(oms, opts)
	if opts.FailFast {
		stopAtFirst(&build, want)
	}
	got, err := manifest.Build(ctx, fsys, build)
	if err != nil {
		var first *firstError
		if errors.As(err, &first) {
			r.Diff = first.diff
		}
		if first != nil || manifest.IsRefusal(err) {
			return r.fail("files", err)
		}
		return err
	}
	var empty []string
	if got.Serialization.ShardSize > 0 {
		// OMS v1.0 section 6.3.2: files with zero bytes have no shards, so none of them can be missing or extra.
		empty = got.EmptyFiles()
	}
	r.Files, r.Bytes, r.Unsigned = len(got.Files)-len(empty), got.Size(), slices.Concat(got.Unlisted, empty)
	r.LeftOut = slices.DeleteFunc(got.LeftOut, func(name string) bool { return !slices.Contains(manifest.GitNames(), name) })
	if r.Diff = got.DiffResources(want); !r.Diff.Equal() {
		return r.fail("files", r.Diff.Err())
	}
	if r.DirHash == "" {
		r.DirHash = got.DirHash()
	}
	if len(r.Unsigned) > 0 {
		r.DirHash = "" // it would cover files that nobody signed
	}
	r.pass("files", r.describeFiles(len(oms.Files())))
	return nil
}

// firstError is the first difference, at which Build was ended.
type firstError struct{ diff *manifest.Diff }

func (e *firstError) Error() string {
	return "stopped at the first difference, the rest was not looked at: " + e.diff.Err().Error()
}

// firstOf is nil when there is no difference.
func firstOf(d *manifest.Diff) error {
	if d.Equal() {
		return nil
	}
	d.Sort()
	return &firstError{d}
}

// stopAtFirst ends a Build before it reads anything when files are missing or extra, and otherwise at the first file that differs
// from what is wanted.
func stopAtFirst(build *manifest.Options, want []manifest.Resource) {
	s := build.Serialization
	listed := map[string][]manifest.Resource{}
	for _, r := range want {
		listed[r.Path] = append(listed[r.Path], r)
	}
	build.Found = func(files []manifest.File) error {
		d, found := &manifest.Diff{}, map[string]bool{}
		for _, f := range files {
			found[f.Path] = true
			// OMS v1.0 section 6.3.2: files with zero bytes have no shards.
			if listed[f.Path] == nil && (s.ShardSize == 0 || f.Size > 0) {
				d.Extra = append(d.Extra, f.Path)
			}
		}
		for name := range listed {
			if !found[name] {
				d.Missing = append(d.Missing, name)
			}
		}
		return firstOf(d)
	}
	build.Hashed = func(f manifest.File, resources []manifest.Resource) error {
		if s.NamesFiles() {
			resources = []manifest.Resource{{Path: f.Path, Digest: f.Digest}}
		}
		return firstOf(manifest.DiffResources(listed[f.Path], resources))
	}
}

// resourcesAs are the signed resources, for the one file that is looked at or, when it is empty, for a tree. The reference implementation names a
// bare file "."; whatever it is called here is its name.
func resourcesAs(oms *attest.OMS, file string) []manifest.Resource {
	if file == "" || !oms.SingleFile {
		return oms.Resources
	}
	out := slices.Clone(oms.Resources)
	for i := range out {
		out[i].Path = file
	}
	return out
}

func buildOptions(oms *attest.OMS, opts TreeOptions) manifest.Options {
	out := manifest.Options{File: opts.File, Ignore: slices.Concat(oms.IgnorePaths, opts.Ignore),
		IncludeGit: opts.IncludeGit || listsGit(oms.Files()), Serialization: oms.Serialization, ShardsOnly: true,
		Concurrency: opts.Concurrency, Total: opts.Total, Progress: opts.Progress}
	// The verifier's own choice: a tree of links to the signed contents, such as a cache, is as good as the contents.
	out.Serialization.AllowSymlinks = opts.AllowSymlinks
	if opts.Signature != "" {
		out.Ignore = append(out.Ignore, opts.Signature)
	}
	if opts.IgnoreUnsigned {
		out.Listed = map[string]bool{}
		for _, name := range oms.Files() {
			out.Listed[name] = true
		}
	}
	return out
}

func (r *TreeResult) describeFiles(signed int) string {
	detail := fmt.Sprintf("%d files hashed, each as signed", signed)
	for _, list := range []struct {
		what  string
		names []string
	}{{"not part of the tree", r.LeftOut}, {"not looked at, by the signer's choice", r.Ignored}, {"not looked at, by your choice", r.IgnoredHere}, {"not checked, for nobody signed them", r.Unsigned}} {
		if len(list.names) > 0 {
			detail += "; " + list.what + ": " + brief.List(list.names, 20)
		}
	}
	return detail
}

// listsGit reports whether the signer signed top-level git files too, which a tree leaves out otherwise.
func listsGit(files []string) bool {
	for _, name := range files {
		top, _, _ := strings.Cut(name, "/")
		if slices.Contains(manifest.GitNames(), top) {
			return true
		}
	}
	return false
}

// signersChoice are the ignored paths that no rule of ours would leave out.
func signersChoice(ignored []string, opts TreeOptions) []string {
	usual := []string{opts.Signature}
	if !opts.IncludeGit {
		usual = append(usual, manifest.GitNames()...)
	}
	var own []string
	for _, name := range ignored {
		if !slices.Contains(usual, name) {
			own = append(own, name)
		}
	}
	return own
}

func (r *TreeResult) pass(name, detail string) {
	r.Checks = append(r.Checks, Check{Name: name, Status: Passed, Detail: detail})
}

func (r *TreeResult) note(name, detail string) {
	r.Checks = append(r.Checks, Check{Name: name, Status: NotDone, Detail: detail})
}

func (r *TreeResult) skip(name, detail string) { r.note(name, detail) }

func (r *TreeResult) fail(name string, err error) error {
	r.Checks = append(r.Checks, Check{Name: name, Status: Failed, Detail: err.Error()})
	return fmt.Errorf("verify: %s: %w: %w", name, ErrFailed, err)
}
