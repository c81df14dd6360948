package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/mlseal/mlseal/verify/trust"
	"github.com/spf13/cobra"
)

type verifyFlags struct {
	signature    string
	trust        trustFlags
	policy       policyFlags
	attestations []string
	reports      reportFlags
	store        storeFlags
	tree         treeFlags
	unsigned     bool
	only         onlyFlag
	audit        bool
	layout       layoutFlags
	schemas      bool
	failFast     bool
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify PATH|REF (--policy FILE | --layout FILE --layout-key PUB | --key PUB | --certificate-chain PEM | --certificate-identity WHO --certificate-oidc-issuer URL) [--signature FILE]",
		Short: "Verify a signature, or ask a policy whether an artifact may be deployed",
		Long: `Verify a directory or file against an OMS bundle: the signature, every file, and that none is missing or extra.
  mlseal verify PATH --signature model.sig --key PUB
  mlseal verify PATH --signature model.sig --certificate-chain CA.pem
  mlseal verify PATH --signature model.sig --certificate-identity WHO --certificate-oidc-issuer URL --trusted-root root.json
What the bundle says counts: its hash type and shards, and the paths that its signer left out, which are named. Bundles whose
signer followed symbolic links are refused without --allow-symlinks.
Each check is listed: the signature, the certificate chain and its time, the SCT, the transparency log, the timestamp, the
identity, the files; passed, failed, or not done and why. Certificates of your own authority must be valid at the time of a
timestamp that --trusted-root or --timestamp-certificate-chain vouches for, or else now.

Verify that a package was signed with a key, with a certificate of your own authority, or by an identity:
  mlseal verify REF --key PUB
  mlseal verify REF --certificate-chain CA.pem
  mlseal verify REF --certificate-identity WHO --certificate-oidc-issuer URL --trusted-root root.json

The gate: let a policy decide about a package or a directory. All that is needed comes from the artifact's store and
from --attestations; nothing is asked from the network but a registry that you name, and Sigstore's trusted root when there are keyless signers
and neither the policy (trust.root) nor --trusted-root names one. The bytes of a directory or
of a layout on disk are hashed first.
  mlseal verify PATH|REF --policy policy.yaml

A car image (pack --car) is read whole, in a registry too: it is known by its own digest and by the dirHash of the files in its layer, so that
statements about the same files count, also those that are attached to the package beside which it was made.
With --only the files of a layout that a pattern chooses are hashed and no others; the decision is about the package as always, and
says that the rest was not looked at.

A parameter that the policy declares with override: true can be given another value, which every report shows:
  mlseal verify REF --policy policy.yaml --param minimum=0.75
With --audit a denial is reported as ever, marked DENIED (audit), and the exit status is 0: for a policy that is tried out before it counts.

Across an air gap everything comes from one file, which mlseal copy --with-lineage makes. A policy that travels in it decides only
when its digest is pinned to one that came another way: whoever made the file chose the policy too.
  mlseal verify oci-archive:FILE.tar --policy policy.yaml
  mlseal verify oci-archive:FILE.tar --policy oci-archive:FILE.tar --policy-digest sha256:…

A policy in a registry, a layout or an archive, as mlseal policy push makes it, decides when somebody signed it whom you trust with policies,
for the repository that it comes from. A lower version than one that was accepted before is refused: --policy-state says where that is remembered.
  mlseal verify REF --policy registry.example/policies/gate:prod --policy-key policy.pub

An in-toto layout: that the steps of a supply chain were done by those who may do them, that what came out of each went into the next as the layout
says, and that the files are exactly the products of its last step. Nothing is executed: a layout with inspections is refused.
  mlseal verify PATH|REF --layout root.layout --layout-key owner.pub --links links

Every format lists what was checked, what was not, and what to do. -o picks the one on stdout; --report FORMAT=FILE writes others in the
same run: text, json (docs/schemas/report-v1.json), sarif (2.1.0), junit, markdown for a CI job's summary. A policy's decision can also be
a statement for others to rely on: vsa (SLSA verification summary v1) or svr (in-toto simple verification result v0.2), signed when there is a
--signing-key, and attached to the package with --attach, also when it was denied.
  mlseal verify REF --policy policy.yaml --report sarif=gate.sarif --report junit=gate.xml
  mlseal verify REF --policy policy.yaml --verifier-id https://gate.example/prod --signing-key gate.key --attach

The exit status is 0 when allowed, 1 when not (0 with --audit); see mlseal help exit-status. When the decision is yes and a report could not be written or
attached it is 3; a no stays 1.`,
		Example: "  mlseal verify ./model --signature model.sig --key trainer.pub\n" +
			"  mlseal verify oci:store:v1 --policy policy.yaml\n" +
			"  mlseal verify ./model --policy policy.yaml --attestations oci:store:v1 -o json --report junit=gate.xml\n" +
			"  mlseal verify s3://models/llm --signature model.sig --key trainer.pub",
		Args: takes("PATH|REF"),
	}
	cmd.Flags().StringVar(&f.signature, "signature", "", "OMS bundle of the directory or file")
	f.trust.add(cmd)
	f.policy.add(cmd)
	f.policy.addParams(cmd)
	cmd.Flags().BoolVar(&f.audit, "audit", false, "exit with 0 also when the policy denies; the report is the same and says so")
	cmd.Flags().BoolVar(&f.schemas, "check-schemas", false, "hold the predicates that mlseal defines to their schemas: one by a signer of the policy that fails does not count, and denies")
	cmd.Flags().StringArrayVar(&f.attestations, "attestations", nil, "more statements: a directory of bundles, a bundle, or a package (repeatable)")
	f.reports.add(cmd)
	f.store.add(cmd)
	f.tree.add(cmd)
	f.only.add(cmd)
	f.layout.add(cmd)
	cmd.Flags().BoolVar(&f.unsigned, "ignore-unsigned-files", false, "name files that are not signed instead of failing; they are not read")
	cmd.Flags().BoolVar(&f.failFast, "fail-fast", false, "stop at the first file that is not what was signed or packed, instead of naming all")
	cmd.MarkFlagsMutuallyExclusive("policy", "signature")
	cmd.MarkFlagsMutuallyExclusive("only", "signature")
	for _, who := range []string{"key", "certificate-chain", "ca", "certificate-identity"} {
		cmd.MarkFlagsMutuallyExclusive("policy", who)
		cmd.MarkFlagsMutuallyExclusive("attestations", who)
	}
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if f.policy.name != "" || f.layout.file != "" || f.signature == "" && isPackage(args[0]) {
			if err := refuseTreeFlags(cmd); err != nil {
				return err
			}
		}
		return a.verify(cmd.Context(), args[0], f)
	})
	return cmd
}

