package evaluation

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// MaxDigits is how many digits a decimal may have before and behind its point, as the schema has it.
const MaxDigits = 40

// numberText is a JSON number; its parts are the sign, the digits before and behind the point, and the exponent.
var numberText = lazyregexp.New(`^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,9}))?$`)

// Decimal writes a number without an exponent and without rounding it: all digits that the text has stay, also zeros at its end, and the
// point moves. A text without an exponent is returned as it is.
func Decimal(text string) (string, error) {
	m := numberText.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%q is not a decimal number", clip(text))
	}
	sign, whole, fraction := m[1], m[2], m[3]
	if m[4] != "" {
		exponent, err := strconv.Atoi(m[4])
		if err != nil || exponent > 2*MaxDigits || exponent < -2*MaxDigits {
			return "", tooLong(text)
		}
		whole, fraction = shift(whole, fraction, exponent)
	}
	if len(whole) > MaxDigits || len(fraction) > MaxDigits {
		return "", tooLong(text)
	}
	if fraction == "" {
		return sign + whole, nil
	}
	return sign + whole + "." + fraction, nil
}

// shift moves the point by exponent places to the right.
func shift(whole, fraction string, exponent int) (string, string) {
	if exponent >= 0 {
		fraction += strings.Repeat("0", max(0, exponent-len(fraction)))
		whole, fraction = whole+fraction[:exponent], fraction[exponent:]
	} else {
		whole = strings.Repeat("0", max(0, -exponent-len(whole)+1)) + whole
		at := len(whole) + exponent
		whole, fraction = whole[:at], whole[at:]+fraction
	}
	if trimmed := strings.TrimLeft(whole, "0"); trimmed != "" {
		return trimmed, fraction
	}
	return "0", fraction
}

func tooLong(text string) error {
	return fmt.Errorf("%s has more than %d digits before or behind its point", clip(text), MaxDigits)
}

// clip shortens a text of the file for a message.
func clip(text string) string {
	if len(text) > 80 {
		return text[:80] + "…"
	}
	return text
}

var errNotNumber = errors.New("it is not a number")

// decimalOf is the exact decimal of a value in the file.
func decimalOf(v *value) (string, error) {
	if v.is('"') {
		return "", fmt.Errorf("%w: %q", errNotNumber, clip(v.text))
	}
	if !v.is('0') {
		return "", errNotNumber
	}
	return Decimal(v.text)
}
