package policies

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"

	"github.com/mlseal/mlseal/internal/certificates"
	"go.yaml.in/yaml/v3"
)

// MaxKeyBytes is the size of the largest key file, or file of an authority's certificates, that is looked at.
const MaxKeyBytes = 64 << 10

func (l *loader) signers(n *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		if n != nil {
			l.failf(n, "signers must be a mapping of at least one name to a key, not %s", kindOf(n))
		}
		return
	}
	l.policy.signers = map[string]signer{}
	groups := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := l.identifier(n.Content[i], "a signer's name"), n.Content[i+1]
		what := "signers." + name
		f := l.mapping(value, what, "key", "keys", "keyless", "certificate", "group")
		if len(f.at) != 1 {
			l.failf(value, "%s needs exactly one of key, keys, keyless, certificate and group", what)
			return
		}
		if f.at["group"] != nil {
			groups[name] = f.at["group"]
			continue
		}
		if k := f.at["keyless"]; k != nil {
			l.policy.signers[name] = signer{keyless: l.keyless(k, name, what+".keyless")}
			continue
		}
		if c := f.at["certificate"]; c != nil {
			l.policy.signers[name] = signer{certificate: l.certificate(c, name, what+".certificate")}
			continue
		}
		l.policy.signers[name] = signer{keys: l.keyFiles(f, name, what)}
	}
	defer l.signerLines(n)
	// Groups come second, since they may stand above their members.
	for i := 0; i+1 < len(n.Content); i += 2 {
		if g := groups[n.Content[i].Value]; g != nil && l.err == nil {
			l.policy.signers[n.Content[i].Value] = l.group(g, "signers."+n.Content[i].Value, groups)
		}
	}
}

// signerLines notes where the signers stand.
func (l *loader) signerLines(n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if s, ok := l.policy.signers[n.Content[i].Value]; ok {
			s.line = n.Content[i].Line
			l.policy.signers[n.Content[i].Value] = s
		}
	}
}

func (l *loader) keyFiles(f fields, name, what string) [][]byte {
	nodes := l.list(f.at["keys"], what+".keys")
	if k := f.at["key"]; k != nil {
		nodes = []*yaml.Node{k}
	}
	var keys [][]byte
	for _, n := range nodes {
		if file := l.str(n, what+".key"); file != "" && l.err == nil {
			keys = append(keys, l.keyFile(n, name, file))
		}
	}
	return keys
}

// keyFile reads one public key. The same key under two names would let one person count twice.
func (l *loader) keyFile(n *yaml.Node, name, file string) []byte {
	data := l.file(n, "key file", file, MaxKeyBytes)
	if l.err != nil {
		return nil
	}
	der := l.publicKey(n, file, data)
	if der == nil {
		return nil
	}
	if owner, ok := l.keys[string(der)]; ok {
		l.failf(n, "key file %q holds a key that belongs to signer %s already; one key is one identity", file, owner)
	}
	l.keys[string(der)] = name
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// publicKey returns the SubjectPublicKeyInfo of the only PEM block in data, in the encoding that
// x509 itself would write, so that two encodings of one key compare equal.
func (l *loader) publicKey(n *yaml.Node, file string, data []byte) []byte {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		l.failf(n, "key file %q holds no PEM block", file)
		return nil
	case block.Type != "PUBLIC KEY":
		l.failf(n, "key file %q holds a %q; a signer has a PUBLIC KEY", file, block.Type)
		return nil
	case bytes.Contains(rest, []byte("-----BEGIN")):
		l.failf(n, "key file %q holds more than one PEM block; list one file a key under keys", file)
		return nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		l.failf(n, "key file %q holds no public key that is understood: %v", file, err)
		return nil
	}
	if err := certificates.CheckKey(key); err != nil {
		l.failf(n, "key file %q holds no key to verify with: %v", file, err)
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		l.failf(n, "key file %q holds no public key that is understood: %v", file, err)
		return nil
	}
	return der
}

func (l *loader) group(n *yaml.Node, what string, groups map[string]*yaml.Node) signer {
	f := l.mapping(n, what+".group", "of", "atLeast", "distinct")
	s := signer{members: l.names(l.need(f, "of"), what+".group.of")}
	for i, m := range s.members {
		if groups[m] != nil {
			l.failf(f.at["of"].Content[i], "%s names the group %q; groups are not nested", what, m)
		} else if _, ok := l.policy.signers[m]; !ok {
			l.failf(f.at["of"].Content[i], "%s names %q, which is not a signer of this policy", what, m)
		}
	}
	if l.err == nil {
		l.overlap(f.at["of"], what, s.members)
	}
	n = l.need(f, "atLeast")
	s.atLeast = l.integer(n, what+".group.atLeast", 1)
	if s.atLeast > len(s.members) {
		l.failf(n, "%s.group.atLeast is %d, but the group has %d members", what, s.atLeast, len(s.members))
	}
	if d := f.at["distinct"]; d != nil && l.str(d, what+".group.distinct") != "identity" {
		l.failf(d, "%s.group.distinct can only be identity, which is also the default", what)
	}
	slices.Sort(s.members)
	return s
}

// file reads a file that the policy names. kind says for messages what it holds.
func (l *loader) file(n *yaml.Node, kind, name string, most int) []byte {
	if l.opts.ReadFile == nil {
		l.failf(n, "%s %q cannot be read: no way to read files was given", kind, name)
		return nil
	}
	data, err := l.opts.ReadFile(name)
	switch {
	case err != nil:
		l.failf(n, "%s %q cannot be read: %v", kind, name, err)
		l.err.cause = err
	case len(data) > most:
		l.failf(n, "%s %q has %d bytes; at most %d are read", kind, name, len(data), most)
	}
	return data
}
