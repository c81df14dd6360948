package aibom

import "strings"

// Acknowledgements of a licence, in CycloneDX's words.
const (
	declared  = "declared"
	concluded = "concluded"
)

// license is a licence and who says it: the author (declared) or a reviewer (concluded).
type license struct{ text, acknowledgement string }

// What SPDX writes for "no licence" and for "nothing is known".
const (
	licenseNone = "NONE"
	licenseOpen = "NOASSERTION"
)

// license notes what is said; that nothing is known is nothing to say.
func (t *thing) license(r review) {
	for _, l := range []license{{r.Declared, declared}, {r.Concluded, concluded}} {
		if l.text != "" && l.text != licenseOpen {
			t.licenses = add(t.licenses, l)
		}
	}
}

// isExpression reports whether a text has the form of a license expression (SPDX 3.0.1, Annex B): identifiers with AND, OR, WITH, + and
// parentheses. Whether the identifiers are listed it does not know.
func isExpression(text string) bool {
	p := &expression{tokens: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))}
	return p.compound(0) && len(p.tokens) == 0
}

// maxNesting is how deep parentheses may stand in each other.
const maxNesting = 50

type expression struct{ tokens []string }

func (p *expression) take() string {
	if len(p.tokens) == 0 {
		return ""
	}
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token
}

func (p *expression) next(words ...string) bool {
	for _, w := range words {
		if len(p.tokens) > 0 && strings.EqualFold(p.tokens[0], w) {
			return true
		}
	}
	return false
}

// compound is one operand, or several between operators.
func (p *expression) compound(depth int) bool {
	if !p.operand(depth) {
		return false
	}
	for p.next("AND", "OR") {
		p.take()
		if !p.operand(depth) {
			return false
		}
	}
	return true
}

func (p *expression) operand(depth int) bool {
	token := p.take()
	if token == "(" {
		return depth < maxNesting && p.compound(depth+1) && p.take() == ")"
	}
	if !isLicenseID(strings.TrimSuffix(token, "+")) {
		return false
	}
	if p.next("WITH") {
		p.take()
		return isLicenseID(p.take())
	}
	return true
}

func isLicenseID(token string) bool {
	if document, ok := strings.CutPrefix(token, "DocumentRef-"); ok {
		name, rest, found := strings.Cut(document, ":")
		return found && isName(name) && strings.HasPrefix(rest, "LicenseRef-") && isName(rest)
	}
	for _, word := range []string{"AND", "OR", "WITH", licenseNone, licenseOpen} {
		if strings.EqualFold(token, word) {
			return false
		}
	}
	return isName(token)
}

// isName: `idstring = 1*(ALPHA / DIGIT / "-" / "." )`.
func isName(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
