package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/compose"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
)

// personFlags are those of a command that makes a predicate of what a person says.
type personFlags struct {
	madeStatement
	kind         string
	values       map[string]*[]string // by the question's name
	noInput      bool
	policy       string
	attestations []string
}

// lists reports whether the form is about the statements that there are.
func (f *personFlags) lists() bool { return f.kind == "approval" || f.kind == "evidence-set" }

func (a *app) personCommand(kind string) *cobra.Command {
	f := &personFlags{kind: kind, values: map[string]*[]string{}}
	form := compose.New(kind, compose.Facts{})
	cmd := &cobra.Command{
		Use:   kind + " PATH|REF (--key KEY | --keyless)",
		Short: "Say " + form.About,
		Long: "Sign a statement of type " + kind + ": " + form.About + ".\n" + `
What the flags leave out is asked for on a terminal; elsewhere, and with --no-input, the command says all that is missing. Nothing is
signed before everything is there. --print writes the predicate and signs nothing.` + personHelp[kind],
		Example: personExamples[kind],
		Args:    takes("PATH|REF"),
	}
	for _, q := range form.Questions {
		values := []string{}
		f.values[q.Name] = &values
		about := q.About
		if len(q.Choices) > 0 {
			about += " (" + strings.Join(q.Choices, ", ") + ")"
			_ = cmd.RegisterFlagCompletionFunc(q.Name, cobra.FixedCompletions(q.Choices, cobra.ShellCompDirectiveNoFileComp))
		}
		if q.Repeated {
			cmd.Flags().StringArrayVar(&values, q.Name, nil, about+"; repeatable")
		} else {
			cmd.Flags().Var(&once{&values}, q.Name, about)
		}
	}
	cmd.Flags().BoolVar(&f.noInput, "no-input", false, "ask nothing, also on a terminal")
	if f.lists() {
		cmd.Flags().StringArrayVar(&f.attestations, "attestations", nil, "statements beside those that are attached: a directory of bundles, a bundle, or a package; repeatable")
	}
	if kind == "approval" {
		cmd.Flags().StringVar(&f.policy, "policy", "", "policy file whose signers the statements are verified with before they are shown")
	}
	f.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error { return a.say(cmd.Context(), args[0], f) })
	return cmd
}

// personHelp is what a command's help says beside that.
var personHelp = map[string]string{
	"approval": `

The statements that are attached are shown, with their signers where --policy verifies them, and the approver says which were read. Their
digests (of the bundles, as mlseal inspect -o json and the reports have them) go into reviewed[].`,
	"evidence-set": `

It lists what is attached now, but for other inventories. When the same signer has listed the same already, that inventory stays.`,
	"license-review": "\n\nThe license that is concluded must be written as an SPDX expression; one that SPDX does not list is LicenseRef-NAME.",
	"revocation":     "\n\nA policy finds it with denyRevoked, also where something was made from the artifact.",
}

var personExamples = map[string]string{
	"approval": "  mlseal attest approval oci:store:v1 --key alice.key\n" +
		"  mlseal attest approval oci:store:v1 --decision approved --environment prod --valid-for 90d --reviewed all --ticket ML-2041 --key alice.key",
	"license-review": "  mlseal attest license-review oci:store:v1 --declared llama3.1 --concluded LicenseRef-llama-3.1 --inherited 'hf://acme/base=LicenseRef-llama-3.1;name the base model' --key legal.key",
	"evidence-set":   "  mlseal attest evidence-set oci:store:v1 --key release.key",
	"revocation":     "  mlseal attest revocation oci:data:v1 --reason 'a source was withdrawn' --severity high --replacement oci:data:v2 --key office.key",
	"waiver":         "  mlseal attest waiver oci:store:v1 --id W-2026-014 --requirement clean-scan --until 30d --reason 'false positive, SEC-441' --key security.key",
}

