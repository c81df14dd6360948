// Package cache remembers the sha256 of files from one run to another, so that what did not change is not read again.
//
// # What it rests on
//
// An entry is found by file system, inode, size, modification time and change time, both in ns. Nobody but the kernel sets the
// change time: editing a file in place, also to the same size and with the modification time put back, gives another one, and
// a new file in the place of an inode that was freed has another one too. An entry is written only when the file was the
// same before and after it was hashed, and when the change time was at least RacyWindow older than the start of the
// reading: a later change cannot then fall into the same tick of the clock (as git treats entries of its index that are
// "racily clean").
//
// The kernel sets the change time once for a write(2), however long that takes, and for a memory mapping with the first write to a page that is on the disk. Who is
// writing when a file is read could so go on unseen: manifest.Build remembers no file that anybody has open for writing or has mapped to write to it. Only the file's owner and
// who has CAP_LEASE are told so (filestate.ShowsWrites); for others nothing is remembered.
//
// Only local file systems that are known to keep these times are asked (ext2 to ext4, XFS, Btrfs, bcachefs; APFS and HFS+): not network and
// FUSE file systems, not tmpfs and overlayfs, nor what is mounted inside a tree. Linux and macOS only.
//
// It does not protect from whoever can write as the same user, who could write the entries as well, nor from who edits the disk below the
// file system, or sets the clock back and hits the same ns; nor from a writer that has the file open on macOS, which does not tell, or that pinned pages of it on Linux, or exchanges
// its blocks (EXT4_IOC_MOVE_EXT); nor from an image of a file
// system that was copied, altered and mounted in the other's place; nor from a loss of power that brings back the old times of a file whose new bytes
// were on the disk already. Damage of the disk itself is not seen. So whatever checks somebody's claim reads the files.
//
// # The file
//
// DIR/digests, mode 0600 in a directory of mode 0700, both the user's own; anything else is not used. It begins with the 16 bytes
// "mlseal-digests1\n", and each record has 80 bytes, integers big-endian:
//
//	volume, inode, size, mtime, ctime   8 bytes each; the volume is a hash of the device number and the file system's own identifier
//	sha256                              32 bytes; all zero: the entry was taken back
//	checksum                            the first 8 bytes of the sha256 over the 72 bytes before it
//
// The last record of a file counts; a record with a wrong checksum does not. Records are appended under a lock (DIR/lock). A file in another
// format, or with more than MaxRecords, is replaced by one with the newer half of the entries that were read.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/mlseal/mlseal/internal/filestate"
	"github.com/mlseal/mlseal/manifest"
)

const (
	// RacyWindow is how long a file must have been left alone before it is read, for its digest to be remembered.
	RacyWindow = 2 * time.Second
	// MinSize is the size in bytes from which on digests are remembered: what is smaller is read as fast as it is looked up.
	MinSize = 1 << 10
	// MaxRecords bounds the file.
	MaxRecords = 1 << 18
)

const (
	fileName     = "digests"
	lockName     = "lock"
	lockPatience = 5 * time.Second
	batch        = 4096     // records held back at most
	longRead     = 64 << 20 // bytes; the digest of such a file is written at once
)

// Cache is a cache in a directory. The file is read when it is first asked. Its methods may be called concurrently.
type Cache struct {
	dir     string
	mu      sync.Mutex
	known   map[key]sha256sum // nil until the file was read
	pending []record
}

// New returns the cache in dir, which need not exist.
func New(dir string) *Cache { return &Cache{dir: dir} }

// Path is the name of the cache's file.
func (c *Cache) Path() string { return filepath.Join(c.dir, fileName) }

// Below returns the cache for files on the file system of a directory, or nil where that is none that can be relied on.
func (c *Cache) Below(dir string) *Files {
	info, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	id, ok := volumeOf(dir)
	inode, known := filestate.Of(info)
	if !ok || !known {
		return nil
	}
	return &Files{c, inode.Dev, volume(inode.Dev, id)}
}

// Files is the cache for the files of one file system. It implements manifest.Digests.
type Files struct {
	cache  *Cache
	dev    uint64
	volume uint64 // what records have in the place of dev
}

// volume tells file systems apart that get the same device number one after the other, as images on a loop device do.
func volume(dev uint64, id [8]byte) uint64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, dev), id[:]...))
	return binary.BigEndian.Uint64(sum[:])
}

var _ manifest.Digests = (*Files)(nil)

// Lookup returns the digest of the file that info describes, or an empty one.
func (f *Files) Lookup(info fs.FileInfo) digest.Digest {
	k, ok := f.key(info)
	if !ok {
		return ""
	}
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	f.cache.load()
	return f.cache.known[k].digest()
}

// Remember keeps the digest of a file that info described before and after it was read, from the time begun on.
func (f *Files) Remember(info fs.FileInfo, begun time.Time, d digest.Digest) {
	k, ok := f.key(info)
	if !ok || d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return
	}
	if begun.UnixNano()-k.Ctime < int64(RacyWindow) {
		return
	}
	f.cache.add(record{k, sumOf(d)})
}

// Forget takes back what is remembered of a file.
func (f *Files) Forget(info fs.FileInfo) {
	if k, ok := f.key(info); ok {
		f.cache.add(record{k, sha256sum{}})
	}
}

// Done writes what is not written yet, and lets go of what was read. What cannot be written is computed again another time.
func (f *Files) Done() { _ = f.cache.Close() }

func (f *Files) key(info fs.FileInfo) (key, bool) {
	inode, known := filestate.Of(info)
	if !known || inode.Dev != f.dev || inode.Ctime <= 0 || info.Size() < MinSize || !info.Mode().IsRegular() {
		return key{}, false
	}
	inode.Dev = f.volume
	return key{inode, info.Size(), info.ModTime().UnixNano()}, true
}

func (c *Cache) add(r record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load()
	if c.known[r.key] == r.sum {
		return
	}
	c.known[r.key] = r.sum
	c.pending = append(c.pending, r)
	if len(c.pending) >= batch || r.Size >= longRead {
		_ = c.flush() // a digest that is not remembered is computed again
	}
}

// Close writes what is not written yet, and lets go of what was read.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = nil
	return c.flush()
}

// load reads the file once. What cannot be used counts as empty.
func (c *Cache) load() {
	if c.known != nil {
		return
	}
	c.known = map[key]sha256sum{}
	_, _ = c.read(func(r record, of int) {
		if len(c.known) == 0 {
			c.known = make(map[key]sha256sum, of)
		}
		c.known[r.key] = r.sum
	})
}

// Info describes a cache.
type Info struct {
	Path    string
	Entries int   // files whose digest is known
	Bytes   int64 // of the file
}

// Info reads the file. A file that would not be used counts as empty; the error says why, and is nil for one that is missing.
func (c *Cache) Info() (Info, error) {
	info := Info{Path: c.Path()}
	records, size, err := c.readAll()
	if errors.Is(err, fs.ErrNotExist) {
		return info, nil
	}
	info.Bytes, info.Entries = size, len(latest(records))
	return info, err
}

// Clear removes the file, if there is one.
func (c *Cache) Clear(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.pending = nil, nil
	if _, err := os.Lstat(c.Path()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.Remove(c.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("digest cache: %w", err)
	}
	return nil
}
