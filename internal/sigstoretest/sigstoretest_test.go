package sigstoretest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/oauthflow"
	"github.com/sigstore/sigstore/pkg/signature"
)

var digest = sha256.Sum256([]byte("artifact"))

func statement() *sign.DSSEData {
	return &sign.DSSEData{PayloadType: "application/vnd.in-toto+json", Data: []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"` +
		hex.EncodeToString(digest[:]) + `"}}],"predicateType":"https://example.test/v1","predicate":{}}`)}
}

// signWith signs as sigstore-go does with this signing config, keyless when there is a token. The bundle is verified.
func signWith(t *testing.T, s *Sigstore, content sign.Content, key sign.Keypair, token string) (*protobundle.Bundle, error) {
	t.Helper()
	config, err := root.NewSigningConfigFromJSON(s.SigningConfig())
	if err != nil {
		t.Fatal(err)
	}
	opts := sign.BundleOptions{Context: context.Background(), TrustedRoot: trusted(t, s, key)}
	if token != "" {
		service, err := root.SelectService(config.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		opts.CertificateProvider = sign.NewFulcio(&sign.FulcioOptions{BaseURL: service.URL, Timeout: time.Second})
		opts.CertificateProviderOptions = &sign.CertificateProviderOptions{IDToken: token}
	}
	for _, service := range config.TimestampAuthorityURLs() {
		opts.TimestampAuthorities = append(opts.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: service.URL}))
	}
	for _, service := range config.RekorLogURLs() {
		opts.TransparencyLogs = append(opts.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{BaseURL: service.URL, Version: service.MajorAPIVersion}))
	}
	return sign.Bundle(content, key, opts)
}

// trusted is the instance's trusted root and the key.
func trusted(t *testing.T, s *Sigstore, key sign.Keypair) root.TrustedMaterial {
	t.Helper()
	instance, err := root.NewTrustedRootFromJSON(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signature.LoadDefaultVerifier(key.GetPublicKey())
	if err != nil {
		t.Fatal(err)
	}
	own := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(verifier, time.Time{}, time.Time{}), nil
	})
	return root.TrustedMaterialCollection{instance, own}
}

