package policies

import (
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// attributeNames are those that a distinguished name is written with (RFC 4514 section 3, and Go's pkix), by their number. All other
// attributes stand as their number and the DER of their value.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.5": "SERIALNUMBER", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "STREET",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.17": "POSTALCODE",
}

// attributeTypes are the types of a distinguished name's attributes, in their order; "" for a part without one.
func attributeTypes(subject string) []string {
	var out []string
	for len(subject) > 0 {
		end := 0
		for end < len(subject) && subject[end] != ',' && subject[end] != '+' {
			if subject[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(subject))
		kind, _, ok := strings.Cut(subject[:end], "=")
		if !ok {
			kind = ""
		}
		out = append(out, kind)
		subject = subject[min(end+1, len(subject)):]
	}
	return out
}

// ofOrganization are the attributes that say where somebody belongs: organization, place and domain.
var ofOrganization = []string{"C", "O", "OU", "L", "ST", "STREET", "POSTALCODE", "0.9.2342.19200300.100.1.25"}

// namesPerson reports whether the distinguished name has more than an organization in it.
func namesPerson(subject string) bool {
	return slices.ContainsFunc(attributeTypes(subject), func(kind string) bool { return !slices.Contains(ofOrganization, kind) })
}

var attributeNumber = lazyregexp.New(`^[0-9]+(\.[0-9]+)+$`)

// misspelt finds an attribute type that is never written so, and the name that it is written with; empty when it has none.
func misspelt(subject string) (kind, name string, found bool) {
	for _, kind := range attributeTypes(subject) {
		name := attributeNames[kind]
		for _, known := range attributeNames {
			if strings.EqualFold(known, kind) {
				name = known
			}
		}
		if kind == "" || name != kind && (name != "" || !attributeNumber.MatchString(kind)) {
			return kind, name, true
		}
	}
	return "", "", false
}
