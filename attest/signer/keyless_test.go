package signer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/sigstoretest"
	tiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
)

func configOf(t *testing.T, s *sigstoretest.Sigstore) *SigningConfig {
	t.Helper()
	c, err := ParseSigningConfig(s.SigningConfig())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// keyless signs as the user of s; ctx bounds the services.
func keyless(t *testing.T, ctx context.Context, s *sigstoretest.Sigstore) ([]byte, error) {
	t.Helper()
	tokens, err := GivenToken(s.Issuer.Token(sigstoretest.User), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := NewKeyless(configOf(t, s), tokens, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	witnesses, err := configOf(t, s).Witnesses(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := New(identity, witnesses)
	if err != nil {
		t.Fatal(err)
	}
	return signer.SignBundle(ctx, attest.PayloadType, []byte("{}"))
}

func TestKeylessBundle(t *testing.T) {
	for _, opts := range [][]sigstoretest.Option{nil, {sigstoretest.WithRekorV2()}} {
		s := sigstoretest.New(t, opts...)
		first, err := keyless(t, context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		second, err := keyless(t, context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		b, err := attest.Parse(first)
		if err != nil {
			t.Fatal(err)
		}
		other, err := attest.Parse(second)
		if err != nil {
			t.Fatal(err)
		}
		if b.Material.Leaf() == nil || len(b.Material.TlogEntries) != 1 || len(b.Material.Timestamps) != 1 || b.Material.PublicKey != nil {
			t.Errorf("material: %d entries, %d timestamps", len(b.Material.TlogEntries), len(b.Material.Timestamps))
		}
		if bytes.Equal(b.Material.Leaf(), other.Material.Leaf()) {
			t.Error("two signatures with one certificate")
		}
	}
}

// TestServicesThatFail: what a service says is told, the token and long answers are not, and nothing is waited for without end.
func TestServicesThatFail(t *testing.T) {
	for name, tc := range map[string]struct {
		fails func(*sigstoretest.Sigstore)
		says  string
	}{
		"fulcio refuses": {func(s *sigstoretest.Sigstore) { s.Fulcio.Fail(sigstoretest.Refuse) }, "it answered 400 Bad Request"},
		"fulcio garbage": {func(s *sigstoretest.Sigstore) { s.Fulcio.Fail(sigstoretest.Garbage) }, ""},
		"fulcio hangs":   {func(s *sigstoretest.Sigstore) { s.Fulcio.Fail(sigstoretest.Hang) }, "deadline"},
		"other key":      {func(s *sigstoretest.Sigstore) { s.Fulcio.Fail(sigstoretest.OtherKey) }, "for another key"},
		"tsa hangs":      {func(s *sigstoretest.Sigstore) { s.Timestamps.Fail(sigstoretest.Hang) }, "deadline"},
		"tsa garbage":    {func(s *sigstoretest.Sigstore) { s.Timestamps.Fail(sigstoretest.Garbage) }, ""},
		"log refuses":    {func(s *sigstoretest.Sigstore) { s.Rekor.Fail(sigstoretest.Refuse) }, "it answered 400 Bad Request"},
		"log hangs":      {func(s *sigstoretest.Sigstore) { s.Rekor.Fail(sigstoretest.Hang) }, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sigstoretest.New(t)
			tc.fails(s)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			data, err := keyless(t, ctx, s)
			if data != nil || !errors.Is(err, ErrService) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestBusyService: one that is overloaded is asked again.
func TestBusyService(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if asked++; asked == 1 {
			http.Error(w, "later", http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	client := http.Client{Transport: transport{ctx: context.Background()}}
	response, err := client.Post(server.URL, "text/plain", strings.NewReader("again"))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); string(body) != "again" || err != nil || asked != 2 {
		t.Errorf("asked %d times, got %q, %v", asked, body, err)
	}
}

// TestAnswersAreBounded: a service that talks without end is not listened to, and a long refusal is cut.
func TestAnswersAreBounded(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, strings.Repeat("x", maxReplyBytes+1))
	}))
	defer server.Close()
	if _, err := fetch(context.Background(), server.URL, nil); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long answer: %v", err)
	}
	if text := refusal("400 Bad Request", bytes.Repeat([]byte("é"), 1<<16), "").Error(); len(text) > 2*maxReasonText+100 {
		t.Errorf("a refusal of %d bytes", len(text))
	}
	if text := (serviceError{errors.New(strings.Repeat("x", 1<<20))}).Error(); len(text) > 2*maxReasonText {
		t.Errorf("an error of %d bytes", len(text))
	}
}

// TestRedirectsAreRefused: whom to trust with a token was configured.
func TestRedirectsAreRefused(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	if _, err := fetch(context.Background(), server.URL, http.Header{"Authorization": {"Bearer secret"}}); err == nil {
		t.Error("a redirect passes")
	}
}

// TestSecretsAreNotRepeated: a service may repeat what it was sent.
func TestSecretsAreNotRepeated(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "you sent "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	defer server.Close()
	_, err := fetch(context.Background(), server.URL, http.Header{"Authorization": {"Bearer gh-s3cret"}})
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "you sent Bearer ***") {
		t.Errorf("the error is %v", err)
	}
}

// TestLongRequestsAreNotCut: what is sent is sent whole or not at all.
func TestLongRequestsAreNotCut(t *testing.T) {
	got := 0
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = len(body)
	}))
	defer server.Close()
	for _, size := range []int{3 << 20, maxRequestBytes + 1} {
		got = 0
		_, err := post(context.Background(), server.URL, make([]byte, size))
		if whole := size <= maxRequestBytes; whole != (err == nil) || whole && got != size || !whole && got != 0 {
			t.Errorf("%d bytes: %d arrived, %v", size, got, err)
		}
	}
}

// TestRekorV2Client: it asks again, follows nowhere, and takes nothing but log entries.
func TestRekorV2Client(t *testing.T) {
	s := sigstoretest.New(t, sigstoretest.WithRekorV2())
	answers := []int{http.StatusServiceUnavailable, http.StatusTemporaryRedirect}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(answers) == 0 {
			t.Error("asked once more")
			return
		}
		w.Header().Set("Location", s.Rekor.URL+r.URL.Path)
		w.WriteHeader(answers[0])
		answers = answers[1:]
	}))
	defer proxy.Close()
	if _, err := rekorV2(proxy.URL).Add(context.Background(), &tiles.HashedRekordRequestV002{}); err == nil || !strings.Contains(err.Error(), "307") || len(answers) != 0 {
		t.Errorf("a redirect: %v, %d answers left", err, len(answers))
	}
	if _, err := rekorV2(s.Rekor.URL).Add(context.Background(), "a dsse entry"); err == nil {
		t.Error("it takes anything")
	}
}

