package policies

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxTrustRootBytes is the size of the largest trusted root that is taken.
const MaxTrustRootBytes = 4 << 20

// keyless reads an identity. An issuer alone would trust all of its accounts, so that a subject or a pattern is needed.
func (l *loader) keyless(n *yaml.Node, name, what string) *Identity {
	f := l.mapping(n, what, "issuer", "subject", "pattern")
	who := Identity{Issuer: l.exactText(l.need(f, "issuer"), what+".issuer")}
	if p := f.at["pattern"]; p == nil {
		who.Subject = l.exactText(l.need(f, "subject"), what+".subject")
	} else if f.at["subject"] != nil {
		l.failf(p, "%s has a subject and a pattern; it needs one of them", what)
	} else if who.Pattern = l.str(p, what+".pattern"); l.err == nil {
		if err := checkPattern(who.Pattern); err != nil {
			l.failf(p, "%s.pattern: %v", what, err)
		}
	}
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

// wholly compiles a pattern so that it speaks of the whole text, whatever its author wrote at its ends.
func wholly(pattern string) (*regexp.Regexp, error) { return regexp.Compile(`\A(?:` + pattern + `)\z`) }

// checkPattern refuses a pattern that is none, and one that matches whatever it is shown: that would be the issuer alone.
func checkPattern(pattern string) error {
	if _, err := regexp.Compile(pattern); err != nil { // by itself, so that a parenthesis cannot close the anchors'
		return err
	}
	whole, err := wholly(pattern)
	if err != nil {
		return err
	}
	for _, stranger := range []string{"", "x", "anybody@mlseal.invalid", "https://mlseal.invalid/any/thing@refs/heads/main", "\u2603 0"} {
		if whole.MatchString(stranger) {
			return fmt.Errorf("%q matches anybody, such as %q; it would trust all accounts of the issuer", pattern, stranger)
		}
	}
	return nil
}

// mayBeOneAccount reports whether one account could be both keyless signers.
func mayBeOneAccount(a, b signer) bool {
	if a.keyless == nil || b.keyless == nil || a.keyless.Issuer != b.keyless.Issuer {
		return false
	}
	if a.keyless.Pattern != "" && b.keyless.Pattern != "" {
		return true // nobody can say that they have nothing in common
	}
	return a.keyless.Is(b.keyless.Issuer, b.keyless.Subject) || b.keyless.Is(a.keyless.Issuer, a.keyless.Subject)
}

// exactText reads a string that is compared whole. What looks like a pattern would never match.
func (l *loader) exactText(n *yaml.Node, what string) string {
	s := l.str(n, what)
	if strings.Contains(s, "*") || strings.TrimSpace(s) != s {
		l.failf(n, "%s is %q; it is compared whole, so it has no patterns and no spaces around it", what, s)
	}
	return s
}

// trust reads where the trusted root is, of the keyless signers and of timestamps, and what has to vouch for a signature.
func (l *loader) trust(n *yaml.Node) {
	if n == nil || l.err != nil {
		return
	}
	f := l.mapping(n, "trust", "root", "transparencyLog", "timestamps")
	if len(f.at) == 0 {
		l.need(f, "root")
	}
	l.trustRoot(f.at["root"])
	if t := f.at["transparencyLog"]; t != nil {
		l.policy.witnesses.log = logMode(l.str(t, "trust.transparencyLog"))
		switch {
		case !slices.Contains([]logMode{logRequired, logOptional, logForbidden}, l.policy.witnesses.log):
			l.failf(t, "trust.transparencyLog is %q; it is one of required, optional, forbidden", l.policy.witnesses.log)
		case l.policy.witnesses.log == logForbidden && l.policy.hasSigner(func(s signer) bool { return s.keyless != nil }):
			l.failf(t, "trust.transparencyLog is forbidden, and there are keyless signers, who sign in one")
		}
	}
	if t := f.at["timestamps"]; t != nil {
		of := l.mapping(t, "trust.timestamps", "atLeast")
		l.policy.witnesses.timestamps = l.integer(l.need(of, "atLeast"), "trust.timestamps.atLeast", 1)
	}
}

func (l *loader) trustRoot(root *yaml.Node) {
	file := l.str(root, "trust.root")
	if l.err != nil || root == nil {
		return
	}
	data := l.file(root, "trusted root", file, MaxTrustRootBytes)
	if l.err == nil && len(data) == 0 {
		l.failf(root, "trusted root %q is empty", file)
	}
	l.policy.trustRoot = data
}
