package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/policytest"
	"github.com/spf13/cobra"
)

// errPolicyTest says that a policy does not decide as its tests want.
var errPolicyTest = errors.New("a policy test failed")

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "policy COMMAND",
		Short:                      "Begin, test, check, explain, compare and push policies",
		SuggestionsMinimumDistance: 2,
		Example:                    "  mlseal policy test policy_test.yaml --coverage --mutate",
		Args:                       func(cmd *cobra.Command, args []string) error { return unknownCommand(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return errors.New("no command given")
		},
	}
	cmd.AddCommand(a.policyInitCommand(), a.policyTestCommand(), a.policyFixtureCommand(),
		a.policyLintCommand(), a.policyExplainCommand(), a.policyDiffCommand(), a.policyPushCommand())
	return cmd
}

// atLeastOne demands one argument or more.
func atLeastOne(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s takes %s: none given", cmd.CommandPath(), name)
		}
		return nil
	}
}

func (a *app) policyTestCommand() *cobra.Command {
	var opts policytest.Options
	var output string
	cmd := &cobra.Command{
		Use:   "test FILE_test.yaml…",
		Short: "Ask policies the cases of test files",
		Long: `Ask a policy the cases of a test file: what it decides about a fixture, and about the same evidence with something changed.
No keys, no signatures, no network and no clock are needed. docs/policy-testing.md has an example.

--coverage lists each requirement, condition and check that no case has seen failing. --mutate changes each statement of the fixture in
the ways in which evidence is forged, and lists what the policy did not notice. What a test file itself says about coverage and mutants is
demanded without the flags too.

The exit status is 1 when a case, the coverage or a mutant is not as wanted, and 2 when a file is wrong.`,
		Example: "  mlseal policy test policy_test.yaml\n  mlseal policy test policy_test.yaml --coverage --mutate -o json",
		Args:    atLeastOne("FILE_test.yaml"),
	}
	cmd.Flags().BoolVar(&opts.Coverage, "coverage", false, "list what no case has seen failing")
	cmd.Flags().BoolVar(&opts.Mutate, "mutate", false, "list the built-in mutants that the policy does not notice")
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = a.do(func(_ *cobra.Command, args []string) error { return a.policyTest(args, opts, output) })
	return cmd
}

func (a *app) policyTest(files []string, opts policytest.Options, output string) error {
	var results []*policytest.Result
	failed := false
	for _, file := range files {
		result, err := runPolicyTest(file, opts)
		if err != nil {
			return err
		}
		results = append(results, result)
		failed = failed || !result.Passed()
	}
	if output == "json" {
		if err := a.printJSON(policytest.JSON(results)); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			if err := r.Text(a.stdout, policytest.Style{Color: a.color}); err != nil {
				return err
			}
		}
	}
	if failed {
		return reportedError{errPolicyTest}
	}
	return nil
}

// runPolicyTest reads a test file and what it names, relative to it.
func runPolicyTest(file string, opts policytest.Options) (*policytest.Result, error) {
	data, err := readInput("policy test", file, policies.MaxPolicyBytes)
	if err != nil {
		return nil, usage(err)
	}
	beside := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(file), name)
	}
	suite, err := policytest.Load(data, policytest.LoadOptions{Name: file, ReadFile: func(name string) ([]byte, error) {
		return readInput("statement", beside(name), policytest.MaxStatementBytes)
	}})
	if err != nil {
		return nil, err
	}
	policy, _, err := readPolicy(beside(suite.Policy))
	if err != nil {
		return nil, err
	}
	fixture, err := readFixture(beside(suite.Fixtures))
	if err != nil {
		return nil, err
	}
	return policytest.Run(policy, suite, fixture, opts)
}

// readFixture reads the JSON files of a directory.
func readFixture(dir string) (*policytest.Fixture, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, usage(fmt.Errorf("fixture: %w", noSuch(dir, err)))
	}
	files := map[string][]byte{}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if !strings.HasSuffix(name, ".json") {
			return nil, usage(fmt.Errorf("fixture %s: %s is no .json file: a fixture holds nothing else", dir, name))
		}
		if len(files) > policytest.MaxStatements {
			break // one more than is taken, which makes ParseFixture say so
		}
		if files[name], err = readInput("fixture", filepath.Join(dir, name), policytest.MaxStatementBytes); err != nil {
			return nil, usage(err)
		}
	}
	fixture, err := policytest.ParseFixture(files)
	if err != nil {
		return nil, fmt.Errorf("fixture %s: %w", dir, err)
	}
	return fixture, nil
}
