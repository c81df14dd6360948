// Package trust says who signed a bundle: it implements the Anchor, and for a policy's signers the Trust, of package
// verify. It is the only door to sigstore-go's verification.
//
// A bundle is verified with what the caller trusts, never with what the bundle brings along. There are
// three kinds of trust, each a verify.Anchor:
//
//   - a public key (Key): the signature must verify, and nothing else is claimed: no time, no transparency
//     log. With NewLoggedKey the bundle must lie in a log of a trusted root as well.
//   - a certificate authority of one's own (Authority): the certificate must lead to one of its roots at
//     the time of a trusted RFC 3161 timestamp, or else at the current time, and the signature must verify.
//   - an identity (Keyless): all that the Sigstore client specification demands of a Fulcio certificate: its
//     chain at every verified time, its SCT, the entry in a log of the trusted root, a verified time, the signature,
//     and an issuer and subject that are exactly the ones asked for.
//
// The verdict is sigstore-go's, of one call for the whole bundle. What each check found is established by
// further calls, one a check; a bundle passes when both say yes. A check that was not made says so and why.
package trust

import (
	"errors"

	"github.com/mlseal/mlseal/verify"
)

// Errors that say why a check failed, beside those of package verify.
var (
	// ErrSignature says that the signature does not verify with the key.
	ErrSignature = errors.New("the signature does not verify with this key")
	// ErrCertificate says that the certificate does not lead to a trusted authority at the time of signing.
	ErrCertificate = errors.New("the certificate is not trusted")
	// ErrSCT says that no trusted log of certificates vouches for the certificate.
	ErrSCT = errors.New("no trusted certificate transparency log vouches for the certificate")
	// ErrLog says that the bundle does not lie in a trusted transparency log.
	ErrLog = errors.New("not verified in a trusted transparency log")
	// ErrTimestamp says that nothing trusted vouches for the time of signing.
	ErrTimestamp = errors.New("no trusted time of signing")
	// ErrIdentity says that somebody else signed.
	ErrIdentity = errors.New("signed by another identity")
)

// New is what a verify.Verifier reads a policy's signers with. root is for the keyless signers of policies that name no
// trusted root, and for the timestamps of signers with certificates; it may be nil.
func New(root *Root) verify.Trust { return policyTrust{root} }

type policyTrust struct {
	root *Root
}

// Key implements verify.Trust.
func (t policyTrust) Key(text []byte) (verify.KeyAnchor, error) {
	key, err := ParseKey(text)
	if err != nil {
		return nil, err // and no nil *Key in an interface
	}
	return key, nil
}

// Root implements verify.Trust.
func (t policyTrust) Root(text []byte) (verify.Identifier, error) {
	root := t.root
	if text != nil {
		var err error
		if root, err = ParseRoot(text); err != nil {
			return nil, err
		}
	}
	if root == nil {
		return nil, verify.ErrNoRoot
	}
	return root, nil
}

// Authority implements verify.Trust.
func (t policyTrust) Authority(text, root []byte) (verify.Anchor, error) {
	timestamps := t.root
	if root != nil {
		var err error
		if timestamps, err = ParseRoot(root); err != nil {
			return nil, err
		}
	}
	a, err := ParseAuthority(text, timestamps)
	if err != nil {
		return nil, err // and no nil *Authority in an interface
	}
	return a, nil
}
