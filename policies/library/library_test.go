package library_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"testing"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/library"
)

// TestLibraryLoads loads every policy with a key in the place of each file it names.
func TestLibraryLoads(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(make([]byte, 32)).Public())
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	names, err := fs.Glob(library.Files, "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no policies in the library: %v", err)
	}
	for _, name := range names {
		data, err := fs.ReadFile(library.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		opts := policies.LoadOptions{Name: name, ReadFile: func(string) ([]byte, error) { return key, nil }}
		p, err := policies.Load(data, opts)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if p.Ref().Name+".yaml" != name {
			t.Errorf("%s: the policy is named %s", name, p.Ref().Name)
		}
	}
}
