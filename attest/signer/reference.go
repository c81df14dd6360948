package signer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// pkcs11Prefix is the scheme of references to keys on PKCS #11 tokens (RFC 7512).
const pkcs11Prefix = "pkcs11:"

// pinValue is the attribute of a PKCS #11 URI that holds the PIN, or one whose name is encoded, which may be it.
var pinValue = lazyregexp.New(`(?i)(\bpin-value=|[?&;][a-z-]*%[^=&;]*=?)([^&]*)`)

// Redact returns ref as it may be printed: without the PIN that a PKCS #11 URI can hold, and without what stands behind it,
// which may be the rest of a PIN that was not encoded.
func Redact(ref string) string {
	if at := pinValue.FindStringSubmatchIndex(ref); at != nil {
		return ref[:at[3]] + "..."
	}
	return ref
}

// opener loads the key that a reference names. pin is asked for what unlocks a token; it may be nil.
type opener func(ctx context.Context, ref string, pin Password) (*Key, error)

// openers are the kinds of key that are no files, by the prefix of their references. Each kind is a file of this package that
// registers itself.
var openers = map[string]opener{}

func register(open opener, prefixes ...string) {
	for _, prefix := range prefixes {
		openers[prefix] = open
	}
}

// References lists the prefixes of references to keys that are kept elsewhere than in a file.
func References() []string {
	var all []string
	for prefix := range openers {
		all = append(all, prefix)
	}
	slices.Sort(all)
	return all
}

// IsReference reports whether ref names a key that is kept elsewhere than in a file: in a key management service or
// on a token.
func IsReference(ref string) bool { return findOpener(ref) != nil }

func findOpener(ref string) opener {
	for prefix, open := range openers {
		// RFC 3986 section 3.1: schemes are case-insensitive.
		if len(ref) >= len(prefix) && strings.EqualFold(ref[:len(prefix)], prefix) {
			return open
		}
	}
	return nil
}

// Open loads the key that a reference names; pin is called when a token wants to be unlocked. The private key does
// not leave where it is kept. The error wraps ErrKey when the reference cannot be used as it stands, and ErrPIN or ErrPINNeeded when
// the token stays locked; other errors say that the service or token did not do its part.
func Open(ctx context.Context, ref string, pin Password) (*Key, error) {
	open := findOpener(ref)
	if open == nil {
		return nil, fmt.Errorf("signer: %w: %q begins with none of %s", ErrKey, Redact(ref), strings.Join(References(), ", "))
	}
	return open(ctx, ref, pin)
}