func (a *app) verify(ctx context.Context, arg string, f verifyFlags) error {
	if err := oci.CheckPatterns(f.only); err != nil {
		return err
	}
	if err := f.reports.check(arg, f.policy.name != ""); err != nil {
		return err
	}
	switch {
	case f.failFast && f.signature == "" && !isPackage(arg):
		return usage(errors.New("verify: --fail-fast is for what says how each file should be: a package, or a directory with --signature"))
	case f.only.isPart() && !isPackage(arg):
		return usage(errors.New("verify: --only is for packages: a directory is what it is as a whole"))
	case f.policy.name != "":
		policy, err := a.loadPolicy(ctx, f.policy, f.store)
		if err != nil {
			return err
		}
		return a.gate(ctx, arg, policy, f)
	case f.layout.given():
		return a.verifyLayout(ctx, arg, f)
	case f.policy.about() || len(f.policy.params) > 0 || f.audit || f.schemas:
		return usage(errors.New("verify: --policy-digest, the other flags about a policy, --param, --audit and --check-schemas go with --policy"))
	case f.trust.none():
		return usage(errors.New("verify: say whom to trust: --policy FILE, --layout FILE with --layout-key PUB, --key PUB, --certificate-chain PEM, or --certificate-identity and --certificate-oidc-issuer"))
	case f.signature != "" && exists(arg):
		return a.verifyTree(ctx, arg, f) // whatever stands in it
	case isPackage(arg):
		if f.signature != "" {
			return usage(errors.New("verify: --signature is for directories and files; the signatures of a package are attached to it"))
		}
		policy, err := f.trust.policy(a)
		if err != nil {
			return err
		}
		return a.gate(ctx, arg, &loadedPolicy{Policy: policy}, f)
	case f.signature == "":
		return usage(errors.New("verify: name the OMS bundle with --signature"))
	}
	return a.verifyTree(ctx, arg, f)
}

