package objectstore

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"

	"github.com/mlseal/mlseal/internal/httpread"
)

const (
	// AnswerTimeout is the time from a request to the head of its answer.
	AnswerTimeout = httpread.AnswerTimeout
	connections   = 64 // that are kept open to one host
)

// newHTTP is the client with which all three services are asked. It follows no redirect, which would carry credentials elsewhere.
func newHTTP(opts Options) (*http.Client, error) {
	transport := httpread.NewTransport()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = connections, connections
	if len(opts.CACertificates) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(opts.CACertificates) {
			return nil, fmt.Errorf("%w: the certificates hold none in PEM", ErrURL)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return httpread.NewClient(guard{transport, opts}), nil
}

// guard lets no request out without TLS but to this machine. An endpoint comes from a parameter, the environment or a file of the service's
// client; here they all pass.
type guard struct {
	next http.RoundTripper
	opts Options
}

// RoundTrip implements http.RoundTripper.
func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.opts.checkPlain(req.URL); err != nil {
		return nil, final{err}
	}
	return g.next.RoundTrip(req)
}

// final is an error that the services' clients do not try again: they ask for these methods.
type final struct{ error }

func (e final) Unwrap() error      { return e.error }
func (final) RetryableError() bool { return false }
func (final) NonRetriable()        {}

// checkPlain refuses an address to which a request would go without TLS, unless that is asked for.
func (o Options) checkPlain(u *url.URL) error {
	if u.Scheme == "http" && !o.PlainHTTP && !httpread.IsLoopback(u.Host) {
		return fmt.Errorf("%s://%s: %w", u.Scheme, u.Host, ErrPlainHTTP)
	}
	return nil
}
