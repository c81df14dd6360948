//go:build noobjectstore

package objectstore

import (
	"context"
	"fmt"
	"net/url"
)

func init() {
	for _, scheme := range []string{"s3", "gs", "azblob"} {
		openers[scheme] = openNone
	}
}

// openNone says how to get a build that knows object stores. Their clients are a fifth of the binary, so that a gate which does not need them may
// be built without them.
func openNone(context.Context, *url.URL, Options) (store, error) {
	return nil, fmt.Errorf("%w: this mlseal was built without object stores; build one without the tag noobjectstore (`make build`)", ErrURL)
}
