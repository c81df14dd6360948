package signer

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

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
		if strings.HasPrefix(ref, prefix) {
			return open
		}
	}
	return nil
}

// Open loads the key that a reference names; pin is called when a token wants to be unlocked. The private key does
// not leave where it is kept. The error wraps ErrKey when the reference cannot be used as it stands; other errors say that the
// service or token did not do its part.
func Open(ctx context.Context, ref string, pin Password) (*Key, error) {
	open := findOpener(ref)
	if open == nil {
		return nil, fmt.Errorf("signer: %w: %q begins with none of %s", ErrKey, ref, strings.Join(References(), ", "))
	}
	return open(ctx, ref, pin)
}
