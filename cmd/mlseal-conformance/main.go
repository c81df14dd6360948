// Command mlseal-conformance speaks the protocols of the conformance suites of Sigstore and of model-signing over
// mlseal's library. It is no tool for people: mlseal is.
//
// Every command ends with status 0 when it did what was asked, 1 when the answer is no, 2 when the command line is
// wrong, and 3 when nothing could be decided.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/pflag"
)

const usageText = `usage: mlseal-conformance COMMAND ...

  verify-bundle [--staging] --bundle F (--certificate-identity I --certificate-oidc-issuer U | --key PEM) [--trusted-root F] FILE_OR_sha256:HEX
  verify-model  --method key|certificate|sigstore --model-path P --bundle B [--public-key PEM | --cert-chain PEM...]
                [--identity I --identity-provider U] [--use-staging | --trusted-root F] [--ignore-paths P...] [--ignore-unsigned-files]
  sign-bundle   [--staging] [--in-toto] --identity-token T --bundle F [--trusted-root F] [--signing-config F] FILE
  sign-model    --method key|certificate|sigstore --model-path P --output-bundle B
                [--private-key PEM [--signing-cert PEM --cert-chain PEM...] | --identity-token T [--use-staging | --signing-config F --trusted-root F]]
                [--ignore-paths P...]

Without --trusted-root and --signing-config those of Sigstore's public-good instance (or staging) are fetched with TUF.
`

// errUsage marks what is wrong with the command line.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main with its surroundings as values, for the tests.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, "mlseal-conformance: "+escape.Line(err.Error()))
	return exitStatus(err)
}

func exitStatus(err error) int {
	for _, usage := range []error{errUsage, verify.ErrKey, verify.ErrAuthority, verify.ErrRoot, verify.ErrNoIdentity, signer.ErrKey, signer.ErrCertificate,
		signer.ErrPassword, signer.ErrPasswordNeeded, signer.ErrToken, signer.ErrSigningConfig, signer.ErrServiceURL, os.ErrNotExist} {
		if errors.Is(err, usage) {
			return 2
		}
	}
	for _, no := range []error{verify.ErrFailed, attest.ErrBundle, attest.ErrStatement} {
		if errors.Is(err, no) {
			return 1
		}
	}
	if manifest.IsRefusal(err) {
		return 1
	}
	return 3
}

func command(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: name a command; --help lists them", errUsage)
	}
	name, args := args[0], args[1:]
	switch name {
	case "-h", "--help", "help":
		_, err := io.WriteString(stdout, usageText)
		return err
	case "verify-bundle":
		return verifyBundle(ctx, args, stdout)
	case "verify-model":
		return verifyModel(ctx, args, stdout)
	case "sign-model":
		return signModel(ctx, args)
	case "sign-bundle":
		return signBundle(ctx, args)
	}
	return fmt.Errorf("%w: unknown command %q; --help lists them", errUsage, name)
}

// parse reads flags; positional is how many arguments must stand beside them.
func parse(flags *pflag.FlagSet, args []string, positional int, needed ...string) error {
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %s: %w", errUsage, flags.Name(), err)
	}
	if flags.NArg() != positional {
		return fmt.Errorf("%w: %s: %d arguments beside the flags, want %d", errUsage, flags.Name(), flags.NArg(), positional)
	}
	for _, name := range needed {
		if f := flags.Lookup(name); f.Value.String() == "" {
			return fmt.Errorf("%w: %s: --%s is needed", errUsage, flags.Name(), name)
		}
	}
	return nil
}

// trustedRoot reads the root that was named, or fetches one.
func trustedRoot(ctx context.Context, file string, staging bool) (*trust.Root, error) {
	if file == "" {
		return trust.FetchRoot(ctx, staging)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return trust.ParseRoot(text)
}

// printChecks says what was looked at.
func printChecks(w io.Writer, checks []verify.Check) error {
	for _, c := range checks {
		if _, err := fmt.Fprintf(w, "%-17s %s: %s\n", c.Name, c.Status, escape.Line(c.Detail)); err != nil {
			return err
		}
	}
	return nil
}

// now is the clock that certificates without a verified time are held to.
var now = time.Now
