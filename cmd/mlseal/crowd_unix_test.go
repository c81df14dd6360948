//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// crowd is several processes that work in one layout.
type crowd struct {
	t     *testing.T
	dir   string
	store string
	rng   *rand.Rand
	files testFiles // of the tree that all share
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(1, 2))}
	c.store = filepath.Join(c.dir, "store")
	c.files = randomFiles(c.rng, randomBytes(c.rng, 200<<10))
	c.files.write(t, filepath.Join(c.dir, "same"))
	return c
}

// ref names a package in the layout.
func (c *crowd) ref(tag string) string { return "oci:" + c.store + ":" + tag }

// atOnce runs n things at once.
func (c *crowd) atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// whole wants every one of the tags, all whole, and nothing unfinished.
func (c *crowd) whole(tags ...string) layoutState {
	c.t.Helper()
	state := checkLayout(c.t, c.store)
	for _, tag := range tags {
		if digest, _ := checkTarget(c.t, c.ref(tag)); digest == "" || digest != state.tags[tag] {
			c.t.Errorf("%s: %q, and index.json says %q", tag, digest, state.tags[tag])
		}
	}
	if len(state.temps) > 0 {
		c.t.Errorf("left behind: %v", state.temps)
	}
	return state
}

// TestProcessesPackAtOnce: all succeed, in a layout that the first of them makes.
func TestProcessesPackAtOnce(t *testing.T) {
	const processes, rounds = 8, 3
	c := newCrowd(t)
	var tags []string
	for round := range rounds {
		for i := range processes / 2 {
			files := randomFiles(c.rng, c.files["shared.safetensors"])
			files.write(t, filepath.Join(c.dir, fmt.Sprintf("own%d-%d", round, i)))
		}
		c.atOnce(processes, func(i int) {
			tree := "same"
			if i < processes/2 {
				tree = fmt.Sprintf("own%d-%d", round, i)
			}
			succeed(t, c.dir, "pack", tree, c.ref(fmt.Sprintf("v%d-%d", round, i)))
		})
		for i := range processes {
			tags = append(tags, fmt.Sprintf("v%d-%d", round, i))
		}
		state := c.whole(tags...)
		for i := processes / 2; i < processes; i++ {
			if got, want := state.tags[fmt.Sprintf("v%d-%d", round, i)], state.tags[fmt.Sprintf("v0-%d", processes-1)]; got != want {
				t.Errorf("the same tree is %s and %s", got, want)
			}
		}
	}
	succeed(t, c.dir, "pull", c.ref(fmt.Sprintf("v0-%d", processes-1)), "out")
	c.files.checkPulled(t, filepath.Join(c.dir, "out"), true)
}

// TestProcessesAttachAtOnce: no statement pushes another one out, in a layout and in a registry.
func TestProcessesAttachAtOnce(t *testing.T) {
	const processes = 6
	c := newCrowd(t)
	succeed(t, c.dir, "keys", "generate", "--output-key-prefix", "k")
	for i := range processes {
		if err := os.WriteFile(filepath.Join(c.dir, fmt.Sprint(i, ".json")), fmt.Appendf(nil, `{"n": %d}`, i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, reference := range []string{c.ref("v1"), serveRegistry(t) + "/team/model:v1"} {
		succeed(t, c.dir, "pack", "same", reference)
		c.atOnce(processes, func(i int) {
			if i > 0 { // one signature only: signing twice may be the same
				succeed(t, c.dir, "attest", reference, "--type", "https://example.com/note/v1", "--predicate", fmt.Sprint(i, ".json"), "--key", "k.key")
			} else {
				succeed(t, c.dir, "sign", reference, "--key", "k.key")
			}
		})
		if _, bundles := checkTarget(t, reference); len(bundles) != processes {
			t.Errorf("%s: %d statements, want %d", reference, len(bundles), processes)
		}
		succeed(t, c.dir, "verify", reference, "--key", "k.pub")
	}
	if state := c.whole("v1"); len(state.referrers) != processes {
		t.Errorf("index.json lists %d statements, want %d", len(state.referrers), processes)
	}
}

// TestPullDuringPacks: whoever pulls by tag while others pack under that tag gets one tree or the other, and no mixture.
func TestPullDuringPacks(t *testing.T) {
	c := newCrowd(t)
	const n = 6
	trees := []testFiles{c.files}
	succeed(t, c.dir, "pack", "same", c.ref("moving"))
	for i := range n {
		files := randomFiles(c.rng, c.files["shared.safetensors"])
		files.write(t, filepath.Join(c.dir, fmt.Sprint("own", i)))
		trees = append(trees, files)
	}
	c.atOnce(2*n, func(i int) {
		if i < n {
			succeed(t, c.dir, "pack", fmt.Sprint("own", i), c.ref("moving"))
			return
		}
		out := fmt.Sprint("out", i)
		succeed(t, c.dir, "pull", c.ref("moving"), out)
		got := readTree(t, filepath.Join(c.dir, out))
		for _, tree := range trees {
			if string(tree["c.bin"]) == string(got["c.bin"]) {
				tree.checkPulled(t, filepath.Join(c.dir, out), true)
				return
			}
		}
		t.Errorf("%s is none of the trees", out)
	})
	c.whole("moving")
}

// TestPullsIntoOneDirectory: the second one waits, and finds the first one's files.
func TestPullsIntoOneDirectory(t *testing.T) {
	c := newCrowd(t)
	succeed(t, c.dir, "pack", "same", c.ref("v1"))
	c.atOnce(4, func(int) { succeed(t, c.dir, "pull", c.ref("v1"), "out") })
	c.files.checkPulled(t, filepath.Join(c.dir, "out"), true)
}

// TestFailingPackBesideOthers: a pack that cannot write its largest file takes back what it wrote, and nobody else's: files that it shares
// with packs beside it stay or are written again.
func TestFailingPackBesideOthers(t *testing.T) {
	c := newCrowd(t)
	big := testFiles{"huge.bin": randomBytes(c.rng, 3<<20)}
	for name, data := range c.files {
		big[name] = data
	}
	big.write(t, filepath.Join(c.dir, "big"))
	for range 6 {
		c.atOnce(4, func(i int) {
			if i > 0 {
				succeed(t, c.dir, "pack", "same", c.ref(fmt.Sprint("v", i)))
				return
			}
			for range 2 {
				c.failToPack("big", c.ref("big"))
			}
		})
		c.whole("v1", "v2", "v3")
		if digest, _ := checkTarget(t, c.ref("big")); digest != "" {
			t.Error("a package that was not finished is there")
		}
		if err := os.RemoveAll(c.store); err != nil { // so that the next ones write all of it again
			t.Fatal(err)
		}
	}
}

// failToPack packs with a limit of 2 MiB for a file.
func (c *crowd) failToPack(tree, reference string) {
	c.t.Helper()
	cmd := exec.Command("bash", "-c", `ulimit -f 2048; exec mlseal pack "$0" "$1"`, tree, reference)
	cmd.Dir = c.dir
	out, _ := cmd.CombinedOutput()
	if status := cmd.ProcessState.ExitCode(); status != statusNotDecided || !strings.Contains(string(out), "huge.bin") || !strings.Contains(string(out), "file too large") {
		c.t.Errorf("status %d: %s", status, out)
	}
}
