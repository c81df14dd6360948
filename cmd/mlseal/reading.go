package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/manifest/reader"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

// readFlags say what is trusted about files that are read piece by piece, for cat and mount.
type readFlags struct {
	signature    string
	trust        trustFlags
	policy       policyFlags
	attestations []string
	store        storeFlags
}

// readingExplain is the part of the help that cat and mount have in common.
const readingExplain = `What the bytes are checked against:
  --signature FILE with --key and the other flags   the shards or files of that OMS bundle (mlseal sign --shards), of a package or a directory
  --key and the other flags alone                   an OMS bundle of that signer attached to the package; without one the package's own digests, when the signer signed it
  --policy FILE                                     the policy decides first; then the package's digests, or the bundle of --signature too
  none of them                                      the package's digests: that shows that nothing was altered, and not who made it`

func (f *readFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.signature, "signature", "", "OMS bundle of the files: with shards each one is checked by itself")
	f.trust.add(cmd)
	f.policy.add(cmd)
	f.policy.addParams(cmd)
	cmd.Flags().StringArrayVar(&f.attestations, "attestations", nil, "more statements for --policy: a directory of bundles, a bundle, or a package (repeatable)")
	f.store.add(cmd)
}

// check refuses flags that say nothing together.
func (f *readFlags) check(name, arg string) error {
	switch {
	case f.signature != "" && f.trust.none():
		return usage(fmt.Errorf("%s: say who must have signed %s: --key PUB, --certificate-chain PEM, or --certificate-identity and --certificate-oidc-issuer", name, f.signature))
	case f.policy.name != "" && f.signature == "" && !f.trust.none():
		return usage(fmt.Errorf("%s: with --policy, --key and its like say who signed the bundle of --signature", name))
	case f.policy.name == "" && (f.policy.about() || len(f.policy.params) > 0 || len(f.attestations) > 0):
		return usage(fmt.Errorf("%s: --policy-digest, the other flags about a policy, --param and --attestations go with --policy", name))
	case f.policy.name == "" && f.trust.none() && (f.trust.root != "" || f.trust.timestamp != ""):
		return usage(fmt.Errorf("%s: --trusted-root and --timestamp-certificate-chain go with --policy, --key or --certificate-identity", name))
	case !isPackage(arg) && f.signature == "" && f.policy.name == "":
		return usage(fmt.Errorf("%s: nothing says what the files in %s should be: name an OMS bundle with --signature, or a --policy", name, arg))
	}
	return nil
}

// readable is an artifact whose files can be read with every byte verified.
type readable struct {
	expected map[string][]manifest.Resource
	source   func(name string) (reader.Source, error) // fs.ErrNotExist where there is none
	listed   []string                                 // the files of a package; nil for a directory
	single   string                                   // the name of the one file that was named instead of a directory
	dear     bool                                     // reading twice costs much
	basis    string                                   // what the bytes are checked against, for people
	close    func()
}

// openReadable says what the files of arg must be, once the policy or the signature said yes.
func (a *app) openReadable(ctx context.Context, arg string, f readFlags) (*readable, error) {
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return nil, err
	}
	var r *readable
	if p != nil {
		r, err = packageReadable(p)
	} else {
		r, err = a.treeReadable(ctx, arg, f.store)
	}
	if err == nil {
		err = a.trustReadable(ctx, arg, p, r, f)
	}
	if err != nil && r != nil {
		r.close()
	}
	return r, err
}

