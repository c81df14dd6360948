package trust

import (
	"fmt"

	"github.com/mlseal/mlseal/attest"
	"github.com/sigstore/sigstore-go/pkg/verify"
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

// NewKeyless trusts exactly this identity: both strings are compared whole. The error wraps ErrNoIdentity
// when one of them is empty, and ErrNoRoot when there is no root.
func NewKeyless(root *Root, want Identity) (*Keyless, error) {
	if want.Issuer == "" || want.Subject == "" {
		return nil, fmt.Errorf("trust: %w", ErrNoIdentity)
	}
	if root == nil {
		return nil, fmt.Errorf("trust: %w", ErrNoRoot)
	}
	return &Keyless{root: root, want: want}, nil
}

// Check implements Anchor.
func (k *Keyless) Check(b *attest.Bundle, opts Options) *Result {
	r := k.root.Identify(b, opts)
	if r.Err() != nil {
		r.skip("it is not known who signed", CheckIdentity)
		return r
	}
	if got := (Identity{r.Issuer, r.Signer}); got != k.want {
		return r.fail(CheckIdentity, fmt.Errorf("%w: %q of %s, want %q of %s", ErrIdentity, got.Subject, got.Issuer, k.want.Subject, k.want.Issuer))
	}
	r.pass(CheckIdentity, fmt.Sprintf("%q of %s", r.Signer, r.Issuer))
	return r
}

// Identify verifies all of a keyless bundle but that its identity is a trusted one: whoever has an account with
// one of the issuers passes. Compare the result's Issuer and Signer, which are set only when all checks
// passed. It follows the Sigstore client specification, "Verification".
func (t *Root) Identify(b *attest.Bundle, opts Options) *Result {
	r := &Result{}
	if b.Material.Leaf() == nil {
		r.fail(CheckSignature, ErrNoCertificate)
		r.skip("the bundle is signed with a key", CheckCertificate, CheckSCT, CheckLog, CheckTimestamp)
		return r
	}
	if err := noRootInChain(b); err != nil {
		r.skip("the certificate is not usable", CheckSignature)
		r.fail(CheckCertificate, err)
		r.skip("the certificate is not usable", CheckSCT, CheckLog, CheckTimestamp)
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
	}
	return r
}

// unusable blames the log entries when the bundle is usable without them, and the chain when it is usable with
// its first certificate alone.
func unusable(r *Result, b *attest.Bundle, err error) *Result {
	blamed, as := CheckSignature, ErrBundle
	if _, other := newEntity(b, withTimestamps|withChain); other == nil {
		blamed, as = CheckLog, ErrLog
	} else if _, other := newEntity(b, withTimestamps|withLog); other == nil {
		blamed, as = CheckCertificate, ErrCertificate
	}
	for _, name := range []string{CheckSignature, CheckCertificate, CheckSCT, CheckLog, CheckTimestamp} {
		if name == blamed {
			r.fail(name, fmt.Errorf("%w: %w", as, err))
		} else {
			r.skip("the bundle is not usable", name)
		}
	}
	return r
}

// keylessVerdict is sigstore-go's: a log entry, an SCT and a verified time are needed, and where a timestamp
// authority is trusted a timestamp that stands in the bundle has to be one of its own.
func (x *examination) keylessVerdict() (Identity, error) {
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1),
		verify.WithSignedCertificateTimestamps(1), verify.WithoutStatementPredicate()}
	if x.timestampNeeded() {
		options = append(options, verify.WithSignedTimestamps(1))
	}
	result, err := x.verdict(verify.WithoutIdentitiesUnsafe(), options...) // the caller compares
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

func (x *examination) verdict(who verify.PolicyOption, options ...verify.VerifierOption) (*verify.VerificationResult, error) {
	verifier, err := verify.NewVerifier(x.material, options...)
	if err != nil {
		return nil, err
	}
	artifact, err := x.artifact.policy()
	if err != nil {
		return nil, err
	}
	return verifier.Verify(x.entity, verify.NewPolicy(artifact, who))
}
