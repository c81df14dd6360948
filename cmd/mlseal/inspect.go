package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/spf13/cobra"
)

// inspection is what inspect shows. Nothing in it was verified.
type inspection struct {
	Warning    string              `json:"warning"`
	Kind       string              `json:"kind"`
	Name       string              `json:"name"`
	Format     string              `json:"format,omitempty"` // of a package
	Source     string              `json:"source,omitempty"` // of a directory
	Digest     string              `json:"digest,omitempty"`
	DirHash    string              `json:"dirHash"`
	Bytes      int64               `json:"bytes"`
	Files      []manifest.File     `json:"files"`
	LeftOut    []string            `json:"leftOut,omitempty"`
	Car        *inspectedCar       `json:"car,omitempty"`
	Linked     []string            `json:"linked,omitempty"` // files of a layout that are hard links
	Statements []inspectedBundle   `json:"statements,omitempty"`
	Others     []inspectedReferrer `json:"otherReferrers,omitempty"`
}

type inspectedBundle struct {
	ID            string    `json:"id,omitempty"`
	Referrer      string    `json:"referrer,omitempty"`
	PredicateType string    `json:"predicateType,omitempty"`
	Signer        string    `json:"claimedSigner,omitempty"`
	Time          time.Time `json:"claimedTime,omitzero"`
	Carried       bool      `json:"carried,omitempty"` // about something that the package descends from
	Problem       string    `json:"problem,omitempty"`
}

// inspectedCar is what a car image says beside its files, which were read.
type inspectedCar struct {
	Architecture string `json:"architecture"`
	Of           string `json:"of,omitempty"`
	Note         string `json:"note,omitempty"` // why that package does not count
}

type inspectedReferrer struct {
	Digest string `json:"digest"`
	Type   string `json:"type"`
}

const notVerified = "not verified: this is what the artifact says of itself"

func (a *app) inspectCommand() *cobra.Command {
	var output string
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "inspect PATH|REF",
		Short: "Show what an artifact is and what is attached to it, without verifying anything",
		Long: `Show a package's or directory's files and the statements that are attached to it. Nothing is verified: use
mlseal verify for a decision. A file that is a Sigstore bundle is shown as the statement that it holds.`,
		Example: "  mlseal inspect oci:store:v1\n  mlseal inspect ./model\n  mlseal inspect model.sig",
		Args:    takes("PATH|REF"),
	}
	outputFlag(cmd, &output, "text", "json")
	store.add(cmd)
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		var in *inspection
		var err error
		if isPackage(args[0]) {
			in, err = a.inspectPackage(cmd.Context(), args[0], store)
		} else {
			in, err = a.inspectTree(cmd.Context(), args[0], store)
		}
		if err != nil {
			return err
		}
		if output == "json" {
			return a.printJSON(in)
		}
		return a.printInspection(in)
	})
	return cmd
}

func (a *app) inspectPackage(ctx context.Context, arg string, flags storeFlags) (*inspection, error) {
	p, err := a.openPackage(ctx, arg, flags)
	if err != nil {
		return nil, err
	}
	in := &inspection{Warning: notVerified, Kind: p.pkg.Type, Name: p.name, Format: p.pkg.Format, Digest: p.pkg.Descriptor.Digest.String(),
		DirHash: p.pkg.Tree.DirHash(), Bytes: p.pkg.Tree.Size(), Files: p.pkg.Tree.Files, LeftOut: p.pkg.LeftOut}
	if car := p.pkg.Car; car != nil {
		_, note, err := p.findRaw(ctx)
		if err != nil {
			return nil, err
		}
		in.Car = &inspectedCar{Architecture: car.Architecture, Of: car.Of.String(), Note: note}
	}
	if layout, ok := p.target.(*oci.Layout); ok {
		in.Linked = layout.Linked(p.pkg)
	}
	bundles, err := oci.Bundles(ctx, p.target, p.pkg.Descriptor)
	if err != nil {
		return nil, err
	}
	for _, b := range bundles {
		if errors.Is(b.Err, oci.ErrNotBundle) {
			in.Others = append(in.Others, inspectedReferrer{b.Descriptor.Digest.String(), b.Descriptor.ArtifactType})
			continue
		}
		shown := inspectedBundle{}
		if b.Err != nil {
			shown.Problem = b.Err.Error()
		} else {
			shown = inspectBundle(b.Bundle)
		}
		shown.Referrer, shown.Carried = b.Descriptor.Digest.String(), b.Carried != ""
		in.Statements = append(in.Statements, shown)
	}
	return in, nil
}

