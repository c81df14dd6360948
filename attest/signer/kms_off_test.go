//go:build nokms

package signer

import (
	"errors"
	"strings"
	"testing"
)

func TestBuiltWithoutKMS(t *testing.T) {
	for _, ref := range []string{"awskms:///alias/x", "azurekms://v.vault.azure.net/k", "gcpkms://projects/p", "hashivault://k"} {
		if _, err := Open(t.Context(), ref, nil); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "built without key services") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
