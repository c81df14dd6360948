//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
)

const (
	usualKills    = 60 // of a plain `go test`; MLSEAL_KILLS asks for more
	killsPerRound = 14 // in one layout, which is read as a whole after each of them
)

// TestKilledAtAnyMoment ends commands with SIGKILL at random moments. Whatever was finished before is whole after each kill, nothing
// unfinished has a final name, nobody waits for the dead, and the same command succeeds when it is run again. A page that was written is
// in the kernel's hands, so that a kill says nothing about the sync calls, which are for a machine that loses its power.
func TestKilledAtAnyMoment(t *testing.T) {
	kills := numberFromEnv(t, "MLSEAL_KILLS", usualKills)
	seed := numberFromEnv(t, "MLSEAL_KILL_SEED", int(time.Now().UnixNano()&0x7fffffff))
	t.Logf("%d kills with MLSEAL_KILL_SEED=%d", kills, seed)
	k := &killer{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), usual: map[string]time.Duration{}, killed: map[string]int{}, dir: t.TempDir()}
	k.host = serveRegistry(t)
	k.prepare()
	for round := 0; k.total() < kills && !t.Failed(); round++ {
		k.round(filepath.Join(k.dir, fmt.Sprint("round", round)), fmt.Sprint("team/model", round), min(killsPerRound, kills-k.total()))
	}
	t.Logf("killed %v, finished first %d", k.killed, k.survived)
}

func numberFromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is no positive number", name, text)
	}
	return n
}

// killer kills commands and knows what must be there afterwards.
type killer struct {
	t        *testing.T
	rng      *rand.Rand
	dir      string
	host     string // of the registry
	push     bool   // this mlseal has the commands push and copy
	start    time.Duration
	usual    map[string]time.Duration // how long a command of a kind takes
	killed   map[string]int           // by kind
	survived int
	notes    int // statements made, each of them another one

	// Of the round.
	work      string
	store     string // the layout
	repo      string
	shared    []byte
	trees     int
	known     map[string]*artifact // finished, by reference
	order     []string             // their references
	signature []byte
}

// artifact is what must be under a reference.
type artifact struct {
	digest  string
	files   testFiles
	bundles map[string]bool
}

func (k *killer) total() int {
	n := 0
	for _, m := range k.killed {
		n += m
	}
	return n
}

func (k *killer) prepare() {
	t := k.t
	succeed(t, k.dir, "keys", "generate", "--output-key-prefix", filepath.Join(k.dir, "k"))
	begin := time.Now()
	succeed(t, k.dir, "version")
	k.start = time.Since(begin)
	k.push = hasCommand(t, k.dir, "push")
	if !k.push {
		t.Log("this mlseal has no command push: it was NOT killed")
	}
}

// round kills n commands that share a layout, and commands that run between them.
func (k *killer) round(work, repo string, n int) {
	k.work, k.repo, k.trees = work, k.host+"/"+repo, 0
	k.store = filepath.Join(work, "store")
	k.known, k.order, k.signature = map[string]*artifact{}, nil, nil
	k.shared = randomBytes(k.rng, 1<<20)
	if err := os.Mkdir(work, 0o755); err != nil {
		k.t.Fatal(err)
	}
	defer func() {
		if !k.t.Failed() {
			_ = os.RemoveAll(work)
		}
	}()
	for before := k.total(); k.total() < before+n && !k.t.Failed(); {
		k.step()
	}
	k.end()
}

// step lets one command run and kills it, unless it is faster.
func (k *killer) step() {
	steps := []func(){k.pack, k.pack, k.pack, k.packElsewhere, k.signTree, func() { k.packInto(k.repo + ":" + fmt.Sprint("r", k.trees)) }}
	if len(k.order) > 0 {
		steps = append(steps, k.attest, k.attest, k.sign, k.pull, k.pull, k.pull, k.retag)
		steps = append(steps, k.tag, k.remove, k.collect)
		if k.push {
			steps = append(steps, k.pushPackage, k.pushPackage, k.copyPackage)
		}
		if k.rng.IntN(2) == 0 {
			steps = append(steps, k.generate) // the slowest, since a password's hash is
		}
	}
	steps[k.rng.IntN(len(steps))]()
	k.check()
}

