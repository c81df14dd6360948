package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/blake2b"
	"lukechampine.com/blake3"
)

// MaxShards bounds how many shards the files of one tree may be cut into: no bundle that is read could list more.
const MaxShards = 1_000_000

// ErrSerialization says that a hash type or a shard size is none that OMS knows.
var ErrSerialization = errors.New("not a serialization that OMS knows")

// HashType names a hash of file contents as OMS v1.0 section 7 does. The empty HashType is SHA256.
type HashType string

// The hash types of OMS v1.0 section 7 (algorithm registry). BLAKE2b has 512 bits, BLAKE3 256.
const (
	SHA256  HashType = "sha256"
	BLAKE2b HashType = "blake2b"
	BLAKE3  HashType = "blake3"
)

// HashTypes lists the hash types that can be computed, the default first.
func HashTypes() []HashType { return []HashType{SHA256, BLAKE2b, BLAKE3} }

// ParseHashType returns the hash type that is spelled name exactly; the error wraps ErrSerialization.
func ParseHashType(name string) (HashType, error) {
	for _, h := range HashTypes() {
		if name == string(h) {
			return h, nil
		}
	}
	return "", fmt.Errorf("%w: hash_type %q, want sha256, blake2b or blake3", ErrSerialization, name)
}

// New returns a new hash of this type.
func (h HashType) New() hash.Hash {
	switch h {
	case BLAKE2b:
		b, _ := blake2b.New512(nil) // fails for keys that are too long only
		return b
	case BLAKE3:
		return blake3.New(blake3Size, nil)
	}
	return sha256.New()
}

// blake3Size is the length of BLAKE3's default output in bytes.
const blake3Size = 32

// Size is the length of a digest in bytes.
func (h HashType) Size() int {
	switch h {
	case BLAKE2b:
		return blake2b.Size
	case BLAKE3:
		return blake3Size
	}
	return sha256.Size
}

// Serialization says how the files of a tree become the resources of an OMS statement (OMS v1.0
// sections 5.2.2 and 6.3). The zero value is whole files, SHA-256, no links.
type Serialization struct {
	// Hash is what the resources' digests are made with; empty is SHA256.
	Hash HashType
	// ShardSize cuts files into shards of so many bytes, each a resource; 0 takes whole files.
	ShardSize int64
	// AllowSymlinks follows symbolic links, to files and to directories. A link may lead out of the tree only
	// where the file system lets it: os.DirFS does, the file system of an os.Root does not.
	AllowSymlinks bool
}

// HashType is Hash, or SHA256 when that is empty.
func (s Serialization) HashType() HashType {
	if s.Hash == "" {
		return SHA256
	}
	return s.Hash
}

// NamesFiles reports whether the resources are the files with their SHA-256, so that the tree's dirHash follows
// from the resources alone.
func (s Serialization) NamesFiles() bool { return s.HashType() == SHA256 && s.ShardSize == 0 }

// ShardAlgorithm is the name that the reference implementation gives to the algorithm of a shard's digest, where OMS v1.0
// section 6.3.2 wants the plain hash type.
func (s Serialization) ShardAlgorithm() string {
	return fmt.Sprintf("%s-sharded-%d", s.HashType(), s.ShardSize)
}

func (s Serialization) check() error {
	if s.ShardSize < 0 {
		return fmt.Errorf("manifest: %w: shard size %d", ErrSerialization, s.ShardSize)
	}
	if _, err := ParseHashType(string(s.HashType())); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

// checkCount refuses to cut files into more shards than a statement can list, before anything is read.
func (s Serialization) checkCount(files []entry) error {
	if s.ShardSize == 0 {
		return nil
	}
	var n int64
	for _, f := range files {
		n += (f.info.Size()-1)/s.ShardSize + 1
		if n > MaxShards {
			return fmt.Errorf("manifest: %w: more than %d shards of %d bytes", ErrTooMany, MaxShards, s.ShardSize)
		}
	}
	return nil
}

// sharder hashes a file's bytes shard by shard.
type sharder struct {
	Serialization
	path  string
	pos   int64
	h     hash.Hash // of the shard that begins at start; nil between shards
	start int64
	done  []Resource
}

// Write implements io.Writer; it never fails.
func (s *sharder) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if s.h == nil {
			s.h, s.start = s.HashType().New(), s.pos
		}
		piece := rest
		if room := s.start + s.ShardSize - s.pos; s.ShardSize > 0 && int64(len(piece)) > room {
			piece = piece[:room]
		}
		_, _ = s.h.Write(piece)
		s.pos += int64(len(piece))
		rest = rest[len(piece):]
		if s.ShardSize > 0 && s.pos == s.start+s.ShardSize {
			s.finish()
		}
	}
	return len(p), nil
}

func (s *sharder) finish() {
	r := Resource{Path: s.path, Digest: newDigest(s.HashType(), s.h)}
	if s.ShardSize > 0 {
		r.Start, r.End = s.start, s.pos
	}
	s.done, s.h = append(s.done, r), nil
}

// resources ends the last shard. A whole file is a resource when it is empty too; an empty file has no shards (OMS v1.0 section
// 6.3.2: "Files with zero bytes MUST be omitted").
func (s *sharder) resources() []Resource {
	if s.h == nil && s.ShardSize == 0 {
		s.h = s.HashType().New()
	}
	if s.h != nil {
		s.finish()
	}
	return s.done
}

// ParseSize reads a number of bytes: digits, alone or with a unit of 1000 (kB, MB, GB, TB) or 1024 (KiB, MiB, GiB,
// TiB). The error wraps ErrSerialization.
func ParseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "kKMGTiB")
	factor, known := sizeUnits[text[len(digits):]]
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' || n > (1<<62)/10 {
			known = false
			break
		}
		n = 10*n + int64(c-'0')
	}
	if !known || n == 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("%w: size %q, want a positive number of bytes such as 1000000000, 1GB or 16MiB", ErrSerialization, text)
	}
	return n * factor, nil
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}
