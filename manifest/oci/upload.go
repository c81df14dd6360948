package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	// chunkBytes is the length of a request where a registry, or a proxy before it, takes none for a whole blob. A blob of at most as many
	// bytes is held in memory for a registry that mishandles chunks.
	chunkBytes = 8 << 20
	// abortTimeout bounds the request that ends an upload which failed.
	abortTimeout = 5 * time.Second
)

var (
	// errChunks says that a registry does not take blobs in chunks.
	errChunks = errors.New("the registry takes no chunks")
	// errSessionLost says that a registry does not know an upload any more, or has another idea of it.
	errSessionLost = errors.New("the registry lost the upload")
)

// wholeOnly are registries that mishandle chunks: they forget all but the last one, or refuse them.
var wholeOnly = []string{"ghcr.io", "gcr.io", "pkg.dev", "amazonaws.com", "amazonaws.com.cn", "public.ecr.aws"}

func takesChunks(host string) bool {
	name, _, _ := strings.Cut(strings.ToLower(host), ":")
	return !slices.ContainsFunc(wholeOnly, func(known string) bool {
		return name == known || strings.HasSuffix(name, "."+known)
	})
}

// startBlob begins the upload of a blob of size bytes. What is written is sent on at once, in one request for the whole blob (OCI
// distribution-spec v1.1, "Pushing a blob in chunks", with one chunk). After a failure the upload goes on from what the registry has;
// reread opens the blob at an offset for what was written before. Where chunks are not taken, Commit reads the blob again and
// sends it as a whole.
func (r *repository) startBlob(ctx context.Context, size int64, reread func(offset int64) (io.ReadCloser, error)) (blobUpload, error) {
	return r.newBlobWriter(ctx, size, reread), nil
}

func (r *repository) newBlobWriter(ctx context.Context, size int64, reread func(int64) (io.ReadCloser, error)) *blobWriter {
	w := &blobWriter{repo: r, ctx: r.pushScope(ctx), size: size, reread: reread, longest: size}
	small := int64(bufferedBlob)
	if !takesChunks(r.Reference.Host()) {
		small = chunkBytes // else it has to be read again
	}
	if size <= small {
		w.small = make([]byte, 0, max(0, size))
	} else {
		w.whole = !takesChunks(r.Reference.Host())
	}
	return w
}

// blobWriter is an upload whose digest is told at the end.
type blobWriter struct {
	repo   *repository
	ctx    context.Context
	size   int64
	reread func(offset int64) (io.ReadCloser, error)

	small    []byte   // a small blob, which Commit sends; nil for others
	base     int64    // the number of bytes that were written
	there    int64    // what the registry has
	flow     *flow    // the request under way; nil without one
	longest  int64    // most bytes of one request
	least    int64    // of bytes of one request, but for the last one
	location *url.URL // of the session; nil without one
	unsure   bool     // a request broke off: the registry has to be asked what it has
	accepted bool     // it took a chunk
	whole    bool     // it takes no chunks
	tries    attempts
	err      error
}

// Write implements io.Writer.
func (w *blobWriter) Write(p []byte) (int, error) {
	switch {
	case w.err != nil:
	case w.base+int64(len(p)) > w.size:
		w.err = fmt.Errorf("%w: more than the %d bytes that were announced", ErrContent, w.size)
	case w.small != nil:
		w.small = append(w.small, p...)
	case !w.whole:
		if w.err = w.deliver(p); errors.Is(w.err, errChunks) {
			w.drop()
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	w.base += int64(len(p))
	return len(p), nil
}

// Commit implements blobUpload.
func (w *blobWriter) Commit(ctx context.Context, desc ocispec.Descriptor) error {
	if w.err != nil {
		return w.err
	}
	if w.base != desc.Size {
		return fmt.Errorf("%w: %d bytes were written of %d", ErrContent, w.base, desc.Size)
	}
	w.ctx = w.repo.pushScope(ctx)
	if w.small == nil && !w.whole {
		err := w.finish(desc)
		if !errors.Is(err, errChunks) {
			return remoteError(err)
		}
		w.drop()
	}
	open := func() (io.ReadCloser, error) { return w.reread(0) }
	if w.small != nil {
		open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(w.small)), nil }
	}
	return remoteError(w.repo.putWhole(w.ctx, desc, w.location, open))
}

// Abort implements blobUpload. A session that stays is the registry's to clean up.
func (w *blobWriter) Abort(ctx context.Context) {
	if w.flow != nil {
		w.flow.cancel()
		w.flow = nil
	}
	if w.location != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		if resp, err := w.repo.send(w.repo.pushScope(ctx), http.MethodDelete, w.location, nil, nil); err == nil {
			_ = resp.Body.Close()
		}
	}
}

