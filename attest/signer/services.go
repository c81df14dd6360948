package signer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/digitorus/timestamp"
	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/internal/tufclient"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	tiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekor "github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// MaxConfigBytes bounds the text of a signing config.
const MaxConfigBytes = 1 << 20

// Errors about the services that take part in signing.
var (
	// ErrSigningConfig says that a text is not a signing config that can be used.
	ErrSigningConfig = errors.New("not a usable Sigstore signing config")
	// ErrNoSigningConfig says that no signing config could be got.
	ErrNoSigningConfig = errors.New("no Sigstore signing config")
	// ErrServiceURL says that a service's address cannot be used.
	ErrServiceURL = errors.New("not a usable service address")
	// ErrService says that a service that takes part in signing did not do its part.
	ErrService = errors.New("a signing service did not do its part")
)

// SigningConfig names the services of a Sigstore instance: the certificate authority, the OpenID Connect
// issuer, the logs and the timestamp authorities.
type SigningConfig struct {
	config *root.SigningConfig
}

// ParseSigningConfig reads a signing config (protobuf-specs sigstore_trustroot.proto, SigningConfig v0.2 as JSON), or the
// one inside a client trust configuration (ClientTrustConfig). The error wraps ErrSigningConfig.
func ParseSigningConfig(data []byte) (*SigningConfig, error) {
	var outer map[string]any
	if err := strictjson.Unmarshal(data, &outer, strictjson.Limits{MaxBytes: MaxConfigBytes}); err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrSigningConfig, err)
	}
	if inner, ok := outer["signingConfig"]; ok {
		var err error
		if data, err = json.Marshal(inner); err != nil {
			return nil, fmt.Errorf("signer: %w: %w", ErrSigningConfig, err)
		}
	}
	config, err := root.NewSigningConfigFromJSON(bytes.TrimSpace(data))
	if err != nil {
		return nil, fmt.Errorf("signer: %w: %w", ErrSigningConfig, err)
	}
	return &SigningConfig{config}, nil
}

// FetchSigningConfig gets the signing config of Sigstore's public-good instance, or of its staging instance, with
// TUF. The error wraps ErrNoSigningConfig.
func FetchSigningConfig(ctx context.Context, staging bool) (*SigningConfig, error) {
	text, err := tufclient.Fetch(ctx, staging, "signing_config.v0.2.json")
	if err != nil {
		return nil, fmt.Errorf("signer: %w: TUF: %w", ErrNoSigningConfig, err)
	}
	return ParseSigningConfig(text)
}

// Issuer is the OpenID Connect issuer to log in at. The error wraps ErrSigningConfig.
func (c *SigningConfig) Issuer(now time.Time) (string, error) {
	service, err := root.SelectService(c.config.OIDCProviderURLs(), []uint32{1}, now)
	if err != nil {
		return "", fmt.Errorf("signer: %w: OpenID Connect issuer: %w", ErrSigningConfig, err)
	}
	return service.URL, nil
}

