package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/brief"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/gcroom"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/hfcache"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/manifest/rootfs"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// tree is a directory or file on disk, opened so that nothing outside it can be reached.
type tree struct {
	root *os.Root  // nil for a tree that does not stand on disk
	open io.Closer // what fsys has opened; nil for nothing
	fsys fs.FS
	dir  string // absolute path of the directory
	file string // the one file, when a file was named
	name string // base name of what was named

	source  string            // where it comes from, when something says so
	cache   *hfcache.Snapshot // when it is a snapshot of a Hugging Face cache
	objects *objectstore.Tree // when it lies in an object store
}

// openTree opens a directory, or the directory of one file. A path that is not there is a mistake on the command line.
func openTree(path string) (*tree, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, noSuch(path, err)
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
	fsys := rootfs.New(t.root)
	t.fsys, t.open = fsys, fsys
	if _, ok := hfcache.Recognize(t.dir); ok {
		return t, t.openCache()
	}
	return t, nil
}

// openCache looks at the tree as a snapshot of a Hugging Face cache, whose links are followed to their blobs.
func (t *tree) openCache() (err error) {
	if t.cache, err = hfcache.Open(t.dir); err != nil {
		t.Close()
		return err
	}
	t.fsys, t.source = t.cache, "huggingface cache "+t.cache.Source.String()
	return nil
}

func (t *tree) Close() {
	if t.open != nil {
		_ = t.open.Close()
	}
	if t.root != nil {
		_ = t.root.Close()
	}
	if t.cache != nil {
		_ = t.cache.Close()
	}
	if t.objects != nil {
		_ = t.objects.Close()
	}
}

// inside returns the path of name below the tree's directory, with slashes; empty when it is elsewhere or
// the tree is a single file.
func (t *tree) inside(name string) (string, error) {
	if t.objects != nil {
		return t.insideStore(name), nil
	}
	if t.dir == "" {
		return "", nil
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	dir := t.dir
	// A path may lead into the tree by way of a link.
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	rel, err := filepath.Rel(dir, abs)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) || t.file != "" {
		return "", nil
	}
	return filepath.ToSlash(rel), nil
}

// noSuch makes an error about a path on the command line: not being there, in whatever way, is a mistake there,
// not being readable is not.
func noSuch(path string, err error) error {
	if objectstore.IsURL(path) {
		return usage(fmt.Errorf("%s: what lies in an object store is not taken here: name a path on this machine", objectstore.Redact(path)))
	}
	for _, target := range []error{fs.ErrNotExist, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG} {
		if errors.Is(err, target) {
			return usage(fmt.Errorf("%s: no such file or directory", signer.Redact(path)))
		}
	}
	return err
}

// errTooLarge says that a file is larger than what is read of its kind.
var errTooLarge = errors.New("too large")

// readInput reads a file of the user's own that was named on the command line, at most limit bytes. It may be a
// pipe, as in --key <(command).
func readInput(what, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, noSuch(path, err))
	}
	defer func() { _ = f.Close() }()
	var data bytes.Buffer
	if info, err := f.Stat(); err == nil {
		if info.IsDir() {
			return nil, usage(fmt.Errorf("%s %s: it is a directory", what, path))
		}
		size := int(min(info.Size(), limit)) + bytes.MinRead // and no more: it can be the list of a large tree
		gcroom.Make(size)
		data.Grow(size)
	}
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if int64(data.Len()) > limit {
		return nil, fmt.Errorf("%s %s: %w: more than %d bytes", what, path, errTooLarge, limit)
	}
	return data.Bytes(), nil
}

// readAs reads such a file and makes of it what parse does. The error names the file.
func readAs[T any](what, path string, limit int64, parse func([]byte) (T, error)) (T, error) {
	var value T
	text, err := readInput(what, path, limit)
	if err != nil {
		return value, err
	}
	if value, err = parse(text); err != nil {
		return value, fmt.Errorf("%s %s: %w", what, path, err)
	}
	return value, nil
}

// readBundle reads a bundle, which may come from whoever made the artifact: only a regular file, since a pipe would be
// waited for without end. What is wrong with it is a no.
func readBundle(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, noSuch(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: it is not a regular file", path, attest.ErrBundle)
	}
	return readInput("bundle", path, attest.MaxBundleBytes)
}

// placeForBundle refuses a path that a bundle cannot be written to, before anything is signed. Nothing but a bundle is
// replaced: a slip in the command line must not cost a key or the weights.
func placeForBundle(path string) error {
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%s: %w", path, noSuch(dir, err))
	} else if !info.IsDir() {
		return usage(fmt.Errorf("%s: %s is no directory", path, dir))
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil // there is nothing, or the write will say what
	}
	old, err := readBundle(path)
	if err != nil || !attest.IsBundle(old) || !info.Mode().IsRegular() {
		return usage(fmt.Errorf("%s is there and is not a bundle: it is not overwritten", path))
	}
	return nil
}

