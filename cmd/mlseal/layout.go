package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/layout"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

// layoutFlags are about an in-toto layout.
type layoutFlags struct {
	file   string
	keys   []string
	links  string
	below  string
	unsafe bool // inspections are not run, and their rules not applied
}

func (f *layoutFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "layout", "", "in-toto layout that says by whom and how the files were to be made")
	flags.StringArrayVar(&f.keys, "layout-key", nil, "public key of the layout's owner; repeatable, and then all of them must have signed")
	flags.StringVar(&f.links, "links", "", "directory with the links of the layout's steps (default the layout's directory)")
	flags.StringVar(&f.below, "products-below", "", "the folder below which the last step's products are the files: model, when a link has model/config.json")
	flags.BoolVar(&f.unsafe, "unsafe-skip-inspections", false, "verify a layout with inspections without running them, and without the rules about them")
	for _, other := range []string{"policy", "signature", "key", "certificate-chain", "ca", "certificate-identity", "certificate-oidc-issuer", "trusted-root", "timestamp-certificate-chain", "attestations", "only", "param", "audit", "check-schemas"} {
		cmd.MarkFlagsMutuallyExclusive("layout", other)
	}
}

// given reports whether a flag about layouts was.
func (f *layoutFlags) given() bool {
	return f.file != "" || len(f.keys) > 0 || f.links != "" || f.below != "" || f.unsafe
}

// check refuses flags that do not go together.
func (f *layoutFlags) check() error {
	switch {
	case f.file == "":
		return usage(errors.New("verify: --layout-key, --links, --products-below and --unsafe-skip-inspections go with --layout"))
	case len(f.keys) == 0:
		return usage(errors.New("verify: --layout: say with --layout-key whose layout it is: what it says counts only when its owner signed it"))
	}
	return nil
}

// verifyLayout verifies the layout, and then that the files are what came out of it.
func (a *app) verifyLayout(ctx context.Context, arg string, f verifyFlags) error {
	if err := f.layout.check(); err != nil {
		return err
	}
	out, err := a.newDelivery(ctx, f.reports)
	if err != nil {
		return err
	}
	r, no := a.checkLayout(f.layout)
	if r == nil {
		return no
	}
	if no == nil {
		no = a.checkProducts(ctx, arg, r, f)
	}
	if no != nil && !errors.Is(no, verify.ErrFailed) {
		return no
	}
	return out.deliver(ctx, report.Tree{Path: arg, Result: &r.TreeResult}, no)
}

// checkLayout verifies the layout over its links. The result is nil when the files could not be read.
func (a *app) checkLayout(f layoutFlags) (*layout.Result, error) {
	var keys []layout.Key
	for _, ref := range f.keys {
		text, err := a.publicKeyText(ref)
		if err != nil {
			return nil, err
		}
		key, err := layout.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("--layout-key %s: %w", ref, err)
		}
		keys = append(keys, key)
	}
	data, err := readInput("layout", f.file, layout.MaxLayoutBytes)
	if err != nil {
		return nil, err
	}
	dir := f.links
	if dir == "" {
		dir = filepath.Dir(f.file)
	}
	links, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("--links: %w", noSuch(dir, err))
	}
	defer func() { _ = links.Close() }()
	r, err := layout.Verify(data, keys, links.FS(), layout.Options{Now: a.now(), UnsafeSkipInspections: f.unsafe})
	if err != nil && !errors.Is(err, verify.ErrFailed) {
		return nil, err
	}
	return r, err
}

// checkProducts compares a package's or directory's files with what the layout's last step made.
func (a *app) checkProducts(ctx context.Context, arg string, r *layout.Result, f verifyFlags) error {
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return err
	}
	if p == nil {
		m, err := a.hashForLayout(ctx, arg, f.store, r.NeedsGit(f.layout.below))
		if err != nil {
			return err
		}
		return r.CheckFiles(m, f.layout.below)
	}
	content, _, err := a.checkContent(ctx, p, nil, f.failFast)
	if err != nil {
		return err
	}
	r.Checks = append(r.Checks, content)
	if content.Status == verify.Failed {
		return fmt.Errorf("verify: content: %w: %s", verify.ErrFailed, content.Detail)
	}
	return r.CheckFiles(p.pkg.Tree, f.layout.below)
}

func (a *app) hashForLayout(ctx context.Context, path string, store storeFlags, git bool) (*manifest.Manifest, error) {
	t, err := a.open(ctx, path, store)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	return a.buildTree(ctx, t, manifest.Options{IncludeGit: git})
}
