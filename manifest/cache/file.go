package cache

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/filelock"
	"github.com/mlseal/mlseal/internal/filestate"
)

const (
	header     = "mlseal-digests1\n"
	keySize    = 40
	bodySize   = keySize + sha256.Size
	recordSize = bodySize + 8
	maxBytes   = int64(len(header) + MaxRecords*recordSize)
)

// ErrUnusable says that a file or directory is there and is not used.
var ErrUnusable = errors.New("not usable as a digest cache")

// key is what an entry is found by.
type key struct {
	filestate.Inode
	Size, Mtime int64 // bytes; ns
}

// sha256sum is that of a file; all zero for none.
type sha256sum [sha256.Size]byte

func sumOf(d digest.Digest) (s sha256sum) {
	raw, _ := hex.DecodeString(d.Encoded()) // Remember admits sha256 only
	copy(s[:], raw)
	return s
}

func (s sha256sum) digest() digest.Digest {
	if s == (sha256sum{}) {
		return ""
	}
	return digest.NewDigestFromBytes(digest.SHA256, s[:])
}

type record struct {
	key
	sum sha256sum // all zero when the entry was taken back
}

func (r record) append(b []byte) []byte {
	start := len(b)
	for _, n := range []uint64{r.Dev, r.Ino, uint64(r.Size), uint64(r.Mtime), uint64(r.Ctime)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, r.sum[:]...)
	return append(b, checksum(b[start:])...)
}

func checksum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return sum[:recordSize-bodySize]
}

// parseRecord reports with ok that the checksum is right.
func parseRecord(b []byte) (r record, ok bool) {
	if !bytes.Equal(checksum(b[:bodySize]), b[bodySize:recordSize]) {
		return record{}, false
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	r.Dev, r.Ino, r.Size, r.Mtime, r.Ctime = number(0), number(1), int64(number(2)), int64(number(3)), int64(number(4))
	copy(r.sum[:], b[keySize:bodySize])
	return r, true
}

// read gives the records of the file that are whole to each, in their order, with the number of all of them, and returns the file's size.
func (c *Cache) read(each func(r record, of int)) (size int64, err error) {
	if size, err = c.check(); err != nil {
		return size, err
	}
	f, err := os.Open(c.Path())
	if err != nil {
		return size, err
	}
	defer func() { _ = f.Close() }()
	in := bufio.NewReaderSize(io.LimitReader(f, maxBytes), 64<<10)
	begin := make([]byte, len(header))
	if _, err := io.ReadFull(in, begin); err != nil || string(begin) != header {
		return size, fmt.Errorf("digest cache: %s: %w: another format", c.Path(), ErrUnusable)
	}
	of := int(size-int64(len(header))) / recordSize
	for one := make([]byte, recordSize); ; {
		if _, err := io.ReadFull(in, one); err != nil {
			return size, nil // the end; a record that was cut off counts for nothing
		}
		if r, ok := parseRecord(one); ok {
			each(r, of)
		}
	}
}

func (c *Cache) readAll() (records []record, size int64, err error) {
	size, err = c.read(func(r record, of int) {
		if records == nil {
			records = make([]record, 0, of)
		}
		records = append(records, r)
	})
	return records, size, err
}

// check refuses a file, or a directory, that somebody else may have written.
func (c *Cache) check() (size int64, err error) {
	if err := private(c.dir, fs.ModeDir|0o700); err != nil {
		return 0, err
	}
	info, err := os.Lstat(c.Path())
	if err != nil {
		return 0, err
	}
	if info.Size() > maxBytes {
		return info.Size(), fmt.Errorf("digest cache: %s: %w: %d bytes", c.Path(), ErrUnusable, info.Size())
	}
	return info.Size(), private(c.Path(), 0o600)
}

// private wants name to be the user's own, of this type and mode.
func private(name string, mode fs.FileMode) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if info.Mode()&(fs.ModeType|fs.ModePerm) != mode || !filestate.IsMine(info) {
		return fmt.Errorf("digest cache: %s: %w: it must be the user's own, of mode %v", name, ErrUnusable, mode)
	}
	return nil
}

// lock keeps other processes from writing. It makes the directory.
func (c *Cache) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("digest cache: %w", err)
	}
	if info, err := os.Lstat(c.dir); err == nil && info.IsDir() && filestate.IsMine(info) {
		_ = os.Chmod(c.dir, 0o700) // the next line looks at it
	}
	if err := private(c.dir, fs.ModeDir|0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("digest cache: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	if err := filelock.Wait(ctx, f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("digest cache: lock: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// flush appends the pending records, or writes the file anew where it is not fit to be appended to. They are dropped in any case.
func (c *Cache) flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	pending := c.pending
	c.pending = nil
	unlock, err := c.lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	size, err := c.check()
	whole := err == nil && size >= int64(len(header)) && (size-int64(len(header)))%recordSize == 0
	if !whole || size+int64(len(pending))*recordSize > maxBytes || !c.hasHeader() {
		return c.rewrite(pending)
	}
	var b []byte
	for _, r := range pending {
		b = r.append(b)
	}
	f, err := os.OpenFile(c.Path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("digest cache: %w", err)
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

func (c *Cache) hasHeader() bool {
	f, err := os.Open(c.Path())
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	got := make([]byte, len(header))
	_, err = f.Read(got)
	return err == nil && string(got) == header
}

// rewrite replaces the file by one with the newer half of what may stand in it.
func (c *Cache) rewrite(pending []record) error {
	old, _, _ := c.readAll()
	records := latest(append(old, pending...))
	if n := len(records) - MaxRecords/2; n > 0 {
		records = records[n:]
	}
	b := []byte(header)
	for _, r := range records {
		b = r.append(b)
	}
	if err := atomicfile.Write(c.Path(), b, atomicfile.Options{Perm: 0o600}); err != nil {
		return fmt.Errorf("digest cache: %w", err)
	}
	return nil
}

// latest keeps the last record of each file that has a digest, in the order of the records. Of a file that changed, the old state
// is dropped.
func latest(records []record) []record {
	type file struct{ dev, ino uint64 }
	seen := map[file]bool{}
	var kept []record
	for _, r := range slices.Backward(records) {
		if f := (file{r.Dev, r.Ino}); !seen[f] {
			seen[f] = true
			if r.sum != (sha256sum{}) {
				kept = append(kept, r)
			}
		}
	}
	slices.Reverse(kept)
	return kept
}
