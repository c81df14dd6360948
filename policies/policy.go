package policies

import (
	"maps"
	"slices"
	"time"
)

// APIVersion is the only version of the language.
const APIVersion = "mlseal.dev/policy/v1"

// Predicate types that the language itself knows; all others come from the policy document.
const (
	provenanceType      = "https://slsa.dev/provenance/v1"
	evaluationType      = "https://mlseal.dev/attestation/evaluation/v0.1"
	revocationType      = "https://mlseal.dev/attestation/revocation/v0.1"
	waiverType          = "https://mlseal.dev/attestation/waiver/v0.1"
	evidenceSetType     = "https://mlseal.dev/attestation/evidence-set/v0.1"
	verdictType         = "https://slsa.dev/verification_summary/v1"
	cosignSignatureType = "https://sigstore.dev/cosign/sign/v1"
	modelSignatureType  = "https://model_signing/signature/v1.0"
)

// Policy is a policy document that was loaded without error. It does not change and may be used
// by several goroutines at once. The zero Policy allows nothing.
type Policy struct {
	ref        PolicyRef
	owner      string
	previous   string
	expires    time.Time
	signers    map[string]signer
	statements []string // the accepted _type of statements
	algorithms []string // accepted ones, in a fixed order; dirHash is always among them
	denied     digestList
	params     map[string]param
	overrides  []Override
	require    []rule
	edges      []edge
	order      []string // ids of requirements in the order of their times
	waivers    []waiver
	outside    *outsideWaivers // nil: a waiver that is not in the policy does not count
	verdicts   []verdictSource // whose verdicts stand for evidence that is missing
	applies    applies
	rego       []*regoModule
	maxDepth   int      // of the lineage
	maxNodes   int      // of the lineage, without the artifact
	revokers   []string // who may revoke; nil: every signer
	revocable  bool     // the policy says who may revoke
	trustRoot  []byte
	witnesses  witnesses
}

// Signer is a name of the policy with what speaks for it: public keys, one keyless identity, or one name in the certificates of
// an authority.
type Signer struct {
	Name        string
	Keys        [][]byte     // PEM, one PUBLIC KEY block each
	Keyless     *Identity    // nil unless the signer is a keyless identity
	Certificate *Certificate // nil unless the signer has a certificate of an authority
}

// Identity is who a certificate of a Sigstore instance was issued to. All is compared whole. Exactly one of Subject and Pattern is set.
type Identity struct {
	Issuer  string // the OIDC issuer
	Subject string // the certificate's subject alternative name
	Pattern string // a regular expression (RE2) for the whole of the certificate's subject alternative name
}

// Is reports whether the policy means the owner of a certificate.
func (i Identity) Is(issuer, subject string) bool {
	if i.Issuer == "" || issuer != i.Issuer || subject == "" {
		return false
	}
	if i.Pattern == "" {
		return subject == i.Subject
	}
	whole, err := wholly(i.Pattern)
	return err == nil && whole.MatchString(subject)
}

// Certificate is who has a certificate of an authority of one's own. Exactly one of Subject, SAN and AnySubject is set.
type Certificate struct {
	Authority  []byte // PEM certificates: at least one self-signed root, and intermediates if any
	Subject    string // the whole distinguished name in the form of RFC 4514
	SAN        string // the only URI, email address or DNS name among the subject alternative names
	AnySubject bool   // whoever has a certificate of the authority
}

// Is reports whether the policy means a certificate with this subject and this subject alternative name. Both are compared whole.
func (c *Certificate) Is(subject, san string) bool {
	switch {
	case c.Subject != "":
		return c.Subject == subject
	case c.SAN != "":
		return c.SAN == san
	}
	return c.AnySubject
}

// signer is an identity with keys, a keyless identity, one with a certificate, or a group of identities.
type signer struct {
	keys        [][]byte
	keyless     *Identity
	certificate *Certificate
	members     []string // of a group
	atLeast     int      // of a group; 0 when it is not one
	line        int
}

func (s signer) isGroup() bool { return s.atLeast > 0 }

// matchMode says which of several statements must hold.
type matchMode string

