//go:build !noobjectstore

package objectstore_test

import (
	"context"
	"fmt"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/objectstore"
)

func ExampleOpen() {
	tree, err := objectstore.Open(context.Background(), "s3://models/llm?region=eu-west-1", objectstore.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = tree.Close() }()
	m, err := manifest.Build(context.Background(), tree, manifest.Options{File: tree.File, Concurrency: objectstore.Concurrency})
	if err == nil {
		err = tree.Check(m)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.DirHash())
}

func ExampleRedact() {
	fmt.Println(objectstore.Redact("s3://id:secret@models/llm?endpoint=https://minio.example"))
	// Output: s3://models/llm
}
