package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// startAuthority is the command `authority DIR [NAME=DURATION]...`: it makes a certificate authority and writes its root into
// DIR/ca.pem and its intermediate into DIR/chain.pem. For each NAME it writes the key NAME.key and the certificate NAME.pem of CN=NAME,O=Acme and
// NAME@acme.example, which ends after the duration, or has ended when that is negative.
func startAuthority(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: authority DIR [NAME=DURATION]...")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	root := issueFor(ts, certificateOf("root of "+args[0], time.Hour, true), nil)
	middle := issueFor(ts, certificateOf("intermediate of "+args[0], time.Hour, true), root)
	root.write(ts, filepath.Join(dir, "ca"))
	middle.write(ts, filepath.Join(dir, "chain"))
	for _, arg := range args[1:] {
		name, length, _ := strings.Cut(arg, "=")
		until, err := time.ParseDuration(length)
		ts.Check(err)
		template := certificateOf(name, until, false)
		template.EmailAddresses = []string{name + "@acme.example"}
		issueFor(ts, template, middle).write(ts, filepath.Join(dir, name))
	}
}

// certified is a certificate with its key.
type certified struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func certificateOf(name string, until time.Duration, authority bool) *x509.Certificate {
	usage := x509.KeyUsageDigitalSignature
	if authority {
		usage = x509.KeyUsageCertSign
	}
	return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{Organization: []string{"Acme"}, CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(until), IsCA: authority, BasicConstraintsValid: true,
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
}

// issueFor makes a key and its certificate; a nil issuer makes a root.
func issueFor(ts *testscript.TestScript, template *x509.Certificate, by *certified) *certified {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	if by == nil {
		by = &certified{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	ts.Check(err)
	cert, err := x509.ParseCertificate(der)
	ts.Check(err)
	return &certified{cert, key}
}

func (c *certified) write(ts *testscript.TestScript, name string) {
	key, err := x509.MarshalPKCS8PrivateKey(c.key)
	ts.Check(err)
	ts.Check(os.WriteFile(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw}), 0o644))
	ts.Check(os.WriteFile(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}
