package review

import (
	"fmt"
	"io"

	"github.com/mlseal/mlseal/internal/escape"
)

// Text writes an explanation for a terminal.
func Text(w io.Writer, sections []Section) error {
	for i, s := range sections {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w, escape.Line(s.Title)); err != nil {
			return err
		}
		for _, p := range s.Points {
			if _, err := fmt.Fprintln(w, "  - "+escape.Line(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Markdown writes an explanation as Markdown, in which nothing of the policy is markup.
func Markdown(w io.Writer, name string, sections []Section) error {
	if _, err := fmt.Fprintf(w, "# %s\n", escape.Markdown(name)); err != nil {
		return err
	}
	for _, s := range sections {
		if _, err := fmt.Fprintf(w, "\n## %s\n\n", escape.Markdown(s.Title)); err != nil {
			return err
		}
		for _, p := range s.Points {
			if _, err := fmt.Fprintf(w, "- %s\n", escape.Markdown(p)); err != nil {
				return err
			}
		}
	}
	return nil
}
