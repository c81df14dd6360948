package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/mlseal/mlseal/manifest/reader"
)

// Mounted is a tree that is mounted.
type Mounted struct {
	server *fuse.Server
	dir    string
}

// Device is what the kernel answers by.
const Device = "/dev/fuse"

// Mount mounts tree on the directory dir: read-only, without set-user-ID bits, devices and access times. It fails with ErrUnsupported where that
// is not possible. The tree must stay open until it is unmounted.
func Mount(tree *reader.Tree, dir string, opts Options) (*Mounted, error) {
	if err := checkDevice(); err != nil {
		return nil, err
	}
	always := time.Hour // nothing in the tree changes
	fsOptions := &fs.Options{EntryTimeout: &always, AttrTimeout: &always, NegativeTimeout: &always,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), MountOptions: mountOptions(opts)}
	server, err := fs.Mount(dir, &directory{tree: tree, path: ".", opts: opts}, fsOptions)
	if err != nil {
		if errors.Is(err, syscall.EPERM) || errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("mount: %s: %w: %w", dir, ErrUnsupported, err)
		}
		return nil, fmt.Errorf("mount: %s: %w", dir, err)
	}
	return &Mounted{server, dir}, nil
}

// checkDevice finds out whether there is FUSE, and whether this user may use it.
func checkDevice() error {
	f, err := os.OpenFile(Device, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("mount: %w: %w", ErrUnsupported, err)
	}
	return f.Close()
}

func mountOptions(opts Options) fuse.MountOptions {
	out := fuse.MountOptions{Name: "mlseal", FsName: opts.Name, DisableXAttrs: true, MaxWrite: 1 << 20, MaxReadAhead: 1 << 20}
	if os.Geteuid() == 0 {
		out.DirectMountStrict = true
		out.DirectMountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOATIME
		out.Options = []string{"default_permissions"}
	} else { // fusermount, which adds nosuid and nodev whatever it is told
		out.Options = []string{"ro", "nosuid", "nodev", "noatime", "default_permissions"}
	}
	return out
}

// Wait returns when the tree is unmounted, by whomever.
func (m *Mounted) Wait() { m.server.Wait() }

// Unmount unmounts the tree. When somebody still uses it, it is taken out of sight, and ends with the last who does or with this process.
func (m *Mounted) Unmount() error {
	if m.server.Unmount() == nil {
		return nil
	}
	err := syscall.Unmount(m.dir, syscall.MNT_DETACH)
	if errors.Is(err, syscall.EPERM) {
		err = exec.Command("fusermount3", "-u", "-z", m.dir).Run()
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) {
		return nil // somebody else was faster
	}
	if err != nil {
		return fmt.Errorf("mount: %s: %w", m.dir, err)
	}
	return nil
}

// directory is a directory of the tree. All that is below it is made when it is added.
type directory struct {
	fs.Inode
	tree *reader.Tree
	path string
	opts Options
}

var (
	_ fs.NodeOnAdder   = (*directory)(nil)
	_ fs.NodeGetattrer = (*directory)(nil)
)

// OnAdd implements fs.NodeOnAdder.
func (d *directory) OnAdd(ctx context.Context) {
	entries, err := d.tree.ReadDir(d.path)
	if err != nil {
		return // the tree lists its own directories
	}
	for _, e := range entries {
		name := path.Join(d.path, e.Name())
		if e.IsDir() {
			d.AddChild(e.Name(), d.NewPersistentInode(ctx, &directory{tree: d.tree, path: name, opts: d.opts}, fs.StableAttr{Mode: syscall.S_IFDIR}), false)
			continue
		}
		if f, err := d.tree.File(name); err == nil {
			d.AddChild(e.Name(), d.NewPersistentInode(ctx, &file{verified: f, opts: d.opts}, fs.StableAttr{Mode: syscall.S_IFREG}), false)
		}
	}
}

// Getattr implements fs.NodeGetattrer.
func (d *directory) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o555
	return fs.OK
}

// file is a verified file.
type file struct {
	fs.Inode
	verified *reader.File
	opts     Options
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
)

// Getattr implements fs.NodeGetattrer.
func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o444, uint64(f.verified.Size())
	out.Blocks, out.Blksize = (out.Size+511)/512, 1<<20
	return fs.OK
}

// Open implements fs.NodeOpener.
func (f *file) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, fs.OK
}

// Read implements fs.NodeReader. A read of which a part is wrong fails as a whole: the kernel takes a short one for the end of the file.
func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := f.verified.ReadAt(dest, off)
	if err == nil || err == io.EOF {
		return fuse.ReadResultData(dest[:n]), fs.OK
	}
	if f.opts.Failed != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, iofs.ErrClosed) {
		f.opts.Failed(f.verified.Name(), err)
	}
	return nil, syscall.EIO
}
