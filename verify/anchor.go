package verify

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mlseal/mlseal/attest"
)

// Errors of a Trust and of an Anchor that callers branch on. Those of a failed check stand in Result.Err, with others that
// say why a check failed.
var (
	// ErrKey says that a text is not a public key that is understood.
	ErrKey = errors.New("not a usable public key")
	// ErrAuthority says that a text does not hold the certificates of an authority.
	ErrAuthority = errors.New("not a usable certificate authority")
	// ErrRoot says that a text is not a Sigstore trusted root.
	ErrRoot = errors.New("not a usable Sigstore trusted root")
	// ErrNoRoot says that no trusted root is at hand.
	ErrNoRoot = errors.New("no Sigstore trusted root")
	// ErrNoIdentity says that an issuer or a subject is missing.
	ErrNoIdentity = errors.New("an identity needs an issuer and a subject")

	// ErrBundle says that the bundle's parts do not fit together.
	ErrBundle = errors.New("the bundle is not usable")
	// ErrHint says that the bundle names another key than the one given.
	ErrHint = errors.New("the bundle was signed with another key")
	// ErrMaterial says that the bundle is meant to be verified with something else than a key.
	ErrMaterial = errors.New("the bundle is signed with a certificate, not with a key")
	// ErrNoCertificate says that the bundle is meant to be verified with a key.
	ErrNoCertificate = errors.New("the bundle is signed with a key, not with a certificate")
)

// Names of the checks, in the order in which a Result lists them.
const (
	CheckSignature   = "signature"
	CheckCertificate = "certificate chain"
	CheckSCT         = "SCT"
	CheckLog         = "transparency log"
	CheckTimestamp   = "timestamp"
	CheckIdentity    = "identity"
)

// Sources of Result.Time.
const (
	FromLog                = "Rekor"
	FromTimestampAuthority = "timestamp authority"
)

// Status is how a check ended. The zero value is NotDone.
type Status int

// The ways in which a check ends.
const (
	NotDone Status = iota
	Passed
	Failed
)

// String is "not done", "passed" or "failed".
func (s Status) String() string {
	switch s {
	case Passed:
		return "passed"
	case Failed:
		return "failed"
	}
	return "not done"
}

// MarshalText gives the status its name in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Check is one thing that was looked at, or was not and why.
type Check struct {
	Name   string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
}

// Anchor is what a bundle is verified with. Those of verify/trust are public keys, certificate authorities of one's own,
// and identities under a Sigstore trusted root.
type Anchor interface {
	// Check verifies who signed the bundle. It says nothing about what the bundle's statement means.
	Check(b *attest.Bundle, opts Options) *Result
}

// KeyAnchor is the Anchor of one public key.
type KeyAnchor interface {
	Anchor
	// Hinted reports whether the bundle names this key.
	Hinted(b *attest.Bundle) bool
}

// Identifier finds out whose certificate signed a bundle. It is no Anchor: whoever has an account with one of the issuers
// passes, and the caller compares.
type Identifier interface {
	Witness
	// Identify verifies all of a bundle but that its identity is a trusted one. The result's Issuer and Signer are set only
	// when all checks passed.
	Identify(b *attest.Bundle, opts Options) *Result
}

// Witness says who vouches for a signature beside the signer.
type Witness interface {
	// Witness verifies the log entries and timestamps of a bundle that the anchor has verified. What does not verify is not counted.
	Witness(b *attest.Bundle, signer Anchor) Witnessed
}

// Witnessed is who vouches for a signature: the zero value is nobody.
type Witnessed struct {
	Logs       int // different transparency logs of which an entry was verified
	Timestamps int // different authorities of a verified time: timestamp authorities, and logs that sign the time of an entry
	Time       time.Time
	TimeSource string
}

// Trust makes of a policy's texts what its signers are verified with. trust.New returns one.
type Trust interface {
	// Key reads the text of a public key. The error wraps ErrKey.
	Key(text []byte) (KeyAnchor, error)
	// Root reads the text of a policy's own Sigstore trusted root, which nothing else stands in for: the error wraps
	// ErrRoot. With nil it gives the one for policies that name none; when there is none either, the error wraps ErrNoRoot.
	Root(text []byte) (Identifier, error)
	// Authority reads the PEM certificates of an authority of one's own: the Anchor passes whoever has a certificate of it, the
	// result's Names say who, and the caller compares. The timestamp authorities of the trusted root vouch for when a bundle was
	// signed: root is the text of the policy's own, and with nil the one for policies that name none serves, if there is one.
	// The error wraps ErrAuthority, or ErrRoot.
	Authority(text, root []byte) (Anchor, error)
}

