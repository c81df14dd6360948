package attest_test

import (
	"context"
	"fmt"
	"testing/fstest"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/manifest"
)

// A statement about a package names both the image manifest and the tree in it.
func ExampleSign() {
	private, _, err := signer.Generate("ecdsa-p256", []byte("secret"))
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := signer.LoadKey(private, func() ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	subjects := []attest.ResourceDescriptor{
		{Name: "models/bot", Digest: attest.DigestSet{"sha256": "5b4fcf8756fef3391a924ac305776d79c0b38a975012c65e0bdda0cf2feec6e0"}},
		{Name: "models/bot", Digest: attest.DigestSet{"dirHash": "c4a2fbb71b06f1a96bcda7f4a133fedb6acf255c56e0330ed6aa0b10c85fc3e6"}},
	}
	statement, err := attest.NewStatement(subjects, "https://example.test/note/v1", []byte(`{"note":"hello"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle, err := attest.Sign(context.Background(), statement, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bundle.MediaType)
	fmt.Println(string(bundle.Envelope.Payload)[:51])
	// Output:
	// application/vnd.dev.sigstore.bundle.v0.3+json
	// {"_type":"https://in-toto.io/Statement/v1","subject
}

// Parse trusts nothing: what it returns is what a stranger wrote.
func ExampleParse() {
	_, err := attest.Parse([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`))
	fmt.Println(err)
	// Output: attest: not a usable Sigstore bundle: it has neither a dsseEnvelope nor a messageSignature
}

// An OMS statement lists the files of a tree.
func ExampleNewOMSStatement() {
	tree := fstest.MapFS{"config.json": {Data: []byte("{}\n")}}
	m, err := manifest.Build(context.Background(), tree, manifest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	statement, err := attest.NewOMSStatement(m, "model", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(statement.Predicate))
	// Output: {"resources":[{"name":"config.json","algorithm":"sha256","digest":"ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"}],"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false}}
}
