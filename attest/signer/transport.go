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
	// Rekor's first version takes whole envelopes; its public instance refuses less than this.
	maxRequestBytes = 128 << 20
	maxReasonText   = 400
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
			return nil, refusal(response.Status, reply, credential(request))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second << attempt):
		}
	}
}

// requestBody is what is sent, again if need be. A request is never cut short.
func requestBody(request *http.Request) ([]byte, error) {
	if request.Body == nil {
		return nil, nil
	}
	defer func() { _ = request.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(request.Body, maxRequestBytes+1))
	if err == nil && len(body) > maxRequestBytes {
		err = fmt.Errorf("the statement is too long for this service: more than %d bytes", maxRequestBytes)
	}
	return body, err
}

// credential is the secret in a request, which a service may repeat in what it answers.
func credential(request *http.Request) string {
	_, secret, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	return secret
}

func readReply(response *http.Response) ([]byte, error) {
	defer func() { _ = response.Body.Close() }()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxReplyBytes+1))
	if err == nil && len(reply) > maxReplyBytes {
		err = errors.New("its answer is too long")
	}
	return reply, err
}

// refusal is what a service said instead of doing its part, without the secret. A redirect is one too: whom to trust was
// configured.
func refusal(status string, reply []byte, secret string) error {
	text := string(reply)
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "***")
	}
	text = shortened(strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "�"))
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
	return exchange(ctx, http.MethodGet, address, header, nil)
}

// post sends a JSON text and gets the answer.
func post(ctx context.Context, address string, body []byte) ([]byte, error) {
	return exchange(ctx, http.MethodPost, address, http.Header{"Content-Type": {"application/json"}}, body)
}

func exchange(ctx context.Context, method, address string, header http.Header, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
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
