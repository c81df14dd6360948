package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/httpread"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Bounds of what a registry may send as lists of tags and referrers.
const (
	MaxListBytes = 4 << 20 // bytes of one page
	MaxListPages = 100     // pages of one list
)

// repository is a repository of a registry. It gives every error of oras-go one of this
// package's classes.
type repository struct {
	*remote.Repository
	direct *auth.Client // tries nothing again: blobs have their own way to go on
}

func openRepository(name string, opts OpenOptions) (*repository, error) {
	repo, err := remote.NewRepository(name)
	if err != nil {
		return nil, fmt.Errorf("oci: %s: %w: %w", name, ErrReference, err)
	}
	store, err := credentialStore()
	if err != nil {
		return nil, fmt.Errorf("oci: credentials for registries: %w", err)
	}
	base, err := baseTransport(opts.CACertificates)
	if err != nil {
		return nil, err
	}
	once := stallTransport{base, usualPatience}
	client := newClient(boundedTransport{retry.NewTransport(once)}, store, opts)
	direct := *client
	direct.Client = &http.Client{Transport: once, CheckRedirect: checkRedirect}
	repo.Client = client
	repo.PlainHTTP = opts.PlainHTTP || httpread.IsLoopback(repo.Reference.Registry)
	repo.TagListMaxPages, repo.ReferrerListMaxPages = MaxListPages, MaxListPages
	// One more than boundedTransport lets through, so that its error is seen and not a cut-off text.
	repo.MaxMetadataBytes = MaxListBytes + 1
	// Registries that forbid deletion would otherwise fail each update of the referrers tag.
	repo.SkipReferrersGC = true
	return &repository{repo, &direct}, nil
}

func newClient(transport http.RoundTripper, store credentials.Store, opts OpenOptions) *auth.Client {
	client := &auth.Client{
		Client:     &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		Cache:      auth.NewCache(),
		Credential: credentials.Credential(store),
	}
	client.SetUserAgent(cmp.Or(opts.UserAgent, "mlseal"))
	return client
}

// checkRedirect refuses to go on without TLS what began with it. That no credentials go to another host, oras-go
// sees to.
func checkRedirect(req *http.Request, via []*http.Request) error {
	const most = 10
	if len(via) >= most {
		return fmt.Errorf("%w: more than %d redirects", ErrUnavailable, most)
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return fmt.Errorf("%w: it redirects from https to %s://%s", ErrContent, req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// credentialStore reads docker's configuration with its helpers, and podman's auth.json behind it.
func credentialStore() (credentials.Store, error) {
	docker, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, err
	}
	var podman []credentials.Store
	for _, name := range podmanFiles() {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		store, err := credentials.NewStore(name, credentials.StoreOptions{})
		if err != nil {
			return nil, err
		}
		podman = append(podman, store)
	}
	return credentials.NewStoreWithFallbacks(docker, podman...), nil
}

// podmanFiles are the places of containers-auth.json(5): REGISTRY_AUTH_FILE alone, or else the
// run-time directory and the configuration directory.
func podmanFiles() []string {
	if name := os.Getenv("REGISTRY_AUTH_FILE"); name != "" {
		return []string{name}
	}
	var names []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		names = append(names, filepath.Join(dir, "containers", "auth.json"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		names = append(names, filepath.Join(dir, "containers", "auth.json"))
	}
	return names
}

// Fetch opens the content of desc. The bytes are not verified. A blob whose connection breaks off is
// taken up again.
func (r *repository) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if !isManifest(desc.MediaType) && desc.MediaType != mediaTypeArtifactManifest {
		return r.FetchRange(ctx, desc, 0, desc.Size)
	}
	rc, err := r.Repository.Fetch(ctx, desc)
	if err != nil {
		return nil, remoteError(err)
	}
	return remoteBody{rc}, nil
}

// Push uploads content.
func (r *repository) Push(ctx context.Context, desc ocispec.Descriptor, content io.Reader) error {
	return remoteError(r.Repository.Push(ctx, desc, content))
}

// PushReference uploads a manifest under a tag.
func (r *repository) PushReference(ctx context.Context, desc ocispec.Descriptor, content io.Reader, reference string) error {
	return remoteError(r.Repository.PushReference(ctx, desc, content, reference))
}

// Exists asks whether the registry has desc.
func (r *repository) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	ok, err := r.Repository.Exists(ctx, desc)
	return ok, remoteError(err)
}

// Resolve asks for the descriptor behind a tag or digest. A digest leads to itself or fails.
func (r *repository) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	desc, err := r.Repository.Resolve(ctx, reference)
	if err != nil {
		return ocispec.Descriptor{}, remoteError(err)
	}
	if d := digest.Digest(reference); d.Validate() == nil && d != desc.Digest {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %w: the registry says %q", d, ErrContent, desc.Digest)
	}
	return desc, nil
}

// Tag moves a tag.
func (r *repository) Tag(ctx context.Context, desc ocispec.Descriptor, reference string) error {
	return remoteError(r.Repository.Tag(ctx, desc, reference))
}

// Tags lists tags.
func (r *repository) Tags(ctx context.Context, last string, fn func([]string) error) error {
	return remoteError(r.Repository.Tags(ctx, last, fn))
}

// Predecessors lists the referrers of node, at most MaxReferrers.
func (r *repository) Predecessors(ctx context.Context, node ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var all []ocispec.Descriptor
	err := r.Referrers(ctx, node, "", func(page []ocispec.Descriptor) error {
		if len(all)+len(page) > MaxReferrers {
			return fmt.Errorf("%w: more than %d referrers", ErrLimit, MaxReferrers)
		}
		all = append(all, page...)
		return nil
	})
	return all, remoteError(err)
}

// remoteError gives an error of a request its class, in one line whatever a registry wrote into it. What is neither the network nor a refusal is
// an answer that contradicts itself, such as a length or digest in a header: ErrContent.
func remoteError(err error) error {
	if err == nil {
		return nil
	}
	err = classified(err)
	if text := escape.Line(err.Error()); text != err.Error() {
		return &lineError{text, err}
	}
	return err
}

// lineError is an error with a text that is safe to print.
type lineError struct {
	text string
	err  error
}

func (e *lineError) Error() string { return e.text }
func (e *lineError) Unwrap() error { return e.err }

func classified(err error) error {
	if isSentinel(err) || errors.Is(err, errdef.ErrAlreadyExists) {
		return err
	}
	if errors.Is(err, errdef.ErrSizeExceedsLimit) || errors.Is(err, errdef.ErrTooManyPages) {
		return fmt.Errorf("%w: %w", ErrLimit, err)
	}
	if response := (*errcode.ErrorResponse)(nil); errors.As(err, &response) {
		if response.StatusCode == http.StatusNotFound {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var request *url.Error
	var network net.Error
	if errors.As(err, &request) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrContent, err)
}

// remoteBody reads a response. A read that breaks off is the network's failure.
type remoteBody struct{ io.ReadCloser }

func (b remoteBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !isSentinel(err) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return n, err
}

// boundedTransport fails lists of tags and referrers that are longer than MaxListBytes, which
// oras-go would cut off and report as broken JSON.
type boundedTransport struct{ base http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil && (path.Base(path.Dir(req.URL.Path)) == "referrers" || strings.HasSuffix(req.URL.Path, "/tags/list")) {
		resp.Body = &boundedBody{resp.Body, MaxListBytes}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: a list of more than %d bytes", ErrLimit, MaxListBytes)
	}
	return n, err
}
