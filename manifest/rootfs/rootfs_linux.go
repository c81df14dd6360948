package rootfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mlseal/mlseal/internal/filestate"
)

// beneath asks the kernel.
type beneath struct {
	plain
	path string
	dir  *os.File // the directory itself
	fd   int
}

func open(root *os.Root) FS {
	fallback := plainOf(root)
	dir, err := root.Open(".")
	if err != nil {
		return fallback
	}
	b := &beneath{plain: fallback, path: root.Name(), dir: dir, fd: int(dir.Fd())}
	probe, err := b.openat2(".", unix.O_PATH)
	if err != nil { // an older kernel, or a sandbox that does not know the call
		_ = dir.Close()
		return fallback
	}
	_ = unix.Close(probe)
	return b
}

// Close implements FS.
func (b *beneath) Close() error { return b.dir.Close() }

// openat2 opens name, which cannot lead out of the directory: not by "..", not by a link, and not by renaming folders meanwhile.
func (b *beneath) openat2(name string, flags uint64) (int, error) {
	return unix.Openat2(b.fd, name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
}

// Open implements fs.FS. The file is an *os.File.
func (b *beneath) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return b.plain.Open(name)
	}
	fd, err := b.openat2(name, unix.O_RDONLY|nonblock)
	if err != nil {
		return b.plain.Open(name)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err != nil { // else os.NewFile would ask the poller about every file
		_ = unix.Close(fd)
		return b.plain.Open(name)
	}
	return os.NewFile(uintptr(fd), filepath.Join(b.path, name)), nil
}

// Lstat implements fs.ReadLinkFS.
func (b *beneath) Lstat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return b.plain.Lstat(name)
	}
	var st unix.Stat_t
	if err := b.stat(name, &st); err != nil {
		return b.plain.Lstat(name)
	}
	info := filestate.InfoOf(name[strings.LastIndexByte(name, '/')+1:], &st)
	return &info, nil
}

func (b *beneath) stat(name string, st *unix.Stat_t) error {
	if !strings.Contains(name, "/") { // no folder stands on the way that could be exchanged for a link
		return unix.Fstatat(b.fd, name, st, unix.AT_SYMLINK_NOFOLLOW)
	}
	fd, err := b.openat2(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Fstat(fd, st)
}

// ReadDir implements fs.ReadDirFS. The entries know all of their files.
func (b *beneath) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := b.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	dir, ok := f.(*os.File)
	if !ok {
		return b.plain.ReadDir(name)
	}
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return b.plain.ReadDir(name) // which says what is wrong
	}
	slices.Sort(names)
	infos := make([]filestate.Info, 0, len(names))
	fd := int(dir.Fd())
	var st unix.Stat_t
	for _, name := range names {
		switch err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
		case nil:
			infos = append(infos, filestate.InfoOf(name, &st))
		case unix.ENOENT: // removed meanwhile: not there
		default:
			return nil, &fs.PathError{Op: "lstat", Path: filepath.Join(dir.Name(), name), Err: err}
		}
	}
	list := make([]fs.DirEntry, len(infos))
	for i := range infos {
		list[i] = &infos[i]
	}
	return list, nil
}
