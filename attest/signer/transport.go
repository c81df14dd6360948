package signer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// transport sends a request under a context of its own, again when the service is overloaded or broken, and makes an error
// of every answer that is not the one hoped for: what sigstore-go says of those names neither the service nor,
// after a retry, the reason.
type transport struct {
	ctx  context.Context
	hope int // a status that is an answer beside those of success
}

const (
	attempts      = 3
	maxReplyBytes = 1 << 20
	maxReasonText = 400
)

// serviceTimeout bounds how long a service is waited for, its second and third chance included.
const serviceTimeout = 30 * time.Second

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(t.ctx, serviceTimeout)
	defer cancel()
	body, err := requestBody(request)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		again := request.Clone(ctx)
		again.Body = io.NopCloser(bytes.NewReader(body))
		response, err := http.DefaultTransport.RoundTrip(again)
		if err != nil {
			return nil, err
		}
		reply, err := readReply(response)
		if err != nil {
			return nil, err
		}
		if response.StatusCode/100 == 2 || response.StatusCode == t.hope {
			response.Body = io.NopCloser(bytes.NewReader(reply))
			return response, nil
		}
		if attempt+1 == attempts || response.StatusCode < 500 && response.StatusCode != http.StatusTooManyRequests {
			return nil, refusal(response.Status, reply)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second << attempt):
		}
	}
}

func requestBody(request *http.Request) ([]byte, error) {
	if request.Body == nil {
		return nil, nil
	}
	defer func() { _ = request.Body.Close() }()
	return io.ReadAll(io.LimitReader(request.Body, maxReplyBytes))
}

func readReply(response *http.Response) ([]byte, error) {
	defer func() { _ = response.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxReplyBytes+1))
	if err == nil && len(reply) > maxReplyBytes {
		err = errors.New("its answer is too long")
	}
	return reply, err
}

// refusal is what a service said instead of doing its part. A redirect is one too: whom to trust was configured.
func refusal(status string, reply []byte) error {
	text := shortened(strings.ToValidUTF8(strings.Join(strings.Fields(string(reply)), " "), "�"))
	if text == "" {
		return fmt.Errorf("it answered %s", status)
	}
	return fmt.Errorf("it answered %s: %s", status, text)
}

func shortened(text string) string {
	if runes := []rune(text); len(runes) > maxReasonText {
		return string(runes[:maxReasonText]) + "…"
	}
	return text
}

// serviceError says that a service did not do its part, in not too many words: some clients repeat an answer whole.
type serviceError struct{ cause error }

func (e serviceError) Error() string   { return ErrService.Error() + ": " + shortened(e.cause.Error()) }
func (e serviceError) Unwrap() []error { return []error{ErrService, e.cause} }

// fetch gets a small text.
func fetch(ctx context.Context, address string, header http.Header) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header = header
	client := http.Client{Transport: transport{ctx: ctx}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(response.Body)
}
