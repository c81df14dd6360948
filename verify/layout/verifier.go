package layout

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/mlseal/mlseal/attest/link"
)

// verifier goes through a layout and the layouts below it.
type verifier struct {
	links fs.FS
	opts  Options

	at      string // the check at which it is
	steps   []Step
	skipped int // inspections
	notes   []string
	files   int
	bytes   int64
}

// readError says that a link could not be read, so that nothing is decided.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// layout verifies a layout whose signature is verified, with the links in dir, and returns the summary of what it lays out: the materials of the first
// step and the products of the last.
func (v *verifier) layout(l intoto.Layout, dir string, depth int) (*intoto.Link, error) {
	v.at = checkExpiry
	if depth > MaxDepth {
		return nil, fmt.Errorf("%w: more than %d sublayouts in one another", ErrMetadata, MaxDepth)
	}
	expires, err := time.Parse(intoto.ISO8601DateSchema, l.Expires)
	if err != nil {
		return nil, err
	}
	if !v.opts.Now.Before(expires) || v.opts.Now.IsZero() {
		return nil, fmt.Errorf("the layout expired on %s", l.Expires)
	}
	v.at = checkInspections
	if len(l.Inspect) > 0 {
		if !v.opts.UnsafeSkipInspections {
			return nil, ErrInspections
		}
		v.skipped += len(l.Inspect)
	}
	v.at = checkSteps
	verified, err := v.performed(l, dir)
	if err != nil {
		return nil, err
	}
	if err := v.sublayouts(l, verified, dir, depth); err != nil {
		return nil, err
	}
	v.at = checkSteps
	reduced, err := intoto.ReduceStepsMetadata(l, verified)
	if err != nil {
		return nil, err
	}
	v.compareCommands(l, reduced)
	v.at = checkRules
	items := make([]any, len(l.Steps))
	for i, s := range l.Steps {
		items[i] = s
	}
	if err := intoto.VerifyArtifacts(items, reduced); err != nil {
		return nil, err
	}
	summary, err := intoto.GetSummaryLink(l, reduced, path.Base(dir), false)
	if err != nil {
		return nil, err
	}
	out, ok := summary.GetPayload().(intoto.Link)
	if !ok {
		return nil, fmt.Errorf("%w: no summary", ErrMetadata)
	}
	return &out, nil
}

// performed reads the links of each step and has in-toto-golang count those that are by the step's functionaries.
func (v *verifier) performed(l intoto.Layout, dir string) (map[string]map[string]intoto.Metadata, error) {
	found := map[string]map[string]intoto.Metadata{}
	problems := map[string][]string{}
	for _, s := range l.Steps {
		found[s.Name] = map[string]intoto.Metadata{}
		for _, id := range s.PubKeys {
			doc, err := v.read(dir, s.Name, id)
			var unread readError
			switch {
			case errors.As(err, &unread):
				return nil, err
			case err != nil:
				problems[s.Name] = append(problems[s.Name], err.Error())
			case doc != nil:
				found[s.Name][id] = doc
			}
		}
	}
	verified, err := intoto.VerifyLinkSignatureThesholds(l, found, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s%s", strings.TrimSuffix(err.Error(), ": <nil>"), described(problems))
	}
	return verified, nil
}

// described says what is wrong with files that were found.
func described(problems map[string][]string) string {
	var all []string
	for _, list := range problems {
		all = append(all, list...)
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return "; " + strings.Join(all, "; ")
}

// read reads the link of a step by a key; nil when there is none. What a stranger can put there is an error that counts the file
// out; a readError ends all.
func (v *verifier) read(dir, step, id string) (*document, error) {
	name, err := link.FileName(step, id)
	if err != nil {
		return nil, err
	}
	file := path.Join(dir, name)
	data, err := v.readFile(file)
	if err != nil || data == nil {
		return nil, err
	}
	doc, err := parse(data, MaxLinkBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	// Whoever may do two steps must not pass the link of one for that of the other.
	if l, ok := doc.payload.(intoto.Link); ok && l.Name != step {
		return nil, fmt.Errorf("%s: it is a link of the step %q", file, l.Name)
	}
	return doc, nil
}

func (v *verifier) readFile(file string) ([]byte, error) {
	info, err := fs.Lstat(v.links, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, readError{fmt.Errorf("%s: %w", file, err)}
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: it is not a regular file", file)
	}
	f, err := v.links.Open(file)
	if err != nil {
		return nil, readError{fmt.Errorf("%s: %w", file, err)}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxLinkBytes+1))
	if err != nil {
		return nil, readError{fmt.Errorf("%s: %w", file, err)}
	}
	v.files++
	v.bytes += int64(len(data))
	if len(data) > MaxLinkBytes || v.files > MaxFiles || v.bytes > MaxTotalBytes {
		return nil, fmt.Errorf("%s: %w: more than %d bytes, or %d files or %d bytes in all", file, ErrMetadata, MaxLinkBytes, MaxFiles, MaxTotalBytes)
	}
	return data, nil
}

// sublayouts verifies the layouts that stand in place of links, and puts the summary of each in its place.
func (v *verifier) sublayouts(l intoto.Layout, verified map[string]map[string]intoto.Metadata, dir string, depth int) error {
	for _, s := range l.Steps {
		step := Step{Name: path.Join(dir, s.Name)}
		for _, id := range s.PubKeys {
			doc, ok := verified[s.Name][id]
			if !ok || slices.Contains(step.Signers, id) {
				continue
			}
			step.Signers = append(step.Signers, id)
			sub, ok := doc.GetPayload().(intoto.Layout)
			if !ok {
				continue
			}
			step.Sublayout = true
			summary, err := v.layout(sub, path.Join(dir, fmt.Sprintf(intoto.SublayoutLinkDirFormat, s.Name, id)), depth+1)
			if err != nil {
				return fmt.Errorf("sublayout of the step %s: %w", s.Name, err)
			}
			verified[s.Name][id] = &document{payload: *summary}
		}
		v.steps = append(v.steps, step)
	}
	return nil
}

// compareCommands notes where another command ran than the layout names.
func (v *verifier) compareCommands(l intoto.Layout, reduced map[string]intoto.Metadata) {
	for _, s := range l.Steps {
		// in-toto specification 1.0, section 4.3.1: another command than expected_command is a warning, no failure.
		done, ok := reduced[s.Name].GetPayload().(intoto.Link)
		if ok && len(s.ExpectedCommand) > 0 && !slices.Equal(s.ExpectedCommand, done.Command) {
			v.notes = append(v.notes, fmt.Sprintf("step %s ran %q, the layout expects %q: in-toto does not hold steps to it", s.Name, strings.Join(done.Command, " "), strings.Join(s.ExpectedCommand, " ")))
		}
	}
}

func (v *verifier) describeSteps() string {
	var all []string
	for _, s := range v.steps {
		what := "links"
		if s.Sublayout {
			what = "sublayouts"
		}
		var ids []string
		for _, id := range s.Signers {
			ids = append(ids, id[:8])
		}
		all = append(all, fmt.Sprintf("%s (%s by %s)", s.Name, what, strings.Join(ids, ", ")))
	}
	return strings.Join(all, "; ")
}