func (a *app) verifyTree(ctx context.Context, path string, f verifyFlags) error {
	t, err := f.tree.open(ctx, a, path, f.store)
	if err != nil {
		return err
	}
	defer t.Close()
	out, err := a.newDelivery(ctx, f.reports)
	if err != nil {
		return err
	}
	anchor, err := f.trust.anchor(ctx, a)
	if err != nil {
		return err
	}
	bundle, err := readBundle(f.signature)
	if err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	opts, err := f.treeOptions(t)
	if err != nil {
		return err
	}
	if t.source != "" {
		a.note("source: " + t.source)
	}
	meter := a.progress("verifying", 0)
	opts.Total, opts.Progress, opts.Now = meter.SetTotal, meter.Add, a.now()
	result, verr := verify.Tree(ctx, t.fsys, bundle, anchor, opts)
	meter.Done()
	if verr != nil && !errors.Is(verr, verify.ErrFailed) {
		return verr
	}
	return out.deliver(ctx, report.Tree{Path: redacted(path), Result: result}, verr)
}

func (f verifyFlags) treeOptions(t *tree) (verify.TreeOptions, error) {
	ignore, err := f.tree.ignored(t)
	if err != nil {
		return verify.TreeOptions{}, err
	}
	inside, err := t.inside(f.signature)
	return verify.TreeOptions{File: t.file, Bundle: f.signature, Signature: inside, Ignore: ignore, IncludeGit: !f.tree.git,
		IgnoreUnsigned: f.unsigned, AllowSymlinks: f.tree.symlinks, FailFast: f.failFast, Concurrency: t.concurrency()}, err
}

// gate lets the policy decide and reports the decision.
func (a *app) gate(ctx context.Context, arg string, policy *loadedPolicy, f verifyFlags) error {
	out, err := a.newDelivery(ctx, f.reports)
	if err != nil {
		return err
	}
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return err
	}
	decision, err := a.decide(ctx, arg, p, policy, f)
	if err != nil {
		return err
	}
	out.summaries.about(decision, p)
	no := decision.Err()
	if f.audit && errors.Is(no, policies.ErrDenied) {
		no = nil // the report says it
	}
	return out.deliver(ctx, report.Gate{Decision: decision, Audit: f.audit}, no)
}

// decide asks the policy about a package, or without one about the directory or file arg.
func (a *app) decide(ctx context.Context, arg string, p *openedPackage, policy *loadedPolicy, f verifyFlags) (*policies.Decision, error) {
	root, err := policy.root(ctx, f.trust)
	if err != nil {
		return nil, err
	}
	g, err := a.gateInput(ctx, arg, p, f)
	if err != nil {
		return nil, err
	}
	return a.judge(ctx, g, policy, root, f.schemas)
}

// judge asks the policy about what was gathered.
func (a *app) judge(ctx context.Context, g *gathered, policy *loadedPolicy, root *trust.Root, schemas bool) (*policies.Decision, error) {
	v := a.verifier(g, root)
	v.CheckSchemas = schemas
	decision, err := v.Verify(ctx, g.target, slices.Concat(g.found, g.given), policy.Policy)
	if err == nil {
		policy.about(decision)
	}
	return decision, err
}

func (a *app) verifier(g *gathered, root *trust.Root) *verify.Verifier {
	return &verify.Verifier{Source: g.source, Now: a.now(), Trust: trust.New(root)}
}

// gateInput is what the gate is asked about, with its bytes looked at.
func (a *app) gateInput(ctx context.Context, arg string, p *openedPackage, f verifyFlags) (*gathered, error) {
	g, err := a.gatherEvidence(ctx, arg, p, f)
	if err != nil || p == nil {
		return g, err
	}
	content, notes, err := a.checkContent(ctx, p, f.only, f.failFast)
	g.target.Content, g.target.Notes = content, append(g.target.Notes, notes...)
	return g, err
}

// gathered is an artifact, the statements that were found with it and those that were given, and where to look for more.
type gathered struct {
	target       verify.Target
	tree         *manifest.Manifest // the files
	found, given []verify.Found
	source       *stores
}

