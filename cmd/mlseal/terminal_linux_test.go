package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is the other end of the terminal that a process runs on.
type terminal struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	shown  bytes.Buffer
	read   int
}

// newTerminal opens a pseudo-terminal (pts(4)) and returns both ends.
func newTerminal(t *testing.T) (*terminal, *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v; %s did NOT run", err, t.Name())
	}
	t.Cleanup(func() { _ = master.Close() })
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	if err := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, master: master}
	go term.listen()
	return term, slave
}

func (term *terminal) listen() {
	buffer := make([]byte, 4096)
	for {
		n, err := term.master.Read(buffer)
		term.mu.Lock()
		term.shown.Write(buffer[:n])
		term.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sees waits until text is shown behind what was seen before.
func (term *terminal) sees(text string) {
	term.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		term.mu.Lock()
		rest := term.shown.String()[term.read:]
		if at := strings.Index(rest, text); at >= 0 {
			term.read += at + len(text)
			term.mu.Unlock()
			return
		}
		term.mu.Unlock()
	}
	term.t.Fatalf("the terminal never shows %q, but\n%s", text, term.shown.String())
}

func (term *terminal) types(text string) {
	if _, err := term.master.WriteString(text); err != nil {
		term.t.Fatal(err)
	}
}

// onTerminal starts the real main on a terminal.
func onTerminal(t *testing.T, dir string, args ...string) (*terminal, *exec.Cmd) {
	t.Helper()
	term, slave := newTerminal(t)
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	t.Cleanup(cancel)
	cmd, _ := command(ctx, dir, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	return term, cmd
}

// TestQuestionsOnATerminal: what is missing is asked for, what is wrong is asked again, and Ctrl-C leaves nothing behind.
func TestQuestionsOnATerminal(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/a.txt", []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	succeed(t, dir, "keys", "generate", "--output-key-prefix", "alice")
	succeed(t, dir, "pack", "a.txt", "oci:s:v1")
	succeed(t, dir, "sign", "oci:s:v1", "--key", "alice.key")
	statements := func() int {
		blobs, err := os.ReadDir(dir + "/s/blobs/sha256")
		if err != nil {
			t.Fatal(err)
		}
		return len(blobs)
	}
	before := statements()

	term, cmd := onTerminal(t, dir, "attest", "approval", "oci:s:v1", "--key", "alice.key")
	term.sees("decision: ")
	term.types("\x03")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != statusNotDecided || statements() != before {
		t.Errorf("Ctrl-C: status %d, %d blobs instead of %d", got, statements(), before)
	}
	term, cmd = onTerminal(t, dir, "attest", "approval", "oci:s:v1", "--key", "alice.key")
	term.sees("decision: ")
	term.types("\x04")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != statusNotDecided || statements() != before {
		t.Errorf("Ctrl-D: status %d, %d blobs instead of %d", got, statements(), before)
	}

	term, cmd = onTerminal(t, dir, "attest", "approval", "oci:s:v1", "--key", "alice.key", "-o", "json")
	for _, step := range [][2]string{
		{"(approved, rejected, revoked): ", "maybe"}, {"want one of", "rejected"}, {"environment: ", ""}, {"an answer is needed", "prod"},
		{"reason: ", "too weak"}, {"cosign/sign/v1  not verified: signed with key", ""}, {"an answer is needed", "2"}, {"there is no statement 2", "1"},
	} {
		term.sees(step[0])
		term.types(step[1] + "\n")
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, term.shown.String())
	}
	if statements() <= before {
		t.Error("nothing was attached")
	}

	term, cmd = onTerminal(t, dir, "attest", "approval", "oci:s:v1", "--key", "alice.key", "--no-input")
	term.sees("values are missing: --decision, --environment, --reviewed")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != statusUsage {
		t.Errorf("--no-input: status %d", got)
	}
}
