package report

import (
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/internal/escape"
)

// junitHeader is how the file begins.
const junitHeader = xml.Header + "<!-- mlseal report -->\n<testsuites>"

// The form is that of Apache Ant's JUnit task, which GitLab, Jenkins, GitHub's actions and Azure read: one suite, a test case a
// check. A check that failed and does not deny is a skipped one, whose message begins with its severity: neither green nor a failure. One
// that a waiver lets pass has passed; a property and the output say so. What they show of a failure is the text in its element, so that everything stands there.
type junitSuite struct {
	XMLName    xml.Name        `xml:"testsuite"`
	Name       string          `xml:"name,attr"`
	Package    string          `xml:"package,attr"`
	ID         int             `xml:"id,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Hostname   string          `xml:"hostname,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Properties junitProperties `xml:"properties"`
	Cases      []junitCase     `xml:"testcase"`
	Out        string          `xml:"system-out"`
	Err        string          `xml:"system-err"`
}

type junitProperties struct {
	Property []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitSkipped `xml:"skipped"`
	Failure *junitFailure `xml:"failure"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

func (s summary) junit() ([]byte, error) {
	suite := junitSuite{
		Name: xmlText("mlseal " + nameText(s.scope) + " " + nameText(s.name)), Package: "mlseal." + s.kind,
		// The schema has no time zone: it is UTC. Nor is the host said: the artifact is what the report is about.
		Timestamp: s.time.UTC().Format("2006-01-02T15:04:05"), Hostname: "localhost", Time: "0",
		Tests: len(s.checks), Failures: s.count(failed), Skipped: s.count(skipped) + s.count(warned),
	}
	for _, f := range append([]fact{{"verdict", s.verdict}, {"artifact", s.name}}, s.facts...) {
		suite.Properties.Property = append(suite.Properties.Property, junitProperty{f.name, xmlText(escape.Line(f.value))})
	}
	property := func(name, text string) {
		suite.Properties.Property = append(suite.Properties.Property, junitProperty{name, xmlText(escape.Line(text))})
	}
	for _, text := range s.params {
		property("parameter", text)
	}
	lines := []string{s.verdict + "  " + nameText(s.name)}
	for _, c := range s.checks {
		suite.Cases = append(suite.Cases, s.junitCase(c))
		switch c.outcome {
		case waived:
			property("waived", c.id+": "+c.detail)
			lines = append(lines, "~ "+nameText(c.id)+": "+escape.Line(c.detail))
		case warned:
			report := c.report()
			lines = append(lines, "! "+nameText(c.id)+": "+report[0])
			for _, more := range report[1:] {
				lines = append(lines, "  "+more)
			}
		}
	}
	for _, note := range s.notes {
		lines = append(lines, "note: "+escape.Line(note))
	}
	for _, line := range s.ignored {
		lines = append(lines, "seen and not counted: "+line)
	}
	suite.Out = xmlText(strings.Join(lines, "\n"))
	body, err := xml.MarshalIndent(suite, "  ", "  ")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return fmt.Appendf(nil, "%s\n%s\n</testsuites>\n", junitHeader, body), nil
}

func (s summary) junitCase(c check) junitCase {
	out := junitCase{Name: xmlText(nameText(c.id)), Class: xmlText("mlseal." + s.kind + "." + nameText(s.scope)), Time: "0"}
	switch c.outcome {
	case failed:
		lines := c.report()
		out.Failure = &junitFailure{Message: xmlText(lines[0]), Type: xmlText(escape.Line(c.code)), Text: xmlText(strings.Join(lines, "\n"))}
	case skipped:
		out.Skipped = &junitSkipped{xmlText(escape.Line(c.detail))}
	case warned:
		out.Skipped = &junitSkipped{xmlText(escape.Line(c.text()))}
	}
	return out
}

// xmlText shows what no XML 1.0 document may hold and escape.Line leaves as it is. encoding/xml would put U+FFFD in its place,
// which hides what stood there.
func xmlText(s string) string {
	return strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`).Replace(strings.ToValidUTF8(s, "\ufffd"))
}
