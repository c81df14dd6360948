package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Bounds of the attempts to bring one blob over.
const (
	MaxFailures      = 5           // in a row, without a byte of progress
	MaxTotalFailures = 100         // of one blob, whatever the progress
	MaxRetryAfter    = time.Minute // the longest wait that a registry may ask for
	maxErrorBytes    = 8 << 10     // of an answer that says what is wrong
)

// firstBackoff is the wait after the first failure; each further one doubles it. It is a variable for tests.
var firstBackoff = 250 * time.Millisecond

// attempts counts what went wrong with one blob.
type attempts struct {
	failed, total int
	best          int64 // the farthest offset so far
}

// again waits before another attempt, or returns why there is none. at is the offset that was reached.
func (a *attempts) again(ctx context.Context, err error, at int64) error {
	if why := ctx.Err(); why != nil {
		return fmt.Errorf("%w: %w", why, err)
	}
	if !isPassing(err) {
		return err
	}
	if at > a.best {
		a.best, a.failed = at, 0
	}
	a.failed++
	a.total++
	if a.failed > MaxFailures || a.total > MaxTotalFailures {
		return fmt.Errorf("%w (given up after %d attempts)", err, a.total)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case <-time.After(backoff(a.failed, err)):
		return nil
	}
}

// backoff is what the registry asks for, or a wait that doubles, with a jitter of a half.
func backoff(failed int, err error) time.Duration {
	answer := (*answerError)(nil)
	if errors.As(err, &answer) && answer.after > 0 {
		return min(answer.after, MaxRetryAfter)
	}
	wait := firstBackoff << (failed - 1)
	return wait/2 + rand.N(wait)
}

// isPassing reports whether the same request may go well a little later. A registry that stood still
// is not asked again: the wait was long enough; nor is one whose request failed for the sake of a file here.
func isPassing(err error) bool {
	if errors.Is(err, errSessionLost) {
		return true
	}
	if isSentinel(err) {
		return false
	}
	answer := (*answerError)(nil)
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return false
	}
	var request *url.Error
	var network net.Error
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) ||
		errors.As(err, &request) && !errors.Is(err, auth.ErrBasicCredentialNotFound)
}

// answerError is an answer that is not what was hoped for.
type answerError struct {
	*errcode.ErrorResponse
	after time.Duration // what Retry-After asks for; 0 for nothing
}

func (e *answerError) Unwrap() error { return e.ErrorResponse }

// refusal makes an error of an answer and closes it. What the registry says is quoted as far as it has the
// form of OCI distribution-spec v1.1, "Error Codes".
func refusal(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }()
	said := &errcode.ErrorResponse{Method: resp.Request.Method, URL: withoutQuery(resp.Request.URL), StatusCode: resp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)); err == nil && json.Unmarshal(data, &body) == nil {
		said.Errors = body.Errors
	}
	return &answerError{said, retryAfter(resp.Header.Get("Retry-After"))}
}

// withoutQuery leaves out what may hold a session's secret.
func withoutQuery(u *url.URL) *url.URL {
	short := *u
	short.RawQuery, short.User = "", nil
	return &short
}

// retryAfter reads RFC 9110, section 10.2.3: seconds, or a date.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}
