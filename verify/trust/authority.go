package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/certificates"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Authority trusts whoever has a certificate of one's own certificate authority. Make it with
// ParseAuthority.
type Authority struct {
	roots         []*x509.Certificate
	intermediates []*x509.Certificate
	timestamps    *Root
}

// ParseAuthority reads the PEM certificates of an authority: at least one self-signed root, and
// intermediates if they are not in the bundles. timestamps may be nil; with it, the timestamp
// authorities of that trusted root vouch for when a bundle was signed. The error wraps verify.ErrAuthority.
func ParseAuthority(text []byte, timestamps *Root) (*Authority, error) {
	own, err := readAuthority(text, certificates.ParseAuthority)
	if err != nil {
		return nil, err
	}
	return &Authority{roots: own.Roots, intermediates: own.Intermediates, timestamps: timestamps}, nil
}

// ParseTimestampAuthority reads the PEM certificates of an RFC 3161 timestamp authority: one self-signed root, and the authority's own
// certificate and intermediates if they are not in its timestamps. The result trusts that authority for timestamps and
// nobody for anything else. The error wraps verify.ErrAuthority.
func ParseTimestampAuthority(text []byte) (*Root, error) {
	all, err := readAuthority(text, certificates.Parse)
	if err != nil {
		return nil, err
	}
	tsa := &root.SigstoreTimestampingAuthority{}
	for _, cert := range all {
		switch {
		case certificates.SelfSigned(cert) && tsa.Root == nil:
			tsa.Root = cert
		case !cert.IsCA && tsa.Leaf == nil:
			tsa.Leaf = cert
		case cert.IsCA && !certificates.SelfSigned(cert):
			tsa.Intermediates = append(tsa.Intermediates, cert)
		default:
			return nil, fmt.Errorf("trust: %w: %q is one root or one timestamp certificate too many", verify.ErrAuthority, cert.Subject)
		}
	}
	if tsa.Root == nil {
		return nil, fmt.Errorf("trust: %w: it holds no self-signed root certificate", verify.ErrAuthority)
	}
	return &Root{material: &authorityMaterial{timestamps: []root.TimestampingAuthority{timestampAuthority{tsa}}}}, nil
}

// timestampAuthority is one whose certificates the user gave.
type timestampAuthority struct {
	*root.SigstoreTimestampingAuthority
}

// Verify says what to add to the certificates where neither they nor the timestamp hold the authority's own.
func (a timestampAuthority) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	if token, err := readToken(stamp); a.Leaf == nil && err == nil && token != nil && len(token.Certificates) == 0 {
		return nil, errors.New("the timestamp holds no certificate: add the timestamp authority's own certificate to the file of its certificates")
	}
	return a.SigstoreTimestampingAuthority.Verify(stamp, signature)
}

// readAuthority reads certificates out of a text of bounded size.
func readAuthority[T any](text []byte, read func([]byte) (T, error)) (T, error) {
	var none T
	if len(text) > MaxKeyBytes {
		return none, fmt.Errorf("trust: %w: %d bytes, at most %d", verify.ErrAuthority, len(text), MaxKeyBytes)
	}
	out, err := read(text)
	if err != nil {
		return none, fmt.Errorf("trust: %w: %w", verify.ErrAuthority, err)
	}
	return out, nil
}

// noRootInChain refuses a chain with a root in it (protobuf-specs sigstore_common.proto,
// X509CertificateChain: the chain "MUST NOT" hold it): what is trusted does not come with the bundle.
func noRootInChain(b *attest.Bundle) error {
	for i, der := range b.Material.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%w: certificate %d: %w", ErrCertificate, i, err)
		}
		if err := certificates.CheckKey(cert.PublicKey); err != nil {
			return fmt.Errorf("%w: certificate %d: %w", ErrCertificate, i, err)
		}
		if i > 0 && certificates.SelfSigned(cert) {
			return fmt.Errorf("%w: the bundle's chain holds a root certificate", ErrCertificate)
		}
	}
	return nil
}

