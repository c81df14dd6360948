//go:build !unix

package oci

import "io/fs"

// ownFile reports whether a file is known to have one name only.
func ownFile(fs.DirEntry) bool { return false }
