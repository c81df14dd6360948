package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/pflag"
)

// modelFlags are those of the model-signing conformance suite.
type modelFlags struct {
	method, model, bundle, output, privateKey, publicKey, signingCert string
	identity, provider, token, root, config                           string
	chain, ignore                                                     []string
	ignoreUnsigned, staging                                           bool
}

func (f *modelFlags) parse(name string, args []string, needed ...string) error {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for flag, target := range map[string]*string{
		"method": &f.method, "model-path": &f.model, "bundle": &f.bundle, "output-bundle": &f.output, "private-key": &f.privateKey,
		"public-key": &f.publicKey, "signing-cert": &f.signingCert, "identity": &f.identity, "identity-provider": &f.provider,
		"identity-token": &f.token, "trusted-root": &f.root, "signing-config": &f.config,
	} {
		flags.StringVar(target, flag, "", "")
	}
	flags.StringArrayVar(&f.chain, "cert-chain", nil, "")
	flags.StringArrayVar(&f.ignore, "ignore-paths", nil, "")
	flags.BoolVar(&f.ignoreUnsigned, "ignore-unsigned-files", false, "")
	flags.BoolVar(&f.staging, "use-staging", false, "")
	return parse(flags, args, 0, append(needed, "method", "model-path")...)
}

func verifyModel(ctx context.Context, args []string, stdout io.Writer) error {
	var f modelFlags
	if err := f.parse("verify-model", args, "bundle"); err != nil {
		return err
	}
	anchor, err := f.anchor(ctx)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(f.bundle)
	if err != nil {
		return err
	}
	m, err := openModel(f.model)
	if err != nil {
		return err
	}
	defer m.close()
	inside := ""
	if m.file == "" {
		inside = m.inside(f.bundle)
	}
	r, verr := verify.Tree(ctx, m.root.FS(), data, anchor, verify.TreeOptions{File: m.file, Bundle: f.bundle, Signature: inside, Now: now(),
		Ignore: m.ignored(f.ignore), IgnoreUnsigned: f.ignoreUnsigned})
	if err := printChecks(stdout, r.Checks); err != nil {
		return err
	}
	return verr
}

// anchor is whom --method and its flags trust.
func (f *modelFlags) anchor(ctx context.Context) (verify.Anchor, error) {
	switch f.method {
	case "key":
		if f.publicKey == "" {
			return nil, fmt.Errorf("%w: --public-key is needed", errUsage)
		}
		return readKey(f.publicKey)
	case "certificate":
		text, err := readAll(f.chain)
		if err != nil {
			return nil, err
		}
		return trust.ParseAuthority(text, nil)
	case "sigstore":
		root, err := trustedRoot(ctx, f.root, f.staging)
		if err != nil {
			return nil, err
		}
		return trust.NewKeyless(root, trust.Identity{Issuer: f.provider, Subject: f.identity})
	}
	return nil, fmt.Errorf("%w: --method is %q, want key, certificate or sigstore", errUsage, f.method)
}

func signModel(ctx context.Context, args []string) error {
	var f modelFlags
	if err := f.parse("sign-model", args, "output-bundle"); err != nil {
		return err
	}
	key, err := f.signer(ctx)
	if err != nil {
		return err
	}
	m, err := openModel(f.model)
	if err != nil {
		return err
	}
	defer m.close()
	ignore := m.ignored(append(f.ignore, f.output))
	tree, err := manifest.Build(ctx, m.root.FS(), manifest.Options{File: m.file, Ignore: ignore})
	if err != nil {
		return err
	}
	if m.file == "" {
		ignore = append(ignore, manifest.GitNames()...)
	}
	statement, err := attest.NewOMSStatement(tree, m.name, ignore)
	if err != nil {
		return err
	}
	b, err := attest.Sign(ctx, statement, key)
	if err != nil {
		return err
	}
	return atomicfile.Write(f.output, b.JSON(), atomicfile.Options{})
}

// signer is what --method and its flags sign with.
func (f *modelFlags) signer(ctx context.Context) (attest.Signer, error) {
	switch f.method {
	case "sigstore":
		return openKeyless(ctx, f.token, f.config, f.root, f.staging)
	case "key", "certificate":
	default:
		return nil, fmt.Errorf("%w: sign-model: --method %q is not one of key, certificate, sigstore", errUsage, f.method)
	}
	text, err := os.ReadFile(f.privateKey)
	if err != nil {
		return nil, err
	}
	key, err := signer.LoadKey(text, password)
	if err != nil || f.method == "key" {
		return key, err
	}
	certificate, err := os.ReadFile(f.signingCert)
	if err != nil {
		return nil, err
	}
	chain, err := readAll(f.chain)
	if err != nil {
		return nil, err
	}
	return signer.WithCertificates(key, certificate, chain, now())
}

// readAll joins files of PEM blocks.
func readAll(files []string) ([]byte, error) {
	var text []byte
	for _, file := range files {
		more, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		text = append(append(text, more...), '\n')
	}
	return text, nil
}

func password() ([]byte, error) {
	if value, ok := os.LookupEnv("MLSEAL_PASSWORD"); ok {
		return []byte(value), nil
	}
	return nil, signer.ErrPasswordNeeded
}

// model is the directory or file that --model-path names.
type model struct {
	root            *os.Root
	dir, file, name string
}

func openModel(path string) (*model, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, err
	}
	m := &model{dir: abs, name: filepath.Base(abs)}
	switch {
	case info.Mode().IsRegular():
		m.dir, m.file = filepath.Split(abs)
	case !info.IsDir():
		return nil, fmt.Errorf("%w: %s is neither a directory nor a regular file", errUsage, path)
	}
	if m.root, err = os.OpenRoot(m.dir); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *model) close() { _ = m.root.Close() }

// inside is the path of a file below the model's directory, with slashes; empty when it is elsewhere.
func (m *model) inside(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return ""
	}
	rel, err := filepath.Rel(m.dir, abs)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return ""
	}
	return filepath.ToSlash(rel)
}

// ignored are the paths of those that stand in the model.
func (m *model) ignored(paths []string) []string {
	var out []string
	for _, p := range paths {
		if rel := m.inside(p); rel != "" && m.file == "" {
			out = append(out, rel)
		}
	}
	return out
}
