package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// tree is a directory or file on disk, opened so that nothing outside it can be reached.
type tree struct {
	root *os.Root
	fsys fs.FS
	dir  string // absolute path of the directory
	file string // the one file, when a file was named
	name string // base name of what was named
}

// openTree opens a directory, or the directory of one file. A path that is not there is a mistake on the command line.
func openTree(path string) (*tree, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(fmt.Errorf("%s: no such file or directory", path))
	}
	if err != nil {
		return nil, err
	}
	t := &tree{dir: abs, name: filepath.Base(abs)}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return nil, usage(fmt.Errorf("%s is neither a directory nor a regular file", path))
		}
		t.dir, t.file = filepath.Split(abs)
	}
	if t.root, err = os.OpenRoot(t.dir); err != nil {
		return nil, err
	}
	t.fsys = t.root.FS()
	return t, nil
}

func (t *tree) Close() { _ = t.root.Close() }

// inside returns the path of name below the tree's directory, with slashes; empty when it is elsewhere or
// the tree is a single file.
func (t *tree) inside(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(t.dir, abs)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) || t.file != "" {
		return "", nil
	}
	return filepath.ToSlash(rel), nil
}

// readInput reads a file that was named on the command line, at most limit bytes.
func readInput(what, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(fmt.Errorf("%s %s: no such file", what, path))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if int64(len(data)) > limit {
		return nil, usage(fmt.Errorf("%s %s: larger than %d bytes", what, path, limit))
	}
	return data, nil
}

// keyFlags name what a command signs with.
type keyFlags struct {
	key, certificate, chain string
}

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.key, "key", "", "private key: a file (cosign's format or PEM) or env://NAME")
	cmd.Flags().StringVar(&f.certificate, "certificate", "", "PEM certificate of the key, to sign with a certificate chain")
	cmd.Flags().StringVar(&f.chain, "certificate-chain", "", "PEM certificates above --certificate")
	_ = cmd.MarkFlagRequired("key")
}

// signingKey is what signs and how it is called in messages.
type signingKey interface {
	attest.Signer
	Hint() string
}

// loadSigner loads the private key, and the certificates that go with it.
func (a *app) loadSigner(f keyFlags) (signingKey, error) {
	text, err := a.keyText(f.key)
	if err != nil {
		return nil, err
	}
	key, err := signer.LoadKey(text, func() ([]byte, error) { return a.password("Password for "+f.key+": ", false) })
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", f.key, err)
	}
	if f.certificate == "" {
		if f.chain != "" {
			return nil, usage(errors.New("--certificate-chain goes with --certificate"))
		}
		return key, nil
	}
	certificate, err := readInput("certificate", f.certificate, signer.MaxKeyBytes)
	if err != nil {
		return nil, err
	}
	var chain []byte
	if f.chain != "" {
		if chain, err = readInput("certificate chain", f.chain, signer.MaxKeyBytes); err != nil {
			return nil, err
		}
	}
	certified, err := signer.WithCertificates(key, certificate, chain, a.now())
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.certificate, err)
	}
	return certified, nil
}

// keyText reads a key from a file, or from the environment variable that env://NAME names.
func (a *app) keyText(ref string) ([]byte, error) {
	name, ok := strings.CutPrefix(ref, "env://")
	if !ok {
		return readInput("key", ref, signer.MaxKeyBytes)
	}
	text, ok := a.lookupEnv(name)
	if !ok {
		return nil, usage(fmt.Errorf("key %s: the environment variable is not set", ref))
	}
	return []byte(text), nil
}

// loadPublicKey loads the public key that --key names.
func (a *app) loadPublicKey(ref string) (*trust.Key, error) {
	text, err := a.keyText(ref)
	if err != nil {
		return nil, err
	}
	key, err := trust.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	return key, nil
}

// password comes from the environment, or from a prompt on a terminal; a new one is asked for twice.
func (a *app) password(prompt string, isNew bool) ([]byte, error) {
	for _, name := range []string{"MLSEAL_PASSWORD", "COSIGN_PASSWORD"} {
		if value, ok := a.lookupEnv(name); ok {
			return []byte(value), nil
		}
	}
	if a.stdin == nil || !term.IsTerminal(int(a.stdin.Fd())) {
		return nil, signer.ErrPasswordNeeded
	}
	first, err := a.ask(prompt)
	if err != nil || !isNew {
		return first, err
	}
	second, err := a.ask("Again: ")
	if err != nil {
		return nil, err
	}
	if string(first) != string(second) {
		return nil, usage(errors.New("the two passwords differ"))
	}
	return first, nil
}

func (a *app) ask(prompt string) ([]byte, error) {
	_, _ = fmt.Fprint(a.stderr, prompt)
	answer, err := term.ReadPassword(int(a.stdin.Fd()))
	_, _ = fmt.Fprintln(a.stderr)
	return answer, err
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// progress shows bytes, rate and time left on a terminal once the work takes over a second.
func (a *app) progress(what string, total int64) *progress.Meter {
	if !a.terminal {
		return progress.New(io.Discard, what, total)
	}
	return progress.New(a.stderr, what, total)
}

// outputFlag adds -o with its choices, the first being the default.
func outputFlag(cmd *cobra.Command, target *string, choices ...string) {
	cmd.Flags().VarP(&choice{target, choices}, "output", "o", "output format: "+strings.Join(choices, ", "))
	*target = choices[0]
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// choice is a flag that takes one of a few words.
type choice struct {
	target  *string
	choices []string
}

func (c *choice) String() string { return *c.target }
func (c *choice) Type() string   { return "string" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.choices, s) {
		return fmt.Errorf("want one of %s", strings.Join(c.choices, ", "))
	}
	*c.target = s
	return nil
}

var _ pflag.Value = (*choice)(nil)
