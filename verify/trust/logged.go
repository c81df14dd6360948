package trust

import (
	"github.com/mlseal/mlseal/attest"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// LoggedKey trusts a public key, for bundles that lie in a transparency log.
type LoggedKey struct {
	key  *Key
	root *Root
}

// NewLoggedKey trusts the key for bundles with an entry in a log of the trusted root. Timestamps of its
// authorities are verified where a bundle has them; none is needed, since a key does not expire.
func NewLoggedKey(key *Key, root *Root) *LoggedKey { return &LoggedKey{key, root} }

// Check implements Anchor.
func (k *LoggedKey) Check(b *attest.Bundle, opts Options) *Result {
	r := &Result{}
	k.key.checkSignature(r, b, opts)
	r.skip("signed with a key", CheckCertificate, CheckSCT)
	if b.Material.PublicKey == nil {
		r.skip("the bundle is signed with a certificate", CheckLog, CheckTimestamp, CheckIdentity)
		return r
	}
	entity, err := newEntity(b, withTimestamps|withLog)
	if err != nil {
		r.fail(CheckLog, err)
		r.skip("the log entries are not usable", CheckTimestamp, CheckIdentity)
		return r
	}
	x := &examination{entity: entity, material: root.TrustedMaterialCollection{k.key.material, k.root.material}, artifact: opts.Artifact}
	x.log(r)
	x.timestamps(r)
	r.skip("the key is the identity", CheckIdentity)
	x.conclude(r, x.keyVerdict())
	if r.Failed() == "" {
		r.Signer = k.key.Fingerprint()
	}
	return r
}

// keyVerdict is sigstore-go's.
func (x *examination) keyVerdict() error {
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithoutStatementPredicate()}
	switch {
	case x.timestampNeeded():
		options = append(options, verify.WithSignedTimestamps(1))
	case len(x.times) > 0:
		options = append(options, verify.WithIntegratedTimestamps(1))
	default:
		options = append(options, verify.WithNoObserverTimestamps())
	}
	_, err := x.verdict(verify.WithKey(), options...)
	return err
}
