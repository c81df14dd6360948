//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package oci

import (
	"errors"
	"os"
)

// tryLock has no form here: a layout is not changed where two processes could not be kept apart.
func tryLock(*os.File) (held bool, err error) {
	return false, errors.ErrUnsupported
}
