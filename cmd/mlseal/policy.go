package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "policy COMMAND",
		Short:                      "Push policies",
		SuggestionsMinimumDistance: 2,
		Example:                    "  mlseal policy push policy.yaml registry.example/policies/gate:prod --key policy.key",
		Args:                       func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return errors.New("no command given")
		},
	}
	cmd.AddCommand(a.policyPushCommand())
	return cmd
}
