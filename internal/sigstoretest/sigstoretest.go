// Package sigstoretest is a whole Sigstore for tests, on 127.0.0.1 and in the test's own process: an OIDC issuer, a
// certificate authority (Fulcio), a certificate transparency log, a timestamp authority and a transparency log (Rekor).
// Its certificates, timestamps and proofs are true ones: sigstore-go verifies them with its trusted root. Each
// service can be told to misbehave. Only tests import it.
package sigstoretest

import "testing"

// Sigstore is a running instance.
type Sigstore struct {
	Issuer     *Issuer
	CTLog      *CTLog
	Fulcio     *Fulcio
	Timestamps *TimestampAuthority // nil without one
	Rekor      *Rekor              // nil without one

	t testing.TB
}

// Option changes what New starts.
type Option func(*options)

type options struct {
	noTimestamps, noRekor bool
	rekorVersion          uint32
}

// WithoutTimestamps leaves out the timestamp authority.
func WithoutTimestamps() Option { return func(o *options) { o.noTimestamps = true } }

// WithoutRekor leaves out the transparency log.
func WithoutRekor() Option { return func(o *options) { o.noRekor = true } }

// WithRekorV2 has a log with the second version of Rekor's API, which gives no times. It needs the timestamp authority.
func WithRekorV2() Option { return func(o *options) { o.rekorVersion = 2 } }

// New starts an instance, and stops it when the test ends. It has all services, and Rekor's first version, without
// options that say otherwise.
func New(t testing.TB, opts ...Option) *Sigstore {
	t.Helper()
	o := options{rekorVersion: 1}
	for _, option := range opts {
		option(&o)
	}
	s := &Sigstore{t: t, Issuer: NewIssuer(t), CTLog: NewCTLog(t)}
	s.Fulcio = newFulcio(t, s.Issuer, s.CTLog)
	if !o.noTimestamps {
		s.Timestamps = newTimestampAuthority(t)
	}
	if !o.noRekor {
		s.Rekor = NewRekor(t, o.rekorVersion)
	}
	return s
}

// Instance is what the users of this Sigstore know of it.
func (s *Sigstore) Instance() Instance {
	i := Instance{Issuer: s.Issuer.URL, Fulcio: Authority{s.Fulcio.URL, s.Fulcio.chain}, CTLog: s.CTLog.Description()}
	if s.Timestamps != nil {
		i.Timestamps = Authority{s.Timestamps.URL, s.Timestamps.chain}
	}
	if s.Rekor != nil {
		i.Rekor = s.Rekor.Description()
	}
	return i
}

// TrustedRoot is what `--trusted-root` takes for this Sigstore.
func (s *Sigstore) TrustedRoot() []byte { return s.Instance().TrustedRoot(s.t) }

// SigningConfig is what `--signing-config` takes for this Sigstore.
func (s *Sigstore) SigningConfig() []byte { return s.Instance().SigningConfig(s.t) }
