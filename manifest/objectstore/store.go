package objectstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/smithy-go"
	"github.com/mlseal/mlseal/internal/httpread"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"
)

// store is one bucket of a service. Its errors are made by failure.
type store interface {
	// list tells visit of each object whose key begins with prefix. An error of visit ends it.
	list(ctx context.Context, prefix string, visit func(object) error) error
	// open opens length bytes at offset of the version of o that was listed; the whole object when length is its size.
	open(ctx context.Context, o object, offset, length int64) (*answer, error)
	// stated asks what the store says of the contents of o, in the version that was listed.
	stated(ctx context.Context, o object) (checksums, error)
	close() error
}

// object is an object as it was listed.
type object struct {
	key      string // the whole key
	size     int64
	modified time.Time
	version  string // an ETag or generation; empty where there is none
	sums     checksums
}

// checksums are what a store says of an object as a whole; the zero value says nothing.
type checksums struct {
	sha256 digest.Digest
	crc32c *uint32
}

func (c checksums) none() bool { return c.sha256 == "" && c.crc32c == nil }

// answer is a range of an object on its way.
type answer struct {
	body  io.ReadCloser
	bytes string    // which range it says it is (Content-Range); empty for the whole object
	sums  checksums // of the whole object, as far as the answer says so
}

// checkRange holds an answer to the range that was asked for: not every server knows ranges, and one that does not gives the beginning.
func (a *answer) checkRange(o object, offset, length int64) error {
	want := ""
	if length < o.size {
		want = fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, o.size)
	}
	if a.bytes != want {
		return fmt.Errorf("%w: the answer is the range %q instead of %q", ErrUnavailable, line(a.bytes), want)
	}
	return nil
}

// blobStore is a bucket behind gocloud.dev. What only a service's own types can say is asked of the functions.
type blobStore struct {
	bucket *blob.Bucket
	// describe completes an object from its place in a list, and returns its key as the service has it; empty for one that gocloud.dev
	// would not read back.
	describe func(listed *blob.ListObject, o *object) (raw string)
	// pin makes a request one for a version. It gets the As function of BeforeRead.
	pin func(as func(any) bool, version string) error
	// answered says which version an answer is of, and what it says of the object.
	answered func(r *blob.Reader, a *answer) (version string)
	// ask is stated; may be nil.
	ask func(ctx context.Context, o object) (checksums, error)
}

// maxEmptyPages bounds how many pages of a list without an object are taken, one after the other: a store may pass over what was deleted, but
// not without end.
const maxEmptyPages = 1000

// pages watches over a list that comes in pages: it comes to its end.
type pages struct {
	empty int             // without an object, one after the other
	first map[string]bool // the keys that pages began with
	begun bool            // the next object is the first of its page
	err   error
}

// another is told before each page.
func (p *pages) another() error {
	p.begun = true
	if p.empty++; p.empty > maxEmptyPages {
		p.err = fmt.Errorf("%w: the list goes on after %d pages without an object", ErrUnavailable, maxEmptyPages)
	}
	return p.err
}

// object is told each object's key. A store that gives a page twice would give it without end.
func (p *pages) object(key string) error {
	if p.empty = 0; !p.begun {
		return nil
	}
	p.begun = false
	if p.first[key] {
		return fmt.Errorf("%w: it comes back to %q", ErrListing, key)
	}
	if p.first == nil {
		p.first = map[string]bool{}
	}
	p.first[key] = true
	return nil
}

func (s *blobStore) list(ctx context.Context, prefix string, visit func(object) error) error {
	var seen pages
	objects := s.bucket.List(&blob.ListOptions{Prefix: prefix, BeforeList: func(func(any) bool) error { return seen.another() }})
	for {
		listed, err := objects.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if seen.err != nil {
			return seen.err // not as gocloud.dev wraps it
		}
		if err != nil {
			return failure(ctx, "list", err)
		}
		if err := seen.object(listed.Key); err != nil {
			return err
		}
		o := object{key: listed.Key, size: listed.Size, modified: listed.ModTime}
		if s.describe != nil {
			if raw := s.describe(listed, &o); raw != o.key {
				return fmt.Errorf("%w: %q: it holds characters with which it cannot be asked for", manifest.ErrName, cmp.Or(raw, o.key))
			}
		}
		if err := visit(o); err != nil {
			return err
		}
	}
}