// Options of a check. With the zero value no certificate is valid without a verified time.
type Options struct {
	// Now is the current time, for the certificates of one's own authority that nothing else gives a time to.
	Now time.Time
	// Artifact is what was signed: a bundle with a message signature cannot be verified without it, and
	// with it a statement must have it for a subject.
	Artifact *Artifact
	// RequireHint demands that a bundle signed with a key names that key, as OMS v1.0 section 4.1 does.
	RequireHint bool
	// Legacy holds the signature to the encoding of model-signing 0.2 (see attest.LegacyPAE). Keyless signers and logged
	// keys never signed so.
	Legacy bool
}

// Artifact is the bytes that were signed, or a digest of them.
type Artifact struct {
	Content   io.ReadSeeker // nil when only the digest is known
	Algorithm string        // of Digest: "sha256"
	Digest    []byte
}

// Result of an Anchor's checks: every check in the order of the names above, and who signed.
type Result struct {
	Checks []Check
	// Signer is set only when all checks passed: the key's fingerprint, the certificate's subject, or the
	// identity's subject. Issuer is the issuer of a certificate's subject or identity.
	Signer, Issuer string
	// Names are those of the certificate, set only when all checks passed with an authority of one's own.
	Names CertificateNames
	// Key is the lower-case hexadecimal SHA-256 of the SubjectPublicKeyInfo that verified the signature, and AllNames are all
	// subject alternative names of a certificate that are a URI, an email address or a DNS name, and a keyless identity's; set only when all checks passed.
	Key      string
	AllNames []string
	// Time is the earliest verified time of signing and TimeSource says who vouches for it: FromLog or
	// FromTimestampAuthority; both are empty when nobody does, or when a check failed.
	Time       time.Time
	TimeSource string
	// Logs and Timestamps are those of Witnessed, as far as the Anchor looked at them.
	Logs, Timestamps int

	failures map[string]error // by the check's name
}

// CertificateNames are what a certificate calls its owner. Both are whole, and made to be compared.
type CertificateNames struct {
	// Subject is the distinguished name with all of its parts in their order (RFC 4514); empty when the certificate has none.
	Subject string
	// SAN is the subject alternative name (RFC 5280 section 4.2.1.6) when there is exactly one that is a URI, an email address or
	// a DNS name; else it is empty.
	SAN string
}

// Err is nil when the bundle was verified, else the failure that is listed first: it wraps the error that the Anchor
// gave for it.
func (r *Result) Err() error {
	switch name := r.Failed(); {
	case name != "":
		return fmt.Errorf("trust: %w", r.failures[name])
	case r.Signer == "":
		return fmt.Errorf("trust: %w: nothing was verified", ErrBundle) // the zero Result
	}
	return nil
}

// Status is how the named check ended: NotDone when the result does not list it.
func (r *Result) Status(name string) Status {
	for _, c := range r.Checks {
		if c.Name == name {
			return c.Status
		}
	}
	return NotDone
}

// Failed is the name of the first check that failed; empty when none did.
func (r *Result) Failed() string {
	for _, c := range r.Checks {
		if c.Status == Failed {
			return c.Name
		}
	}
	return ""
}

// Pass notes a check that passed.
func (r *Result) Pass(name, detail string) {
	r.Checks = append(r.Checks, Check{name, Passed, detail})
}

// Skip notes checks that were not made.
func (r *Result) Skip(detail string, names ...string) {
	for _, name := range names {
		r.Checks = append(r.Checks, Check{name, NotDone, detail})
	}
}

// Fail notes a failed check. Nothing is known about the signer any more.
func (r *Result) Fail(name string, err error) *Result {
	r.Checks = append(r.Checks, Check{name, Failed, err.Error()})
	if r.failures == nil {
		r.failures = map[string]error{}
	}
	r.failures[name] = err
	r.Signer, r.Issuer, r.Names, r.Time, r.TimeSource = "", "", CertificateNames{}, time.Time{}, ""
	r.Key, r.AllNames, r.Logs, r.Timestamps = "", nil, 0, 0
	return r
}
