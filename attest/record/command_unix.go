//go:build unix

package record

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded are the signals that are passed on. SIGTSTP, SIGTTIN, SIGTTOU and SIGCONT keep what the system does with them: a stop from
// the terminal stops this process and the command together, and `fg` wakes both.
var forwarded = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGWINCH}

// relay passes on what this process is sent, and so outlives it.
type relay struct {
	ch      chan os.Signal
	done    chan struct{}
	started bool
	got     []string // names, written by the goroutine until done is closed
}

func listen() *relay {
	r := &relay{ch: make(chan os.Signal, 32), done: make(chan struct{})}
	for _, s := range forwarded {
		if !signal.Ignored(s) { // as nohup wants it, for the command too
			signal.Notify(r.ch, s)
		}
	}
	return r
}

// to passes signals on to the process from now on, those that have come already first.
func (r *relay) to(p *os.Process) {
	go func() {
		defer close(r.done)
		for s := range r.ch {
			number := s.(syscall.Signal)
			if name := unix.SignalName(number); number != unix.SIGWINCH && !slices.Contains(r.got, name) {
				r.got = append(r.got, name)
			}
			if !r.reachesGroup(number) {
				_ = p.Signal(s) // it may have ended meanwhile
			}
		}
	}()
	r.started = true
}

// reachesGroup reports whether the terminal has sent the signal to the command too: that it does with all of its foreground processes.
// A second interrupt would mean "at once" to many programs.
func (r *relay) reachesGroup(s syscall.Signal) bool {
	return (s == unix.SIGINT || s == unix.SIGQUIT || s == unix.SIGWINCH) && inForeground()
}

// inForeground reports whether this process is in the foreground of a terminal.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = tty.Close() }()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// stop ends the relay and returns the names of the signals that came.
func (r *relay) stop() []string {
	signal.Stop(r.ch)
	close(r.ch)
	if r.started {
		<-r.done
	}
	return r.got
}

// EndedBySignal is the number and the name of the signal that ended a process; 0 for none.
func EndedBySignal(state *os.ProcessState) (number int, name string) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0, ""
	}
	return int(status.Signal()), unix.SignalName(status.Signal())
}
