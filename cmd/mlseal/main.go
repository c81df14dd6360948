// Command mlseal says which bytes a model or dataset is, where it came from, and whether it may be
// deployed. This folder holds flags, messages and the exit status; the work is in the packages beside it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/gcpace" // no collection in what is over at once, and little garbage beside much in use
	"github.com/mlseal/mlseal/internal/gcroom"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func main() { os.Exit(run()) }

// run is main with the exit status as a value, for the tests that run the real command.
func run() int {
	if gcpace.Decides() {
		gcroom.Enable()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	a := &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, lookupEnv: os.LookupEnv, environ: os.Environ, now: time.Now,
		terminal: term.IsTerminal(int(os.Stderr.Fd())), userCacheDir: os.UserCacheDir,
	}
	a.color = term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	a.signals = make(chan os.Signal, 1)
	a.takeSignals(true)
	go a.cancelOnSignal(cancel)
	return a.main(ctx, os.Args[1:])
}

// takeSignals says whether signals cancel what runs. They do not while they are for a command that attest record runs, which listens
// for them itself then.
func (a *app) takeSignals(take bool) {
	switch {
	case a.signals == nil: // in a test
	case take:
		signal.Notify(a.signals, os.Interrupt, syscall.SIGTERM)
	default:
		signal.Stop(a.signals)
	}
}

// cancelOnSignal cancels what runs on the first signal.
func (a *app) cancelOnSignal(cancel context.CancelFunc) {
	<-a.signals
	cancel()
	signal.Stop(a.signals) // a second signal ends the process at once
	time.Sleep(cancelPatience)
	os.Exit(statusNotDecided) // something does not listen, such as a read from a pipe that nobody writes to
}

// cancelPatience is how long a cancelled command may take to clean up after itself.
const cancelPatience = 5 * time.Second

// app is what the commands know of the world outside.
type app struct {
	stdin     *os.File
	stdout    io.Writer
	stderr    io.Writer
	lookupEnv func(string) (string, bool)
	environ   func() []string // the whole environment; nil for none
	now       func() time.Time
	// userCacheDir is where the user's caches are; nil for no cache.
	userCacheDir func() (string, error)

	terminal bool // stderr is a terminal: progress is one line that is written anew
	quiet    bool // no progress
	color    bool // stdout is a terminal that shows colours
	started  bool // a command's own work has begun: errors are no longer about usage

	signals chan os.Signal // that cancel what runs; nil for none
}

// main runs one command line and returns the exit status.
func (a *app) main(ctx context.Context, args []string) (status int) {
	defer func() {
		if p := recover(); p != nil {
			_, _ = fmt.Fprintf(a.stderr, "mlseal: a bug in mlseal: %v\n%s\nhint: please report this with the command that you ran\n", p, debug.Stack())
			status = statusBug
		}
	}()
	out := &checkedWriter{w: a.stdout}
	a.stdout = out
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil && out.err != nil {
		a.started = true
		err = fmt.Errorf("standard output: %w", out.err) // a report that nobody got is not done
	}
	if err == nil {
		return statusDone
	}
	if !a.started {
		err = usageError{error: err, general: true}
	}
	a.printError(err)
	return exitStatus(err)
}

func (a *app) printError(err error) {
	var reported reportedError
	if errors.As(err, &reported) {
		return // the report on stdout has said it
	}
	_, _ = fmt.Fprintln(a.stderr, "mlseal: "+escape.Line(err.Error()))
	if hint := hintFor(err); hint != "" {
		_, _ = fmt.Fprintln(a.stderr, "hint: "+hint)
	}
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mlseal",
		Short: "Hash, package, attest and gate models and datasets",
		Long: `mlseal says which bytes a model or dataset is, where it came from, and whether it may be deployed.

It hashes fine-tuning datasets and model artifacts, packages them as OCI artifacts, attaches signed
in-toto statements, and verifies signatures and digests against a policy before deployment.`,
		Example: `  mlseal keys generate --output-key-prefix trainer
  mlseal pack ./model oci:store:v1
  mlseal sign oci:store:v1 --key trainer.key
  mlseal verify oci:store:v1 --policy policy.yaml`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return errors.New("no command given")
		},
		SuggestionsMinimumDistance: 2,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().BoolVar(&a.quiet, "quiet", false, "show no progress; notes and errors are written all the same")
	root.AddCommand(
		a.hashCommand(), a.manifestCommand(), a.keysCommand(), a.signCommand(), a.verifyCommand(), a.packCommand(), a.pullCommand(), a.catCommand(), a.mountCommand(), a.pushCommand(), a.copyCommand(),
		a.lsCommand(), a.tagCommand(), a.rmCommand(), a.gcCommand(), a.loginCommand(), a.logoutCommand(),
		a.attestCommand(), a.inspectCommand(), a.lineageCommand(), a.aibomCommand(), a.cacheCommand(), a.policyCommand(), a.schemaCommand(), a.versionCommand(), exitStatusTopic(),
	)
	root.SetHelpCommand(helpCommand())
	return root
}

// unknownCommand says which command may have been meant; nil when there are no arguments.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		return fmt.Errorf("unknown command %q: did you mean %s?", args[0], strings.Join(similar, " or "))
	}
	return fmt.Errorf("unknown command %q", args[0])
}

// helpCommand is cobra's `help`, but a topic that does not exist is an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Help about a command or topic",
		Example: "  mlseal help verify\n  mlseal help exit-status",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), args)
			}
			return found.Help()
		},
	}
}

// takes demands exactly the named arguments.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return fmt.Errorf("%s takes %s: %d given", cmd.CommandPath(), cmp.Or(strings.Join(names, " and "), "no arguments"), len(args))
		}
		return nil
	}
}

// checkedWriter remembers the first error of what it writes to.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// do wraps a command's work: from here on an error is no longer about usage.
func (a *app) do(work func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.started = true
		if err := a.chooseEngine(); err != nil {
			return err
		}
		return work(cmd, args)
	}
}
