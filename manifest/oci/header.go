package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/format"
)

// header is what the header of a file says, which must be as it was when it was hashed. One that was kept in the
// same read is not read again.
func (p *packing) header(f manifest.File) (format.Info, error) {
	p.mu.Lock()
	info, ok := p.heads[f.Path]
	p.mu.Unlock()
	if ok {
		return info, nil
	}
	r, err := p.open(f)
	if err != nil {
		return format.Info{}, fmt.Errorf("oci: %w", err)
	}
	defer func() { _ = r.Close() }()
	if info, err = readHeader(f.Path, r.Size(), r); err != nil {
		return format.Info{}, fmt.Errorf("oci: %s: %w", f.Path, err)
	}
	return info, nil
}

// readHeader reads a header. One that is not understood says nothing.
func readHeader(name string, size int64, r io.Reader) (format.Info, error) {
	info, err := format.Read(name, size, r)
	if errors.Is(err, format.ErrHeader) {
		err = nil
	}
	return info, err
}

// copyOnce is copy for PackOptions.ReadOnce: what is needed of a file's header is kept while its bytes pass by.
func (p *packing) copyOnce(ctx context.Context, f manifest.File, info fs.FileInfo) (manifest.FileCopy, error) {
	to, err := p.copy(ctx, f, info)
	if err != nil || f.Digest != "" || p.opts.Type != TypeModel || !format.Known(f.Path) {
		return to, err
	}
	if _, ok := to.(manifest.Clone); ok { // a clone is on this disk
		return to, nil
	}
	r, w := io.Pipe()
	h := &headed{FileCopy: to, p: p, head: w, done: make(chan headerRead, 1)}
	go func() {
		info, err := readHeader(f.Path, f.Size, r)
		_ = r.Close()
		h.done <- headerRead{info, err}
	}()
	return h, nil
}

// headerRead is how the reading of a header ended.
type headerRead struct {
	info format.Info
	err  error
}

// headed is a copy, or nothing, beside which the header is read.
type headed struct {
	manifest.FileCopy // nil when the file goes nowhere
	p                 *packing
	head              *io.PipeWriter
	done              chan headerRead
}

func (h *headed) Write(b []byte) (int, error) {
	_, _ = h.head.Write(b) // fails once the header was read
	if h.FileCopy == nil {
		return len(b), nil
	}
	return h.FileCopy.Write(b)
}

func (h *headed) Commit(f manifest.File) error {
	_ = h.head.Close()
	read := <-h.done
	h.done <- read // for another Commit or Abort, which need not wait
	if read.err == nil {
		h.p.mu.Lock()
		h.p.heads[f.Path] = read.info
		h.p.mu.Unlock()
	}
	if h.FileCopy == nil {
		return nil
	}
	return h.FileCopy.Commit(f)
}

func (h *headed) Abort() {
	_ = h.head.CloseWithError(errAborted)
	h.done <- <-h.done
	if h.FileCopy != nil {
		h.FileCopy.Abort()
	}
}

var errAborted = errors.New("the copy was given up")
