// Package httpread is what reading large files over HTTP has in common, wherever they lie: a client that waits neither forever nor too little,
// and attempts that go on where the last one ended.
package httpread

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// AnswerTimeout is the time from a request to the head of its answer.
	AnswerTimeout = 30 * time.Second
	// IdleTimeout is the time in which at least one byte of a body must come.
	IdleTimeout = time.Minute
	// MaxAttempts bounds how often something is tried in a row without a byte of progress.
	MaxAttempts = 6

	firstWait = 500 * time.Millisecond
)

// NewTransport returns a transport for contents.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		ResponseHeaderTimeout: AnswerTimeout, IdleConnTimeout: 90 * time.Second,
		DisableCompression: true, // sizes and ranges are those of the file
	}
}

// NewClient returns a client over a transport. It follows no redirect, which could carry credentials elsewhere.
func NewClient(over http.RoundTripper) *http.Client {
	return &http.Client{Transport: over, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// IsLoopback reports whether host or host:port is this machine.
func IsLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// WithoutURL drops the address from an error of net/http: it may be signed, and whoever reads it may fetch.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Again is an error after which another attempt may do better.
type Again struct {
	Err   error
	After time.Duration // what the other side asked for; 0 for nothing
}

// Error implements error.
func (e Again) Error() string { return e.Err.Error() }

// Unwrap returns the error without the prospect of another attempt.
func (e Again) Unwrap() error { return e.Err }

// Retry says how patient Do is.
type Retry struct {
	MaxWait time.Duration // bounds the time between two attempts, also when the other side asks for more
	// Wait waits between two attempts; nil for waiting that long.
	Wait func(ctx context.Context, d time.Duration) error
	// Note is told what is tried again and why; may be nil.
	Note func(text string)
}

// Do runs do until it succeeds, fails for good, or has failed MaxAttempts times in a row with an Again. The errors of do are returned
// without Again; once ctx has ended, its cause.
func (r Retry) Do(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		var again Again
		if !errors.As(err, &again) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n >= MaxAttempts {
			return again.Err
		}
		if r.Note != nil {
			r.Note(fmt.Sprintf("%v; trying again", again.Err))
		}
		pause := firstWait << (n - 1)
		pause += time.Duration(rand.Int64N(int64(pause)/2 + 1)) //nolint:gosec // no secret
		if err := r.wait(ctx, min(max(pause, again.After), r.MaxWait)); err != nil {
			return err
		}
	}
}

func (r Retry) wait(ctx context.Context, d time.Duration) error {
	if r.Wait != nil {
		return r.Wait(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
