package verify

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
)

// signers are a policy's signers as Trust made them.
type signers struct {
	keys       []signerKey
	identities map[policies.Identity]string // the signer's name
	root       Identifier                   // nil when nobody is keyless
}

type signerKey struct {
	signer string
	key    KeyAnchor
}

// newSigners reads the policy's keys and its trust root, for which that of trust stands in when it names none.
func newSigners(policy *policies.Policy, trust Trust) (*signers, error) {
	if trust == nil {
		return nil, errors.New("verify: the verifier has no Trust to read the policy's signers with")
	}
	s := &signers{identities: map[policies.Identity]string{}}
	for _, def := range policy.Signers() {
		for _, text := range def.Keys {
			key, err := trust.Key(text)
			if err != nil {
				return nil, fmt.Errorf("verify: signer %s: %w: %w", def.Name, policies.ErrPolicy, err)
			}
			s.keys = append(s.keys, signerKey{def.Name, key})
		}
		if def.Keyless != nil {
			s.identities[*def.Keyless] = def.Name
		}
	}
	text := policy.TrustRoot()
	if text == nil && len(s.identities) == 0 {
		return s, nil
	}
	root, err := trust.Root(text)
	switch {
	case err != nil && text != nil:
		return nil, fmt.Errorf("verify: trust.root: %w: %w", policies.ErrPolicy, err)
	case err != nil:
		return nil, fmt.Errorf("verify: the policy has keyless signers: %w", err)
	}
	if len(s.identities) > 0 {
		s.root = root
	}
	return s, nil
}

// check fills SignedBy with every signer who signed the bundle, and the verified time where there is one. The code
// is for a bundle that is broken or forged whoever is trusted.
func (s *signers) check(b *attest.Bundle, e *policies.Evidence) (policies.Code, string) {
	if b.Material.PublicKey != nil {
		return s.checkKey(b, e)
	}
	return s.checkIdentity(b, e)
}

// checkKey tries every key. A bundle that names a policy's key and does not verify with it is broken or
// forged, which is worth its own code.
func (s *signers) checkKey(b *attest.Bundle, e *policies.Evidence) (policies.Code, string) {
	hinted := ""
	for _, k := range s.keys {
		if k.key.Check(b, Options{}).Err() == nil {
			if !slices.Contains(e.SignedBy, k.signer) {
				e.SignedBy = append(e.SignedBy, k.signer)
			}
			continue
		}
		if k.key.Hinted(b) {
			hinted = k.signer
		}
	}
	switch {
	case len(e.SignedBy) > 0:
	case hinted != "":
		return policies.SignatureInvalid, "it names the key of " + hinted + ", and the signature does not verify with it"
	case b.Material.PublicKey.Hint == "":
		e.SignatureNote = "verifies with no key of the policy"
	default:
		e.SignatureNote = "signed with a key that no signer of the policy has (hint " + b.Material.PublicKey.Hint + ")"
	}
	return "", ""
}

// checkIdentity verifies a certificate's bundle under the trust root and looks for its identity, compared whole,
// among the policy's.
func (s *signers) checkIdentity(b *attest.Bundle, e *policies.Evidence) (policies.Code, string) {
	if s.root == nil {
		e.SignatureNote = "signed with a certificate; this policy names keys only"
		return "", ""
	}
	r := s.root.Identify(b, Options{})
	if err := r.Err(); err != nil {
		if r.Failed() == CheckSignature {
			return policies.SignatureInvalid, err.Error()
		}
		e.SignatureNote = r.Failed() + " not verified: " + err.Error()
		return "", ""
	}
	who := policies.Identity{Issuer: r.Issuer, Subject: r.Signer}
	name, ok := s.identities[who]
	if !ok {
		e.SignatureNote = fmt.Sprintf("an identity that the policy does not name: %q of %s", who.Subject, who.Issuer)
		return "", ""
	}
	e.SignedBy = append(e.SignedBy, name)
	e.Time, e.TimeSource = r.Time, r.TimeSource
	return "", ""
}
