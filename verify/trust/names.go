package trust

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/verify"
)

// certificateName is the certificate's subject, or what names it when that is empty: never nothing.
func certificateName(c *x509.Certificate) string {
	if subject := distinguishedName(c.RawSubject); subject != "" {
		return subject
	}
	if all := alternativeNames(c); len(all) > 0 {
		return all[0].text
	}
	return "sha256:" + hexDigest(c.Raw)
}

// nameOwner says which key signed, and what the certificate calls its owner beside the names that are known.
func nameOwner(r *verify.Result, c *x509.Certificate, known ...string) {
	r.AllNames = known
	for _, name := range alternativeNames(c) {
		r.AllNames = append(r.AllNames, name.text)
	}
	// As x509 itself writes it: two encodings of one key are one.
	if der, err := x509.MarshalPKIXPublicKey(c.PublicKey); err == nil {
		r.Key = hexDigest(der)
	}
}

// certificateNames are what a policy compares.
func certificateNames(c *x509.Certificate) verify.CertificateNames {
	names := verify.CertificateNames{Subject: distinguishedName(c.RawSubject)}
	// A name that poses as one of another kind is nobody's: an authority may check its DNS names in other ways than its URIs.
	if all := alternativeNames(c); len(all) == 1 && all[0].tag == tagOf(all[0].text) {
		names.SAN = all[0].text
	}
	return names
}

// distinguishedName writes a name as RFC 4514 does. pkix.Name would not do: of several common names it knows the last alone, and
// it forgets the order.
func distinguishedName(der []byte) string {
	var name pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &name); err != nil || len(rest) > 0 {
		return ""
	}
	return name.String()
}

// Tags of a GeneralName (RFC 5280 section 4.2.1.6).
const (
	tagEmail = 1
	tagDNS   = 2
	tagURI   = 6
)

// alternativeName is a URI, an email address or a DNS name as it stands in the certificate: Go writes its URIs anew.
type alternativeName struct {
	tag  int
	text string
}

func alternativeNames(c *x509.Certificate) []alternativeName {
	var out []alternativeName
	for _, extension := range c.Extensions {
		if !extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		names, ok := generalNames(extension.Value)
		if !ok {
			return nil
		}
		out = append(out, names...)
	}
	return out
}

// generalNames reads the names of a list that holds nothing else: a name of another class than a GeneralName's is none, and it
// makes the whole list one that is not understood.
func generalNames(der []byte) (out []alternativeName, ok bool) {
	var names asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 || names.Class != asn1.ClassUniversal || names.Tag != asn1.TagSequence || !names.IsCompound {
		return nil, false
	}
	for rest := names.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil || name.Class != asn1.ClassContextSpecific {
			return nil, false
		}
		if name.Tag == tagURI || name.Tag == tagEmail || name.Tag == tagDNS {
			if name.IsCompound {
				return nil, false
			}
			out = append(out, alternativeName{name.Tag, string(name.Bytes)})
		}
	}
	return out, true
}

var scheme = lazyregexp.New(`^[A-Za-z][A-Za-z0-9+.-]*:`)

// tagOf is the kind of name that a text is.
func tagOf(text string) int {
	switch {
	case scheme.MatchString(text):
		return tagURI
	case strings.Contains(text, "@"):
		return tagEmail
	}
	return tagDNS
}
