package trust

import (
	"errors"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// WitnessedKey trusts a public key, for bundles that somebody else vouches for as well. Make it with NewLoggedKey or
// NewTimestampedKey.
type WitnessedKey struct {
	key    *Key
	root   *Root
	logged bool
}

// NewLoggedKey trusts the key for bundles with an entry in a log of the trusted root. Timestamps of its
// authorities are verified where a bundle has them; none is needed, since a key does not expire.
func NewLoggedKey(key *Key, root *Root) *WitnessedKey { return &WitnessedKey{key, root, true} }

// NewTimestampedKey trusts the key for bundles with an RFC 3161 timestamp of one of the root's authorities. Log entries are
// not looked at.
func NewTimestampedKey(key *Key, root *Root) *WitnessedKey { return &WitnessedKey{key, root, false} }

// Check implements verify.Anchor.
func (k *WitnessedKey) Check(b *attest.Bundle, opts verify.Options) *verify.Result {
	r := &verify.Result{}
	k.key.checkSignature(r, b, opts)
	r.Skip("signed with a key", verify.CheckCertificate, verify.CheckSCT)
	if b.Material.PublicKey == nil {
		r.Skip("the bundle is signed with a certificate", verify.CheckLog, verify.CheckTimestamp, verify.CheckIdentity)
		return r
	}
	x := &examination{material: root.TrustedMaterialCollection{k.key.material, k.root.material}, artifact: opts.Artifact}
	if k.logged {
		k.checkLogged(r, x, b)
	} else {
		k.checkTimestamped(r, x, b)
	}
	r.Skip("the key is the identity", verify.CheckIdentity)
	if r.Failed() == "" {
		x.conclude(r, x.keyVerdict(k.logged))
	}
	if r.Failed() == "" {
		r.Signer, r.Key = k.key.Fingerprint(), hexDigest(k.key.der)
	}
	return r
}

func (k *WitnessedKey) checkLogged(r *verify.Result, x *examination, b *attest.Bundle) {
	var err error
	if x.entity, err = newEntity(b, withTimestamps|withLog); errors.Is(err, ErrTimestamp) {
		r.Skip("the timestamps are not usable", verify.CheckLog)
		r.Fail(verify.CheckTimestamp, err)
		return
	} else if err != nil {
		r.Fail(verify.CheckLog, err)
		r.Skip("the log entries are not usable", verify.CheckTimestamp)
		return
	}
	x.log(r)
	x.timestamps(r)
}

func (k *WitnessedKey) checkTimestamped(r *verify.Result, x *examination, b *attest.Bundle) {
	r.Skip("a timestamp was asked for; log entries are not looked at", verify.CheckLog)
	var err error
	if x.entity, err = newEntity(b, withTimestamps); err != nil {
		r.Fail(verify.CheckTimestamp, err)
		return
	}
	x.demandTimestamp(r)
}

// keyVerdict is sigstore-go's.
func (x *examination) keyVerdict(logged bool) error {
	options := []sigstore.VerifierOption{sigstore.WithoutStatementPredicate()}
	if logged {
		options = append(options, sigstore.WithTransparencyLog(1))
	}
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
