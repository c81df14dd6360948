package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/internal/filestate"
	"github.com/mlseal/mlseal/internal/hashing"
	"github.com/mlseal/mlseal/manifest"
)

// mismatchError says how a blob differs from its descriptor. It wraps ErrContent.
type mismatchError struct {
	want    ocispec.Descriptor
	got     digest.Digest // empty when the size differs already
	gotSize int64
	linked  bool // the blob is a hard link (PackOptions.Link)
}

func (e *mismatchError) Error() string {
	text := fmt.Sprintf("%s: %s: its digest is %s", e.want.Digest, ErrContent, e.got)
	if e.got == "" {
		text = fmt.Sprintf("%s: %s: %d bytes instead of %d", e.want.Digest, ErrContent, e.gotSize, e.want.Size)
	}
	if e.linked {
		text += " (the blob is a hard link: the file was edited under another of its names)"
	}
	return text
}

func (e *mismatchError) Unwrap() error { return ErrContent }

// checkDescriptor refuses what cannot be verified, before anything is allocated for it.
func checkDescriptor(desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("%w: digest %q: %w", ErrContent, desc.Digest, err)
	}
	if desc.Size < 0 {
		return fmt.Errorf("%s: %w: a size of %d bytes", desc.Digest, ErrContent, desc.Size)
	}
	return nil
}

// copyBlob copies the blob that desc describes to w and verifies its size and digest on the way.
// At most one byte more than desc.Size is written. w holds unverified bytes until copyBlob returns nil.
func copyBlob(ctx context.Context, target content.Fetcher, desc ocispec.Descriptor, w io.Writer, progress func(int)) error {
	if err := checkDescriptor(desc); err != nil {
		return err
	}
	rc, err := target.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer func() { _ = rc.Close() }()
	return copyVerified(ctx, rc, desc, w, progress)
}

func copyVerified(ctx context.Context, r io.Reader, desc ocispec.Descriptor, w io.Writer, progress func(int)) error {
	if desc.Digest.Algorithm() != digest.SHA256 {
		return copyRest(ctx, r, desc, desc.Digest.Algorithm().Hash(), 0, w, progress)
	}
	sum, n, err := hashing.Default().Sum(ctx, io.LimitReader(r, desc.Size+1), desc.Size, func(p []byte) error {
		_, err := w.Write(p)
		if err == nil && progress != nil {
			progress(len(p))
		}
		return err
	})
	if err != nil {
		return err
	}
	return checkCopied(r, desc, digest.NewDigestFromBytes(digest.SHA256, sum[:]), n)
}

// copyRest is copyVerified for the rest of a blob, of which have bytes went through h already.
func copyRest(ctx context.Context, r io.Reader, desc ocispec.Descriptor, h hash.Hash, have int64, w io.Writer, progress func(int)) error {
	n, err := manifest.Copy(ctx, io.MultiWriter(h, w), io.LimitReader(r, desc.Size-have+1), progress)
	if err != nil {
		return err
	}
	return checkCopied(r, desc, digest.NewDigest(desc.Digest.Algorithm(), h), n+have)
}

// checkCopied compares what was read from r, n bytes with the digest got, with what desc says.
func checkCopied(r io.Reader, desc ocispec.Descriptor, got digest.Digest, n int64) error {
	if n != desc.Size {
		return &mismatchError{want: desc, gotSize: n, linked: hasOtherNames(r)}
	}
	if got != desc.Digest {
		return &mismatchError{want: desc, got: got, gotSize: n, linked: hasOtherNames(r)}
	}
	return nil
}

// hasOtherNames reports whether r is a file that has more than one name.
func hasOtherNames(r io.Reader) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && filestate.Links(info) > 1
}

// fetchBytes returns the verified bytes of a blob of at most max bytes.
func fetchBytes(ctx context.Context, target content.Fetcher, desc ocispec.Descriptor, max int64) ([]byte, error) {
	if desc.Size > max {
		return nil, fmt.Errorf("%s: %w: %d bytes, at most %d are read", desc.Digest, ErrLimit, desc.Size, max)
	}
	var b bytes.Buffer
	if err := copyBlob(ctx, target, desc, &b, nil); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// isSentinel reports whether err has a class already, or stands for the end of the context.
func isSentinel(err error) bool {
	for _, class := range []error{ErrNotFound, ErrUnavailable, ErrContent, ErrLimit, manifest.ErrChanged, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// plain is desc without what an index says about it.
func plain(desc ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}
