package hub

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/httpread"
)

// How patient a client is.
const (
	// AnswerTimeout is the time from a request to the head of its answer.
	AnswerTimeout = httpread.AnswerTimeout
	// IdleTimeout is the time in which at least one byte of a body must come.
	IdleTimeout = httpread.IdleTimeout
	// MaxAttempts bounds how often something is tried in a row without a byte of progress.
	MaxAttempts = httpread.MaxAttempts
	// MaxWait bounds the time between two attempts, also when the hub asks for more.
	MaxWait = time.Minute
	// maxRedirects bounds how often an answer may lead elsewhere.
	maxRedirects = 8
)

// Options of New. The zero value asks DefaultEndpoint without a token.
type Options struct {
	Endpoint  string // http only for a host on this machine, or with PlainHTTP
	Token     string // sent to the endpoint's scheme, host and port only
	PlainHTTP bool   // take http for an endpoint that is not on this machine too
	UserAgent string // empty for "mlseal"
	// Wait waits between two attempts; nil for waiting that long.
	Wait func(ctx context.Context, d time.Duration) error
	// Note is told what is tried again and why; may be nil.
	Note func(text string)
}

// Client asks one hub. It is safe for use by several goroutines.
type Client struct {
	endpoint *url.URL
	opts     Options
	http     *http.Client
	retry    httpread.Retry
}

// New returns a client. The error wraps ErrEndpoint.
func New(opts Options) (*Client, error) {
	if opts.Endpoint == "" {
		opts.Endpoint = DefaultEndpoint
	}
	endpoint, err := url.Parse(strings.TrimRight(opts.Endpoint, "/"))
	switch {
	case err != nil || endpoint.Host == "" || endpoint.User != nil || endpoint.RawQuery != "" || endpoint.Fragment != "":
		return nil, fmt.Errorf("hub: %w: want https://HOST", ErrEndpoint) // it may hold a password
	case endpoint.Scheme != "https" && endpoint.Scheme != "http":
		return nil, fmt.Errorf("hub: %s: %w: want https://HOST", endpoint, ErrEndpoint)
	case endpoint.Scheme == "http" && !opts.PlainHTTP && !httpread.IsLoopback(endpoint.Host):
		return nil, fmt.Errorf("hub: %s: %w: http is taken for this machine only, unless it is asked for", endpoint, ErrEndpoint)
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "mlseal"
	}
	return &Client{endpoint: endpoint, opts: opts, http: httpread.NewClient(httpread.NewTransport()),
		retry: httpread.Retry{MaxWait: MaxWait, Wait: opts.Wait, Note: opts.Note}}, nil
}

// Endpoint is the hub's address.
func (c *Client) Endpoint() string { return c.endpoint.String() }

// open sends one GET and follows redirects. The answer is a 200 or a 206; the caller closes its body.
func (c *Client) open(ctx context.Context, address *url.URL, header http.Header, seen func(*http.Response) error) (*http.Response, error) {
	for range maxRedirects {
		resp, err := c.send(ctx, address, header)
		if err != nil {
			return nil, err
		}
		if seen != nil && c.isHub(address) {
			if err := seen(resp); err != nil {
				_ = resp.Body.Close()
				return nil, err
			}
		}
		switch resp.StatusCode {
		case http.StatusOK, http.StatusPartialContent:
			return resp, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			_ = resp.Body.Close()
			if address, err = c.next(address, resp.Header.Get("Location")); err != nil {
				return nil, err
			}
		default:
			_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
			_ = resp.Body.Close()
			return nil, c.refusal(address, resp)
		}
	}
	return nil, fmt.Errorf("%w: more than %d redirects", ErrAnswer, maxRedirects)
}

func (c *Client) send(ctx context.Context, address *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	if c.opts.Token != "" && c.isHub(address) {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, httpread.Again{Err: fmt.Errorf("%w: %s: %w", ErrUnavailable, address.Host, httpread.WithoutURL(err))}
	}
	return resp, nil
}

// isHub reports whether an address is the hub's own: its scheme, host and port.
func (c *Client) isHub(u *url.URL) bool {
	return u.Scheme == c.endpoint.Scheme && u.Host == c.endpoint.Host
}

// next is where a redirect leads. It may leave the hub, but not for a place that is less safe.
func (c *Client) next(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" || to.Host == "" || to.User != nil {
		return nil, fmt.Errorf("%w: a redirect that leads nowhere", ErrAnswer)
	}
	if to.Scheme != "https" && (to.Scheme != "http" || from.Scheme != "http") {
		return nil, fmt.Errorf("%w: a redirect from %s to %s", ErrAnswer, from.Scheme, to.Scheme)
	}
	return to, nil
}

// refusal makes an error of an answer that is neither contents nor a redirect. huggingface_hub tells the cases by X-Error-Code; a
// repository that is private and one that is not there look alike to a stranger.
func (c *Client) refusal(address *url.URL, resp *http.Response) error {
	code := resp.Header.Get("X-Error-Code")
	status := resp.StatusCode
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return httpread.Again{Err: fmt.Errorf("%w: %s: %s", ErrUnavailable, address.Host, resp.Status), After: time.Duration(max(after, 0)) * time.Second}
	case !c.isHub(address):
		// A signed address may have run out; a new one comes from the hub.
		return httpread.Again{Err: fmt.Errorf("%w: %s, to which the hub leads: %s", ErrUnavailable, address.Host, resp.Status)}
	case code == "GatedRepo":
		return fmt.Errorf("%w: the repository is gated: ask for access on its page, and set HF_TOKEN to a token of yours", ErrDenied)
	case code == "RevisionNotFound":
		return fmt.Errorf("%w: no such revision", ErrNotFound)
	case code == "EntryNotFound":
		return fmt.Errorf("%w: no such file", ErrNotFound)
	case code == "RepoNotFound" || status == http.StatusNotFound || status == http.StatusUnauthorized && c.opts.Token == "":
		return fmt.Errorf("%w: no such repository, or a private one: set HF_TOKEN to a token that may read it", ErrNotFound)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fmt.Errorf("%w: %s: check HF_TOKEN", ErrDenied, resp.Status)
	case status == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: the file is shorter than the hub said", ErrAnswer)
	}
	return fmt.Errorf("%w: %s", ErrAnswer, resp.Status)
}
