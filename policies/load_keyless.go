package policies

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxTrustRootBytes is the size of the largest trusted root that is taken.
const MaxTrustRootBytes = 4 << 20

// keyless reads an identity. An issuer alone would trust all of its accounts, and a pattern that is not
// anchored more than its author means, so both strings are needed and both are exact.
func (l *loader) keyless(n *yaml.Node, name, what string) *Identity {
	f := l.mapping(n, what, "issuer", "subject")
	who := Identity{Issuer: l.exactText(l.need(f, "issuer"), what+".issuer"), Subject: l.exactText(l.need(f, "subject"), what+".subject")}
	if l.err != nil {
		return nil
	}
	// One identity under two names would let one person count twice.
	if owner, ok := l.who[who]; ok {
		l.failf(n, "%s is the identity of signer %s already; one identity is one signer", what, owner)
	}
	l.who[who] = name
	return &who
}

// exactText reads a string that is compared whole. What looks like a pattern would never match.
func (l *loader) exactText(n *yaml.Node, what string) string {
	s := l.str(n, what)
	if strings.Contains(s, "*") || strings.TrimSpace(s) != s {
		l.failf(n, "%s is %q; it is compared whole, so it has no patterns and no spaces around it", what, s)
	}
	return s
}

// trust reads where the trusted root is, of the keyless signers and of timestamps.
func (l *loader) trust(n *yaml.Node) {
	if n == nil || l.err != nil {
		return
	}
	root := l.need(l.mapping(n, "trust", "root"), "root")
	file := l.str(root, "trust.root")
	if l.err != nil {
		return
	}
	data := l.file(root, "trusted root", file, MaxTrustRootBytes)
	if l.err == nil && len(data) == 0 {
		l.failf(root, "trusted root %q is empty", file)
	}
	l.policy.trustRoot = data
}