func TestSigningConfigRefuses(t *testing.T) {
	sound := sigstoretest.New(t).SigningConfig()
	var object map[string]any
	if err := json.Unmarshal(sound, &object); err != nil {
		t.Fatal(err)
	}
	without := func(key string) []byte {
		copied := map[string]any{}
		for k, v := range object {
			if k != key {
				copied[k] = v
			}
		}
		text, err := json.Marshal(copied)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	wrapped, err := json.Marshal(map[string]any{"signingConfig": object})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSigningConfig(wrapped); err != nil {
		t.Errorf("a client trust configuration: %v", err)
	}
	for name, text := range map[string]string{"empty": "", "array": "[]", "other": `{"a":1}`, "twice": `{"mediaType":"a","mediaType":"b"}`, "no media type": string(without("mediaType"))} {
		if _, err := ParseSigningConfig([]byte(text)); !errors.Is(err, ErrSigningConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tokens := func(context.Context) (string, error) { return "", nil }
	for _, key := range []string{"caUrls", "rekorTlogUrls"} {
		c, err := ParseSigningConfig(without(key))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewKeyless(c, tokens, time.Now); !errors.Is(err, ErrSigningConfig) {
			t.Errorf("keyless without %s: %v", key, err)
		}
	}
	elsewhere, err := ParseSigningConfig(bytes.ReplaceAll(sound, []byte("http://127.0.0.1"), []byte("http://fulcio.example")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeyless(elsewhere, tokens, time.Now); !errors.Is(err, ErrServiceURL) {
		t.Errorf("a token would travel in the clear: %v", err)
	}
	later, err := ParseSigningConfig(sound)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := later.Witnesses(time.Unix(0, 0)); !errors.Is(err, ErrSigningConfig) {
		t.Errorf("witnesses before their time: %v", err)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	issuer := sigstoretest.NewIssuer(t)
	for name, token := range map[string]string{
		"empty": "", "word": "secret", "two parts": "secret.secret", "not base64": "a.!.c", "not JSON": "a.YQ.c", "array": "a.W10.c", "no claims": "a.e30.c",
		"expired": issuer.Token("a@example.test", sigstoretest.Expired()), "too long": issuer.Token(strings.Repeat("a", MaxTokenBytes)),
		"no subject": issuer.Token("a@example.test", sigstoretest.Claim("sub", "")), "other expiry": issuer.Token("a@example.test", sigstoretest.Claim("exp", "soon")),
	} {
		_, err := GivenToken(token, time.Now())
		if !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		} else if len(token) > 3 && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
	several := issuer.Token("a@example.test", sigstoretest.Claim("aud", []string{"sigstore", "b"}))
	if _, err := GivenToken(several+"\n", time.Now()); err != nil {
		t.Errorf("a token for two audiences: %v", err)
	}
}

// TestTokenThatExpiresMeanwhile: hashing may take longer than a token lives.
func TestTokenThatExpiresMeanwhile(t *testing.T) {
	s := sigstoretest.New(t)
	tokens, err := GivenToken(s.Issuer.Token(sigstoretest.User), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := NewKeyless(configOf(t, s), tokens, func() time.Time { return time.Now().Add(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	signer, err := New(identity, Witnesses{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signer.SignMessage(context.Background(), []byte("x")); !errors.Is(err, ErrToken) || s.Fulcio.Requests() != 0 {
		t.Errorf("%v, Fulcio was asked %d times", err, s.Fulcio.Requests())
	}
}

func TestAmbientToken(t *testing.T) {
	issuer := sigstoretest.NewIssuer(t)
	address, secret := issuer.Ambient()
	file := filepath.Join(t.TempDir(), "token")
	lookup := func(env map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	}
	if name, tokens := AmbientToken(lookup(map[string]string{"SIGSTORE_ID_TOKEN": "", "ACTIONS_ID_TOKEN_REQUEST_URL": address}), file); tokens != nil {
		t.Errorf("a token from nowhere: %s", name)
	}
	if err := os.WriteFile(file, []byte("from.a.file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	gitHub := map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": address, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": secret}
	for want, env := range map[string]map[string]string{"SIGSTORE_ID_TOKEN": {"SIGSTORE_ID_TOKEN": "from.the.environment"}, "GitHub Actions": gitHub, file: nil} {
		name, tokens := AmbientToken(lookup(env), file)
		if name != want || tokens == nil {
			t.Fatalf("found %q, want %q", name, want)
		}
		token, err := tokens(context.Background())
		if err != nil || strings.Count(token, ".") != 2 || strings.Contains(token, "\n") {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	for _, fault := range []sigstoretest.Fault{sigstoretest.Refuse, sigstoretest.Garbage} {
		issuer.Fail(fault)
		_, tokens := AmbientToken(lookup(gitHub), file)
		if _, err := tokens(context.Background()); !errors.Is(err, ErrService) || strings.Contains(err.Error(), secret) {
			t.Errorf("GitHub that misbehaves: %v", err)
		}
	}
	if err := os.WriteFile(file, make([]byte, MaxTokenBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, tokens := AmbientToken(lookup(nil), file)
	if _, err := tokens(context.Background()); !errors.Is(err, ErrToken) {
		t.Errorf("a large token file: %v", err)
	}
}

// TestBrowser logs in as a browser would: the page is fetched, and its redirect followed.
func TestBrowser(t *testing.T) {
	s := sigstoretest.New(t)
	var out bytes.Buffer
	browser := Browser{Issuer: s.Issuer.URL, Input: strings.NewReader(""), Output: &out, Open: func(address string) error {
		go func() {
			if response, err := http.Get(address); err == nil {
				page, _ := io.ReadAll(response.Body)
				if !strings.Contains(string(page), "You are logged in") {
					t.Errorf("the page says %q", page)
				}
			}
		}()
		return nil
	}}
	token, err := browser.Token(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := readToken(token, time.Now()); err != nil || c.Subject != sigstoretest.User || c.Issuer != s.Issuer.URL {
		t.Errorf("claims %+v, %v", c, err)
	}
	if !strings.Contains(out.String(), s.Issuer.URL) {
		t.Errorf("the person reads %q", out.String())
	}

	browser.Issuer = "http://login.example"
	if _, err := browser.Token(context.Background()); !errors.Is(err, ErrServiceURL) {
		t.Errorf("a login in the clear: %v", err)
	}
	browser.Issuer = s.Issuer.URL
	s.Issuer.Fail(sigstoretest.Refuse)
	if _, err := browser.Token(context.Background()); !errors.Is(err, ErrService) {
		t.Errorf("an issuer that refuses: %v", err)
	}
	s.Issuer.Fail(sigstoretest.Sound)
	browser.Open = func(string) error { return nil } // and nobody logs in
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := browser.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody logs in: %v", err)
	}
}

// TestWitnessesOfKeys: who cannot be entered in a log is told before anything is signed.
func TestWitnessesOfKeys(t *testing.T) {
	s := sigstoretest.New(t, sigstoretest.WithRekorV2())
	witnesses, err := configOf(t, s).Witnesses(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := Generate("ed25519", nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := LoadKey(private, func() ([]byte, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(key, witnesses); !errors.Is(err, ErrKey) {
		t.Errorf("Ed25519 in Rekor v2: %v", err)
	}
	if _, err := New(&Certified{key: key}, witnesses); !errors.Is(err, ErrCertificate) {
		t.Errorf("a private chain in Rekor: %v", err)
	}
	if _, err := (Witnesses{}).WithTimestamp("file:///etc/passwd"); !errors.Is(err, ErrServiceURL) {
		t.Errorf("a timestamp authority that is a file: %v", err)
	}
}
