package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudoterminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudoterminal: this test did NOT run: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// onTerminal makes the process the leader of the terminal's session.
func (r *recording) onTerminal(script string) (run func(typed string) (status int)) {
	master, slave := openTerminal(r.t)
	cmd, _ := r.process(script)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return func(typed string) int {
		if err := cmd.Start(); err != nil {
			r.t.Fatal(err)
		}
		r.awaitFile("ready")
		if _, err := master.WriteString(typed); err != nil {
			r.t.Fatal(err)
		}
		_ = cmd.Wait()
		return cmd.ProcessState.ExitCode()
	}
}

func TestRecordPassesTheTerminal(t *testing.T) {
	r := newRecording(t)
	run := r.onTerminal("mkdir out; touch ready; test -t 0 && test -t 1 && test -t 2 && head -n 1 > out/x")
	if status := run("typed\n"); status != 0 {
		t.Fatalf("status %d", status)
	}
	if data, err := os.ReadFile(filepath.Join(r.dir, "out", "x")); err != nil || strings.TrimSpace(string(data)) != "typed" {
		t.Errorf("%q %v", data, err)
	}
}

// TestRecordAndCtrlC: the terminal sends the interrupt to the command itself, which must get it once. To many programs a second one
// means "at once".
func TestRecordAndCtrlC(t *testing.T) {
	r := newRecording(t)
	run := r.onTerminal(`mkdir out; n=0; trap 'n=$((n+1))' INT; touch ready; i=0; while [ $n = 0 ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done; sleep 0.5; sleep 0.1; echo "interrupts $n" > out/x`)
	if status := run("\x03"); status != 0 {
		t.Fatalf("status %d", status)
	}
	if data, err := os.ReadFile(filepath.Join(r.dir, "out", "x")); err != nil || string(data) != "interrupts 1\n" {
		t.Errorf("%q %v", data, err)
	}
	if s := r.statement(); !strings.Contains(s, `"mlseal_signals":"SIGINT"`) {
		t.Error(s)
	}
}

// TestRecordDoesNotRepeatCtrlC: a command in a session of its own gets nothing of the terminal, and so would only get what mlseal passes on.
func TestRecordDoesNotRepeatCtrlC(t *testing.T) {
	r := newRecording(t)
	run := r.onTerminal(`exec setsid sh -c 'mkdir out; n=0; trap "n=1" INT; touch ready; i=0; while [ $i -lt 10 ]; do sleep 0.1; i=$((i+1)); done; echo "interrupts $n" > out/x'`)
	if status := run("\x03"); status != 0 {
		t.Fatalf("status %d", status)
	}
	if data, err := os.ReadFile(filepath.Join(r.dir, "out", "x")); err != nil || string(data) != "interrupts 0\n" {
		t.Errorf("%q %v", data, err)
	}
	if s := r.statement(); !strings.Contains(s, `"mlseal_signals":"SIGINT"`) {
		t.Error(s)
	}
}