func (c *SigningConfig) certificateAuthority(now time.Time) (string, error) {
	service, err := root.SelectService(c.config.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
	if err != nil {
		return "", fmt.Errorf("signer: %w: certificate authority: %w", ErrSigningConfig, err)
	}
	return service.URL, secretSafe(service.URL)
}

// Witnesses are whoever countersigns a signature: transparency logs, and RFC 3161 timestamp authorities. The zero
// value has none.
type Witnesses struct {
	logs       []root.Service
	timestamps []string
}

// Witnesses are the logs and timestamp authorities that the config wants at this time. The error wraps ErrSigningConfig.
func (c *SigningConfig) Witnesses(now time.Time) (Witnesses, error) {
	var w Witnesses
	var err error
	if services := c.config.RekorLogURLs(); len(services) > 0 {
		if w.logs, err = root.SelectServices(services, c.config.RekorLogURLsConfig(), sign.RekorAPIVersions, now); err != nil {
			return w, fmt.Errorf("signer: %w: transparency log: %w", ErrSigningConfig, err)
		}
	}
	services := c.config.TimestampAuthorityURLs()
	if len(services) == 0 {
		return w, nil
	}
	selected, err := root.SelectServices(services, c.config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
	if err != nil {
		return w, fmt.Errorf("signer: %w: timestamp authority: %w", ErrSigningConfig, err)
	}
	for _, s := range selected {
		if w, err = w.WithTimestamp(s.URL); err != nil {
			return w, err
		}
	}
	return w, nil
}

// WithTimestamp adds the RFC 3161 timestamp authority at address, which may be plain http: its answers are signed.
// The error wraps ErrServiceURL.
func (w Witnesses) WithTimestamp(address string) (Witnesses, error) {
	if _, err := serviceURL(address); err != nil {
		return w, err
	}
	w.timestamps = append(w.timestamps[:len(w.timestamps):len(w.timestamps)], address)
	return w, nil
}

// None reports whether nobody countersigns.
func (w Witnesses) None() bool { return len(w.logs) == 0 && len(w.timestamps) == 0 }

// Logs lists the addresses of the transparency logs, in which what is entered stays for everyone to read.
func (w Witnesses) Logs() []string {
	var all []string
	for _, s := range w.logs {
		all = append(all, s.URL)
	}
	return all
}

// check refuses what the witnesses could not do for an identity.
func (w Witnesses) check(identity Identity) error {
	if len(w.logs) == 0 {
		return nil
	}
	key := identity.publicKey()
	switch identity.(type) {
	case *Certified:
		// Rekor v2 clients enter a certificate only from a bundle with a lone one, which private chains are not.
		return fmt.Errorf("signer: %w: certificates of one's own authority are not entered in a transparency log; use timestamps alone", ErrCertificate)
	case *Key:
		if _, pure := key.(ed25519.PublicKey); pure && w.logs[0].MajorAPIVersion >= 2 {
			return fmt.Errorf("signer: %w: a Rekor v2 log takes no pure Ed25519 signatures; use an ECDSA key", ErrKey)
		}
	}
	return nil
}

// options shows the witnesses to sigstore-go.
func (w Witnesses) options(ctx context.Context) sign.BundleOptions {
	opts := sign.BundleOptions{Context: ctx}
	for _, address := range w.timestamps {
		opts.TimestampAuthorities = append(opts.TimestampAuthorities, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: address, Transport: transport{ctx: ctx}}))
	}
	for _, log := range w.logs {
		opts.TransparencyLogs = append(opts.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{BaseURL: log.URL, Version: log.MajorAPIVersion,
			Client: rekorV1(ctx, log.URL), ClientV2: rekorV2(log.URL)}))
	}
	return opts
}

// rekorV1 is a client of the first version of Rekor's API. An entry that is there already is an answer too.
func rekorV1(ctx context.Context, address string) sign.RekorClient {
	u, err := url.Parse(address)
	if err != nil {
		return nil // sigstore-go makes its own and says what is wrong
	}
	to := httptransport.NewWithClient(u.Host, path.Join("/", u.Path), []string{u.Scheme}, &http.Client{Transport: transport{ctx, http.StatusConflict}})
	return rekor.New(to, strfmt.Default).Entries
}

// rekorV2 is a client of the second version of Rekor's API (rekor-tiles, rekor_service.proto).
type rekorV2 string

// Add implements sign.RekorV2Client.
func (address rekorV2) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	record, ok := entry.(*tiles.HashedRekordRequestV002)
	if !ok {
		return nil, fmt.Errorf("a Rekor v2 log takes no %T", entry)
	}
	body, err := protojson.Marshal(&tiles.CreateEntryRequest{Spec: &tiles.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: record}})
	if err != nil {
		return nil, err
	}
	reply, err := post(ctx, strings.TrimRight(string(address), "/")+"/api/v2/log/entries", body)
	if err != nil {
		return nil, err
	}
	var logged protorekor.TransparencyLogEntry
	if err := protojson.Unmarshal(reply, &logged); err != nil {
		return nil, fmt.Errorf("%s: the answer is no log entry: %w", address, err)
	}
	return &logged, nil
}

// serviceURL reads the address of a service.
func serviceURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("signer: %w: it cannot be read as a URL", ErrServiceURL) // which may hold a password
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("signer: %w: %q is no http or https URL", ErrServiceURL, u.Redacted())
	}
	return u, nil
}

// secretSafe refuses an address that an identity token would travel to in the clear.
func secretSafe(address string) error {
	u, err := serviceURL(address)
	if err != nil {
		return err
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("signer: %w: %q: an identity token goes only to https, or to this machine", ErrServiceURL, u.Redacted())
}

// checkTimestamps refuses timestamps of something else than the bundle's signature (RFC 3161 section 2.4.2, messageImprint). Who
// made them is for a trusted root to say.
func checkTimestamps(b *protobundle.Bundle) error {
	sig := b.GetMessageSignature().GetSignature()
	if envelope := b.GetDsseEnvelope(); envelope != nil {
		sig = envelope.GetSignatures()[0].GetSig()
	}
	for _, t := range b.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		stamp, err := timestamp.ParseResponse(t.GetSignedTimestamp())
		if err != nil {
			return err
		}
		if !stamp.HashAlgorithm.Available() {
			return fmt.Errorf("the timestamp is of a %s", stamp.HashAlgorithm)
		}
		h := stamp.HashAlgorithm.New()
		h.Write(sig)
		if !bytes.Equal(h.Sum(nil), stamp.HashedMessage) {
			return errors.New("the timestamp authority answered for another signature")
		}
	}
	return nil
}