// Check implements verify.Anchor: OMS v1.0 section 4.2. Chain, timestamps and signature are each verified by sigstore-go;
// its Verifier as a whole is for Sigstore's certificates, and refuses those that name no identity.
func (a *Authority) Check(b *attest.Bundle, opts verify.Options) *verify.Result {
	r := &verify.Result{}
	if b.Material.Leaf() == nil {
		r.Fail(verify.CheckSignature, verify.ErrNoCertificate)
		r.Skip("the bundle is signed with a key", verify.CheckCertificate, verify.CheckSCT, verify.CheckLog, verify.CheckTimestamp, verify.CheckIdentity)
		return r
	}
	x, err := a.examine(b, opts)
	if err != nil {
		r.Fail(verify.CheckSignature, err)
		r.Skip("the bundle is not usable", verify.CheckCertificate, verify.CheckSCT, verify.CheckLog, verify.CheckTimestamp, verify.CheckIdentity)
		return r
	}
	x.timestamps(r)
	times := x.times
	if !x.timestampNeeded() {
		times = []verifiedTime{{root.Timestamp{Time: opts.Now}, "the current clock, for want of a trusted timestamp"}}
	}
	x.certificate(r, times)
	if opts.Legacy {
		legacySignature(r, b)
	} else {
		x.signature(r, false, "the certificate's key")
	}
	r.Skip("certificates of one's own authority have none", verify.CheckSCT)
	r.Skip("log entries are not looked at with one's own authority", verify.CheckLog)
	r.Skip("whoever has a certificate of the authority is trusted", verify.CheckIdentity)
	x.conclude(r, nil)
	if r.Failed() == "" {
		leaf := x.chains[0][0]
		r.Signer, r.Issuer, r.Names = certificateName(leaf), leaf.Issuer.String(), certificateNames(leaf)
		nameOwner(r, leaf)
	}
	return r
}

// examine shows the bundle's first certificate to sigstore-go; the others are material to build a chain with,
// as the authority's own intermediates are.
func (a *Authority) examine(b *attest.Bundle, opts verify.Options) (*examination, error) {
	entity, err := newEntity(b, withTimestamps)
	if err != nil {
		return nil, err
	}
	intermediates := a.intermediates
	for i := 1; i < len(b.Material.Chain); i++ {
		cert, err := x509.ParseCertificate(b.Material.Chain[i])
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrCertificate, i, err)
		}
		intermediates = append(intermediates[:len(intermediates):len(intermediates)], cert)
	}
	m := &authorityMaterial{}
	if a.timestamps != nil {
		m.timestamps = a.timestamps.material.TimestampingAuthorities()
	}
	x := &examination{entity: entity, material: m, artifact: opts.Artifact}
	for _, cert := range a.roots {
		m.authorities = append(m.authorities, signingAuthority{&root.FulcioCertificateAuthority{Root: cert, Intermediates: intermediates}})
	}
	return x, nil
}

// authorityMaterial is what an authority trusts, for sigstore-go.
type authorityMaterial struct {
	root.BaseTrustedMaterial
	authorities []root.CertificateAuthority
	timestamps  []root.TimestampingAuthority
}

func (m *authorityMaterial) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return m.authorities
}

func (m *authorityMaterial) TimestampingAuthorities() []root.TimestampingAuthority {
	return m.timestamps
}

// signingAuthority holds a certificate to its key usage too (RFC 5280 section 4.2.1.3); sigstore-go looks at the
// extended one. Without a time nothing is valid: Go would take the system's clock.
type signingAuthority struct {
	*root.FulcioCertificateAuthority
}

func (a signingAuthority) Verify(cert *x509.Certificate, at time.Time) ([][]*x509.Certificate, error) {
	switch {
	case at.IsZero():
		return nil, errors.New("no time was given")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return nil, errors.New("its key usage does not allow signatures")
	}
	return a.FulcioCertificateAuthority.Verify(cert, at)
}
