// Package report shows decisions and checks to people and to programs. The first line is the verdict, then
// one line a check, then what to do. Everything that a stranger named is escaped. The JSON form carries its
// schema's version in "schema"; fields are added to it, never changed.
package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// Schema is the version of the JSON form.
const Schema = "https://mlseal.dev/report/v1"

// Report is something that can be shown as text and as JSON.
type Report interface {
	// Text writes the report for a person.
	Text(w io.Writer, style Style) error
	// JSON returns the value that is written for a program.
	JSON() any
}

// Style of a text. The zero value has no colours.
type Style struct{ Color bool }

func (s Style) paint(color, text string) string {
	if !s.Color {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (s Style) verdict(good bool, text string) string {
	if good {
		return s.paint("1;32", text)
	}
	return s.paint("1;31", text)
}

func (s Style) mark(status verify.Status) string {
	switch status {
	case verify.Passed:
		return s.paint("32", "✓")
	case verify.Failed:
		return s.paint("31", "✗")
	}
	return s.paint("33", "-")
}

// printer writes lines until the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// Tree reports the verification of a directory or file against an OMS bundle.
type Tree struct {
	Path   string
	Result *verify.TreeResult
}

func (t Tree) passed() bool {
	ok := false
	for _, c := range t.Result.Checks {
		if c.Status == verify.Failed {
			return false
		}
		ok = ok || c.Name == "files" && c.Status == verify.Passed
	}
	return ok
}

// maxNamed is how many files of a kind the text names; the JSON form has them all.
const maxNamed = 20

// Text implements Report.
func (t Tree) Text(w io.Writer, style Style) error {
	p := &printer{w: w}
	if t.passed() {
		tree := ""
		if t.Result.DirHash != "" {
			tree = "  dirHash:" + t.Result.DirHash
		}
		p.line("%s  %s  %d files, %s%s", style.verdict(true, "VERIFIED"), escape.Line(t.Path), t.Result.Files-len(t.Result.Unsigned), progress.Bytes(t.Result.Bytes), tree)
	} else {
		p.line("%s  %s", style.verdict(false, "FAILED"), escape.Line(t.Path))
	}
	for _, c := range t.Result.Checks {
		p.line("  %s %-17s %s", style.mark(c.Status), c.Name, statusPrefix(c)+escape.Line(c.Detail))
	}
	t.files(p)
	return p.err
}

func statusPrefix(c verify.Check) string {
	if c.Status == verify.NotDone {
		return "not done: "
	}
	return ""
}

func (t Tree) files(p *printer) {
	d := t.Result.Diff
	if d == nil || d.Equal() {
		return
	}
	for i, c := range d.Changed {
		if i == maxNamed {
			p.line("      … and %d more", len(d.Changed)-i)
			break
		}
		p.line("      changed  %s  signed %s, found %s", escape.Line(c.Path), short(c.Want.String()), short(c.Got.String()))
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"missing", d.Missing}, {"extra", d.Extra}} {
		for i, name := range list.names {
			if i == maxNamed {
				p.line("      … and %d more", len(list.names)-i)
				break
			}
			p.line("      %-7s  %s", list.what, escape.Line(name))
		}
	}
}

// JSON implements Report.
func (t Tree) JSON() any {
	verdict := "FAILED"
	if t.passed() {
		verdict = "VERIFIED"
	}
	return struct {
		Schema  string `json:"schema"`
		Verdict string `json:"verdict"`
		Path    string `json:"path"`
		*verify.TreeResult
	}{Schema, verdict, t.Path, t.Result}
}

// Gate reports a policy's decision.
type Gate struct {
	Decision *policies.Decision
}

// Text implements Report.
func (g Gate) Text(w io.Writer, style Style) error {
	d := g.Decision
	p := &printer{w: w}
	p.line("%s  %s  policy %s %s", style.verdict(d.Err() == nil, d.Verdict.String()), subjectLine(d.Subject), policyLine(d.Policy), short(d.Policy.Digest))
	width := 0
	for _, r := range d.Requirements {
		width = max(width, len([]rune(escape.Line(r.ID))))
	}
	for _, r := range d.Requirements {
		g.requirement(p, style, r, width)
	}
	for _, note := range d.Notes {
		p.line("  %s %s", style.mark(verify.NotDone), escape.Line(note))
	}
	g.notCounted(p)
	return p.err
}

// notCounted lists the statements that no failed requirement has shown already.
func (g Gate) notCounted(p *printer) {
	shown := map[string]bool{}
	for _, r := range g.Decision.Requirements {
		for _, s := range r.NearMisses {
			shown[s.ID] = shown[s.ID] || !r.Passed
		}
	}
	title := "  seen and not counted:"
	for _, s := range g.Decision.Ignored {
		if shown[s.ID] {
			continue
		}
		if title != "" {
			p.line("%s", title)
			title = ""
		}
		p.line("      %s", seenLine(s))
	}
}

func (g Gate) requirement(p *printer, style Style, r policies.Requirement, width int) {
	indent := strings.Repeat(" ", 6+width)
	if r.Passed {
		mark := style.mark(verify.Passed)
		if r.Waiver != "" {
			mark = style.paint("33", "~")
		}
		p.line("  %s %-*s  %s", mark, width, escape.Line(r.ID), escape.Line(r.Detail))
		return
	}
	mark, code := style.mark(verify.Failed), style.paint("31", string(r.Code))
	if !r.Denies() {
		mark, code = style.paint("33", "!"), string(r.Severity)+": "+style.paint("33", string(r.Code))
	}
	p.line("  %s %-*s  %s: %s", mark, width, escape.Line(r.ID), code, escape.Line(r.Detail))
	if r.Message != "" {
		p.line("%s%s", indent, escape.Line(r.Message))
	}
	for _, v := range r.Values {
		p.line("%scondition  %s", indent, escape.Line(v))
	}
	for _, s := range r.NearMisses {
		p.line("%sseen  %s", indent, seenLine(s))
	}
	if fix := nextStep(r); fix != "" {
		p.line("%sfix   %s", indent, escape.Line(fix))
	}
}

// nextStep is what the policy's author advises, else what helps with most denials of this kind.
func nextStep(r policies.Requirement) string {
	if r.Fix != "" {
		return r.Fix
	}
	switch r.Code {
	case policies.SubjectMismatch:
		return "these are not the bytes that were vouched for: get the artifact again (mlseal pull), or have these attested"
	case policies.TypeMissing:
		return "attach one (mlseal attest REF --type TYPE --predicate FILE --key KEY), or say where it is with --attestations"
	case policies.SignerNotTrusted, policies.SignatureInvalid:
		return "have it signed by a signer whom the policy names for this"
	case policies.EvidenceTooOld:
		return "make the statement anew and attach it"
	case policies.LineageGap:
		return "have the dependency vouched for, or name the store that holds its statements with --attestations"
	}
	return ""
}

func subjectLine(s policies.Subject) string {
	text := escape.Line(s.Name)
	if sha, ok := s.Digests["sha256"]; ok {
		return text + "@" + short("sha256:"+sha)
	}
	return text + " " + short("dirHash:"+s.Digests["dirHash"])
}

func policyLine(ref policies.PolicyRef) string {
	text := escape.Line(ref.Name)
	if ref.Version > 0 {
		text += fmt.Sprintf(" v%d", ref.Version)
	}
	return text
}

func seenLine(s policies.Seen) string {
	parts := []string{short(s.ID)}
	if s.PredicateType != "" {
		parts = append(parts, escape.Line(shortType(s.PredicateType)))
	}
	if len(s.Signers) > 0 {
		parts = append(parts, "by "+escape.Line(strings.Join(s.Signers, ", ")))
	}
	if !s.Time.IsZero() {
		parts = append(parts, s.Time.UTC().Format(time.RFC3339)+" ("+s.TimeSource+")")
	}
	if s.Code != "" {
		parts = append(parts, string(s.Code))
	}
	text := strings.Join(parts, "  ")
	if s.Reason != "" {
		text += ": " + escape.Line(s.Reason)
	}
	return text
}

// shortType leaves out the scheme of a predicate type.
func shortType(uri string) string { return strings.TrimPrefix(uri, "https://") }

// short cuts a digest to what a person compares: "sha256:6c1c5a1a…". The JSON form has it whole.
func short(digest string) string {
	alg, value, ok := strings.Cut(digest, ":")
	if !ok || len(value) <= 12 {
		return digest
	}
	return alg + ":" + value[:12] + "…"
}

// JSON implements Report.
func (g Gate) JSON() any {
	d := *g.Decision
	if d.Ignored == nil {
		d.Ignored = []policies.Seen{} // a list, also for programs that do not know null
	}
	return struct {
		Schema  string `json:"schema"`
		Verdict string `json:"verdict"`
		*policies.Decision
	}{Schema, d.Verdict.String(), &d}
}
