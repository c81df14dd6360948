package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
)

// markdownHeader tells our own reports; nothing shows it.
const markdownHeader = "<!-- mlseal report -->\n"

// maxListed bounds the lists of a report that strangers can make long: GitHub drops a step's summary over 1 MiB.
const maxListed = 200

// markdown writes GitHub Flavored Markdown for a step's summary or a comment.
func (s summary) markdown() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	b.WriteString(markdownHeader)
	line("## %s %s: %s\n", markdownMark(s.good), s.verdict, inert(s.name))
	for _, f := range s.facts {
		line("- %s: %s", f.name, inert(f.value))
	}
	for _, text := range s.params {
		line("- parameter: %s", inert(text))
	}
	if !s.time.IsZero() {
		line("- decided: %s", s.time.UTC().Format(time.RFC3339))
	}
	line("\n| | check | result |\n| --- | --- | --- |")
	for _, c := range s.checks {
		line("| %s | %s | %s |", c.mark(), inert(c.id), inert(c.text()))
	}
	s.whatToDo(line, failed, "What to do")
	s.whatToDo(line, warned, "Not met, and no denial")
	section(line, "Waived", s.lines(waived), false)
	section(line, "Not done", s.lines(skipped), false)
	section(line, "Notes", s.notes, false)
	section(line, "Seen and not counted", s.ignored, true)
	return []byte(b.String())
}

func markdownMark(good bool) string {
	if good {
		return "✅"
	}
	return "❌"
}

func (c check) mark() string {
	switch c.outcome {
	case skipped:
		return "➖"
	case waived:
		return "〰️"
	case warned:
		if c.level == policies.Info {
			return "ℹ️"
		}
		return "⚠️"
	}
	return markdownMark(c.outcome == passed)
}

// whatToDo gives each check that ended so its own list under a title, and folds what was seen.
func (s summary) whatToDo(line func(string, ...any), o outcome, title string) {
	if s.count(o) == 0 {
		return
	}
	line("\n### %s\n", title)
	for _, c := range s.checks {
		if c.outcome != o {
			continue
		}
		line("- %s: %s", inert(c.id), inert(c.text()))
		for _, text := range []string{c.message, c.fix} {
			if text != "" {
				line("  - %s", inert(text))
			}
		}
	}
	for _, c := range s.checks {
		if c.outcome == o {
			section(line, "Details of "+inert(c.id), c.lines, true)
		}
	}
}

// lines are the checks that ended so, a line each.
func (s summary) lines(o outcome) []string {
	var out []string
	for _, c := range s.checks {
		if c.outcome == o {
			out = append(out, c.id+": "+c.detail)
		}
	}
	return out
}

// section lists lines under a title, which is Markdown; nothing when there are none.
func section(line func(string, ...any), title string, lines []string, folded bool) {
	switch {
	case len(lines) == 0:
		return
	case folded:
		line("\n<details><summary>%s</summary>\n", title)
	default:
		line("\n### %s\n", title)
	}
	for _, text := range lines {
		line("- %s", inert(text))
	}
	if folded {
		line("\n</details>")
	}
}

// inert shows a text as it is, on one line, in a table's cell too: nothing in it becomes an element, link, mention, reference to an issue or a
// commit, emphasis, formula or the end of the cell. GFM section 2.5: a character reference cannot stand for structure. Inside <code> neither
// GitHub nor GitLab looks for mentions and references.
func inert(s string) string {
	return "<code>" + escape.Markdown(s) + "</code>"
}
