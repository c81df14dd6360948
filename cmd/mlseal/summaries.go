package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

// The formats that are statements about the decision.
const (
	summaryVSA = "vsa"
	summarySVR = "svr"
)

func isSummary(format string) bool { return format == summaryVSA || format == summarySVR }

// summaryFlags say who makes a statement of the decision, with which key, and where it goes.
type summaryFlags struct {
	verifier, resource, policy string // URIs
	kind                       string // of what is attached and written as a bundle
	attach, replace            bool
	bundle                     string
	key                        signWithFlags
}

func (f *summaryFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.verifier, "verifier-id", "", "URI of who verifies, for vsa and svr; consumers pair it with the key that signs")
	flags.StringVar(&f.resource, "resource-uri", "", "URI where consumers get the artifact, for vsa (default the package's reference with its digest)")
	flags.StringVar(&f.policy, "policy-uri", "", "URI of the policy, for vsa and svr (default urn:mlseal:policy:NAME:VERSION)")
	flags.BoolVar(&f.attach, "attach", false, "attach the signed summary of the decision to the package, allowed or denied")
	flags.BoolVar(&f.replace, "replace", false, "with --attach, remove earlier summaries of the same signer")
	f.kind = summaryVSA
	flags.Var(&choice{&f.kind, []string{summaryVSA, summarySVR}}, "summary", "what --attach and --bundle-out sign: vsa, svr")
	flags.StringVar(&f.bundle, "bundle-out", "", "where the signed summary is written")
	f.key.addAs(cmd, "signing-")
}

// check refuses flags that do not go together. wanted says that a report is a summary.
func (f *summaryFlags) check(arg string, byPolicy, wanted bool) error {
	publish := f.attach || f.bundle != ""
	switch {
	case !wanted && !publish:
		return f.unused()
	case !byPolicy:
		return usage(errors.New("verify: a vsa or svr says what a policy decided: name one with --policy"))
	case f.verifier == "":
		return usage(errors.New("verify: a vsa or svr names who verified: give a URI with --verifier-id"))
	case publish && !f.key.given():
		return usage(errors.New("verify: --attach and --bundle-out sign a summary: name a key with --signing-key, or --signing-keyless"))
	case f.replace && !f.attach:
		return usage(errors.New("verify: --replace goes with --attach"))
	case f.resource == "" && !isPackage(arg):
		return usage(errors.New("verify: a directory or file has no address: say with --resource-uri where consumers get it"))
	}
	if err := f.checkURIs(); err != nil {
		return err
	}
	if err := checkPublished(arg, "the summary", f.bundle, f.attach); err != nil {
		return err
	}
	if f.key.given() {
		return f.key.check()
	}
	return nil
}

// unused refuses flags of a summary when none is made.
func (f *summaryFlags) unused() error {
	if f.verifier != "" || f.resource != "" || f.policy != "" || f.replace || f.key.given() {
		return usage(errors.New("verify: --verifier-id, --resource-uri, --policy-uri, --replace and the --signing flags go with -o vsa or svr, --report vsa=FILE, --bundle-out or --attach"))
	}
	return nil
}

func (f *summaryFlags) checkURIs() error {
	for _, u := range []struct{ flag, value string }{{"--verifier-id", f.verifier}, {"--resource-uri", f.resource}, {"--policy-uri", f.policy}} {
		if u.value == "" {
			continue
		}
		if err := report.CheckURI(u.value); err != nil {
			return usage(fmt.Errorf("%s: %w", u.flag, err))
		}
	}
	return nil
}

// checkPublished refuses places to which what is said about arg cannot go: bundle is the file of --bundle-out, if any.
func checkPublished(arg, what, bundle string, attach bool) error {
	if bundle != "" {
		if err := placeOutside(arg, bundle); err != nil {
			return fmt.Errorf("--bundle-out: %w", err)
		}
		if err := placeForBundle(bundle); err != nil {
			return fmt.Errorf("--bundle-out: %w", err)
		}
	}
	if !attach {
		return nil
	}
	if !isPackage(arg) {
		return usage(fmt.Errorf("--attach is for packages; write %s of a directory or file with --bundle-out", what))
	}
	if ref, err := oci.ParseReference(arg); err == nil && ref.Archive != "" {
		return fmt.Errorf("--attach: %s: %w", arg, oci.ErrReadOnly)
	}
	return nil
}

