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