// kill runs a command and kills it at a random moment of its usual time and somewhat longer. Half of the moments are after
// the time that a process takes to start at all.
func (k *killer) kill(kind string, args ...string) (finished bool) {
	t := k.t
	t.Helper()
	usual := max(k.usual[kind], 2*k.start)
	delay := time.Duration(k.rng.Float64() * 1.3 * float64(usual))
	if k.rng.IntN(2) == 0 {
		delay = k.start/2 + time.Duration(k.rng.Float64()*float64(usual-k.start/2))
	}
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	cmd, stderr := command(ctx, k.dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	if err == nil {
		k.usual[kind] = time.Since(begin)
		k.survived++
		return true
	}
	var exit *exec.ExitError
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !errors.As(err, &exit) || !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL || ctx.Err() != nil {
		t.Errorf("%v: %v: %s", args, err, stderr)
	}
	k.killed[kind]++
	return false
}

// again runs the command that was killed in some of the cases, and to its end.
func (k *killer) again(kind string, args ...string) (finished bool) {
	if k.usual[kind] > 0 && k.rng.IntN(2) == 0 {
		return false
	}
	k.check() // before anything is mended
	begin := time.Now()
	succeed(k.t, k.dir, args...)
	k.usual[kind] = time.Since(begin)
	return true
}

func (k *killer) killAndRepeat(kind string, args ...string) (finished bool) {
	k.t.Helper()
	return k.kill(kind, args...) || k.again(kind, args...)
}

func (k *killer) newTree() (dir string, files testFiles) {
	k.trees++
	dir = filepath.Join(k.work, fmt.Sprint("tree", k.trees))
	files = randomFiles(k.rng, k.shared)
	files.write(k.t, dir)
	return dir, files
}

// any picks a finished artifact, in the layout if that is wanted.
func (k *killer) any(layout bool) (reference string, a *artifact) {
	reference = k.order[k.rng.IntN(len(k.order))]
	if layout && reference[:4] != "oci:" {
		reference = "oci:" + k.store + ":picked"
		if k.known[reference] == nil {
			k.packDone(reference)
		}
	}
	return reference, k.known[reference]
}

// packDone packs a tree without a kill.
func (k *killer) packDone(reference string) {
	dir, files := k.newTree()
	succeed(k.t, k.dir, "pack", dir, reference)
	k.finish(reference, files)
}

// finish notes that an artifact is there.
func (k *killer) finish(reference string, files testFiles) {
	k.t.Helper()
	digest, bundles := checkTarget(k.t, reference)
	if digest == "" {
		k.t.Errorf("%s: packed, and not there", reference)
	}
	if k.known[reference] == nil {
		k.order = append(k.order, reference)
	}
	k.known[reference] = &artifact{digest, files, bundles}
}

func (k *killer) pack() { k.packInto("oci:" + k.store + ":" + fmt.Sprint("t", k.trees+1)) }

func (k *killer) packInto(reference string) {
	dir, files := k.newTree()
	if k.killAndRepeat("pack "+reference[:4], "pack", dir, reference) {
		k.finish(reference, files)
	}
}

// packElsewhere makes a layout of its own: the kill may hit the making.
func (k *killer) packElsewhere() {
	dir, _ := k.newTree()
	store := filepath.Join(k.work, fmt.Sprint("store", k.trees))
	args := []string{"pack", filepath.Join(dir, "config.json"), "oci:" + store + ":v1"}
	if !k.kill("pack anew", args...) {
		succeed(k.t, k.dir, args...)
	}
	checkLayout(k.t, store)
	if digest, _ := checkTarget(k.t, "oci:"+store+":v1"); digest == "" {
		k.t.Errorf("%s: packed, and not there", store)
	}
}

// retag packs another tree under a tag that is taken: afterwards it names the one or the other.
func (k *killer) retag() {
	reference, old := k.any(true)
	dir, files := k.newTree()
	if !k.kill("retag", "pack", dir, reference) {
		k.maybeMoved(reference, old, files)
		if !k.again("retag", "pack", dir, reference) {
			return
		}
	}
	k.finish(reference, files)
}

// maybeMoved takes what a tag names now for right when it is another artifact than before, and whole.
func (k *killer) maybeMoved(reference string, old *artifact, files testFiles) {
	if digest, bundles := checkTarget(k.t, reference); digest != old.digest && digest != "" {
		k.known[reference] = &artifact{digest, files, bundles}
	}
}

func (k *killer) attest() {
	reference, _ := k.any(false)
	k.notes++
	if err := os.WriteFile(filepath.Join(k.dir, "p.json"), fmt.Appendf(nil, `{"note": %d}`, k.notes), 0o644); err != nil {
		k.t.Fatal(err)
	}
	k.attach("attest "+reference[:4], reference, "attest", reference, "--type", "https://example.com/note/v1", "--predicate", filepath.Join(k.dir, "p.json"), "--key", filepath.Join(k.dir, "k.key"))
}

func (k *killer) sign() {
	reference, _ := k.any(false)
	k.attach("sign "+reference[:4], reference, "sign", reference, "--key", filepath.Join(k.dir, "k.key"))
}

func (k *killer) attach(kind, reference string, args ...string) {
	a := k.known[reference]
	finished := k.killAndRepeat(kind, args...)
	_, now := checkTarget(k.t, reference)
	if !includes(now, a.bundles) || finished && (len(now) == 0 || args[0] == "attest" && len(now) == len(a.bundles)) {
		k.t.Errorf("%v: %s has %d statements and had %d", args, reference, len(now), len(a.bundles))
	}
	a.bundles = now
}

// signTree signs a directory; the signature of an earlier one is replaced as a whole.
func (k *killer) signTree() {
	t := k.t
	dir, _ := k.newTree()
	name := filepath.Join(k.work, "model.sig")
	args := []string{"sign", dir, "--key", filepath.Join(k.dir, "k.key"), "--signature", name}
	finished := k.kill("sign tree", args...)
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, os.ErrNotExist) && k.signature == nil && !finished:
	case err != nil:
		t.Error(err)
	case !bytes.Equal(data, k.signature):
		if _, err := attest.Parse(data); err != nil {
			t.Errorf("half a signature: %v", err)
		}
	}
	if !finished {
		succeed(t, k.dir, args...)
	}
	succeed(t, k.dir, "verify", dir, "--key", filepath.Join(k.dir, "k.pub"), "--signature", name)
	if k.signature, err = os.ReadFile(name); err != nil {
		t.Error(err)
	}
}

