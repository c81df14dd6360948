package verify

import (
	"fmt"
	"slices"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify/trust"
)

// signers are a policy's signers as trust knows them.
type signers struct {
	keys       []signerKey
	identities map[trust.Identity]string // the signer's name
	root       *trust.Root               // nil when nobody is keyless
}

type signerKey struct {
	signer string
	key    *trust.Key
}

// newSigners reads the policy's keys and its trust root, for which root stands in when it names none.
func newSigners(policy *policies.Policy, root *trust.Root) (*signers, error) {
	s := &signers{identities: map[trust.Identity]string{}}
	for _, def := range policy.Signers() {
		for _, text := range def.Keys {
			key, err := trust.ParseKey(text)
			if err != nil {
				return nil, fmt.Errorf("verify: signer %s: %w: %w", def.Name, policies.ErrPolicy, err)
			}
			s.keys = append(s.keys, signerKey{def.Name, key})
		}
		if who := def.Keyless; who != nil {
			s.identities[trust.Identity{Issuer: who.Issuer, Subject: who.Subject}] = def.Name
		}
	}
	if text := policy.TrustRoot(); text != nil {
		own, err := trust.ParseRoot(text)
		if err != nil {
			return nil, fmt.Errorf("verify: trust.root: %w: %w", policies.ErrPolicy, err)
		}
		root = own
	}
	if len(s.identities) == 0 {
		return s, nil
	}
	if root == nil {
		return nil, fmt.Errorf("verify: the policy has keyless signers: %w", trust.ErrNoRoot)
	}
	s.root = root
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
		err := k.key.Verify(b)
		if err == nil {
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
	r := s.root.Identify(b, trust.Options{})
	if err := r.Err(); err != nil {
		if r.Failed() == trust.CheckSignature {
			return policies.SignatureInvalid, err.Error()
		}
		e.SignatureNote = r.Failed() + " not verified: " + err.Error()
		return "", ""
	}
	who := trust.Identity{Issuer: r.Issuer, Subject: r.Signer}
	name, ok := s.identities[who]
	if !ok {
		e.SignatureNote = fmt.Sprintf("an identity that the policy does not name: %q of %s", who.Subject, who.Issuer)
		return "", ""
	}
	e.SignedBy = append(e.SignedBy, name)
	e.Time, e.TimeSource = r.Time, r.TimeSource
	return "", ""
}
