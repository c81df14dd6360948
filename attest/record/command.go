package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// The exit statuses of a command that could not be started, as POSIX sh has them (XCU 2.8.2).
const (
	StatusNotExecutable = 126
	StatusNotFound      = 127
	SignalStatus        = 128 // and the signal's number
)

// CommandError says that the command did not end well. Nothing is to be signed then.
type CommandError struct {
	Status int // as a shell has it: 128 and the signal's number when a signal ended it
	Reason string
}

func (e *CommandError) Error() string { return "command: " + e.Reason + ": nothing was signed" }

// Command is the command that is run.
type Command struct {
	Args []string // its name, and what it is told
	Path string   // of its file, which Find sets
	Dir  string   // where it runs; empty for here
	Env  []string // all of its environment; nil for this one's
	// What it reads and writes. It gets the files themselves, so that a terminal stays one and its output costs nothing.
	Stdin, Stdout, Stderr *os.File
	// Holds, when it is not nil, is told when signals begin and cease to be the command's. The end comes before signals are listened for no
	// more, so that none falls between.
	Holds func(holds bool)
}

func (c *Command) holds(holds bool) {
	if c.Holds != nil {
		c.Holds(holds)
	}
}

// Find looks for the command's file, as a shell does. The error is a *CommandError.
func (c *Command) Find() error {
	var err error
	if c.Path, err = exec.LookPath(c.Args[0]); err == nil {
		return nil
	}
	return cannotStart(c.Args[0], err)
}

func cannotStart(name string, err error) error {
	name = (&Mask{}).Text(name)
	switch {
	case errors.Is(err, exec.ErrDot):
		return &CommandError{StatusNotFound, fmt.Sprintf("%s: it is in the current directory, which PATH means by an empty or relative entry: write .%c%s", name, filepath.Separator, name)}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &CommandError{StatusNotFound, name + ": not found"}
	case errors.Is(err, fs.ErrPermission):
		return &CommandError{StatusNotExecutable, name + ": not executable"}
	}
	return &CommandError{StatusNotExecutable, fmt.Sprintf("%s: cannot be started: %v", name, errors.Unwrap(err))}
}

// Run runs the command to its end. It does not end it when a context does: what a person or the system wants of it, they say with
// signals, which reach it. Processes that it leaves behind are not waited for, as a shell does not. The signals are those that this
// process was sent meanwhile. The error is a *CommandError.
func (c *Command) Run() (signals []string, err error) {
	cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Dir: c.Dir, Env: c.Env}
	// A nil *os.File in an interface is not nil.
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	}
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	relay := listen() // before there is a process that a signal could miss
	c.holds(true)
	if err := cmd.Start(); err != nil {
		c.holds(false)
		relay.stop()
		return nil, cannotStart(c.Args[0], err)
	}
	relay.to(cmd.Process)
	err = cmd.Wait()
	c.holds(false)
	signals = relay.stop()
	if err == nil {
		return signals, nil
	}
	if cmd.ProcessState == nil {
		return signals, &CommandError{StatusNotExecutable, err.Error()}
	}
	return signals, ended(cmd.ProcessState)
}

func ended(state *os.ProcessState) error {
	if number, name := EndedBySignal(state); number > 0 {
		return &CommandError{SignalStatus + number, "it was ended by " + name}
	}
	return &CommandError{state.ExitCode(), fmt.Sprintf("it ended with status %d", state.ExitCode())}
}

// script is the first argument that is a file of source text: what an interpreter was told to run. Empty when there is none.
func (c *Command) script() string {
	for i, arg := range c.Args {
		if strings.HasPrefix(arg, "-") || !sourceExtensions[strings.ToLower(filepath.Ext(arg))] {
			continue
		}
		name := arg
		if i == 0 {
			name = c.Path
		}
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}

var sourceExtensions = map[string]bool{".py": true, ".sh": true, ".bash": true, ".zsh": true, ".r": true, ".jl": true, ".ipynb": true, ".js": true, ".mjs": true, ".ts": true,
	".lua": true, ".pl": true, ".rb": true, ".ps1": true, ".bat": true, ".cmd": true, ".sql": true}

// isWindows is where paths and virtual environments look otherwise.
const isWindows = runtime.GOOS == "windows"
