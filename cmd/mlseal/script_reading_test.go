package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/mount"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/manifest/reader"
	"github.com/rogpeppe/go-internal/testscript"
)

// attachBundle LAYOUT TAG BUNDLE attaches an OMS bundle to a package, as other tools do.
func attachBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: attach LAYOUT TAG BUNDLE")
	}
	ctx := context.Background()
	layout, err := oci.OpenLayout(ts.MkAbs(args[0]))
	ts.Check(err)
	desc, err := oci.Resolve(ctx, layout, oci.Reference{Tag: args[1]})
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[2]))
	ts.Check(err)
	_, err = oci.AttachBundle(ctx, layout, desc, data, attest.OMSPredicateType, time.Unix(0, 0))
	ts.Check(err)
}

// canMount tells whether files can be mounted here, by trying it.
func canMount() (bool, error) {
	dir, err := os.MkdirTemp("", "mlseal-mount-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.Remove(dir) }()
	tree, err := reader.NewTree(context.Background(), nil, reader.Options{})
	if err != nil {
		return false, err
	}
	mounted, err := mount.Mount(tree, dir, mount.Options{})
	if errors.Is(err, mount.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, mounted.Unmount()
}
