package signer

import (
	"context"
	"errors"
	"testing"
)

func TestReferences(t *testing.T) {
	opened := ""
	register(func(_ context.Context, ref string, _ Password) (*Key, error) {
		opened = ref
		return nil, errors.New("no service")
	}, "testkms://")
	t.Cleanup(func() { delete(openers, "testkms://") })
	for ref, want := range map[string]bool{"testkms://a": true, "testkms:/a": false, "key.pem": false, "env://K": false, "": false} {
		if IsReference(ref) != want {
			t.Errorf("%q is a reference: %t", ref, !want)
		}
	}
	if _, err := Open(context.Background(), "testkms://a", nil); opened != "testkms://a" || errors.Is(err, ErrKey) {
		t.Errorf("opened %q: %v", opened, err)
	}
	if _, err := Open(context.Background(), "other://a", nil); !errors.Is(err, ErrKey) {
		t.Errorf("an unknown kind of reference: %v", err)
	}
}
