package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/aibom"
	"github.com/spf13/cobra"
)

// The formats of a bill of materials; they are the short names of its predicate types too.
const (
	bomCycloneDX = "cyclonedx"
	bomSPDX      = "spdx"
)

type aibomFlags struct {
	verifyFlags
	output  string
	kind    string // of a directory
	file    string
	attach  bool
	replace bool
	bundle  string
	key     signWithFlags
}

func (a *app) aibomCommand() *cobra.Command {
	var f aibomFlags
	cmd := &cobra.Command{
		Use:   "aibom PATH|REF [--policy FILE | --key PUB | --certificate-chain PEM | --certificate-identity WHO --certificate-oidc-issuer URL]",
		Short: "Write a bill of materials of what is known about a model or dataset (CycloneDX, SPDX)",
		Long: `Write what is known about a model or dataset as a bill of materials: CycloneDX 1.7 (ML-BOM) or SPDX 3.0.1 (AI and Dataset profiles).

Known is what the bytes say, and what the statements say of those signers whom the policy names for their type: base models and datasets with
their digests, metrics as they were written, licences, hyperparameters. A statement counts by who signed it; that a condition of the policy
does not hold of it, or that the policy denies the artifact, is said on stderr and leaves nothing out. With --key and its like instead of a
policy, that one signer's provenance, evaluations, dataset statements and licence reviews count. With neither no statement is used. A field about
which nothing is known is left out.

--attach signs the document as a statement about the package and attaches it (--signing-key, or --signing-keyless); --bundle-out writes the signed
statement to a file. The same input gives the same document: its time is SOURCE_DATE_EPOCH, or that of the latest statement in it.

The exit status does not depend on the policy's decision, which is what mlseal verify is for. It is 1 when the bytes are not those that the digests name.
docs/aibom.md says where each field comes from.`,
		Example: "  mlseal aibom oci:store:v1 --policy policy.yaml\n  mlseal aibom oci:store:v1 --policy policy.yaml -o spdx --out model.spdx.json\n" +
			"  mlseal aibom oci:store:v1 --policy policy.yaml --attach --signing-key office.key --out bom.json\n  mlseal aibom ./model",
		Args: takes("PATH|REF"),
	}
	f.policy.add(cmd)
	f.policy.addParams(cmd)
	f.trust.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.attestations, "attestations", nil, "more statements: a directory of bundles, a bundle, or a package (repeatable)")
	outputFlag(cmd, &f.output, bomCycloneDX, bomSPDX)
	flags.StringVar(&f.file, "out", "", "write the document to this file, which is replaced whole")
	f.kind = oci.TypeModel
	flags.Var(&choice{&f.kind, []string{oci.TypeModel, oci.TypeDataset}}, "type", "what a directory or file is: model, dataset; a package says it itself")
	flags.BoolVar(&f.attach, "attach", false, "attach the signed document to the package")
	flags.BoolVar(&f.replace, "replace", false, "with --attach, remove earlier documents of the format by the same signer")
	flags.StringVar(&f.bundle, "bundle-out", "", "where the signed document is written as a statement")
	f.key.addAs(cmd, "signing-")
	f.store.add(cmd)
	for _, who := range []string{"key", "certificate-chain", "ca", "certificate-identity"} {
		cmd.MarkFlagsMutuallyExclusive("policy", who)
	}
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("type") && isPackage(args[0]) {
			return usage(errors.New("aibom: --type is for directories and files; a package says what it is"))
		}
		if err := f.check(args[0]); err != nil {
			return err
		}
		return a.aibom(cmd.Context(), args[0], f)
	})
	return cmd
}

