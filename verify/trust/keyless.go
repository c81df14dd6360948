package trust

import (
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// Identity is who a Fulcio certificate was issued to: the OIDC issuer that said so (Fulcio OIDs
// 1.3.6.1.4.1.57264.1.1 and 1.8), and the subject alternative name.
type Identity struct {
	Issuer, Subject string
}

// Keyless trusts one identity under a trusted root. Make it with NewKeyless.
type Keyless struct {
	root *Root
	want Identity
}

// NewKeyless trusts exactly this identity: both strings are compared whole. The error wraps verify.ErrNoIdentity
// when one of them is empty, and verify.ErrNoRoot when there is no root.
func NewKeyless(root *Root, want Identity) (*Keyless, error) {
	if want.Issuer == "" || want.Subject == "" {
		return nil, fmt.Errorf("trust: %w", verify.ErrNoIdentity)
	}
	if root == nil {
		return nil, fmt.Errorf("trust: %w", verify.ErrNoRoot)
	}
	return &Keyless{root: root, want: want}, nil
}

// Check implements verify.Anchor.
func (k *Keyless) Check(b *attest.Bundle, opts verify.Options) *verify.Result {
	r := k.root.Identify(b, opts)
	if r.Err() != nil {
		r.Skip("it is not known who signed", verify.CheckIdentity)
		return r
	}
	if got := (Identity{r.Issuer, r.Signer}); got != k.want {
		return r.Fail(verify.CheckIdentity, fmt.Errorf("%w: %q of %s, want %q of %s", ErrIdentity, got.Subject, got.Issuer, k.want.Subject, k.want.Issuer))
	}
	r.Pass(verify.CheckIdentity, fmt.Sprintf("%q of %s", r.Signer, r.Issuer))
	return r
}

// Identify verifies all of a keyless bundle but that its identity is a trusted one: whoever has an account with
// one of the issuers passes. Compare the result's Issuer and Signer, which are set only when all checks
// passed. It follows the Sigstore client specification, "Verification".
func (t *Root) Identify(b *attest.Bundle, opts verify.Options) *verify.Result {
	r := &verify.Result{}
	if b.Material.Leaf() == nil {
		r.Fail(verify.CheckSignature, verify.ErrNoCertificate)
		r.Skip("the bundle is signed with a key", verify.CheckCertificate, verify.CheckSCT, verify.CheckLog, verify.CheckTimestamp)
		return r
	}
	if err := noRootInChain(b); err != nil {
		r.Skip("the certificate is not usable", verify.CheckSignature)
		r.Fail(verify.CheckCertificate, err)
		r.Skip("the certificate is not usable", verify.CheckSCT, verify.CheckLog, verify.CheckTimestamp)
		return r
	}
	entity, err := newEntity(b, withTimestamps|withLog|withChain)
	if err != nil {
		return unusable(r, b, err)
	}
	x := &examination{entity: entity, material: t.material, artifact: opts.Artifact}
	summary, verdict := x.keylessVerdict()
	x.log(r)
	x.timestamps(r)
	x.certificate(r, x.times)
	x.sct(r)
	x.signature(r, verdict == nil, "the certificate's key")
	x.conclude(r, verdict)
	if verdict == nil && r.Failed() == "" {
		r.Signer, r.Issuer = summary.Subject, summary.Issuer
		nameOwner(r, x.chains[0][0], summary.Subject) // which may be of a kind that no other signer is known by
	}
	return r
}

// unusable blames the log entries when the bundle is usable without them, the chain when it is usable with its first certificate
// alone, and the timestamps when these are what is at fault.
func unusable(r *verify.Result, b *attest.Bundle, err error) *verify.Result {
	blamed, as := verify.CheckSignature, verify.ErrBundle
	if errors.Is(err, ErrTimestamp) {
		blamed, as = verify.CheckTimestamp, ErrTimestamp
	} else if _, other := newEntity(b, withTimestamps|withChain); other == nil {
		blamed, as = verify.CheckLog, ErrLog
	} else if _, other := newEntity(b, withTimestamps|withLog); other == nil {
		blamed, as = verify.CheckCertificate, ErrCertificate
	}
	for _, name := range []string{verify.CheckSignature, verify.CheckCertificate, verify.CheckSCT, verify.CheckLog, verify.CheckTimestamp} {
		if name == blamed {
			r.Fail(name, wrapped(as, err))
		} else {
			r.Skip("the bundle is not usable", name)
		}
	}
	return r
}

// wrapped says what is at fault, once.
func wrapped(as, err error) error {
	if errors.Is(err, as) {
		return err
	}
	return fmt.Errorf("%w: %w", as, err)
}

// keylessVerdict is sigstore-go's: a log entry, an SCT and a verified time are needed, and where a timestamp
// authority is trusted a timestamp that stands in the bundle has to be one of its own.
func (x *examination) keylessVerdict() (Identity, error) {
	options := []sigstore.VerifierOption{sigstore.WithTransparencyLog(1), sigstore.WithObserverTimestamps(1),
		sigstore.WithSignedCertificateTimestamps(1), sigstore.WithoutStatementPredicate()}
	if x.timestampNeeded() {
		options = append(options, sigstore.WithSignedTimestamps(1))
	}
	result, err := x.verdict(sigstore.WithoutIdentitiesUnsafe(), options...) // the caller compares
	if err != nil {
		return Identity{}, err
	}
	cert := result.Signature.Certificate
	if cert == nil || cert.Issuer == "" || cert.SubjectAlternativeName == "" {
		return Identity{}, fmt.Errorf("%w: the certificate names no identity", ErrIdentity)
	}
	return Identity{Issuer: cert.Issuer, Subject: cert.SubjectAlternativeName}, nil
}

// timestampNeeded reports whether there are timestamps and somebody trusted to judge them.
func (x *examination) timestampNeeded() bool {
	given, err := x.entity.Timestamps()
	return err == nil && len(given) > 0 && len(x.material.TimestampingAuthorities()) > 0
}

func (x *examination) verdict(who sigstore.PolicyOption, options ...sigstore.VerifierOption) (*sigstore.VerificationResult, error) {
	verifier, err := sigstore.NewVerifier(x.material, options...)
	if err != nil {
		return nil, err
	}
	artifact, err := artifactPolicy(x.artifact)
	if err != nil {
		return nil, err
	}
	return verifier.Verify(x.entity, sigstore.NewPolicy(artifact, who))
}

// UnverifiedIdentity is the identity that a bundle's certificate names, whoever issued it: good for telling a person what was
// just signed, and for no decision. It is empty when there is no such certificate.
func UnverifiedIdentity(b *attest.Bundle) Identity {
	leaf, err := x509.ParseCertificate(b.Material.Leaf())
	if err != nil {
		return Identity{}
	}
	summary, err := certificate.SummarizeCertificate(leaf)
	if err != nil {
		return Identity{}
	}
	return Identity{Issuer: summary.Issuer, Subject: summary.SubjectAlternativeName}
}
