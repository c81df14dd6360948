package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/review"
	"github.com/spf13/cobra"
)

var (
	errWarnings = errors.New("the policy has warnings")
	errDiffers  = errors.New("the policies differ")
)

func (a *app) policyLintCommand() *cobra.Command {
	var strict bool
	var output string
	cmd := &cobra.Command{
		Use:   "lint FILE…",
		Short: "Warn of what a policy allows and probably does not mean",
		Long: `Load policies, which finds every error in them (status 2), and warn of what is probably not meant: conditions that are missing or
too weak, signers whom nothing names, ages without a limit. Each warning has the line and a stable name.`,
		Example: "  mlseal policy lint policy.yaml\n  mlseal policy lint policy.yaml --strict -o json",
		Args:    atLeastOne("FILE"),
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 when there are warnings")
	outputFlag(cmd, &output, "text", "json")
	cmd.RunE = a.do(func(_ *cobra.Command, args []string) error { return a.policyLint(args, strict, output) })
	return cmd
}

// lintFile is the JSON form of the warnings about a file.
type lintFile struct {
	File     string           `json:"file"`
	Warnings []review.Warning `json:"warnings"`
}

func (a *app) policyLint(files []string, strict bool, output string) error {
	var all []lintFile
	count := 0
	for _, file := range files {
		p, _, err := readPolicy(file)
		if err != nil {
			return err
		}
		one := lintFile{file, review.Lint(p, a.now())}
		if one.Warnings == nil {
			one.Warnings = []review.Warning{}
		}
		all, count = append(all, one), count+len(one.Warnings)
	}
	if err := a.showWarnings(all, count, output); err != nil {
		return err
	}
	if strict && count > 0 {
		return reportedError{errWarnings}
	}
	return nil
}

func (a *app) showWarnings(all []lintFile, count int, output string) error {
	if output == "json" {
		return a.printJSON(struct {
			Schema string     `json:"schema"`
			Files  []lintFile `json:"files"`
		}{"https://mlseal.dev/policy-lint/v1", all})
	}
	for _, one := range all {
		for _, w := range one.Warnings {
			if err := a.printf("%s:%d: %s: %s\n", one.File, w.Line, w.Check, w.Message); err != nil {
				return err
			}
		}
	}
	return a.printf("%d warnings\n", count)
}

func (a *app) policyExplainCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Say in plain words what a policy asks, and what it does not",
		Long: `Say who is trusted for what, what must hold, what the artifact may be made from, what the policy does not check, and with which commands
what it asks for is attested.`,
		Example: "  mlseal policy explain policy.yaml\n  mlseal policy explain policy.yaml -o markdown > POLICY.md",
		Args:    takes("FILE"),
	}
	outputFlag(cmd, &output, "text", "markdown", "json")
	cmd.RunE = a.do(func(_ *cobra.Command, args []string) error {
		p, _, err := readPolicy(args[0])
		if err != nil {
			return err
		}
		sections := review.Explain(p)
		switch output {
		case "json":
			return a.printJSON(sections)
		case "markdown":
			return review.Markdown(a.stdout, p.Ref().Name, sections)
		}
		return review.Text(a.stdout, sections)
	})
	return cmd
}

// diffFlags are those of policy diff.
type diffFlags struct {
	evidence    []string
	now, output string
}

func (a *app) policyDiffCommand() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say what a policy says differently from another one",
		Long: `Compare what two policies say, not how they write it: signers, requirements, conditions, edges, parameters. Each difference is weaker (more
passes), stronger (less passes), or other (other things pass, or it cannot be said). With --evidence both decide about fixtures, and
where they decide differently is shown.

The exit status is 0 when they say the same, and 1 when they differ, as with diff.`,
		Example: "  mlseal policy diff policy-v6.yaml policy-v7.yaml --evidence testdata/good",
		Args:    takes("OLD", "NEW"),
	}
	cmd.Flags().StringArrayVar(&f.evidence, "evidence", nil, "fixture about which both decide (repeatable)")
	cmd.Flags().StringVar(&f.now, "now", "", "clock of those decisions, as in 2026-11-20T12:00:00Z; the real one without")
	outputFlag(cmd, &f.output, "text", "json")
	cmd.RunE = a.do(func(_ *cobra.Command, args []string) error { return a.policyDiff(args[0], args[1], f) })
	return cmd
}

// decided is how two policies decide about one fixture.
type decided struct {
	Fixture string   `json:"fixture"`
	Old     string   `json:"old"`
	New     string   `json:"new"`
	Details []string `json:"details,omitempty"` // requirements that ended otherwise
}

func (a *app) policyDiff(oldFile, newFile string, f diffFlags) error {
	before, _, err := readPolicy(oldFile)
	if err != nil {
		return err
	}
	after, _, err := readPolicy(newFile)
	if err != nil {
		return err
	}
	now := a.now()
	if f.now != "" {
		if now, err = time.Parse(time.RFC3339, f.now); err != nil {
			return usage(fmt.Errorf("--now %s: write a time as in 2026-11-20T12:00:00Z", f.now))
		}
	}
	changes := review.Compare(before, after)
	if changes == nil {
		changes = []review.Change{}
	}
	decisions := []decided{}
	differs := len(changes) > 0
	for _, dir := range f.evidence {
		fixture, err := readFixture(dir)
		if err != nil {
			return err
		}
		d := decideBoth(dir, fixture.Decide(before, now), fixture.Decide(after, now))
		decisions, differs = append(decisions, d), differs || len(d.Details) > 0 || d.Old != d.New
	}
	if err := a.showDiff(changes, decisions, f.output); err != nil {
		return err
	}
	if differs {
		return reportedError{errDiffers}
	}
	return nil
}

func decideBoth(dir string, before, after *policies.Decision) decided {
	out := decided{Fixture: dir, Old: before.Verdict.String(), New: after.Verdict.String()}
	ended := func(d *policies.Decision) map[string]string {
		all := map[string]string{}
		for _, r := range d.Requirements {
			all[r.ID] = "passes"
			if !r.Passed {
				all[r.ID] = string(r.Code)
			}
		}
		return all
	}
	old, new := ended(before), ended(after)
	for _, d := range []*policies.Decision{before, after} {
		for _, r := range d.Requirements {
			if was, is := old[r.ID], new[r.ID]; was != is {
				out.Details = append(out.Details, fmt.Sprintf("%s: %s, was %s", r.ID, orNothing(is), orNothing(was)))
				old[r.ID], new[r.ID] = "", ""
			}
		}
	}
	return out
}

func orNothing(s string) string {
	if s == "" {
		return "not asked"
	}
	return s
}

func (a *app) showDiff(changes []review.Change, decisions []decided, output string) error {
	if output == "json" {
		return a.printJSON(struct {
			Schema    string          `json:"schema"`
			Changes   []review.Change `json:"changes"`
			Decisions []decided       `json:"decisions"`
		}{"https://mlseal.dev/policy-diff/v1", changes, decisions})
	}
	if len(changes) == 0 {
		if err := a.printf("the policies say the same\n"); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := a.printf("%-8s  %s: %s\n", string(c.Effect), c.Where, c.What); err != nil {
			return err
		}
	}
	for _, d := range decisions {
		if err := a.printf("%s: %s, was %s\n", d.Fixture, d.New, d.Old); err != nil {
			return err
		}
		for _, detail := range d.Details {
			if err := a.printf("    %s\n", detail); err != nil {
				return err
			}
		}
	}
	return nil
}
