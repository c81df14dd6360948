package verify

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

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
	// Concurrency, Total and Progress are as in manifest.Options.
	Concurrency int
	Total       func(bytes int64)
	Progress    func(n int)
}

// TreeResult is what Tree found. It lists every check, whether it passed or not.
type TreeResult struct {
	Checks []Check `json:"checks"`
	// Signer is the fingerprint of the key that verified the signature; empty when it did not.
	Signer string `json:"signer,omitempty"`
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

// Tree verifies the tree below fsys against an OMS bundle that must be signed with key: the signature, the
// statement's root digest, and every file. When a check said no the error wraps ErrFailed and
// its cause; the result is complete as far as the checks could go. Other errors mean that the tree
// could not be read.
func Tree(ctx context.Context, fsys fs.FS, bundle []byte, key *trust.Key, opts TreeOptions) (*TreeResult, error) {
	r := &TreeResult{}
	oms, err := r.checkBundle(bundle, key)
	if err != nil {
		r.skip("files", "nothing trustworthy says what they should be")
		return r, err
	}
	r.note("transparency log", "the bundle is signed with a key; log entries in it are not looked at")
	r.note("timestamp", "nothing but the key's owner vouches for when it was signed")
	return r, r.checkFiles(ctx, fsys, oms, opts)
}

func (r *TreeResult) checkBundle(data []byte, key *trust.Key) (*attest.OMS, error) {
	b, err := attest.Parse(data)
	if err != nil {
		return nil, r.fail("bundle", err)
	}
	if err := key.VerifyHinted(b); err != nil {
		return nil, r.fail("signature", err)
	}
	r.Signer = key.Fingerprint()
	r.pass("signature", "verified with the public key sha256:"+key.Fingerprint())
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
		Concurrency: opts.Concurrency, Total: opts.Total, Progress: opts.Progress})
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
	if len(got.LeftOut) > 0 {
		detail += "; not part of the tree: " + strings.Join(got.LeftOut, ", ")
	}
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
	r.Checks = append(r.Checks, Check{name, Passed, detail})
}

func (r *TreeResult) note(name, detail string) {
	r.Checks = append(r.Checks, Check{name, NotDone, detail})
}

func (r *TreeResult) skip(name, detail string) { r.note(name, detail) }

func (r *TreeResult) fail(name string, err error) error {
	r.Checks = append(r.Checks, Check{name, Failed, err.Error()})
	return fmt.Errorf("verify: %s: %w: %w", name, ErrFailed, err)
}
