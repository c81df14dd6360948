//go:build unix

package oci

import (
	"io/fs"
	"syscall"
)

// ownFile reports whether a file has one name only: what is written to it changes no other file.
func ownFile(d fs.DirEntry) bool {
	info, err := d.Info()
	if err != nil {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 1
}
