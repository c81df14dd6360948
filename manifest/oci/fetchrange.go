package oci

import (
	"context"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// RangeFetcher is a Target that can open a part of a blob.
type RangeFetcher interface {
	// FetchRange opens length bytes of the blob that desc describes, from offset on. The bytes are not verified, and the digest of the
	// blob says nothing about them.
	FetchRange(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error)
}

var (
	_ RangeFetcher = (*Layout)(nil)
	_ RangeFetcher = (*repository)(nil)
)

// fetchRange opens a part of a blob in whatever target. A range that the blob does not have fails with ErrContent.
func fetchRange(ctx context.Context, target Target, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || offset > desc.Size || length > desc.Size-offset {
		return nil, fmt.Errorf("%s: %w: bytes %d and the %d behind of %d", desc.Digest, ErrContent, offset, length, desc.Size)
	}
	if ranger, ok := target.(RangeFetcher); ok {
		return ranger.FetchRange(ctx, desc, offset, length)
	}
	rc, err := target.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	return partOf(rc, offset, length)
}

// partReader is a part of a body.
type partReader struct {
	io.Reader
	io.Closer
}

// partOf leaves out what stands before offset and behind length bytes.
func partOf(rc io.ReadCloser, offset, length int64) (io.ReadCloser, error) {
	var err error
	if seeker, ok := rc.(io.Seeker); ok {
		_, err = seeker.Seek(offset, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, rc, offset)
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: it ends before byte %d", ErrContent, offset)
	}
	if err != nil {
		_ = rc.Close()
		return nil, err
	}
	return partReader{io.LimitReader(rc, length), rc}, nil
}

// FetchRange implements RangeFetcher.
func (l *Layout) FetchRange(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	rc, err := l.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	return partOf(rc, offset, length)
}

// FetchRange implements RangeFetcher (OCI distribution-spec v1.1, "Pulling blobs": "A registry SHOULD support the Range request header").
// Where the registry does not, the blob is read from its start.
func (r *repository) FetchRange(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	if length == 0 {
		return http.NoBody, nil
	}
	resp, err := r.askRange(ctx, desc, offset, length)
	if err != nil {
		return nil, remoteError(err)
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		var first int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first != offset {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("%s: %w: asked for bytes from %d, the registry sends %q", desc.Digest, ErrContent, offset, resp.Header.Get("Content-Range"))
		}
		return partReader{io.LimitReader(remoteBody{resp.Body}, length), resp.Body}, nil
	case http.StatusOK:
		return partOf(remoteBody{resp.Body}, offset, length)
	}
	_ = resp.Body.Close() // Fetch says what is wrong, if it is not the range
	rc, err := r.Repository.Fetch(ctx, desc)
	if err != nil {
		return nil, remoteError(err)
	}
	return partOf(remoteBody{rc}, offset, length)
}

func (r *repository) askRange(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (*http.Response, error) {
	scheme := "https"
	if r.PlainHTTP {
		scheme = "http"
	}
	url := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", scheme, r.Reference.Host(), r.Reference.Repository, desc.Digest)
	req, err := http.NewRequestWithContext(auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	return r.Client.Do(req)
}