// inspectBundle reads what a bundle claims.
func inspectBundle(data []byte) inspectedBundle {
	shown := inspectedBundle{ID: attest.ID(data)}
	b, err := attest.Parse(data)
	if err != nil {
		shown.Problem = err.Error()
		return shown
	}
	switch {
	case b.Material.PublicKey == nil:
		shown.Signer = "a certificate"
	case b.Material.PublicKey.Hint != "":
		shown.Signer = "key " + b.Material.PublicKey.Hint
	default:
		shown.Signer = "a key"
	}
	s, err := b.UnverifiedStatement(attest.StatementType, attest.StatementTypeV01)
	if err != nil {
		shown.Problem = err.Error()
		return shown
	}
	shown.PredicateType, shown.Time = s.PredicateType, attest.ClaimedTime(s)
	return shown
}

func (a *app) inspectTree(ctx context.Context, path string, store storeFlags) (*inspection, error) {
	t, err := a.open(ctx, path, store)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	m, err := a.hashTree(ctx, t, nil)
	if err != nil {
		return nil, err
	}
	in := &inspection{Warning: notVerified, Kind: "directory", Name: t.name, Source: t.source, DirHash: m.DirHash(), Bytes: m.Size(), Files: m.Files, LeftOut: m.LeftOut}
	if t.file == "" {
		return in, nil
	}
	in.Kind = "file"
	if t.objects != nil || m.Size() > attest.MaxBundleBytes {
		return in, nil
	}
	data, err := readBundle(path)
	if err != nil {
		return nil, err
	}
	if _, err := attest.Parse(data); err == nil {
		in.Statements = []inspectedBundle{inspectBundle(data)}
	}
	return in, nil
}

func (a *app) printInspection(in *inspection) error {
	w := &lines{a: a}
	w.line("%s  %s  (%s)", in.Name, in.Kind, notVerified)
	if in.Digest != "" {
		w.line("  format   %s", in.Format)
		w.line("  digest   %s", in.Digest)
	}
	if in.Source != "" {
		w.line("  source   %s", in.Source)
	}
	w.line("  dirHash  %s", in.DirHash)
	if in.Car != nil {
		w.line("  car      linux/%s, files under /%s", in.Car.Architecture, oci.CarRoot)
		if in.Car.Of != "" && in.Car.Note == "" {
			w.line("  beside   %s  (the same files)", in.Car.Of)
		}
		if in.Car.Note != "" {
			w.line("  note     %s", in.Car.Note)
		}
	}
	w.line("  files    %d, %s", len(in.Files), progress.Bytes(in.Bytes))
	for _, f := range in.Files {
		w.line("    %s  %9s  %s", f.Digest.Encoded()[:12], progress.Bytes(f.Size), f.Path)
	}
	if len(in.LeftOut) > 0 {
		w.line("  not part of the tree: %s", strings.Join(in.LeftOut, ", "))
	}
	if len(in.Linked) > 0 {
		w.line("  hard links, whose files must not be edited in place: %s", strings.Join(in.Linked, ", "))
	}
	if in.Digest == "" && len(in.Statements) == 0 {
		return w.err
	}
	w.line("  statements %d", len(in.Statements))
	for _, s := range in.Statements {
		switch {
		case s.Problem != "":
			w.line("    unreadable: %s", s.Problem)
		case s.Carried:
			w.line("    %s  signed with %s  (taken along, about what the package descends from)", s.PredicateType, s.Signer)
		case s.Time.IsZero():
			w.line("    %s  signed with %s", s.PredicateType, s.Signer)
		default:
			w.line("    %s  signed with %s  %s (claimed)", s.PredicateType, s.Signer, s.Time.Format(time.RFC3339))
		}
	}
	for _, o := range in.Others {
		w.line("    other referrer  %s  %s", o.Type, o.Digest)
	}
	return w.err
}

// lines prints until the first error.
type lines struct {
	a   *app
	err error
}

func (l *lines) line(format string, args ...any) {
	if l.err == nil {
		l.err = l.a.printf(format+"\n", args...)
	}
}
