package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/filelock"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Outcome is what Accept found besides errors.
type Outcome struct {
	Note string // about the policies before this one; may be empty
	// NotKept is why the policy was compared and will not be remembered, such as a file system that can only be read; nil when it is kept.
	NotKept error
}

// Accept compares a policy with the memory in the file name and remembers it. A file that is not there is an empty memory, and is made. One that
// cannot be read or understood fails with an error that wraps ErrUnreadable, and a policy that is not the successor of what was
// accepted before with one that wraps ErrRollback or ErrMisplaced. Processes that accept policies at one time wait for each other.
func Accept(ctx context.Context, name string, p Policy, now time.Time) (Outcome, error) {
	unlock, err := lock(ctx, name)
	if err != nil && !isReadOnly(err) {
		return Outcome{}, fmt.Errorf("%s: %w: %w", name, ErrUnreadable, err)
	}
	out := Outcome{NotKept: err}
	defer unlock()
	m, err := read(name)
	if err != nil {
		return Outcome{}, fmt.Errorf("%s: %w: %w", name, ErrUnreadable, err)
	}
	note, changed, err := m.accept(p, now)
	if err != nil {
		return Outcome{}, err
	}
	out.Note = note
	if !changed {
		return Outcome{Note: note}, nil // it is kept already
	}
	if out.NotKept == nil {
		out.NotKept = m.write(name)
	}
	return out, nil
}

// isReadOnly tells where nothing can be written from where something is wrong.
func isReadOnly(err error) bool {
	for _, target := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// openLock is a variable for the test of places where nothing can be written.
var openLock = func(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) }

// lock keeps other processes out until unlock is called, which it may be after an error too.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	unlock = func() {}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return unlock, err
	}
	f, err := openLock(name + ".lock")
	if err != nil {
		return unlock, err
	}
	if err := filelock.Wait(ctx, f); err != nil {
		_ = f.Close()
		return unlock, err
	}
	return func() { _ = f.Close() }, nil
}

func read(name string) (*memory, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &memory{Format: format}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	m := &memory{}
	if err := strictjson.Unmarshal(data, m, strictjson.Limits{MaxBytes: MaxBytes}); err != nil {
		return nil, err
	}
	return m, m.check()
}

// check refuses what this package would not have written.
func (m *memory) check() error {
	if m.Format != format {
		return fmt.Errorf("its format is %q, not %s", m.Format, format)
	}
	known := map[[2]string]bool{}
	for _, a := range m.Policies {
		key := [2]string{a.Name, a.Signer}
		if a.Version < 1 || a.Name == "" || a.Signer == "" || a.Document == "" || a.Artifact == "" || known[key] {
			return fmt.Errorf("its entry for the policy %q is not whole, or is there twice", a.Name)
		}
		known[key] = true
	}
	return nil
}

func (m *memory) write(name string) error {
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.Write(name, append(data, '\n'), atomicfile.Options{Perm: 0o600})
}
