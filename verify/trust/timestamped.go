package trust

import (
	"fmt"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
)

// Timestamped verifies that the bundle holds an RFC 3161 timestamp of one of the root's authorities, and nothing else: not who signed, not
// the signature.
func (t *Root) Timestamped(b *attest.Bundle, _ verify.Options) *verify.Result {
	r := &verify.Result{}
	entity, err := newEntity(b, withTimestamps)
	if err != nil {
		return r.Fail(verify.CheckTimestamp, err)
	}
	x := &examination{entity: entity, material: t.material}
	x.demandTimestamp(r)
	return r
}

// demandTimestamp is timestamps for those who will not do without.
func (x *examination) demandTimestamp(r *verify.Result) {
	given, err := x.entity.Timestamps()
	switch {
	case err == nil && len(given) == 0:
		r.Fail(verify.CheckTimestamp, fmt.Errorf("%w: the bundle holds no timestamp", ErrTimestamp))
	case len(x.material.TimestampingAuthorities()) == 0:
		r.Fail(verify.CheckTimestamp, fmt.Errorf("%w: the trusted root names no timestamp authority", ErrTimestamp))
	default:
		x.timestamps(r)
	}
}
