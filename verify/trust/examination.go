package trust

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// examination looks at one bundle, check by check, to say what each found. sigstore-go's Verifier gives
// the verdict; see conclude.
type examination struct {
	entity   *bundle.Bundle
	material root.TrustedMaterial
	artifact *verify.Artifact
	times    []verifiedTime
	chains   [][]*x509.Certificate
	logs     map[string]bool // that vouch for the signature, by key
	clocks   map[string]bool // that vouch for its time: logs and timestamp authorities
}

// verifiedTime is a time of signing that somebody trusted vouches for.
type verifiedTime struct {
	root.Timestamp
	source string
}

func (t verifiedTime) String() string {
	by := t.source
	if t.URI != "" {
		by += " " + t.URI
	}
	return t.Time.UTC().Format(time.RFC3339) + " by " + by
}

// log verifies each entry of a log that the trusted root knows.
// Sigstore client specification, "Transparency Log Entry".
func (x *examination) log(r *verify.Result) {
	all, err := x.entity.TlogEntries()
	if err == nil && len(all) == 0 {
		err = errors.New("the bundle holds no log entry")
	}
	if err != nil {
		r.Fail(verify.CheckLog, fmt.Errorf("%w: %w", ErrLog, err))
		return
	}
	// All together, since two copies of an entry must not count twice.
	if _, err := sigstore.VerifyTlogEntry(x.entity, x.material, 1, true); err != nil {
		r.Fail(verify.CheckLog, fmt.Errorf("%w: %w", ErrLog, err))
		return
	}
	var found []string
	for _, entry := range all {
		times, err := sigstore.VerifyTlogEntry(oneEntry{x.entity, entry}, x.material, 1, true)
		if err != nil {
			continue
		}
		x.count(&x.logs, entry.LogKeyID())
		for _, t := range times {
			x.times = append(x.times, verifiedTime{t, verify.FromLog})
			x.count(&x.clocks, "log "+entry.LogKeyID())
		}
		found = append(found, x.describe(entry))
	}
	r.Pass(verify.CheckLog, strings.Join(found, "; "))
}

func (x *examination) describe(e *tlog.Entry) string {
	var how []string
	if e.HasInclusionProof() {
		how = append(how, "inclusion proof")
	}
	if e.HasInclusionPromise() {
		how = append(how, "signed entry timestamp")
	}
	log := "a log of the trusted root"
	if known, ok := x.material.RekorLogs()[hex.EncodeToString([]byte(e.LogKeyID()))]; ok && known.BaseURL != "" {
		log = known.BaseURL
	}
	return fmt.Sprintf("entry %d of %s: %s verified", verifiedIndex(e), log, strings.Join(how, " and "))
}

// verifiedIndex is the index that something vouches for: the entry's own is covered by the signed entry timestamp alone,
// the inclusion proof's by the proof.
func verifiedIndex(e *tlog.Entry) int64 {
	if proof := e.TransparencyLogEntry().GetInclusionProof(); proof != nil && !e.HasInclusionPromise() {
		return proof.GetLogIndex()
	}
	return e.LogIndex()
}

// timestamps verifies the RFC 3161 timestamps. When some stand there and none verifies that is a failure, although
// another time may be known; those that do not verify beside one that does are counted (Sigstore client specification, "Establishing a Time for the Signature").
func (x *examination) timestamps(r *verify.Result) {
	given, err := x.entity.Timestamps()
	switch {
	case err != nil:
		r.Fail(verify.CheckTimestamp, fmt.Errorf("%w: %w", ErrTimestamp, err))
		return
	case len(given) == 0 && len(x.times) > 0:
		r.Pass(verify.CheckTimestamp, x.times[0].String()+"; no RFC 3161 timestamp in the bundle")
		return
	case len(given) == 0:
		r.Skip("the bundle holds none", verify.CheckTimestamp)
		return
	case len(x.material.TimestampingAuthorities()) == 0:
		r.Skip("no timestamp authority is trusted to look at the timestamps in the bundle", verify.CheckTimestamp)
		return
	}
	verified, err := sigstore.VerifySignedTimestampWithThreshold(x.entity, x.material, 1)
	if err != nil {
		r.Fail(verify.CheckTimestamp, fmt.Errorf("%w: %w", ErrTimestamp, err))
		return
	}
	for _, t := range verified {
		x.times = append(x.times, verifiedTime{*t, verify.FromTimestampAuthority})
	}
	x.countAuthorities(given)
	var said []string
	for _, t := range x.times {
		said = append(said, t.String())
	}
	if bad := len(given) - len(verified); bad > 0 {
		said = append(said, fmt.Sprintf("%d of %d timestamps in the bundle do not verify and do not count", bad, len(given)))
	}
	r.Pass(verify.CheckTimestamp, strings.Join(said, "; "))
}

