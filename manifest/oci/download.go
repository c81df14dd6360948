package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
)

// RangeFetcher is a Target that can open a part of a blob.
type RangeFetcher interface {
	// FetchRange opens length bytes of the blob that desc describes, from offset on. The bytes are not verified, and the digest of the
	// blob says nothing about them.
	FetchRange(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error)
}

var _ RangeFetcher = (*repository)(nil)

// fetchFrom opens the blob desc at offset in whatever target.
func fetchFrom(ctx context.Context, target content.Fetcher, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	if _, ok := target.(RangeFetcher); ok {
		return fetchRange(ctx, target, desc, offset, desc.Size-offset)
	}
	rc, err := target.Fetch(ctx, desc) // to its end, wherever that is
	if err != nil {
		return nil, err
	}
	if err := skip(rc, offset); err != nil {
		_ = rc.Close()
		return nil, err
	}
	return rc, nil
}

// fetchRange opens a part of a blob in whatever target. A range that the blob does not have fails with ErrContent.
func fetchRange(ctx context.Context, target content.Fetcher, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || offset > desc.Size || length > desc.Size-offset {
		return nil, fmt.Errorf("%s: %w: bytes %d and the %d behind of %d", desc.Digest, ErrContent, offset, length, desc.Size)
	}
	if r, ok := target.(RangeFetcher); ok {
		return r.FetchRange(ctx, desc, offset, length)
	}
	rc, err := target.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	if err := skip(rc, offset); err != nil {
		_ = rc.Close()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%s: %w: it ends before byte %d", desc.Digest, ErrContent, offset)
		}
		return nil, err
	}
	return limitedBody{io.LimitReader(rc, length), rc}, nil
}

// limitedBody is a part of a body.
type limitedBody struct {
	io.Reader
	io.Closer
}

// skip moves r on by n bytes.
func skip(r io.Reader, n int64) error {
	if seeker, ok := r.(io.Seeker); ok {
		_, err := seeker.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	return err
}

// FetchRange implements RangeFetcher. A connection that breaks off is taken up again where it broke off, or at
// the start where the registry knows no ranges (OCI distribution-spec v1.1, "Pulling blobs": "A registry
// SHOULD support the Range request header"). Of a part that ends where the blob ends, what the registry sends beyond it is given too.
func (r *repository) FetchRange(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	d := &resumedBody{repo: r, ctx: ctx, desc: desc, at: offset, end: offset + length}
	for d.body == nil {
		if err := d.open(); err != nil {
			return nil, remoteError(err)
		}
	}
	if d.end < desc.Size {
		return limitedBody{io.LimitReader(d, length), d}, nil
	}
	return d, nil
}

// resumedBody is a part of a blob that is read over as many connections as it takes.
type resumedBody struct {
	repo  *repository
	ctx   context.Context
	desc  ocispec.Descriptor
	at    int64
	end   int64
	body  io.ReadCloser // nil between two connections
	tries attempts
}

// open connects. After an error that may pass it returns nil with no body.
func (d *resumedBody) open() error {
	body, err := d.repo.openBlob(d.ctx, d.desc, d.at, d.end)
	if err == nil {
		d.body = body
		return nil
	}
	return d.tries.again(d.ctx, err, d.at)
}

// Read implements io.Reader.
func (d *resumedBody) Read(p []byte) (int, error) {
	for {
		if d.body == nil {
			if err := d.open(); err != nil {
				return 0, remoteError(err)
			}
			continue
		}
		n, err := d.body.Read(p)
		d.at += int64(n)
		if err == nil || err == io.EOF {
			return n, err
		}
		_ = d.Close()
		switch {
		case n > 0:
			return n, nil // and the next call goes on from there
		case d.at >= d.end:
			return 0, io.EOF // all of it was there; the digest decides
		}
		if err := d.tries.again(d.ctx, brokenOff(err), d.at); err != nil {
			return 0, remoteError(err)
		}
	}
}

// brokenOff makes an error of reading one of the connection.
func brokenOff(err error) error {
	if isSentinel(err) || isPassing(err) {
		return err
	}
	return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
}

// Close implements io.Closer.
func (d *resumedBody) Close() error {
	if d.body == nil {
		return nil
	}
	body := d.body
	d.body = nil
	return body.Close()
}

// openBlob makes one request for a blob from offset to end. It may give more than that.
func (r *repository) openBlob(ctx context.Context, desc ocispec.Descriptor, offset, end int64) (io.ReadCloser, error) {
	if err := checkDescriptor(desc); err != nil {
		return nil, err
	}
	header := http.Header{}
	if offset < end && (offset > 0 || end < desc.Size) {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, end-1))
	}
	resp, err := r.send(r.pullScope(ctx), http.MethodGet, r.endpoint("blobs/"+desc.Digest.String()), nil, header)
	if err != nil {
		return nil, err
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent && len(header) > 0:
		return rangeOf(resp, desc, offset)
	case resp.StatusCode == http.StatusOK:
		return restOf(resp, desc, offset)
	case len(header) > 0 && (resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable):
		_ = resp.Body.Close() // it does not like the range
		resp, err = r.send(r.pullScope(ctx), http.MethodGet, r.endpoint("blobs/"+desc.Digest.String()), nil, nil)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK {
			return restOf(resp, desc, offset)
		}
	}
	return nil, refusal(resp)
}

// rangeOf takes the part of a blob that was asked for.
func rangeOf(resp *http.Response, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	var first, last int64
	_, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d", &first, &last)
	if err != nil || first != offset {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: %w: asked for bytes from %d, the registry sends %q", desc.Digest, ErrContent, offset, resp.Header.Get("Content-Range"))
	}
	return resp.Body, nil
}

// restOf takes a whole blob and leaves out what stands before offset. Lengths and digests that the registry
// contradicts itself with are found before a byte is read.
func restOf(resp *http.Response, desc ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	err := checkDigestHeader(resp, desc.Digest)
	if n := resp.ContentLength; err == nil && n >= 0 && n != desc.Size {
		err = fmt.Errorf("%s: %w: the registry sends %d bytes instead of %d", desc.Digest, ErrContent, n, desc.Size)
	}
	if err == nil && offset > 0 {
		if _, err = io.CopyN(io.Discard, resp.Body, offset); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp.Body, nil
}
