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
}

// nowhere is the copy that is not made.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Commit(File) error           { return nil }
func (nowhere) Abort()                      {}

// beside writes each piece to two writers at the same time, so that a file is hashed while it is copied. The first one is a
// hash, which never fails.
type beside struct {
	to     io.Writer
	pieces chan []byte
	done   chan struct{}
}

func newBeside(hash, to io.Writer) *beside {
	b := &beside{to, make(chan []byte), make(chan struct{})}
	go func() {
		for piece := range b.pieces {
			_, _ = hash.Write(piece)
			b.done <- struct{}{}
		}
	}()
	return b
}

// Write implements io.Writer.
func (b *beside) Write(p []byte) (int, error) {
	b.pieces <- p
	n, err := b.to.Write(p)
	<-b.done
	return n, err
}

// Close ends the goroutine that hashes.
func (b *beside) Close() { close(b.pieces) }
