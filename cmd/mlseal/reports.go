package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/verify/report"
	"github.com/spf13/cobra"
)

// maxReportBytes is how much of a file is looked at to see whether it is a report.
const maxReportBytes = attest.MaxBundleBytes

// reportFlags say in which formats a verification is reported, and where.
type reportFlags struct {
	output  string
	given   []string
	files   []reportFile // of given, once they are checked
	summary summaryFlags
}

// reportFile is one --report.
type reportFile struct{ format, path string }

// reportFormats are the names of all formats, those of a policy's decision alone last.
func reportFormats() []string {
	var names []string
	for _, f := range report.Formats {
		names = append(names, string(f))
	}
	return append(names, summaryVSA, summarySVR)
}

func (f *reportFlags) add(cmd *cobra.Command) {
	outputFlag(cmd, &f.output, reportFormats()...)
	cmd.Flags().StringArrayVar(&f.given, "report", nil, "FORMAT=FILE: write the report in another format too (repeatable)")
	f.summary.add(cmd)
}

// check refuses what cannot be written, before anything is looked at.
func (f *reportFlags) check(arg string, byPolicy bool) error {
	wanted := isSummary(f.output)
	for _, given := range f.given {
		format, path, ok := strings.Cut(given, "=")
		if !ok || path == "" || !slices.Contains(reportFormats(), format) {
			return usage(fmt.Errorf("--report %s: write FORMAT=FILE, with one of %s", given, strings.Join(reportFormats(), ", ")))
		}
		if slices.ContainsFunc(f.files, func(r reportFile) bool { return filepath.Clean(r.path) == filepath.Clean(path) }) {
			return usage(fmt.Errorf("--report %s: another report goes there already", given))
		}
		is := func(old []byte) bool {
			return report.Is(report.Format(format), old) || isSummary(format) && isStatement(old)
		}
		if err := placeForFile(arg, format+" report", path, is); err != nil {
			return fmt.Errorf("--report %s: %w", given, err)
		}
		wanted = wanted || isSummary(format)
		f.files = append(f.files, reportFile{format, path})
	}
	return f.summary.check(arg, byPolicy, wanted)
}

// placeForFile refuses a path inside of what is looked at, which a file there would change, and one of a file that is something else than what goes
// there: a slip in the command line must not cost a key or the weights.
func placeForFile(arg, what, path string, is func(old []byte) bool) error {
	if err := placeOutside(arg, path); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil {
		return noSuch(dir, err)
	} else if !info.IsDir() {
		return usage(fmt.Errorf("%s is no directory", dir))
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().IsRegular() && info.Size() == 0 {
		return nil // there is nothing, or the write will say what
	}
	if info.Mode().IsRegular() && info.Size() <= maxReportBytes {
		old, err := readInput(what, path, maxReportBytes)
		if err != nil {
			return err
		}
		if is(old) {
			return nil
		}
	}
	return usage(fmt.Errorf("%s is there and is no %s: it is not overwritten", path, what))
}

// placeOutside refuses a path inside the directory or the layout that arg names.
func placeOutside(arg, path string) error {
	dir := arg
	if ref, err := oci.ParseReference(arg); err == nil && !exists(arg) {
		dir = ref.Layout
	}
	if info, err := os.Stat(dir); dir == "" || err != nil || !info.IsDir() {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if inside, err := (&tree{dir: abs}).inside(path); err != nil || inside != "" {
		return usage(fmt.Errorf("%s lies in what is verified and would change it", path))
	}
	return nil
}

// isStatement reports whether data is what a summary is written as: a statement, or a bundle with one.
func isStatement(data []byte) bool {
	if _, err := attest.Parse(data); err == nil {
		return true
	}
	_, err := attest.ParseStatement(data)
	return err == nil
}

// delivery is where the outcome of a verification goes.
type delivery struct {
	*app
	flags     reportFlags
	summaries *summaries
}

// newDelivery loads what the summaries are signed with, before minutes of hashing.
func (a *app) newDelivery(ctx context.Context, f reportFlags) (*delivery, error) {
	s, err := a.newSummaries(ctx, f.summary)
	return &delivery{a, f, s}, err
}

// deliver writes the report everywhere. A no stays a no whatever else fails; a yes that could not be delivered is none.
func (d *delivery) deliver(ctx context.Context, r report.Report, no error) error {
	var failed []error
	for _, f := range append([]reportFile{{d.flags.output, ""}}, d.flags.files...) {
		if err := d.write(ctx, r, f); err != nil {
			failed = append(failed, err)
		}
	}
	if err := d.summaries.publish(ctx, d.app); err != nil {
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return reported(no, hintFor(no), d.app)
	}
	for _, err := range failed[1:] {
		d.printError(undeliveredError{err})
	}
	err := undeliveredError{fmt.Errorf("the decision was %s, but %w", report.Verdict(r), failed[0])}
	if no != nil {
		d.printError(err)
		return reported(no, hintFor(no), d.app)
	}
	return err
}

// write writes one report, to stdout when it has no path.
func (d *delivery) write(ctx context.Context, r report.Report, f reportFile) error {
	data, err := d.render(ctx, r, f)
	if err != nil {
		return fmt.Errorf("%s report: %w", f.format, err)
	}
	if f.path == "" {
		_, err = d.stdout.Write(data)
	} else {
		err = atomicfile.Write(f.path, data, atomicfile.Options{})
	}
	if err != nil {
		return fmt.Errorf("%s report: %w", f.format, err)
	}
	return nil
}

func (d *delivery) render(ctx context.Context, r report.Report, f reportFile) ([]byte, error) {
	if isSummary(f.format) {
		return d.summaries.render(ctx, f.format)
	}
	return report.Render(r, report.Format(f.format), report.Options{Version: version, Now: d.now(), Style: report.Style{Color: d.color && f.path == ""}})
}

// errNoDecision says that a summary was asked for and that there is no decision: flags are checked so that it never comes.
var errNoDecision = errors.New("there is no decision of a policy")
