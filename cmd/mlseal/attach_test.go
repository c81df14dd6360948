package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/verify/trust"
)

func newSigningKey(t *testing.T) *signingKey {
	t.Helper()
	private, _, err := signer.Generate("ecdsa-p256", []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signer.LoadKey(private, func() ([]byte, error) { return []byte("pw"), nil })
	if err != nil {
		t.Fatal(err)
	}
	public, err := trust.ParseKey(key.PublicKeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	k := &signingKey{hint: key.Hint(), public: public}
	if k.Signer, err = signer.New(key, signer.Witnesses{}); err != nil {
		t.Fatal(err)
	}
	return k
}

// A stranger's bundle with the same payload and the signer's hint must not keep the signer from attaching, nor be
// removed as the signer's own.
func TestForgedStatementIsNobodys(t *testing.T) {
	own, stranger := newSigningKey(t), newSigningKey(t)
	sign := func(k *signingKey) *attest.Bundle {
		subjects := []attest.ResourceDescriptor{{Name: "m", Digest: attest.DigestSet{"dirHash": "14485e1eea440bfd60e816a9215ecb02dcb3d2fa532867a1ade3b7337030dde2"}}}
		b, err := attachment{predicateType: attest.SignaturePredicateType, predicate: []byte("{}")}.sign(context.Background(), k, subjects)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, second := sign(own), sign(own)
	if !own.made(first, second) || identical([]earlierStatement{{bundle: first}}, second, false) == nil {
		t.Error("one's own statement is not known again")
	}
	forged, err := attest.Parse(bytes.ReplaceAll(sign(stranger).JSON(), []byte(stranger.hint), []byte(own.hint)))
	if err != nil {
		t.Fatal(err)
	}
	if forged.Material.PublicKey.Hint != own.hint {
		t.Fatalf("the hint is %q", forged.Material.PublicKey.Hint)
	}
	if own.made(forged, second) {
		t.Error("a forged statement passes for one's own")
	}
	if (&signingKey{}).made(first, second) {
		t.Error("without a trusted root nobody knows who signed")
	}
}
