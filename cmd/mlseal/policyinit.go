package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/policytest"
	"github.com/mlseal/mlseal/policies/starter"
	"github.com/spf13/cobra"
)

// initFlags answer the questions of policy init.
type initFlags struct {
	signers, requires, repositories []string
	expires, output, name           string

	template, owner string
	params          []string
	list, named     bool
}

func (a *app) policyInitCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first policy with a test that passes",
		Long: `Write a policy, a test of it and a fixture, from the answers to three questions: who signs, what there must be, and where and how long the
policy holds. On a terminal they are asked; flags answer them too. The test covers the whole policy, and mlseal policy test passes
at once: change both together from there. Nothing is overwritten.

With --template the policy is one of the library (docs/policy-library.md). Its roles have no signers until you name them: --list shows
all policies, and with --template the roles and parameters of one. A group of people takes a --signer ROLE.NAME=… for each.`,
		Example: "  mlseal policy init --signer trainer=trainer.pub --requires signed,evaluation\n" +
			"  mlseal policy init --signer ci=https://token.actions.githubusercontent.com,https://github.com/acme/llm/.github/workflows/train.yml@refs/heads/main --requires signed,provenance\n" +
			"  mlseal policy init --list\n" +
			"  mlseal policy init --template starter-signed --signer signer=trainer.pub --owner ml-platform@acme.example --output signed.yaml",
		Args: takes(),
	}
	cmd.Flags().StringArrayVar(&f.signers, "signer", nil, "who signs: NAME=FILE of a public key, or NAME=ISSUER,SUBJECT (repeatable)")
	cmd.Flags().StringSliceVar(&f.requires, "requires", nil, "what there must be, of "+strings.Join(starter.Kinds(), ", "))
	cmd.Flags().StringArrayVar(&f.repositories, "repository", nil, "where the policy applies, as in registry.example/models/** (repeatable); everywhere without")
	cmd.Flags().StringVar(&f.expires, "expires", "", "when the policy ends: a number of days, or a time as in 2027-06-30T00:00:00Z; 365 days without")
	cmd.Flags().StringVar(&f.output, "output", "policy.yaml", "file of the policy; the test and the fixture stand beside it")
	cmd.Flags().StringVar(&f.name, "name", "first-gate", "name of the policy")
	cmd.Flags().StringVar(&f.template, "template", "", "policy of the library to begin with")
	cmd.Flags().BoolVar(&f.list, "list", false, "list the policies of the library, or what --template needs, and write nothing")
	cmd.Flags().StringArrayVar(&f.params, "param", nil, "NAME=VALUE of a parameter of the template (repeatable); lists have commas")
	cmd.Flags().StringVar(&f.owner, "owner", "", "with --template: whom to ask about the policy")
	cmd.RunE = a.do(func(cmd *cobra.Command, _ []string) error {
		f.named = cmd.Flags().Changed("name")
		switch {
		case f.list:
			return a.listTemplates(f)
		case f.template != "":
			return a.fillTemplate(f)
		case len(f.params) > 0 || f.owner != "":
			return usage(errors.New("policy init: --param and --owner go with --template"))
		}
		return a.policyInit(f)
	})
	return cmd
}

func (a *app) policyInit(f initFlags) error {
	o, err := a.initOptions(f)
	if err != nil {
		return err
	}
	dir, file := filepath.Split(f.output)
	base, ok := strings.CutSuffix(file, ".yaml")
	if !ok || base == "" {
		return usage(fmt.Errorf("--output %s: name a .yaml file", f.output))
	}
	for i, s := range o.Signers {
		if s.Key != "" {
			o.Signers[i].Key = besidePolicy(dir, s.Key)
		}
	}
	files, err := starter.Files(base, o)
	if err != nil {
		return err
	}
	if err := tryOut(dir, base, files); err != nil {
		return err
	}
	if exists(filepath.Join(dir, base+"_fixture")) {
		return usage(fmt.Errorf("%s: %w", filepath.Join(dir, base+"_fixture"), atomicfile.ErrExists))
	}
	if err := writeNew(filepath.Clean(dir), files); err != nil {
		return err
	}
	return a.printf("%s, its test %s and the fixture %s are written\nnext: mlseal policy test %s\n", f.output,
		filepath.Join(dir, base+"_test.yaml"), filepath.Join(dir, base+"_fixture"), filepath.Join(dir, base+"_test.yaml"))
}

// initOptions takes the flags, and asks for the rest on a terminal.
func (a *app) initOptions(f initFlags) (starter.Options, error) {
	o := starter.Options{Name: f.name, Requires: f.requires, Repositories: f.repositories, Now: a.now().UTC().Truncate(time.Minute)}
	for _, text := range f.signers {
		s, err := starter.ParseSigner(text)
		if err != nil {
			return o, err
		}
		o.Signers = append(o.Signers, s)
	}
	missing := len(o.Signers) == 0 || len(o.Requires) == 0
	if f.expires != "" || !missing {
		end, err := expiry(f.expires, o.Now)
		if err != nil {
			return o, err
		}
		o.Expires = end
	}
	switch {
	case !missing:
		return o, nil
	case !a.canAsk():
		return o, usage(errors.New("policy init: this is no terminal to ask on: say who signs with --signer NAME=FILE or NAME=ISSUER,SUBJECT, and what there must be with --requires " +
			strings.Join(starter.Kinds(), ",") + "; --repository, --expires, --name and --output may be left out"))
	}
	return starter.Ask(a.stdin, a.stderr, o)
}

// expiry reads a number of days or a time; without either it is a year.
func expiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		text = "365"
	}
	if days, err := strconv.Atoi(text); err == nil && days > 0 && days <= 3650 {
		return starter.Until(now, days), nil
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return end, usage(fmt.Errorf("--expires %s: write a number of days, or a time as in 2027-06-30T00:00:00Z", text))
	}
	return end, nil
}

// besidePolicy names a file as a policy in dir does.
func besidePolicy(dir, file string) string {
	from, err := filepath.Abs(dir)
	if err != nil {
		return file
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	rel, err := filepath.Rel(from, to)
	if err != nil {
		return to
	}
	return filepath.ToSlash(rel)
}

// tryOut loads the policy and runs its test before anything is written.
func tryOut(dir, base string, files map[string][]byte) error {
	policy, err := policies.Load(files[base+".yaml"], policies.LoadOptions{
		Name: filepath.Join(dir, base+".yaml"), PredicateType: attest.PredicateType,
		ReadFile: func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) },
	})
	if err != nil {
		return err
	}
	suite, err := policytest.Load(files[base+"_test.yaml"], policytest.LoadOptions{Name: base + "_test.yaml"})
	if err != nil {
		return err
	}
	of := map[string][]byte{}
	for name, data := range files {
		if name, ok := strings.CutPrefix(name, base+"_fixture/"); ok {
			of[name] = data
		}
	}
	fixture, err := policytest.ParseFixture(of)
	if err != nil {
		return err
	}
	result, err := policytest.Run(policy, suite, fixture, policytest.Options{})
	if err != nil {
		return err
	}
	if !result.Passed() {
		panic("the test of a first policy does not pass")
	}
	return nil
}
