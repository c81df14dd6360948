// Package layout verifies in-toto layouts (in-toto specification 1.0) over links: that the steps which the owner of a supply chain laid out were
// done by those who may, and that what came out of each went into the next as the layout's rules say. It is the only door to in-toto-golang's
// verification.
//
// # What is verified
//
// In the order of the specification's section 5: each key of the caller has signed the layout; the layout has not expired; for each step there are
// as many links as its threshold, each by another of its keys, by the name of the step, and all alike; sublayouts likewise, with the key that was
// to sign the step; the artifact rules of every step. Thresholds, rules and summaries of sublayouts are in-toto-golang's. At last the caller
// compares its files with the products of the last step (Result.CheckFiles): without that, nothing is said about them.
//
// # What differs from InTotoVerify
//
// Nothing is executed. Inspections are commands that a layout has the verifier run; a layout with any is refused, unless the caller says that
// they are not to be run, and then their rules are not applied. InTotoVerify reads files by names that the layout chooses, prints to standard output
// and panics over some layouts, so this package reads the files itself, within bounds and strictly, and calls the parts of it that
// judge. It is stricter in this: a threshold below one, a layout without steps, a key listed under two ids, names of steps that
// leave the folder, paths that mean the same, and a link that was made for another step are refused. Certificates as
// functionaries (cert_constraints) are not understood, and refused. Keys are ECDSA, Ed25519 and RSA (PSS with SHA-256).
package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify"
	"github.com/opencontainers/go-digest"
)

// Limits of what is read.
const (
	MaxLayoutBytes = 8 << 20
	MaxLinkBytes   = link.MaxBytes
	MaxSteps       = 256 // of a layout
	MaxSigners     = 64  // of a step
	MaxRules       = 4096
	MaxDepth       = 8    // sublayouts in one another
	MaxFiles       = 2048 // links and sublayouts in all
	MaxTotalBytes  = 512 << 20
)

// Errors that callers branch on. A failed check wraps verify.ErrFailed.
var (
	// ErrKey says that a text is no public key.
	ErrKey = errors.New("not a public key for an in-toto layout")
	// ErrMetadata says that a text is no in-toto metadata that is understood.
	ErrMetadata = errors.New("not usable in-toto metadata")
	// ErrInspections says that a layout has commands to be run, which mlseal does not do.
	ErrInspections = errors.New("the layout has inspections, which are commands that a verifier is to run: mlseal runs none")
)

// Options of Verify. The zero value refuses every layout, since all have expired by its clock.
type Options struct {
	Now time.Time
	// UnsafeSkipInspections verifies a layout with inspections without running them and without the rules about them.
	UnsafeSkipInspections bool
}

// Result is what was found.
type Result struct {
	verify.TreeResult
	// Steps are those of the layout, as far as they were verified.
	Steps []Step

	products map[string]intoto.HashObj // of the last step; nil unless everything was verified
}

// Step is a step of a layout that enough of its functionaries vouch for.
type Step struct {
	Name      string
	Signers   []string // ids of keys
	Sublayout bool
}

// The names of the checks.
const (
	checkLayout      = "layout"
	checkSignature   = "layout signature"
	checkExpiry      = "expiry"
	checkInspections = "inspections"
	checkSteps       = "steps"
	checkCommands    = "commands"
	checkRules       = "artifact rules"
	checkFiles       = "files"
	checkProducts    = "other products"
)

func (r *Result) pass(name, detail string) {
	r.Checks = append(r.Checks, verify.Check{Name: name, Status: verify.Passed, Detail: detail})
}

func (r *Result) skip(name, why string) {
	r.Checks = append(r.Checks, verify.Check{Name: name, Status: verify.NotDone, Detail: why})
}

func (r *Result) fail(name string, err error) error {
	r.Checks = append(r.Checks, verify.Check{Name: name, Status: verify.Failed, Detail: err.Error()})
	return fmt.Errorf("layout: %s: %w: %w", name, verify.ErrFailed, err)
}

// Verify verifies the layout in data, which every one of keys must have signed, over the links below links. When a check said no the error
// wraps verify.ErrFailed and the result lists what was done; other errors mean that something could not be read. A nil error says nothing yet about any
// file: see Result.CheckFiles.
func Verify(data []byte, keys []Key, links fs.FS, opts Options) (*Result, error) {
	r := &Result{TreeResult: verify.TreeResult{Format: "in-toto layout"}}
	summary, err := r.verify(data, keys, links, opts)
	if err != nil {
		r.skip(checkFiles, "nothing trustworthy says what they should be")
		return r, err
	}
	r.products = summary.Products
	return r, nil
}