// say fills the form, and signs what it makes.
func (a *app) say(ctx context.Context, arg string, f *personFlags) error {
	if err := f.checkPerson(arg); err != nil {
		return err
	}
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return err
	}
	statements, err := a.statementsAbout(ctx, p, f)
	if err != nil {
		return err
	}
	var artifact map[string]string
	if p != nil {
		artifact = p.digests()
	}
	form := compose.New(f.kind, compose.Facts{Now: a.now(), Artifact: artifact, Statements: statements,
		Resolve: func(name string) (compose.Resource, error) { return a.resolveArtifact(ctx, name, f.store) }})
	answers, err := form.Fill(ctx, f.answers(), a.asker(f.noInput))
	if err != nil {
		return err
	}
	if f.what.predicate, err = form.Build(answers); err != nil {
		return err
	}
	if f.print {
		return a.printJSON(f.what.predicate)
	}
	f.what.predicateType, _ = attest.PredicateType(f.kind)
	if f.kind == "evidence-set" {
		f.what.undated = true
		a.noteListed(form.Listed())
	}
	if p == nil {
		return a.attestTree(ctx, arg, f.attestFlags)
	}
	key, err := a.loadSigner(ctx, f.what.key)
	if err != nil {
		return err
	}
	return a.attachTo(ctx, p, key, f.what)
}

// checkPerson refuses, before anybody is asked, what would fail afterwards.
func (f *personFlags) checkPerson(arg string) error {
	if !isPackage(arg) && !objectstore.IsURL(arg) && !exists(arg) {
		return usage(fmt.Errorf("%s: no such file or directory", arg))
	}
	return f.check(arg)
}

// answers are the values of the flags.
func (f *personFlags) answers() compose.Answers {
	answers := compose.Answers{}
	for name, values := range f.values {
		answers[name] = *values
	}
	return answers
}

// noteListed says what an inventory lists.
func (a *app) noteListed(listed []compose.Statement) {
	for _, s := range listed {
		a.note("lists " + s.PredicateType + " " + s.Digest)
	}
}

// resolveArtifact names an artifact by what it is now: a package by its digests, a directory or file by its dirHash.
func (a *app) resolveArtifact(ctx context.Context, name string, store storeFlags) (compose.Resource, error) {
	if isPackage(name) {
		p, err := a.openPackage(ctx, name, store)
		if err != nil {
			return compose.Resource{}, err
		}
		return compose.Resource{URI: p.name, Digest: p.digests()}, nil
	}
	_, m, err := a.hashPath(ctx, name, store, nil)
	if err != nil {
		return compose.Resource{}, err
	}
	return compose.Resource{Digest: map[string]string{"dirHash": m.DirHash()}}, nil
}

// statementsAbout finds the statements about the artifact, with what is known of their signers.
func (a *app) statementsAbout(ctx context.Context, p *openedPackage, f *personFlags) ([]compose.Statement, error) {
	if !f.lists() {
		return nil, nil
	}
	more, err := a.attestations(ctx, f.attestations, f.store, &stores{})
	if err != nil {
		return nil, err
	}
	found := more.found
	if p != nil {
		attached, err := p.statements(ctx)
		if err != nil {
			return nil, err
		}
		found = append(attached, found...)
	}
	signers, err := a.signersOf(ctx, p, found, f)
	if err != nil {
		return nil, err
	}
	var statements []compose.Statement
	seen := map[string]bool{}
	for _, one := range found {
		s, err := readStatement(one, p)
		switch {
		case one.Incomplete:
			return nil, one.Err
		case errors.Is(one.Err, verify.ErrOther), err == nil && s == nil:
			continue
		case err != nil:
			a.note(fmt.Sprintf("%s cannot be used and is left out: %v", one.Origin, err))
			continue
		case seen[s.Digest]:
			continue
		}
		seen[s.Digest] = true
		if by, ok := signers[s.Digest]; ok {
			s.SignedBy = by
		}
		statements = append(statements, *s)
	}
	return statements, nil
}

