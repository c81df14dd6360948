// Package testenv finds what tests read beside the project: signed data and schemas made by others.
package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// Shared returns a folder of ../shared, or the one that the environment variable override names. Where there is
// none the test is skipped, by name, and fails in CI, where it must not be missing.
func Shared(t testing.TB, override, folder string) string {
	t.Helper()
	dir := os.Getenv(override)
	if dir == "" {
		dir = filepath.Join(filepath.Dir(Root(t)), "shared", folder)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not there or empty, and CI must have it (%s names another place)", folder, override)
		}
		t.Skipf("no %s beside the project (%s names another place): this test did NOT run", folder, override)
	}
	return dir
}

// Vectors is the folder of signed data.
func Vectors(t testing.TB) string { return Shared(t, "MLSEAL_VECTORS", "vectors") }

// MaxSeedBytes keeps the seeds of a fuzz target small, which makes it fast.
const MaxSeedBytes = 32 << 10

// Seeds reads the signed data that matches the patterns, to start a fuzz target from. Seeds only help: where there are none the
// target runs without.
func Seeds(t testing.TB, patterns ...string) [][]byte {
	t.Helper()
	dir := os.Getenv("MLSEAL_VECTORS")
	if dir == "" {
		dir = filepath.Join(filepath.Dir(Root(t)), "shared", "vectors")
	}
	var seeds [][]byte
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if data, err := os.ReadFile(name); err == nil && len(data) <= MaxSeedBytes {
				seeds = append(seeds, data)
			}
		}
	}
	return seeds
}

// Schemas is the folder of schemas made by others.
func Schemas(t testing.TB) string { return Shared(t, "MLSEAL_SCHEMAS", "schemas") }

// Root is the project's top folder: the one with go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}
