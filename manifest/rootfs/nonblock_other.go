//go:build !unix

package rootfs

// nonblock is nothing where a tree holds no named pipes.
const nonblock = 0
