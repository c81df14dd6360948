package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
)

// takenAlong is what an archive holds beside the package and what is attached to it.
type takenAlong struct {
	Lineage []verify.Ancestor `json:"lineage"` // as unverified provenance names it
	Bundles int               `json:"lineageStatements"`
	Unread  []string          `json:"unread,omitempty"` // provenance and given files that cannot be read
	Policy  string            `json:"policy,omitempty"` // the digest to pin it by

	missing []verify.Ancestor // about which nothing was found
}

func (t *takenAlong) fields() []field {
	if t == nil {
		return nil
	}
	return []field{{"lineage", fmt.Sprintf("%d statements about %d dependencies, not verified", t.Bundles, len(t.Lineage))}, {"policy", t.Policy}}
}

// toArchive writes the archive, and says what is missing from it.
func (c *copying) toArchive(ctx context.Context) error {
	opts := oci.ArchiveOptions{Tag: c.ref.Tag, Referrers: c.flags.attestations}
	var taken *takenAlong
	if c.flags.gate.lineage {
		var err error
		if taken, err = c.gather(ctx, &opts); err != nil {
			return fmt.Errorf("%s: %w", c.from, err)
		}
	}
	meter := c.progress("copying", 0)
	opts.Planned, opts.Progress = meter.SetTotal, meter.Add
	report, err := oci.WriteArchive(ctx, c.src.target, c.src.desc, c.ref.Archive, opts)
	meter.Done()
	if errors.Is(err, oci.ErrNotLayout) {
		return usage(err) // nobody else chose the place to copy to
	}
	if err != nil {
		return fmt.Errorf("%s to %s: %w", c.from, c.to, noSuch(c.ref.Archive, err))
	}
	if taken != nil {
		taken.Policy = report.Policy.String()
		c.warn(taken)
	}
	return c.print(report.CopyReport, taken)
}

// gather collects what goes along into opts.
func (c *copying) gather(ctx context.Context, opts *oci.ArchiveOptions) (*takenAlong, error) {
	gate := c.flags.gate
	policy, err := gate.packedPolicy()
	if err != nil {
		return nil, err
	}
	p, err := openedAs(ctx, c.src)
	if err != nil {
		return nil, err
	}
	source := &stores{}
	source.add(p.name, p.target)
	found, err := p.statements(ctx)
	if err != nil {
		return nil, err
	}
	more, err := c.attestations(ctx, gate.more, c.flags.store, source)
	if err != nil {
		return nil, err
	}
	beside, notes, err := p.carStatements(ctx)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		c.note(note)
	}
	beside = slices.DeleteFunc(beside, func(f verify.Found) bool { return errors.Is(f.Err, verify.ErrOther) })
	ancestry, err := verify.UnverifiedAncestry(ctx, source, p.digests(), found, append(more.found, beside...))
	if err != nil {
		return nil, err
	}
	for _, f := range ancestry.Statements {
		opts.Evidence = append(opts.Evidence, f.Data)
	}
	opts.Policy = policy
	return &takenAlong{Lineage: append([]verify.Ancestor{}, ancestry.Ancestors...), Bundles: len(ancestry.Statements), Unread: ancestry.Unread, missing: ancestry.Missing()}, nil
}

// openedAs reads the package that was opened as an artifact of whatever kind.
func openedAs(ctx context.Context, src *openedArtifact) (*openedPackage, error) {
	pkg, err := oci.FetchPackage(ctx, src.target, src.desc)
	if err != nil {
		return nil, err
	}
	return &openedPackage{ref: src.ref, name: referenceName(src.ref), target: src.target, pkg: pkg}, nil
}

// packedPolicy reads the policy that goes along, which must be one that loads. Nil when none is named.
func (f gateFlags) packedPolicy() (*oci.PolicyFiles, error) {
	if f.policy.name == "" {
		return nil, nil
	}
	policy, files, err := readPolicy(f.policy.name)
	if err != nil || f.root == "" {
		return files, err
	}
	if policy.TrustRoot() != nil {
		return nil, usage(errors.New("copy: the policy names its own trust root; leave out --trusted-root"))
	}
	if files.TrustedRoot, err = readInput("trusted root", f.root, trust.MaxRootBytes); err != nil {
		return nil, err
	}
	if _, err := trust.ParseRoot(files.TrustedRoot); err != nil {
		return nil, fmt.Errorf("trusted root %s: %w", f.root, err)
	}
	return files, nil
}

// warn names what a gate on the other side will not find.
func (c *copying) warn(taken *takenAlong) {
	for _, a := range taken.missing {
		_, _ = fmt.Fprintf(c.stderr, "missing: no statement about %s; a policy that asks for one will say LINEAGE_GAP\n", escape.Line(a.String()))
	}
	for _, origin := range taken.Unread {
		_, _ = fmt.Fprintf(c.stderr, "missing: %s cannot be read, and what it descends from is not known\n", escape.Line(origin))
	}
}
