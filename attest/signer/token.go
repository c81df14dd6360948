package signer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Audience is whom identity tokens are meant for.
const Audience = "sigstore"

// TokenFile is where other programs of Sigstore too look for an identity token.
const TokenFile = "/var/run/sigstore/cosign/oidc-token"

// MaxTokenBytes bounds an identity token.
const MaxTokenBytes = 64 << 10

// ErrToken says that an identity token cannot be used.
var ErrToken = errors.New("not a usable identity token")

// TokenSource gets an OpenID Connect identity token.
type TokenSource func(context.Context) (string, error)

// GivenToken is a token that is at hand. One that is malformed or has expired is refused at once. The error wraps ErrToken and does not
// show the token.
func GivenToken(token string, now time.Time) (TokenSource, error) {
	token = strings.TrimSpace(token)
	if _, err := readToken(token, now); err != nil {
		return nil, err
	}
	return func(context.Context) (string, error) { return token, nil }, nil
}

// claims are those that are looked at before a token is sent to the certificate authority, which verifies it.
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
}

// audience is one text or several (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// readToken looks at a token's claims (RFC 7519), without verifying them.
func readToken(token string, now time.Time) (*claims, error) {
	parts := strings.Split(token, ".")
	if len(token) > MaxTokenBytes || len(parts) != 3 {
		return nil, fmt.Errorf("signer: %w: it is no JSON Web Token", ErrToken)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("signer: %w: its payload is not base64url", ErrToken)
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("signer: %w: its payload is no JSON object of claims", ErrToken)
	}
	if c.Issuer == "" || c.Subject == "" {
		return nil, fmt.Errorf("signer: %w: it names no issuer or no subject", ErrToken)
	}
	if expires := time.Unix(int64(c.Expires), 0); c.Expires > 0 && !now.Before(expires) {
		return nil, fmt.Errorf("signer: %w: it expired at %s", ErrToken, expires.UTC().Format(time.RFC3339))
	}
	return &c, nil
}

// AmbientToken finds where the surroundings offer identity tokens: GitLab CI (SIGSTORE_ID_TOKEN, of a job's id_tokens),
// GitHub Actions (ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN, where a job has the permission id-token: write), or a file. It returns
// the name of the place, and nil when there is none.
func AmbientToken(lookupEnv func(string) (string, bool), file string) (string, TokenSource) {
	if token, ok := lookupEnv("SIGSTORE_ID_TOKEN"); ok && token != "" {
		return "SIGSTORE_ID_TOKEN", func(context.Context) (string, error) { return strings.TrimSpace(token), nil }
	}
	address, _ := lookupEnv("ACTIONS_ID_TOKEN_REQUEST_URL")
	secret, _ := lookupEnv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if address != "" && secret != "" {
		return "GitHub Actions", func(ctx context.Context) (string, error) { return gitHubToken(ctx, address, secret) }
	}
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		return file, func(context.Context) (string, error) { return fileToken(file) }
	}
	return "", nil
}

// gitHubToken asks GitHub's runner for a token (GitHub documentation, "OpenID Connect reference").
func gitHubToken(ctx context.Context, address, secret string) (string, error) {
	if err := secretSafe(address); err != nil {
		return "", err
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("signer: %w: %w", ErrServiceURL, err)
	}
	query := u.Query()
	query.Set("audience", Audience)
	u.RawQuery = query.Encode()
	reply, err := fetch(ctx, u.String(), http.Header{"Authorization": {"Bearer " + secret}})
	if err != nil {
		return "", fmt.Errorf("signer: %w: identity token of GitHub Actions: %w", ErrService, err)
	}
	var answer struct{ Value string }
	if err := json.Unmarshal(reply, &answer); err != nil || answer.Value == "" {
		return "", fmt.Errorf("signer: %w: identity token of GitHub Actions: the answer holds no token", ErrService)
	}
	return answer.Value, nil
}

func fileToken(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Size() > MaxTokenBytes {
		return "", fmt.Errorf("signer: %w: %s: %d bytes, at most %d", ErrToken, file, info.Size(), MaxTokenBytes)
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}