// drop forgets the session, since the blob is sent as a whole.
func (w *blobWriter) drop() {
	w.Abort(w.ctx)
	w.whole, w.location, w.err = true, nil, nil
}

// deliver gives p, which stands behind everything that was written, to requests. At the end of the blob it waits until the
// registry has it.
func (w *blobWriter) deliver(p []byte) error {
	end := w.base + int64(len(p))
	for w.there < end || w.unsure {
		switch {
		case w.flow == nil:
			if err := w.step(); err != nil {
				return remoteError(err)
			}
			continue
		case w.flow.feed(w.base, p) && w.flow.stop > end:
			return nil
		}
		if err := w.settle(); err != nil {
			if err = w.tries.again(w.ctx, err, w.there); err != nil {
				return remoteError(err)
			}
		}
	}
	return nil
}

// step makes one request of an upload: it begins a session, asks what the registry has, or begins to send.
func (w *blobWriter) step() (err error) {
	switch {
	case w.location == nil:
		err = w.begin()
	case w.unsure:
		err = w.ask()
	default:
		w.flow = w.repo.startFlow(w.ctx, w.location, w.there, min(w.size, w.there+w.longest), w.reread)
	}
	if err != nil {
		return w.tries.again(w.ctx, err, w.there)
	}
	return nil
}

// settle waits for the end of the request under way and finds out what the registry has.
func (w *blobWriter) settle() error {
	f := w.flow
	w.flow = nil
	resp, err := f.wait()
	defer f.cancel()
	if err != nil {
		w.unsure = true
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return w.refused(refusal(resp))
	}
	defer func() { _ = resp.Body.Close() }()
	if err := w.move(resp); err != nil {
		return err
	}
	w.accepted = true
	w.there = f.stop
	if has, ok := rangeEnd(resp.Header.Get("Range")); ok && has < w.there {
		w.there = has // it took less than it was sent
		return fmt.Errorf("%w: it has %d of %d bytes", errSessionLost, has, f.stop)
	}
	return nil
}

// refused says what an answer to a chunk means.
func (w *blobWriter) refused(err error) error {
	answer := (*answerError)(nil)
	if !errors.As(err, &answer) || isPassing(err) {
		w.unsure = true
		return err
	}
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return err
	case code == http.StatusRequestEntityTooLarge && w.shorten(),
		w.accepted && code == http.StatusRequestedRangeNotSatisfiable:
		w.unsure = true
		return fmt.Errorf("%w: %w", errSessionLost, err)
	case w.accepted && code == http.StatusNotFound:
		w.lose()
		return fmt.Errorf("%w: %w", errSessionLost, err)
	}
	return fmt.Errorf("%w: %w", errChunks, err)
}

// shorten goes on with requests that are as short as the registry lets them be, and reports whether they were longer: for proxies that
// limit the length or the time of a request and keep nothing of one that broke off.
func (w *blobWriter) shorten() bool {
	short := max(chunkBytes, w.least)
	was := w.longest
	w.longest = min(was, short)
	return was > short
}

// lose goes on with another session, in which the blob is sent from the start.
func (w *blobWriter) lose() {
	w.location, w.there, w.unsure = nil, 0, false
	w.shorten()
}

