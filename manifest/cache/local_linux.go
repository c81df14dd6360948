package cache

import (
	"encoding/binary"
	"os"
	"unsafe"

	"github.com/mlseal/mlseal/internal/filestate"
	"golang.org/x/sys/unix"
)

// volumeOf names the file system below dir as it calls itself: by the identifier of statfs(2), on XFS, where that is the device's number, by the UUID. ok is false where the
// file system cannot be relied on.
func volumeOf(dir string) (id [8]byte, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil || !filestate.Reliable(&st) {
		return id, false
	}
	if uint32(st.Type) == unix.XFS_SUPER_MAGIC {
		return xfsID(dir)
	}
	binary.BigEndian.PutUint32(id[:4], uint32(st.Fsid.Val[0]))
	binary.BigEndian.PutUint32(id[4:], uint32(st.Fsid.Val[1]))
	return id, true
}

// xfsGeometry is struct xfs_fsop_geom_v1 of the kernel (fs/xfs/libxfs/xfs_fs.h), which package unix does not have.
type xfsGeometry struct {
	_    [64]byte
	uuid [16]byte
	_    [32]byte
}

// xfsGetGeometry is XFS_IOC_FSGEOMETRY_V1, _IOR('X', 100, struct xfs_fsop_geom_v1), with the numbers that most processors' _IOR has. Elsewhere XFS says no to it.
const xfsGetGeometry = 2<<30 | unsafe.Sizeof(xfsGeometry{})<<16 | 'X'<<8 | 100

// xfsID is half of the UUID of the XFS that dir is on, whose other half is folded into it.
func xfsID(dir string) (id [8]byte, ok bool) {
	d, err := os.Open(dir)
	if err != nil {
		return id, false
	}
	defer func() { _ = d.Close() }()
	var geometry xfsGeometry
	_, _, failed := unix.Syscall(unix.SYS_IOCTL, d.Fd(), xfsGetGeometry, uintptr(unsafe.Pointer(&geometry)))
	for i, b := range geometry.uuid {
		id[i%len(id)] ^= b
	}
	return id, failed == 0
}
