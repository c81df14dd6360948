package verify

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
)

// signers are a policy's signers as Trust made them.
type signers struct {
	keys       []signerKey
	identities []policies.Signer // those that are keyless
	root       Identifier        // nil when nobody is keyless
	witness    Witness           // nil unless the policy asks for log entries or timestamps
	owners     []signerCertificate
	now        time.Time
}

type signerKey struct {
	signer string
	key    KeyAnchor
}

// signerCertificate is who has certificates of one authority.
type signerCertificate struct {
	authority Anchor
	text      string // the authority's certificates
	names     []policies.Signer
}

// newSigners reads the policy's keys and authorities and its trust root, for which that of trust stands in when it names none.
func newSigners(policy *policies.Policy, trust Trust, now time.Time) (*signers, error) {
	if trust == nil {
		return nil, errors.New("verify: the verifier has no Trust to read the policy's signers with")
	}
	s := &signers{now: now}
	for _, def := range policy.Signers() {
		for _, text := range def.Keys {
			key, err := trust.Key(text)
			if err != nil {
				return nil, fmt.Errorf("verify: signer %s: %w: %w", def.Name, policies.ErrPolicy, err)
			}
			s.keys = append(s.keys, signerKey{def.Name, key})
		}
		if def.Keyless != nil {
			s.identities = append(s.identities, def)
		}
	}
	if err := s.readRoot(policy, trust); err != nil {
		return nil, err
	}
	return s, s.readAuthorities(policy, trust)
}

func (s *signers) readRoot(policy *policies.Policy, trust Trust) error {
	text := policy.TrustRoot()
	if text == nil && len(s.identities) == 0 && !policy.NeedsWitnesses() {
		return nil
	}
	root, err := trust.Root(text)
	switch {
	case err != nil && text != nil:
		return fmt.Errorf("verify: trust.root: %w: %w", policies.ErrPolicy, err)
	case err != nil:
		return fmt.Errorf("verify: the policy has keyless signers, or asks for log entries or timestamps: %w", err)
	}
	if len(s.identities) > 0 {
		s.root = root
	}
	if policy.NeedsWitnesses() {
		s.witness = root
	}
	return nil
}

// readAuthorities reads each authority once, however many signers have its certificates.
func (s *signers) readAuthorities(policy *policies.Policy, trust Trust) error {
	for _, def := range policy.Signers() {
		if def.Certificate == nil {
			continue
		}
		text := string(def.Certificate.Authority)
		i := slices.IndexFunc(s.owners, func(o signerCertificate) bool { return o.text == text })
		if i < 0 {
			authority, err := trust.Authority(def.Certificate.Authority, policy.TrustRoot())
			if err != nil {
				return fmt.Errorf("verify: signer %s: %w: %w", def.Name, policies.ErrPolicy, err)
			}
			i = len(s.owners)
			s.owners = append(s.owners, signerCertificate{authority: authority, text: text})
		}
		s.owners[i].names = append(s.owners[i].names, def)
	}
	return nil
}

// check fills SignedBy with every signer who signed the bundle, and the verified time where there is one. The code
// is for a bundle that is broken or forged whoever is trusted.
func (s *signers) check(b *attest.Bundle, e *policies.Evidence) (policies.Code, string) {
	e.LogEntries = len(b.Material.TlogEntries)
	if b.Material.PublicKey != nil {
		return s.checkKey(b, e)
	}
	return s.checkCertificate(b, e)
}

