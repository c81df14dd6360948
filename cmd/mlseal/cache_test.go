//go:build linux || darwin

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/manifest/cache"
	"github.com/opencontainers/go-digest"
)

// cached runs command lines with a digest cache of their own.
type cached struct {
	t    *testing.T
	dir  string // where files and caches are
	tree string // a model with one file that is large enough to be remembered
}

func newCached(t *testing.T) *cached {
	t.Helper()
	c := &cached{t, t.TempDir(), ""}
	c.tree = filepath.Join(c.dir, "model")
	if err := os.Mkdir(c.tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.tree, "weights.bin"), bytes.Repeat([]byte("w"), cache.MinSize), 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cached) cacheDir() string { return filepath.Join(c.dir, "caches", "mlseal") }

func (c *cached) run(args ...string) (status int, stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, now: time.Now, lookupEnv: func(name string) (string, bool) { return "pw", name == "MLSEAL_PASSWORD" },
		userCacheDir: func() (string, error) { return filepath.Join(c.dir, "caches"), nil }}
	status = a.main(context.Background(), args)
	return status, out.String(), errs.String()
}

// must runs what must be done, and returns its output.
func (c *cached) must(args ...string) string {
	c.t.Helper()
	status, out, errs := c.run(args...)
	if status != statusDone {
		c.t.Fatalf("%v: status %d: %s", args, status, errs)
	}
	return out
}

// poison makes the cache hold a wrong digest for the file.
func (c *cached) poison() {
	c.t.Helper()
	info, err := os.Lstat(filepath.Join(c.tree, "weights.bin"))
	if err != nil {
		c.t.Fatal(err)
	}
	known := cache.New(c.cacheDir())
	files := known.Below(c.tree)
	if files == nil {
		c.t.Skip("NOT CHECKED: the file system of the temporary directory is not relied on")
	}
	files.Remember(info, time.Now().Add(cache.RacyWindow), digest.FromString("wrong"))
	if err := known.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// TestNothingThatJudgesUsesTheCache: with a wrong digest in the cache, what signs and packs would be misled or notices; what judges
// a claim reads the files.
func TestNothingThatJudgesUsesTheCache(t *testing.T) {
	c := newCached(t)
	key, sig, attested := filepath.Join(c.dir, "k"), filepath.Join(c.dir, "model.sig"), filepath.Join(c.dir, "att.json")
	store := "oci:" + filepath.Join(c.dir, "store") + ":v1"
	c.must("keys", "generate", "--output-key-prefix", key)
	right := c.must("hash", c.tree, "-o", "digest", "--no-cache")
	c.must("sign", c.tree, "--key", key+".key", "--signature", sig, "--no-cache")
	c.must("pack", c.tree, store, "--key", key+".key", "--no-cache")
	predicate := filepath.Join(c.dir, "p.json")
	if err := os.WriteFile(predicate, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.poison()

	wrong := c.must("hash", c.tree, "-o", "digest")
	if wrong == right {
		t.Fatal("the cache was not asked: this test shows nothing")
	}
	for _, args := range [][]string{{"hash", "--no-cache"}, {"hash", "--hash", "blake3"}} {
		if out := c.must(append(args, c.tree, "-o", "digest")...); out != right {
			t.Errorf("%v: %s", args, out)
		}
	}
	c.poison() // what was read for another serialization may have been remembered, rightly
	c.must("verify", c.tree, "--key", key+".pub", "--signature", sig)
	c.must("verify", store, "--key", key+".pub")
	dirHash := strings.TrimPrefix(strings.TrimSpace(right), "dirHash:")
	if out := c.must("inspect", c.tree); !strings.Contains(out, dirHash) {
		t.Errorf("inspect: %s", out)
	}
	// What was signed of a wrong digest is denied. A read that took place meanwhile may have mended the cache.
	c.poison()
	c.must("attest", c.tree, "--type", "https://example.com/t", "--predicate", predicate, "--key", key+".key", "--bundle", attested)
	c.must("sign", c.tree, "--key", key+".key", "--signature", sig)
	if status, out, errs := c.run("verify", c.tree, "--key", key+".pub", "--signature", sig); status != statusNo || !strings.Contains(out+errs, "weights.bin") {
		t.Errorf("a wrong signature: status %d: %s%s", status, out, errs)
	}
	c.must("sign", c.tree, "--key", key+".key", "--signature", sig, "--no-cache")
	c.must("verify", c.tree, "--key", key+".pub", "--signature", sig)

	// A pack that copies notices, and forgets what was wrong.
	c.poison()
	second := "oci:" + filepath.Join(c.dir, "second") + ":v1"
	status, _, errs := c.run("pack", c.tree, second)
	if status != statusNo || !strings.Contains(errs, "weights.bin") || !strings.Contains(errs, "digest") {
		t.Errorf("status %d: %s", status, errs)
	}
	c.must("pack", c.tree, second)
	if out := c.must("hash", c.tree, "-o", "digest"); out != right {
		t.Errorf("still remembered: %s", out)
	}
}

func TestCacheSwitch(t *testing.T) {
	c := newCached(t)
	c.poison()
	entries := func() string {
		_, out, _ := strings.Cut(c.must("cache"), "entries")
		return strings.Fields(out)[0]
	}
	if entries() != "1" {
		t.Error(c.must("cache"))
	}
	for value, want := range map[string]int{"off": statusDone, "on": statusDone, "maybe": statusUsage} {
		var errs bytes.Buffer
		a := &app{stdout: io.Discard, stderr: &errs, now: time.Now, userCacheDir: func() (string, error) { return filepath.Join(c.dir, "caches"), nil },
			lookupEnv: func(name string) (string, bool) { return value, name == cacheVariable }}
		if status := a.main(context.Background(), []string{"hash", c.tree}); status != want {
			t.Errorf("%s=%s: status %d: %s", cacheVariable, value, status, errs.String())
		}
	}
	c.must("cache", "clear")
	if entries() != "0" {
		t.Error(c.must("cache"))
	}
	if err := os.WriteFile(filepath.Join(c.cacheDir(), "digests"), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := c.must("cache"); !strings.Contains(out, "not used: ") {
		t.Error(out)
	}
	c.must("cache", "clear")
}