func (r *Result) verify(data []byte, keys []Key, links fs.FS, opts Options) (*intoto.Link, error) {
	doc, err := parse(data, MaxLayoutBytes)
	if err != nil {
		return nil, r.fail(checkLayout, err)
	}
	l, ok := doc.payload.(intoto.Layout)
	if !ok {
		return nil, r.fail(checkLayout, fmt.Errorf("%w: it is a link", ErrMetadata))
	}
	r.pass(checkLayout, fmt.Sprintf("%d steps, expires %s", len(l.Steps), l.Expires))
	if err := doc.signedByAll(keys); err != nil {
		return nil, r.fail(checkSignature, err)
	}
	r.Signer = keys[0].Fingerprint()
	r.pass(checkSignature, "by "+fingerprints(keys))
	v := &verifier{links: links, opts: opts}
	summary, err := v.layout(l, "", 0)
	return summary, r.report(v, err)
}

func fingerprints(keys []Key) string {
	var all []string
	for _, k := range keys {
		all = append(all, "key "+k.Fingerprint())
	}
	return strings.Join(all, ", ")
}

// report turns what the verifier did into checks, in its order.
func (r *Result) report(v *verifier, err error) error {
	for _, c := range []struct {
		name   string
		detail func() string
	}{
		{checkExpiry, func() string { return "not expired" }}, {checkInspections, func() string { return "the layout has none" }},
		{checkSteps, v.describeSteps}, {checkRules, func() string { return "every step's materials and products are as its rules say" }},
	} {
		if v.at == c.name && err != nil {
			var unread readError
			if errors.As(err, &unread) {
				return fmt.Errorf("layout: %w", unread.error)
			}
			return r.fail(c.name, err)
		}
		if c.name == checkInspections && v.skipped > 0 {
			r.skip(c.name, fmt.Sprintf("%d commands of the layout were not run, and the rules about them not applied", v.skipped))
			continue
		}
		r.pass(c.name, c.detail())
	}
	r.Steps = v.steps
	for _, note := range v.notes {
		r.skip(checkCommands, note)
	}
	return nil
}

// NeedsGit reports whether the products list files that mlseal leaves out of a tree because git has put them there.
func (r *Result) NeedsGit(prefix string) bool {
	for name := range r.products {
		top, _, _ := strings.Cut(strings.TrimPrefix(name, folder(prefix)), "/")
		if strings.HasPrefix(name, folder(prefix)) && slices.Contains(manifest.GitNames(), top) {
			return true
		}
	}
	return false
}

// folder is prefix with a slash behind it.
func folder(prefix string) string {
	if prefix = strings.Trim(prefix, "/"); prefix == "" || prefix == "." {
		return ""
	}
	return prefix + "/"
}

// CheckFiles compares files with the products of the layout's last step: those below prefix, or all of them where it is empty. Each product must be
// there with its sha256, and nothing else. Products elsewhere are named as not looked at.
func (r *Result) CheckFiles(m *manifest.Manifest, prefix string) error {
	if r.products == nil {
		return r.fail(checkFiles, errors.New("nothing says what they should be"))
	}
	want, others, err := r.expected(folder(prefix))
	if err != nil {
		return r.fail(checkFiles, err)
	}
	r.Files, r.Bytes, r.LeftOut = len(m.Files), m.Size(), m.LeftOut
	if len(others) > 0 {
		r.skip(checkProducts, fmt.Sprintf("%d products of the last step are not below %s: %s", len(others), folder(prefix), some(others)))
	}
	r.Diff = want.Diff(m)
	if err := r.Diff.Err(); err != nil {
		return r.fail(checkFiles, fmt.Errorf("%w%s", err, r.hint(m, prefix)))
	}
	r.DirHash = m.DirHash()
	r.pass(checkFiles, fmt.Sprintf("%d files, exactly the products of the step %s", len(m.Files), r.last()))
	return nil
}

func (r *Result) last() string { return r.Steps[len(r.Steps)-1].Name }

// some names the first of a list.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// expected is the tree of the products below prefix.
func (r *Result) expected(prefix string) (want *manifest.Manifest, others []string, err error) {
	var files []manifest.File
	for _, name := range slices.Sorted(maps.Keys(r.products)) {
		path, below := strings.CutPrefix(name, prefix)
		if !below {
			others = append(others, name)
			continue
		}
		files = append(files, manifest.File{Path: path, Digest: digest.NewDigestFromEncoded(digest.SHA256, r.products[name]["sha256"])})
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("the step %s has no products%s", r.last(), map[bool]string{true: " below " + prefix}[prefix != ""])
	}
	want, err = manifest.New(files)
	if err != nil {
		return nil, nil, fmt.Errorf("the products of the step %s are no tree: %w", r.last(), err)
	}
	return want, others, nil
}

// hint says below which folder the products would fit; empty where none does.
func (r *Result) hint(m *manifest.Manifest, prefix string) string {
	if prefix != "" || len(m.Files) == 0 {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(r.products)) {
		if below, found := strings.CutSuffix(name, "/"+m.Files[0].Path); found {
			if want, _, err := r.expected(below + "/"); err == nil && want.Diff(m).Equal() {
				return fmt.Sprintf("; the products below %q are these files (--products-below %s)", below, below)
			}
		}
	}
	return ""
}
