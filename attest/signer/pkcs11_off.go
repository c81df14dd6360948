//go:build !pkcs11key

package signer

import (
	"context"
	"fmt"
)

func init() { register(openPKCS11, pkcs11Prefix) }

// openPKCS11 says how to get a build that knows tokens: their libraries need cgo, which makes a binary that is not static.
func openPKCS11(context.Context, string, Password) (*Key, error) {
	return nil, fmt.Errorf("signer: %w: this mlseal was built without PKCS #11; build one with `make build TAGS=pkcs11key`, which needs cgo and a C compiler", ErrKey)
}