// checkKey tries every key, first the one that the bundle names; one signature is by one key. A bundle that names a policy's key and does
// not verify with it is broken or forged, which is worth its own code.
func (s *signers) checkKey(b *attest.Bundle, e *policies.Evidence) (policies.Code, string) {
	hinted := ""
	var others []signerKey
	for _, k := range s.keys {
		if !k.key.Hinted(b) {
			others = append(others, k)
		} else if !s.signedWith(k, b, e) {
			hinted = k.signer
		}
	}
	for _, k := range others {
		if len(e.SignedBy) > 0 && len(b.Envelope.Signatures) == 1 {
			break
		}
		s.signedWith(k, b, e)
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

// signedWith notes the signer if the signature is by the key.
func (s *signers) signedWith(k signerKey, b *attest.Bundle, e *policies.Evidence) bool {
	r := k.key.Check(b, Options{})
	if r.Err() != nil {
		return false
	}
	s.vouched(b, k.key, r)
	signed(e, k.signer, r)
	return true
}

// refusal is why a certificate's bundle is by none of the signers that it was tried against.
type refusal struct {
	standing int
	note     string // empty when it is by one of them
}

// Standings of a refusal; the highest says most.
const (
	untrusted = iota // its certificate is not trusted, or something beside it
	unnamed          // it verifies, and its owner is not named
	forged           // its certificate is trusted, and the signature is not its
)

// checkCertificate tries the trust root and every authority. What one of them says against the bundle counts only when none
// finds a signer.
func (s *signers) checkCertificate(b *attest.Bundle, e *policies.Evidence) (policies.Code, string) {
	var refusals []refusal
	if s.root != nil {
		refusals = append(refusals, s.checkIdentity(b, e))
	}
	for _, o := range s.owners {
		refusals = append(refusals, s.checkOwner(o, b, e))
	}
	slices.SortStableFunc(refusals, func(a, b refusal) int { return b.standing - a.standing })
	switch {
	case len(e.SignedBy) > 0:
	case len(refusals) == 0:
		e.SignatureNote = "signed with a certificate; this policy names keys only"
	case refusals[0].standing == forged:
		return policies.SignatureInvalid, refusals[0].note
	default:
		var notes []string
		for _, r := range refusals {
			notes = append(notes, r.note)
		}
		e.SignatureNote = strings.Join(notes, "; ")
	}
	return "", ""
}

// vouched looks for log entries and timestamps beside a signature that holds without them, when the policy asks for them.
func (s *signers) vouched(b *attest.Bundle, signer Anchor, r *Result) {
	if s.witness == nil {
		return
	}
	w := s.witness.Witness(b, signer)
	r.Logs, r.Timestamps = w.Logs, w.Timestamps
	if r.TimeSource == "" {
		r.Time, r.TimeSource = w.Time, w.TimeSource
	}
}

// checkIdentity verifies a certificate's bundle under the trust root and looks for its identity, compared whole,
// among the policy's.
func (s *signers) checkIdentity(b *attest.Bundle, e *policies.Evidence) refusal {
	r := s.root.Identify(b, Options{})
	if err := r.Err(); err != nil {
		if r.Failed() == CheckSignature {
			return refusal{forged, err.Error()}
		}
		return refusal{untrusted, r.Failed() + " not verified: " + err.Error()}
	}
	out := refusal{unnamed, fmt.Sprintf("an identity that the policy does not name: %q of %s", r.Signer, r.Issuer)}
	for _, def := range s.identities {
		if def.Keyless.Is(r.Issuer, r.Signer) {
			signed(e, def.Name, r)
			out = refusal{}
		}
	}
	return out
}

// checkOwner verifies a certificate's bundle under the authority and looks for the certificate's names, compared whole, among the
// policy's. A signature that does not verify is forged only when the certificate is the authority's: anybody can put
// a strange certificate beside any signature.
func (s *signers) checkOwner(o signerCertificate, b *attest.Bundle, e *policies.Evidence) refusal {
	r := o.authority.Check(b, Options{Now: s.now})
	if err := r.Err(); err != nil {
		note := "authority of " + o.names[0].Name + ": " + errors.Unwrap(err).Error()
		if r.Failed() == CheckSignature && r.Status(CheckCertificate) == Passed {
			return refusal{forged, note}
		}
		return refusal{untrusted, note}
	}
	s.vouched(b, o.authority, r)
	out := refusal{unnamed, fmt.Sprintf("the policy names neither the subject %q nor the san %q", r.Names.Subject, r.Names.SAN)}
	for _, def := range o.names {
		if def.Certificate.Is(r.Names.Subject, r.Names.SAN) {
			signed(e, def.Name, r)
			out = refusal{}
		}
	}
	return out
}

// keyless reports whether a keyless signer made it.
func (s *signers) keyless(e *policies.Evidence) bool {
	return slices.ContainsFunc(s.identities, func(def policies.Signer) bool { return slices.Contains(e.SignedBy, def.Name) })
}

// signed notes who signed and with what, and when if somebody trusted says so.
func signed(e *policies.Evidence, name string, r *Result) {
	e.SignedBy = addNew(e.SignedBy, name)
	with := &e.VerifiedWith
	with.Keys = addNew(with.Keys, r.Key)
	with.Names = addNew(with.Names, r.AllNames...)
	if r.Names.Subject != "" {
		with.Subject = r.Names.Subject
	}
	e.Logs, e.Timestamps = max(e.Logs, r.Logs), max(e.Timestamps, r.Timestamps)
	if e.TimeSource == "" {
		e.Time, e.TimeSource = r.Time, r.TimeSource
	}
}

// addNew appends those that are not empty and not in the list already.
func addNew(list []string, more ...string) []string {
	for _, s := range more {
		if s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
