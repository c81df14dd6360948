package trust

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/mlseal/mlseal/verify"
)

// TestCertificateNames reads subject alternative names as they stand in a certificate, also where Go's parser would write them anew or
// refuse them.
func TestCertificateNames(t *testing.T) {
	type general struct {
		tag  int
		text string
	}
	for name, tc := range map[string]struct {
		names []general
		want  string
	}{
		"none":                     {nil, ""},
		"email":                    {[]general{{1, "a@b.example"}}, "a@b.example"},
		"DNS name":                 {[]general{{2, "ci.acme.example"}}, "ci.acme.example"},
		"URI":                      {[]general{{6, "spiffe://acme/trainer"}}, "spiffe://acme/trainer"},
		"URI as it stands":         {[]general{{6, "HTTPS://acme.example/a b"}}, "HTTPS://acme.example/a b"},
		"two":                      {[]general{{2, "a.example"}, {2, "b.example"}}, ""},
		"two kinds":                {[]general{{6, "spiffe://acme/trainer"}, {2, "a.example"}}, ""},
		"one that counts":          {[]general{{0, "other"}, {7, "\x7f\x00\x00\x01"}, {2, "a.example"}}, "a.example"},
		"DNS name that is a URI":   {[]general{{2, "spiffe://acme/trainer"}}, ""},
		"DNS name that is email":   {[]general{{2, "a@b.example"}}, ""},
		"email that is a DNS name": {[]general{{1, "a.example"}}, ""},
		"URI that is an email":     {[]general{{6, "a@b.example"}}, ""},
		"email that is a URI":      {[]general{{1, "mailto:a@b.example"}}, ""},
	} {
		var raw []asn1.RawValue
		for _, n := range tc.names {
			raw = append(raw, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n.tag, Bytes: []byte(n.text)})
		}
		value, err := asn1.Marshal(raw)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{RawSubject: []byte{0x30, 0}, Raw: []byte("x"), Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}}
		if got := certificateNames(c); got != (verify.CertificateNames{SAN: tc.want}) {
			t.Errorf("%s: %+v, want %q", name, got, tc.want)
		}
		if certificateName(c) == "" {
			t.Errorf("%s: it is called nothing", name)
		}
	}
	garbage := &x509.Certificate{RawSubject: []byte("x"), Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 3, 1, 9, 9}}}}
	if got := certificateNames(garbage); got != (verify.CertificateNames{}) {
		t.Errorf("garbage is called %+v", got)
	}
}

// TestClassOfAlternativeNames: a tag is one of a GeneralName in its class alone, and what else stands in the list spoils it.
func TestClassOfAlternativeNames(t *testing.T) {
	email := func(class int, compound bool) asn1.RawValue {
		return asn1.RawValue{Class: class, Tag: tagEmail, IsCompound: compound, Bytes: []byte("a@b.example")}
	}
	good := email(asn1.ClassContextSpecific, false)
	for name, tc := range map[string]struct {
		names    []asn1.RawValue
		trailing []byte
		set      bool
		want     string
	}{
		"a GeneralName":                 {[]asn1.RawValue{good}, nil, false, "a@b.example"},
		"universal":                     {[]asn1.RawValue{email(asn1.ClassUniversal, false)}, nil, false, ""},
		"application":                   {[]asn1.RawValue{email(asn1.ClassApplication, false)}, nil, false, ""},
		"private":                       {[]asn1.RawValue{email(asn1.ClassPrivate, false)}, nil, false, ""},
		"constructed":                   {[]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: tagEmail, IsCompound: true, Bytes: []byte{4, 1, 'a'}}}, nil, false, ""},
		"a good one beside another":     {[]asn1.RawValue{good, email(asn1.ClassPrivate, false)}, nil, false, ""},
		"a good one beside another tag": {[]asn1.RawValue{good, {Class: asn1.ClassUniversal, Tag: asn1.TagInteger, Bytes: []byte{1}}}, nil, false, ""},
		"something behind the list":     {[]asn1.RawValue{good}, []byte{5, 0}, false, ""},
		"a set":                         {[]asn1.RawValue{good}, nil, true, ""},
	} {
		value, err := asn1.Marshal(tc.names)
		if err != nil {
			t.Fatal(err)
		}
		if tc.set {
			value[0] = 0x31
		}
		c := &x509.Certificate{RawSubject: []byte{0x30, 0}, Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: append(value, tc.trailing...)}}}
		if got := certificateNames(c).SAN; got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