// certificate verifies the chain at each of the times. "If either fails, verification fails."
// (Sigstore client specification, "Certificate")
func (x *examination) certificate(r *verify.Result, times []verifiedTime) {
	leaf, err := x.leaf()
	if err != nil {
		r.Fail(verify.CheckCertificate, fmt.Errorf("%w: %w", ErrCertificate, err))
		return
	}
	switch {
	case len(times) == 0 && r.Failed() != "":
		r.Skip("there is no verified time of signing to verify it at", verify.CheckCertificate)
		return
	case len(times) == 0:
		r.Fail(verify.CheckCertificate, fmt.Errorf("%w: %w", ErrCertificate, ErrTimestamp))
		return
	}
	var at []string
	for _, t := range times {
		if x.chains, err = verifyChain(leaf, x.material.FulcioCertificateAuthorities(), t.Time); err != nil {
			r.Fail(verify.CheckCertificate, fmt.Errorf("%w: %w (at %s)", ErrCertificate, err, t))
			return
		}
		at = append(at, t.String())
	}
	last := x.chains[0][len(x.chains[0])-1]
	r.Pass(verify.CheckCertificate, fmt.Sprintf("leads to %q, valid at %s", last.Subject, strings.Join(at, " and at ")))
}

// leaf is the signer's certificate as sigstore-go verifies it.
func (x *examination) leaf() (*x509.Certificate, error) {
	content, err := x.entity.VerificationContent()
	if err != nil {
		return nil, err
	}
	leaf := content.Certificate()
	if leaf == nil {
		return nil, verify.ErrNoCertificate
	}
	// Go does not know the otherName of a subjectAltName, which Fulcio uses; sigstore-go reads it by itself.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(leaf.UnhandledCriticalExtensions, func(oid asn1.ObjectIdentifier) bool {
		return oid.Equal(asn1.ObjectIdentifier{2, 5, 29, 17})
	})
	return leaf, nil
}

// verifyChain tries each authority; the error is the one that says most.
func verifyChain(leaf *x509.Certificate, authorities []root.CertificateAuthority, at time.Time) ([][]*x509.Certificate, error) {
	best := errors.New("there is no certificate authority to trust")
	for i, ca := range authorities {
		chains, err := ca.Verify(leaf, at)
		if err == nil {
			return chains, nil
		}
		// "expired" says more than "unknown authority", which all the other authorities say.
		var unknown x509.UnknownAuthorityError
		if i == 0 || !errors.As(err, &unknown) {
			best = err
		}
	}
	return nil, best
}

// sct verifies the certificate's embedded SCT (RFC 9162 section 8.1.3).
func (x *examination) sct(r *verify.Result) {
	if x.chains == nil {
		r.Skip("the certificate's chain was not verified", verify.CheckSCT)
		return
	}
	if err := sigstore.VerifySignedCertificateTimestamp(x.chains, 1, x.material); err != nil {
		r.Fail(verify.CheckSCT, fmt.Errorf("%w: %w", ErrSCT, err))
		return
	}
	r.Pass(verify.CheckSCT, "a certificate transparency log of the trusted root vouches for the certificate")
}

// signature verifies the signature, unless a verdict has done so already.
func (x *examination) signature(r *verify.Result, done bool, with string) {
	if !done {
		if err := x.verifySignature(); err != nil {
			r.Fail(verify.CheckSignature, fmt.Errorf("%w: %w", ErrSignature, err))
			return
		}
	}
	r.Pass(verify.CheckSignature, "verified with "+with)
}

// conclude puts the checks in order and makes sure that no verdict of no is lost: when sigstore-go said no and
// each check by itself found nothing, the bundle fails as a whole.
func (x *examination) conclude(r *verify.Result, verdict error) {
	order := []string{verify.CheckSignature, verify.CheckCertificate, verify.CheckSCT, verify.CheckLog, verify.CheckTimestamp, verify.CheckIdentity}
	slices.SortStableFunc(r.Checks, func(a, b verify.Check) int { return slices.Index(order, a.Name) - slices.Index(order, b.Name) })
	if verdict != nil && r.Failed() == "" {
		r.Fail(verify.CheckSignature, fmt.Errorf("%w: %w", verify.ErrBundle, verdict))
	}
	if r.Failed() != "" {
		return
	}
	r.Logs, r.Timestamps = len(x.logs), len(x.clocks)
	for _, t := range x.times {
		if r.Time.IsZero() || t.Time.Before(r.Time) {
			r.Time, r.TimeSource = t.Time, t.source
		}
	}
}
