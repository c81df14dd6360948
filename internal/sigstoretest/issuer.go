package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	// ClientID is the client whom the issuer knows, and the audience of its tokens.
	ClientID = "sigstore"
	// User is who signs in at the issuer.
	User = "dev@example.test"
	// Workflow is what the issuer's ambient tokens are for.
	Workflow = "acme/llm/.github/workflows/train.yml@refs/heads/main"

	keyName   = "k1"
	outOfBand = "urn:ietf:wg:oauth:2.0:oob"
)

// WorkflowIdentity is the identity in the certificates of a workflow.
func WorkflowIdentity(workflow string) string { return "https://github.com/" + workflow }

// Issuer is an OpenID Connect provider: discovery, keys, and the authorization code flow with PKCE (RFC 7636), in which
// User approves everything at once, so that getting the address is all there is to do; and the token endpoint of GitHub
// Actions.
type Issuer struct {
	Server
	key    *ecdsa.PrivateKey
	bearer string // what the GitHub endpoint demands

	mu     sync.Mutex
	grants map[string]url.Values // the authorization requests, by code
}

// NewIssuer starts an issuer.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{key: newKey(t), bearer: rand.Text(), grants: map[string]url.Values{}}
	i.start(t, http.StatusOK, map[string]http.HandlerFunc{
		"GET /.well-known/openid-configuration": i.discover,
		"GET /keys":                             i.keys,
		"GET /auth":                             i.authorize,
		"POST /token":                           i.exchange,
		"GET /github":                           i.github,
	})
	return i
}

// claims are the token's claims that Fulcio looks at.
type claims struct {
	jwt.Claims
	Email    string `json:"email"`
	Verified bool   `json:"email_verified"`
	Workflow string `json:"job_workflow_ref"`
}

// challenge is what the client signs to prove that it has the key.
func (c claims) challenge() string {
	if c.Email != "" {
		return c.Email
	}
	return c.Subject
}

// TokenOption changes a token's claims.
type TokenOption func(claims map[string]any)

// Expired makes a token that has expired.
func Expired() TokenOption { return Claim("exp", time.Now().Add(-time.Minute).Unix()) }

// Audience makes a token for another audience.
func Audience(audience string) TokenOption { return Claim("aud", audience) }

// Claim sets any claim.
func Claim(name string, value any) TokenOption {
	return func(claims map[string]any) { claims[name] = value }
}

// Token is an ID token of a person, valid for ten minutes without options that say otherwise.
func (i *Issuer) Token(email string, opts ...TokenOption) string {
	i.t.Helper()
	return i.mint(map[string]any{"sub": email, "email": email, "email_verified": true}, opts)
}

// WorkflowToken is an ID token like those of GitHub Actions, for a workflow such as Workflow.
func (i *Issuer) WorkflowToken(workflow string, opts ...TokenOption) string {
	i.t.Helper()
	return i.mint(map[string]any{"sub": "workflow:" + workflow, "job_workflow_ref": workflow}, opts)
}

// Ambient is what GitHub Actions tells a workflow in ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN:
// where to get a token for Workflow, and the bearer token for that. The URL has a query, to which the audience is added.
func (i *Issuer) Ambient() (requestURL, requestToken string) {
	return i.URL + "/github?api-version=2.0", i.bearer
}

func (i *Issuer) mint(who map[string]any, opts []TokenOption) string {
	i.t.Helper()
	now := time.Now()
	all := map[string]any{"iss": i.URL, "aud": ClientID, "iat": now.Unix(), "nbf": now.Add(-5 * time.Second).Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	maps.Copy(all, who)
	for _, option := range opts {
		option(all)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", keyName).WithType("JWT"))
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return token
}

// verify checks a token's signature, issuer, audience and time, and that it names somebody.
func (i *Issuer) verify(token string) (claims, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return claims{}, err
	}
	var c claims
	if err := parsed.Claims(i.key.Public(), &c); err != nil {
		return claims{}, err
	}
	if err := c.ValidateWithLeeway(jwt.Expected{Issuer: i.URL, AnyAudience: jwt.Audience{ClientID}, Time: time.Now()}, 0); err != nil {
		return claims{}, err
	}
	if c.Workflow == "" && (c.Email == "" || !c.Verified) {
		return claims{}, errors.New("it names nobody")
	}
	return c, nil
}

func (i *Issuer) discover(w http.ResponseWriter, _ *http.Request) {
	i.answer(w, map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "scopes_supported": []string{"openid", "email"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"},
	}, nil)
}

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	i.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: keyName, Algorithm: string(jose.ES256), Use: "sig"}}}, nil)
}

// authorize sends the browser back to the client, with a code (RFC 6749 section 4.1), or shows the code when the client
// wants it copied.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	for name, want := range map[string]string{"response_type": "code", "client_id": ClientID, "code_challenge_method": "S256"} {
		if got := asked.Get(name); got != want {
			i.answer(w, nil, fmt.Errorf("%s is %q, want %q", name, got, want))
			return
		}
	}
	back, err := url.Parse(asked.Get("redirect_uri"))
	onLoopback := err == nil && back.Scheme == "http" && (back.Hostname() == "localhost" || back.Hostname() == "127.0.0.1")
	if !onLoopback && asked.Get("redirect_uri") != outOfBand {
		i.answer(w, nil, fmt.Errorf("redirect_uri %q is not on this machine", asked.Get("redirect_uri")))
		return
	}
	code := rand.Text()
	i.mu.Lock()
	i.grants[code] = asked
	i.mu.Unlock()
	if !onLoopback {
		_, _ = w.Write([]byte(code))
		return
	}
	query := back.Query()
	query.Set("code", code)
	query.Set("state", asked.Get("state"))
	back.RawQuery = query.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// exchange gives the ID token for a code, once, to who can show the verifier of its challenge (RFC 7636 section 4.6).
func (i *Issuer) exchange(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	i.mu.Lock()
	asked, ok := i.grants[code]
	delete(i.grants, code)
	i.mu.Unlock()
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case !ok || r.PostFormValue("grant_type") != "authorization_code":
		i.answer(w, nil, errors.New("no such grant"))
	case base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge"):
		i.answer(w, nil, errors.New("the verifier is not that of the challenge"))
	case r.PostFormValue("redirect_uri") != asked.Get("redirect_uri"):
		i.answer(w, nil, errors.New("redirect_uri is not that of the authorization request"))
	default:
		var opts []TokenOption
		if nonce := asked.Get("nonce"); nonce != "" {
			opts = append(opts, Claim("nonce", nonce))
		}
		i.answer(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 600, "id_token": i.Token(User, opts...)}, nil)
	}
}

// github is the token endpoint of GitHub Actions ("Security hardening with OpenID Connect").
func (i *Issuer) github(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+i.bearer {
		http.Error(w, "no bearer token", http.StatusUnauthorized)
		return
	}
	i.answer(w, map[string]string{"value": i.WorkflowToken(Workflow, Audience(r.URL.Query().Get("audience")))}, nil)
}
