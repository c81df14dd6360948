//go:build unix

package manifest

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

func TestNamedPipeIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "p"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(context.Background(), rootFS(t, dir), Options{}); !errors.Is(err, ErrSpecial) || !IsRefusal(err) {
		t.Errorf("error is %v", err)
	}
}
