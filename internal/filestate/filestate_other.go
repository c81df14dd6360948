//go:build !linux && !darwin

package filestate

import "io/fs"

// There is no portable form; what is compared elsewhere is size, modification time and mode.
func inodeOf(fs.FileInfo) (Inode, bool) { return Inode{}, false }
func linksOf(fs.FileInfo) uint64        { return 1 }
func isMine(fs.FileInfo) bool           { return false }
