package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mlseal/mlseal/attest/record"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/mount"
	"github.com/mlseal/mlseal/manifest/reader"
	"github.com/spf13/cobra"
)

func (a *app) mountCommand() *cobra.Command {
	var f readFlags
	var memory sizeFlag
	cmd := &cobra.Command{
		Use:   "mount REF|PATH DIR [-- COMMAND...]",
		Short: "Mount a package or signed directory read-only, every read verified (Linux, FUSE)",
		Long: `Mount the files of a package or of a signed directory on an empty directory, read-only. No program gets a byte that was not verified: a
read that touches a wrong shard gets an input/output error, and a line on standard error names the file and the shard. Only files that are
known to be right, or signed, are there.

` + readingExplain + `

With shards (mlseal sign --shards) a read waits for the shards that it touches. Without them the first read of a file waits until the whole file was hashed; those of
at most 64 MiB are held in memory. What comes from a registry is kept in a temporary file without a name (TMPDIR), which needs the room of all that is read.

mlseal stays in the foreground until it gets SIGINT or SIGTERM or somebody unmounts the directory. With a command it runs that, unmounts when it ends, and
has its exit status (128 and the signal's number when a signal ended it); a command that ended with 0 after a read failed makes it 1.

It needs Linux with /dev/fuse, and either root or fusermount3.`,
		Example: "  mlseal mount oci:store:v1 /mnt/model --signature model.sig --key trainer.pub\n" +
			"  mlseal mount registry.example/llm:v1 /mnt/model --policy policy.yaml -- python3 serve.py /mnt/model",
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash == 2 && len(args) > 2 || dash < 0 && len(args) == 2 {
				return nil
			}
			return fmt.Errorf("%s takes REF|PATH and DIR, and behind -- a command", cmd.CommandPath())
		},
	}
	f.add(cmd)
	cmd.Flags().Var(&memory, "memory", "verified bytes that are kept in memory, such as 1GiB (default 256MiB)")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := f.check("mount", args[0]); err != nil {
			return err
		}
		if err := checkMountPoint(args[1]); err != nil {
			return err
		}
		return a.mount(cmd.Context(), args[0], args[1], args[2:], int64(memory), f)
	})
	return cmd
}

// checkMountPoint refuses what cannot be mounted on, or would hide something.
func checkMountPoint(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return usage(fmt.Errorf("mount: %s is no directory", dir))
	case err != nil:
		return noSuch(dir, err)
	}
	if len(entries) > 0 {
		return usage(fmt.Errorf("mount: %s is not empty: what is in it would be hidden", dir))
	}
	return nil
}

func (a *app) mount(ctx context.Context, arg, dir string, command []string, memory int64, f readFlags) error {
	r, err := a.openReadable(ctx, arg, f)
	if err != nil {
		return err
	}
	defer r.close()
	opts := reader.Options{Memory: memory}
	if r.dear {
		opts.Spool = reader.SpoolAll
	}
	// Whoever still reads while this command is told to end reads on until it is unmounted.
	tree, size, err := r.tree(context.WithoutCancel(ctx), opts)
	if err != nil {
		return err
	}
	defer func() { _ = tree.Close() }()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // nobody who stops reading stderr leaves a dead mount
	at, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	failures := &readFailures{app: a, seen: map[string]bool{}}
	mounted, err := mount.Mount(tree, at, mount.Options{Name: filepath.Base(arg), Failed: failures.add})
	if err != nil {
		return err
	}
	a.note(fmt.Sprintf("%d files, %s, on %s; every read is checked against %s", len(tree.Files()), progress.Bytes(size), dir, r.basis))
	err = whileMounted(ctx, mounted, command)
	if unmountErr := mounted.Unmount(); err == nil {
		err = unmountErr
	}
	if err == nil {
		err = failures.err()
	}
	return err
}

// whileMounted waits until the mount is over, or runs the command.
func whileMounted(ctx context.Context, mounted *mount.Mounted, command []string) error {
	if len(command) > 0 {
		return runCommand(ctx, command)
	}
	done := make(chan struct{})
	go func() {
		mounted.Wait()
		close(done)
	}()
	select {
	case <-ctx.Done():
	case <-done:
	}
	return nil
}

// commandPatience is how long a command may take to end once it was told to. It is shorter than cancelPatience: there is something to unmount.
const commandPatience = 3 * time.Second

// commandError is the exit status of a command that mlseal ran.
type commandError struct {
	status int
	signal string // what ended it; empty when it ended by itself
}

func (e commandError) Error() string {
	return cmp.Or(e.signal, fmt.Sprintf("the command ended with status %d", e.status))
}

func runCommand(ctx context.Context, command []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = commandPatience
	err := cmd.Run()
	var exit *exec.ExitError
	var number int // of the signal that ended it
	if errors.As(err, &exit) {
		number, _ = record.EndedBySignal(exit.ProcessState)
	}
	switch {
	case exit != nil && exit.ExitCode() > 0:
		return reportedError{commandError{status: exit.ExitCode()}}
	case ctx.Err() == nil && number > 0: // it was not this command that was told to end
		return fmt.Errorf("mount: %s: %w", command[0], commandError{status: record.SignalStatus + number, signal: exit.Error()})
	case err != nil && cmd.Process == nil:
		return usage(fmt.Errorf("mount: %w", err))
	case err != nil:
		return fmt.Errorf("mount: %s: %w", command[0], err)
	}
	return nil
}

// maxReadFailures is how many different failures are named.
const maxReadFailures = 1000

// readFailures says each failure once.
type readFailures struct {
	app   *app
	mu    sync.Mutex
	seen  map[string]bool
	first error
}

func (r *readFailures) add(_ string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = err
	}
	if text := err.Error(); !r.seen[text] && len(r.seen) < maxReadFailures {
		r.seen[text] = true
		_, _ = fmt.Fprintln(r.app.stderr, "mlseal: a read was refused: "+escape.Line(text))
	}
}

func (r *readFailures) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		return nil
	}
	return fmt.Errorf("mount: at least one read failed: %w", r.first)
}
