package verify

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify/trust"
)

// TreeOptions of Tree.
type TreeOptions struct {
	// File names the one file below fsys that is verified; empty for the whole tree.
	File string
	// Signature is the path of the bundle below fsys, which is no part of the tree; empty when it is
	// elsewhere.
	Signature string
	// Concurrency and Progress are as in manifest.Options.
	Concurrency int
	Progress    func(n int)
	// Now is the current time, for certificates that no verified timestamp gives a time to.
	Now time.Time
}

// TreeResult is what Tree found. It lists every check, whether it passed or not.
type TreeResult struct {
	Checks []Check `json:"checks"`
	// Signer is who signed: the fingerprint of a key, the subject of a certificate or identity; empty when
	// that was not verified. Issuer is who says so: the issuer of the certificate or identity.
	Signer string `json:"signer,omitempty"`
	Issuer string `json:"issuer,omitempty"`
	// SignedAt is the verified time of signing and TimeSource who vouches for it, where somebody does.
	SignedAt   *time.Time `json:"signedAt,omitempty"`
	TimeSource string     `json:"timeSource,omitempty"`
	// Name is the signed name of the tree, DirHash the digest of the files that were signed.
	Name    string `json:"name,omitempty"`
	DirHash string `json:"dirHash,omitempty"`
	// Files and Bytes count what was hashed.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Ignored lists the paths that the signer chose to leave out beyond what every tree leaves out: their
	// contents were not verified.
	Ignored []string       `json:"ignored,omitempty"`
	Diff    *manifest.Diff `json:"diff,omitempty"`
}

// Tree verifies the tree below fsys against an OMS bundle that must be signed by whom anchor trusts: the signature
// and all that the anchor checks about it, the statement's root digest, and every file. When a check said no the
// error wraps ErrFailed and its cause; the result is complete as far as the checks could go. Other errors mean that
// the tree could not be read.
func Tree(ctx context.Context, fsys fs.FS, bundle []byte, anchor trust.Anchor, opts TreeOptions) (*TreeResult, error) {
	r := &TreeResult{}
	oms, err := r.checkBundle(bundle, anchor, opts)
	if err != nil {
		r.skip("files", "nothing trustworthy says what they should be")
		return r, err
	}
	return r, r.checkFiles(ctx, fsys, oms, opts)
}

func (r *TreeResult) checkBundle(data []byte, anchor trust.Anchor, opts TreeOptions) (*attest.OMS, error) {
	b, err := attest.Parse(data)
	if err != nil {
		return nil, r.fail("bundle", err)
	}
	if b.Message != nil {
		_, err := b.UnverifiedStatement() // which says that there is none
		return nil, r.fail("bundle", err)
	}
	who := anchor.Check(b, trust.Options{Now: opts.Now, RequireHint: true})
	r.Checks = append(r.Checks, who.Checks...)
	if err := who.Err(); err != nil {
		return nil, fmt.Errorf("verify: %s: %w: %w", who.Failed(), ErrFailed, err)
	}
	r.Signer, r.Issuer, r.TimeSource = who.Signer, who.Issuer, who.TimeSource
	if !who.Time.IsZero() {
		r.SignedAt = &who.Time
	}
	s, err := b.UnverifiedStatement() // verified by now
	if err != nil {
		return nil, r.fail("statement", err)
	}
	oms, err := attest.ParseOMS(s)
	if err != nil {
		return nil, r.fail("statement", err)
	}
	r.Name, r.DirHash = oms.Name, oms.Manifest.DirHash()
	r.pass("statement", fmt.Sprintf("lists %d files, root digest sha256:%s matches", len(oms.Manifest.Files), oms.Root))
	return oms, nil
}

func (r *TreeResult) checkFiles(ctx context.Context, fsys fs.FS, oms *attest.OMS, opts TreeOptions) error {
	ignore := oms.IgnorePaths
	if opts.Signature != "" {
		ignore = append([]string{opts.Signature}, ignore...)
	}
	r.Ignored = signersChoice(oms.IgnorePaths, opts.Signature)
	want := oms.Manifest
	if opts.File != "" && oms.SingleFile {
		// The reference implementation names a bare file "."; whatever it is called here is its name.
		want = &manifest.Manifest{Files: []manifest.File{{Path: opts.File, Digest: want.Files[0].Digest}}}
	}
	got, err := manifest.Build(ctx, fsys, manifest.Options{File: opts.File, Ignore: ignore, IncludeGit: listsGit(want),
		Concurrency: opts.Concurrency, Progress: opts.Progress})
	if err != nil {
		if manifest.IsRefusal(err) {
			return r.fail("files", err)
		}
		return err
	}
	r.Files, r.Bytes = len(got.Files), got.Size()
	if r.Diff = want.Diff(got); !r.Diff.Equal() {
		return r.fail("files", r.Diff.Err())
	}
	detail := fmt.Sprintf("%d files hashed, each as signed", r.Files)
	if len(r.Ignored) > 0 {
		detail += "; not looked at, by the signer's choice: " + strings.Join(r.Ignored, ", ")
	}
	r.pass("files", detail)
	return nil
}

// listsGit reports whether the signer signed top-level git files too, which a tree leaves out otherwise.
func listsGit(m *manifest.Manifest) bool {
	for _, f := range m.Files {
		top, _, _ := strings.Cut(f.Path, "/")
		for _, g := range manifest.GitNames() {
			if top == g {
				return true
			}
		}
	}
	return false
}

// signersChoice are the ignored paths that no rule of ours would leave out.
func signersChoice(ignored []string, signature string) []string {
	var own []string
	usual := append(manifest.GitNames(), signature)
next:
	for _, name := range ignored {
		for _, u := range usual {
			if name == u {
				continue next
			}
		}
		own = append(own, name)
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
