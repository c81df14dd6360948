package trust

import (
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// LoggedKey trusts a public key, for bundles that lie in a transparency log.
type LoggedKey struct {
	key  *Key
	root *Root
}

// NewLoggedKey trusts the key for bundles with an entry in a log of the trusted root. Timestamps of its
// authorities are verified where a bundle has them; none is needed, since a key does not expire.
func NewLoggedKey(key *Key, root *Root) *LoggedKey { return &LoggedKey{key, root} }

// Check implements verify.Anchor.
func (k *LoggedKey) Check(b *attest.Bundle, opts verify.Options) *verify.Result {
	r := &verify.Result{}
	k.key.checkSignature(r, b, opts)
	r.Skip("signed with a key", verify.CheckCertificate, verify.CheckSCT)
	if b.Material.PublicKey == nil {
		r.Skip("the bundle is signed with a certificate", verify.CheckLog, verify.CheckTimestamp, verify.CheckIdentity)
		return r
	}
	entity, err := newEntity(b, withTimestamps|withLog)
	if err != nil {
		r.Fail(verify.CheckLog, err)
		r.Skip("the log entries are not usable", verify.CheckTimestamp, verify.CheckIdentity)
		return r
	}
	x := &examination{entity: entity, material: root.TrustedMaterialCollection{k.key.material, k.root.material}, artifact: opts.Artifact}
	x.log(r)
	x.timestamps(r)
	r.Skip("the key is the identity", verify.CheckIdentity)
	x.conclude(r, x.keyVerdict())
	if r.Failed() == "" {
		r.Signer = k.key.Fingerprint()
	}
	return r
}

// keyVerdict is sigstore-go's.
func (x *examination) keyVerdict() error {
	options := []sigstore.VerifierOption{sigstore.WithTransparencyLog(1), sigstore.WithoutStatementPredicate()}
	switch {
	case x.timestampNeeded():
		options = append(options, sigstore.WithSignedTimestamps(1))
	case len(x.times) > 0:
		options = append(options, sigstore.WithIntegratedTimestamps(1))
	default:
		options = append(options, sigstore.WithNoObserverTimestamps())
	}
	_, err := x.verdict(sigstore.WithKey(), options...)
	return err
}
