package oci

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// How long a registry may be silent. Each of these ends a request with ErrUnavailable, and such a request
// is not tried again: the wait was long enough. There is no limit for a whole request, since a
// model may take hours.
const (
	// DialTimeout bounds the connection to a registry.
	DialTimeout = 15 * time.Second
	// HandshakeTimeout bounds the TLS handshake.
	HandshakeTimeout = 10 * time.Second
	// AnswerTimeout is the time from the end of a request to the head of its answer; for a request
	// without a body it includes the connection.
	AnswerTimeout = 30 * time.Second
	// CommitTimeout takes the place of AnswerTimeout when more than a megabyte was uploaded, and where an upload ends: a
	// registry may hash and copy a blob before it answers.
	CommitTimeout = 10 * time.Minute
	// IdleTimeout is the time in which at least one byte of a body must pass, in either direction.
	IdleTimeout = time.Minute
)

// patience holds the limits that stallTransport keeps.
type patience struct{ answer, commit, idle time.Duration }

// usualPatience is a variable for tests.
var usualPatience = patience{AnswerTimeout, CommitTimeout, IdleTimeout}

// sharedTransport keeps the connections of all repositories. It is http.DefaultTransport with limits.
var sharedTransport = sync.OnceValue(func() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport // the program has put its own there
	}
	t = t.Clone()
	t.DialContext = dial
	t.TLSHandshakeTimeout = HandshakeTimeout
	return t
})

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: DialTimeout, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return bulkConn{conn}, nil
}

// bulkConn sends the bodies of requests in larger pieces than net/http does, which saves the system's time.
type bulkConn struct{ net.Conn }

var bulkBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// ReadFrom implements io.ReaderFrom, which net/http uses where the connection is not encrypted.
func (c bulkConn) ReadFrom(r io.Reader) (int64, error) {
	buf := bulkBuffers.Get().(*[]byte)
	defer bulkBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, r, *buf)
}

// baseTransport is the shared one, or one of its own that trusts further authorities.
func baseTransport(certificates []byte) (http.RoundTripper, error) {
	shared := sharedTransport()
	t, ok := shared.(*http.Transport)
	if len(certificates) == 0 {
		return shared, nil
	}
	if !ok {
		return nil, errors.New("oci: certificates of an authority, and a transport that takes none")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // some systems have none
	}
	if !pool.AppendCertsFromPEM(certificates) {
		return nil, fmt.Errorf("oci: %w", ErrCertificates)
	}
	t = t.Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// stallTransport ends requests that do not go on. One watch sees the whole exchange: net/http has no limit for
// a body that stands still, and over HTTP/2 none for an upload that the other side does not take.
type stallTransport struct {
	base http.RoundTripper
	patience
}

// RoundTrip implements http.RoundTripper.
func (t stallTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	w := &watch{caller: req.Context(), cancel: cancel, idle: t.idle}
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		answer := t.answer
		if req.ContentLength <= 0 || req.ContentLength > bufferedBlob {
			answer = t.commit
		}
		req.Body = &upload{req.Body, w, req.ContentLength, answer}
		w.wait(t.idle, "the upload did not begin within %v")
	} else {
		answer := t.answer
		if req.Method == http.MethodPut { // it ends an upload
			answer = t.commit
		}
		w.wait(answer, "no answer within %v")
	}
	resp, err := t.base.RoundTrip(req)
	w.rest()
	if err != nil {
		defer cancel()
		return nil, w.explain(err)
	}
	resp.Body = &download{resp.Body, w}
	return resp, nil
}

// watch cancels a request that stands still.
type watch struct {
	caller context.Context // of the request as it came
	cancel context.CancelFunc
	idle   time.Duration

	mu    sync.Mutex
	timer *time.Timer
	why   string // empty unless the watch ended the request
}

// wait lets the request stand still for d from now on. The transport goes on reading an upload after
// an early answer, so that the timer may be set by either side.
func (w *watch) wait(d time.Duration, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.timer == timer {
			w.why = fmt.Sprintf(why, d)
			w.cancel()
		}
	})
	w.timer = timer
}

// rest ends the wait: what happens now is up to this side.
func (w *watch) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
}

func (w *watch) stop() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// explain gives an error of the exchange its reason: the caller's cancellation, whose error net/http may
// replace by its cause; a stall; or a timeout of the connection.
func (w *watch) explain(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why := w.caller.Err(); why != nil {
		if errors.Is(err, why) {
			return err
		}
		return fmt.Errorf("%w: %w", why, err)
	}
	var network net.Error
	switch {
	case w.why != "":
		return fmt.Errorf("%w: %s", ErrUnavailable, w.why)
	case errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("%w: %v", ErrUnavailable, err) // not %w: timeouts are tried again, for minutes
	}
	return err
}

// upload is the body of a request. While the transport holds it, bytes must pass.
type upload struct {
	io.ReadCloser
	watch  *watch
	left   int64 // bytes; 0 or less at the start when nobody knows
	answer time.Duration
}

// Read implements io.Reader. The time that the source itself takes does not count.
func (b *upload) Read(p []byte) (int, error) {
	b.watch.rest()
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); err == io.EOF || b.left == 0 && n > 0 {
		b.watch.wait(b.answer, "no answer within %v")
	} else {
		b.watch.wait(b.watch.idle, "the upload stood still for %v")
	}
	return n, err
}

// download is the body of an answer.
type download struct {
	io.ReadCloser
	watch *watch
}

// Read implements io.Reader. The time between two calls does not count.
func (b *download) Read(p []byte) (int, error) {
	b.watch.wait(b.watch.idle, "no bytes for %v")
	n, err := b.ReadCloser.Read(p)
	b.watch.rest()
	if err != nil && err != io.EOF {
		err = b.watch.explain(err)
	}
	return n, err
}

// Close implements io.Closer.
func (b *download) Close() error {
	b.watch.rest()
	defer b.watch.cancel()
	return b.ReadCloser.Close()
}
