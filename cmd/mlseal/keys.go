package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/spf13/cobra"
)

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "Make signing keys, and export public ones",
		Example: "  mlseal keys generate --output-key-prefix trainer\n  mlseal keys public --key hashivault://trainer > trainer.pub",
		Args:    unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return errors.New("keys: no subcommand given")
		},
	}
	cmd.AddCommand(a.keysGenerateCommand(), a.keysPublicCommand())
	return cmd
}

func (a *app) keysGenerateCommand() *cobra.Command {
	var prefix, algorithm string
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make a key pair in cosign's file format",
		Long: `Make a key pair: PREFIX.key, encrypted with a password, and PREFIX.pub, which you give to whoever verifies.

The password comes from MLSEAL_PASSWORD or COSIGN_PASSWORD, or from a prompt on a terminal. The
files are those of cosign: both programs read them.`,
		Example: "  MLSEAL_PASSWORD=secret mlseal keys generate --output-key-prefix trainer",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&prefix, "output-key-prefix", "mlseal", "path of the key files, without .key and .pub")
	cmd.Flags().Var(&choice{&algorithm, signer.KeyAlgorithms()}, "algorithm", "one of "+strings.Join(signer.KeyAlgorithms(), ", "))
	algorithm = signer.KeyAlgorithms()[0]
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		private, public := prefix+".key", prefix+".pub"
		if info, err := os.Stat(filepath.Dir(private)); err != nil || !info.IsDir() {
			return usage(fmt.Errorf("keys generate: %s: no such directory", filepath.Dir(private)))
		}
		for _, name := range []string{private, public} {
			if _, err := os.Lstat(name); err == nil {
				return fmt.Errorf("keys generate: %s: %w", name, atomicfile.ErrExists)
			}
		}
		password, err := a.password(cmd.Context(), "Password for the new key "+private+": ", true)
		if errors.Is(err, signer.ErrPasswordNeeded) {
			return usage(errors.New("keys generate: no password was given for the new key: set MLSEAL_PASSWORD, which may be empty, or run on a terminal"))
		}
		if err != nil {
			return fmt.Errorf("keys generate: %w", err)
		}
		privateText, publicText, err := signer.Generate(algorithm, password)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(private, privateText, atomicfile.Options{Perm: 0o600, NoOverwrite: true}); err != nil {
			return fmt.Errorf("keys generate: %s: %w", private, err)
		}
		if err := atomicfile.Write(public, publicText, atomicfile.Options{NoOverwrite: true}); err != nil {
			_ = os.Remove(private) // half a pair is of no use
			return fmt.Errorf("keys generate: %s: %w", public, err)
		}
		return a.printf("private key  %s  (keep it secret)\npublic key   %s  (give it to whoever verifies)\n", private, public)
	})
	return cmd
}

func (a *app) keysPublicCommand() *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use:   "public --key KEY",
		Short: "Print the public key of a private key",
		Long: `Print the public key that belongs to --key, as PEM: what whoever verifies needs. A key that is kept in a service or on a token is
asked for its public half; verification then needs neither.`,
		Example: "  mlseal keys public --key trainer.key > trainer.pub",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&ref, "key", "", keyHelp)
	_ = cmd.MarkFlagRequired("key")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		key, err := a.loadKey(cmd.Context(), ref)
		if err != nil {
			return err
		}
		_, err = a.stdout.Write(key.PublicKeyPEM())
		return err
	})
	return cmd
}
