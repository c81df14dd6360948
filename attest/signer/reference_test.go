package signer

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestReferences(t *testing.T) {
	opened := ""
	register(func(_ context.Context, ref string, _ Password) (*Key, error) {
		opened = ref
		return nil, errors.New("no service")
	}, "testkms://")
	t.Cleanup(func() { delete(openers, "testkms://") })
	for ref, want := range map[string]bool{"testkms://a": true, "TESTKMS://a": true, "testkms:/a": false, "key.pem": false, "env://K": false, "": false} {
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

func TestRedact(t *testing.T) {
	for ref, want := range map[string]string{
		"pkcs11:token=t?module-path=/m&pin-value=1234":   "pkcs11:token=t?module-path=/m&pin-value=...",
		"pkcs11:token=t?pin-value=1234&module-path=/m":   "pkcs11:token=t?pin-value=...",
		"PKCS11:token=t?PIN-VALUE=12&34;5#6?pin-value=7": "PKCS11:token=t?PIN-VALUE=...",
		"pkcs11:token=t?module-path=/m&pin%2dvalue=1234": "pkcs11:token=t?module-path=/m&pin%2dvalue=...",
		"pkcs11:token=t?p%69n-value=1234":                "pkcs11:token=t?p%69n-value=...",
		"pkcs11:token=t;id=%01?module-path=/m%20m":       "pkcs11:token=t;id=%01?module-path=/m%20m",
		"pkcs11:token=t?pin-value":                       "pkcs11:token=t?pin-value",
		"hashivault://key":                               "hashivault://key",
		"key.pem":                                        "key.pem",
	} {
		if got := Redact(ref); got != want {
			t.Errorf("%s is printed as %s, want %s", ref, got, want)
		}
	}
	if _, err := Open(context.Background(), "other:?pin-value=1234", nil); err == nil || strings.Contains(err.Error(), "1234") {
		t.Errorf("the error names the PIN: %v", err)
	}
}
