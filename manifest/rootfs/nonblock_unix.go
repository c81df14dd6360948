//go:build unix

package rootfs

import "syscall"

// nonblock opens a named pipe without waiting for somebody who writes to it. To regular files it means nothing.
const nonblock = syscall.O_NONBLOCK