func keypair(t *testing.T) sign.Keypair {
	t.Helper()
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestKeyless signs with each set of services, and verifies all there is, the SCT and the identity too.
func TestKeyless(t *testing.T) {
	log := verify.WithTransparencyLog(1)
	for name, tc := range map[string]struct {
		options []Option
		checks  []verify.VerifierOption
	}{
		"timestamp":             {[]Option{WithoutRekor()}, []verify.VerifierOption{verify.WithSignedTimestamps(1)}},
		"log":                   {[]Option{WithoutTimestamps()}, []verify.VerifierOption{log, verify.WithIntegratedTimestamps(1)}},
		"timestamp and log":     {nil, []verify.VerifierOption{log, verify.WithObserverTimestamps(2)}},
		"timestamp and log, v2": {[]Option{WithRekorV2()}, []verify.VerifierOption{log, verify.WithSignedTimestamps(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(t, tc.options...)
			for _, who := range []struct{ token, subject string }{
				{s.Issuer.Token("a@example.test"), "a@example.test"},
				{s.Issuer.WorkflowToken(Workflow), WorkflowIdentity(Workflow)},
			} {
				key := keypair(t)
				signed, err := signWith(t, s, statement(), key, who.token)
				if err != nil {
					t.Fatal(err)
				}
				identity, err := verify.NewShortCertificateIdentity(s.Issuer.URL, "", who.subject, "")
				if err != nil {
					t.Fatal(err)
				}
				verifier, err := verify.NewVerifier(trusted(t, s, key), append(tc.checks, verify.WithSignedCertificateTimestamps(1))...)
				if err != nil {
					t.Fatal(err)
				}
				entity, err := bundle.NewBundle(signed)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := verifier.Verify(entity, verify.NewPolicy(verify.WithArtifactDigest("sha256", digest[:]), verify.WithCertificateIdentity(identity))); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestKeyAndMessage(t *testing.T) {
	for _, opts := range [][]Option{{WithoutRekor()}, nil, {WithRekorV2()}} {
		s := New(t, opts...)
		key := keypair(t)
		if _, err := signWith(t, s, statement(), key, ""); err != nil {
			t.Error(err)
		}
		if s.Fulcio.Requests() != 0 || s.Timestamps.Requests() != 1 {
			t.Errorf("%d certificates and %d timestamps were asked for", s.Fulcio.Requests(), s.Timestamps.Requests())
		}
		if _, err := signWith(t, s, &sign.PlainData{Data: []byte("message")}, key, s.Issuer.Token(User)); err != nil {
			t.Error(err)
		}
	}
}

// TestEqualEntries: the first version's log names the entry that is there already, the second refuses.
func TestEqualEntries(t *testing.T) {
	s := New(t)
	key := fixedSignature{keypair(t), map[string][]byte{}}
	for _, data := range []string{"a", "b", "c", "a", "b"} {
		if _, err := signWith(t, s, &sign.PlainData{Data: []byte(data)}, key, ""); err != nil {
			t.Error(err)
		}
	}
	if size := s.Rekor.tree.Size(); size != 3 {
		t.Errorf("the log has %d entries, want 3", size)
	}
	s = New(t, WithRekorV2())
	if _, err := signWith(t, s, statement(), key, ""); err != nil {
		t.Error(err)
	}
	if _, err := signWith(t, s, statement(), key, ""); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("an equal entry: %v", err)
	}
}

// fixedSignature signs equal data equally.
type fixedSignature struct {
	sign.Keypair
	made map[string][]byte
}

func (f fixedSignature) SignData(ctx context.Context, data []byte) ([]byte, []byte, error) {
	signature, digest, err := f.Keypair.SignData(ctx, data)
	if earlier, ok := f.made[string(data)]; ok {
		return earlier, digest, err
	}
	f.made[string(data)] = signature
	return signature, digest, err
}

func TestRefusals(t *testing.T) {
	s, other := New(t), New(t)
	for name, tc := range map[string]struct{ token, want string }{
		"a token of another issuer": {other.Issuer.Token(User), "token:"},
		"another audience":          {s.Issuer.Token(User, Audience("other")), "audience"},
		"expired":                   {s.Issuer.Token(User, Expired()), "expired"},
		"nobody":                    {s.Issuer.Token("", Claim("sub", "x")), "names nobody"},
		"a changed token":           {strings.Replace(s.Issuer.Token(User), ".", ".e30", 1), ""},
	} {
		if _, err := signWith(t, s, statement(), keypair(t), tc.token); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	impostor := wrongProof{keypair(t)}
	if _, err := signWith(t, s, statement(), impostor, s.Issuer.Token(User)); err == nil || !strings.Contains(err.Error(), "proof of possession") {
		t.Errorf("proof of possession: %v", err)
	}
	if s.Timestamps.Requests() != 0 || s.Rekor.Requests() != 0 {
		t.Error("a timestamp or an entry was asked for without a certificate")
	}
}

// wrongProof signs something else than it is given.
type wrongProof struct{ sign.Keypair }

func (w wrongProof) SignData(ctx context.Context, data []byte) ([]byte, []byte, error) {
	return w.Keypair.SignData(ctx, append(data, 'x'))
}

// TestFaults: each fault makes signing fail, or a signature that does not verify.
func TestFaults(t *testing.T) {
	for name, set := range map[string]func(s *Sigstore){
		"Fulcio refuses":        func(s *Sigstore) { s.Fulcio.Fail(Refuse) },
		"Fulcio breaks":         func(s *Sigstore) { s.Fulcio.Fail(Crash) },
		"Fulcio talks garbage":  func(s *Sigstore) { s.Fulcio.Fail(Garbage) },
		"Fulcio hangs":          func(s *Sigstore) { s.Fulcio.Fail(Hang) },
		"another key":           func(s *Sigstore) { s.Fulcio.Fail(OtherKey) },
		"no timestamp":          func(s *Sigstore) { s.Timestamps.Fail(Refuse) },
		"a garbage timestamp":   func(s *Sigstore) { s.Timestamps.Fail(Garbage) },
		"timestamp of another":  func(s *Sigstore) { s.Timestamps.Fail(OtherDigest) },
		"the log refuses":       func(s *Sigstore) { s.Rekor.Fail(Refuse) },
		"the log talks garbage": func(s *Sigstore) { s.Rekor.Fail(Garbage) },
		"no SCT":                func(s *Sigstore) { s.Fulcio.Fail(NoSCT) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(t)
			set(s)
			key := keypair(t)
			signed, err := signWith(t, s, statement(), key, s.Issuer.Token(User))
			if name == "no SCT" {
				// Signing does not look for the SCT.
				if err != nil {
					t.Fatal(err)
				}
				verifier, verr := verify.NewVerifier(trusted(t, s, key), verify.WithSignedCertificateTimestamps(1), verify.WithObserverTimestamps(1))
				if verr != nil {
					t.Fatal(verr)
				}
				entity, verr := bundle.NewBundle(signed)
				if verr != nil {
					t.Fatal(verr)
				}
				_, err = verifier.Verify(entity, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe()))
			}
			if err == nil {
				t.Fatal("no error")
			}
			s.Fulcio.Fail(Sound)
			s.Timestamps.Fail(Sound)
			s.Rekor.Fail(Sound)
			if _, err := signWith(t, s, statement(), key, s.Issuer.Token(User)); err != nil {
				t.Errorf("sound again: %v", err)
			}
		})
	}
}

// TestAuthorizationCode is the flow as a client goes through it, whose browser only follows the address.
func TestAuthorizationCode(t *testing.T) {
	i := NewIssuer(t)
	const verifier, back = "a-verifier-of-at-least-forty-three-characters", "http://127.0.0.1:1/callback"
	challenge := sha256.Sum256([]byte(verifier))
	ask := url.Values{"response_type": {"code"}, "client_id": {ClientID}, "redirect_uri": {back}, "state": {"s1"}, "nonce": {"n1"}, "scope": {"openid email"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}}
	exchange := func(code, verifier string) (string, int) {
		resp, err := http.PostForm(i.URL+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {back}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer struct {
			IDToken string `json:"id_token"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&answer)
		return answer.IDToken, resp.StatusCode
	}
	code := authorize(t, i, ask)
	token, status := exchange(code, verifier)
	if c, err := i.verify(token); status != http.StatusOK || err != nil || c.Email != User {
		t.Errorf("status %d, %v, %+v", status, err, c)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || !strings.Contains(string(payload), `"nonce":"n1"`) {
		t.Errorf("no nonce in %s: %v", payload, err)
	}
	if _, status := exchange(code, verifier); status != http.StatusBadRequest {
		t.Errorf("a code twice: status %d", status)
	}
	if _, status := exchange(authorize(t, i, ask), "another"); status != http.StatusBadRequest {
		t.Errorf("another verifier: status %d", status)
	}
}

// TestLogin is sigstore's own client, with a browser that follows the address, and with a person who copies the code.
func TestLogin(t *testing.T) {
	i := NewIssuer(t)
	for name, client := range map[string]func() *oauthflow.InteractiveIDTokenGetter{
		"browser": func() *oauthflow.InteractiveIDTokenGetter {
			return &oauthflow.InteractiveIDTokenGetter{Output: io.Discard, BrowserOpener: func(address string) error {
				go func() { _, _ = visit(address) }()
				return nil
			}}
		},
		"copied code": func() *oauthflow.InteractiveIDTokenGetter {
			shown, typed := io.Pipe()
			return &oauthflow.InteractiveIDTokenGetter{Input: shown, Output: &copier{to: typed}, BrowserOpener: func(string) error { return errors.New("no browser") }}
		},
	} {
		token, err := oauthflow.OIDConnect(i.URL, ClientID, "", "", client())
		if err != nil || token.Subject != User {
			t.Errorf("%s: %v %+v", name, err, token)
			continue
		}
		if _, err := i.verify(token.RawString); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func visit(address string) (string, error) {
	resp, err := http.Get(address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// copier visits the address that it is shown and types what it reads there.
type copier struct{ to io.Writer }

func (c *copier) Write(shown []byte) (int, error) {
	_, address, found := strings.Cut(string(shown), "\t ")
	if found {
		go func() {
			code, _ := visit(strings.TrimSpace(address))
			_, _ = io.WriteString(c.to, code+"\n")
		}()
	}
	return len(shown), nil
}

// authorize is the code of an authorization request.
func authorize(t *testing.T, i *Issuer, ask url.Values) string {
	t.Helper()
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := stay.Get(i.URL + "/auth?" + ask.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil || to.Query().Get("state") != ask.Get("state") || to.Port() != "1" {
		t.Fatalf("sent to %v: %v", to, err)
	}
	return to.Query().Get("code")
}

func TestAmbient(t *testing.T) {
	i := NewIssuer(t)
	address, bearer := i.Ambient()
	for header, want := range map[string]int{"Bearer " + bearer: http.StatusOK, "Bearer other": http.StatusUnauthorized} {
		request, err := http.NewRequest(http.MethodGet, address+"&audience="+ClientID, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", header)
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", header, resp.StatusCode, want)
		}
		var answer struct{ Value string }
		if want == http.StatusOK {
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			if c, err := i.verify(answer.Value); err != nil || c.Workflow != Workflow {
				t.Errorf("%v %+v", err, c)
			}
		}
	}
}

func TestPublicKeyPEM(t *testing.T) {
	log := NewCTLog(t)
	key, err := cryptoutils.UnmarshalPEMToPublicKey(log.PublicKeyPEM())
	if err != nil || !log.key.PublicKey.Equal(key) {
		t.Errorf("%v %v", key, err)
	}
}
