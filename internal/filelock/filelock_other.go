//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filelock

import (
	"errors"
	"os"
)

// Try has no form here: what is locked elsewhere is not changed where two processes could not be kept apart.
func Try(*os.File) (held bool, err error) {
	return false, errors.ErrUnsupported
}