// check refuses flags that do not go together, before anything is hashed.
func (f *aibomFlags) check(arg string) error {
	publish := f.attach || f.bundle != ""
	switch {
	case f.policy.name == "" && (f.policy.about() || len(f.policy.params) > 0):
		return usage(errors.New("aibom: --policy-digest, the other flags about a policy and --param go with --policy"))
	case f.policy.name == "" && f.trust.none() && f.trust != trustFlags{}:
		return usage(errors.New("aibom: --trusted-root and --timestamp-certificate-chain say whom to trust for a policy or a signer: name one with --policy, --key or its like"))
	case publish && !f.key.given():
		return usage(errors.New("aibom: --attach and --bundle-out sign the document: name a key with --signing-key, or --signing-keyless"))
	case !publish && f.key.given():
		return usage(errors.New("aibom: the --signing flags go with --attach or --bundle-out"))
	case f.replace && !f.attach:
		return usage(errors.New("aibom: --replace goes with --attach"))
	}
	if f.file != "" {
		if err := placeForFile(arg, "bill of materials", f.file, aibom.Is); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	if publish {
		if err := f.key.check(); err != nil {
			return err
		}
	}
	return checkPublished(arg, "the bill of materials", f.bundle, f.attach)
}

// aibom writes the document, and signs it where it is asked to.
func (a *app) aibom(ctx context.Context, arg string, f aibomFlags) error {
	at, err := a.sourceDate()
	if err != nil {
		return err
	}
	var key *signingKey
	if f.key.given() {
		if key, err = a.loadSigner(ctx, f.key); err != nil {
			return err
		}
	}
	p, err := a.openIfPackage(ctx, arg, f.store)
	if err != nil {
		return err
	}
	options := aibom.Options{Version: version, Time: at, Now: a.now()}
	artifact, err := a.known(ctx, arg, p, f, &options)
	if err != nil {
		return err
	}
	d := aibom.New(artifact, options)
	for _, note := range d.Notes {
		a.note(note)
	}
	write := d.CycloneDX
	if f.output == bomSPDX {
		write = d.SPDX
	}
	document, err := write()
	if err != nil {
		return err
	}
	if err := a.publishBOM(ctx, artifact, p, document, key, f); err != nil {
		return err
	}
	if f.file == "" {
		_, err = a.stdout.Write(document)
		return err
	}
	if err := atomicfile.Write(f.file, document, atomicfile.Options{}); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// known is the artifact as its bytes say; what trusted signers say of it goes into the options.
func (a *app) known(ctx context.Context, arg string, p *openedPackage, f aibomFlags, options *aibom.Options) (aibom.Artifact, error) {
	policy, err := a.heeded(ctx, f)
	if err != nil {
		return aibom.Artifact{}, err
	}
	g, err := a.gateInput(ctx, arg, p, f.verifyFlags)
	if err != nil {
		return aibom.Artifact{}, err
	}
	if err := a.tell(ctx, g, policy, f, options); err != nil {
		return aibom.Artifact{}, err
	}
	artifact := aibom.Artifact{Name: g.target.Subject.Name, Digests: g.target.Subject.Digests, Tree: g.tree, Dataset: f.kind == oci.TypeDataset}
	if p == nil {
		return artifact, nil
	}
	artifact.Dataset = p.pkg.Type == oci.TypeDataset
	if p.ref.Repository != "" {
		artifact.PURL = aibom.OCIPURL(p.ref.Repository, p.pkg.Descriptor.Digest.String())
	}
	says, err := p.pkg.Describe(ctx, p.target)
	if err != nil {
		return artifact, err
	}
	if says.Name != "" {
		artifact.Name = says.Name
	}
	artifact.Contents = aibom.Contents{Architecture: says.Architecture, Format: says.Format, ParamSize: says.ParamSize, Precision: says.Precision}
	return artifact, nil
}

// heedOne is the policy by which whatever one signer says counts. It decides nothing.
const heedOne = `require:
  - {id: provenance, attestation: slsa-provenance, by: [SIGNER]}
  - {id: evaluation, attestation: evaluation, by: [SIGNER]}
  - {id: dataset, attestation: dataset, by: [SIGNER]}
  - {id: license-review, attestation: license-review, by: [SIGNER]}
lineage:
  edges:
    - from: [provenance, base, base-adapter, source]
      role: baseModel
      accept:
        - {id: base, attestation: slsa-provenance, by: [SIGNER]}
        - {attestation: evaluation, by: [SIGNER]}
        - {attestation: license-review, by: [SIGNER]}
    - from: [provenance, base, base-adapter, source]
      role: adapter
      accept:
        - {id: base-adapter, attestation: slsa-provenance, by: [SIGNER]}
        - {attestation: license-review, by: [SIGNER]}
    - from: [provenance, base, base-adapter, source]
      role: dataset
      accept:
        - {id: source, attestation: slsa-provenance, by: [SIGNER]}
        - {attestation: dataset, by: [SIGNER]}
        - {attestation: license-review, by: [SIGNER]}
    - from: evaluation
      role: evalDataset
      accept:
        - {attestation: dataset, by: [SIGNER]}
        - {attestation: license-review, by: [SIGNER]}
`

// heeded is the policy that says whose statements count; nil for nobody's.
func (a *app) heeded(ctx context.Context, f aibomFlags) (*loadedPolicy, error) {
	if f.policy.name != "" {
		return a.loadPolicy(ctx, f.policy, f.store)
	}
	if f.trust.none() {
		return nil, nil
	}
	policy, err := f.trust.policyThat(a, heedOne)
	return &loadedPolicy{Policy: policy}, err
}

// tell finds out what trusted signers say, and tells the operator what was not used.
func (a *app) tell(ctx context.Context, g *gathered, policy *loadedPolicy, f aibomFlags, options *aibom.Options) error {
	if policy == nil {
		a.note(fmt.Sprintf("no statement was used, of %d that were found: say whose count with --policy, or with --key and its like", len(g.found)+len(g.given)))
		return g.contentError()
	}
	root, err := policy.root(ctx, f.trust)
	if err != nil {
		return err
	}
	told, decision, err := a.verifier(g, root).Tell(ctx, g.target, slices.Concat(g.found, g.given), policy.Policy)
	if err != nil {
		return err
	}
	options.Accounts = told.Accounts
	if !told.Whole {
		a.note("not everything is in the document: the artifact descends from more than is followed, or more is attached than is read")
	}
	if f.policy.name == "" {
		return nil
	}
	ref := policy.Ref()
	options.Policy = &ref
	if decision.Err() != nil {
		a.note("the policy denies this artifact (" + denials(decision) + "); the document has what the policy's signers say all the same")
	}
	return nil
}

// contentError says that the bytes are not those that the digests name; nil when they are, or were not read.
func (g *gathered) contentError() error {
	if g.target.Content.Status == verify.Failed {
		return fmt.Errorf("%w: %s", verify.ErrFailed, g.target.Content.Detail)
	}
	return nil
}

// denials names the requirements that deny, with their codes.
func denials(d *policies.Decision) string {
	var out []string
	for _, r := range d.Requirements {
		if r.Denies() {
			out = append(out, r.ID+": "+string(r.Code))
		}
	}
	return strings.Join(out, ", ")
}

// publishBOM signs the document as a statement about the artifact.
func (a *app) publishBOM(ctx context.Context, artifact aibom.Artifact, p *openedPackage, document []byte, key *signingKey, f aibomFlags) error {
	if key == nil {
		return nil
	}
	if len(document) > attest.MaxPredicateBytes {
		return fmt.Errorf("aibom: %w: the document has %d bytes, and a statement holds %d at most: write it with --out and publish that file beside the package",
			errTooLarge, len(document), attest.MaxPredicateBytes)
	}
	uri, _ := attest.PredicateType(f.output)
	if err := attest.CheckPredicate(uri, document); err != nil {
		return err
	}
	what := attachment{predicateType: uri, predicate: document, replace: f.replace}
	family, subjects := []*openedPackage(nil), []attest.ResourceDescriptor{{Name: artifact.Name, Digest: attest.DigestSet{"dirHash": artifact.Digests["dirHash"]}}}
	if p != nil {
		var err error
		if family, _, err = p.family(ctx); err != nil {
			return err
		}
		subjects = familySubjects(family)
	}
	bundle, err := what.sign(ctx, key, subjects)
	if err != nil {
		return fmt.Errorf("the bill of materials was not signed: %w", err)
	}
	if f.bundle != "" {
		if err := writeBundle(f.bundle, bundle.JSON()); err != nil {
			return fmt.Errorf("--bundle-out: %w", err)
		}
	}
	if !f.attach {
		return nil
	}
	for _, member := range family {
		done, err := member.attachOnce(ctx, key, bundle, what, a.now())
		if err != nil {
			return fmt.Errorf("the bill of materials was not attached: %w", err)
		}
		a.note(done.told("the bill of materials"))
	}
	return nil
}

// sourceDate is the time that SOURCE_DATE_EPOCH names (https://reproducible-builds.org/specs/source-date-epoch/); zero when it is not set.
func (a *app) sourceDate() (time.Time, error) {
	text, ok := a.lookupEnv("SOURCE_DATE_EPOCH")
	if !ok || text == "" {
		return time.Time{}, nil
	}
	const latest = 253402300799 // the end of the year 9999, the last that RFC 3339 writes
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > latest {
		return time.Time{}, usage(fmt.Errorf("SOURCE_DATE_EPOCH %q: write seconds since 1970", text))
	}
	return time.Unix(seconds, 0).UTC(), nil
}