// readStatement reads what was found; nil when it is about something else than the package, as what a package carries along is.
func readStatement(one verify.Found, p *openedPackage) (*compose.Statement, error) {
	if one.Err != nil {
		return nil, one.Err
	}
	b, err := attest.Parse(one.Data)
	if err != nil {
		return nil, err
	}
	s, err := b.UnverifiedStatement(attest.StatementType, attest.StatementTypeV01)
	if err != nil {
		return nil, err
	}
	if p != nil && !isAbout(s, p.digests()) {
		return nil, nil
	}
	return &compose.Statement{PredicateType: s.PredicateType, Digest: b.ID(), MediaType: b.MediaType,
		SignedBy: "not verified: signed with " + inspectBundle(one.Data).Signer}, nil
}

// isAbout reports whether the statement names the artifact by one of its digests.
func isAbout(s *attest.Statement, digests map[string]string) bool {
	if oms, err := attest.ParseOMS(s); err == nil {
		dirHash, err := oms.DirHash()
		return err == nil && dirHash == digests["dirHash"]
	}
	for _, subject := range s.Subject {
		for alg, value := range subject.Digest {
			if digests[alg] == value && value != "" {
				return true
			}
		}
	}
	return false
}

// signersOf says who signed what, as far as --policy names them.
func (a *app) signersOf(ctx context.Context, p *openedPackage, found []verify.Found, f *personFlags) (map[string]string, error) {
	if f.policy == "" {
		return nil, nil
	}
	policy, _, err := readPolicy(f.policy)
	if err != nil {
		return nil, err
	}
	root, err := (&trustFlags{}).policyRoot(ctx, policy)
	if err != nil {
		return nil, err
	}
	target := verify.Target{}
	if p != nil {
		target.Subject = p.subject()
	}
	v := verify.Verifier{Now: a.now(), Trust: trust.New(root)}
	evidence, err := v.Evidence(ctx, target, found, policy)
	if err != nil {
		return nil, err
	}
	signers := map[string]string{}
	for _, e := range evidence {
		switch {
		case e.Problem != "":
			signers[e.ID] = "not verified: " + e.ProblemDetail
		case len(e.SignedBy) > 0:
			signers[e.ID] = "signed by " + strings.Join(e.SignedBy, ", ")
		default:
			signers[e.ID] = "not verified: " + e.SignatureNote
		}
	}
	return signers, nil
}

// asker asks at the terminal; nil where there is none, or nothing may be asked.
func (a *app) asker(noInput bool) compose.Asker {
	if noInput || !a.canAsk() {
		return nil
	}
	return &terminalAsker{a: a, in: bufio.NewReader(a.stdin)}
}

type terminalAsker struct {
	a  *app
	in *bufio.Reader
}

// Ask implements compose.Asker.
func (t *terminalAsker) Ask(ctx context.Context, q compose.Question, problem string) (string, error) {
	w := t.a.stderr
	if problem != "" {
		_, _ = fmt.Fprintln(w, "  "+escape.Line(problem))
	} else {
		for _, line := range q.Show {
			_, _ = fmt.Fprintln(w, escape.Line(line))
		}
	}
	_, _ = fmt.Fprint(w, escape.Line(prompt(q)))
	stop := context.AfterFunc(ctx, func() { // the terminal does not listen to ctx
		_, _ = fmt.Fprintln(w)
		os.Exit(statusNotDecided)
	})
	defer stop()
	line, err := t.in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		_, _ = fmt.Fprintln(w)
		return "", fmt.Errorf("%s: the input ended: nothing was signed", q.Name)
	}
	return line, err
}

// prompt is a question on a line.
func prompt(q compose.Question) string {
	text := q.Name + ": " + q.About
	if len(q.Choices) > 0 {
		text += " (" + strings.Join(q.Choices, ", ") + ")"
	}
	switch {
	case q.Default != "":
		text += " [" + q.Default + "]"
	case q.Optional:
		text += " [none]"
	}
	return text + ": "
}

// once is a flag with one value. An empty one counts as not given.
type once struct{ values *[]string }

func (o *once) String() string { return "" }
func (o *once) Type() string   { return "string" }

func (o *once) Set(s string) error {
	*o.values = []string{s}
	return nil
}
