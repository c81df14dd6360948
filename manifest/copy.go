package manifest

import (
	"io"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"
)

// FileCopy takes the bytes of one file while Build hashes them.
type FileCopy interface {
	io.Writer
	// Commit ends the copy: all bytes were written, f has their size and digest, and the file did not change while it was read.
	Commit(f File) error
	// Abort ends the copy after a failure, which may be one of Write or Commit.
	Abort()
}

// Clone is a FileCopy that has the file's bytes already, because the file system shares them. Build reads and hashes it
// instead of the file, and writes nothing to it.
type Clone interface {
	FileCopy
	Shared() io.Reader
}

// Digests remembers the sha256 of files. Its methods are called from several goroutines at once.
type Digests interface {
	// Lookup returns the digest of the file that info describes, or an empty one when it is not known for sure.
	Lookup(info fs.FileInfo) digest.Digest
	// Remember says that the file that info describes had the digest d when it was read; the reading began after the time begun, and
	// info described the file before and after it.
	Remember(info fs.FileInfo, begun time.Time, d digest.Digest)
	// Forget says that what is remembered of the file is wrong.
	Forget(info fs.FileInfo)
	// Done says that a Build or BuildRanges is over: what was remembered can be kept, and what was read for it be let go of.
	Done()
}

// nowhere is the copy that is not made.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Commit(File) error           { return nil }
func (nowhere) Abort()                      {}