const (
	matchAll    matchMode = "all"
	matchAny    matchMode = "any"
	matchOne    matchMode = "one"
	matchLatest matchMode = "latest"
)

// rule is what one requirement, or one demand on a dependency, asks of statements.
type rule struct {
	id       string
	name     string // by which tools call it
	line     int
	label    string   // the predicate type as a person knows it
	types    []string // any of these
	by       []string // signers and groups, any of which suffices
	signers  []string // by, with groups taken apart
	match    matchMode
	matchSet bool // match was written, so that several statements are meant to be possible
	where    []condition
	maxAge   time.Duration // 0: no limit
	message  template
	fix      string
	severity Severity
	notBy    []string // ids of requirements whose signers must be other people
	required bool     // of the artifact itself, not of a dependency
}

// edge follows the dependencies of one role out of verified provenance, or the dataset out of an evaluation.
type edge struct {
	id       string // the role, unless two edges have one
	line     int
	from     []string // ids of rules whose statements are followed
	role     string
	min, max int // max 0: no limit
	accept   []alternative
	each     []rule
	deny     digestList
	denyFrom string // the parameter that deny comes from; empty when it is written out
	disjoint string // id of the edge with which this one has nothing in common
}

// follows reports whether the edge starts at statements of the rule with this id.
func (g *edge) follows(id string) bool { return id != "" && slices.Contains(g.from, id) }

// rules are those that a dependency is asked.
func (g *edge) rules() []*rule {
	var out []*rule
	for _, a := range g.accept {
		if a.rule != nil {
			out = append(out, a.rule)
		}
	}
	for i := range g.each {
		out = append(out, &g.each[i])
	}
	return out
}

// alternative is one way for a dependency to be acceptable: a pinned digest, or a rule.
type alternative struct {
	pinned digestList
	rule   *rule
}

// Ref names the policy, for decisions and for people.
func (p *Policy) Ref() PolicyRef { return p.ref }

// Owner is the document's owner, or empty.
func (p *Policy) Owner() string { return p.owner }

// Previous is the digest of the policy that this one follows, "sha256:<hex>", or empty.
func (p *Policy) Previous() string { return p.previous }

// Signers are the policy's identities sorted by name. Groups are not among them: they are
// made of identities. A verifier checks each signature against these keys and identities and puts the
// names into Evidence.SignedBy.
func (p *Policy) Signers() []Signer {
	var out []Signer
	for _, name := range slices.Sorted(maps.Keys(p.signers)) {
		s := p.signers[name]
		if s.isGroup() {
			continue
		}
		keys := make([][]byte, len(s.keys))
		for i, k := range s.keys {
			keys[i] = slices.Clone(k)
		}
		out = append(out, Signer{Name: name, Keys: keys})
		if s.keyless != nil {
			who := *s.keyless
			out[len(out)-1].Keyless = &who
		}
		if s.certificate != nil {
			who := *s.certificate
			who.Authority = slices.Clone(who.Authority)
			out[len(out)-1].Certificate = &who
		}
	}
	return out
}

// NeedsTrustRoot reports whether the policy has keyless signers, or demands log entries or timestamps.
func (p *Policy) NeedsTrustRoot() bool {
	return p.NeedsWitnesses() || p.hasSigner(func(s signer) bool { return s.keyless != nil })
}

// TakesTimestamps reports whether the policy has signers with certificates: a timestamp that the trusted root vouches for says
// when their certificate must have been valid.
func (p *Policy) TakesTimestamps() bool {
	return p.hasSigner(func(s signer) bool { return s.certificate != nil })
}

func (p *Policy) hasSigner(is func(signer) bool) bool {
	for _, s := range p.signers {
		if is(s) {
			return true
		}
	}
	return false
}

// TrustRoot is the content of the file that trust.root names: a Sigstore trusted root for the keyless
// signers, and for the timestamps of those with certificates. It is nil when the policy names none, and the verifier's own
// root serves.
func (p *Policy) TrustRoot() []byte { return slices.Clone(p.trustRoot) }

// StatementTypes are the values of _type that the policy accepts in a statement.
func (p *Policy) StatementTypes() []string { return slices.Clone(p.statements) }