// writeBundle writes a bundle where placeForBundle allows it.
func writeBundle(path string, data []byte) error {
	if err := placeForBundle(path); err != nil {
		return err
	}
	if err := atomicfile.Write(path, data, atomicfile.Options{}); err != nil {
		return fmt.Errorf("%s: %w", path, noSuch(filepath.Dir(path), err))
	}
	return nil
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

// publicKeyText reads a public key, which is never asked of a service: verification works offline.
func (a *app) publicKeyText(ref string) ([]byte, error) {
	if signer.IsReference(ref) {
		ref := signer.Redact(ref)
		return nil, usage(fmt.Errorf("key %s: verification asks no service and no token: write the public key with `mlseal keys public --key %s > KEY.pub`, and verify with --key KEY.pub", ref, ref))
	}
	return a.keyText(ref)
}

// loadPublicKey loads the public key that --key names.
func (a *app) loadPublicKey(ref string) (*trust.Key, error) {
	text, err := a.publicKeyText(ref)
	if err != nil {
		return nil, err
	}
	key, err := trust.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	return key, nil
}

// fromEnv is the first of the environment variables that is set; it may be empty.
func (a *app) fromEnv(names ...string) ([]byte, bool) {
	for _, name := range names {
		if value, ok := a.lookupEnv(name); ok {
			return []byte(value), true
		}
	}
	return nil, false
}

func (a *app) canAsk() bool { return a.stdin != nil && term.IsTerminal(int(a.stdin.Fd())) }

// pin unlocks a token. It comes from the environment, or from a prompt on a terminal.
func (a *app) pin(ctx context.Context, prompt string) ([]byte, error) {
	if value, ok := a.fromEnv("MLSEAL_PIN", "COSIGN_PKCS11_PIN"); ok {
		return value, nil
	}
	if !a.canAsk() {
		return nil, signer.ErrPINNeeded
	}
	return a.ask(ctx, prompt)
}

// password comes from the environment, or from a prompt on a terminal; a new one is asked for twice.
func (a *app) password(ctx context.Context, prompt string, isNew bool) ([]byte, error) {
	if value, ok := a.fromEnv("MLSEAL_PASSWORD", "COSIGN_PASSWORD"); ok {
		return value, nil
	}
	if !a.canAsk() {
		return nil, signer.ErrPasswordNeeded
	}
	first, err := a.ask(ctx, prompt)
	if err != nil || !isNew {
		return first, err
	}
	second, err := a.ask(ctx, "Again: ")
	if err != nil {
		return nil, err
	}
	if string(first) != string(second) {
		return nil, usage(errors.New("the two passwords differ"))
	}
	return first, nil
}

// ask reads a line without echo. A signal ends the process here, since the terminal does not listen to ctx, and
// leaves it with its echo.
func (a *app) ask(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(a.stdin.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = term.Restore(fd, state)
		_, _ = fmt.Fprintln(a.stderr)
		os.Exit(statusNotDecided)
	})
	defer stop()
	_, _ = fmt.Fprint(a.stderr, escape.Line(prompt))
	answer, err := term.ReadPassword(fd)
	_, _ = fmt.Fprintln(a.stderr)
	return answer, err
}

// printf writes to stdout with every string argument escaped: names come from outside.
func (a *app) printf(format string, args ...any) error {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = escape.Line(s)
		}
	}
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// buffered gathers what print writes to stdout: a line at a time would be a system call for each of many.
func (a *app) buffered(print func() error) error {
	out := a.stdout
	b := bufio.NewWriterSize(out, 64<<10)
	a.stdout = b
	defer func() { a.stdout = out }()
	return errors.Join(print(), b.Flush())
}

// field is one line of a command's result.
type field struct{ name, value string }

// printFields writes a result as lines, or as a JSON object. A field without a value is left out.
func (a *app) printFields(output string, fields ...field) error {
	if output == "json" {
		object := map[string]string{}
		for _, f := range fields {
			if f.value != "" {
				object[f.name] = f.value
			}
		}
		return a.printJSON(object)
	}
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		if err := a.printf("%-10s %s\n", f.name, f.value); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printJSON(v any) error {
	data, err := report.Marshal(v)
	if err == nil {
		_, err = a.stdout.Write(data)
	}
	return err
}

// progress shows bytes, rate and time left: on a terminal once the work takes over a second, elsewhere as a line every ten
// seconds, and not at all with --quiet.
func (a *app) progress(what string, total int64) *progress.Meter {
	switch {
	case a.quiet:
		return progress.New(io.Discard, what, total)
	case a.terminal:
		return progress.New(a.stderr, what, total)
	}
	return progress.NewLines(a.stderr, what, total)
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

// few names the first of many files in a message.
func few(names []string) string { return brief.List(names, 5) }