// summaries makes statements about one decision, each once.
type summaries struct {
	flags    summaryFlags
	key      *signingKey // nil when nothing is signed
	pkg      *openedPackage
	decision *policies.Decision
	bundles  map[string]*attest.Bundle
}

func (a *app) newSummaries(ctx context.Context, f summaryFlags) (*summaries, error) {
	s := &summaries{flags: f, bundles: map[string]*attest.Bundle{}}
	if !f.key.given() {
		return s, nil
	}
	var err error
	s.key, err = a.loadSigner(ctx, f.key)
	return s, err
}

// about says what was decided, about the package or without one about a directory.
func (s *summaries) about(d *policies.Decision, p *openedPackage) { s.decision, s.pkg = d, p }

// subjects are those that `attest` gives a statement about the same thing.
func (s *summaries) subjects() []attest.ResourceDescriptor {
	if s.pkg != nil {
		return s.pkg.subjects()
	}
	return []attest.ResourceDescriptor{{Name: s.decision.Subject.Name, Digest: attest.DigestSet{"dirHash": s.decision.Subject.Digests["dirHash"]}}}
}

// resource is where the artifact comes from: with its digest, and without a path of this machine.
func (s *summaries) resource() string {
	switch {
	case s.flags.resource != "" || s.pkg == nil:
		return s.flags.resource
	case s.pkg.ref.Repository != "":
		return "oci://" + s.pkg.ref.Repository + "@" + s.pkg.pkg.Descriptor.Digest.String()
	}
	return "oci:" + url.PathEscape(s.pkg.name) + "@" + s.pkg.pkg.Descriptor.Digest.String()
}

func (s *summaries) statement(kind string) (*attest.Statement, error) {
	if s.decision == nil {
		return nil, errNoDecision
	}
	by := report.Verifier{ID: s.flags.verifier, Version: version, ResourceURI: s.resource(), PolicyURI: s.flags.policy}
	if s.pkg != nil {
		by.Repository = s.pkg.ref.Repository
	}
	predicateOf, predicateType := report.VSA, attest.VSAPredicateType
	if kind == summarySVR {
		predicateOf, predicateType = report.SVR, attest.SVRPredicateType
	}
	predicate, err := predicateOf(s.decision, by)
	if err != nil {
		return nil, err
	}
	return attest.NewStatement(s.subjects(), predicateType, predicate)
}

// sign signs a summary, once for all places that it goes to.
func (s *summaries) sign(ctx context.Context, kind string) (*attest.Bundle, error) {
	if b := s.bundles[kind]; b != nil {
		return b, nil
	}
	statement, err := s.statement(kind)
	if err != nil {
		return nil, err
	}
	b, err := attest.Sign(ctx, statement, s.key)
	if err == nil {
		s.bundles[kind] = b
	}
	return b, err
}

// render gives the bundle when there is a key, else the statement.
func (s *summaries) render(ctx context.Context, kind string) ([]byte, error) {
	if s.key != nil {
		b, err := s.sign(ctx, kind)
		if err != nil {
			return nil, err
		}
		return append(b.JSON(), '\n'), nil
	}
	statement, err := s.statement(kind)
	if err != nil {
		return nil, err
	}
	return report.Marshal(statement)
}

// publish writes the signed summary where --bundle-out says, and attaches it.
func (s *summaries) publish(ctx context.Context, a *app) error {
	if !s.flags.attach && s.flags.bundle == "" {
		return nil
	}
	b, err := s.sign(ctx, s.flags.kind)
	if err != nil {
		return fmt.Errorf("the %s was not signed: %w", s.flags.kind, err)
	}
	if s.flags.bundle != "" {
		if err := writeBundle(s.flags.bundle, b.JSON()); err != nil {
			return fmt.Errorf("--bundle-out: %w", err)
		}
	}
	if !s.flags.attach {
		return nil
	}
	what := attachment{predicateType: attest.VSAPredicateType, replace: s.flags.replace}
	if s.flags.kind == summarySVR {
		what.predicateType = attest.SVRPredicateType
	}
	done, err := s.pkg.attachOnce(ctx, s.key, b, what, a.now())
	if err != nil {
		return fmt.Errorf("the %s was not attached: %w", s.flags.kind, err)
	}
	a.note(done.told("the " + s.flags.kind))
	return nil
}
