package policies

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"

	"github.com/mlseal/mlseal/internal/certificates"
	"github.com/mlseal/mlseal/internal/lazyregexp"
	"go.yaml.in/yaml/v3"
)

// certified is what the loader keeps of a signer with a certificate, to compare it with the others.
type certified struct {
	Certificate
	signer string
	keys   [][]byte // of the authority's certificates
}

// certificate reads a certificate signer. An authority alone would trust everybody whom it ever gave a certificate to, so that
// it has to be said.
func (l *loader) certificate(n *yaml.Node, name, what string) *Certificate {
	f := l.mapping(n, what, "authority", "subject", "san", "anySubject")
	file := l.str(l.need(f, "authority"), what+".authority")
	if l.err != nil {
		return nil
	}
	if len(f.at) != 2 {
		l.failf(n, "%s needs exactly one of subject, san and `anySubject: true` beside its authority", what)
		return nil
	}
	c := certified{Certificate: Certificate{
		Subject: l.distinguishedName(f.at["subject"], what+".subject"), SAN: l.exactText(f.at["san"], what+".san"), AnySubject: l.yes(f.at["anySubject"], what+".anySubject"),
	}, signer: name}
	if l.err == nil {
		c.Authority, c.keys = l.authority(f.at["authority"], file)
	}
	if l.err != nil {
		return nil
	}
	// One certificate under two names would let one person count twice.
	for _, other := range l.certified {
		if c.equals(other) {
			l.failf(n, "%s is the certificate of signer %s already; one identity is one signer", what, other.signer)
			return nil
		}
	}
	l.certified = append(l.certified, c)
	return &c.Certificate
}

// equals reports whether both are the same name under authorities that have a certificate's key in common.
func (c certified) equals(other certified) bool {
	return c.Subject == other.Subject && c.SAN == other.SAN && c.AnySubject == other.AnySubject && c.related(other)
}

// mayBe reports whether one certificate could be both: it has one subject and, to be compared, one subject alternative name.
func (c certified) mayBe(other certified) bool {
	return c.related(other) && (c.AnySubject || other.AnySubject || (c.Subject == "") != (other.Subject == ""))
}

func (c certified) related(other certified) bool {
	return slices.ContainsFunc(c.keys, func(key []byte) bool {
		return slices.ContainsFunc(other.keys, func(k []byte) bool { return bytes.Equal(k, key) })
	})
}

// authority reads the certificates of an authority: as PEM in one order, each once, and their keys.
func (l *loader) authority(n *yaml.Node, file string) (text []byte, keys [][]byte) {
	data := l.file(n, "certificate authority", file, MaxKeyBytes)
	if l.err != nil {
		return nil, nil
	}
	a, err := certificates.ParseAuthority(data)
	if err != nil {
		l.failf(n, "certificate authority %q: %v", file, err)
		return nil, nil
	}
	all := slices.Concat(a.Roots, a.Intermediates)
	slices.SortFunc(all, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
	for _, cert := range slices.CompactFunc(all, (*x509.Certificate).Equal) {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
		keys = append(keys, cert.RawSubjectPublicKeyInfo)
	}
	return text, keys
}

var (
	nameText = lazyregexp.New(`^[A-Za-z0-9.]+=`)
	// In RFC 4514's form a space never follows a comma that is not part of a value.
	spacedComma = lazyregexp.New(`(^|[^\\])(\\\\)*, `)
)

// distinguishedName reads a subject that is compared whole. What RFC 4514 would write otherwise would never match.
func (l *loader) distinguishedName(n *yaml.Node, what string) string {
	s := l.exactText(n, what)
	switch {
	case s == "" || l.err != nil:
	case !nameText.MatchString(s):
		l.failf(n, "%s is %q; write the distinguished name, such as CN=trainer,O=Acme; a URI, an email address or a DNS name goes into san", what, s)
	case spacedComma.MatchString(s):
		l.failf(n, "%s is %q; it is compared whole with the form of RFC 4514, which has no spaces after its commas", what, s)
	default:
		l.attributeSpelling(n, what, s)
	}
	return s
}

// attributeSpelling refuses attributes that a certificate's subject is never written with.
func (l *loader) attributeSpelling(n *yaml.Node, what, subject string) {
	kind, spelling, found := misspelt(subject)
	switch {
	case !found:
	case spelling != "":
		l.failf(n, "%s is %q; it is compared whole, and the attribute %s is written %s", what, subject, kind, spelling)
	case kind == "":
		l.failf(n, "%s is %q; a part of it has no attribute, and a comma or a plus that belongs to a value is written with a backslash before it", what, subject)
	default:
		l.failf(n, "%s is %q; the attribute %s is written as its number, such as 1.2.840.113549.1.9.1=#1603…; those with names are CN, O, OU, C, L, ST, STREET, POSTALCODE and SERIALNUMBER", what, subject, kind)
	}
}

// overlap fails when one certificate could be two members of a group, or when two of them have one name.
func (l *loader) overlap(n *yaml.Node, what string, members []string) {
	for i, name := range members {
		for _, other := range members[:i] {
			if text := sharedName(l.policy.signers[name], l.policy.signers[other]); text != "" {
				l.failf(n, "%s.group.of names %s and %s, and both are called %q; one name must not count twice", what, other, name, text)
			} else if mayBeOneAccount(l.policy.signers[name], l.policy.signers[other]) {
				l.failf(n, "%s.group.of names %s and %s, and one account of their issuer could be both; one identity must not count twice", what, other, name)
			} else if l.mayBeOne(name, other) {
				l.failf(n, "%s.group.of names %s and %s, and one certificate of their authority could be both; one identity must not count twice", what, other, name)
			}
		}
	}
}

// sharedName is the name that two signers have in common, whoever vouches for it.
func sharedName(a, b signer) string {
	for _, t := range a.traits() {
		if slices.Contains(b.traits(), t) {
			return t.text
		}
	}
	return ""
}

// mayBeOne reports whether one certificate could be both signers.
func (l *loader) mayBeOne(name, other string) bool {
	return slices.ContainsFunc(l.certified, func(a certified) bool {
		return a.signer == name && slices.ContainsFunc(l.certified, func(b certified) bool { return b.signer == other && a.mayBe(b) })
	})
}