// gatherEvidence opens the stores and gathers the statements. The bytes of a directory or file are hashed; those of a package are not.
func (a *app) gatherEvidence(ctx context.Context, arg string, p *openedPackage, f verifyFlags) (*gathered, error) {
	g := &gathered{source: &stores{}}
	if p == nil {
		t, m, err := a.hashPath(ctx, arg, f.store, f.attestations)
		if err != nil {
			return nil, err
		}
		more, err := a.attestations(ctx, f.attestations, f.store, g.source)
		g.target, g.given, g.tree = treeTarget(t, m, more), more.found, m
		return g, err
	}
	g.source.add(p.name, p.target)
	g.target.Subject, g.tree = p.subject(), p.pkg.Tree
	var err error
	if g.found, err = p.statements(ctx); err != nil {
		return nil, err
	}
	fromCar, notes, err := p.carStatements(ctx)
	if err != nil {
		return nil, err
	}
	g.found, g.target.Notes = append(g.found, fromCar...), notes
	more, err := a.attestations(ctx, f.attestations, f.store, g.source)
	g.given = more.found
	return g, err
}

// hashPath hashes the bytes that will be used before anything is said about them. A bundle that the command line
// names is no part of the tree in which it stands.
func (a *app) hashPath(ctx context.Context, path string, store storeFlags, bundles []string) (name string, m *manifest.Manifest, err error) {
	t, err := a.open(ctx, path, store)
	if err != nil {
		return "", nil, err
	}
	defer t.Close()
	var ignore []string
	for _, bundle := range bundles {
		if info, err := os.Stat(bundle); err != nil || !info.Mode().IsRegular() {
			continue
		}
		inside, err := t.inside(bundle)
		if err != nil {
			return "", nil, err
		}
		if inside != "" {
			ignore = append(ignore, inside)
		}
	}
	m, err = a.hashTree(ctx, t, ignore)
	return t.name, m, err
}

func treeTarget(name string, m *manifest.Manifest, g given) verify.Target {
	return verify.Target{
		Subject: policies.Subject{Name: name, Digests: map[string]string{"dirHash": m.DirHash()}},
		Content: verify.Check{Name: "content", Status: verify.Passed, Detail: fmt.Sprintf("%d files, %s hashed; dirHash:%s%s", len(m.Files), progress.Bytes(m.Size()), m.DirHash(), leftOut(m.LeftOut))},
		Notes:   g.unlike(name, m),
	}
}

// checkContent hashes the blobs of a layout or archive on disk, or those that only chooses; the notes say what was not looked at. Those of a
// registry stay where they are: pull verifies them when they come.
func (a *app) checkContent(ctx context.Context, p *openedPackage, only onlyFlag, failFast bool) (check verify.Check, notes []string, err error) {
	check.Name = "content"
	part, err := only.of(p.pkg)
	if err != nil {
		return check, nil, err
	}
	if p.pkg.Car != nil {
		return carContent(p), nil, nil
	}
	if p.ref.Repository != "" {
		check.Detail = "the files were not read from the registry; `mlseal pull` verifies every byte that it writes"
		return check, nil, nil
	}
	meter := a.progress("hashing", part.Size())
	result, err := oci.VerifyContent(ctx, p.target, p.pkg, oci.ContentOptions{Only: only, FailFast: failFast, Progress: meter.Add})
	meter.Done()
	if err != nil {
		return check, nil, err
	}
	if err := result.Err(); err != nil {
		check.Status, check.Detail = verify.Failed, err.Error()
		return check, nil, nil
	}
	check.Status = verify.Passed
	hashed := fmt.Sprintf("%s hashed, each as the package says", progress.Bytes(part.Size()))
	if !only.isPart() {
		check.Detail = fmt.Sprintf("%d files, %s%s", len(part.Files), hashed, leftOut(p.pkg.LeftOut))
		return check, nil, nil
	}
	check.Detail = fmt.Sprintf("part: %s, %s", partOf(part, p.pkg), hashed)
	rest := len(p.pkg.Tree.Files) - len(part.Files)
	return check, []string{fmt.Sprintf("content: not done: %d files were not looked at (--only)", rest)}, nil
}

// leftOut says what no digest of the tree covers, for the end of a detail.
func leftOut(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "; not part of the tree: " + strings.Join(names, ", ")
}

// report writes a report to stdout.
func (a *app) report(output string, r report.Report) error {
	data, err := report.Render(r, report.Format(output), report.Options{Version: version, Now: a.now(), Style: report.Style{Color: a.color}})
	if err == nil {
		_, err = a.stdout.Write(data)
	}
	return err
}

// reported marks an error that the report has explained, and still gives the hint.
func reported(err error, hint string, a *app) error {
	if err == nil {
		return nil
	}
	if hint != "" {
		_, _ = fmt.Fprintln(a.stderr, "hint: "+hint)
	}
	return reportedError{err}
}
