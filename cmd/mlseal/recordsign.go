package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/record"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/verify/report"
)

// recorded is a command that was run, and what became of the record.
type recorded struct {
	recordFlags
	rec       *record.Record // nil unless the command succeeded and all was there
	predicate []byte
	signing   *packSigning
	report    recordReport
}

// recordReport is what --report says.
type recordReport struct {
	Step          string                      `json:"step"`
	CommandStatus int                         `json:"commandStatus"` // -1 when the command was not run
	Signed        bool                        `json:"signed"`
	Error         string                      `json:"error,omitempty"`
	Subjects      []attest.ResourceDescriptor `json:"subjects,omitempty"`
	Bundle        string                      `json:"bundle,omitempty"`
	Link          string                      `json:"link,omitempty"`      // the file of the in-toto link
	Reference     string                      `json:"reference,omitempty"` // where the product was packed to
	Attached      []packAttached              `json:"attached,omitempty"`
	Environment   string                      `json:"environment,omitempty"` // the list of Python packages
	Unsigned      string                      `json:"unsigned,omitempty"`
	Notes         []string                    `json:"notes,omitempty"`

	fields []field // for a person
}

func (r *recordReport) add(name, value string) { r.fields = append(r.fields, field{name, value}) }

// sign makes the statement. From here on the work of hours must not be lost: when it cannot be signed, the predicate is kept.
func (a *app) sign(ctx context.Context, r *recorded) error {
	err := r.prepare()
	if err == nil {
		switch {
		case r.link.given():
			err = a.linkRecorded(ctx, r)
		case r.push != "":
			err = a.pushRecorded(ctx, r)
		default:
			err = a.bundleRecorded(ctx, r)
		}
	}
	if err == nil || r.predicate == nil {
		return err
	}
	if kept := r.keepUnsigned(); kept != nil {
		return fmt.Errorf("%w, and what would have been signed could not be kept: %w", err, kept)
	}
	r.report.Unsigned = r.unsignedOut
	next := fmt.Sprintf("mlseal attest %s --type slsa-provenance --predicate %s --bundle %s --key KEY", r.products[0], r.unsignedOut, cmp.Or(r.bundle, r.step+".sigstore.json"))
	if r.push != "" {
		next = fmt.Sprintf("mlseal pack %s %s --attest slsa-provenance=%s --key KEY", r.products[0], r.push, r.unsignedOut)
	}
	return unsignedError{error: err, file: r.unsignedOut, next: next}
}

// keepUnsigned writes the predicate where it was to be, or, when that place is gone or full, where temporary files are.
func (r *recorded) keepUnsigned() error {
	err := atomicfile.Write(r.unsignedOut, r.predicate, atomicfile.Options{})
	if err == nil {
		return nil
	}
	dir, failed := os.MkdirTemp("", "mlseal-")
	if failed != nil {
		return errors.Join(err, failed)
	}
	r.unsignedOut = filepath.Join(dir, filepath.Base(r.unsignedOut))
	return atomicfile.Write(r.unsignedOut, r.predicate, atomicfile.Options{})
}

// prepare writes the list of packages and makes the predicate.
func (r *recorded) prepare() error {
	rec := r.rec
	if rec.Packages != nil {
		document, err := rec.Packages.CycloneDX()
		if err != nil {
			return err
		}
		rec.SetEnvironment(r.environmentOut, document)
		if err := atomicfile.Write(r.environmentOut, document, atomicfile.Options{}); err != nil {
			rec.Notes = append(rec.Notes, fmt.Sprintf("the list of Python packages could not be written: %v", err))
		} else {
			r.report.Environment = r.environmentOut
		}
	}
	var err error
	r.predicate, err = rec.Predicate()
	return err
}

// bundleRecorded signs and writes the statement about the products.
func (a *app) bundleRecorded(ctx context.Context, r *recorded) error {
	r.report.Subjects = r.rec.Subjects()
	what := attachment{predicateType: attest.ProvenancePredicateType, predicate: r.predicate}
	bundle, err := what.sign(ctx, r.signing.key, r.report.Subjects)
	if err != nil {
		return err
	}
	if err := writeBundle(r.bundle, bundle.JSON()); err != nil {
		return err
	}
	for _, s := range r.report.Subjects {
		r.report.add("product", s.Name)
		r.report.add("dirHash", s.Digest["dirHash"])
	}
	r.report.Bundle = r.bundle
	r.report.add("bundle", r.bundle)
	r.report.fields = append(r.report.fields, r.signing.key.signedBy(bundle))
	return nil
}

// pushRecorded packs the product and attaches the statement, as pack does.
func (a *app) pushRecorded(ctx context.Context, r *recorded) error {
	ref, err := r.reference()
	if err != nil {
		return err
	}
	in, err := a.openImport(ctx, r.products[0], r.store, importFlags{})
	if err != nil {
		return err
	}
	defer in.tree.Close()
	in.predicate = r.predicate
	meter := a.progress("packing", 0)
	f := r.pack()
	opts := oci.PackOptions{Type: f.kind, Name: f.name, Tag: ref.Tag}
	opts.Build.File, opts.Build.Total, opts.Build.Progress = in.tree.file, meter.SetTotal, meter.Add
	target, err := r.store.open(ctx, ref, true)
	if err != nil {
		return err
	}
	to := &openedPackage{ref: ref, name: referenceName(ref), target: target}
	packed, _, err := a.packInto(ctx, to, in, opts, carFlags{}, r.signing, meter)
	if err != nil {
		return err
	}
	r.rec.SetProduct(0, packed.Tree)
	if err := a.attachSigned(ctx, to, nil, r.signing); err != nil {
		return fmt.Errorf("%s is packed as %s: %w", r.push, packed.Descriptor.Digest, err)
	}
	r.report.Subjects, r.report.Reference = to.subjects(), r.push
	r.report.add("packed", r.push)
	r.report.add("digest", packed.Descriptor.Digest.String())
	r.report.add("dirHash", packed.Tree.DirHash())
	for i, referrer := range r.signing.referrers {
		kind := r.signing.statements[i].predicateType
		r.report.Attached = append(r.report.Attached, packAttached{kind, referrer})
		r.report.add("attached", kind+"  "+referrer)
	}
	r.report.fields = append(r.report.fields, r.signing.key.signedBy(r.signing.bundles[0]), field{"left out", strings.Join(packed.Tree.LeftOut, ", ")})
	return nil
}

// reportRecord tells how it went: a person on stderr, since stdout is the command's.
func (a *app) reportRecord(r *recorded, err error) error {
	var command *record.CommandError
	switch {
	case errors.As(err, &command):
		r.report.CommandStatus = command.Status
	case r.rec == nil:
		r.report.CommandStatus = -1
	}
	if r.rec != nil {
		r.report.Notes = r.rec.Notes
		for _, note := range r.rec.Notes {
			a.note(note)
		}
	}
	r.report.Signed = err == nil
	if err != nil {
		r.report.Error = record.NewMask(a.environment()).Text(err.Error())
	}
	if r.recordFlags.report != "" {
		data, failed := report.Marshal(r.report)
		if failed == nil {
			failed = atomicfile.Write(r.recordFlags.report, data, atomicfile.Options{})
		}
		if failed != nil {
			err = errors.Join(err, undeliveredError{fmt.Errorf("--report: %w", failed)})
		}
	}
	if r.report.Signed {
		r.report.add("packages", r.report.Environment)
		for _, f := range r.report.fields {
			if f.value != "" {
				_, _ = fmt.Fprintf(a.stderr, "%-10s %s\n", f.name, escape.Line(f.value))
			}
		}
	}
	return err
}
