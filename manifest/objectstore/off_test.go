//go:build noobjectstore

package objectstore

import (
	"errors"
	"testing"
)

func TestBuiltWithout(t *testing.T) {
	for _, address := range []string{"s3://b/m", "gs://b/m", "azblob://c/m"} {
		if _, err := Open(t.Context(), address, Options{}); !errors.Is(err, ErrBuiltWithout) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
