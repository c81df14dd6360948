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
		"ca.pem": root, "other.pem": issue("other", "other", 1, true), "other2.pem": issue("other2", "other2", 1, true), "guest.pem": issue("guest", "guest", 1, true), "empty.pem": nil, "middle.pem": middle, "ci.pub": publicKey("ci"), "eve.pub": publicKey("eve"), "ci2.pub": publicKey("ci2"), "visitor.pub": publicKey("visitor"),
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
		"subject in lower case":         {"{ci: {certificate: {authority: ca.pem, subject: 'cn=trainer,o=Acme'}}}", "the attribute cn is written CN"},
		"subject by its numbers":        {"{ci: {certificate: {authority: ca.pem, subject: 'CN=a+2.5.4.10=b'}}}", "the attribute 2.5.4.10 is written O"},
		"subject with an email address": {"{ci: {certificate: {authority: ca.pem, subject: 'CN=a,emailAddress=b'}}}", "the attribute emailAddress is written as its number"},
		"subject with a bare comma":     {"{ci: {certificate: {authority: ca.pem, subject: 'CN=Acme,Inc.'}}}", "a part of it has no attribute"},
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
		"group of one subject, twice":   {group("authority: ca.pem, subject: CN=a", "authority: other.pem, subject: CN=a"), `names a and b, and both are called "CN=a"`},
		"group of one san, twice":       {group("authority: ca.pem, san: a", "authority: other.pem, san: a"), `names a and b, and both are called "a"`},
		"group of a keyless and a san":  {"{a: {keyless: {issuer: i, subject: x}}, b: {certificate: {authority: ca.pem, san: x}}, g: {group: {of: [b, a], atLeast: 2}}}", `both are called "x"`},
		"group of two issuers":          {"{a: {keyless: {issuer: i, subject: x}}, b: {keyless: {issuer: j, subject: x}}, g: {group: {of: [a, b], atLeast: 2}}}", `both are called "x"`},
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
		"group of a subject and a san of that text":   group("authority: ca.pem, subject: CN=a", "authority: other.pem, san: CN=a"),
		"one name of a keyless and a san":             "{a: {keyless: {issuer: i, subject: x}}, b: {certificate: {authority: ca.pem, san: x}}}",
		"attributes with numbers":                     two(`authority: ca.pem, subject: 'CN=a\+b=c,1.2.840.113549.1.9.1=#1603612e62+OU=d'`, "authority: ca.pem, san: a"),
		"anybody and somebody, in no group":           two("authority: ca.pem, subject: CN=a", "authority: ca.pem, anySubject: true"),
		"a comma with a space that belongs to a name": two(`authority: ca.pem, subject: 'CN=a\, b'`, "authority: ca.pem, san: a"),
	} {
		rule := strings.ReplaceAll(oneRule, "ci", "a")
		if _, err := Load(append(certificateDocument(signers), rule...), certificateOptions()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// onePerson is a policy of two of a group of signers of each kind.
func onePerson(t *testing.T) *Policy {
	t.Helper()
	p, err := Load(certificateDocument(`
  web: {keyless: {issuer: i, subject: w@b.example}}
  own: {certificate: {authority: ca.pem, san: a@b.example}}
  tom: {certificate: {authority: ca.pem, san: t@b.example}}
  dn: {certificate: {authority: other.pem, subject: 'CN=a,O=Acme'}}
  any: {certificate: {authority: other2.pem, anySubject: true}}
  ci: {keys: [ci.pub, ci2.pub]}
  key: {key: eve.pub}
  guest: {certificate: {authority: guest.pem, anySubject: true}}
  visitor: {key: visitor.pub}
  guests: {group: {of: [guest, visitor], atLeast: 2}}
  two: {group: {of: [web, own, tom, dn, any, ci, key], atLeast: 2}}
require: [{id: r, attestation: evaluation, by: [two, guests]}]`), certificateOptions())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// by whom and with what; the names are of a certificate, and of a keyless identity.
func verified(signers, key, subject string, names ...string) change {
	return func(ev *Evidence) {
		ev.SignedBy = strings.Fields(signers)
		ev.VerifiedWith = VerifiedWith{Subject: subject, Names: names}
		if key != "" {
			ev.VerifiedWith.Keys = []string{key}
		}
	}
}

// TestOnePersonIsOneMember is case 15 where the document does not show it: whatever the split of the statements, one key and one name
// are one person. Two people are two.
func TestOnePersonIsOneMember(t *testing.T) {
	p := onePerson(t)
	const code = ThresholdNotMet
	for name, tc := range map[string]struct {
		want Code
		by   []change
	}{
		"one statement of two certificate signers": {code, []change{by("web", "own")}},
		"the same again":                               {code, []change{by("web", "own"), by("own", "web"), by("own")}},
		"joined by a name of the policy":               {code, []change{by("web", "own"), by("own", "any")}},
		"joined by another statement":                  {code, []change{by("web"), by("any"), by("own", "any", "web")}},
		"a key, and the same with a certificate":       {code, []change{verified("key", "1", ""), verified("own", "1", "", "a@b.example")}},
		"two keys of a signer, and one certificate":    {code, []change{verified("ci", "1", ""), verified("ci", "2", ""), verified("own", "2", "", "a@b.example")}},
		"one certificate under two authorities":        {code, []change{verified("dn", "1", "CN=a,O=Acme", "x@b.example"), verified("own", "1", "CN=a,O=Acme", "x@b.example")}},
		"one subject, renewed":                         {code, []change{verified("dn", "1", "CN=a,O=Acme"), verified("any", "2", "CN=a,O=Acme")}},
		"one alternative name, renewed":                {code, []change{verified("dn", "1", "CN=a,O=Acme", "z"), verified("any", "2", "CN=z", "y", "z")}},
		"the subject of another member":                {code, []change{verified("dn", "1", "CN=a,O=Acme"), verified("own", "2", "CN=a,O=Acme", "a@b.example")}},
		"the alternative name of another member":       {code, []change{verified("own", "1", "", "a@b.example"), verified("any", "2", "CN=x", "a@b.example")}},
		"the same, of a member who is not there":       {code, []change{verified("dn", "1", "CN=a,O=Acme", "w@b.example"), verified("any", "2", "", "w@b.example")}},
		"a keyless identity and a certificate":         {code, []change{verified("web", "1", "", "w@b.example"), verified("any", "2", "", "w@b.example")}},
		"three in a row":                               {code, []change{verified("web", "1", "", "n"), verified("own", "2", "", "n", "m"), verified("any", "3", "", "m")}},
		"one statement that verifies with two keys":    {code, []change{verified("ci key", "1", "")}},
		"an organization without other names":          {code, []change{verified("dn", "1", "O=Acme"), verified("any", "2", "O=Acme")}},
		"two keys of one signer":                       {code, []change{verified("ci", "1", ""), verified("ci", "2", "")}},
		"the name of a member of whom no more is said": {code, []change{by("own"), verified("any", "2", "", "a@b.example")}},
		"two people":                                   {"", []change{verified("own", "1", "CN=b", "a@b.example"), verified("dn", "2", "CN=a,O=Acme", "c@b.example")}},
		"two people, each with a key":                  {"", []change{verified("ci", "1", ""), verified("key", "2", "")}},
		"two people, a key and a certificate":          {"", []change{verified("ci", "1", ""), verified("own", "2", "", "a@b.example")}},
		"two people without names":                     {"", []change{verified("any", "1", ""), verified("own", "2", "")}},
		"two people with empty names":                  {"", []change{verified("any", "1", "", ""), verified("own", "2", "", "")}},
		"two people of one organization":               {"", []change{verified("own", "1", "O=SPIRE,C=US", "a@b.example"), verified("tom", "2", "O=SPIRE,C=US", "t@b.example")}},
		"two people who are somebody of an authority ": {"", []change{verified("own guest", "1", "CN=a", "a@b.example"), verified("tom guest", "2", "CN=b", "t@b.example")}},
		"one person twice, and another one":            {"", []change{by("web", "own"), by("any")}},
		"one certificate, and a key":                   {"", []change{by("web", "own"), by("ci")}},
		"two keys, of which nothing is said":           {"", []change{by("ci", "key")}},
	} {
		t.Run(name, func(t *testing.T) {
			var all []Evidence
			for i, c := range tc.by {
				all = append(all, statement(string(rune('1'+i)), evaluation, `{}`, c))
			}
			want(t, p, "r", tc.want, all...)
		})
	}
	d := want(t, p, "r", ThresholdNotMet, statement("1", evaluation, `{}`, by("web", "own")))
	if detail := requirement(t, d, "r").Detail; !strings.HasPrefix(detail, "1 of 2 signers of two (own, web; several are one key or one name)") {
		t.Errorf("detail %q", detail)
	}
}

// TestSubjectsOfOrganizations: a subject that the policy names is somebody, whatever it consists of.
func TestSubjectsOfOrganizations(t *testing.T) {
	p, err := Load(certificateDocument(`
  org: {certificate: {authority: ca.pem, subject: 'O=a\, CN=b'}}
  own: {certificate: {authority: other.pem, san: a@b.example}}
  two: {group: {of: [org, own], atLeast: 2}}
require: [{id: r, attestation: evaluation, by: [two]}]`), certificateOptions())
	if err != nil {
		t.Fatal(err)
	}
	one := statement("1", evaluation, `{}`, verified("org", "1", `O=a\, CN=b`, "n"))
	want(t, p, "r", ThresholdNotMet, one, statement("2", evaluation, `{}`, verified("own", "2", `O=a\, CN=b`, "a@b.example")))
	want(t, p, "r", "", one, statement("2", evaluation, `{}`, verified("own", "2", "O=a", "a@b.example")))
}