// begin opens a session: "POST /v2/<name>/blobs/uploads/".
func (w *blobWriter) begin() error {
	resp, err := w.repo.send(w.ctx, http.MethodPost, w.repo.endpoint("blobs/uploads/"), nil, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return refusal(resp)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := w.move(resp); err != nil {
		return err
	}
	w.there, w.unsure = 0, false
	// "OCI-Chunk-Min-Length": "the registry … MAY" ask for a smallest size of chunks.
	if least, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil {
		w.least = min(least, w.size)
	}
	return nil
}

// ask finds out what the registry has: "GET <location>" answers 204 with "Range: 0-<end-of-range>". A
// registry that cannot say gets the blob from the start, in another session.
func (w *blobWriter) ask() error {
	resp, err := w.repo.send(w.ctx, http.MethodGet, w.location, nil, nil)
	if err != nil {
		return err
	}
	has, ok := rangeEnd(resp.Header.Get("Range"))
	if (resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusAccepted) && ok && has <= w.size {
		defer func() { _ = resp.Body.Close() }()
		if has <= w.there {
			w.shorten() // nothing of the last request was kept
		}
		w.unsure, w.there, w.accepted = false, has, w.accepted || has > 0
		return w.move(resp)
	}
	if err := refusal(resp); isPassing(err) {
		return err
	}
	w.Abort(w.ctx)
	w.lose()
	return nil
}

// move follows the session to its next address, which the registry may leave out of an answer about the state.
func (w *blobWriter) move(resp *http.Response) error {
	if resp.Header.Get("Location") == "" && w.location != nil {
		return nil
	}
	next, err := w.repo.session(resp)
	if err == nil {
		w.location = next
	}
	return err
}

// finish ends a session: "PUT <location>?digest=<digest>". A registry that does not like what the chunks
// became gets the blob in one request.
func (w *blobWriter) finish(desc ocispec.Descriptor) error {
	for {
		if err := w.deliver(nil); err != nil {
			return err
		}
		err := w.repo.put(w.ctx, w.location, desc, nil)
		if err == nil {
			return nil
		}
		w.unsure = true
		if answer := (*answerError)(nil); errors.As(err, &answer) && !isPassing(err) {
			switch answer.StatusCode {
			case http.StatusUnauthorized, http.StatusForbidden:
				return err
			case http.StatusNotFound:
				w.lose()
				err = fmt.Errorf("%w: %w", errSessionLost, err)
			default:
				return fmt.Errorf("%w: %w", errChunks, err)
			}
		}
		if err := w.tries.again(w.ctx, err, w.there); err != nil {
			return err
		}
		if there, err := w.repo.Exists(w.ctx, desc); err == nil && there {
			return nil // the answer was lost, not the blob
		}
	}
}

// payload is the body of a request, which can be sent again.
type payload struct {
	size int64
	open func() (io.ReadCloser, error)
}

// send makes one request without trying again. The caller closes the body of the answer.
func (r *repository) send(ctx context.Context, method string, to *url.URL, body *payload, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil && body.size > 0 {
		req.ContentLength, req.GetBody = body.size, body.open
		if req.Body, err = body.open(); err != nil {
			return nil, err
		}
	}
	resp, err := r.direct.Do(req)
	if broken := (*url.Error)(nil); errors.As(err, &broken) {
		broken.URL = withoutQuery(to).String()
	}
	return resp, err
}

// endpoint is the address of something in the repository.
func (r *repository) endpoint(path string) *url.URL {
	u := &url.URL{Scheme: "https", Host: r.Reference.Host(), Path: "/v2/" + r.Reference.Repository + "/" + path}
	if r.PlainHTTP {
		u.Scheme = "http"
	}
	return u
}

func (r *repository) pushScope(ctx context.Context) context.Context {
	return auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull, auth.ActionPush)
}

func (r *repository) pullScope(ctx context.Context) context.Context {
	return auth.AppendRepositoryScope(ctx, r.Reference, auth.ActionPull)
}

// session is the address at which an upload goes on. It must be the registry's own: the credentials are sent there
// (GHSA-jxpm-75mh-9fp7).
func (r *repository) session(resp *http.Response) (*url.URL, error) {
	next, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("%w: an upload without an address to go on: %w", ErrContent, err)
	}
	asked := resp.Request.URL
	if asked.Port() == "443" && next.Port() == "" && next.Hostname() == asked.Hostname() {
		next.Host = asked.Host
	}
	if !strings.EqualFold(next.Host, asked.Host) || asked.Scheme == "https" && next.Scheme != "https" {
		return nil, fmt.Errorf("%w: the upload should go on at %s://%s, which is not the registry", ErrContent, next.Scheme, next.Host)
	}
	return next, nil
}

// put ends an upload with the blob's digest, and with its bytes where body is set.
func (r *repository) put(ctx context.Context, location *url.URL, desc ocispec.Descriptor, body *payload) error {
	to := *location
	query := to.Query()
	query.Set("digest", desc.Digest.String())
	to.RawQuery = query.Encode()
	resp, err := r.send(ctx, http.MethodPut, &to, body, http.Header{"Content-Type": {"application/octet-stream"}})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return refusal(resp)
	}
	defer func() { _ = resp.Body.Close() }()
	return checkDigestHeader(resp, desc.Digest)
}

// checkDigestHeader compares what the registry says the digest is. It need not say it.
func checkDigestHeader(resp *http.Response, want digest.Digest) error {
	said := digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	if said == "" || said == want || said.Validate() == nil && said.Algorithm() != want.Algorithm() {
		return nil
	}
	return fmt.Errorf("%s: %w: the registry says that its digest is %q", want, ErrContent, said)
}

// putWhole sends a blob in one request (OCI distribution-spec v1.1, "POST then PUT"), from the start for each attempt. The
// first one uses the session at location, if there is one.
func (r *repository) putWhole(ctx context.Context, desc ocispec.Descriptor, location *url.URL, open func() (io.ReadCloser, error)) error {
	var tries attempts
	for {
		err := r.tryWhole(ctx, desc, location, open)
		if err == nil {
			return nil
		}
		location = nil
		if err := tries.again(ctx, err, 0); err != nil {
			return err
		}
		if there, err := r.Exists(ctx, desc); err == nil && there {
			return nil // the answer was lost, not the blob
		}
	}
}