func (s *blobStore) open(ctx context.Context, o object, offset, length int64) (*answer, error) {
	count := length
	if length == o.size {
		count = -1 // without a range a service says more of the object
	}
	opts := &blob.ReaderOptions{}
	if s.pin != nil {
		opts.BeforeRead = func(as func(any) bool) error { return s.pin(as, o.version) }
	}
	r, err := s.bucket.NewRangeReader(ctx, o.key, offset, count, opts)
	if err != nil {
		return nil, failure(ctx, "read", err)
	}
	a := &answer{body: r}
	version := ""
	if s.answered != nil {
		version = s.answered(r, a)
	}
	if r.Size() != o.size || version != o.version || version == "" && !sameSecond(r.ModTime(), o.modified) {
		_ = r.Close()
		return nil, manifest.ErrChanged
	}
	if s.answered != nil { // the buckets of gocloud.dev that are no service say no range
		err = a.checkRange(o, offset, length)
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return a, nil
}

// sameSecond compares times where there is no version. A header of an answer knows seconds only.
func sameSecond(a, b time.Time) bool { return a.Truncate(time.Second).Equal(b.Truncate(time.Second)) }

func (s *blobStore) stated(ctx context.Context, o object) (checksums, error) {
	if s.ask == nil {
		return checksums{}, nil
	}
	sums, err := s.ask(ctx, o)
	return sums, failure(ctx, "read", err)
}

func (s *blobStore) close() error { return s.bucket.Close() }

// failure makes an error of ours of one of a service's client, without the address that was asked, which may be signed.
func failure(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, ours := range []error{ErrPlainHTTP, ErrURL, manifest.ErrChanged} {
		if errors.Is(err, ours) {
			return fmt.Errorf("%w", httpread.WithoutURL(err))
		}
	}
	status, said := describe(err)
	code := gcerrors.Code(err)
	switch {
	case op == "list" && (status == http.StatusNotFound || code == gcerrors.NotFound):
		return fmt.Errorf("%w: %s", ErrBucket, said)
	case status == http.StatusPreconditionFailed, status == http.StatusNotFound, status == http.StatusRequestedRangeNotSatisfiable,
		code == gcerrors.FailedPrecondition, code == gcerrors.NotFound:
		return fmt.Errorf("%w: %s", manifest.ErrChanged, said)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrDenied, said)
	case status == 0, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return httpread.Again{Err: fmt.Errorf("%w: %s", ErrUnavailable, said)}
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, said)
}

// describe is the HTTP status behind an error of a service's client, 0 for none, and what it says in one line.
func describe(err error) (status int, said string) {
	var withStatus interface{ HTTPStatusCode() int }
	if errors.As(err, &withStatus) {
		status = withStatus.HTTPStatusCode()
	}
	var amazon smithy.APIError
	var azure *azcore.ResponseError
	var google *googleapi.Error
	switch {
	case errors.As(err, &azure):
		return azure.StatusCode, line(fmt.Sprintf("%d %s", azure.StatusCode, azure.ErrorCode))
	case errors.As(err, &google):
		return google.Code, line(fmt.Sprintf("%d %s", google.Code, google.Message))
	case errors.As(err, &amazon):
		return status, line(fmt.Sprintf("%d %s %s", status, amazon.ErrorCode(), amazon.ErrorMessage()))
	}
	return status, line(httpread.WithoutURL(err).Error())
}

// maxSaid bounds what is shown of an answer, in bytes.
const maxSaid = 300

// line is the first line of what a stranger says, and not more of it than one reads.
func line(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	if _, rest, ok := strings.Cut(text, "): "); ok && strings.HasPrefix(text, "blob (code=") {
		text = rest // what gocloud.dev puts before what the service's client said
	}
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return strings.TrimSpace(text)
}