// generate makes a key pair: a file of it that is there is whole.
func (k *killer) generate() {
	k.trees++
	prefix := filepath.Join(k.work, fmt.Sprint("key", k.trees))
	k.kill("generate", "keys", "generate", "--output-key-prefix", prefix)
	if _, err := os.Stat(prefix + ".key"); err == nil {
		succeed(k.t, k.dir, "keys", "public", "--key", prefix+".key")
	} else if _, err := os.Stat(prefix + ".pub"); err == nil {
		k.t.Errorf("%s.pub is there, and no private key", prefix)
	}
}

// pull extracts a package into a directory that may hold some of it already.
func (k *killer) pull() {
	reference, a := k.any(false)
	k.trees++
	dest := filepath.Join(k.work, fmt.Sprint("pulled", k.trees))
	if k.rng.IntN(3) == 0 {
		testFiles{"c.bin": a.files["c.bin"], "config.json": a.files["config.json"]}.write(k.t, dest)
	}
	kind := "pull " + reference[:4]
	for range 3 {
		if k.kill(kind, "pull", reference, dest) {
			a.files.checkPulled(k.t, dest, true)
			return
		}
		a.files.checkPulled(k.t, dest, false)
		checkFree(k.t, dest)
	}
	begin := time.Now()
	succeed(k.t, k.dir, "pull", reference, dest)
	k.usual[kind] = time.Since(begin)
	a.files.checkPulled(k.t, dest, true) // no leftovers either
}

