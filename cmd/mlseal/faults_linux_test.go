package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// placeFault is something that is wrong with the place that a command writes to.
type placeFault struct {
	message string
	hint    string
	spoil   func(t *testing.T, place string) // the file system that is mounted there; nil where none is needed
	as      *syscall.Credential              // who runs the command; nil for whoever runs the test
}

// nobody owns nothing.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

var placeFaults = map[string]placeFault{
	"disk full": {
		message: "no space left on device", hint: "hint: free some space",
		spoil: func(t *testing.T, place string) {
			f, err := os.Create(filepath.Join(place, "fill"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for block := make([]byte, 4096); err == nil; {
				_, err = f.Write(block)
			}
		},
	},
	"read-only file system": {
		message: "read-only file system", hint: "hint: choose a place that can be written to",
		spoil: func(t *testing.T, place string) {
			if err := syscall.Mount("tmpfs", place, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Skipf("the file system cannot be made read-only (%v): this test did NOT run", err)
			}
		},
	},
	"permission denied": {message: "permission denied", hint: "hint: check the permissions", as: nobody},
}

// TestFaultsOfThePlace runs every command that writes something, where it cannot be written: the message names it, the status says that
// nothing was decided, and the place is as it was.
func TestFaultsOfThePlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount file systems and run a command as somebody else: this test did NOT run")
	}
	work := t.TempDir()
	for dir := work; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	bin := programFor(t, work)
	testFiles{"tree/weights": make([]byte, 100<<10), "tree/config.json": []byte("{}"), "other/weights": []byte("other"), "p.json": []byte("{}")}.write(t, work)
	succeed(t, work, "keys", "generate", "--output-key-prefix", "k")
	if err := os.Chmod(filepath.Join(work, "k.key"), 0o644); err != nil { // nobody may sign
		t.Fatal(err)
	}
	succeed(t, work, "pack", "tree", "oci:store:v1")
	note := []string{"--type", "https://example.com/note/v1", "--predicate", "p.json", "--key", "k.key"}
	for name, f := range placeFaults {
		t.Run(name, func(t *testing.T) {
			place := filepath.Join(work, strings.ReplaceAll(name, " ", "-"))
			f.prepare(t, work, place)
			before := readTree(t, place)
			for _, tt := range []struct {
				name  string
				names string // what the message must name
				args  []string
			}{
				{"pack", "/store/", []string{"pack", "other", "oci:" + place + "/store:v2"}},
				{"pack anew", "/fresh", []string{"pack", "other", "oci:" + place + "/fresh:v1"}},
				{"attest", "/store/", append([]string{"attest", "oci:" + place + "/store:v1"}, note...)},
				{"sign", "/store/", []string{"sign", "oci:" + place + "/store:v1", "--key", "k.key"}},
				{"attest tree", "/x.bundle", append([]string{"attest", "tree", "--bundle", place + "/x.bundle"}, note...)},
				{"sign tree", "/old.sig", []string{"sign", "other", "--key", "k.key", "--signature", place + "/old.sig"}},
				{"keys", "/k2.key", []string{"keys", "generate", "--output-key-prefix", place + "/k2"}},
				{"pull", "/out", []string{"pull", "oci:store:v1", place + "/out"}},
				{"pull again", "/half/weights", []string{"pull", "oci:store:v1", place + "/half"}},
			} {
				t.Run(tt.name, func(t *testing.T) {
					cmd, stderr := command(t.Context(), work, tt.args...)
					cmd.Path = bin
					if f.as != nil {
						cmd.SysProcAttr = &syscall.SysProcAttr{Credential: f.as}
					}
					_ = cmd.Run()
					if status := cmd.ProcessState.ExitCode(); status != statusNotDecided {
						t.Errorf("status %d, want %d", status, statusNotDecided)
					}
					for _, want := range []string{f.message, f.hint, place + tt.names} {
						if !strings.Contains(stderr.String(), want) {
							t.Errorf("no %q in %s", want, stderr)
						}
					}
					unchanged(t, before, readTree(t, place))
				})
			}
			checkLayout(t, filepath.Join(place, "store"))
			if digest, _ := checkTarget(t, "oci:"+place+"/store:v1"); digest == "" {
				t.Error("the earlier package is gone")
			}
		})
	}
}

// prepare makes the place, puts something into it, and spoils it.
func (f placeFault) prepare(t *testing.T, work, place string) {
	t.Helper()
	if err := os.Mkdir(place, 0o755); err != nil {
		t.Fatal(err)
	}
	if f.spoil != nil {
		if err := syscall.Mount("tmpfs", place, "tmpfs", 0, "mode=755,size=4m"); err != nil {
			t.Skipf("no tmpfs can be mounted here (%v): this test did NOT run", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(place, 0) })
	}
	succeed(t, work, "pack", "tree", "oci:"+place+"/store:v1")
	succeed(t, work, "sign", "tree", "--key", "k.key", "--signature", place+"/old.sig")
	testFiles{"config.json": []byte("{}")}.write(t, filepath.Join(place, "half"))
	if f.spoil != nil {
		f.spoil(t, place)
	}
}

// programFor puts the command where everybody may run it.
func programFor(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "mlseal")
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}
