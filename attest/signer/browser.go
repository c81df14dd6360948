package signer

import (
	"context"
	"fmt"
	"io"

	"github.com/pkg/browser"
	"github.com/sigstore/sigstore/pkg/oauthflow"
)

// Browser lets a person log in.
type Browser struct {
	Issuer   string // URL of the OpenID Connect issuer
	ClientID string // what this program is called there; Audience when empty
	Input    io.Reader
	Output   io.Writer                  // where the person reads the address
	Open     func(address string) error // nil opens the desktop's browser
}

// Token has the person log in and gets a token: the authorization code flow with PKCE (RFC 7636), answered to a port of
// this machine, or with a code that the person copies when no browser can be opened. The error wraps ErrService or
// ErrServiceURL.
func (b Browser) Token(ctx context.Context) (string, error) {
	if err := secretSafe(b.Issuer); err != nil {
		return "", err
	}
	client := b.ClientID
	if client == "" {
		client = Audience
	}
	open := b.Open
	if open == nil {
		open = openOnDesktop
	}
	getter := &oauthflow.InteractiveIDTokenGetter{HTMLPage: loggedInPage, Input: b.Input, Output: b.Output, BrowserOpener: open}
	type outcome struct {
		token *oauthflow.OIDCIDToken
		err   error
	}
	done := make(chan outcome, 1) // the flow does not heed a context; it gives up by itself after two minutes
	go func() {
		token, err := oauthflow.OIDConnect(b.Issuer, client, "", "", getter)
		done <- outcome{token, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return "", fmt.Errorf("signer: %w: login at %s: %w", ErrService, b.Issuer, o.err)
		}
		return o.token.RawString, nil
	case <-ctx.Done():
		return "", fmt.Errorf("signer: login at %s: %w", b.Issuer, ctx.Err())
	}
}

// openOnDesktop keeps what the browser says out of the results on standard output.
func openOnDesktop(address string) error {
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	return browser.OpenURL(address)
}

const loggedInPage = `<!doctype html><html lang="en"><meta charset="utf-8"><title>mlseal</title>
<body style="font-family:sans-serif;margin:4em"><h1>You are logged in</h1><p>mlseal goes on in the terminal. You can close this page.</p></body></html>
`
