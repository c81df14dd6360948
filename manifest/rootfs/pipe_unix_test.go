//go:build unix

package rootfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestOpenDoesNotWait: a named pipe that took the place of a file since it was looked at is no reason to wait forever.
func TestOpenDoesNotWait(t *testing.T) {
	root, fsys := newTree(t)
	pipe := filepath.Join(root.Name(), "sub", "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, fsys := range map[string]fs.FS{"New": fsys, "os.Root": plainOf(root)} {
		late := time.AfterFunc(5*time.Second, func() {
			t.Errorf("%s: it waits", what)
			if f, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil { // lets it go on
				defer func() { _ = f.Close() }()
				time.Sleep(time.Second)
			}
		})
		f, err := fsys.Open("sub/pipe")
		late.Stop()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		info, err := f.Stat()
		if err != nil || info.Mode().Type() != fs.ModeNamedPipe {
			t.Errorf("%s: %v, %v", what, info, err)
		}
		_ = f.Close()
	}
}
