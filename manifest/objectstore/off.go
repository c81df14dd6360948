//go:build noobjectstore

package objectstore

import (
	"context"
	"net/url"
)

func init() {
	for _, scheme := range []string{"s3", "gs", "azblob"} {
		openers[scheme] = openNone
	}
}

// openNone opens nothing. The stores' clients are a fifth of the binary, so that a gate which does not need them may
// be built without them.
func openNone(context.Context, *url.URL, Options) (store, error) {
	return nil, ErrBuiltWithout
}
