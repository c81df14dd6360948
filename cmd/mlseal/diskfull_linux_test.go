package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runApp runs one command line in this process.
func runApp(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, now: time.Now, lookupEnv: func(name string) (string, bool) { return "pw", name == "MLSEAL_PASSWORD" }}
	status = a.main(context.Background(), args)
	return status, out.String(), errs.String()
}

// smallDisk mounts a file system of a size in bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no tmpfs can be mounted here (%v): the disk-full test did NOT run", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	return dir
}

// listing is every file below dir with its size.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString(path + " " + fmt.Sprint(len(data)) + "\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDiskFullWhilePacking: the pack that does not fit says so, and what was in the layout before is whole.
func TestDiskFullWhilePacking(t *testing.T) {
	disk := smallDisk(t, "1m")
	work := t.TempDir()
	for name, size := range map[string]int{"small/a": 1000, "big/a": 300 << 10, "big/b": 2 << 20} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(name[:1]), size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	store := filepath.Join(disk, "store")
	if status, _, errs := runApp(t, "pack", filepath.Join(work, "small"), "oci:"+store+":v1"); status != statusDone {
		t.Fatalf("status %d: %s", status, errs)
	}
	before := listing(t, store)
	status, out, errs := runApp(t, "pack", filepath.Join(work, "big"), "oci:"+store+":v2")
	if status != statusNotDecided || !strings.Contains(errs, "no space left on device") || !strings.Contains(errs, "hint: free some space") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
	}
	if after := listing(t, store); after != before {
		t.Errorf("the layout changed:\n%s\nwas\n%s", after, before)
	}
	if status, _, errs := runApp(t, "pull", "oci:"+store+":v1", filepath.Join(work, "out")); status != statusDone {
		t.Errorf("the earlier package: status %d: %s", status, errs)
	}
	if status, _, _ := runApp(t, "inspect", "oci:"+store+":v2"); status != statusUsage {
		t.Errorf("a package that was not finished is there: status %d", status)
	}
}

// TestDiskFullWhilePullingAndSigning: no file of a half-written pull or signature has its final name.
func TestDiskFullWhilePullingAndSigning(t *testing.T) {
	disk := smallDisk(t, "200k")
	work := t.TempDir()
	if err := os.MkdirAll(filepath.Join(work, "m"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "m", "weights"), bytes.Repeat([]byte("w"), 400<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	store := "oci:" + filepath.Join(work, "store") + ":v1"
	if status, _, errs := runApp(t, "pack", filepath.Join(work, "m"), store); status != statusDone {
		t.Fatal(errs)
	}
	if status, _, errs := runApp(t, "pull", store, filepath.Join(disk, "out")); status != statusNotDecided || !strings.Contains(errs, "weights") {
		t.Errorf("pull: status %d: %s", status, errs)
	}
	if left := listing(t, disk); left != "" {
		t.Errorf("pull left\n%s", left)
	}
	archive := "oci-archive:" + filepath.Join(disk, "m.tar") + ":v1"
	if status, _, errs := runApp(t, "copy", store, archive); status != statusNotDecided || !strings.Contains(errs, "hint: free some space") {
		t.Errorf("copy: status %d: %s", status, errs)
	}
	if left := listing(t, disk); left != "" {
		t.Errorf("copy left\n%s", left)
	}
	if status, _, errs := runApp(t, "keys", "generate", "--output-key-prefix", filepath.Join(work, "k")); status != statusDone {
		t.Fatal(errs)
	}
	if err := os.WriteFile(filepath.Join(disk, "fill"), make([]byte, 200<<10), 0o644); err == nil {
		t.Log("the disk is larger than it was asked to be")
	}
	sig := filepath.Join(disk, "model.sig")
	if status, _, _ := runApp(t, "sign", filepath.Join(work, "m"), "--key", filepath.Join(work, "k.key"), "--signature", sig); status != statusNotDecided {
		t.Errorf("sign: status %d", status)
	}
	if _, err := os.Lstat(sig); err == nil {
		t.Error("sign left a signature that it could not write")
	}
}

// TestPanicIsABug is case 71: a panic gives status 4 and asks for a report.
func TestPanicIsABug(t *testing.T) {
	var errs bytes.Buffer
	a := &app{stdout: &errs, stderr: &errs, now: func() time.Time { panic("clock") }, lookupEnv: func(string) (string, bool) { return "", true }}
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"keys", "generate", "--output-key-prefix", filepath.Join(work, "k")}, {"pack", filepath.Join(work, "f"), "oci:" + filepath.Join(work, "s") + ":v1"}} {
		if status := a.main(context.Background(), args); status != statusDone {
			t.Fatalf("%v: status %d: %s", args, status, errs.String())
		}
	}
	if status := a.main(context.Background(), []string{"sign", "oci:" + filepath.Join(work, "s") + ":v1", "--key", filepath.Join(work, "k.key")}); status != statusBug {
		t.Errorf("status %d, want %d", status, statusBug)
	}
	if !strings.Contains(errs.String(), "a bug in mlseal") {
		t.Errorf("stderr is %s", errs.String())
	}
}

// TestCancelled: a cancelled command reached no decision.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: &out, now: time.Now, lookupEnv: func(string) (string, bool) { return "", false }}
	if status := a.main(ctx, []string{"hash", t.TempDir() + "/.."}); status != statusNotDecided {
		t.Errorf("status %d, want %d: %s", status, statusNotDecided, out.String())
	}
}
