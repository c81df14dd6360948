package policies_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

// issue makes the certificate of a key by that of an issuer; both names always have the same key.
func issue(name, issuer string, serial int64, authority bool) []byte {
	key := func(name string) ed25519.PrivateKey {
		seed := make([]byte, ed25519.SeedSize)
		copy(seed, name)
		return ed25519.NewKeyFromSeed(seed)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: authority, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, key(name).Public(), key(issuer))
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// certificateOptions read the files of authorities.
func certificateOptions() LoadOptions {
	root, middle := issue("root", "root", 1, true), issue("middle", "root", 2, true)
	files := map[string][]byte{
		"ca.pem": root, "other.pem": issue("other", "other", 1, true), "empty.pem": nil, "middle.pem": middle, "ci.pub": publicKey("ci"), "eve.pub": publicKey("eve"),
		"full.pem":    bytes.Join([][]byte{[]byte("a note\n"), middle, root, root}, nil),
		"sorted.pem":  bytes.Join([][]byte{root, middle}, nil),
		"renewed.pem": issue("root", "root", 9, true),
		"crossed.pem": bytes.Join([][]byte{issue("other", "root", 3, true), root}, nil),
		"leaf.pem":    bytes.Join([][]byte{root, issue("leaf", "root", 4, false)}, nil),
		"key.pem":     bytes.Join([][]byte{root, publicKey("ci")}, nil),
		"torn.pem":    append(bytes.Clone(root), middle[:len(middle)/2]...),
		"garbage.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"huge.pem":    append(bytes.Clone(root), make([]byte, MaxKeyBytes)...),
	}
	opts := options()
	opts.ReadFile = func(name string) ([]byte, error) {
		data, ok := files[name]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return data, nil
	}
	return opts
}

func certificateDocument(signers string) []byte {
	return []byte("apiVersion: mlseal.dev/policy/v1\nname: x\nsigners: " + signers + "\n")
}

func TestLoadCertificate(t *testing.T) {
	doc := certificateDocument(`
  any: {certificate: {authority: other.pem, anySubject: true}}
  full: {certificate: {authority: full.pem, subject: 'CN=trainer,O=Acme\, Inc.'}}
  same: {certificate: {authority: sorted.pem, san: https://acme.example/trainer}}
  ci: {key: ci.pub}
` + oneRule)
	p, err := Load(doc, certificateOptions())
	if err != nil {
		t.Fatal(err)
	}
	s := p.Signers()
	if len(s) != 4 || s[1].Certificate != nil || !s[0].Certificate.AnySubject || s[2].Certificate.Subject != `CN=trainer,O=Acme\, Inc.` || s[3].Certificate.SAN != "https://acme.example/trainer" {
		t.Fatalf("%+v", s)
	}
	if !p.TakesTimestamps() || p.NeedsTrustRoot() || load(t, oneRule).TakesTimestamps() {
		t.Error("only certificates take timestamps, and they need no trusted root")
	}
	if one, other := s[2].Certificate.Authority, s[3].Certificate.Authority; !bytes.Equal(one, other) || bytes.Count(one, []byte("BEGIN")) != 2 {
		t.Errorf("one authority in two orders is two:\n%s\n%s", one, other)
	}
	s[0].Certificate.AnySubject, s[0].Certificate.Authority[30] = false, '!' // a copy
	if again := p.Signers()[0].Certificate; !again.AnySubject || again.Authority[30] == '!' {
		t.Error("a caller changed the policy")
	}
}

// TestCertificateIs is case 18 of the adversarial list for certificates: names are compared whole, and each with its own kind.
func TestCertificateIs(t *testing.T) {
	subject, san, anybody := Certificate{Subject: "CN=trainer"}, Certificate{SAN: "a@b.example"}, Certificate{AnySubject: true}
	for _, tc := range []struct {
		c            Certificate
		subject, san string
		want         bool
	}{
		{subject, "CN=trainer", "", true}, {subject, "CN=trainer", "x", true}, {subject, "CN=trainer,O=Acme", "", false}, {subject, "O=Acme,CN=trainer", "", false},
		{subject, "CN=traine", "", false}, {subject, "cn=trainer", "", false}, {subject, "", "CN=trainer", false}, {subject, "", "", false},
		{san, "", "a@b.example", true}, {san, "CN=x", "a@b.example", true}, {san, "a@b.example", "", false}, {san, "", "a@b.example.evil", false}, {san, "", "", false},
		{anybody, "CN=x", "", true}, {anybody, "", "", true}, {Certificate{}, "CN=trainer", "a@b.example", false}, {Certificate{}, "", "", false},
	} {
		if got := tc.c.Is(tc.subject, tc.san); got != tc.want {
			t.Errorf("%+v.Is(%q, %q) = %t", tc.c, tc.subject, tc.san, got)
		}
	}
}

// Cases 15 to 17 of the adversarial list: a signer who is an authority only, and one certificate that is two signers.
func TestLoadCertificateErrors(t *testing.T) {
	two := func(a, b string) string {
		return "{a: {certificate: {" + a + "}}, b: {certificate: {" + b + "}}}"
	}
	group := func(a, b string) string {
		return strings.TrimSuffix(two(a, b), "}") + ", g: {group: {of: [a, b], atLeast: 2}}}"
	}
	const clash, overlap = "signers.b.certificate is the certificate of signer a already", "signers.g.group.of names a and b, and one certificate of their authority could be both"
	for name, c := range map[string]struct{ signers, message string }{
		"nothing":                       {"{ci: {certificate: {}}}", "3:29: signers.ci.certificate has no authority"},
		"authority alone":               {"{ci: {certificate: {authority: ca.pem}}}", "3:29: signers.ci.certificate needs exactly one of subject, san and `anySubject: true`"},
		"subject alone":                 {"{ci: {certificate: {subject: CN=a}}}", "signers.ci.certificate has no authority"},
		"subject and san":               {"{ci: {certificate: {authority: ca.pem, subject: CN=a, san: a}}}", "needs exactly one of subject, san"},
		"subject and anySubject":        {"{ci: {certificate: {authority: ca.pem, subject: CN=a, anySubject: true}}}", "needs exactly one of subject, san"},
		"anySubject false":              {"{ci: {certificate: {authority: ca.pem, anySubject: false}}}", "3:61: signers.ci.certificate.anySubject can only be true, not the boolean false"},
		"anySubject is text":            {"{ci: {certificate: {authority: ca.pem, anySubject: 'true'}}}", `can only be true, not the string "true"`},
		"anySubject in capitals":        {"{ci: {certificate: {authority: ca.pem, anySubject: TRUE}}}", "can only be true"},
		"anySubject of nothing":         {"{ci: {certificate: {authority: ca.pem, anySubject: }}}", "can only be true, not nothing"},
		"subject empty":                 {"{ci: {certificate: {authority: ca.pem, subject: ''}}}", "signers.ci.certificate.subject is empty"},
		"san empty":                     {"{ci: {certificate: {authority: ca.pem, san: ' '}}}", "signers.ci.certificate.san is empty"},
		"subject is a pattern":          {"{ci: {certificate: {authority: ca.pem, subject: 'CN=*'}}}", "it is compared whole"},
		"san is a pattern":              {"{ci: {certificate: {authority: ca.pem, san: '*.example'}}}", "it is compared whole"},
		"subject is a URI":              {"{ci: {certificate: {authority: ca.pem, subject: 'https://acme.example/'}}}", "goes into san"},
		"subject with spaces":           {"{ci: {certificate: {authority: ca.pem, subject: 'CN=a, O=b'}}}", "no spaces after its commas"},
		"subject with spaces, escaped":  {`{ci: {certificate: {authority: ca.pem, subject: 'CN=a\\, O=b'}}}`, "no spaces after its commas"},
		"authority empty":               {"{ci: {certificate: {authority: '', anySubject: true}}}", "signers.ci.certificate.authority is empty"},
		"authority is a list":           {"{ci: {certificate: {authority: [ca.pem], anySubject: true}}}", "must be a string, not a list"},
		"unknown key":                   {"{ci: {certificate: {authority: ca.pem, subjects: CN=a}}}", "did you mean subject?"},
		"certificate and key":           {"{ci: {key: ci.pub, certificate: {authority: ca.pem, anySubject: true}}}", "signers.ci needs exactly one of"},
		"certificate is a file":         {"{ci: {certificate: ca.pem}}", "signers.ci.certificate must be a mapping"},
		"no such file":                  {"{ci: {certificate: {authority: gone.pem, anySubject: true}}}", `3:41: certificate authority "gone.pem" cannot be read`},
		"empty file":                    {"{ci: {certificate: {authority: empty.pem, anySubject: true}}}", `certificate authority "empty.pem": it holds no self-signed root certificate`},
		"no root":                       {"{ci: {certificate: {authority: middle.pem, anySubject: true}}}", "it holds no self-signed root certificate"},
		"a leaf":                        {"{ci: {certificate: {authority: leaf.pem, anySubject: true}}}", `"CN=leaf" is not a certificate authority`},
		"a key":                         {"{ci: {certificate: {authority: key.pem, anySubject: true}}}", `it holds a "PUBLIC KEY"`},
		"half a certificate":            {"{ci: {certificate: {authority: torn.pem, anySubject: true}}}", "1 of its 2 PEM blocks can be read"},
		"garbage":                       {"{ci: {certificate: {authority: garbage.pem, anySubject: true}}}", `certificate authority "garbage.pem": x509`},
		"huge":                          {"{ci: {certificate: {authority: huge.pem, anySubject: true}}}", "at most 65536 are read"},
		"one subject twice":             {two("authority: ca.pem, subject: CN=a", "authority: ca.pem, subject: CN=a"), clash},
		"one san twice":                 {two("authority: ca.pem, san: a", "authority: ca.pem, san: a"), clash},
		"anySubject twice":              {two("authority: ca.pem, anySubject: true", "authority: ca.pem, anySubject: true"), clash},
		"in another file":               {two("authority: ca.pem, subject: CN=a", "authority: full.pem, subject: CN=a"), clash},
		"root renewed with its key":     {two("authority: ca.pem, subject: CN=a", "authority: renewed.pem, subject: CN=a"), clash},
		"root signed by the other":      {two("authority: other.pem, subject: CN=a", "authority: crossed.pem, subject: CN=a"), clash},
		"group of anybody and somebody": {group("authority: ca.pem, subject: CN=a", "authority: ca.pem, anySubject: true"), overlap},
		"group of a subject and a san":  {group("authority: ca.pem, subject: CN=a", "authority: renewed.pem, san: a"), overlap},
	} {
		t.Run(name, func(t *testing.T) {
			loadFailsWith(t, string(certificateDocument(c.signers))+oneRule, c.message, certificateOptions())
		})
	}
	for name, signers := range map[string]string{
		"group of two subjects":                       group("authority: ca.pem, subject: CN=a", "authority: ca.pem, subject: CN=b"),
		"group of two authorities":                    group("authority: ca.pem, anySubject: true", "authority: other.pem, anySubject: true"),
		"one subject of two authorities":              two("authority: ca.pem, subject: CN=a", "authority: other.pem, subject: CN=a"),
		"anybody and somebody, in no group":           two("authority: ca.pem, subject: CN=a", "authority: ca.pem, anySubject: true"),
		"a comma with a space that belongs to a name": two(`authority: ca.pem, subject: 'CN=a\, b'`, "authority: ca.pem, san: a"),
	} {
		rule := strings.ReplaceAll(oneRule, "ci", "a")
		if _, err := Load(append(certificateDocument(signers), rule...), certificateOptions()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOneCertificateIsOneMember is case 15 where the document does not show it: a keyless identity whose certificate is also one
// of an authority. Two keys on one statement are still two people.
func TestOneCertificateIsOneMember(t *testing.T) {
	p, err := Load(certificateDocument(`
  web: {keyless: {issuer: i, subject: a@b.example}}
  own: {certificate: {authority: ca.pem, san: a@b.example}}
  eve: {certificate: {authority: other.pem, anySubject: true}}
  ci: {key: ci.pub}
  key: {key: eve.pub}
  two: {group: {of: [web, own, eve, ci, key], atLeast: 2}}
require: [{id: r, attestation: evaluation, by: [two]}]`), certificateOptions())
	if err != nil {
		t.Fatal(err)
	}
	one := func(names ...string) Evidence { return statement("1", evaluation, `{}`, by(names...)) }
	again := func(names ...string) Evidence { return statement("2", evaluation, `{}`, by(names...)) }
	third := func(names ...string) Evidence { return statement("3", evaluation, `{}`, by(names...)) }
	d := want(t, p, "r", ThresholdNotMet, one("web", "own"))
	if detail := requirement(t, d, "r").Detail; detail != "1 of 2 signers of two (own, web; several have one certificate)" {
		t.Errorf("detail %q", detail)
	}
	want(t, p, "r", ThresholdNotMet, one("web", "own"), again("own", "web"), third("own"))
	want(t, p, "r", ThresholdNotMet, one("web", "own"), again("own", "eve"))
	want(t, p, "r", ThresholdNotMet, one("web"), again("eve"), third("own", "eve", "web"))
	want(t, p, "r", "", one("web", "own"), again("eve"))
	want(t, p, "r", "", one("web", "own"), again("ci"))
	want(t, p, "r", "", one("ci", "key"))
	want(t, p, "r", "", one("web"), again("own"))
}