// pushPackage takes a package and its statements to the registry.
func (k *killer) pushPackage() {
	reference, a := k.any(true)
	k.transfer("push", reference, k.repo+":"+fmt.Sprint("p", k.trees), a)
}

// copyPackage takes a package and its statements to another layout.
func (k *killer) copyPackage() {
	reference, a := k.any(false)
	mirror := filepath.Join(k.work, fmt.Sprint("mirror", k.trees))
	k.transfer("copy", reference, "oci:"+mirror+":v1", a)
	if _, err := os.Stat(filepath.Join(mirror, "oci-layout")); err == nil {
		checkLayout(k.t, mirror)
	}
}

// tag gives a finished artifact of the layout another name, which it has afterwards or has not.
func (k *killer) tag() {
	reference, a := k.any(true)
	k.trees++
	name := fmt.Sprint("alias", k.trees)
	if k.killAndRepeat("tag", "tag", reference, name) {
		alias := "oci:" + k.store + ":" + name
		if digest, _ := checkTarget(k.t, alias); digest != a.digest {
			k.t.Errorf("%s is %q and %s is %s", alias, digest, reference, a.digest)
		}
	}
}

// remove takes a tag off an artifact that has no other: nothing else may go with it.
func (k *killer) remove() {
	reference := "oci:" + k.store + fmt.Sprint(":gone", k.trees+1)
	dir, _ := k.newTree()
	succeed(k.t, k.dir, "pack", dir, reference)
	finished := k.kill("rm", "rm", reference)
	digest, _ := checkTarget(k.t, reference)
	if digest != "" && !finished {
		finished = k.again("rm", "rm", reference) // the kill came before it was done
		digest, _ = checkTarget(k.t, reference)
	}
	if finished && digest != "" {
		k.t.Errorf("%s was removed, and is %s", reference, digest)
	}
}

// collect removes what nothing refers to, however young: everything that was finished stays.
func (k *killer) collect() {
	k.any(true) // makes the layout, if there is none
	k.killAndRepeat("gc", "gc", "oci:"+k.store, "--older-than", "0s")
}

func (k *killer) transfer(name, from, to string, a *artifact) {
	k.trees++
	if !k.kill(name, name, from, to) {
		k.check()
		succeed(k.t, k.dir, name, from, to)
	}
	digest, bundles := checkTarget(k.t, to)
	if digest != a.digest || !includes(bundles, a.bundles) {
		k.t.Errorf("%s %s %s: %s with %d statements instead of %s with %d", name, from, to, digest, len(bundles), a.digest, len(a.bundles))
	}
}

// check looks at everything that was finished.
func (k *killer) check() {
	t := k.t
	t.Helper()
	if _, err := os.Stat(filepath.Join(k.store, "oci-layout")); err == nil {
		state := checkLayout(t, k.store)
		for tag := range state.tags {
			if reference := "oci:" + k.store + ":" + tag; k.known[reference] == nil {
				checkTarget(t, reference) // the command was killed, and nevertheless done
			}
		}
	}
	for reference, a := range k.known {
		digest, bundles := checkTarget(t, reference)
		if digest != a.digest {
			t.Errorf("%s is %q and was %s", reference, digest, a.digest)
		}
		if !includes(bundles, a.bundles) {
			t.Errorf("%s has lost statements", reference)
		}
	}
	if t.Failed() {
		t.Logf("see %s", k.work)
	}
}

// end makes the leftovers old: the next pack removes them all.
func (k *killer) end() {
	t := k.t
	k.packDone("oci:" + k.store + ":last")
	left := checkLayout(t, k.store).temps
	past := time.Now().Add(-2 * time.Hour)
	for _, name := range left {
		if err := os.Chtimes(filepath.Join(k.store, name), past, past); err != nil {
			t.Error(err)
		}
	}
	k.packDone("oci:" + k.store + ":last")
	if still := checkLayout(t, k.store).temps; len(still) > 0 {
		t.Errorf("of %d old unfinished files %d are still there: %v", len(left), len(still), still)
	}
	k.check()
}
