package oci_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing/fstest"

	"github.com/mlseal/mlseal/manifest/oci"
)

// Pack a directory into a layout, and pull it out again.
func ExamplePack() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	model := fstest.MapFS{ // os.DirFS("path/to/model")
		"config.json": {Data: []byte(`{"model_type":"llama"}`)},
		"README.md":   {Data: []byte("# A model\n")},
	}
	ref, err := oci.ParseReference("oci:" + filepath.Join(dir, "store") + ":v1")
	if err != nil {
		log.Fatal(err)
	}
	target, err := oci.Open(ctx, ref, oci.OpenOptions{Create: true})
	if err != nil {
		log.Fatal(err)
	}
	packed, err := oci.Pack(ctx, target, model, oci.PackOptions{Tag: ref.Tag})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(packed.Descriptor.Digest)

	desc, err := oci.Resolve(ctx, target, ref)
	if err != nil {
		log.Fatal(err)
	}
	p, err := oci.FetchPackage(ctx, target, desc)
	if err != nil {
		log.Fatal(err)
	}
	if err := oci.Pull(ctx, target, p, filepath.Join(dir, "out"), oci.PullOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Type, len(p.Tree.Files), p.Tree.DirHash() == packed.Tree.DirHash())
	// Output:
	// sha256:b659a072f7d5372a6b4fc928c142598d68779f492941b8962f2fa2d3416a1d40
	// model 2 true
}
