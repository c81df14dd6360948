package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/spf13/cobra"
)

func (a *app) schemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print the JSON Schema of a predicate, or the names of those that have one",
		Long: `Print the JSON Schema that mlseal attest holds a predicate to before it is signed, and mlseal verify --check-schemas before it
counts. NAME is a short name or a URI.`,
		Example: "  mlseal schema\n  mlseal schema evaluation",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("schema takes one NAME or none")
			}
			return nil
		},
		ValidArgs: attest.SchemaNames(),
	}
	cmd.RunE = a.do(func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			for _, name := range attest.SchemaNames() {
				uri, _ := attest.PredicateType(name)
				if err := a.printf("%-16s %s\n", name, uri); err != nil {
					return err
				}
			}
			return nil
		}
		schema, ok := attest.Schema(args[0])
		if !ok {
			return usage(fmt.Errorf("schema: %s: there is no schema for it here, only for %s", args[0], strings.Join(attest.SchemaNames(), ", ")))
		}
		_, err := a.stdout.Write(schema)
		return err
	})
	return cmd
}
