//go:build !linux

package mount

import (
	"fmt"
	"runtime"

	"github.com/mlseal/mlseal/manifest/reader"
)

// Mounted is a tree that is mounted: on Linux only.
type Mounted struct{}

// Mount fails with ErrUnsupported.
func Mount(*reader.Tree, string, Options) (*Mounted, error) {
	return nil, fmt.Errorf("mount: %w: on Linux only, and this is %s", ErrUnsupported, runtime.GOOS)
}

// Wait returns at once.
func (*Mounted) Wait() {}

// Unmount does nothing.
func (*Mounted) Unmount() error { return nil }
