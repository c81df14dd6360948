package trust

import (
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// count notes a name once.
func (x *examination) count(in *map[string]bool, name string) {
	if *in == nil {
		*in = map[string]bool{}
	}
	(*in)[name] = true
}

// countAuthorities notes who vouches for the time. Two timestamps of one authority are one, and so are two entries of a trusted root
// with one address, or without an address with one root certificate.
func (x *examination) countAuthorities(stamps [][]byte) {
	signature, err := x.entity.SignatureContent()
	if err != nil {
		return
	}
	for _, authority := range x.material.TimestampingAuthorities() {
		for _, stamp := range stamps {
			if t, err := authority.Verify(stamp, signature.Signature()); err == nil {
				x.count(&x.clocks, "authority "+authorityName(authority, t))
			}
		}
	}
}

func authorityName(a root.TimestampingAuthority, t *root.Timestamp) string {
	if t.URI != "" {
		return t.URI
	}
	if known, ok := a.(*root.SigstoreTimestampingAuthority); ok && known.Root != nil {
		return string(known.Root.Raw)
	}
	return "one without a name" // all of these are one
}

// Witness implements verify.Witness. The anchor's key, if it has one, is what a log entry must name.
func (t *Root) Witness(b *attest.Bundle, signer verify.Anchor) verify.Witnessed {
	material := t.material
	if key, ok := signer.(*Key); ok {
		material = root.TrustedMaterialCollection{key.material, t.material}
	}
	x := &examination{material: material}
	// Each by itself: a log entry that cannot be read says nothing against a timestamp.
	if entity, err := newEntity(b, withLog); err == nil {
		x.entity = entity
		x.log(&verify.Result{})
	}
	if entity, err := newEntity(b, withTimestamps); err == nil {
		x.entity = entity
		x.timestamps(&verify.Result{})
	}
	r := &verify.Result{}
	x.conclude(r, nil)
	return verify.Witnessed{Logs: r.Logs, Timestamps: r.Timestamps, Time: r.Time, TimeSource: r.TimeSource}
}
