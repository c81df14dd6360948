package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/httpread"
	"github.com/mlseal/mlseal/internal/listfs"
	"github.com/mlseal/mlseal/manifest/origin"
)

// FS returns the snapshot as a file system. Nothing is asked of the hub before a file is read. A file is streamed: a
// connection that breaks off is taken up where it ended, and the read that would say io.EOF says origin.ErrMismatch when size or
// digest are not as published. ctx ends all of it.
func (s *Snapshot) FS(ctx context.Context) fs.FS {
	return s.tree(func(f File) (fs.File, error) {
		d := &download{ctx: ctx, s: s, file: f}
		return &openFile{f.info(), d, f.OID.Reader(d, f.Size)}, nil
	})
}

// info has no times: the hub publishes none.
func (f File) info() listfs.Info { return listfs.Info{Path: f.Path, Bytes: f.Size} }

// openFile is an opened file.
type openFile struct {
	listfs.Info
	download *download
	checked  io.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.Info, nil }
func (f *openFile) Read(p []byte) (int, error) { return f.checked.Read(p) }
func (f *openFile) Close() error               { return f.download.close() }

// download reads the contents of a file from the hub, over as many connections as it takes.
type download struct {
	ctx    context.Context
	s      *Snapshot
	file   File
	offset int64
	body   io.ReadCloser
	framed bool            // the answer says where it ends, so that an end is no connection that broke off
	conn   context.Context // of the connection
	cancel context.CancelCauseFunc
	idle   *time.Timer
}

func (d *download) close() error {
	if d.body == nil {
		return nil
	}
	d.idle.Stop()
	err := d.body.Close()
	d.cancel(nil)
	d.body = nil
	return err
}

// Read implements io.Reader. It gives at most one byte more than the file should have.
func (d *download) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	eof := false
	err = d.s.client.retry.Do(d.ctx, func() error {
		var err error
		if n, err = d.read(p); n > 0 || err == nil {
			return nil // what went wrong behind it shows in the next read
		}
		if err == io.EOF && d.offset >= d.file.Size {
			eof = true
			return nil
		}
		_ = d.close()
		switch {
		case err == io.EOF && d.framed:
			return fmt.Errorf("%w: %d bytes instead of %d", origin.ErrMismatch, d.offset, d.file.Size)
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		if d.ctx.Err() != nil {
			return d.ctx.Err()
		}
		var again httpread.Again
		if isFinal(err) || errors.As(err, &again) {
			return err
		}
		return httpread.Again{Err: fmt.Errorf("%w: %s ended after %d of %d bytes: %w", ErrUnavailable, d.file.Path, d.offset, d.file.Size, err)}
	})
	if err == nil && eof {
		err = io.EOF
	}
	return n, err
}

// isFinal reports whether an error is what the hub says rather than a connection that failed.
func isFinal(err error) bool {
	for _, target := range []error{ErrAnswer, ErrDenied, ErrLimit, origin.ErrMismatch} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// read reads from the connection that is open, or opens one.
func (d *download) read(p []byte) (int, error) {
	if d.body == nil {
		if d.offset > 0 && d.offset >= d.file.Size {
			return 0, io.EOF // a connection that broke behind the last byte
		}
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	d.idle.Reset(IdleTimeout)
	n, err := d.body.Read(p)
	d.idle.Stop() // whoever reads may take its time
	d.offset += int64(n)
	if err != nil && err != io.EOF && d.conn.Err() != nil {
		err = context.Cause(d.conn)
	}
	return n, err
}

// open asks for what is missing of the file (RFC 9110, section 14). An answer that begins at the start is read up to there.
func (d *download) open() error {
	ctx, cancel := context.WithCancelCause(d.ctx)
	header := http.Header{"Accept-Encoding": {"identity"}}
	if d.offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
	}
	address := d.s.ref.resolve(d.s.client.endpoint, d.s.Source.Commit, d.file.Path)
	resp, err := d.s.client.open(ctx, address, header, d.checkHead)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: the hub listed %s and does not give it: %w", ErrAnswer, d.file.Path, err)
	}
	if err != nil {
		cancel(nil)
		return err
	}
	d.body, d.conn, d.cancel = resp.Body, ctx, cancel
	d.framed = resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || resp.ProtoMajor > 1
	d.idle = time.AfterFunc(IdleTimeout, func() { cancel(fmt.Errorf("%w: no byte came within %v", ErrUnavailable, IdleTimeout)) })
	if resp.StatusCode == http.StatusPartialContent {
		if want := fmt.Sprintf("bytes %d-", d.offset); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return fmt.Errorf("%w: it begins at %q instead of byte %d", ErrAnswer, resp.Header.Get("Content-Range"), d.offset)
		}
		return nil
	}
	_, err = io.CopyN(io.Discard, resp.Body, d.offset)
	return err
}

// checkHead holds what the hub says of the file when it is fetched to what it listed: the commit, and the digest and size of a
// file of git-lfs (huggingface_hub: X-Repo-Commit, X-Linked-Etag, X-Linked-Size).
func (d *download) checkHead(resp *http.Response) error {
	if resp.StatusCode >= 400 {
		return nil
	}
	if commit := resp.Header.Get("X-Repo-Commit"); commit != "" && commit != d.s.Source.Commit {
		return fmt.Errorf("%w: commit %s was asked for, the file comes from %s", ErrAnswer, d.s.Source.Commit, commit)
	}
	if etag := strings.Trim(strings.TrimPrefix(resp.Header.Get("X-Linked-Etag"), "W/"), `"`); etag != "" && etag != d.file.OID.String() {
		return fmt.Errorf("%w: the hub listed %s and now says %s", origin.ErrMismatch, d.file.OID, etag)
	}
	if size := resp.Header.Get("X-Linked-Size"); size != "" && size != fmt.Sprint(d.file.Size) {
		return fmt.Errorf("%w: the hub listed %d bytes and now says %s", origin.ErrMismatch, d.file.Size, size)
	}
	return nil
}