func packageReadable(p *openedPackage) (*readable, error) {
	sources, err := p.pkg.Sources(p.target)
	if err != nil {
		return nil, err
	}
	r := &readable{close: func() {}}
	for _, s := range sources {
		r.dear = r.dear || !s.Cheap()
	}
	r.source = func(name string) (reader.Source, error) {
		if s, ok := sources[name]; ok {
			return s, nil
		}
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	for _, file := range p.pkg.Tree.Files {
		r.listed = append(r.listed, file.Path)
	}
	r.expect(p.pkg.Tree, fmt.Sprintf("the digests of %s@%s; who made it was not asked", p.name, p.pkg.Descriptor.Digest))
	return r, nil
}

func (a *app) treeReadable(ctx context.Context, arg string, store storeFlags) (*readable, error) {
	t, err := a.open(ctx, arg, store)
	if err != nil {
		return nil, err
	}
	source := func(name string) (reader.Source, error) {
		if t.file != "" && name != t.file {
			return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		return reader.FromFS(t.fsys, name)
	}
	return &readable{source: source, single: t.file, dear: t.objects != nil, close: t.Close}, nil
}

// expect takes the sha256 of whole files for what they must be.
func (r *readable) expect(m *manifest.Manifest, basis string) {
	r.expected, r.basis = map[string][]manifest.Resource{}, basis
	for _, file := range m.Files {
		r.expected[file.Path] = []manifest.Resource{{Path: file.Path, Digest: file.Digest}}
	}
}

// trustReadable asks the policy and looks at the signature.
func (a *app) trustReadable(ctx context.Context, arg string, p *openedPackage, r *readable, f readFlags) error {
	if f.policy.name != "" {
		policy, err := a.loadPolicy(ctx, f.policy, f.store)
		if err != nil {
			return err
		}
		if err := a.admit(ctx, arg, p, r, policy, f); err != nil {
			return err
		}
	}
	if f.trust.none() {
		return nil
	}
	anchor, err := f.trust.anchor(ctx, a)
	if err != nil {
		return err
	}
	if f.signature != "" {
		return a.holdToBundle(anchor, p, r, f)
	}
	if held, err := a.holdToAttached(ctx, anchor, p, r); held || err != nil {
		return err
	}
	who, err := f.trust.policy(a)
	if err != nil {
		return err
	}
	return a.admit(ctx, arg, p, r, &loadedPolicy{Policy: who}, f)
}

// admit lets the policy decide before anything is read. The bytes of a package are looked at when they are read, and not before; those of a directory
// are hashed now, for nothing else names them.
func (a *app) admit(ctx context.Context, arg string, p *openedPackage, r *readable, policy *loadedPolicy, f readFlags) error {
	about := f.trust
	if f.signature != "" && (policy.TrustRoot() != nil || !policy.NeedsTrustRoot() && !policy.TakesTimestamps()) {
		about = trustFlags{} // they are about the bundle
	}
	root, err := policy.root(ctx, about)
	if err != nil {
		return err
	}
	g, err := a.gatherEvidence(ctx, arg, p, verifyFlags{attestations: f.attestations, store: f.store})
	if err != nil {
		return err
	}
	if p != nil {
		g.target.Content = verify.Check{Name: "content", Detail: "each file is verified when it is read"}
	}
	decision, err := a.judge(ctx, g, policy, root, false)
	if err != nil {
		return err
	}
	if err := decision.Err(); err != nil {
		text, renderErr := report.Render(report.Gate{Decision: decision}, report.Text, report.Options{Version: version, Now: a.now()})
		if renderErr != nil {
			return renderErr
		}
		_, _ = a.stderr.Write(text) // stdout is for the bytes
		return reportedError{err}
	}
	if p == nil {
		r.expect(g.tree, fmt.Sprintf("the tree that the policy allowed, dirHash:%s", g.tree.DirHash()))
		return nil
	}
	r.basis = fmt.Sprintf("the digests of %s@%s, which %s allows", p.name, p.pkg.Descriptor.Digest, policyName(f))
	return nil
}

func policyName(f readFlags) string {
	if f.policy.name == "" {
		return "its signature"
	}
	return "the policy " + f.policy.name
}

// holdToBundle takes the bundle that --signature names for what the files must be.
func (a *app) holdToBundle(anchor verify.Anchor, p *openedPackage, r *readable, f readFlags) error {
	bundle, err := readBundle(f.signature)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	signed, err := verify.OpenBundle(bundle, anchor, verify.TreeOptions{Now: a.now(), Bundle: f.signature})
	if err != nil {
		return err
	}
	if p != nil {
		if err := signed.CheckListing(p.digestsByFile()); err != nil {
			return err
		}
	}
	a.holdTo(signed, f.signature, r)
	return nil
}

// holdToAttached takes an OMS bundle that is attached to the package and that the anchor trusts for what its files must be, one with shards if
// there are several; it reports whether there is one. What is attached and no such bundle is nothing to object to: the gate looks at it.
func (a *app) holdToAttached(ctx context.Context, anchor verify.Anchor, p *openedPackage, r *readable) (bool, error) {
	found, err := oci.Bundles(ctx, p.target, p.pkg.Descriptor)
	if err != nil {
		return false, err
	}
	var best *verify.SignedTree
	name := ""
	for _, b := range found {
		if errors.Is(b.Err, oci.ErrUnavailable) {
			return false, b.Err
		}
		if b.Err != nil {
			continue
		}
		signed, err := verify.OpenBundle(b.Bundle, anchor, verify.TreeOptions{Now: a.now()})
		if err != nil || signed.CheckListing(p.digestsByFile()) != nil || best != nil && (best.HasShards() || !signed.HasShards()) {
			continue
		}
		best, name = signed, b.Descriptor.Digest.String()
	}
	if best == nil {
		return false, nil
	}
	a.holdTo(best, "the attached "+name, r)
	return true, nil
}

func (a *app) holdTo(signed *verify.SignedTree, name string, r *readable) {
	r.expected = signed.Expected(r.single)
	what := "the files"
	if signed.HasShards() {
		what = "the shards"
	}
	r.basis = fmt.Sprintf("%s in %s, signed by %s", what, name, signed.Result.Signer)
	if r.listed == nil {
		return
	}
	var out []string
	listed := map[string]bool{}
	for _, name := range r.listed {
		if listed[name] = true; r.expected[name] == nil {
			out = append(out, name)
		}
	}
	for name := range r.expected {
		if !listed[name] {
			delete(r.expected, name) // one of git's files, which CheckListing lets be missing, since no package holds them
		}
	}
	if len(out) > 0 {
		a.note("left out, for they are not signed: " + few(out))
	}
}

// name is the file that the command line means: the only one when it names none.
func (r *readable) name(cmd, arg, file string) (string, error) {
	if file == "" {
		if len(r.expected) == 1 {
			for only := range r.expected {
				return only, nil
			}
		}
		return "", usage(fmt.Errorf("%s: %s holds %d files: name one: %s", cmd, arg, len(r.expected), few(r.names())))
	}
	file = strings.TrimPrefix(file, "./")
	if _, ok := r.expected[file]; ok {
		return file, nil
	}
	if _, err := r.source(file); err == nil {
		return "", fmt.Errorf("%s: %s: %w: it is there, and nobody signed it", cmd, file, verify.ErrFailed)
	}
	return "", usage(fmt.Errorf("%s: %s: no such file in %s; it holds %s", cmd, file, arg, few(r.names())))
}

func (r *readable) names() []string {
	var names []string
	for name := range r.expected {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// entry is a file with its source. One that was signed and is not there is a no.
func (r *readable) entry(name string) (reader.Entry, error) {
	source, err := r.source(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w: it was signed and is not there", name, verify.ErrFailed)
	}
	return reader.Entry{Path: name, Source: source, Expected: r.expected[name]}, err
}

// tree is all files in one tree, and how many bytes they have.
func (r *readable) tree(ctx context.Context, opts reader.Options) (t *reader.Tree, size int64, err error) {
	var entries []reader.Entry
	for _, name := range r.names() {
		e, err := r.entry(name)
		if err != nil {
			return nil, 0, err
		}
		entries = append(entries, e)
		size += e.Source.Size()
	}
	t, err = reader.NewTree(ctx, entries, opts)
	return t, size, err
}
