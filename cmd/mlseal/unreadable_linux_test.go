package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUnreadableFile runs the real command as a user who may not read one file of the tree.
func TestUnreadableFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a command as somebody else: this test did NOT run")
	}
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "mlseal")
	for name, file := range map[string]struct {
		data []byte
		mode os.FileMode
	}{"mlseal": {self, 0o755}, "tree/a": {[]byte("x"), 0o644}, "tree/secret": {[]byte("x"), 0o600}} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.data, file.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil { // the layout is made before the file is read
		t.Fatal(err)
	}
	for _, args := range [][]string{{"hash", "tree"}, {"pack", "tree", "oci:store:v1"}} {
		cmd := exec.Command(bin, args...) // TestMain runs main for a program of this name
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != statusNotDecided {
			t.Errorf("%v: %v, want exit status %d: %s", args, err, statusNotDecided, stderr.String())
		}
		if out := stderr.String(); !strings.Contains(out, "secret: permission denied") || !strings.Contains(out, "hint: check the permissions") {
			t.Errorf("%v: stderr is %s", args, out)
		}
	}
}