func (r *repository) tryWhole(ctx context.Context, desc ocispec.Descriptor, location *url.URL, open func() (io.ReadCloser, error)) error {
	if location == nil {
		resp, err := r.send(ctx, http.MethodPost, r.endpoint("blobs/uploads/"), nil, nil)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusAccepted {
			return refusal(resp)
		}
		_ = resp.Body.Close()
		if location, err = r.session(resp); err != nil {
			return err
		}
	}
	return r.put(ctx, location, desc, &payload{desc.Size, open})
}

// mount asks for a blob of another repository of the registry (OCI distribution-spec v1.1, "Mounting a blob from
// another repository"). Where it is not mounted, for whatever reason, it has to be uploaded; location
// is then the session that the registry may have begun for that.
func (r *repository) mount(ctx context.Context, desc ocispec.Descriptor, from string) (mounted bool, location *url.URL, err error) {
	source := r.Reference
	source.Repository = from
	ctx = auth.AppendRepositoryScope(r.pushScope(ctx), source, auth.ActionPull)
	to := r.endpoint("blobs/uploads/")
	to.RawQuery = url.Values{"mount": {desc.Digest.String()}, "from": {from}}.Encode()
	resp, err := r.send(ctx, http.MethodPost, to, nil, nil)
	if err != nil {
		if isPassing(err) || isSentinel(err) {
			return false, nil, remoteError(ctx.Err())
		}
		return false, nil, remoteError(err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusCreated:
		return true, nil, checkDigestHeader(resp, desc.Digest)
	case http.StatusAccepted:
		location, _ = r.session(resp)
	}
	return false, location, nil
}

// source of a blob that is uploaded.
type blobSource struct {
	open      func(offset int64) (io.ReadCloser, error)
	mountFrom string // repository of the same registry that has it; may be empty
	progress  func(int)
}

// uploadBlob brings the blob desc to the repository, unless it is there. The bytes are verified before the
// registry is asked to keep them.
func (r *repository) uploadBlob(ctx context.Context, desc ocispec.Descriptor, from blobSource) (transfer, error) {
	exists, err := r.Exists(ctx, desc)
	if err != nil || exists {
		return skipped, err
	}
	var location *url.URL
	if from.mountFrom != "" {
		var done bool
		if done, location, err = r.mount(ctx, desc, from.mountFrom); err != nil || done {
			return mounted, err
		}
	}
	if desc.Size > chunkBytes && !takesChunks(r.Reference.Host()) {
		return copied, remoteError(r.putWhole(r.pushScope(ctx), desc, location, func() (io.ReadCloser, error) {
			rc, err := from.open(0)
			if err != nil {
				return nil, err
			}
			return &verifiedBody{ReadCloser: rc, want: desc, hash: desc.Digest.Algorithm().Hash(), progress: from.progress}, nil
		}))
	}
	w := r.newBlobWriter(ctx, desc.Size, from.open)
	w.location = location
	return copied, w.fill(ctx, desc, from)
}

func (w *blobWriter) fill(ctx context.Context, desc ocispec.Descriptor, from blobSource) error {
	rc, err := from.open(0)
	if err != nil {
		w.Abort(ctx)
		return err
	}
	defer func() { _ = rc.Close() }()
	if err := copyVerified(ctx, rc, desc, w, from.progress); err != nil {
		w.Abort(ctx)
		return err
	}
	if err := w.Commit(ctx, desc); err != nil {
		w.Abort(ctx)
		return err
	}
	return nil
}

// verifiedBody fails instead of giving away the last bytes of a blob that is not what want says.
type verifiedBody struct {
	io.ReadCloser
	want     ocispec.Descriptor
	hash     hash.Hash
	read     int64
	progress func(int)
}

// Read implements io.Reader.
func (b *verifiedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	_, _ = b.hash.Write(p[:n]) // a hash never fails to write
	b.read += int64(n)
	report(b.progress, int64(n))
	if b.read > b.want.Size || err == io.EOF && b.read < b.want.Size {
		return 0, &mismatchError{want: b.want, gotSize: b.read}
	}
	if b.read == b.want.Size {
		if got := digest.NewDigest(b.want.Digest.Algorithm(), b.hash); got != b.want.Digest {
			return 0, &mismatchError{want: b.want, got: got, gotSize: b.read}
		}
	}
	return n, err
}

// rangeEnd reads "0-N" of a Range header, with or without "bytes=", and returns the number of bytes. Registries say 0-0
// of nothing too, so that it counts as nothing.
func rangeEnd(header string) (int64, bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 62)
	if !ok || err != nil || first != "0" || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}
