package main

import (
	"context"
	"strings"

	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/objectstore"
)

// open opens what a PATH on the command line names: a directory or file on disk, or what lies below an address in an object store.
func (a *app) open(ctx context.Context, path string, store storeFlags) (*tree, error) {
	if !objectstore.IsURL(path) {
		return openTree(path)
	}
	network, err := store.options()
	if err != nil {
		return nil, err
	}
	objects, err := objectstore.Open(ctx, path, objectstore.Options{PlainHTTP: network.PlainHTTP, CACertificates: network.CACertificates, UserAgent: network.UserAgent, Getenv: a.getenv, Note: a.note})
	if err != nil {
		return nil, err
	}
	return &tree{fsys: objects, file: objects.File, name: objects.Name, source: objects.Source, objects: objects}, nil
}

// redacted is a path as a message names it: an address without its parameters.
func redacted(path string) string {
	if objectstore.IsURL(path) {
		return objectstore.Redact(path)
	}
	return path
}

func (a *app) getenv(name string) string {
	value, _ := a.lookupEnv(name)
	return value
}

// concurrency is how many files of the tree are read at once; 0 for the default.
func (t *tree) concurrency() int {
	if t.objects != nil {
		return objectstore.Concurrency
	}
	return 0
}

// isFar reports whether the files come over a network, so that each is best read once.
func (t *tree) isFar() bool { return t.root == nil }

// checkStated holds the files to what an object store says of them. It can only say no.
func (t *tree) checkStated(m *manifest.Manifest) error {
	if t.objects == nil {
		return nil
	}
	return t.objects.Check(m)
}

// insideStore is inside for an object store, where a path is an address too.
func (t *tree) insideStore(name string) string {
	rel, ok := strings.CutPrefix(objectstore.Redact(name), t.source+"/")
	if !ok || t.file != "" {
		return ""
	}
	return strings.TrimSuffix(rel, "/")
}
