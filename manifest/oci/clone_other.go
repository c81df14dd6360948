//go:build !linux

package oci

import (
	"errors"
	"os"
)

// cloneFile has no form here; files are copied.
var cloneFile = func(to, from *os.File) error { return errors.ErrUnsupported }
