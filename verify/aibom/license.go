package aibom

import expression "github.com/mlseal/mlseal/internal/spdx"

// Acknowledgements of a licence, in CycloneDX's words.
const (
	declared  = "declared"
	concluded = "concluded"
)

// license is a licence and who says it: the author (declared) or a reviewer (concluded).
type license struct{ text, acknowledgement string }

// license notes what is said; that nothing is known is nothing to say.
func (t *thing) license(r review) {
	for _, l := range []license{{r.Declared, declared}, {r.Concluded, concluded}} {
		if l.text != "" && l.text != expression.NoAssertion {
			t.licenses = add(t.licenses, l)
		}
	}
}

// isExpression reports whether a text says which licence it is, in the form of a license expression.
func isExpression(text string) bool {
	return text != expression.None && text != expression.NoAssertion && expression.Check(text) == nil
}
