package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
)

// CheckPush finds out early whether a package can be pushed to ref, so far as that can be known without pushing it. To a registry the
// empty config is sent, which every statement has. A layout need not be there; then nothing is made.
func CheckPush(ctx context.Context, ref Reference, opts OpenOptions) error {
	if ref.Layout != "" {
		return checkLayoutPlace(ref.Layout)
	}
	opts.Create = true
	target, err := Open(ctx, ref, opts)
	if err != nil {
		return err
	}
	empty := ocispec.DescriptorEmptyJSON
	if err := target.Push(ctx, plain(empty), bytes.NewReader(empty.Data)); err != nil && !errors.Is(err, errdef.ErrAlreadyExists) {
		return fmt.Errorf("oci: %s: cannot be pushed to: %w", ref, err)
	}
	return nil
}

// checkLayoutPlace tries to write where the layout is or will be.
func checkLayoutPlace(dir string) error {
	layout, err := OpenLayout(dir)
	switch {
	case err == nil:
		dir = layout.blobsDir()
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNotLayout) && vacant(dir, err) == nil:
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
				break
			}
		}
	default:
		return err
	}
	f, err := os.CreateTemp(dir, ".mlseal-*")
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	_ = f.Close()
	return os.Remove(f.Name())
}
