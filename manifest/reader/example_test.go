package reader_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"strings"
	"testing/fstest"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/reader"
)

// A file is read of which the shards are known, here from a manifest; most often they are those of a signed OMS statement.
func ExampleOpen() {
	model := fstest.MapFS{"weights.bin": {Data: []byte(strings.Repeat("weights.", 4))}}
	m, err := manifest.Build(context.Background(), model, manifest.Options{Serialization: manifest.Serialization{ShardSize: 8}})
	if err != nil {
		log.Fatal(err)
	}
	model["weights.bin"].Data[25] = 'X' // in the last shard

	source, err := reader.FromFS(model, "weights.bin")
	if err != nil {
		log.Fatal(err)
	}
	f, err := reader.Open(context.Background(), "weights.bin", source, m.Resources(), reader.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	n, err := f.WriteTo(os.Stdout)
	fmt.Printf("\n%d bytes; %t\n", n, err != nil)
	// Output:
	// weights.weights.weights.
	// 24 bytes; true
}

// A tree holds the files that were listed, and only those.
func ExampleNewTree() {
	model := fstest.MapFS{"config.json": {Data: []byte("{}")}, "evil.py": {Data: []byte("import os")}}
	m, err := manifest.Build(context.Background(), model, manifest.Options{File: "config.json"})
	if err != nil {
		log.Fatal(err)
	}
	source, err := reader.FromFS(model, "config.json")
	if err != nil {
		log.Fatal(err)
	}
	tree, err := reader.NewTree(context.Background(), []reader.Entry{{Path: "config.json", Source: source, Expected: m.Resources()}}, reader.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	data, err := fs.ReadFile(tree, "config.json")
	fmt.Println(string(data), err)
	_, err = fs.ReadFile(tree, "evil.py")
	fmt.Println(err)
	// Output:
	// {} <nil>
	// open evil.py: file does not exist
}
